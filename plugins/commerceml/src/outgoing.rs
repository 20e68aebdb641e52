//! Messages -> documents as CommerceML has them. Pure.

use busbar_sdk::money::{self, Money};
use busbar_sdk::{Failure, Message, Rejection, data_of, dates, ids, rejection};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

mod messages;

#[cfg(test)]
mod tests;

use messages::{Invoice, Issued, Requested};

/// Characters of `Ид`.
const ID_CHARS: usize = 40;

/// A document to be written; kept in the state until 1C fetches it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub id: String,
    pub number: String,
    /// ISO 8601.
    pub issued_on: String,
    /// Local time, `10:15:00`.
    pub time: Option<String>,
    /// `ХозОперация`.
    pub operation: String,
    /// The role of the utility.
    pub role: String,
    pub currency: String,
    pub amount: String,
    pub parties: Vec<Party>,
    pub due_on: Option<String>,
    pub comment: String,
    pub tax: Option<String>,
    pub goods: Vec<Goods>,
    pub delivery_address: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Party {
    pub id: Option<String>,
    pub name: String,
    pub tax_id: Option<String>,
    pub tax_registration_code: Option<String>,
    pub address: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
    /// `Продавец` or `Покупатель`.
    pub role: String,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Goods {
    pub id: Option<String>,
    pub name: String,
    pub price: Option<String>,
    pub quantity: Option<String>,
    pub amount: String,
}

/// The document of a message; `at` is the message's place: empty, or `/<index>`.
///
/// # Errors
/// `unmapped-type`, `unreadable-data`, `missing-field`, `bad-amount`, `bad-date` with the place.
pub fn document(settings: &Settings, message: &Message, at: &str) -> Result<Document, Rejection> {
    let place = |field: &str| format!("{at}/data{field}");
    match message.type_.as_str() {
        "invoice.issued.v1" => read::<Invoice>(message, at)?.document(settings, &place),
        "document.issued.v1" => read::<Issued>(message, at)?.document(settings, &place),
        "service.requested.v1" => read::<Requested>(message, at)?.document(settings, &place),
        other => {
            Err(rejection("unmapped-type", format!("{other} is no document of this format"), format!("{at}/type")))
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(message: &Message, at: &str) -> Result<T, Rejection> {
    data_of(message).map_err(|failure| match failure {
        Failure::Rejected(found) => rejection(&found.code, found.reason, format!("{at}/data")),
        other => rejection("unreadable-data", format!("{other:?}"), format!("{at}/data")),
    })
}

/// The id itself where it fits, so that 1C and the source can be compared by eye.
fn fitting(id: &str) -> String {
    if id.chars().count() <= ID_CHARS { id.to_owned() } else { ids::derived(&["commerceml", id]) }
}

fn checked(amount: &Money, currency: &str, place: String) -> Result<(), Rejection> {
    if money::currency_of_code(currency) != Some(currency) {
        return Err(rejection("unknown-currency", "this is no currency of ISO 4217", place));
    }
    if amount.minor().is_none() || amount.currency != currency {
        let reason = "amounts have at most two digits after the point, and one currency";
        return Err(rejection("bad-amount", reason, place));
    }
    Ok(())
}

fn day(text: &str, place: String) -> Result<String, Rejection> {
    match dates::parse_iso_date(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(rejection("bad-date", format!("`{text}` is no day"), place)),
    }
}

fn missing(what: &str, place: String) -> Rejection {
    rejection("missing-field", format!("the format has no document without {what}"), place)
}

/// The utility, where the settings name it.
fn seller(settings: &Settings) -> Option<Party> {
    let seller = &settings.seller;
    (!seller.name.is_empty()).then(|| Party {
        name: seller.name.clone(),
        tax_id: Some(seller.tax_id.clone()).filter(|tax_id| !tax_id.is_empty()),
        role: "Продавец".to_owned(),
        ..Party::default()
    })
}

//! Payment orders to a bank (`payment.order.issued.v1`), in whatever format they are written.

use serde::Deserialize;

use crate::money::Money;
use crate::{Failure, Message, data_of, dates, ids, rejected};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub number: String,
    /// Days are ISO 8601, and exist.
    pub issued_on: String,
    #[serde(default)]
    pub execute_on: Option<String>,
    pub amount: Money,
    pub payer: Party,
    pub payee: Party,
    pub purpose: String,
    #[serde(default)]
    pub priority: Option<String>,
    #[serde(default)]
    pub payment_code: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub tax_id: Option<String>,
    #[serde(default)]
    pub tax_registration_code: Option<String>,
    pub account: String,
    pub bic: String,
    #[serde(default)]
    pub correspondent_account: Option<String>,
}

impl Order {
    /// The order of the message at this index of those to be encoded.
    ///
    /// # Errors
    /// `wrong-type`, `unreadable-data`, `bad-date` at `/<index>…`.
    pub fn of(index: usize, message: &Message) -> Result<Self, Failure> {
        if message.type_ != "payment.order.issued.v1" {
            let reason = format!("{} is no payment order", message.type_);
            return Err(rejected("wrong-type", reason, format!("/{index}/type")));
        }
        let order: Self = data_of(message).map_err(|failure| match failure {
            Failure::Rejected(found) => rejected(&found.code, found.reason, format!("/{index}/data")),
            other => other,
        })?;
        let days = [("issuedOn", Some(&order.issued_on)), ("executeOn", order.execute_on.as_ref())];
        for (field, day) in days.into_iter().filter_map(|(field, day)| Some((field, day?))) {
            if dates::parse_iso_date(day).is_none() {
                return Err(rejected("bad-date", format!("`{day}` is no day"), format!("/{index}/data/{field}")));
            }
        }
        Ok(order)
    }

    /// Who pays and who is paid, by their names in the message.
    pub fn sides(&self) -> [(&'static str, &Party); 2] {
        [("payer", &self.payer), ("payee", &self.payee)]
    }
}

impl Party {
    /// The bank is named by a БИК of Russia: nine digits.
    pub fn has_russian_bic(&self) -> bool {
        self.bic.len() == 9 && self.bic.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// What names a file of these orders: the same orders make the same file, whenever it is written.
pub fn file_id(messages: &[Message]) -> String {
    let parts: Vec<&str> = messages.iter().flat_map(|message| [message.source.as_str(), message.id.as_str()]).collect();
    ids::derived(&parts)
}

//! Objects of the API to messages.
//!
//! Source: ЮKassa API v3, objects Payment and Refund.

use busbar_sdk::acquiring;
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::money::Money;
use busbar_sdk::{Draft, Rejection, ids, rejection};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::order::Kind;

#[cfg(test)]
mod tests;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "default_base_url")]
    pub base_url: String,
    pub credential: String,
    #[serde(default)]
    pub page: Kind,
    link_days: Option<u32>,
    pub return_url: Option<String>,
    description: Option<String>,
    account_key: Option<String>,
    invoice_key: Option<String>,
    #[serde(default)]
    accept_test: bool,
    look_back_hours: Option<u32>,
    utc_offset: Option<Offset>,
}

fn default_base_url() -> String {
    "https://api.yookassa.ru/v3".to_owned()
}

impl Settings {
    pub fn look_back_seconds(&self) -> i64 {
        i64::from(self.look_back_hours.unwrap_or(72)) * 3600
    }

    pub fn link_days(&self) -> u32 {
        self.link_days.unwrap_or(29)
    }

    pub fn description(&self) -> &str {
        self.description.as_deref().unwrap_or("Счёт {invoice}, ЛС {account}")
    }

    pub fn account_key(&self) -> &str {
        self.account_key.as_deref().unwrap_or("account")
    }

    pub fn invoice_key(&self) -> &str {
        self.invoice_key.as_deref().unwrap_or("invoice")
    }

    pub fn offset(&self) -> Offset {
        self.utc_offset.unwrap_or(Offset::MOSCOW)
    }

    /// A time of the API, local: RFC 3339.
    ///
    /// # Errors
    /// `bad-answer` for what is no time.
    pub fn moment(&self, text: &str, place: &str) -> Result<String, Rejection> {
        let local = dates::parse_date_time(text)
            .and_then(|(moment, zone)| dates::local_of_unix_seconds(dates::unix_seconds(moment, zone?), self.offset()));
        let local = local.ok_or_else(|| bad_answer("this is no moment with an offset", place))?;
        Ok(dates::rfc3339(local, self.offset()))
    }
}

/// A payment as far as it is used.
#[derive(Debug, Deserialize)]
pub struct Payment {
    pub id: String,
    pub status: String,
    amount: Money,
    /// What the shop gets: the amount without the service's fee.
    income_amount: Option<Money>,
    pub created_at: String,
    captured_at: Option<String>,
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    test: bool,
    pub confirmation: Option<Confirmation>,
}

#[derive(Debug, Deserialize)]
pub struct Confirmation {
    pub confirmation_url: Option<String>,
}

/// A refund as far as it is used.
#[derive(Debug, Deserialize)]
pub struct Refund {
    pub id: String,
    pub payment_id: String,
    pub status: String,
    amount: Money,
    created_at: String,
    description: Option<String>,
}

impl Payment {
    /// Whether it counts: no money is behind one of a test shop.
    pub fn counts(&self, settings: &Settings) -> bool {
        settings.accept_test || !self.test
    }

    /// The customer account of its metadata.
    pub fn account(&self, settings: &Settings) -> Option<String> {
        self.stated(settings.account_key()).filter(|account| !account.contains(acquiring::is_blank))
    }

    fn stated(&self, key: &str) -> Option<String> {
        let text = match self.metadata.as_ref()?.get(key)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        acquiring::is_number(&text).then_some(text)
    }

    /// What was paid.
    ///
    /// # Errors
    /// `bad-answer` for a sum that is none.
    pub fn sum(&self, place: &str) -> Result<Money, Rejection> {
        sum(&self.amount, place)
    }

    /// `payment.received.v1` of one that succeeded, `payment.rejected.v1` where it names no account. `place`: where the object stands.
    ///
    /// # Errors
    /// `bad-answer` for an id, a sum or a time that is none.
    pub fn draft(&self, settings: &Settings, place: &str) -> Result<Draft, Rejection> {
        let captured = self.captured_at.as_deref().unwrap_or(&self.created_at);
        let payment = acquiring::Payment {
            account: self.account(settings),
            sought: &format!("metadata.{}", settings.account_key()),
            amount: self.sum(&format!("{place}/amount"))?,
            fee: self.fee(),
            at: settings.moment(captured, &format!("{place}/captured_at"))?,
            number: number(&self.id, &format!("{place}/id"))?,
            invoice: self.stated(settings.invoice_key()),
        };
        Ok(payment.draft(payment_id(&self.id)))
    }

    /// What the service keeps, where it says what the shop gets.
    fn fee(&self) -> Option<Money> {
        let income = self.income_amount.as_ref().filter(|income| income.currency == self.amount.currency)?;
        let fee = self.amount.minor()? - income.minor()?;
        (fee > 0).then(|| Money::of_minor(fee, &self.amount.currency))
    }
}

impl Refund {
    /// `payment.refunded.v1` of one that succeeded.
    ///
    /// # Errors
    /// `bad-answer` for an id, a sum or a time that is none.
    pub fn draft(&self, settings: &Settings, account: &str, place: &str) -> Result<Draft, Rejection> {
        let refund = acquiring::Refund {
            account: account.to_owned(),
            amount: sum(&self.amount, &format!("{place}/amount"))?,
            at: settings.moment(&self.created_at, &format!("{place}/created_at"))?,
            payment: number(&self.payment_id, &format!("{place}/payment_id"))?,
            number: Some(number(&self.id, &format!("{place}/id"))?),
            reason: self.description.as_deref(),
        };
        Ok(refund.draft(refund_id(&self.id)))
    }
}

/// The event and the object: what the service itself tells notifications apart by. The same, however it is learnt.
pub fn payment_id(object: &str) -> String {
    ids::derived(&["yookassa", "payment.succeeded", object])
}

/// See [`payment_id`].
pub fn refund_id(object: &str) -> String {
    ids::derived(&["yookassa", "refund.succeeded", object])
}

fn number<'a>(id: &'a str, place: &str) -> Result<&'a str, Rejection> {
    if acquiring::is_number(id) { Ok(id) } else { Err(bad_answer("this is no id", place)) }
}

/// Above zero, of a known kind of currency, in the canonical form.
fn sum(amount: &Money, place: &str) -> Result<Money, Rejection> {
    let is_currency = busbar_sdk::money::currency_of_code(&amount.currency) == Some(amount.currency.as_str());
    let minor = amount.minor().filter(|minor| is_currency && *minor > 0);
    let minor = minor.ok_or_else(|| bad_answer("this is no sum of money", place))?;
    Ok(Money::of_minor(minor, &amount.currency))
}

pub fn bad_answer(reason: &str, place: &str) -> Rejection {
    rejection("bad-answer", reason, place)
}

//! Objects of the API to messages, and an invoice to the request of a payment.
//!
//! Source: ЮKassa API v3, objects Payment and Refund.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::money::Money;
use busbar_sdk::{Draft, Failure, Message, Rejection, ids, rejected, rejection};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

const NUMBER_CHARS_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2048;
/// Characters of a payment's description; the API refuses more.
const DESCRIPTION_CHARS_MAX: usize = 128;
/// Characters of a refund's reason that a message carries.
const REASON_CHARS_MAX: usize = 500;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "default_base_url")]
    pub base_url: String,
    pub credential: String,
    return_url: Option<String>,
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

    fn account_key(&self) -> &str {
        self.account_key.as_deref().unwrap_or("account")
    }

    fn invoice_key(&self) -> &str {
        self.invoice_key.as_deref().unwrap_or("invoice")
    }

    /// The day and the moment, local, of a time of the API.
    fn moment(&self, text: &str, place: &str) -> Result<(String, String), Rejection> {
        let offset = self.utc_offset.unwrap_or(Offset::MOSCOW);
        let local = dates::parse_date_time(text)
            .and_then(|(moment, zone)| dates::local_of_unix_seconds(dates::unix_seconds(moment, zone?), offset));
        let local = local.ok_or_else(|| bad_answer("this is no moment with an offset", place))?;
        Ok((dates::iso_date(local.date()), dates::rfc3339(local, offset)))
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
    created_at: String,
    captured_at: Option<String>,
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    test: bool,
    confirmation: Option<Confirmation>,
}

#[derive(Debug, Deserialize)]
struct Confirmation {
    confirmation_url: Option<String>,
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
        self.stated(settings.account_key()).filter(|account| !account.contains(char::is_whitespace))
    }

    fn stated(&self, key: &str) -> Option<String> {
        let text = match self.metadata.as_ref()?.get(key)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty() && text.chars().count() <= NUMBER_CHARS_MAX).then_some(text)
    }

    /// `payment.received.v1` of one that succeeded, `payment.rejected.v1` where it names no account. `place`: where the object stands.
    ///
    /// # Errors
    /// `bad-answer` for a sum or a time that is none.
    pub fn draft(&self, settings: &Settings, place: &str) -> Result<Draft, Rejection> {
        let amount = sum(&self.amount, &format!("{place}/amount"))?;
        let captured = self.captured_at.as_deref().unwrap_or(&self.created_at);
        let (day, at) = settings.moment(captured, &format!("{place}/captured_at"))?;
        let account = self.account(settings);
        let mut data = Map::new();
        let mut put = |key: &str, value: Value| drop(data.insert(key.to_owned(), value));
        match &account {
            Some(account) => put("account", account.as_str().into()),
            None => {
                let text = format!("no customer account in metadata.{}", settings.account_key());
                put("reason", json!({ "code": "no-account", "text": text }));
            }
        }
        if let Some(fee) = self.fee(amount) {
            put("fee", json!(Money::of_minor(fee, &self.amount.currency)));
        }
        put("amount", json!(Money::of_minor(amount, &self.amount.currency)));
        put("channel", "acquiring".into());
        put("paidOn", day.into());
        put("paidAt", at.as_str().into());
        put("document", json!({ "number": self.id }));
        if let Some(invoice) = self.stated(settings.invoice_key()) {
            put("invoice", invoice.into());
        }
        let r#type = if account.is_some() { "payment.received.v1" } else { "payment.rejected.v1" };
        let draft = busbar_sdk::draft(payment_id(&self.id), r#type, Value::Object(data).to_string());
        Ok(Draft { subject: account.or_else(|| Some(self.id.clone())), time: Some(at), ..draft })
    }

    /// Kopecks that the service keeps, where it says what the shop gets.
    fn fee(&self, amount: i128) -> Option<i128> {
        let income = self.income_amount.as_ref().filter(|income| income.currency == self.amount.currency)?;
        Some(amount - income.minor()?).filter(|fee| *fee > 0)
    }

    /// `payment.link.issued.v1` of the page that the payer is to be sent to; nothing where it was paid meanwhile.
    ///
    /// # Errors
    /// `test-shop`, `no-link` where the payment is over, `bad-answer` for a page that is no `https` address.
    pub fn link(&self, settings: &Settings, invoice: &Invoice) -> Result<Option<Draft>, Rejection> {
        if !self.counts(settings) {
            return Err(rejection(
                "test-shop",
                "the credential is of a test shop: nobody can pay there",
                "config, credential",
            ));
        }
        match self.status.as_str() {
            "pending" => {}
            "waiting_for_capture" | "succeeded" => return Ok(None),
            other => return Err(rejection("no-link", format!("the payment is {other}"), "answer/status")),
        }
        let url = self.confirmation.as_ref().and_then(|confirmation| confirmation.confirmation_url.as_deref());
        let is_url = |url: &&str| {
            url.starts_with("https://") && url.len() <= URL_BYTES_MAX && !url.contains(char::is_whitespace)
        };
        let url = url.filter(is_url).ok_or_else(|| bad_answer("there is no page to pay at", "answer/confirmation"))?;
        let (_, at) = settings.moment(&self.created_at, "answer/created_at")?;
        let data = json!({
            "account": invoice.account,
            "invoice": invoice.number,
            "amount": Money::of_minor(sum(&self.amount, "answer/amount")?, &self.amount.currency),
            "url": url,
            "number": self.id,
            "issuer": { "kind": "payment-service", "name": "ЮKassa" },
        });
        let draft = busbar_sdk::draft(
            ids::derived(&["yookassa", "link", &self.id]),
            "payment.link.issued.v1",
            data.to_string(),
        );
        Ok(Some(Draft { subject: Some(invoice.account.clone()), time: Some(at), ..draft }))
    }
}

impl Refund {
    /// `payment.refunded.v1` of one that succeeded.
    ///
    /// # Errors
    /// `bad-answer` for a sum or a time that is none.
    pub fn draft(&self, settings: &Settings, account: &str, place: &str) -> Result<Draft, Rejection> {
        let amount = sum(&self.amount, &format!("{place}/amount"))?;
        let (day, at) = settings.moment(&self.created_at, &format!("{place}/created_at"))?;
        let mut data = json!({
            "account": account,
            "amount": Money::of_minor(amount, &self.amount.currency),
            "channel": "acquiring",
            "refundedOn": day,
            "refundedAt": at,
            "document": { "number": self.id },
            "payment": { "number": self.payment_id },
        });
        let text = self.description.as_deref().map(str::trim).filter(|text| !text.is_empty());
        if let (Some(text), Some(data)) = (text, data.as_object_mut()) {
            // In words only: what kind of reason it is, the API does not say.
            data.insert("reason".to_owned(), json!({ "code": "other", "text": cut(text, REASON_CHARS_MAX) }));
        }
        let draft = busbar_sdk::draft(refund_id(&self.id), "payment.refunded.v1", data.to_string());
        Ok(Draft { subject: Some(account.to_owned()), time: Some(at), ..draft })
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

/// The data of invoice.issued.v1 as far as it is used.
#[derive(Deserialize)]
pub struct Invoice {
    account: String,
    number: String,
    amount: Money,
}

/// A request for a payment page.
pub struct Order {
    pub key: String,
    pub body: Vec<u8>,
}

impl Order {
    /// Nothing where there is nothing to pay.
    ///
    /// # Errors
    /// `bad-config` without `return-url`, `bad-amount` for parts of a kopeck.
    pub fn of(settings: &Settings, message: &Message, invoice: &Invoice) -> Result<Option<Self>, Failure> {
        let missing = || rejected("bad-config", "no return-url is set", "config, return-url");
        let return_url = settings.return_url.as_deref().ok_or_else(missing)?;
        let minor = invoice.amount.minor();
        let minor =
            minor.ok_or_else(|| rejected("bad-amount", "the sum has parts of a kopeck", "/data/amount/value"))?;
        if minor <= 0 {
            return Ok(None);
        }
        let template = settings.description.as_deref().unwrap_or("Счёт {invoice}, ЛС {account}");
        let description = template.replace("{account}", &invoice.account).replace("{invoice}", &invoice.number);
        let mut metadata = Map::new();
        metadata.insert(settings.account_key().to_owned(), invoice.account.as_str().into());
        metadata.insert(settings.invoice_key().to_owned(), invoice.number.as_str().into());
        let body = json!({
            "amount": Money::of_minor(minor, &invoice.amount.currency),
            "capture": true,
            "confirmation": { "type": "redirect", "return_url": return_url },
            "description": cut(&description, DESCRIPTION_CHARS_MAX),
            "metadata": metadata,
        });
        let key = ids::derived(&["yookassa", &message.source, &message.id]);
        Ok(Some(Self { key, body: body.to_string().into_bytes() }))
    }
}

/// Hundredths, above zero, of a known kind of currency.
fn sum(amount: &Money, place: &str) -> Result<i128, Rejection> {
    let is_currency = amount.currency.len() == 3 && amount.currency.bytes().all(|byte| byte.is_ascii_uppercase());
    let minor = amount.minor().filter(|minor| is_currency && *minor > 0);
    minor.ok_or_else(|| bad_answer("this is no sum of money", place))
}

pub fn bad_answer(reason: &str, place: &str) -> Rejection {
    rejection("bad-answer", reason, place)
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

//! A page to pay an invoice at: that of an invoice at the service, open for weeks, or that of a payment, open for an hour.
//!
//! Source: ЮKassa API v3, objects Invoice and Payment.

use busbar_sdk::acquiring::{self, Invoice, Page};
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::money::{Money, currency_of_code};
use busbar_sdk::{Draft, Failure, Message, Rejection, ids, rejected, rejection};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::mapping::{Payment, Settings, bad_answer};

/// Characters of a description; the API refuses more.
const DESCRIPTION_CHARS_MAX: usize = 128;
const ISSUER: &str = "ЮKassa";

/// What a page is made of.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    #[default]
    Invoice,
    Payment,
}

/// A request for a page.
pub struct Order {
    pub path: &'static str,
    pub key: String,
    pub body: Vec<u8>,
}

impl Order {
    /// Nothing where there is nothing to pay.
    ///
    /// # Errors
    /// `bad-config` without `return-url` for a payment, `bad-amount` for parts of a kopeck, `bad-currency`, `expired`.
    pub fn of(settings: &Settings, message: &Message, invoice: &Invoice, now_ms: u64) -> Result<Option<Self>, Failure> {
        let currency = &invoice.amount.currency;
        if currency_of_code(currency) != Some(currency.as_str()) {
            return Err(rejected("bad-currency", "this is no currency of ISO 4217", "/data/amount/currency"));
        }
        let Some(minor) = invoice.due()? else { return Ok(None) };
        let amount = Money::of_minor(minor, &invoice.amount.currency);
        let description = invoice.described(settings.description(), DESCRIPTION_CHARS_MAX);
        let mut metadata = Map::new();
        metadata.insert(settings.account_key().to_owned(), invoice.account.as_str().into());
        metadata.insert(settings.invoice_key().to_owned(), invoice.number.as_str().into());
        let payment = json!({ "amount": amount, "capture": true, "description": description, "metadata": metadata });
        let key = |kind: &[&str]| ids::derived(&[&["yookassa"], kind, &[&message.source, &message.id]].concat());
        Ok(Some(match settings.page {
            Kind::Payment => {
                Self { path: "/payments", key: key(&[]), body: with_return(settings, payment)?.into_bytes() }
            }
            Kind::Invoice => {
                let expiry = invoice.expiry(settings.link_days(), settings.offset(), now_ms)?;
                let cart = json!([{ "description": description, "price": amount, "quantity": 1 }]);
                let body = json!({
                    "payment_data": payment,
                    "cart": cart,
                    "delivery_method_data": { "type": "self" },
                    "expires_at": utc(expiry),
                    "description": description,
                    "metadata": metadata,
                });
                Self { path: "/invoices", key: key(&["invoice"]), body: body.to_string().into_bytes() }
            }
        }))
    }
}

fn with_return(settings: &Settings, mut payment: Value) -> Result<String, Failure> {
    let missing = || rejected("bad-config", "no return-url is set", "config, return-url");
    let url = settings.return_url.as_deref().ok_or_else(missing)?;
    if let Some(payment) = payment.as_object_mut() {
        payment.insert("confirmation".to_owned(), json!({ "type": "redirect", "return_url": url }));
    }
    Ok(payment.to_string())
}

/// `2026-11-30T20:59:59.000Z`.
fn utc(seconds: i64) -> String {
    let utc = Offset::of_minutes(0).unwrap_or(Offset::MOSCOW);
    let moment = dates::local_of_unix_seconds(seconds, utc).map(|moment| dates::rfc3339(moment, utc));
    moment.map(|text| text.replace("+00:00", ".000Z")).unwrap_or_default()
}

/// An invoice at the service as far as it is used.
#[derive(Deserialize)]
pub struct Bill {
    pub id: String,
    status: String,
    created_at: String,
    expires_at: Option<String>,
    delivery_method: Option<Delivery>,
}

#[derive(Deserialize)]
struct Delivery {
    url: Option<String>,
}

impl Bill {
    /// `payment.link.issued.v1` of its page; nothing where it was paid meanwhile.
    ///
    /// # Errors
    /// `no-link` where it is over, `bad-answer` for a page that is no `https` address.
    pub fn link(&self, settings: &Settings, invoice: &Invoice) -> Result<Option<Draft>, Failure> {
        match self.status.as_str() {
            "pending" => {}
            "succeeded" => return Ok(None),
            other => return Err(rejected("no-link", format!("the invoice is {other}"), "answer/status")),
        }
        let url = self.delivery_method.as_ref().and_then(|delivery| delivery.url.as_deref());
        let expires_at = self.expires_at.as_deref();
        let page = Page {
            invoice,
            amount: Money::of_minor(invoice.due()?.unwrap_or_default(), &invoice.amount.currency),
            url: page(url, "answer/delivery_method")?,
            number: number(&self.id)?,
            issuer: ISSUER,
            expires_at: expires_at.map(|text| settings.moment(text, "answer/expires_at")).transpose()?,
            at: Some(settings.moment(&self.created_at, "answer/created_at")?),
        };
        Ok(Some(page.draft(link_id(&self.id))))
    }
}

impl Payment {
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
        let page = Page {
            invoice,
            amount: self.sum("answer/amount")?,
            url: page(url, "answer/confirmation")?,
            number: number(&self.id)?,
            issuer: ISSUER,
            expires_at: None,
            at: Some(settings.moment(&self.created_at, "answer/created_at")?),
        };
        Ok(Some(page.draft(link_id(&self.id))))
    }
}

fn page<'a>(url: Option<&'a str>, place: &str) -> Result<&'a str, Rejection> {
    url.filter(|url| acquiring::is_page(url)).ok_or_else(|| bad_answer("there is no page to pay at", place))
}

fn number(id: &str) -> Result<&str, Rejection> {
    if acquiring::is_number(id) { Ok(id) } else { Err(bad_answer("this is no id", "answer/id")) }
}

fn link_id(id: &str) -> String {
    ids::derived(&["yookassa", "link", id])
}

//! An incoming document as `payment.received.v1` or `payment.rejected.v1`.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::{Draft, money::Money, purpose::Found, texts::first_chars};
use serde::Serialize;
use time::Date;

use super::day_time;
use crate::document::{Checked, Document, Key};

pub struct Payment<'a> {
    pub document: &'a Document,
    pub checked: &'a Checked,
    pub own_account: &'a str,
    /// The day it arrived.
    pub day: Date,
    pub currency: &'a str,
    pub offset: Offset,
}

impl Payment<'_> {
    pub fn draft(&self, id: String, found: Found, purpose: &str) -> Draft {
        let (account, reason) = match found {
            Found::One(account) => (Some(account), None),
            Found::None => (None, Some(Reason::no_account())),
            Found::Many(accounts) => (None, Some(Reason::ambiguous(&accounts))),
            Found::Treasury(account) => (None, Some(Reason::treasury(&account))),
        };
        self.credited(id, account, reason, purpose)
    }

    /// An own payment that came back.
    pub fn returned(&self, id: String, purpose: &str) -> Draft {
        self.credited(id, None, Some(Reason::returned()), purpose)
    }

    fn credited(&self, id: String, account: Option<String>, reason: Option<Reason>, purpose: &str) -> Draft {
        let document = self.document;
        let number = document.text(Key::Number);
        let payer_name = document.payer_name();
        let data = Data {
            reason,
            account: account.as_deref(),
            amount: Money::of_minor(self.checked.sum_minor, self.currency),
            channel: "bank-statement",
            paid_on: dates::iso_date(self.day),
            document: self.reference(),
            payer: Payer {
                name: filled(&payer_name),
                tax_id: filled(document.text(Key::PayerInn)).filter(|inn| is_inn(inn)),
                account: filled(document.payer_account()).filter(|account| account.len() <= 34),
                bic: bic(document.text(Key::PayerBic)),
            },
            receiver: Receiver { account: self.own_account, bic: bic(document.text(Key::ReceiverBic)) },
            purpose: filled(purpose),
        };
        let r#type = if account.is_some() { "payment.received.v1" } else { "payment.rejected.v1" };
        let text = serde_json::to_string(&data).unwrap_or_default();
        Draft {
            subject: Some(account.unwrap_or_else(|| number.to_owned())),
            time: Some(day_time(self.day, self.offset)),
            place: Some(format!("line {}", document.line)),
            ..busbar_sdk::draft(id, r#type, text)
        }
    }
}

impl Payment<'_> {
    /// A credit that the bank has taken back from the account of a customer.
    pub fn taken_back(&self, id: String, account: &str) -> Draft {
        let document = self.document;
        let payer_name = document.payer_name();
        let data = Refund {
            account,
            amount: Money::of_minor(-self.checked.sum_minor, self.currency),
            channel: "bank-statement",
            refunded_on: dates::iso_date(self.day),
            reason: Reversal { code: "reversal" },
            document: self.reference(),
            payee: Payer {
                name: filled(&payer_name),
                tax_id: filled(document.text(Key::PayerInn)).filter(|inn| is_inn(inn)),
                account: filled(document.payer_account()).filter(|account| account.len() <= 34),
                bic: bic(document.text(Key::PayerBic)),
            },
        };
        Draft {
            subject: Some(account.to_owned()),
            time: Some(day_time(self.day, self.offset)),
            place: Some(format!("line {}", document.line)),
            ..busbar_sdk::draft(id, "payment.refunded.v1", serde_json::to_string(&data).unwrap_or_default())
        }
    }

    fn reference(&self) -> Reference<'_> {
        Reference {
            number: self.document.text(Key::Number),
            date: dates::iso_date(self.checked.date),
            kind: first_chars(&self.document.kind, 100),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refund<'a> {
    account: &'a str,
    amount: Money,
    channel: &'static str,
    refunded_on: String,
    reason: Reversal,
    document: Reference<'a>,
    payee: Payer<'a>,
}

#[derive(Serialize)]
struct Reversal {
    code: &'static str,
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn bic(text: &str) -> Option<&str> {
    filled(text).filter(|bic| bic.len() <= 11)
}

// Banks also write `0` or a number of another length.
fn is_inn(text: &str) -> bool {
    (10..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    amount: Money,
    channel: &'static str,
    paid_on: String,
    document: Reference<'a>,
    payer: Payer<'a>,
    receiver: Receiver<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'a str>,
}

#[derive(Serialize)]
struct Reason {
    code: &'static str,
    text: String,
}

impl Reason {
    fn no_account() -> Self {
        Self {
            code: "no-account", text: "no customer account in НазначениеПлатежа or Код".to_owned()
        }
    }

    fn returned() -> Self {
        Self {
            code: "returned", text: "an own payment that came back, by its НазначениеПлатежа".to_owned()
        }
    }

    fn treasury(account: &str) -> Self {
        Self { code: "treasury-account", text: format!("{account} is a number of an account at the treasury") }
    }

    fn ambiguous(accounts: &[String]) -> Self {
        let text = format!("several customer accounts: {}", accounts.join(", "));
        Self { code: "ambiguous-account", text: first_chars(&text, 500).to_owned() }
    }
}

#[derive(Serialize)]
struct Reference<'a> {
    number: &'a str,
    date: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bic: Option<&'a str>,
}

#[derive(Serialize)]
struct Receiver<'a> {
    account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bic: Option<&'a str>,
}

//! What the gateways of internet acquiring share: the invoice that a page is made for, the messages of the page, of the
//! payment and of the refund, and patterns that find an account in the number of an order.

use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::Duration;

use crate::dates::Offset;
use crate::money::Money;
use crate::texts::is_plain;
use crate::{Draft, Failure, Message, dates, draft, rejected};

/// Characters of a number or an account.
pub const NUMBER_CHARS_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2048;
const REASON_CHARS_MAX: usize = 500;

/// The data of invoice.issued.v1 as far as a page to pay at needs it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    pub account: String,
    pub number: String,
    issued_on: String,
    pub amount: Money,
}

impl Invoice {
    /// Hundredths; nothing where nothing is to be paid.
    ///
    /// # Errors
    /// `bad-amount` for parts of a hundredth; `bad-account` and `bad-number` for what cannot name an account or an invoice in a
    /// message.
    pub fn due(&self) -> Result<Option<i128>, Failure> {
        if !is_number(&self.account) || self.account.contains(is_blank) {
            return Err(rejected("bad-account", "this is no number of an account", "/data/account"));
        }
        if !is_number(&self.number) {
            return Err(rejected("bad-number", "this is no number of an invoice", "/data/number"));
        }
        let minor = self.amount.minor();
        let minor =
            minor.ok_or_else(|| rejected("bad-amount", "the sum has parts of a kopeck", "/data/amount/value"))?;
        Ok((minor > 0).then_some(minor))
    }

    /// # Errors
    /// `bad-currency` where it is in another.
    pub fn must_be_in(&self, currency: &str) -> Result<(), Failure> {
        if self.amount.currency == currency {
            return Ok(());
        }
        Err(rejected("bad-currency", format!("payments here are in {currency}"), "/data/amount/currency"))
    }

    /// The template with `{account}` and `{invoice}` replaced, cut to so many characters.
    pub fn described(&self, template: &str, chars: usize) -> String {
        let text = template.replace("{account}", &self.account).replace("{invoice}", &self.number);
        cut(&text, chars)
    }

    /// Seconds since 1970 of the end of the day that is so many days after the one it was issued on: when its page expires. Of the
    /// message alone, so that a request made again is the same request.
    ///
    /// # Errors
    /// `expired` where that is over.
    pub fn expiry(&self, days: u32, offset: Offset, now_ms: u64) -> Result<i64, Failure> {
        let day = dates::parse_iso_date(&self.issued_on);
        let end = day.and_then(|day| day.checked_add(Duration::days(i64::from(days) + 1))).map(dates::start_of_day);
        let end = end.map(|end| dates::unix_seconds(end, offset) - 1);
        end.filter(|end| i64::try_from(now_ms / 1000).is_ok_and(|now| *end > now)).ok_or_else(|| {
            rejected("expired", "the page could not be paid at any more, see link-days", "/data/issuedOn")
        })
    }
}

/// A page to pay an invoice at.
pub struct Page<'a> {
    pub invoice: &'a Invoice,
    pub amount: Money,
    pub url: &'a str,
    /// Of the payment at the gateway.
    pub number: &'a str,
    pub issuer: &'a str,
    pub expires_at: Option<String>,
    /// When it was made, where the gateway says so.
    pub at: Option<String>,
}

impl Page<'_> {
    /// `payment.link.issued.v1`.
    pub fn draft(self, id: String) -> Draft {
        let mut data = json!({
            "account": self.invoice.account,
            "invoice": self.invoice.number,
            "amount": self.amount,
            "url": self.url,
            "number": self.number,
            "issuer": { "kind": "payment-service", "name": self.issuer },
        });
        if let (Some(data), Some(moment)) = (data.as_object_mut(), self.expires_at) {
            data.insert("expiresAt".to_owned(), moment.into());
        }
        let subject = Some(self.invoice.account.clone());
        Draft { subject, time: self.at, ..draft(id, "payment.link.issued.v1", data.to_string()) }
    }
}

/// Whether a payer can be sent there: a URI by its characters (RFC 3986), as the schema of a link wants it.
pub fn is_page(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte);
    let is_escape = |after: &str| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    url.len() <= URL_BYTES_MAX
        && host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && rest.bytes().all(is_one)
        && rest.matches('#').count() <= 1
        && rest.split('%').skip(1).all(is_escape)
}

/// Money that a gateway took.
pub struct Payment<'a> {
    pub account: Option<String>,
    /// Where the account was looked for.
    pub sought: &'a str,
    pub amount: Money,
    pub fee: Option<Money>,
    /// RFC 3339, local to the utility.
    pub at: String,
    /// Of the payment at the gateway.
    pub number: &'a str,
    pub invoice: Option<String>,
}

impl Payment<'_> {
    /// `payment.received.v1`, or `payment.rejected.v1` where there is no account.
    pub fn draft(self, id: String) -> Draft {
        let mut data = Map::new();
        let mut put = |key: &str, value: Value| drop(data.insert(key.to_owned(), value));
        match &self.account {
            Some(account) => put("account", account.as_str().into()),
            None => {
                let text = format!("no customer account in {}", self.sought);
                put("reason", json!({ "code": "no-account", "text": text }));
            }
        }
        if let Some(fee) = self.fee {
            put("fee", json!(fee));
        }
        put("amount", json!(self.amount));
        put("channel", "acquiring".into());
        put("paidOn", day(&self.at));
        put("paidAt", self.at.as_str().into());
        put("document", json!({ "number": self.number }));
        if let Some(invoice) = self.invoice {
            put("invoice", invoice.into());
        }
        let r#type = if self.account.is_some() { "payment.received.v1" } else { "payment.rejected.v1" };
        let subject = self.account.or_else(|| Some(self.number.to_owned()));
        Draft { subject, time: Some(self.at), ..draft(id, r#type, Value::Object(data).to_string()) }
    }
}

/// Money that went back.
pub struct Refund<'a> {
    pub account: String,
    pub amount: Money,
    /// RFC 3339, local to the utility.
    pub at: String,
    /// Numbers at the gateway: of the payment, and of the refund where it has one.
    pub payment: &'a str,
    pub number: Option<&'a str>,
    /// In words; what kind of reason it is, gateways do not say.
    pub reason: Option<&'a str>,
}

impl Refund<'_> {
    /// `payment.refunded.v1`.
    pub fn draft(self, id: String) -> Draft {
        let mut data = json!({
            "account": self.account,
            "amount": self.amount,
            "channel": "acquiring",
            "refundedOn": day(&self.at),
            "refundedAt": self.at,
            "payment": { "number": self.payment },
        });
        if let Some(data) = data.as_object_mut() {
            if let Some(number) = self.number {
                data.insert("document".to_owned(), json!({ "number": number }));
            }
            if let Some(text) = self.reason.map(str::trim).filter(|text| !text.is_empty()) {
                data.insert("reason".to_owned(), json!({ "code": "other", "text": cut(text, REASON_CHARS_MAX) }));
            }
        }
        let draft = draft(id, "payment.refunded.v1", data.to_string());
        Draft { subject: Some(self.account), time: Some(self.at), ..draft }
    }
}

/// What a message stated earlier says: of a page, a payment (also a rejected one).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Stated {
    pub account: Option<String>,
    pub invoice: Option<String>,
    pub amount: Option<Money>,
}

impl Stated {
    /// A payment that comes again is what was stated of it: gateways take one payment under a number.
    ///
    /// # Errors
    /// `other-sum`, `other-account` with the place of the sum.
    pub fn must_be(&self, amount: &Money, account: Option<&str>, place: &str) -> Result<(), Failure> {
        if let Some(stated) = self.amount.as_ref().filter(|stated| !is_same(stated, amount)) {
            let reason = format!(
                "{} {} was stated of this payment, now it is {} {}",
                stated.value, stated.currency, amount.value, amount.currency
            );
            return Err(rejected("other-sum", reason, place));
        }
        match (self.account.as_deref(), account) {
            (Some(stated), Some(account)) if stated != account => {
                Err(rejected("other-account", "this payment was stated for another account", place))
            }
            _ => Ok(()),
        }
    }
}

fn is_same(one: &Money, other: &Money) -> bool {
    one.currency == other.currency
        && (one.value == other.value || one.minor().is_some_and(|minor| other.minor() == Some(minor)))
}

/// Of what `lookup` gave; nothing where it gave nothing.
pub fn stated(message: Option<Message>) -> Option<Stated> {
    serde_json::from_str(&message?.data).ok()
}

/// A regular expression of the settings; its first group is what is looked for.
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// `rejected(bad-config)` where it does not compile or has no group.
    pub fn new(text: &str, setting: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| rejected("bad-config", format!("`{text}` {why}"), format!("config, {setting}"));
        let regex = Regex::new(text).map_err(|error| wrong(&error.to_string()))?;
        if regex.captures_len() < 2 { Err(wrong("has no group")) } else { Ok(Self(regex)) }
    }

    /// At most [`NUMBER_CHARS_MAX`] characters.
    pub fn find(&self, text: &str) -> Option<String> {
        let found = self.0.captures(text)?.get(1)?.as_str();
        is_number(found).then(|| found.to_owned())
    }

    /// The same without blanks in it.
    pub fn account(&self, text: &str) -> Option<String> {
        self.find(text).filter(|account| !account.contains(is_blank))
    }
}

/// What the schemas take for a blank: also the byte order mark, which Unicode does not count among them.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{FEFF}'
}

/// Whether it can be a number in a message: one to [`NUMBER_CHARS_MAX`] characters, no control characters.
pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= NUMBER_CHARS_MAX && is_plain(text)
}

fn day(at: &str) -> Value {
    at.get(..10).unwrap_or_default().into()
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoice(amount: &str) -> Invoice {
        let data = json!({ "account": "500100200300", "number": "17", "issuedOn": "2026-11-01", "amount": { "value": amount, "currency": "RUB" } });
        serde_json::from_value(data).unwrap()
    }

    #[test]
    fn what_is_due() {
        assert_eq!(invoice("1052.98").due().unwrap(), Some(105_298));
        assert_eq!((invoice("0").due().unwrap(), invoice("-10.00").due().unwrap()), (None, None));
        assert!(invoice("1.0001").due().is_err());
        assert!(invoice("1").must_be_in("RUB").is_ok() && invoice("1").must_be_in("KZT").is_err());
        assert_eq!(invoice("1").described("Счёт {invoice}, ЛС {account}", 12), "Счёт 17, ЛС ");
    }

    #[test]
    fn until_the_end_of_a_day() {
        let until = |days, now_ms| invoice("1").expiry(days, Offset::MOSCOW, now_ms).ok();
        // 2026-12-01T23:59:59+03:00
        assert_eq!(until(30, 1_795_330_800_000), Some(1_796_158_799));
        assert_eq!((until(30, 1_796_158_799_000), until(u32::MAX, 0)), (None, None));
    }

    #[test]
    fn patterns_need_a_group() {
        assert!(Pattern::new("[0-9]+", "x").is_err() && Pattern::new("(", "x").is_err());
        let pattern = Pattern::new("^(.*)-", "x").ok().unwrap();
        assert_eq!((pattern.find("1 2-3").as_deref(), pattern.account("1 2-3")), (Some("1 2"), None));
        assert_eq!(pattern.find(&format!("{}-", "1".repeat(65))), None);
        assert_eq!(pattern.find("1\u{1}2-3"), None);
    }

    #[test]
    fn a_payment_stays_what_it_was() {
        let money = |value: &str, currency: &str| Money { value: value.into(), currency: currency.into() };
        let stated = Stated { account: Some("1".into()), invoice: None, amount: Some(money("10.50", "RUB")) };
        for (amount, account, expected) in [
            (money("10.5", "RUB"), Some("1"), None),
            (money("10.50", "RUB"), None, None),
            (money("10.51", "RUB"), Some("1"), Some("other-sum")),
            (money("10.50", "USD"), Some("1"), Some("other-sum")),
            (money("10.50", "RUB"), Some("2"), Some("other-account")),
        ] {
            let code = match stated.must_be(&amount, account, "x") {
                Err(Failure::Rejected(rejection)) => Some(rejection.code),
                _ => None,
            };
            assert_eq!(code.as_deref(), expected);
        }
    }

    #[test]
    fn pages() {
        assert!(is_page("https://pay.example:8443/1") && is_page("https://pay.example?a:b@c"));
        assert!(is_page("https://pay.example/1") && is_page("https://pay.example/?a=%D0%90&b=1#c"));
        for url in [
            "http://pay.example/1",
            "javascript:x",
            "https://pay.example/ 1",
            "https://pay.example/\"",
            "https://pay.example/%4",
            "https:///1",
            "https://pay.example:84a3/1",
            "https://pay.example:8443:1/1",
            "https://pay@example/1",
            "",
        ] {
            assert!(!is_page(url), "{url}");
        }
    }
}

//! Orders, tokens and states of payments.
//!
//! Source: T-Bank internet acquiring API v2, methods Init and GetState, payment notifications, section on the token.

use busbar_sdk::acquiring::{self, Invoice, Page, Pattern, Payment, Refund};
use busbar_sdk::credentials::Piece;
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::money::Money;
use busbar_sdk::{Draft, Failure, Rejection, ids, rejection};
use serde::Deserialize;
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// Terminals have no other.
pub const CURRENCY: &str = "RUB";
const DESCRIPTION_CHARS_MAX: usize = 140;
const DESCRIPTION: &str = "Счёт {invoice}, ЛС {account}";
/// Digits of a sum; the API has ten.
const SUM_DIGITS_MAX: usize = 15;

/// States of a payment that change no account: begun, on their way, held, given up, refused. The others are in [`crate::hub`].
pub const QUIET: [&str; 28] = [
    // Of an account that is bound for payments by SBP, not of a payment.
    "ACTIVE",
    "INACTIVE",
    "NEW",
    "FORM_SHOWED",
    "FORMSHOWED",
    "PREAUTHORIZING",
    "AUTHORIZING",
    "3DS_CHECKING",
    "3DS_CHECKED",
    "AUTHORIZED",
    "AUTH_FAIL",
    "PAY_CHECKING",
    "CONFIRMING",
    "CONFIRM_CHECKING",
    "REVERSING",
    "PARTIAL_REVERSED",
    "REVERSED",
    "REFUNDING",
    "ASYNC_REFUNDING",
    "CANCELED",
    "DEADLINE_EXPIRED",
    "ATTEMPTS_EXPIRED",
    "REJECTED",
    "PROCESSING",
    "CHECKING",
    "CHECKED",
    "RECEIPT",
    "CREDIT_CHECKING",
];

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawSettings {
    base_url: Option<String>,
    terminal_key: String,
    credential: String,
    return_url: Option<String>,
    description: Option<String>,
    link_days: Option<u32>,
    account_pattern: Option<String>,
    utc_offset: Option<Offset>,
}

pub struct Settings {
    pub base_url: String,
    pub terminal_key: String,
    credential: String,
    return_url: Option<String>,
    description: String,
    pub link_days: u32,
    account: Option<Pattern>,
    offset: Offset,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile or has no group.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        Ok(Self {
            base_url: raw.base_url.unwrap_or_else(|| "https://securepay.tinkoff.ru/v2".to_owned()),
            terminal_key: raw.terminal_key,
            credential: raw.credential,
            return_url: raw.return_url,
            description: raw.description.unwrap_or_else(|| DESCRIPTION.to_owned()),
            link_days: raw.link_days.unwrap_or(30),
            account: raw.account_pattern.map(|text| Pattern::new(&text, "account-pattern")).transpose()?,
            offset: raw.utc_offset.unwrap_or(Offset::MOSCOW),
        })
    }

    /// RFC 3339 of seconds since 1970.
    fn local(&self, seconds: i64) -> String {
        let local = dates::local_of_unix_seconds(seconds, self.offset);
        local.map(|local| dates::rfc3339(local, self.offset)).unwrap_or_default()
    }

    /// Now: neither a notification nor a state says when.
    fn now(&self, now_ms: u64) -> String {
        self.local(i64::try_from(now_ms / 1000).unwrap_or_default())
    }
}

/// What is under a token, in order: the values of all plain fields and the password as a field of its own, by name. Objects and
/// lists are not.
pub fn signed(settings: &Settings, fields: &Map<String, Value>) -> Vec<Piece> {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let mut named: Vec<(&str, Piece)> = fields
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "Token" | "Password"))
        .filter_map(|(name, value)| Some((name.as_str(), Piece::Plain(plain(value)?.into_bytes()))))
        .collect();
    named.push(("Password", Piece::Secret(settings.credential.clone())));
    named.sort_by_key(|(name, _)| *name);
    named.into_iter().map(|(_, piece)| piece).collect()
}

/// A request for a page to pay at.
pub struct Order {
    /// Hundredths.
    pub minor: i128,
    /// Up to 32 characters; the API takes 36.
    number: String,
    expires_at: String,
}

impl Order {
    /// Nothing where there is nothing to pay.
    ///
    /// # Errors
    /// `bad-amount`, `bad-currency`; `expired` where the page could not be paid at any more.
    pub fn of(
        settings: &Settings,
        (source, id): (&str, &str),
        invoice: &Invoice,
        now_ms: u64,
    ) -> Result<Option<Self>, Failure> {
        invoice.must_be_in(CURRENCY)?;
        let Some(minor) = invoice.due()? else { return Ok(None) };
        let until = invoice.expiry(settings.link_days, settings.offset, now_ms)?;
        let number = ids::derived(&["tbank", source, id]);
        Ok(Some(Self { minor, number, expires_at: settings.local(until) }))
    }

    /// The fields without the token. `again`: how many orders of this one were found made already, with pages that nobody knows.
    pub fn fields(&self, settings: &Settings, invoice: &Invoice, again: usize) -> Map<String, Value> {
        let number = if again == 0 { self.number.clone() } else { format!("{}-{}", self.number, again + 1) };
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("TerminalKey", settings.terminal_key.as_str().into());
        put("Amount", u64::try_from(self.minor).unwrap_or_default().into());
        put("OrderId", number.into());
        put("Description", invoice.described(&settings.description, DESCRIPTION_CHARS_MAX).into());
        put("PayType", "O".into());
        put("RedirectDueDate", self.expires_at.as_str().into());
        if let Some(url) = &settings.return_url {
            put("SuccessURL", url.as_str().into());
            put("FailURL", url.as_str().into());
        }
        fields
    }

    /// `payment.link.issued.v1` and the payment's number.
    ///
    /// # Errors
    /// `bad-answer` without a page or a number.
    pub fn page(&self, invoice: &Invoice, answer: &Fields) -> Result<(Draft, String), Rejection> {
        let number = answer.number("PaymentId")?;
        let url = answer.text("PaymentURL").filter(|url| acquiring::is_page(url));
        let url =
            url.ok_or_else(|| rejection("bad-answer", "there is no page to pay at", answer.place("PaymentURL")))?;
        let page = Page {
            invoice,
            amount: Money::of_minor(self.minor, CURRENCY),
            url: &url,
            number: &number,
            issuer: "Т-Банк",
            expires_at: Some(self.expires_at.clone()),
            at: None,
        };
        Ok((page.draft(link_id(&number)), number))
    }
}

/// The fields of a notification or an answer. The API writes numbers now as numbers, now as texts.
pub struct Fields {
    pub map: Map<String, Value>,
    code: &'static str,
    place: &'static str,
}

impl Fields {
    /// `code` of rejections: of a notification `bad-field`, of an answer `bad-answer`.
    pub fn new(map: Map<String, Value>, code: &'static str, place: &'static str) -> Self {
        Self { map, code, place }
    }

    pub fn place(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    /// Nothing for an absent or empty one.
    pub fn text(&self, name: &str) -> Option<String> {
        let text = match self.map.get(name)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// # Errors
    /// For what is no number of a payment or an order.
    pub fn number(&self, name: &str) -> Result<String, Rejection> {
        let is_number = |text: &String| acquiring::is_number(text) && !text.contains(acquiring::is_blank);
        let text = self.text(name).filter(is_number);
        text.ok_or_else(|| rejection(self.code, format!("{name} is no number of anything"), self.place(name)))
    }

    /// Kopecks, above zero.
    pub fn sum(&self) -> Result<Money, Rejection> {
        let is_sum = |text: &String| text.len() <= SUM_DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
        let minor = self.text("Amount").filter(is_sum).and_then(|text| text.parse::<i128>().ok());
        let minor = minor.filter(|minor| *minor > 0);
        let wrong = || rejection(self.code, "Amount is no positive number of kopecks", self.place("Amount"));
        minor.map(|minor| Money::of_minor(minor, CURRENCY)).ok_or_else(wrong)
    }
}

/// `payment.received.v1` of a payment that was taken; `payment.rejected.v1` where no account is known. `page`: what was stated of the
/// page it was paid at. `amount`: where it is not that of the fields.
///
/// # Errors
/// See [`Fields::number`]; the code of the fields for a sum that is none, or not that of the page.
pub fn payment(
    settings: &Settings,
    fields: &Fields,
    page: Option<acquiring::Stated>,
    amount: Option<Money>,
    now_ms: u64,
) -> Result<Draft, Rejection> {
    let number = fields.number("PaymentId")?;
    let page = page.unwrap_or_default();
    let amount = amount.map_or_else(|| fields.sum(), Ok)?;
    // Values stand under the token without their names and borders: digits could have moved from one to the next.
    if page.amount.as_ref().is_some_and(|asked| asked.minor() != amount.minor()) {
        return Err(rejection(fields.code, "Amount is not that of the page", fields.place("Amount")));
    }
    let of_order = || settings.account.as_ref()?.account(&fields.text("OrderId")?);
    let payment = Payment {
        account: page.account.or_else(of_order),
        sought: "OrderId",
        amount,
        fee: None,
        at: settings.now(now_ms),
        number: &number,
        invoice: page.invoice,
    };
    Ok(payment.draft(payment_id(&number)))
}

/// `payment.refunded.v1` of a whole payment stated before; nothing where no account is known.
pub fn refund(settings: &Settings, number: &str, paid: acquiring::Stated, now_ms: u64) -> Option<Draft> {
    let refund = Refund {
        account: paid.account?,
        amount: paid.amount?,
        at: settings.now(now_ms),
        payment: number,
        number: None,
        reason: None,
    };
    Some(refund.draft(refund_id(number)))
}

pub fn payment_id(number: &str) -> String {
    ids::derived(&["tbank", "confirmed", number])
}

pub fn refund_id(number: &str) -> String {
    ids::derived(&["tbank", "refunded", number])
}

pub fn link_id(number: &str) -> String {
    ids::derived(&["tbank", "link", number])
}

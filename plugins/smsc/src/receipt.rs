//! What became of a message: a status of the callback or of the history, stated once.
//!
//! Source: SMSC.ru HTTP API, «Коды статусов», «Коды ошибок в статусе».

use busbar_sdk::dates;
use busbar_sdk::decimal::Decimal;
use busbar_sdk::loose::Loose;
use busbar_sdk::money::Money;
use busbar_sdk::{Draft, Failure, Hub, ids};
use serde_json::{Map, Value, json};

use crate::mapping::{self, Sent, Settings};

/// What a status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// With the code of notification.failed.v1.
    Failed(&'static str),
    /// Nothing yet.
    Waiting,
}

/// The code where the gateway, or its documentation, does not tell what became of a message.
pub const UNKNOWN: &str = "unknown";

impl Outcome {
    /// `error`: the code beside the status, which says why it was not delivered. A status that the documentation has not
    /// is no wait: nobody knows what became of the message.
    pub fn of(status: i64, error: Option<i64>) -> Self {
        match status {
            -1 | 0 => Self::Waiting,
            // Read, and its link pressed, is delivered too.
            1 | 2 | 4 => Self::Delivered,
            -2 => Self::Failed("cancelled"),
            3 => Self::Failed("expired"),
            20 | 25 => Self::Failed(reason(error.unwrap_or(0))),
            22 => Self::Failed("unknown-recipient"),
            23 => Self::Failed("blocked"),
            24 => Self::Failed("no-credit"),
            // -3: the gateway has no such message.
            _ => Self::Failed(UNKNOWN),
        }
    }
}

/// «Коды ошибок в статусе»: 6 to 12, 21, 219, 220 and 238 on are no more than undeliverable.
fn reason(error: i64) -> &'static str {
    match error {
        1 | 249 => "unknown-recipient",
        13 | 244 | 250 | 252 => "blocked",
        237 | 242 => "no-answer",
        240 => "busy",
        // The operator told no status.
        245 => UNKNOWN,
        253..=255 => "rejected",
        _ => "undeliverable",
    }
}

pub struct Receipt {
    /// Id that was given to the message when it was sent.
    pub own: String,
    pub phone: String,
    pub outcome: Outcome,
    /// For a person.
    pub text: String,
    /// Seconds since 1970; now where the gateway states none.
    pub at: Option<i64>,
    pub parts: Option<usize>,
    pub cost: Option<Money>,
    pub sender: Option<String>,
}

/// How a receipt was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Stated,
    /// Stated before, or nothing to state yet.
    Nothing,
    /// The memory of the message is gone, or not there yet.
    Forgotten,
}

/// States it, unless it was stated.
///
/// # Errors
/// See [`state`].
pub fn take(settings: &Settings, receipt: &Receipt, hub: &mut impl Hub) -> Result<Taken, Failure> {
    if !mapping::is_own(&receipt.own) {
        return Ok(Taken::Nothing);
    }
    if receipt.outcome == Outcome::Waiting {
        return Ok(Taken::Nothing);
    }
    if hub.is_known(&draft_id(receipt)) {
        return Ok(Taken::Nothing);
    }
    let memory = hub.get(&Sent::key(&receipt.own)).and_then(|bytes| serde_json::from_slice::<Sent>(&bytes).ok());
    let Some(sent) = memory.or_else(|| Sent::of_own(&receipt.own)) else { return Ok(Taken::Forgotten) };
    state(settings, receipt, sent, hub)?;
    Ok(Taken::Stated)
}

/// States it.
///
/// # Errors
/// `other` for a time outside of the calendar.
pub fn state(settings: &Settings, receipt: &Receipt, sent: Sent, hub: &mut impl Hub) -> Result<(), Failure> {
    let now = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
    let offset = settings.offset();
    let local = dates::local_of_unix_seconds(receipt.at.unwrap_or(now), offset);
    let at = local.map(|local| dates::rfc3339(local, offset));
    let at = at.ok_or_else(|| Failure::Other("a time outside of the calendar".to_owned()))?;
    let mut data = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        value.and_then(|value| data.insert(key.to_owned(), value));
    };
    put("id", Some(sent.id.as_str().into()));
    put("channel", Some("sms".into()));
    put("account", sent.account.map(Value::from));
    put("providerId", Some(receipt.own.as_str().into()));
    put("parts", receipt.parts.or(sent.parts).map(Value::from));
    put("cost", receipt.cost.clone().or(sent.cost).map(|cost| json!(cost)));
    put("sender", receipt.sender.clone().or(sent.sender).map(Value::from));
    let r#type = match receipt.outcome {
        Outcome::Failed(code) => {
            put("failedAt", Some(at.as_str().into()));
            put("reason", Some(json!({ "code": code, "text": receipt.text })));
            "notification.failed.v1"
        }
        _ => {
            put("deliveredAt", Some(at.as_str().into()));
            "notification.delivered.v1"
        }
    };
    let draft = busbar_sdk::draft(draft_id(receipt), r#type, Value::Object(data).to_string());
    hub.emit(Draft { subject: Some(sent.id), time: Some(at), ..draft });
    Ok(())
}

/// Of the message and whether it arrived: the same by callback and by history.
fn draft_id(receipt: &Receipt) -> String {
    let what = match receipt.outcome {
        Outcome::Delivered => "delivered",
        // What is learnt later is another statement.
        Outcome::Failed(UNKNOWN) => UNKNOWN,
        _ => "failed",
    };
    let phone: String = receipt.phone.chars().filter(char::is_ascii_digit).collect();
    ids::derived(&["smsc", what, &receipt.own, &phone])
}

/// A cost as the gateway writes it; nothing for what is no sum.
pub fn cost(settings: &Settings, text: &Loose) -> Option<Money> {
    let value = Decimal::parse(&text.text()).filter(|cost| !cost.is_negative())?;
    value.units(4)?;
    let value = match value.units(2) {
        Some(minor) => busbar_sdk::money::format_minor(minor),
        None => value.canonical()?,
    };
    Some(Money { value, currency: settings.currency().to_owned() })
}

/// Seconds since 1970 of `31.12.2026 23:59:59`, local.
pub fn local_seconds(settings: &Settings, text: &str) -> Option<i64> {
    dates::parse_russian_date_time(text.trim(), ' ').map(|moment| dates::unix_seconds(moment, settings.offset()))
}

/// What is shown of a status in a reason.
pub fn words(status: i64, error: Option<i64>) -> String {
    match error {
        Some(error) if error != 0 => format!("status {status}, error {error}"),
        _ => format!("status {status}"),
    }
}

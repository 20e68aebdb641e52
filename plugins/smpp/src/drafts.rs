//! The messages that are stated. Pure.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::{Draft, draft, ids, phones, texts};
use serde_json::{Map, Value, json};

use crate::memory::Sent;
use crate::receipt::Outcome;
use crate::settings::Settings;

/// A receipt's time further from the clock is of a centre with another clock or zone.
const AHEAD_S: i64 = 10 * 60;
const BEHIND_S: i64 = 30 * 24 * 3600;
/// Characters of fields.
const PROVIDER_ID_CHARS: usize = 128;
const NAME_CHARS: usize = 500;
const REASON_CHARS: usize = 500;
/// Types of number (section 5.2.5).
const TON_INTERNATIONAL: u8 = 1;
const TON_NAME: u8 = 5;

fn rfc3339(seconds: i64, offset: Offset) -> String {
    dates::local_of_unix_seconds(seconds, offset).map_or_else(String::new, |local| dates::rfc3339(local, offset))
}

fn seconds(now_ms: u64) -> i64 {
    i64::try_from(now_ms / 1000).unwrap_or_default()
}

/// That a notification arrived, or did not. `key`: of the notification with all that was sent of it; `at`: seconds after 1970 by
/// the receipt.
pub fn outcome(
    settings: &Settings,
    key: &str,
    sent: &Sent,
    outcome: Outcome,
    text: &str,
    at: Option<i64>,
    now_ms: u64,
) -> Draft {
    let now = seconds(now_ms);
    let at = at.filter(|at| (now - BEHIND_S..=now + AHEAD_S).contains(at)).unwrap_or(now);
    let at = rfc3339(at, settings.utc_offset);
    let mut data = Map::from_iter([("id".to_owned(), sent.id.clone().into()), ("channel".to_owned(), "sms".into())]);
    let provider_id = sent.parts.iter().map(|part| &part.id).find(|id| !id.is_empty());
    let provider_id = provider_id.map(|id| texts::shortened(id, PROVIDER_ID_CHARS));
    for (name, value) in [("account", &sent.account), ("sender", &sent.sender), ("providerId", &provider_id)] {
        if let Some(value) = value {
            data.insert(name.to_owned(), value.clone().into());
        }
    }
    data.insert("parts".to_owned(), sent.charged.into());
    let (name, r#type) = match outcome {
        Outcome::Failed(code) => {
            let reason = json!({ "code": code, "text": texts::shortened(text, REASON_CHARS) });
            data.insert("reason".to_owned(), reason);
            ("failedAt", "notification.failed.v1")
        }
        _ => ("deliveredAt", "notification.delivered.v1"),
    };
    data.insert(name.to_owned(), at.clone().into());
    let draft = draft(ids::derived(&["smpp", name, key]), r#type, Value::Object(data).to_string());
    Draft { subject: Some(sent.id.clone()), time: Some(at), ..draft }
}

/// Who wrote: a telephone number in E.164 with its plus; else a short number or a name.
pub fn writer(settings: &Settings, source: &str, ton: u8) -> String {
    let digits = source.trim_start_matches('+');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let parse = |text: &str| phones::parse(text, &settings.country).number;
    let international = || parse(&format!("+{digits}"));
    let found = match ton {
        TON_NAME => None,
        TON_INTERNATIONAL => international().filter(|_| is_number),
        // Centres write international numbers without saying so.
        _ => parse(source).or_else(|| international().filter(|_| is_number && digits.len() >= 11)),
    };
    found.unwrap_or_else(|| texts::shortened(source, NAME_CHARS))
}

/// What somebody wrote. `writer`: see [`writer`]; `at_ms`: when it came first.
pub fn incoming(settings: &Settings, writer: &str, destination: &str, text: &str, at_ms: u64) -> Draft {
    let at = seconds(at_ms);
    let id = ids::derived(&["smpp", "incoming", writer, destination, text, &at_ms.to_string()]);
    let day = dates::local_of_unix_seconds(at, settings.utc_offset).map(|local| dates::iso_date(local.date()));
    let at = rfc3339(at, settings.utc_offset);
    let name = if writer.starts_with('+') { "phone" } else { "name" };
    let mut data = json!({ "id": id, "receivedOn": day, "receivedAt": at, "channel": "sms" });
    if !writer.is_empty() {
        data["customer"] = json!({ name: writer });
    }
    if !text.is_empty() {
        data["text"] = text.into();
    }
    Draft { subject: Some(id.clone()), time: Some(at), ..draft(id.clone(), "appeal.received.v1", data.to_string()) }
}

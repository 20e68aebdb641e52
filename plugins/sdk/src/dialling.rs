//! Customers told by telephone: `notification.requested.v1` of the channel `call` -> what an exchange is to dial; and what came of it ->
//! `notification.delivered.v1`, `notification.failed.v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::dates::{self, Offset};
use crate::memory::Store;
use crate::{
    Draft, Failure, Hub, Message, Rejection, data_of, draft, ids, rejected, rejection, template, texts, transient,
};

/// Begins what a hub calls its calls.
pub const PREFIX: &str = "bb-";
/// Where the calls that go on are kept.
const RUNNING: &str = "running";
/// A call that nothing was heard of for so long after it should have been answered is given up.
const SILENT_MS_MAX: u64 = 3_600_000;

/// What adapters have under `notify`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// `PJSIP/{number}@trunk`; empty: nobody is called.
    pub channel: String,
    pub context: String,
    pub exten: String,
    pub priority: u32,
    pub application: String,
    pub data: String,
    pub caller_id: String,
    pub timeout_s: u32,
    /// Name -> a JSON Pointer into the message's data, or the value itself.
    pub variables: BTreeMap<String, Value>,
    pub calls_at_once: usize,
    pub delivered_when: DeliveredWhen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveredWhen {
    #[default]
    Answered,
    /// The dialplan says so by an event.
    Confirmed,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            channel: String::new(),
            context: String::new(),
            exten: "s".to_owned(),
            priority: 1,
            application: String::new(),
            data: String::new(),
            caller_id: String::new(),
            timeout_s: 30,
            variables: BTreeMap::from([("BUSBAR_TEXT".to_owned(), "/text".into())]),
            calls_at_once: 5,
            delivered_when: DeliveredWhen::Answered,
        }
    }
}

impl Settings {
    /// # Errors
    /// `bad-config`.
    pub fn check(&self) -> Result<(), Rejection> {
        if self.channel.is_empty() {
            return Ok(());
        }
        let refuse = |reason: &str| Err(rejection("bad-config", reason, "config, notify"));
        if !["{number}", "{national}"].iter().any(|place| self.channel.contains(place)) {
            return refuse("`channel` has neither `{number}` nor `{national}`");
        }
        if self.context.is_empty() == self.application.is_empty() {
            return refuse("there must be `context` or `application`, and not both");
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Requested {
    id: String,
    channel: String,
    recipient: Recipient,
    sender: Option<String>,
    account: Option<String>,
    not_before_at: Option<String>,
    valid_until_at: Option<String>,
}

#[derive(Deserialize)]
struct Recipient {
    phone: Option<String>,
}

/// What is remembered of a call until its outcome is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    /// Of the notification.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The exchange has taken it.
    pub is_accepted: bool,
    pub is_answered: bool,
    /// It was seen to ring.
    #[serde(skip_serializing_if = "is_false")]
    pub rang: bool,
    /// Why it ended, Q.850.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<u32>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Sent {
    pub fn get(key: &str, store: &mut dyn Store) -> Option<Self> {
        store.get(&Self::key(key)).and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    pub fn set(&self, key: &str, store: &mut dyn Store) {
        store.set(&Self::key(key), serde_json::to_vec(self).unwrap_or_default());
    }

    pub fn forget(key: &str, store: &mut dyn Store) {
        store.delete(&Self::key(key));
    }

    fn key(key: &str) -> String {
        format!("order:{key}")
    }
}

/// Somebody to be called.
#[derive(Debug)]
pub struct Order {
    /// The call's name at the exchange; the same for the same message.
    pub key: String,
    pub channel: String,
    pub caller_id: String,
    pub variables: Vec<(String, String)>,
    pub sent: Sent,
    /// Nobody wants it any more.
    pub is_late: bool,
}

impl Order {
    /// # Errors
    /// `no-channel`, `unsupported-channel`, `no-phone`, `bad-validity`; `transient` while it is too early.
    pub fn of(settings: &Settings, country: &str, message: &Message, now_ms: u64) -> Result<Self, Failure> {
        let data: Requested = data_of(message)?;
        if settings.channel.is_empty() {
            return Err(rejected("no-channel", "the settings have no `notify`: nobody is called", "config, notify"));
        }
        if data.channel != "call" {
            return Err(rejected("unsupported-channel", "calls alone are made", "/data/channel"));
        }
        let phone = data.recipient.phone;
        let phone = phone.ok_or_else(|| rejected("no-phone", "there is no phone", "/data/recipient/phone"))?;
        let after = moment(data.not_before_at.as_deref(), "/data/notBeforeAt")?;
        let until = moment(data.valid_until_at.as_deref(), "/data/validUntilAt")?;
        if let Some(wait) = after.and_then(|after| after.checked_sub(now_ms)).filter(|wait| *wait > 0) {
            return Err(transient("it is not to be called yet", Some(wait)));
        }
        let number = phone.trim_start_matches('+').to_owned();
        let national = number.strip_prefix(country).unwrap_or(&number).to_owned();
        let all: Value = serde_json::from_str(&message.data).unwrap_or_default();
        let key = format!("{PREFIX}{}", ids::derived(&[&message.source, &message.id]));
        let mut variables = vec![("BUSBAR_ID".to_owned(), key.clone())];
        variables.extend(settings.variables.iter().filter_map(|(name, value)| {
            let value = match template::fill(value, &all)? {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Some((name.clone(), value))
        }));
        let is_number = |text: &String| text.trim_start_matches('+').bytes().all(|byte| byte.is_ascii_digit());
        Ok(Self {
            key,
            channel: settings.channel.replace("{number}", &number).replace("{national}", &national),
            caller_id: data.sender.filter(is_number).unwrap_or_else(|| settings.caller_id.clone()),
            variables,
            sent: Sent { id: data.id, account: data.account, ..Sent::default() },
            is_late: until.is_some_and(|until| until <= now_ms),
        })
    }
}

fn moment(text: Option<&str>, place: &str) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let ms = dates::unix_ms(text, Offset::MOSCOW).and_then(|ms| u64::try_from(ms).ok());
    ms.map(Some).ok_or_else(|| rejected("bad-validity", "no moment", place))
}

/// What an earlier attempt at a delivery did, where one may have done something.
#[derive(Debug, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// The exchange had taken it.
    Done,
    /// It may have been sent, and nobody heard of it.
    Unknown,
}

impl Before {
    /// What is remembered was written before anything was sent.
    pub fn of(key: &str, hub: &mut impl Hub) -> Self {
        match Sent::get(key, hub) {
            Some(sent) if sent.is_accepted => Self::Done,
            Some(_) => Self::Unknown,
            None if hub.is_known(&draft_id(key, true)) || hub.is_known(&draft_id(key, false)) => Self::Done,
            None => Self::Nothing,
        }
    }
}

/// Why it was not delivered: a code of `notification.failed.v1` and a text for a person.
pub type Reason = (&'static str, String);

/// The message of what came of it.
pub fn outcome(key: &str, sent: &Sent, result: Result<(), Reason>, at_ms: u64, offset: Offset) -> Draft {
    let at = dates::local_of_unix_ms(at_ms, offset).map(|local| dates::rfc3339(local, offset));
    let mut data = Map::from_iter([
        ("id".to_owned(), sent.id.as_str().into()),
        ("channel".to_owned(), "call".into()),
        ("providerId".to_owned(), key.into()),
    ]);
    if let Some(account) = &sent.account {
        data.insert("account".to_owned(), account.as_str().into());
    }
    let is_delivered = result.is_ok();
    let kind = match result {
        Ok(()) => {
            data.insert("deliveredAt".to_owned(), at.clone().into());
            "notification.delivered.v1"
        }
        Err((code, text)) => {
            data.insert("failedAt".to_owned(), at.clone().into());
            data.insert("reason".to_owned(), json!({ "code": code, "text": texts::shortened(&text, 500) }));
            "notification.failed.v1"
        }
    };
    Draft {
        subject: Some(sent.id.clone()),
        time: at,
        ..draft(draft_id(key, is_delivered), kind, Value::Object(data).to_string())
    }
}

fn draft_id(key: &str, is_delivered: bool) -> String {
    ids::derived(&["asterisk", if is_delivered { "delivered" } else { "failed" }, key])
}

/// The code for a cause that says more than that the call is over: ITU-T Q.850 (2018), table 1; 0 is Asterisk's own for
/// none. A cause that the table has not is `unknown`.
pub fn code_of_cause(cause: u32) -> Option<&'static str> {
    Some(match cause {
        // Normal call clearing says nothing of who cleared it and when.
        0 | 16 => return None,
        17 => "busy",
        18 | 19 => "no-answer",
        1 | 28 => "unknown-recipient",
        21 | 24 => "rejected",
        2..=9 | 14 | 20 | 22 | 23 | 25..=27 | 29..=31 => "undeliverable",
        34 | 38..=44 | 46 | 47 | 49 | 50 | 53 | 55 | 57 | 58 | 62 | 63 | 65 | 66 | 69 | 70 | 79 => "undeliverable",
        81..=88 | 90 | 91 | 95..=103 | 110 | 111 | 127 => "undeliverable",
        _ => "unknown",
    })
}

/// Whether a cause says no more than that the call was cleared, or that a timer was over: then what was seen of the call
/// decides (normal unspecified, recovery on timer expiry, interworking).
pub fn is_vague(cause: u32) -> bool {
    matches!(cause, 0 | 16 | 31 | 102 | 127)
}

/// The calls that were placed and go on, since when.
#[derive(Debug, Default)]
pub struct Running {
    calls: BTreeMap<String, u64>,
    is_changed: bool,
}

impl Running {
    pub fn load(store: &mut dyn Store) -> Self {
        let calls = store.get(RUNNING).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { calls: calls.unwrap_or_default(), is_changed: false }
    }

    pub fn save(&mut self, store: &mut dyn Store) {
        if std::mem::take(&mut self.is_changed) {
            store.set(RUNNING, serde_json::to_vec(&self.calls).unwrap_or_default());
        }
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub fn keys(&self) -> Vec<String> {
        self.calls.keys().cloned().collect()
    }

    pub fn begin(&mut self, key: &str, now_ms: u64) {
        self.is_changed = true;
        self.calls.insert(key.to_owned(), now_ms);
    }

    pub fn end(&mut self, key: &str) {
        self.is_changed |= self.calls.remove(key).is_some();
    }

    /// Those that nothing was heard of for too long.
    pub fn silent(&self, now_ms: u64) -> Vec<String> {
        let silent = self.calls.iter().filter(|(_, since)| now_ms >= **since + SILENT_MS_MAX);
        silent.map(|(key, _)| key.clone()).collect()
    }

    /// When the first of them will be silent for too long.
    pub fn next_ms(&self) -> Option<u64> {
        self.calls.values().min().map(|since| since + SILENT_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::code_of_cause;

    /// ITU-T Q.850, table 1.
    #[test]
    fn causes() {
        const TABLE: [u32; 67] = [
            1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 34, 38, 39,
            40, 41, 42, 43, 44, 46, 47, 49, 50, 53, 55, 57, 58, 62, 63, 65, 66, 69, 70, 79, 81, 82, 83, 84, 85, 86, 87,
            88, 90, 91, 95, 96, 97, 98, 99, 100, 101, 102,
        ];
        for cause in 0..300 {
            let is_known = TABLE.contains(&cause) || matches!(cause, 0 | 103 | 110 | 111 | 127);
            assert_eq!(code_of_cause(cause) == Some("unknown"), !is_known, "{cause}");
        }
        for (cause, expected) in
            [(0, None), (16, None), (17, Some("busy")), (19, Some("no-answer")), (21, Some("rejected"))]
        {
            assert_eq!(code_of_cause(cause), expected, "{cause}");
        }
    }
}

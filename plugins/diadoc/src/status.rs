//! What has become of a document.
//!
//! Source: Diadoc API, RevocationStatus, RecipientResponseStatus, RoamingNotificationStatus, structure Document. `Unknown…` is
//! what the service writes where it cannot say a newer value.

use busbar_sdk::loose::Loose;
use busbar_sdk::texts;
use serde_json::{Value, json};

use crate::mapping::text;

const TEXT_CHARS_MAX: usize = 500;
const UNKNOWN: &str = "unknown";
/// Values of which nothing is to be said.
const QUIET: [(&str, &[&str]); 3] = [
    ("RevocationStatus", &["RevocationStatusNone"]),
    ("RecipientResponseStatus", &["RecipientResponseStatusNotAcceptable", "WaitingForRecipientSignature"]),
    ("RoamingNotificationStatus", &["RoamingNotificationStatusNone", "RoamingNotificationStatusSuccess"]),
];
const REVOCATIONS: [(&str, &str); 4] = [
    ("RevocationAccepted", "cancelled"),
    ("RequestsMyRevocation", "cancellation-requested"),
    ("RevocationIsRequestedByMe", "cancellation-requested"),
    ("RevocationRejected", "cancellation-refused"),
];
const RESPONSES: [(&str, &str); 4] = [
    ("RecipientSignatureRequestRejected", "refused"),
    ("WithRecipientSignature", "signed"),
    ("WithRecipientPartiallySignature", "partly-signed"),
    ("InvalidRecipientSignature", "signature-invalid"),
];

pub struct Status {
    pub word: &'static str,
    pub reason: Option<Value>,
    /// What the service wrote, where it is unknown.
    written: Option<String>,
}

impl Status {
    fn of(word: &'static str) -> Self {
        Self { word, reason: None, written: None }
    }

    /// Two values that nobody knows are two statuses.
    pub fn key(&self) -> String {
        match &self.written {
            Some(written) => format!("{} {written}", self.word),
            None => self.word.to_owned(),
        }
    }
}

/// The latest of what can happen to a document. That an inbound one was sent and came is no news.
pub fn of(info: &Value, is_outbound: bool) -> Option<Status> {
    let named = |name: &str, table: &[(&str, &'static str)]| {
        let written = text(info, name)?;
        table.iter().find(|(word, _)| *word == written).map(|(_, status)| *status)
    };
    let amended = info.pointer("/AmendmentRequestMetadata/AmendmentFlags").and_then(Value::as_i64);
    let receipt = info.pointer("/RecipientReceiptMetadata/ReceiptStatus").and_then(Value::as_str);
    let is_set = |name: &str| Loose::at(info, name).and_then(|ticks| ticks.number()).is_some_and(|ticks| ticks > 0);
    let other = || Some(json!({ "code": "other" }));
    if let Some(word) = named("RevocationStatus", &REVOCATIONS) {
        return Some(Status::of(word));
    }
    if let Some(word) = named("RecipientResponseStatus", &RESPONSES) {
        return Some(Status { reason: (word == "refused").then(other).flatten(), ..Status::of(word) });
    }
    if amended.is_some_and(|flags| flags > 0) {
        return Some(Status::of("correction-requested"));
    }
    if text(info, "RoamingNotificationStatus").as_deref() == Some("RoamingNotificationStatusError") {
        let words = text(info, "RoamingNotificationStatusDescription");
        let words = words.map(|words| texts::shortened(&words, TEXT_CHARS_MAX));
        let reason = words.map(|words| json!({ "code": "other", "text": words })).or_else(other);
        return Some(Status { reason, ..Status::of("undelivered") });
    }
    if let Some(unknown) = unknown(info) {
        return Some(unknown);
    }
    match is_outbound {
        true if receipt == Some("Finished") || is_set("DeliveryTimestampTicks") => Some(Status::of("delivered")),
        true if is_set("SendTimestampTicks") => Some(Status::of("sent")),
        _ => None,
    }
}

/// A value that is in no table is told as it stands.
fn unknown(info: &Value) -> Option<Status> {
    let strange = QUIET.iter().find_map(|(name, quiet)| {
        let written = text(info, name)?;
        let is_known =
            quiet.contains(&written.as_str()) || REVOCATIONS.iter().chain(&RESPONSES).any(|(word, _)| *word == written);
        (!is_known).then(|| format!("{name} {written}"))
    })?;
    let reason = json!({ "code": "other", "text": texts::shortened(&strange, TEXT_CHARS_MAX) });
    Some(Status { word: UNKNOWN, reason: Some(reason), written: Some(strange) })
}

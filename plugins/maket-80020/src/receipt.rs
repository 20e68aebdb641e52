//! Receipts of class 60091: what became of a document received, stated by decoding and written by encoding.

use busbar_sdk::{Draft, Rejection, dates, ids};
use serde::{Deserialize, Serialize};

use crate::document::Head;
use crate::mapping::Settings;

/// `reason.code` of a document accepted with values that are not commercial.
const NON_COMMERCIAL: &str = "non-commercial-data";

/// `document.status.changed.v1`, as far as receipts need it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    pub document: Document,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By>,
    pub changed_at: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_on: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub struct Reason {
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct By {
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax_id: Option<String>,
}

/// The document is `registered`.
pub fn accepted(settings: &Settings, head: &Head, name: &str, now_ms: u64) -> Draft {
    let reason = head.has_non_commercial.then(|| Reason {
        code: NON_COMMERCIAL.to_owned(),
        text: Some("Приняты данные, часть которых некоммерческая".to_owned()),
    });
    draft(settings, head, name, "registered", reason, now_ms)
}

/// The document is `refused` for the rejection's code.
pub fn refused(settings: &Settings, head: &Head, name: &str, rejection: &Rejection, now_ms: u64) -> Draft {
    let place = rejection.place.as_deref().unwrap_or("the file");
    let text: String = format!("{place}: {}", rejection.reason).chars().take(500).collect();
    let reason = Reason { code: rejection.code.clone(), text: Some(text) };
    draft(settings, head, name, "refused", Some(reason), now_ms)
}

fn draft(settings: &Settings, head: &Head, name: &str, status: &str, reason: Option<Reason>, now_ms: u64) -> Draft {
    let id = head.document_id().unwrap_or_else(|| file_id(name));
    let now = dates::local_of_unix_ms(now_ms, settings.utc_offset);
    let (code, text) = match &reason {
        Some(reason) => (reason.code.as_str(), reason.text.as_deref().unwrap_or_default()),
        None => ("", ""),
    };
    let message_id = ids::derived(&["60091", &id, status, code, text]);
    let changed = Changed {
        document: Document {
            id: Some(id.clone()),
            number: head.number.map(|number| number.to_string()),
            kind: Some("meter-data".to_owned()),
            issued_on: head.day.map(dates::iso_date),
        },
        status: status.to_owned(),
        reason,
        by: settings.sender.as_ref().map(|party| By {
            name: Some(party.name.clone()),
            tax_id: (party.inn.len() >= 10).then(|| party.inn.clone()),
        }),
        changed_at: now.map(|now| dates::rfc3339(now, settings.utc_offset)).unwrap_or_default(),
    };
    let data = serde_json::to_string(&changed).unwrap_or_default();
    Draft { subject: Some(id), ..busbar_sdk::draft(message_id, "document.status.changed.v1", data) }
}

/// A document that does not say what it is goes by its file's name.
fn file_id(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if name.trim().is_empty() { "file".to_owned() } else { name }
}

/// Whether a receipt can say what became of it: a document is taken or refused, and nothing else.
pub fn has_code(changed: &Changed) -> bool {
    matches!(changed.status.as_str(), "registered" | "refused")
}

/// The code of a receipt: 0 accepted, 1 with values that are not commercial, 2 unknown channels, 3 a mistake in the format,
/// 4 no XML.
pub fn code_of(changed: &Changed) -> &'static str {
    let reason = changed.reason.as_ref().map(|reason| reason.code.as_str()).unwrap_or_default();
    match (changed.status.as_str(), reason) {
        ("refused", "unknown-channel") => "2",
        ("refused", "not-xml" | "truncated" | "bad-zip") => "4",
        ("refused", reason) if reason.starts_with("xml-") => "4",
        ("refused", _) => "3",
        (_, NON_COMMERCIAL) => "1",
        _ => "0",
    }
}

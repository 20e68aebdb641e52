//! What was stated of each resource, so that an unchanged one is not stated again, and a state that comes back is.

use busbar_sdk::{Draft, Store, draft, ids};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::mapping::Kind;

/// One resource: how often something new was said of it, a digest of what, and for pushes the resource itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    pub version: u32,
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Map<String, Value>>,
}

pub fn load(store: &mut impl Store, kind: Kind, id: &str) -> Option<Remembered> {
    serde_json::from_slice(&store.get(&key(kind, id))?).ok()
}

/// Remembers what a resource is now: the message, or nothing when it said the same before.
pub fn note(
    store: &mut impl Store,
    kind: Kind,
    id: &str,
    data: &Map<String, Value>,
    resource: Option<Map<String, Value>>,
    place: &str,
) -> Option<Draft> {
    let before = load(store, kind, id).unwrap_or_default();
    let mut said = data.clone();
    // The moment alone is no news.
    said.remove("changedAt");
    let content = ids::derived(&[&Value::Object(said).to_string()]);
    let is_news = before.content != content;
    let version = before.version.saturating_add(u32::from(is_news));
    let now = Remembered { version, content, resource };
    if now != before {
        store.set(&key(kind, id), serde_json::to_vec(&now).unwrap_or_default());
    }
    is_news.then(|| Draft {
        subject: Some(id.to_owned()),
        time: data.get("changedAt").and_then(Value::as_str).map(str::to_owned),
        place: (!place.is_empty()).then(|| place.to_owned()),
        ..draft(
            ids::derived(&["scim", kind.endpoint(), id, &now.content, &version.to_string()]),
            kind.message_type(),
            Value::Object(data.clone()).to_string(),
        )
    })
}

fn key(kind: Kind, id: &str) -> String {
    format!("{}-{}", kind.endpoint().to_lowercase(), ids::derived(&[id]))
}

/// The id of the resource with this value of an attribute, in any case.
pub fn find(store: &mut impl Store, kind: Kind, attribute: &str, value: &str) -> Option<String> {
    String::from_utf8(store.get(&index_key(kind, attribute, value))?).ok()
}

pub fn index(store: &mut impl Store, kind: Kind, attribute: &str, value: &str, id: &str) {
    store.set(&index_key(kind, attribute, value), id.as_bytes().to_vec());
}

pub fn forget(store: &mut impl Store, kind: Kind, attribute: &str, value: &str) {
    store.delete(&index_key(kind, attribute, value));
}

fn index_key(kind: Kind, attribute: &str, value: &str) -> String {
    format!("{}-by-{attribute}-{}", kind.endpoint().to_lowercase(), ids::derived(&[&value.to_lowercase()]))
}

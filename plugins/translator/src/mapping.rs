//! A message and settings -> the message it becomes. Pure.

use busbar_sdk::{Draft, Failure, Message, data_of, ids, rejected, template};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// By the type of the message that comes.
    pub translations: BTreeMap<String, Translation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Translation {
    pub r#type: String,
    /// JSON Pointer; the message's own subject where absent.
    #[serde(default)]
    pub subject: Option<String>,
    /// See [`template::fill`].
    pub data: Value,
}

/// The message that `message` becomes. Its id follows from the source and id of `message`, so that a repeat is one.
///
/// # Errors
/// `rejected(unmapped-type)`, `rejected(bad-subject)`, `rejected(nothing-there)`.
pub fn translate(settings: &Settings, message: &Message) -> Result<Draft, Failure> {
    let unmapped =
        || rejected("unmapped-type", format!("the settings map no {}", message.type_), "config, translations");
    let translation = settings.translations.get(&message.type_).ok_or_else(unmapped)?;
    let data: Value = data_of(message)?;
    let subject = match &translation.subject {
        None => message.subject.clone(),
        Some(pointer) => match data.pointer(pointer) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => return Err(rejected("bad-subject", "no text where the settings expect the subject", pointer.clone())),
        },
    };
    let nothing = || rejected("nothing-there", "the settings find no data in the message", "/data");
    let filled = template::fill(&translation.data, &data).ok_or_else(nothing)?;
    Ok(Draft {
        id: ids::derived(&[&message.source, &message.id, &translation.r#type]),
        type_: translation.r#type.clone(),
        subject,
        time: message.time.clone(),
        partition_key: message.partition_key.clone(),
        data: filled.to_string(),
        place: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(id: &str, data: Value) -> Message {
        Message {
            subject: Some("500100".into()),
            time: Some("2026-11-20T10:00:00+03:00".into()),
            ..busbar_sdk::test_hub::message("/demo/bank", id, "a.v1", data.to_string())
        }
    }

    fn settings() -> Settings {
        let data =
            json!({ "account": "/account", "sum": { "value": "/amount/value" }, "kind": "fixed", "note": "/note" });
        serde_json::from_value(json!({ "translations": { "a.v1": { "type": "b.v1", "data": data } } })).unwrap()
    }

    #[test]
    fn pointers_are_filled_in_and_what_is_missing_is_left_out() {
        let from = message("1", json!({ "account": "007", "amount": { "value": "1.50" } }));
        let draft = translate(&settings(), &from).unwrap();
        let data: Value = serde_json::from_str(&draft.data).unwrap();
        assert_eq!(data, json!({ "account": "007", "sum": { "value": "1.50" }, "kind": "fixed" }));
        assert_eq!((draft.type_.as_str(), draft.subject.as_deref()), ("b.v1", Some("500100")));
        assert_eq!(draft.time, from.time);
    }

    #[test]
    fn the_id_is_the_same_for_the_same_message_only() {
        let id = |id: &str| translate(&settings(), &message(id, json!({}))).unwrap().id;
        assert_eq!(id("1"), id("1"));
        assert_ne!(id("1"), id("2"));
    }
}

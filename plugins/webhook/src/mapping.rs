//! Messages as signed webhooks, and signed webhooks as messages. Pure: the glue signs, verifies and tells the time.
//!
//! Source: Standard Webhooks 1.0.0, symmetric signatures (`v1`): HMAC-SHA256 over `id.timestamp.body`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Draft, Failure, Header, HookRequest, Message, header, ids, rejected, template};
use serde::Deserialize;
use serde_json::Value;

/// A sender that changes its secret signs twice; more than a few are an attack.
const SIGNATURES_MAX: usize = 10;
const ID_MAX_BYTES: usize = 256;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    deliver: Option<Target>,
    receive: Option<Source>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Target {
    url: String,
    pub credential: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    timeout_ms: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Structured,
    Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    pub credential: String,
    #[serde(default = "tolerance_seconds")]
    tolerance_seconds: u64,
    #[serde(default = "type_pointer")]
    type_pointer: String,
    events: BTreeMap<String, Event>,
    #[serde(default)]
    unknown: Unknown,
}

fn tolerance_seconds() -> u64 {
    300
}

fn type_pointer() -> String {
    "/type".to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Event {
    r#type: String,
    subject: Option<String>,
    time: Option<String>,
    data: Value,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unknown {
    #[default]
    Reject,
    Ignore,
}

/// # Errors
/// `rejected(not-configured)`: the system has no `deliver`.
pub fn target(settings: &Settings) -> Result<&Target, Failure> {
    settings.deliver.as_ref().ok_or_else(|| not_configured("deliver"))
}

/// # Errors
/// `rejected(not-configured)`: the system has no `receive`.
pub fn source(settings: &Settings) -> Result<&Source, Failure> {
    settings.receive.as_ref().ok_or_else(|| not_configured("receive"))
}

fn not_configured(key: &str) -> Failure {
    rejected("not-configured", format!("the settings have no `{key}`"), "config")
}

/// The failure of a credential that cannot be used.
pub fn no_credential(text: String) -> Failure {
    rejected("denied", text, "config")
}

/// A webhook before it is signed.
pub struct Outgoing {
    id: String,
    timestamp: String,
    body: String,
    /// What the signature covers.
    pub signed: Vec<u8>,
}

/// The id is derived from the message's source and id: the same in every attempt, so that the receiver can tell repeats.
pub fn outgoing(target: &Target, message: &Message, now_seconds: u64) -> Outgoing {
    let id = format!("msg_{}", ids::derived(&[&message.source, &message.id]));
    let timestamp = now_seconds.to_string();
    let body = match target.mode {
        Mode::Structured => structured(message),
        Mode::Data => message.data.clone(),
    };
    let signed = signed_content(&id, &timestamp, body.as_bytes());
    Outgoing { id, timestamp, body, signed }
}

pub fn request(target: &Target, outgoing: Outgoing, signature: &[u8]) -> Request {
    let content_type = match target.mode {
        Mode::Structured => "application/cloudevents+json",
        Mode::Data => "application/json",
    };
    let own = [
        ("content-type", content_type.to_owned()),
        ("webhook-id", outgoing.id),
        ("webhook-timestamp", outgoing.timestamp),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(signature))),
    ];
    let mut headers: Vec<Header> = target
        .headers
        .iter()
        .map(|(name, value)| Header { name: name.to_ascii_lowercase(), value: value.clone() })
        .collect();
    headers.retain(|header| !own.iter().any(|(name, _)| *name == header.name));
    headers.extend(own.into_iter().map(|(name, value)| Header { name: name.to_owned(), value }));
    Request {
        method: "POST".to_owned(),
        url: target.url.clone(),
        headers,
        body: outgoing.body.into_bytes(),
        authorization: None,
        timeout_ms: target.timeout_ms,
    }
}

/// A webhook may be sent again: its receiver knows it by its id.
///
/// # Errors
/// The failure that drives the hub's policy.
pub fn judge(what: &str, reply: Result<Response, HttpError>) -> Result<(), Failure> {
    let response = reply.map_err(|error| replies::failure_of_error(error, what, true))?;
    match replies::outcome_of_status(response.status) {
        Outcome::Ok => Ok(()),
        outcome => Err(replies::failure_of(outcome, &response, what)),
    }
}

/// CloudEvents JSON format, 1.0, section 3.
fn structured(message: &Message) -> String {
    let mut event = serde_json::Map::new();
    for (name, value) in [
        ("specversion", Some("1.0")),
        ("id", Some(message.id.as_str())),
        ("source", Some(message.source.as_str())),
        ("type", Some(message.type_.as_str())),
        ("subject", message.subject.as_deref()),
        ("time", message.time.as_deref()),
        ("partitionkey", message.partition_key.as_deref()),
        ("correlationid", message.correlation_id.as_deref()),
        ("datacontenttype", Some("application/json")),
    ] {
        if let Some(value) = value {
            event.insert(name.to_owned(), Value::from(value));
        }
    }
    let head = Value::from(event).to_string();
    // Spliced as text: the data stays as it was written.
    format!("{},\"data\":{}}}", head.trim_end_matches('}'), message.data)
}

fn signed_content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

/// A webhook before it is believed.
#[derive(Debug)]
pub struct Incoming<'a> {
    id: &'a str,
    timestamp: u64,
    body: &'a [u8],
    /// What the signature covers.
    pub signed: Vec<u8>,
    /// Every `v1` signature it carries.
    pub signatures: Vec<Vec<u8>>,
}

/// # Errors
/// `unauthorized` when the three headers are not there or make no sense: nothing more is told to somebody unknown.
pub fn incoming(request: &HookRequest) -> Result<Incoming<'_>, Failure> {
    let required =
        |name: &str| header(&request.headers, name).ok_or_else(|| Failure::Unauthorized(format!("no header {name}")));
    let id = required("webhook-id")?;
    let text = required("webhook-timestamp")?;
    let signatures = required("webhook-signature")?;
    let timestamp = text.parse().map_err(|_| Failure::Unauthorized("webhook-timestamp is no number".to_owned()))?;
    if id.is_empty() || id.len() > ID_MAX_BYTES {
        return Err(Failure::Unauthorized("webhook-id is empty or too long".to_owned()));
    }
    let signatures = signatures
        .split_whitespace()
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|signature| STANDARD.decode(signature).ok())
        .take(SIGNATURES_MAX)
        .collect();
    let signed = signed_content(id, text, &request.body);
    Ok(Incoming { id, timestamp, body: &request.body, signed, signatures })
}

#[derive(Debug)]
pub enum Received {
    Message(Draft),
    /// Of an event type that is not mapped.
    Dropped(String),
}

/// What a webhook becomes. `genuine`: one of its signatures is right.
///
/// # Errors
/// `unauthorized`; `rejected` with `timestamp-outside-tolerance`, `bad-json`, `unknown-event`, `bad-event`.
pub fn accept(source: &Source, incoming: &Incoming<'_>, genuine: bool, now_seconds: u64) -> Result<Received, Failure> {
    if !genuine {
        return Err(Failure::Unauthorized("no valid signature".to_owned()));
    }
    let apart = now_seconds.abs_diff(incoming.timestamp);
    if apart > source.tolerance_seconds {
        let reason = format!("sent {apart} s from now, at most {} s are accepted", source.tolerance_seconds);
        return Err(rejected("timestamp-outside-tolerance", reason, "header webhook-timestamp"));
    }
    let body: Value = serde_json::from_slice(incoming.body)
        .map_err(|error| rejected("bad-json", format!("the body is no JSON: {error}"), "body"))?;
    let Some(r#type) = body.pointer(&source.type_pointer).and_then(Value::as_str) else {
        return Err(rejected("bad-event", "the event names no type", source.type_pointer.clone()));
    };
    match source.events.get(r#type) {
        Some(event) => Ok(Received::Message(draft(event, incoming.id, &body)?)),
        None if source.unknown == Unknown::Ignore => Ok(Received::Dropped(r#type.chars().take(100).collect())),
        None => Err(rejected("unknown-event", "the settings map no such event type", source.type_pointer.clone())),
    }
}

fn draft(event: &Event, id: &str, body: &Value) -> Result<Draft, Failure> {
    let text = |pointer: &Option<String>| match pointer {
        Some(pointer) => match body.pointer(pointer) {
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            _ => Err(rejected("bad-event", "no text where the settings expect one", pointer.clone())),
        },
        None => Ok(None),
    };
    let data = template::fill(&event.data, body).unwrap_or(Value::Null);
    if !data.is_object() {
        let place = event.data.as_str().unwrap_or("body").to_owned();
        return Err(rejected("bad-event", "no object where the settings expect the data", place));
    }
    Ok(Draft {
        subject: text(&event.subject)?,
        time: text(&event.time)?,
        ..busbar_sdk::draft(id, &event.r#type, data.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> Settings {
        serde_json::from_value(json!({
            "deliver": {"url": "http://portal/hook", "credential": "signing"},
            "receive": {"credential": "signing", "events": {"invoice.paid": {
                "type": "payment.received.v1", "subject": "/data/account", "time": "/at",
                "data": {"account": "/data/account", "channel": "portal", "note": "/data/none", "list": ["/at", 1]}
            }}}
        }))
        .unwrap()
    }

    fn hook(headers: &[(&str, &str)], body: &str) -> HookRequest {
        let headers =
            headers.iter().map(|(name, value)| Header { name: (*name).into(), value: (*value).into() }).collect();
        HookRequest { method: "POST".into(), path: "/".into(), query: String::new(), headers, body: body.into() }
    }

    const HEADERS: [(&str, &str); 3] =
        [("Webhook-Id", "evt_1"), ("Webhook-Timestamp", "1000"), ("Webhook-Signature", "v1,AAEC v1a,xx v1,%% v1,AwQ=")];
    const BODY: &str = r#"{"type":"invoice.paid","at":"2026-11-22T10:00:00+03:00","data":{"account":"1"}}"#;

    #[test]
    fn a_webhook_becomes_a_message() {
        let request = hook(&HEADERS, BODY);
        let incoming = incoming(&request).unwrap();
        assert_eq!(incoming.signatures, [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(incoming.signed, format!("evt_1.1000.{BODY}").into_bytes());
        let settings = settings();
        let Received::Message(draft) = accept(source(&settings).unwrap(), &incoming, true, 1300).unwrap() else {
            panic!()
        };
        assert_eq!((draft.id.as_str(), draft.subject.as_deref()), ("evt_1", Some("1")));
        let data: Value = serde_json::from_str(&draft.data).unwrap();
        assert_eq!(data, json!({"account": "1", "channel": "portal", "list": ["2026-11-22T10:00:00+03:00", 1]}));
    }

    #[test]
    fn nothing_is_told_before_the_signature_is_right() {
        let settings = settings();
        let source = source(&settings).unwrap();
        for missing in 0..3 {
            let headers: Vec<_> =
                HEADERS.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, header)| *header).collect();
            assert!(matches!(incoming(&hook(&headers, BODY)), Err(Failure::Unauthorized(_))));
        }
        let request = hook(&HEADERS, "no json");
        let incoming = incoming(&request).unwrap();
        assert!(matches!(accept(source, &incoming, false, 9999), Err(Failure::Unauthorized(_))));
    }

    #[test]
    fn time_type_and_body_are_checked() {
        let settings = settings();
        let source = source(&settings).unwrap();
        for (body, now, code) in [
            (BODY, 1301, "timestamp-outside-tolerance"),
            (BODY, 699, "timestamp-outside-tolerance"),
            ("no json", 1000, "bad-json"),
            ("{}", 1000, "bad-event"),
            (r#"{"type":"other"}"#, 1000, "unknown-event"),
            (r#"{"type":"invoice.paid"}"#, 1000, "bad-event"),
        ] {
            let request = hook(&HEADERS, body);
            let failure = accept(source, &incoming(&request).unwrap(), true, now).unwrap_err();
            let Failure::Rejected(rejection) = failure else { panic!("{failure:?}") };
            assert_eq!(rejection.code, code, "{body}");
        }
    }

    #[test]
    fn own_headers_cannot_replace_the_signature() {
        let target: Target = serde_json::from_value(json!({
            "url": "http://portal", "credential": "s", "headers": {"Webhook-Signature": "v1,x", "X-A": "b"}
        }))
        .unwrap();
        let outgoing = Outgoing { id: "msg_1".into(), timestamp: "5".into(), body: "{}".into(), signed: vec![] };
        let request = request(&target, outgoing, &[0, 1, 2]);
        let found: Vec<_> = request.headers.iter().filter(|header| header.name == "webhook-signature").collect();
        assert_eq!(found.len(), 1);
        assert_eq!(header(&request.headers, "webhook-signature"), Some("v1,AAEC"));
    }
}

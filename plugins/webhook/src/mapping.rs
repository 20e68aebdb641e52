//! Messages as signed webhooks, and signed webhooks as messages. Pure: the glue signs, verifies and tells the time.
//!
//! Source: Standard Webhooks 1.0.0, symmetric signatures (`v1`): HMAC-SHA256 over `id.timestamp.body`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use busbar_sdk::encoding::without_bom;
use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Draft, Failure, Header, HookRequest, Message, header, hex, ids, rejected, template};
use serde::Deserialize;
use serde_json::Value;

#[cfg(test)]
mod tests;

/// A sender that changes its secret signs twice; more than a few are an attack.
const SIGNATURES_MAX: usize = 10;
const ID_MAX_BYTES: usize = 256;
/// Messages of one webhook.
const EACH_MAX: usize = 1000;

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
    /// Instead of Standard Webhooks: a signature of the body alone.
    pub signature: Option<BodySignature>,
    /// Instead of a signature: a header that carries the secret itself.
    secret_header: Option<String>,
    /// For these two: where the body says which webhook it is.
    id_pointer: Option<String>,
    #[serde(default = "tolerance_seconds")]
    tolerance_seconds: u64,
    #[serde(default)]
    type_pointer: TypePointer,
    events: BTreeMap<String, Event>,
    #[serde(default)]
    unknown: Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BodySignature {
    header: String,
    #[serde(default)]
    encoding: SignatureEncoding,
    /// Before the signature, such as `sha256=`.
    #[serde(default)]
    prefix: String,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SignatureEncoding {
    #[default]
    Hex,
    Base64,
}

/// Several pointers: what they find is joined by `/`.
#[derive(Deserialize)]
#[serde(untagged)]
enum TypePointer {
    One(String),
    Several(Vec<String>),
}

impl Default for TypePointer {
    fn default() -> Self {
        Self::One("/type".to_owned())
    }
}

impl TypePointer {
    fn pointers(&self) -> &[String] {
        match self {
            Self::One(pointer) => std::slice::from_ref(pointer),
            Self::Several(pointers) => pointers,
        }
    }
}

fn tolerance_seconds() -> u64 {
    300
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Event {
    r#type: String,
    /// Pointer to a list: a message of each item, which stands at `/item`.
    each: Option<String>,
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
    id: Option<&'a str>,
    timestamp: Option<u64>,
    body: &'a [u8],
    pub proof: Proof<'a>,
}

/// What shows that it is genuine.
#[derive(Debug)]
pub enum Proof<'a> {
    /// One of the signatures must be the HMAC-SHA256 of `signed`.
    Signatures { signed: Vec<u8>, signatures: Vec<Vec<u8>> },
    /// Must be the secret itself.
    Secret(&'a str),
}

/// # Errors
/// `unauthorized` when the headers are not there or make no sense: nothing more is told to somebody unknown.
pub fn incoming<'a>(source: &Source, request: &'a HookRequest) -> Result<Incoming<'a>, Failure> {
    let required =
        |name: &str| header(&request.headers, name).ok_or_else(|| Failure::Unauthorized(format!("no header {name}")));
    let body = request.body.as_slice();
    if let Some(name) = &source.secret_header {
        return Ok(Incoming { id: None, timestamp: None, body, proof: Proof::Secret(required(name)?.trim()) });
    }
    if let Some(signature) = &source.signature {
        let text = required(&signature.header)?.trim();
        let text = text.strip_prefix(signature.prefix.as_str()).unwrap_or_default();
        let bytes = match signature.encoding {
            SignatureEncoding::Hex => hex::decoded(text),
            SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
        };
        let proof = Proof::Signatures { signed: body.to_vec(), signatures: bytes.into_iter().collect() };
        return Ok(Incoming { id: None, timestamp: None, body, proof });
    }
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
    let proof = Proof::Signatures { signed: signed_content(id, text, body), signatures };
    Ok(Incoming { id: Some(id), timestamp: Some(timestamp), body, proof })
}

#[derive(Debug)]
pub enum Received {
    Messages(Vec<Draft>),
    /// Of an event type that is not mapped.
    Dropped(String),
}

/// What a webhook becomes. `genuine`: its proof is right.
///
/// # Errors
/// `unauthorized`; `rejected` with `timestamp-outside-tolerance`, `bad-json`, `unknown-event`, `bad-event`.
pub fn accept(source: &Source, incoming: &Incoming<'_>, genuine: bool, now_seconds: u64) -> Result<Received, Failure> {
    if !genuine {
        return Err(Failure::Unauthorized("no valid signature".to_owned()));
    }
    let apart = incoming.timestamp.map_or(0, |timestamp| now_seconds.abs_diff(timestamp));
    if apart > source.tolerance_seconds {
        let reason = format!("sent {apart} s from now, at most {} s are accepted", source.tolerance_seconds);
        return Err(rejected("timestamp-outside-tolerance", reason, "header webhook-timestamp"));
    }
    let mut body: Value = serde_json::from_slice(without_bom(incoming.body))
        .map_err(|error| rejected("bad-json", format!("the body is no JSON: {error}"), "body"))?;
    let pointers = source.type_pointer.pointers();
    let mut kinds = Vec::new();
    for (at, pointer) in pointers.iter().enumerate() {
        match body.pointer(pointer).and_then(Value::as_str) {
            Some(kind) => kinds.push(kind),
            // Not every event has the further ones.
            None if at > 0 => {}
            None => return Err(rejected("bad-event", "the event names no type", pointer.clone())),
        }
    }
    let kind = kinds.join("/");
    let id = id(source, incoming, &body)?;
    match source.events.get(&kind) {
        Some(event) => Ok(Received::Messages(drafts(event, &id, &mut body)?)),
        None if source.unknown == Unknown::Ignore => Ok(Received::Dropped(kind.chars().take(100).collect())),
        None => Err(rejected(
            "unknown-event",
            "the settings map no such event type",
            pointers.first().cloned().unwrap_or_default(),
        )),
    }
}

/// The webhook's own id; derived from the whole body where it has none, since a repeat is the same body.
fn id(source: &Source, incoming: &Incoming<'_>, body: &Value) -> Result<String, Failure> {
    match (incoming.id, &source.id_pointer) {
        (Some(id), _) => Ok(id.to_owned()),
        (None, None) => Ok(ids::derived(&["webhook", &String::from_utf8_lossy(incoming.body)])),
        (None, Some(pointer)) => {
            let id = text(body, pointer)?;
            if id.is_empty() || id.len() > ID_MAX_BYTES {
                return Err(rejected("bad-event", "the id is empty or too long", pointer.clone()));
            }
            Ok(id)
        }
    }
}

fn text(body: &Value, pointer: &str) -> Result<String, Failure> {
    match body.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(rejected("bad-event", "no text where the settings expect one", pointer)),
    }
}

/// One message; of a list one for each of its items.
fn drafts(event: &Event, id: &str, body: &mut Value) -> Result<Vec<Draft>, Failure> {
    let Some(pointer) = &event.each else { return Ok(vec![draft(event, id, body)?]) };
    let bad = |reason: &str| rejected("bad-event", reason, pointer.clone());
    let Some(Value::Array(items)) = body.pointer_mut(pointer).map(Value::take) else {
        return Err(bad("no list where the settings expect one"));
    };
    if items.len() > EACH_MAX {
        return Err(bad("a list of over 1000 items"));
    }
    let mut drafts = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let Value::Object(fields) = &mut *body else { return Err(bad("a list that is the whole body")) };
        fields.insert("item".to_owned(), item);
        let place = format!("{pointer}/{index}");
        let draft = draft(event, &format!("{id}-{index}"), body).map_err(|failure| match failure {
            Failure::Rejected(found) => {
                rejected(&found.code, format!("{} ({})", found.reason, found.place.unwrap_or_default()), place.clone())
            }
            other => other,
        })?;
        drafts.push(Draft { place: Some(place), ..draft });
    }
    Ok(drafts)
}

fn draft(event: &Event, id: &str, body: &Value) -> Result<Draft, Failure> {
    let optional = |pointer: &Option<String>| pointer.as_ref().map(|pointer| text(body, pointer)).transpose();
    let data = template::fill(&event.data, body).unwrap_or(Value::Null);
    if !data.is_object() {
        let place = event.data.as_str().unwrap_or("body").to_owned();
        return Err(rejected("bad-event", "no object where the settings expect the data", place));
    }
    Ok(Draft {
        subject: optional(&event.subject)?,
        time: optional(&event.time)?,
        ..busbar_sdk::draft(id, &event.r#type, data.to_string())
    })
}

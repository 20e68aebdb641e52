//! Requests of the standard OData interface, and what its answers mean. Pure.

use busbar_sdk::http::{Authorization, Request, Response};
use busbar_sdk::replies::{Outcome, failure_of, outcome_of_status};
use busbar_sdk::{Failure, Header, ids, rejected};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::settings::Settings;

/// What addresses of OData hold beside letters: keys and arguments of functions.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'(')
    .remove(b')')
    .remove(b',')
    .remove(b'=')
    .remove(b'\'');
/// Code of `odata.error`: there is no such object. Other codes with 404 mean that there is no such kind of objects.
const NO_OBJECT: &str = "9";

/// A request with its answer as JSON. `options`: names without `$`, empty ones are left out.
pub fn request(
    settings: &Settings,
    method: &str,
    path: &str,
    options: &[(&str, &str)],
    body: Option<&Value>,
) -> Request {
    let mut url =
        format!("{}/{}?$format=json", settings.base_url.trim_end_matches('/'), utf8_percent_encode(path, PATH));
    if settings.allowed_only && method == "GET" {
        url.push_str("&allowedOnly=true");
    }
    for (name, value) in options.iter().filter(|(_, value)| !value.is_empty()) {
        url.push_str(&format!("&${name}={}", utf8_percent_encode(value, PATH)));
    }
    let header = |name: &str| Header { name: name.to_owned(), value: "application/json".to_owned() };
    let mut headers = vec![header("accept")];
    if body.is_some() {
        headers.push(header("content-type"));
    }
    Request {
        method: method.to_owned(),
        url,
        headers,
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        authorization: (!settings.basic.is_empty()).then(|| Authorization::Basic(settings.basic.clone())),
        timeout_ms: None,
    }
}

/// The JSON of a successful answer; nothing where the object asked for does not exist.
///
/// # Errors
/// A refusal by status with the text of `odata.error`; `not-odata` where the answer is no JSON object.
pub fn read(response: &Response, what: &str) -> Result<Option<Value>, Failure> {
    let body = serde_json::from_slice::<Value>(without_bom(&response.body)).ok();
    let error = body.as_ref().and_then(|body| body.get("odata.error"));
    let outcome = outcome_of_status(response.status);
    if outcome == Outcome::Ok && error.is_none() {
        return match body {
            Some(body) if body.is_object() => Ok(Some(body)),
            _ => Err(rejected("not-odata", format!("{what} answered no JSON object"), "body")),
        };
    }
    let code =
        error.and_then(|error| error.get("code")).map(|code| code.as_str().map_or(code.to_string(), str::to_owned));
    if response.status == 404 && code.as_deref() == Some(NO_OBJECT) {
        return Ok(None);
    }
    let outcome = if outcome == Outcome::Ok { Outcome::Rejected } else { outcome };
    let message = error.and_then(|error| error.pointer("/message/value")).and_then(Value::as_str);
    let told = Response {
        body: match (code, message) {
            (Some(code), message) => format!("code {code}, {}", message.unwrap_or_default()).into_bytes(),
            _ => response.body.clone(),
        },
        ..response.clone()
    };
    Err(failure_of(outcome, &told, what))
}

/// What was written: any success will do, since `204` and an empty body are common.
///
/// # Errors
/// As [`read`].
pub fn written(response: &Response, what: &str) -> Result<(), Failure> {
    if outcome_of_status(response.status) == Outcome::Ok && response.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    match read(response, what)? {
        Some(_) => Ok(()),
        None => Err(failure_of(Outcome::Rejected, response, what)),
    }
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// Objects of an answer: a list, or an object by itself.
///
/// # Errors
/// `not-odata` where it is neither.
pub fn objects<'a>(body: &'a Value, what: &str) -> Result<Vec<&'a Value>, Failure> {
    let objects = match body.get("value") {
        Some(Value::Array(objects)) => objects.iter().collect(),
        None if body.as_object().is_some_and(|body| body.contains_key("Ref_Key")) => vec![body],
        _ => return Err(rejected("not-odata", format!("{what} answered neither a list nor an object"), "/value")),
    };
    Ok(objects)
}

/// A text within a condition.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value within a condition: a GUID is one, anything else is a text.
pub fn literal(text: &str) -> String {
    if is_guid(text) { format!("guid'{text}'") } else { quoted(text) }
}

pub fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A GUID derived from what makes an object itself; one that is given stands for itself. Version 8 of RFC 9562: a name of
/// one's own making.
pub fn guid(parts: &[&str], given: Option<&str>) -> String {
    if let Some(given) = given.filter(|given| is_guid(given)) {
        return given.to_lowercase();
    }
    let id = ids::derived(parts);
    let part = |from: usize, to: usize| id.get(from..to).unwrap_or_default();
    format!("{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

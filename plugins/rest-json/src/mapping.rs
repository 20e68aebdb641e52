//! A message and settings -> an HTTP request; an HTTP reply -> success, failure or an answer. Pure.

use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Draft, Failure, Header, Message, Rejection, ids, rejected, rejection};
use jaq_json::Val;

use crate::jq;
use crate::settings::{Operation, Question, Settings, Status};

/// Bytes of a request's body.
const BODY_MAX_BYTES: usize = 1024 * 1024;
const SAFE_METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// A request and what is needed to judge its reply.
#[derive(Debug)]
pub struct Prepared {
    pub request: Request,
    /// Sending it twice does no harm.
    pub repeatable: bool,
}

/// The operation for a message, and its place in the settings.
///
/// # Errors
/// `rejected(unmapped-type)`, or `rejected(bad-mapping)` where any expression of the settings does not compile.
pub fn operation<'a>(settings: &'a Settings, message: &Message) -> Result<(&'a Operation, String), Failure> {
    let operation = settings.deliver.get(&message.type_).ok_or_else(|| unmapped(settings, message, "deliver"))?;
    Ok((operation, format!("config, deliver.\"{}\"", message.type_)))
}

/// The same for a question.
///
/// # Errors
/// `rejected(unmapped-type)`, or `rejected(bad-mapping)` where any expression of the settings does not compile.
pub fn question<'a>(settings: &'a Settings, message: &Message) -> Result<(&'a Question, String), Failure> {
    let question = settings.answer.get(&message.type_).ok_or_else(|| unmapped(settings, message, "answer"))?;
    Ok((question, format!("config, answer.\"{}\"", message.type_)))
}

/// Here is time to look at all expressions: whoever wants them checked delivers a message of a type that is not mapped.
fn unmapped(settings: &Settings, message: &Message, table: &str) -> Failure {
    if let Err(rejection) = settings.check() {
        return rejection.into();
    }
    rejected("unmapped-type", format!("the settings map no {}", message.type_), format!("config, {table}"))
}

/// The request that an operation makes of a message.
///
/// # Errors
/// As [`prepare_of`].
pub fn prepare(
    settings: &Settings,
    operation: &Operation,
    message: &Message,
    default_method: &str,
    place: &str,
) -> Result<Prepared, Rejection> {
    let key = ids::derived(&[&message.source, &message.id]);
    prepare_of(settings, operation, &message_value(message)?, Some(key), default_method, place)
}

/// The request that an operation makes of `input`. `key`: what the idempotency header carries.
///
/// # Errors
/// What [`jq::evaluate`] refuses; `empty-path-value`, `bad-header`, `body-too-large`; all at a place in the settings.
pub fn prepare_of(
    settings: &Settings,
    operation: &Operation,
    input: &Val,
    key: Option<String>,
    default_method: &str,
    place: &str,
) -> Result<Prepared, Rejection> {
    let method = operation.method.as_deref().unwrap_or(default_method).to_ascii_uppercase();
    let safe = SAFE_METHODS.contains(&method.as_str());
    let path = expand(&operation.path, input, &format!("{place}.path"), &path_value)?;
    let mut headers = Headers::default();
    headers.set("accept", "application/json".to_owned());
    for (name, value) in &settings.headers {
        headers.set(name, value.clone());
    }
    for (name, template) in &operation.headers {
        headers.set(name, expand(template, input, &format!("{place}.headers.{name}"), &header_value)?);
    }
    let idempotency = operation.idempotency_header.as_ref().unwrap_or(&settings.idempotency_header);
    let key = key.filter(|_| !safe && !idempotency.is_empty());
    let keyed = key.is_some();
    if let Some(key) = key {
        headers.set(idempotency, key);
    }
    let body = body(operation, input, &method, place)?;
    if !body.is_empty() {
        headers.set_default("content-type", "application/json");
    }
    let request = Request {
        method,
        url: format!("{}{path}", settings.base_url.trim_end_matches('/')),
        headers: headers.0,
        body,
        authorization: settings.authorization.as_ref().map(|authorization| authorization.to_host()),
        timeout_ms: settings.timeout_ms,
    };
    Ok(Prepared { request, repeatable: safe || keyed })
}

fn body(operation: &Operation, input: &Val, method: &str, place: &str) -> Result<Vec<u8>, Rejection> {
    let code = match &operation.body {
        Some(code) => code.as_str(),
        None if matches!(method, "POST" | "PUT" | "PATCH") => ".data",
        None => return Ok(Vec::new()),
    };
    let place = format!("{place}.body");
    let value = jq::evaluate(code, input.clone(), &place)?;
    if matches!(value, Val::Null) {
        return Ok(Vec::new());
    }
    let text = jq::json_text(&value, &place)?;
    if text.len() > BODY_MAX_BYTES {
        let reason = format!("the body has {} bytes, at most {BODY_MAX_BYTES} are sent", text.len());
        return Err(rejection("body-too-large", reason, place));
    }
    Ok(text.into_bytes())
}

/// Judges the reply to an operation; the reply itself when it is a success.
///
/// # Errors
/// The failure that drives the hub's policy.
pub fn judge(
    prepared: &Prepared,
    operation: &Operation,
    reply: Result<Response, HttpError>,
) -> Result<Response, Failure> {
    let what = format!("{} {}", prepared.request.method, prepared.request.url);
    let response = reply.map_err(|error| replies::failure_of_error(error, &what, prepared.repeatable))?;
    let usual = match response.status {
        // A gateway that gave up waiting does not know what became of the request.
        502 | 504 if !prepared.repeatable => Outcome::UnknownOutcome,
        status => replies::outcome_of_status(status),
    };
    match operation.statuses.get(&response.status).copied().unwrap_or(usual) {
        Outcome::Ok => Ok(response),
        outcome => Err(replies::failure_of(outcome, &response, &what)),
    }
}

/// The request that asks what came of another.
///
/// # Errors
/// As [`prepare_of`].
pub fn prepare_status(
    settings: &Settings,
    status: &Status,
    message: &Message,
    place: &str,
) -> Result<Prepared, Rejection> {
    let operation = Operation { path: status.path.clone(), headers: status.headers.clone(), ..Operation::default() };
    prepare(settings, &operation, message, "GET", place)
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Done,
    /// Surely not done: it may be sent again.
    Absent,
    Unclear,
}

/// Reads the reply to the status question. One that says nothing (an error, no answer) leaves it unclear.
///
/// # Errors
/// What [`jq::evaluate`] refuses.
pub fn found(
    status: &Status,
    message: &Message,
    reply: &Result<Response, HttpError>,
    place: &str,
) -> Result<Found, Rejection> {
    let Ok(response) = reply else { return Ok(Found::Unclear) };
    if Some(response.status) == status.absent_status {
        return Ok(Found::Absent);
    }
    if replies::outcome_of_status(response.status) != Outcome::Ok {
        return Ok(Found::Unclear);
    }
    let input = reply_value(response, "question", &message_json(message))?;
    Ok(match jq::evaluate(&status.done, input, &format!("{place}.done"))? {
        Val::Bool(true) => Found::Done,
        value if jq::scalar_text(&value).as_deref() == Some("absent") => Found::Absent,
        _ => Found::Unclear,
    })
}

/// Whether the host withholds a repeat of the request: then the next attempt can ask again.
pub fn withheld_next_time(reply: &Result<Response, HttpError>) -> bool {
    reply.as_ref().map_or(true, |response| matches!(response.status, 502 | 504))
}

/// The answer that a successful reply gives to a question.
///
/// # Errors
/// What [`jq::evaluate`] refuses; `bad-answer` when the data is no object.
pub fn answer(question: &Question, message: &Message, response: &Response, place: &str) -> Result<Draft, Rejection> {
    let place = format!("{place}.data");
    let data = jq::evaluate(&question.data, reply_value(response, "question", &message_json(message))?, &place)?;
    if !matches!(data, Val::Obj(_)) {
        return Err(rejection("bad-answer", format!("`{}` gives {data}, no object", question.data), place));
    }
    let id = ids::derived(&["answer", &message.source, &message.id]);
    Ok(Draft {
        subject: message.subject.clone(),
        ..busbar_sdk::draft(id, &question.r#type, jq::json_text(&data, &place)?)
    })
}

/// `{id, source, type, subject, time, data}`.
fn message_value(message: &Message) -> Result<Val, Rejection> {
    jq::parse(&message_json(message)).ok_or_else(|| rejection("unreadable-data", "the data is not JSON", "/data"))
}

fn message_json(message: &Message) -> String {
    let head = serde_json::json!({
        "id": message.id, "source": message.source, "type": message.type_,
        "subject": message.subject, "time": message.time,
    })
    .to_string();
    // Spliced as text: numbers stay as they are written.
    format!("{},\"data\":{}}}", head.trim_end_matches('}'), message.data)
}

/// `{status, headers, body}` and, under `name`, what the request was made of; a body that is no JSON is a string, an
/// empty one null.
pub fn reply_value(response: &Response, name: &str, made_of: &str) -> Result<Val, Rejection> {
    let headers: serde_json::Map<String, serde_json::Value> = response
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), serde_json::Value::from(header.value.clone())))
        .collect();
    let text = String::from_utf8_lossy(busbar_sdk::encoding::without_bom(&response.body));
    // serde_json limits the depth, which jaq's own reader does not.
    let body = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => text.into_owned(),
        Err(_) if text.trim().is_empty() => "null".to_owned(),
        Err(_) => serde_json::Value::from(text).to_string(),
    };
    let json = format!(
        "{{\"status\":{},\"headers\":{},\"body\":{body},\"{name}\":{made_of}}}",
        response.status,
        serde_json::Value::from(headers)
    );
    jq::parse(&json).ok_or_else(|| rejection("unreadable-reply", "the reply is not JSON", ""))
}

/// A text with `{jq}` parts, each passed through `convert`.
fn expand(
    template: &str,
    input: &Val,
    place: &str,
    convert: &dyn Fn(&str, &str) -> Result<String, Rejection>,
) -> Result<String, Rejection> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, code, after)) = part(template, rest, place)? {
        text.push_str(before);
        let value = jq::evaluate(code, input.clone(), place)?;
        text.push_str(&convert(&jq::scalar_text(&value).unwrap_or_default(), place)?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// The expressions of such a text.
///
/// # Errors
/// `bad-mapping` for a brace that is not closed.
pub fn parts<'a>(template: &'a str, place: &str) -> Result<Vec<&'a str>, Rejection> {
    let (mut codes, mut rest) = (Vec::new(), template);
    while let Some((_, code, after)) = part(template, rest, place)? {
        codes.push(code);
        rest = after;
    }
    Ok(codes)
}

/// What stands before the next expression, the expression, and what stands behind it.
type Part<'a> = (&'a str, &'a str, &'a str);

fn part<'a>(template: &str, rest: &'a str, place: &str) -> Result<Option<Part<'a>>, Rejection> {
    let Some((before, after)) = rest.split_once('{') else { return Ok(None) };
    let end = closing(after).ok_or_else(|| rejection("bad-mapping", format!("`{template}`: {{ without }}"), place))?;
    let (code, behind) = after.split_at(end);
    Ok(Some((before, code, behind.get(1..).unwrap_or_default())))
}

/// Where the `}` stands that closes the brace before `text`; braces of the expression come in pairs.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

// An empty part, `.` and `..` would address another resource than the mapping means.
fn path_value(value: &str, place: &str) -> Result<String, Rejection> {
    match value {
        "" | "." | ".." => Err(rejection("empty-path-value", format!("`{value}` cannot be a part of the path"), place)),
        value => Ok(jq::encoded(value)),
    }
}

fn header_value(value: &str, place: &str) -> Result<String, Rejection> {
    if value.chars().any(|c| c.is_control()) {
        return Err(rejection("bad-header", "a header's value has no control characters", place));
    }
    Ok(value.to_owned())
}

#[derive(Default)]
struct Headers(Vec<Header>);

impl Headers {
    fn set(&mut self, name: &str, value: String) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|header| header.name != name);
        self.0.push(Header { name, value });
    }

    fn set_default(&mut self, name: &str, value: &str) {
        if !self.0.iter().any(|header| header.name == name) {
            self.set(name, value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;

//! Requests of the API in JSON, and what answers mean.
//!
//! Source: Diadoc API, «Авторизация», codes of answers of each method.

use busbar_sdk::encoding::without_bom;
use busbar_sdk::http::{Authorization, HttpError, Request, Response};
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Failure, Header, rejected, transient};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::settings::Settings;

/// What may stand for itself in a query.
pub const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// No more calls while an operation with the same id is under way.
const UNDER_WAY_MS: u64 = 10_000;

/// A request of `path` with `query`, whose values are encoded here; a POST where there is a body.
pub fn request(settings: &Settings, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Request {
    let query: Vec<String> =
        query.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY))).collect();
    let mut headers = vec![header("accept", "application/json; charset=utf-8")];
    if body.is_some() {
        headers.push(header("content-type", "application/json; charset=utf-8"));
    }
    Request {
        method: if body.is_some() { "POST" } else { "GET" }.to_owned(),
        url: format!("{}{path}?{}", settings.base_url(), query.join("&")),
        headers,
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        authorization: Some(Authorization::Bearer(settings.access_token.clone())),
        timeout_ms: None,
    }
}

/// The JSON of an answer; nothing where there is no such object.
///
/// # Errors
/// What the status means; `bad-answer`.
pub fn find(reply: Result<Response, HttpError>, what: &str) -> Result<Option<Value>, Failure> {
    let response = reply.map_err(|error| replies::failure_of_error(error, what, true))?;
    if response.status == 404 { Ok(None) } else { read(response, what).map(Some) }
}

/// The JSON of an answer.
///
/// # Errors
/// `no-subscription`, `conflict`, what the status means else; `transient` while the operation is under way; `bad-answer`.
pub fn read(response: Response, what: &str) -> Result<Value, Failure> {
    match (response.status, replies::outcome_of_status(response.status)) {
        (204, _) => {
            let wait = replies::retry_after_ms(&response).unwrap_or(UNDER_WAY_MS);
            Err(transient(format!("{what} is still under way"), Some(wait)))
        }
        (_, Outcome::Ok) => {
            serde_json::from_slice(without_bom(&response.body)).map_err(|error| bad(&format!("{what}: {error}"), ""))
        }
        (402, _) => Err(rejected("no-subscription", format!("{what}: the box has no subscription of the API"), "")),
        (409, _) => Err(rejected("conflict", reason(Outcome::Rejected, &response, what), "")),
        (_, outcome) => Err(replies::failure_of(outcome, &response, what)),
    }
}

fn reason(outcome: Outcome, response: &Response, what: &str) -> String {
    match replies::failure_of(outcome, response, what) {
        Failure::Rejected(rejection) => rejection.reason,
        other => format!("{other:?}"),
    }
}

pub fn bad(reason: &str, place: &str) -> Failure {
    let place = if place.is_empty() { "answer".to_owned() } else { format!("answer/{place}") };
    rejected("bad-answer", reason, place)
}

pub fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

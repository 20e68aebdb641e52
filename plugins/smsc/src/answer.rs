//! What the gateway answers, `fmt=3`: with status 200 whatever it says.
//!
//! Source: SMSC.ru HTTP API, «Ответ сервера и коды ошибок» of each page.

use busbar_sdk::encoding::without_bom;
use busbar_sdk::http::{Authorization, HttpError, Request, Response};
use busbar_sdk::loose::Loose;
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{Delay, Failure, Header, Hub, rejected, transient};
use serde_json::Value;

use crate::mapping::Settings;

const MINUTE_MS: u64 = 60_000;
/// Characters of the gateway's words in a reason.
const WORDS_MAX: usize = 200;

/// An error that the gateway names by its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: i64,
    words: String,
}

impl Refusal {
    /// What it means for a call of an adapter. `what` was asked.
    pub fn failure(&self, what: &str) -> Failure {
        let reason = format!("{what}: error {}, {}", self.code, self.words);
        let delay = |minutes: u64| Delay { reason: reason.clone(), retry_after_ms: Some(minutes * MINUTE_MS) };
        match self.code {
            2 => Failure::Unauthorized(reason),
            // No money: somebody must pay.
            3 => Failure::Transient(delay(10)),
            // The address is blocked for a while because of frequent errors.
            4 => Failure::RateLimited(delay(10)),
            9 => Failure::RateLimited(delay(1)),
            6 => rejected("forbidden", reason, "answer/error_code"),
            _ => rejected("refused", reason, "answer/error_code"),
        }
    }
}

/// An answer: what was asked for, or an error of the gateway's own.
pub type Told = Result<Value, Refusal>;

/// A form to a page of the API, with login and password or key. Within a delivery it is sent once, unless it is `repeatable`; and
/// later attempts get the answer that came, unless nothing was done by it.
///
/// # Errors
/// There is no answer.
pub fn post(
    settings: &Settings,
    page: &str,
    form: Vec<u8>,
    repeatable: bool,
    hub: &mut impl Hub,
) -> Result<Response, HttpError> {
    let kind = "application/x-www-form-urlencoded".to_owned();
    let request = Request {
        method: "POST".to_owned(),
        url: format!("{}/{page}", settings.base_url()),
        headers: vec![Header { name: "content-type".to_owned(), value: kind }],
        body: form,
        authorization: Some(Authorization::Parameters(settings.credentials())),
        timeout_ms: None,
    };
    if repeatable { hub.send_idempotent(&request) } else { hub.send(&request) }
}

/// Reads an answer.
///
/// # Errors
/// What the HTTP status means; `bad-answer` for what is no JSON.
pub fn told(reply: Result<Response, HttpError>, what: &str) -> Result<Told, Failure> {
    let response = reply.map_err(|error| replies::failure_of_error(error, what, true))?;
    let outcome = replies::outcome_of_status(response.status);
    if outcome != Outcome::Ok {
        return Err(replies::failure_of(outcome, &response, what));
    }
    let body: Value =
        serde_json::from_slice(without_bom(&response.body)).map_err(|error| bad(&format!("{what}: {error}"), ""))?;
    if body.get("error_code").is_none() {
        return Ok(Ok(body));
    }
    let code = Loose::at(&body, "error_code").and_then(|code| code.number());
    let code = code.ok_or_else(|| bad("this is no number", "error_code"))?;
    let words = body.get("error").and_then(Value::as_str).unwrap_or_default();
    Ok(Err(Refusal { code, words: words.chars().take(WORDS_MAX).collect() }))
}

/// Whether nobody knows what came of the request, and the host would not send it again.
pub fn is_unclear(reply: &Result<Response, HttpError>) -> bool {
    match reply {
        Ok(response) => matches!(response.status, 502 | 504),
        Err(error) => matches!(error, HttpError::NoAnswer(_) | HttpError::TooLarge(_)),
    }
}

/// `unclear` or not, it may be asked about and sent again by the next attempt.
pub fn try_again(failure: Failure) -> Failure {
    match failure {
        Failure::UnknownOutcome(text) => transient(text, None),
        other => other,
    }
}

pub fn bad(reason: &str, place: &str) -> Failure {
    let place = if place.is_empty() { "answer".to_owned() } else { format!("answer/{place}") };
    rejected("bad-answer", reason, place)
}

//! What an answer over HTTP, or the lack of one, means for a delivery.

use std::time::Duration;

use crate::http::{HttpError, Response};
use crate::{Delay, Failure, header, rejected, transient};

/// Longest body excerpt put into a reason, in bytes.
const EXCERPT_BYTES: usize = 200;

/// What a status means; see [`outcome_of_status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Ok,
    Transient,
    Rejected,
    Unauthorized,
    RateLimited,
    UnknownOutcome,
}

/// The usual meaning: 2xx is success; 401 and 403 refused credentials; 429 a rate limit; 408, 425
/// and 5xx something that may pass; everything else, redirects included, a refusal of this very request.
pub fn outcome_of_status(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Ok,
        401 | 403 => Outcome::Unauthorized,
        429 => Outcome::RateLimited,
        408 | 425 | 500..=599 => Outcome::Transient,
        _ => Outcome::Rejected,
    }
}

/// The failure of an answer whose outcome is not [`Outcome::Ok`].
pub fn failure_of(outcome: Outcome, response: &Response, what: &str) -> Failure {
    let reason = format!("{what} answered {}{}", response.status, excerpt(&response.body));
    let delay = || Delay { reason: reason.clone(), retry_after_ms: retry_after_ms(response) };
    match outcome {
        Outcome::Transient => Failure::Transient(delay()),
        Outcome::RateLimited => Failure::RateLimited(delay()),
        Outcome::Unauthorized => Failure::Unauthorized(reason),
        Outcome::UnknownOutcome => Failure::UnknownOutcome(reason),
        Outcome::Rejected => rejected("refused", reason, ""),
        Outcome::Ok => Failure::Other(reason),
    }
}

/// The failure of a request that got no answer. `repeatable`: sending it again does no harm, because
/// the method is safe or the request carries an idempotency key.
pub fn failure_of_error(error: HttpError, what: &str, repeatable: bool) -> Failure {
    match error {
        HttpError::Unreachable(text) => transient(format!("{what} cannot be reached: {text}"), None),
        HttpError::NoAnswer(text) if repeatable => transient(format!("{what} gave no answer: {text}"), None),
        HttpError::NoAnswer(text) => Failure::UnknownOutcome(format!("{what} gave no answer: {text}")),
        HttpError::Denied(text) => rejected("denied", format!("{what}: {text}"), "config"),
        HttpError::Invalid(text) => rejected("invalid-request", format!("{what}: {text}"), "config"),
        HttpError::TooLarge(limit_bytes) => {
            rejected("answer-too-large", format!("{what} answered more than {limit_bytes} bytes"), "")
        }
    }
}

/// `Retry-After` in milliseconds: seconds, or a date counted from the answer's own `Date` (RFC 9110,
/// 10.2.3), so that no clock is needed and a wrong one does no harm.
pub fn retry_after_ms(response: &Response) -> Option<u64> {
    let value = header(&response.headers, "retry-after")?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = httpdate::parse_http_date(header(&response.headers, "date")?.trim()).ok()?;
    let wait = until.duration_since(now).unwrap_or(Duration::ZERO);
    u64::try_from(wait.as_millis()).ok()
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..EXCERPT_BYTES).unwrap_or(body));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        let headers =
            headers.iter().map(|(name, value)| Header { name: (*name).into(), value: (*value).into() }).collect();
        Response { status, headers, body: b"busy\n now".to_vec() }
    }

    #[test]
    fn retry_after_in_both_forms() {
        assert_eq!(retry_after_ms(&response(503, &[("Retry-After", "7")])), Some(7000));
        let dates = [("retry-after", "Sun, 22 Nov 2026 07:00:30 GMT"), ("date", "Sun, 22 Nov 2026 07:00:00 GMT")];
        assert_eq!(retry_after_ms(&response(503, &dates)), Some(30_000));
        assert_eq!(retry_after_ms(&response(503, dates.get(..1).unwrap())), None);
        assert_eq!(retry_after_ms(&response(503, &[("retry-after", "soon")])), None);
        assert_eq!(retry_after_ms(&response(503, &[])), None);
    }

    #[test]
    fn statuses() {
        for (status, outcome) in [
            (200, Outcome::Ok),
            (204, Outcome::Ok),
            (302, Outcome::Rejected),
            (401, Outcome::Unauthorized),
            (404, Outcome::Rejected),
            (408, Outcome::Transient),
            (425, Outcome::Transient),
            (429, Outcome::RateLimited),
            (503, Outcome::Transient),
        ] {
            assert_eq!(outcome_of_status(status), outcome, "{status}");
        }
        let failure = failure_of(Outcome::Transient, &response(503, &[("retry-after", "1")]), "POST x");
        let Failure::Transient(delay) = failure else { panic!("{failure:?}") };
        assert_eq!((delay.reason.as_str(), delay.retry_after_ms), ("POST x answered 503: busy now", Some(1000)));
    }

    #[test]
    fn no_answer_to_an_unrepeatable_request_is_an_unknown_outcome() {
        let failure = failure_of_error(HttpError::NoAnswer("reset".into()), "POST x", false);
        assert!(matches!(failure, Failure::UnknownOutcome(_)), "{failure:?}");
        let failure = failure_of_error(HttpError::NoAnswer("reset".into()), "POST x", true);
        assert!(matches!(failure, Failure::Transient(_)), "{failure:?}");
    }
}

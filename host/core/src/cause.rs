//! Why deliveries fail, so that those which fail alike are one group.

use crate::calls::{Call, CallKind, CallOutcome};
use crate::commit::short_hash;
use crate::error::{ALL, Class, ErrorRecord};
use crate::journal::DeliveryState;

/// What deliveries that fail alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    pub system: String,
    pub r#type: String,
    pub code: String,
    /// The code, and the place, are in an adapter's own words.
    pub by_adapter: bool,
    /// With `*` for every number in it: the fifth line and the sixth are one place.
    pub place: Option<String>,
    /// What the far end said, see [`ErrorRecord::answer`].
    pub answer: Option<String>,
}

impl Cause {
    pub fn of(system: &str, r#type: &str, error: &ErrorRecord) -> Self {
        Self {
            system: system.to_string(),
            r#type: r#type.to_string(),
            code: error.code.clone(),
            by_adapter: error.by_adapter,
            place: error.place.as_deref().map(without_numbers),
            answer: error.answer.clone(),
        }
    }

    /// Names it for ever; never 0.
    pub fn id(&self) -> i64 {
        let part = |part: &Option<String>| part.as_ref().map_or_else(String::new, |text| format!("={text}"));
        let (place, answer) = (part(&self.place), part(&self.answer));
        let whose = if self.by_adapter { "adapter" } else { "hub" };
        match short_hash(&[&self.system, &self.r#type, whose, &self.code, &place, &answer]).0 {
            0 => 1,
            id => id,
        }
    }

    /// An adapter's own code means that the input was rejected.
    pub fn class(&self) -> Class {
        ALL.iter()
            .find(|code| !self.by_adapter && code.as_str() == self.code)
            .map_or(Class::Reject, |code| code.class())
    }
}

/// A cause's id as it is written in addresses.
pub fn cause_text(id: i64) -> String {
    format!("{id:016x}")
}

/// None is 0: that stands where there is no cause.
pub fn parse_cause(text: &str) -> Option<i64> {
    let hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u64::from_str_radix(text, 16).ok().filter(|_| hexadecimal)?;
    Some(i64::from_ne_bytes(id.to_ne_bytes())).filter(|id| *id != 0)
}

/// Deliveries that fail, or failed for good, for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    pub cause: Cause,
    pub state: DeliveryState,
    pub count: u64,
    /// When the first of those that are there now came, and the last one: milliseconds since the epoch.
    pub first_ms: i64,
    pub last_ms: i64,
}

/// Which failures to group. All given conditions hold together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FailureFilter {
    pub system: Option<String>,
    pub r#type: Option<String>,
}

fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_number = false;
    for c in text.chars() {
        let digit = c.is_ascii_digit();
        if !digit {
            out.push(c);
        } else if !in_number {
            out.push('*');
        }
        in_number = digit;
    }
    out
}

/// What the far end said last in an attempt that failed: the status of its answer, or in a word why there was none.
pub fn answer_of(calls: &[Call]) -> Option<String> {
    let far = |call: &&Call| matches!(call.kind, CallKind::Http | CallKind::Publish | CallKind::Connection);
    let call = calls.iter().filter(far).max_by_key(|call| (call.attempt, call.ordinal))?;
    let status = call.answer.as_ref().and_then(|answer| answer.get("status")?.as_u64());
    match (&call.outcome, status) {
        (CallOutcome::Ok, None) => None,
        (CallOutcome::Ok, Some(status)) => Some(status.to_string()),
        (outcome, _) => Some(outcome.as_str().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(code: &str, place: Option<&str>, answer: Option<&str>) -> ErrorRecord {
        let text = |text: &str| text.to_string();
        ErrorRecord { code: code.into(), place: place.map(text), answer: answer.map(text), ..ErrorRecord::default() }
    }

    #[test]
    fn what_fails_alike_has_one_cause() {
        let of = |error: &ErrorRecord| Cause::of("billing", "invoice.issued.v1", error);
        let first = of(&error("bad-line", Some("/lines/5/sum"), Some("422")));
        assert_eq!(first.place.as_deref(), Some("/lines/*/sum"));
        assert_eq!(first.id(), of(&error("bad-line", Some("/lines/117/sum"), Some("422"))).id());
        for other in [
            error("bad-line", Some("/lines/5/tax"), Some("422")),
            error("bad-line", Some("/lines/5/sum"), Some("409")),
            error("bad-line", Some("/lines/5/sum"), None),
            error("bad-line", None, Some("422")),
            error("other", Some("/lines/5/sum"), Some("422")),
        ] {
            assert_ne!(first.id(), of(&other).id(), "{other:?}");
        }
        // A place is no answer.
        let place = Cause { place: Some("x".into()), answer: None, ..first.clone() };
        let answer = Cause { place: None, answer: Some("x".into()), ..first };
        assert_ne!(place.id(), answer.id());
    }

    #[test]
    fn an_id_is_read_again() {
        for id in [1, -1, i64::MIN, i64::MAX] {
            assert_eq!(parse_cause(&cause_text(id)), Some(id));
        }
        for text in ["", "1", "+00000000000001f", "00000000000000001", "00000000000000g1", "0000000000000000"] {
            assert_eq!(parse_cause(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_answer_counts() {
        let call = |ordinal, kind, outcome: &str, status: u64| Call {
            attempt: 1,
            ordinal,
            kind,
            request: json!({}),
            answer: (status > 0).then(|| json!({ "status": status })),
            outcome: outcome.into(),
            started_at_ms: 0,
            duration_us: 0,
        };
        let http = CallKind::Http;
        assert_eq!(answer_of(&[call(0, http, "ok", 200), call(1, http, "ok", 503)]).as_deref(), Some("503"));
        assert_eq!(answer_of(&[call(0, http, "ok", 500), call(1, http, "no-answer", 0)]).as_deref(), Some("no-answer"));
        assert_eq!(answer_of(&[call(0, http, "ok", 409), call(1, CallKind::State, "ok", 0)]).as_deref(), Some("409"));
        assert_eq!(answer_of(&[call(0, CallKind::Publish, "ok", 0)]), None);
        assert_eq!(answer_of(&[]), None);
    }
}

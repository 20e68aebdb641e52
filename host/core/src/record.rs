//! The rule of recorded calls (design, section 6, 5): within one delivery, what an unsafe request did is done
//! once. Given the calls of earlier attempts, says of each new request whether it is sent.

use crate::calls::{Call, CallKind, CallOutcome};
use crate::error::{Code, Problem};
use crate::journal::DeliveryState;
use crate::mutant::{Mutant, broken};
use serde_json::Value;
use std::collections::VecDeque;

/// How a request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// By its method (RFC 9110, section 9.2.1), it changes nothing.
    Safe,
    /// The far end executes it once however often it is sent.
    Idempotent,
    /// It may do something twice.
    Unsafe,
}

impl Repeat {
    pub fn of(method: &str, idempotent: bool) -> Self {
        if ["GET", "HEAD", "OPTIONS", "TRACE"].iter().any(|m| method.eq_ignore_ascii_case(m)) {
            Self::Safe
        } else if idempotent {
            Self::Idempotent
        } else {
            Self::Unsafe
        }
    }

    /// Whether a delivery's request is sent only after it is written that it will be: what came of it nobody may hear of.
    pub fn is_written_ahead(self) -> bool {
        self == Self::Unsafe && !broken(Mutant::SendUnwritten)
    }
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Do not send it: this was the answer.
    Answer(Value),
    /// Do not send it: an earlier attempt did, and nobody knows what came of it.
    Unknown,
    Send,
}

/// The requests that earlier attempts of a delivery sent, in order; each is used at most once.
#[derive(Clone, Debug, Default)]
pub struct Record {
    sent: VecDeque<Call>,
}

impl Record {
    /// `calls`: everything the earlier attempts did.
    pub fn new(calls: Vec<Call>) -> Self {
        let mut calls = calls;
        calls.sort_by_key(|call| (call.attempt, call.ordinal));
        let mut sent = VecDeque::new();
        for call in calls {
            // An answer that was believed, and then was not.
            if call.outcome == CallOutcome::NothingDone
                && let Some(at) = sent.iter().rposition(|earlier: &Call| earlier.request == call.request)
            {
                sent.remove(at);
            }
            // What was answered from the record, or withheld, was not sent: counting it would answer one
            // request twice.
            if was_sent(&call) {
                sent.push_back(call);
            }
        }
        Self { sent }
    }

    /// `request`: as the journal shows it, see [`Call::request`].
    pub fn verdict(&mut self, request: &Value, repeat: Repeat) -> Verdict {
        if repeat == Repeat::Safe {
            return Verdict::Send;
        }
        // One that was refused or turned away (401, 409, 422, 503) did nothing and says nothing about the next.
        while let Some(at) = self.sent.iter().position(|call| &call.request == request) {
            let Some(call) = self.sent.remove(at) else { break };
            match call.answer {
                Some(answer) if call.outcome == CallOutcome::Ok && was_done(&answer) => return Verdict::Answer(answer),
                answer if repeat == Repeat::Unsafe && (call.outcome != CallOutcome::Ok || gave_up(answer.as_ref())) => {
                    return Verdict::Unknown;
                }
                _ => {}
            }
        }
        Verdict::Send
    }
}

/// An answer too large to be taken is no answer: what was asked for may be done.
fn was_sent(call: &Call) -> bool {
    call.kind == CallKind::Http
        && matches!(call.outcome, CallOutcome::Ok | CallOutcome::NoAnswer | CallOutcome::TooLarge)
}

fn status(answer: &Value) -> Option<u64> {
    answer.get("status")?.as_u64()
}

/// What was asked for is done: 2xx (RFC 9110, section 15.3).
fn was_done(answer: &Value) -> bool {
    let kept = if broken(Mutant::RefusalIsForEver) { 200..500 } else { 200..300 };
    status(answer).is_some_and(|s| kept.contains(&s))
}

/// A gateway that gave up waiting (502, 504) does not know what became of the request.
fn gave_up(answer: Option<&Value>) -> bool {
    answer.and_then(status).is_some_and(|s| s == 502 || s == 504)
}

/// What counts of a delivery's record after a person decided, when it counted `judged` attempts, that it is made
/// again: what was done stays done, and what came of a request without an answer the person has found out. A file that was
/// begun is gone on with all the same: others are in it, and whether it has its name the folder tells.
pub fn since_decision(calls: Vec<Call>, judged: u32) -> Vec<Call> {
    let judged = if broken(Mutant::JudgeAhead) { u32::MAX } else { judged };
    let done = |call: &Call| call.outcome == CallOutcome::Ok && call.answer.as_ref().is_some_and(was_done);
    let sends = |call: &Call| matches!(call.kind, CallKind::Http | CallKind::Connection);
    calls.into_iter().filter(|call| call.attempt > judged || !sends(call) || done(call)).collect()
}

/// Whether earlier attempts did something, or may have, by what they sent: with other data it would be another request,
/// which the record does not know, and the far end may do both.
fn binds(calls: &[Call]) -> bool {
    let is_safe = |call: &Call| {
        let method = call.request.get("method").and_then(Value::as_str).unwrap_or_default();
        Repeat::of(method, false) == Repeat::Safe
    };
    let acts = |call: &Call| {
        call.outcome != CallOutcome::Ok || gave_up(call.answer.as_ref()) || call.answer.as_ref().is_some_and(was_done)
    };
    maybe_sent(calls) || Record::new(calls.to_vec()).sent.iter().any(|call| !is_safe(call) && acts(call))
}

/// Whether an earlier attempt gave the message to a connection, or put it into a file, and did not live to see what came
/// of it.
pub fn maybe_sent(calls: &[Call]) -> bool {
    crate::files::begun(calls).is_some()
        || calls.iter().any(|call| call.kind == CallKind::Connection && call.outcome == CallOutcome::NoAnswer)
}

/// Whether a person may put other data in place of the message's. `calls`: everything that attempts of the delivery did.
///
/// # Errors
/// `not-parked` where something was done with the data as they were, or may have been, and nobody has found out.
pub fn may_be_edited(delivery: i64, state: DeliveryState, calls: &[Call]) -> Result<(), Problem> {
    let detail = if let Some(begun) = crate::files::begun(calls) {
        let name = begun.name;
        format!(
            "delivery {delivery} is in the file `{name}` that is not finished, with the data as they were; retry it, or skip it"
        )
    } else if state == DeliveryState::Ready && binds(calls) {
        format!("delivery {delivery} has done something already, or may have; with other data it could do it twice")
    } else {
        return Ok(());
    };
    Err(Problem::new(Code::NotParked, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallOutcome::{NoAnswer, NotSent, NothingDone, Ok, Recorded, TooLarge, Withheld};
    use serde_json::json;

    fn post(n: u64) -> Value {
        json!({ "method": "POST", "url": "http://far/p", "headers": [], "body": n.to_string() })
    }

    fn call(attempt: u32, ordinal: u32, request: Value, outcome: impl Into<CallOutcome>, status: u64) -> Call {
        Call {
            attempt,
            ordinal,
            kind: CallKind::Http,
            request,
            answer: (status > 0).then(|| json!({ "status": status, "n": attempt * 10 + ordinal })),
            outcome: outcome.into(),
            started_at_ms: 0,
            duration_us: 0,
        }
    }

    fn answered(n: u64, status: u64) -> Verdict {
        Verdict::Answer(json!({ "status": status, "n": n }))
    }

    #[test]
    fn what_was_done_is_answered_from_the_record_once_and_in_order() {
        let calls = vec![
            call(2, 0, post(1), Recorded, 201),
            call(1, 1, post(1), Ok, 202),
            call(1, 0, post(1), Ok, 201),
            call(1, 2, post(2), Ok, 200),
        ];
        for repeat in [Repeat::Unsafe, Repeat::Idempotent] {
            let mut record = Record::new(calls.clone());
            assert_eq!(record.verdict(&post(1), repeat), answered(10, 201));
            assert_eq!(record.verdict(&post(3), repeat), Verdict::Send, "another request");
            assert_eq!(record.verdict(&post(1), repeat), answered(11, 202));
            assert_eq!(record.verdict(&post(1), repeat), Verdict::Send, "the repeat of attempt 2 is no third request");
            assert_eq!(record.verdict(&post(2), repeat), answered(12, 200));
        }
    }

    #[test]
    fn a_safe_request_is_sent_always() {
        let get = json!({ "method": "GET", "url": "http://far/p" });
        let calls = vec![call(1, 0, get.clone(), Ok, 200), call(1, 1, get.clone(), NoAnswer, 0)];
        assert_eq!(Record::new(calls).verdict(&get, Repeat::of("get", false)), Verdict::Send);
        assert_eq!(Repeat::of("DELETE", true), Repeat::Idempotent);
        assert_eq!(Repeat::of("DELETE", false), Repeat::Unsafe);
    }

    #[test]
    fn what_was_sent_without_an_answer_is_not_sent_again_by_any_later_attempt() {
        for outcome in [NoAnswer, TooLarge] {
            let sent = call(1, 0, post(1), outcome, 0);
            assert_eq!(Record::new(vec![sent.clone()]).verdict(&post(1), Repeat::Unsafe), Verdict::Unknown);
            let withheld = call(2, 0, post(1), Withheld, 0);
            let mut record = Record::new(vec![withheld, sent.clone()]);
            assert_eq!(record.verdict(&post(1), Repeat::Unsafe), Verdict::Unknown);
            assert_eq!(record.verdict(&post(1), Repeat::Unsafe), Verdict::Send, "a second one is another effect");
            assert_eq!(Record::new(vec![sent]).verdict(&post(1), Repeat::Idempotent), Verdict::Send);
        }
    }

    #[test]
    fn what_was_refused_turned_away_or_never_left_is_sent() {
        for status in [302, 400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 501, 503] {
            let mut record = Record::new(vec![call(1, 0, post(1), Ok, status)]);
            assert_eq!(record.verdict(&post(1), Repeat::Unsafe), Verdict::Send, "{status}");
        }
        for status in [502, 504] {
            let calls = vec![call(1, 0, post(1), Ok, status)];
            assert_eq!(Record::new(calls.clone()).verdict(&post(1), Repeat::Unsafe), Verdict::Unknown, "{status}");
            assert_eq!(Record::new(calls).verdict(&post(1), Repeat::Idempotent), Verdict::Send, "{status}");
        }
        for outcome in ["denied", "invalid", "unreachable", "not-sent", "withheld"] {
            let mut record = Record::new(vec![call(1, 0, post(1), outcome, 0)]);
            assert_eq!(record.verdict(&post(1), Repeat::Unsafe), Verdict::Send, "{outcome}");
        }
        // Turned away, refused, then done.
        let calls = vec![call(1, 0, post(1), Ok, 503), call(2, 0, post(1), Ok, 401), call(3, 0, post(1), Ok, 201)];
        assert_eq!(Record::new(calls).verdict(&post(1), Repeat::Unsafe), answered(30, 201));
        // Turned away, then gone unanswered.
        let calls = vec![call(1, 0, post(1), Ok, 503), call(2, 0, post(1), NoAnswer, 0)];
        assert_eq!(Record::new(calls).verdict(&post(1), Repeat::Unsafe), Verdict::Unknown);
    }

    #[test]
    fn a_repeat_of_the_far_ends_kind_uses_what_a_later_attempt_heard() {
        let calls = vec![call(1, 0, post(1), NoAnswer, 0), call(2, 0, post(1), Ok, 201)];
        assert_eq!(Record::new(calls).verdict(&post(1), Repeat::Idempotent), answered(20, 201));
    }

    #[test]
    fn an_answer_by_which_nothing_was_done_is_no_answer() {
        let calls = vec![call(1, 0, post(1), NothingDone, 200), call(1, 1, post(2), Ok, 200)];
        let mut record = Record::new(calls);
        assert_eq!(record.verdict(&post(1), Repeat::Unsafe), Verdict::Send);
        assert_eq!(record.verdict(&post(2), Repeat::Unsafe), answered(11, 200));
        // Also of one that was answered from the record, by an adapter that knows better.
        let calls = vec![call(1, 0, post(1), Ok, 200), call(2, 0, post(1), NothingDone, 200)];
        assert_eq!(Record::new(calls).verdict(&post(1), Repeat::Unsafe), Verdict::Send);
    }

    #[test]
    fn what_did_something_or_may_have_binds() {
        let get = json!({ "method": "GET", "url": "http://far/p" });
        for (request, outcome, status, bound) in [
            (post(1), Ok, 201, true),
            (post(1), Ok, 504, true),
            (post(1), NoAnswer, 0, true),
            (post(1), TooLarge, 0, true),
            (post(1), Ok, 401, false),
            (post(1), Ok, 503, false),
            (post(1), "unreachable".into(), 0, false),
            (post(1), NotSent, 0, false),
            (get.clone(), Ok, 200, false),
            (get, NoAnswer, 0, false),
        ] {
            assert_eq!(binds(&[call(1, 0, request, outcome.clone(), status)]), bound, "{outcome:?} {status}");
        }
        assert!(!binds(&[]) && binds(&[Call { kind: CallKind::Connection, ..call(1, 0, post(1), NoAnswer, 0) }]));
        assert!(!binds(&[call(1, 0, post(1), NothingDone, 200)]), "disowned");
    }

    #[test]
    fn a_persons_decision_keeps_what_was_done_and_forgets_the_rest() {
        let calls = vec![
            call(1, 0, post(1), Ok, 201),
            call(1, 1, post(2), Ok, 422),
            call(1, 2, post(3), NoAnswer, 0),
            Call { kind: CallKind::Ask, ..call(1, 3, post(4), Ok, 0) },
        ];
        let kept = |judged| since_decision(calls.clone(), judged).into_iter().map(|c| c.ordinal).collect::<Vec<_>>();
        assert_eq!(kept(1), [0, 3]);
        assert_eq!(kept(0), [0, 1, 2, 3]);
    }

    #[test]
    fn other_data_are_for_what_did_nothing_or_was_found_out() {
        let sent = [call(1, 0, post(1), NoAnswer, 0)];
        let file = json!({ "name": "a.csv", "part": ".a.part" });
        let begun = [Call { kind: CallKind::File, ..call(1, 0, file, NoAnswer, 0) }];
        let refused = |state, calls: &[Call]| may_be_edited(7, state, calls).err().map(|problem| problem.code);
        assert_eq!(refused(DeliveryState::Ready, &[]), None);
        assert_eq!(refused(DeliveryState::Ready, &sent), Some(Code::NotParked));
        assert_eq!(refused(DeliveryState::Parked, &sent), None, "a person says that it was found out");
        for state in [DeliveryState::Ready, DeliveryState::Parked, DeliveryState::Dead] {
            assert_eq!(refused(state, &begun), Some(Code::NotParked), "others are in the file");
        }
    }
}

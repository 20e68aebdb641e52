//! Files out: many deliveries of a system become one file, whole or not at all. The file is written under a hidden name,
//! its part; then each delivery's record says so ahead ([`Started`]); then the file gets its name; then the deliveries are done.
//! Whoever finds such a record knows what is left: where the part is, it gets its name, and where it is not, it has got it.

use crate::calls::{Call, CallKind, CallOutcome};
use crate::engine::attempt_number;
use crate::journal::{Started, StoredDelivery};
use crate::mutant::{Mutant, broken};
use crate::outcome::Failure;
use serde_json::{Value, json};

/// A file that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The name that it is to get.
    pub name: String,
    /// The hidden name that it has until then, unique to the attempt.
    pub part: String,
}

/// The file that a delivery's earlier attempts leave unfinished. `calls`: everything they did, by attempt and ordinal.
pub fn begun(calls: &[Call]) -> Option<Begun> {
    let last =
        calls.iter().filter(|call| call.kind == CallKind::File).max_by_key(|call| (call.attempt, call.ordinal))?;
    let text = |name: &str| last.request.get(name).and_then(Value::as_str).map(str::to_string);
    (last.outcome == CallOutcome::NoAnswer).then(|| Some(Begun { name: text("name")?, part: text("part")? })).flatten()
}

/// Which of the deliveries are in a file that was begun: that file comes first, and the others wait for the next one.
/// `None`: a new one is to be made of all.
pub fn unfinished(recorded: &[(i64, Vec<Call>)]) -> Option<(Begun, Vec<i64>)> {
    if broken(Mutant::FileAgain) {
        return None;
    }
    let first = recorded.iter().find_map(|(_, calls)| begun(calls))?;
    let same = recorded.iter().filter(|(_, calls)| begun(calls).is_some_and(|begun| begun.part == first.part));
    let ids = same.map(|(id, _)| *id).collect();
    Some((first, ids))
}

/// The call by which a delivery is in a file, at place `index` of it.
pub fn call(
    attempt: u32,
    begun: &Begun,
    index: usize,
    outcome: CallOutcome,
    answer: Option<Value>,
    at_ms: i64,
) -> Call {
    Call {
        attempt,
        ordinal: 0,
        kind: CallKind::File,
        request: json!({ "name": begun.name, "part": begun.part, "index": index }),
        answer,
        outcome,
        started_at_ms: at_ms,
        duration_us: 0,
    }
}

/// What is written before the file gets its name: all of it or nothing.
pub fn ahead(deliveries: &[StoredDelivery], begun: &Begun, at_ms: i64) -> Vec<Started> {
    let started = |(index, delivery): (usize, &StoredDelivery)| {
        let attempt = attempt_number(delivery);
        let calls = vec![call(attempt, begun, index, CallOutcome::NoAnswer, None, at_ms)];
        Started { system: delivery.system.clone(), delivery: delivery.id, expected: 0, attempt, calls }
    };
    deliveries.iter().enumerate().map(started).collect()
}

/// What is written of all of them when the file cannot get its name any more, because it was removed: each alone might not be
/// written, and would count as in a file that has its name.
pub fn withdrawn(deliveries: &[StoredDelivery], begun: &Begun, at_ms: i64) -> Vec<Started> {
    let mut started = ahead(deliveries, begun, at_ms);
    started.iter_mut().flat_map(|started| &mut started.calls).for_each(|call| call.outcome = CallOutcome::NotSent);
    started
}

/// The message that a rejection of the whole file names: `/3`, `/3/data/amount`.
pub fn at_fault(failure: &Failure) -> Option<usize> {
    let Failure::Rejected(rejection) = failure else { return None };
    rejection.place.as_deref()?.strip_prefix('/')?.split('/').next()?.parse().ok()
}

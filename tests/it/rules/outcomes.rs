//! What follows from a failed attempt.

use busbar_core::outcome::decide;
use busbar_core::{Code, Failure, Next, Policy, Problem, Rejection};

const POLICY: Policy = Policy { attempts_max: 5, backoff_first_ms: 100, backoff_max_ms: 1_000 };

fn transient(retry_after_ms: Option<u64>) -> Failure {
    Failure::Transient { reason: "down".into(), retry_after_ms }
}

#[test]
fn backoff_doubles_within_its_bounds_and_spreads() {
    for (attempt, step) in [(1, 100), (2, 200), (3, 400), (4, 800)] {
        assert_eq!(decide(&POLICY, attempt, &transient(None), 0.0, false), Next::Retry { after_ms: step / 2 });
        assert_eq!(decide(&POLICY, attempt, &transient(None), 1.0, false), Next::Retry { after_ms: step });
    }
    let patient = Policy { attempts_max: u32::MAX, ..POLICY };
    for attempt in [10, 100, u32::MAX - 1] {
        assert_eq!(decide(&patient, attempt, &transient(None), 1.0, false), Next::Retry { after_ms: 1_000 });
    }
}

#[test]
fn a_far_ends_wish_to_wait_is_honoured() {
    assert_eq!(decide(&POLICY, 1, &transient(Some(30_000)), 0.5, false), Next::Retry { after_ms: 30_000 });
    let limited = Failure::RateLimited { reason: "slow down".into(), retry_after_ms: Some(7_000) };
    assert_eq!(decide(&POLICY, 1, &limited, 0.5, false), Next::Retry { after_ms: 7_000 });
}

#[test]
fn attempts_end_and_some_failures_are_never_repeated() {
    assert_eq!(decide(&POLICY, 5, &transient(None), 0.5, false), Next::GiveUp);
    let rejected = Failure::Rejected(Rejection { code: "no".into(), reason: "no".into(), place: None });
    let hub = |code| Failure::Hub(Problem::new(code, "x"));
    for failure in [rejected, Failure::UnknownOutcome("sent".into()), hub(Code::MissingGrant), hub(Code::AdapterLimit)]
    {
        assert_eq!(decide(&POLICY, 1, &failure, 0.5, false), Next::GiveUp, "{failure:?}");
    }
    for failure in [
        Failure::Unauthorized("key".into()),
        Failure::Other("odd".into()),
        hub(Code::AdapterTimeout),
        hub(Code::AdapterTrap),
    ] {
        assert!(matches!(decide(&POLICY, 1, &failure, 0.5, false), Next::Retry { .. }), "{failure:?}");
    }
}

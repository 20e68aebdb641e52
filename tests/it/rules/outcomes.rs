//! What follows from a failed attempt: another one and when, and what it says about the system.

use busbar_core::engine::{Breaker, BreakerPolicy, Bucket, Rate};
use busbar_core::outcome::{decide, pause_ms};
use busbar_core::{Ack, Acks, Code, Failure, Next, Policy, Problem, Rejection};

const POLICY: Policy = Policy { attempts_max: 5, backoff_first_ms: 100, backoff_max_ms: 1_000, wait_max_ms: 60_000 };

fn transient(retry_after_ms: Option<u64>) -> Failure {
    Failure::Transient { reason: "down".into(), retry_after_ms }
}

#[test]
fn backoff_doubles_within_its_bounds_and_spreads() {
    for (tries, step) in [(1, 100), (2, 200), (3, 400), (4, 800)] {
        assert_eq!(decide(&POLICY, tries, &transient(None), 0.0, false), Next::Retry { after_ms: step / 2 });
        assert_eq!(decide(&POLICY, tries, &transient(None), 1.0, false), Next::Retry { after_ms: step });
    }
    let patient = Policy { attempts_max: u32::MAX, ..POLICY };
    for tries in [10, 100, u32::MAX - 1] {
        assert_eq!(decide(&patient, tries, &transient(None), 1.0, false), Next::Retry { after_ms: 1_000 });
    }
}

#[test]
fn a_far_ends_wish_to_wait_is_honoured() {
    assert_eq!(decide(&POLICY, 1, &transient(Some(30_000)), 0.5, false), Next::Retry { after_ms: 30_000 });
    let limited = Failure::RateLimited { reason: "slow down".into(), retry_after_ms: Some(7_000) };
    assert_eq!(decide(&POLICY, 1, &limited, 0.5, true), Next::Retry { after_ms: 7_000 });
}

#[test]
fn a_far_end_cannot_ask_to_be_forgotten() {
    for asked_ms in [60_001, 99_999_999_999_000, u64::MAX] {
        assert_eq!(decide(&POLICY, 1, &transient(Some(asked_ms)), 0.5, false), Next::Retry { after_ms: 60_000 });
    }
}

#[test]
fn attempts_end_and_some_failures_are_never_repeated() {
    assert_eq!(decide(&POLICY, 5, &transient(None), 0.5, false), Next::GiveUp);
    assert!(matches!(decide(&POLICY, 5, &transient(None), 0.5, true), Next::Retry { .. }), "the system was down");
    let rejected = Failure::Rejected(Rejection { code: "no".into(), reason: "no".into(), place: None });
    let hub = |code| Failure::Hub(Problem::new(code, "x"));
    for failure in [rejected, Failure::UnknownOutcome("sent".into()), hub(Code::MissingGrant), hub(Code::AdapterLimit)]
    {
        for spared in [false, true] {
            assert_eq!(decide(&POLICY, 1, &failure, 0.5, spared), Next::GiveUp, "{failure:?}");
        }
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

#[test]
fn what_is_never_given_up_waits_ever_longer_and_no_longer_than_it_may() {
    let rejected = Failure::Rejected(Rejection { code: "no".into(), reason: String::new(), place: None });
    let waits = [1, 2, 3, 40].map(|failures| pause_ms(&POLICY, failures, &transient(None), 1.0, 0));
    let first = POLICY.backoff_first_ms;
    assert_eq!(waits, [first, 2 * first, 4 * first, POLICY.backoff_max_ms]);
    assert_eq!(
        pause_ms(&POLICY, 40, &transient(None), 1.0, 86_400_000),
        POLICY.backoff_max_ms,
        "as if it were given up"
    );
    assert_eq!(pause_ms(&POLICY, 1, &rejected, 1.0, 0), POLICY.backoff_max_ms, "it will hardly pass");
    assert_eq!(pause_ms(&POLICY, 1, &rejected, 1.0, 86_400_000), 86_400_000, "as seldom as it is asked anyway");
}

#[test]
fn a_breaker_opens_probes_and_closes() {
    let mut breaker = Breaker::new(BreakerPolicy { failures: 3, open_first_ms: 100, open_max_ms: 300 });
    for now_ms in [10, 20] {
        breaker.failed(now_ms, 1.0);
        assert_eq!((breaker.room(now_ms), breaker.down_since_ms()), (usize::MAX, None));
    }
    // The third opens it; it was down from the first. Waits double up to their bound.
    let mut now_ms = 30;
    for wait_ms in [100, 200, 300, 300] {
        breaker.failed(now_ms, 1.0);
        assert_eq!(breaker.down_since_ms(), Some(10));
        assert_eq!(breaker.wake_ms(), Some(now_ms + wait_ms));
        assert_eq!(breaker.room(now_ms + wait_ms - 1), 0);
        now_ms += wait_ms;
        assert_eq!(breaker.room(now_ms), 1, "one probe");
        breaker.started();
        assert_eq!(breaker.room(now_ms), 0, "and no second");
    }
    breaker.undecided(now_ms);
    assert_eq!(breaker.room(now_ms), 1, "a probe that said nothing is followed by another");
    breaker.started();
    assert!(breaker.answered() && !breaker.answered());
    assert_eq!((breaker.room(now_ms), breaker.down_since_ms()), (usize::MAX, None));
}

#[test]
fn a_success_in_between_keeps_a_breaker_closed() {
    let mut breaker = Breaker::new(BreakerPolicy { failures: 2, open_first_ms: 100, open_max_ms: 300 });
    for now_ms in 0..10 {
        breaker.failed(now_ms, 0.0);
        assert!(!breaker.answered());
    }
}

#[test]
fn a_rate_is_kept_and_a_burst_allowed() {
    let mut bucket = Bucket::new(Rate { per_second: 10.0, burst: 3 });
    let mut taken = 0;
    let mut now_ms = 1_000;
    while now_ms <= 3_000 {
        while bucket.room(now_ms) > 0 {
            bucket.take();
            taken += 1;
        }
        assert!(bucket.wake_ms() > now_ms);
        now_ms = bucket.wake_ms();
    }
    assert_eq!(taken, 3 + 20, "three at once, then ten a second for two seconds");
    assert_eq!(bucket.room(1_000_000), 3, "and never more than three at once");
}

#[test]
fn only_the_committed_prefix_is_acknowledged() {
    let mut acks = Acks::default();
    (1..=5).for_each(|number| acks.arrived(number));
    for (settled, expected) in [
        (vec![2, 3], vec![]),
        (vec![1], vec![Ack::UpTo(3)]),
        (vec![1, 3, 9], vec![]),
        (vec![5], vec![]),
        (vec![4], vec![Ack::UpTo(5)]),
    ] {
        assert_eq!(acks.settle(settled.clone()), expected, "{settled:?}");
    }
}

#[test]
fn one_slow_message_does_not_hold_all_back() {
    let mut acks = Acks::default();
    (1..=100).for_each(|number| acks.arrived(number));
    assert!(acks.settle(2..=65).is_empty());
    let late = acks.settle([66]);
    assert_eq!(late, (2..=66).map(Ack::One).collect::<Vec<_>>());
    assert_eq!(acks.settle([1]), [Ack::UpTo(1)]);
    assert_eq!(acks.settle(67..=100), [Ack::UpTo(100)]);
}

//! The circuit breaker of a system: after some failures in a row nothing is sent but a probe now and then, so that a
//! system that is down burns nobody's attempts and is not hammered when it comes back.

use crate::mutant::{Mutant, broken};
use serde::{Deserialize, Serialize};

/// When a breaker opens and how it probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Milliseconds before the first probe; doubles with every probe that fails.
    pub open_first_ms: u64,
    /// Milliseconds between probes at most.
    pub open_max_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, open_first_ms: 500, open_max_ms: 5_000 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum BreakerState {
    Closed { failures: u32 },
    Open { since_ms: i64, until_ms: i64, step_ms: u64 },
    Probing { since_ms: i64, step_ms: u64 },
}

/// The breaker of one system. Times in milliseconds.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: BreakerState,
    /// When the failures in a row began.
    failing_since_ms: i64,
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: BreakerState::Closed { failures: 0 }, failing_since_ms: 0 }
    }

    /// How many deliveries may be started now.
    pub fn room(&self, now_ms: i64) -> usize {
        match self.state {
            BreakerState::Closed { .. } => usize::MAX,
            BreakerState::Open { until_ms, .. } if until_ms <= now_ms && !broken(Mutant::BreakerStaysOpen) => 1,
            BreakerState::Open { .. } | BreakerState::Probing { .. } => 0,
        }
    }

    /// A delivery was started.
    pub fn started(&mut self) {
        if let BreakerState::Open { since_ms, step_ms, .. } = self.state {
            self.state = BreakerState::Probing { since_ms, step_ms };
        }
    }

    /// When to look again.
    pub fn wake_ms(&self) -> Option<i64> {
        match self.state {
            BreakerState::Open { until_ms, .. } => Some(until_ms),
            _ => None,
        }
    }

    /// The system answered, well or not. `true`: it was down until now.
    pub fn answered(&mut self) -> bool {
        let was_down = self.down_since_ms().is_some();
        self.state = BreakerState::Closed { failures: 0 };
        was_down
    }

    /// There is no way to the system: one failure is enough to open it.
    pub fn away(&mut self, now_ms: i64, jitter: f64) {
        if let BreakerState::Closed { failures } = &mut self.state {
            self.failing_since_ms = now_ms;
            *failures = self.policy.failures.saturating_sub(1).max(1);
        }
        self.failed(now_ms, jitter);
    }

    /// The system did not answer. `jitter` is in 0..1.
    pub fn failed(&mut self, now_ms: i64, jitter: f64) {
        if broken(Mutant::NoBreaker) {
            return;
        }
        let (since_ms, step_ms) = match self.state {
            BreakerState::Closed { failures } => {
                if failures == 0 {
                    self.failing_since_ms = now_ms;
                }
                if failures + 1 < self.policy.failures {
                    self.state = BreakerState::Closed { failures: failures + 1 };
                    return;
                }
                (self.failing_since_ms, self.policy.open_first_ms)
            }
            BreakerState::Probing { since_ms, step_ms } => (since_ms, (step_ms * 2).min(self.policy.open_max_ms)),
            // One that was under way when it opened says nothing new.
            BreakerState::Open { .. } => return,
        };
        let wait_ms = step_ms / 2 + (step_ms as f64 / 2.0 * jitter.clamp(0.0, 1.0)) as u64;
        let until_ms = now_ms + i64::try_from(wait_ms.max(1)).unwrap_or(i64::MAX / 2);
        self.state = BreakerState::Open { since_ms, until_ms, step_ms };
    }

    /// A probe ended without a word about the system: another may be sent.
    pub fn undecided(&mut self, now_ms: i64) {
        if let BreakerState::Probing { since_ms, step_ms } = self.state {
            self.state = BreakerState::Open { since_ms, until_ms: now_ms, step_ms };
        }
    }

    /// A person wants to know now: the next probe need not wait.
    pub fn hasten(&mut self, now_ms: i64) {
        if let BreakerState::Open { since_ms, step_ms, until_ms } = self.state {
            self.state = BreakerState::Open { since_ms, step_ms, until_ms: until_ms.min(now_ms) };
        }
    }

    /// Since when the system is down; `None` while it is not.
    pub fn down_since_ms(&self) -> Option<i64> {
        match self.state {
            BreakerState::Closed { .. } => None,
            BreakerState::Open { since_ms, .. } | BreakerState::Probing { since_ms, .. } => Some(since_ms),
        }
    }
}

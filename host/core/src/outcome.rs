//! How a call of an adapter ended, and what follows.

use crate::error::{Code, Problem, cut};
use crate::mutant::{Mutant, broken};
use serde::{Deserialize, Serialize};

/// Of an adapter's own code.
pub const CODE_BYTES_MAX: usize = 100;

/// Input that can never succeed as it is (WIT `types.rejection`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub code: String,
    pub reason: String,
    pub place: Option<String>,
}

/// Why a delivery, a hook, a file or a question failed (WIT `types.failure`, plus what the host sees).
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    Transient {
        reason: String,
        retry_after_ms: Option<u64>,
    },
    Rejected(Rejection),
    Unauthorized(String),
    RateLimited {
        reason: String,
        retry_after_ms: Option<u64>,
    },
    UnknownOutcome(String),
    Other(String),
    /// The hub's own finding: a trap, a limit, a missing grant, an invalid message.
    Hub(Problem),
}

impl Failure {
    /// The same as a problem with a stable code.
    pub fn problem(&self) -> Problem {
        let of = |code, text: &str| Problem::new(code, text);
        match self {
            Self::Transient { reason, retry_after_ms } => {
                Problem { retry_after_ms: *retry_after_ms, ..of(Code::Transient, reason) }
            }
            Self::RateLimited { reason, retry_after_ms } => {
                Problem { retry_after_ms: *retry_after_ms, ..of(Code::RateLimited, reason) }
            }
            Self::Rejected(rejection) => Problem {
                own_code: Some(cut(rejection.code.clone(), CODE_BYTES_MAX)),
                ..match &rejection.place {
                    Some(place) => of(Code::Rejected, &rejection.reason).at(place),
                    None => of(Code::Rejected, &rejection.reason),
                }
            },
            Self::Unauthorized(text) => of(Code::SystemUnauthorized, text),
            Self::UnknownOutcome(text) => of(Code::UnknownOutcome, text),
            Self::Other(text) => of(Code::AdapterOther, text),
            Self::Hub(problem) => problem.clone(),
        }
    }
}

/// When to try a delivery again. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub attempts_max: u32,
    pub backoff_first_ms: u64,
    pub backoff_max_ms: u64,
    /// A far end may ask to wait so long at most: what comes from outside is bounded.
    pub wait_max_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { attempts_max: 12, backoff_first_ms: 500, backoff_max_ms: 300_000, wait_max_ms: 3_600_000 }
    }
}

impl Policy {
    /// How long a far end is left alone that asked for so much.
    pub fn wait_ms(&self, asked_ms: Option<u64>) -> u64 {
        asked_ms.unwrap_or(0).min(self.wait_max_ms)
    }
}

/// What follows from a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again this many milliseconds from now.
    Retry { after_ms: u64 },
    /// Failed for good.
    GiveUp,
}

/// `tries` counts from 1, those that were `spared` apart (the system was down); `jitter` is a random number in
/// 0..1. Exponential backoff with equal jitter: half of the step is fixed, half random, so that a crowd spreads and
/// nobody hammers.
pub fn decide(policy: &Policy, tries: u32, failure: &Failure, jitter: f64, spared: bool) -> Next {
    let asked_ms = match failure {
        Failure::UnknownOutcome(_) if broken(Mutant::RetryUnknown) => None,
        // Never blindly repeated (design: failures), and what is refused stays refused.
        Failure::Rejected(_) | Failure::UnknownOutcome(_) => return Next::GiveUp,
        Failure::Hub(problem) if problem.code.class() == crate::Class::Reject => return Next::GiveUp,
        Failure::Transient { retry_after_ms, .. } | Failure::RateLimited { retry_after_ms, .. } => *retry_after_ms,
        Failure::Unauthorized(_) | Failure::Other(_) | Failure::Hub(_) => None,
    };
    if tries >= policy.attempts_max && !spared {
        return Next::GiveUp;
    }
    let doublings = tries.saturating_sub(1).min(32);
    let step_ms = policy.backoff_first_ms.saturating_mul(1 << doublings).min(policy.backoff_max_ms);
    let after_ms = step_ms / 2 + (step_ms as f64 / 2.0 * jitter.clamp(0.0, 1.0)) as u64;
    Next::Retry { after_ms: after_ms.max(policy.wait_ms(asked_ms)) }
}

/// Milliseconds to wait after so many failures in a row of something that is never given up, such as a poll.
/// `at_least_ms`: after what will hardly pass; nobody else would find out that it has.
pub fn pause_ms(policy: &Policy, failures: u32, failure: &Failure, jitter: f64, at_least_ms: u64) -> u64 {
    let policy = Policy { attempts_max: u32::MAX, ..*policy };
    match decide(&policy, failures, failure, jitter, false) {
        Next::Retry { after_ms } => after_ms,
        Next::GiveUp => policy.backoff_max_ms.max(at_least_ms),
    }
}

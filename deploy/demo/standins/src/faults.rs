//! Faults that a test can switch on: what a system does on a bad day, repeatable from a seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Mutex;
use std::time::Duration;

/// All off by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The same seed and the same order of requests give the same faults.
    pub seed: u64,
    /// Probability (0 to 1) that a request is executed and its reply lost: the connection is cut.
    pub lose_reply: f64,
    /// Probability (0 to 1) that a request is refused with 503 and not executed.
    pub unavailable: f64,
    /// Every request waits this long before it is looked at.
    pub delay: Duration,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub delay: Duration,
    pub unavailable: bool,
    pub lose_reply: bool,
}

pub(crate) struct Dice(Mutex<(Faults, StdRng)>);

impl Dice {
    pub fn new(faults: Faults) -> Self {
        let rng = StdRng::seed_from_u64(faults.seed);
        Self(Mutex::new((faults, rng)))
    }

    pub fn set(&self, faults: Faults) {
        let rng = StdRng::seed_from_u64(faults.seed);
        *crate::lock(&self.0) = (faults, rng);
    }

    pub fn roll(&self) -> Fate {
        let mut guard = crate::lock(&self.0);
        let (faults, rng) = &mut *guard;
        Fate {
            delay: faults.delay,
            unavailable: rng.random_bool(faults.unavailable.clamp(0.0, 1.0)),
            lose_reply: rng.random_bool(faults.lose_reply.clamp(0.0, 1.0)),
        }
    }
}

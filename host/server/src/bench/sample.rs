//! Times of many repetitions. Medians of rounds: one round that another program disturbed does not count.

use std::time::Duration;

/// Times of one round.
#[derive(Default)]
pub struct Sample(Vec<Duration>);

impl Sample {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// In microseconds; `share` from 0 to 1.
    pub fn percentile_us(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.0.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    }
}

/// The middle one of the rounds' results.
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

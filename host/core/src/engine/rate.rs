//! The rate limit of a system: a token bucket.

/// So many deliveries a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: u32,
}

/// Tokens of one system. Times in milliseconds.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    at_ms: i64,
}

impl Bucket {
    pub fn new(rate: Rate) -> Self {
        Self { rate, tokens: f64::from(rate.burst.max(1)), at_ms: i64::MIN }
    }

    fn fill(&mut self, now_ms: i64) {
        if self.at_ms != i64::MIN {
            let passed_s = now_ms.saturating_sub(self.at_ms).max(0) as f64 / 1000.0;
            self.tokens = (self.tokens + passed_s * self.rate.per_second).min(f64::from(self.rate.burst.max(1)));
        }
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// How many may be started now.
    pub fn room(&mut self, now_ms: i64) -> usize {
        self.fill(now_ms);
        self.tokens as usize
    }

    /// Whether it is as if nothing had ever been taken.
    pub fn is_full(&mut self, now_ms: i64) -> bool {
        self.fill(now_ms);
        self.tokens >= f64::from(self.rate.burst.max(1))
    }

    pub fn take(&mut self) {
        self.tokens -= 1.0;
    }

    /// When there is a token again.
    pub fn wake_ms(&self) -> i64 {
        let missing = (1.0 - self.tokens).max(0.0);
        let wait_ms = (missing / self.rate.per_second.max(f64::MIN_POSITIVE) * 1000.0).ceil();
        self.at_ms.saturating_add((wait_ms as i64).max(1))
    }
}

//! What must wait, and why: told once, tried again less and less often, and shown while it lasts.

use serde::Serialize;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
/// Whoever owns a folder decides how many things in it cannot be taken, and not how long the log gets.
const LINES_A_MINUTE_MAX: u32 = 20;

/// Why something waits, and until when.
#[derive(Clone, Debug)]
pub struct Holdup {
    pub reason: String,
    failures: u32,
    until: Instant,
}

impl Holdup {
    /// What follows from a failure, and whether it is news.
    pub fn next(before: Option<Self>, reason: String) -> (Self, bool) {
        let news = before.as_ref().is_none_or(|known| known.reason != reason);
        let failures = before.map_or(0, |known| known.failures);
        let pause = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
        (Self { reason, failures: failures.saturating_add(1), until: Instant::now() + pause }, news)
    }

    /// The same, to be tried at once.
    pub fn ended(self) -> Self {
        Self { until: Instant::now(), ..self }
    }

    pub fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }
}

/// Lines of the log for one folder.
pub struct FolderLog {
    since: Instant,
    written: u32,
}

impl Default for FolderLog {
    fn default() -> Self {
        Self { since: Instant::now(), written: 0 }
    }
}

impl FolderLog {
    /// Writes one, unless there are too many.
    pub fn warn(&mut self, system: &str, what: &str, reason: &str) {
        if self.since.elapsed() >= MINUTE {
            *self = Self::default();
        }
        self.written = self.written.saturating_add(1);
        match self.written.cmp(&LINES_A_MINUTE_MAX) {
            std::cmp::Ordering::Less => tracing::warn!(system, what, reason, "it must wait"),
            std::cmp::Ordering::Equal => tracing::warn!(system, "more must wait: see busbar_files_held"),
            std::cmp::Ordering::Greater => {}
        }
    }
}

/// What a system's folders hold up, for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FilesShown {
    /// The folder that is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox: Option<HeldShown>,
    /// The folder that files are written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbox: Option<HeldShown>,
}

/// What one folder holds up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HeldShown {
    /// Names that cannot be taken now; 1 while no file can be written.
    pub held: usize,
    /// One of them and why. A name may be a customer's: only for those with the right to see personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl HeldShown {
    pub fn new(system: &str, direction: &'static str, held: usize, reason: Option<String>) -> Self {
        metrics::gauge!("busbar_files_held", "system" => system.to_string(), "direction" => direction).set(held as f64);
        Self { held, reason }
    }
}

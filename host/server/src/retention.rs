//! Retention: what the journal lets go, and when. [`plan`] decides, the rest does it.

use crate::config::model::RetentionConfig;
use crate::hub::Turn;
use crate::store::{Day, SqlStore, day_of};
use busbar_core::ports::Clock;
use busbar_core::{Code, Problem, covers};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Days made ahead.
const AHEAD: i64 = 2;
/// How often it looks whether it is due, and this hub's turn.
const LOOK: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_secs(3_600);
const DAY_MS: i64 = 86_400_000;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayPlan {
    /// Days to make room for: today and the next ones.
    pub make: Vec<i64>,
    /// Days to archive and to remove, oldest first.
    pub remove: Vec<i64>,
    /// Days that would go, but for their unfinished deliveries.
    pub kept: Vec<Day>,
    /// Records for deduplication from before this day go.
    pub forget_before: i64,
}

/// Decides. `today` in days since 1970-01-01, UTC.
pub fn plan(config: &RetentionConfig, today: i64, present: &[Day]) -> DayPlan {
    let days = i64::from(config.days.max(1));
    let old = present.iter().filter(|day| day.day < today - days);
    let (remove, kept): (Vec<Day>, Vec<Day>) = old.partition(|day| day.unfinished == 0);
    // A message in the journal is found by its record for deduplication: that must not go first.
    let oldest = present.iter().map(|day| day.day).filter(|day| !remove.iter().any(|gone| gone.day == *day)).min();
    let forget_before = (today - i64::from(config.dedup_days).max(days)).min(oldest.unwrap_or(today)).max(0);
    DayPlan {
        make: (today..=today + AHEAD).collect(),
        remove: remove.into_iter().map(|day| day.day).collect(),
        kept,
        forget_before,
    }
}

/// Whether records of this type are kept for ever.
pub fn forever(config: &RetentionConfig, r#type: &str) -> bool {
    config.dedup_forever.iter().any(|pattern| covers(pattern, r#type))
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Days removed, with the number of messages that their archives hold.
    pub removed: Vec<(i64, Option<u64>)>,
    pub kept: Vec<Day>,
    pub emptied: u64,
    pub forgotten: u64,
}

/// Does it, hourly.
pub struct Retention {
    pub store: Arc<SqlStore>,
    pub clock: Arc<dyn Clock>,
    pub config: RetentionConfig,
    /// The deployment's folder; archives go to `archive/` in it.
    pub folder: PathBuf,
    /// Whether the clock cannot be believed: shown in `/readyz`.
    pub clock_jumped: Arc<AtomicBool>,
}

impl Retention {
    /// At once and then every hour until `stop`; of several hubs on one store, one does it. What fails is logged and
    /// tried again; nothing is removed that is not archived. A clock that jumped is looked at all the time, and told of once.
    pub async fn hourly(self, turn: Turn, stop: CancellationToken) {
        let mut last: Option<Instant> = None;
        while !stop.is_cancelled() {
            if last.is_none_or(|at| at.elapsed() >= EVERY) && turn.is_mine("retention") {
                last = Some(Instant::now());
                let result = self.run().await;
                let jumped = result.as_ref().is_err_and(|problem| problem.code == Code::ClockJumped);
                let before = self.clock_jumped.swap(jumped, Ordering::SeqCst);
                metrics::gauge!("busbar_retention_clock_jumped").set(f64::from(u8::from(jumped)));
                match result {
                    Ok(done) => report(&done),
                    Err(problem) if jumped => {
                        last = None;
                        if !before {
                            tracing::error!(%problem, remedy = problem.code.remedy(), "nothing is let go");
                        }
                    }
                    Err(problem) => {
                        metrics::counter!("busbar_retention_failures_total").increment(1);
                        tracing::error!(%problem, "retention failed; it is tried again in an hour");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Does what is due now.
    ///
    /// # Errors
    /// `store-unavailable`, or `internal` when an archive cannot be written: what comes after it is left for later.
    /// `clock-jumped`: nothing is removed.
    pub async fn run(&self) -> Result<Done, Problem> {
        let now_ms = self.clock.now_ms();
        // What every message makes of the clock follows it; so this must be asked before, and kept apart.
        let jump_max_ms = i64::from(self.config.clock_jump_days).saturating_mul(DAY_MS);
        let believed_ms = self.store.believe(now_ms, jump_max_ms).await?;
        let emptied = self.store.sweep().await?;
        if now_ms.saturating_sub(believed_ms) > jump_max_ms {
            let (clock, known) = (date(day_of(now_ms)), date(day_of(believed_ms)));
            let detail = format!("the clock says {clock}, and the newest day that the journal knows is {known}");
            return Err(Problem::new(Code::ClockJumped, detail));
        }
        let plan = plan(&self.config, day_of(now_ms), &self.store.days().await?);
        self.store.make_days(plan.make).await?;
        let mut done = Done { kept: plan.kept, emptied, ..Done::default() };
        for day in plan.remove {
            let archived = self.archive(day).await?;
            self.store.drop_day(day).await?;
            done.removed.push((day, archived));
        }
        let config = self.config.clone();
        done.forgotten = self.store.forget_before(plan.forget_before, &|name| forever(&config, name)).await?;
        Ok(done)
    }

    /// An archive that is there is whole: the hub was killed before it had removed the day.
    async fn archive(&self, day: i64) -> Result<Option<u64>, Problem> {
        let file = self.folder.join("archive").join(format!("{}.ndjson.zst", date(day)));
        if !self.config.archive || file.exists() {
            return Ok(None);
        }
        self.store.archive(day, &file).await.map(Some)
    }
}

/// `2026-11-22`, or the number of a day that no calendar has.
pub fn date(day: i64) -> String {
    let date = i32::try_from(day + 2_440_588).ok().and_then(|julian| time::Date::from_julian_day(julian).ok());
    date.map_or_else(|| day.to_string(), |date| date.to_string())
}

fn report(done: &Done) {
    for (day, messages) in &done.removed {
        tracing::info!(day = date(*day), messages, "a day was archived and removed from the journal");
    }
    for Day { day, unfinished } in &done.kept {
        tracing::warn!(day = date(*day), unfinished, "a day stays in the journal: its deliveries are not all finished");
    }
    if done.emptied + done.forgotten > 0 {
        tracing::info!(emptied = done.emptied, forgotten = done.forgotten, "data and dedup records were let go");
    }
    metrics::counter!("busbar_retention_days_removed_total").increment(done.removed.len() as u64);
    metrics::gauge!("busbar_retention_days_kept").set(done.kept.len() as f64);
    metrics::counter!("busbar_retention_emptied_total").increment(done.emptied);
    metrics::counter!("busbar_retention_dedup_forgotten_total").increment(done.forgotten);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(days: u32, dedup_days: u32) -> RetentionConfig {
        RetentionConfig { days, dedup_days, ..RetentionConfig::default() }
    }

    fn day(day: i64, unfinished: i64) -> Day {
        Day { day, unfinished }
    }

    #[test]
    fn a_day_goes_when_it_is_old_and_finished() {
        let present = [day(100, 0), day(101, 2), day(109, 0), day(110, 0), day(120, 5)];
        let planned = plan(&config(10, 15), 120, &present);
        assert_eq!(planned.make, [120, 121, 122]);
        assert_eq!(planned.remove, [100, 109]);
        assert_eq!(planned.kept, [day(101, 2)]);
        // The messages of day 101 are still found by their ids.
        assert_eq!(planned.forget_before, 101);
        assert_eq!(plan(&config(10, 15), 120, &present[2..]).forget_before, 105);
        // Never before the journal itself.
        assert_eq!(plan(&config(10, 1), 120, &[]).forget_before, 110);
        assert_eq!(plan(&config(10, 400), 120, &[]), DayPlan { make: vec![120, 121, 122], ..DayPlan::default() });
    }

    #[test]
    fn types_are_kept_for_ever_by_name_or_start() {
        let config = RetentionConfig::default();
        assert!(forever(&config, "payment.received.v1") && forever(&config, "refund.requested.v1"));
        assert!(!forever(&config, "invoice.issued.v1") && !forever(&config, "payments.v1"));
        let exact = RetentionConfig { dedup_forever: vec!["invoice.issued.v1".into()], ..config };
        assert!(forever(&exact, "invoice.issued.v1") && !forever(&exact, "invoice.issued.v12"));
    }

    #[test]
    fn days_have_dates() {
        assert_eq!((date(0).as_str(), date(20_779).as_str()), ("1970-01-01", "2026-11-22"));
    }
}

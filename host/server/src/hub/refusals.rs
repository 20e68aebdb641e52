//! Refusals by kind. The first ones of a day have a row each, the others are counted in the last of those: whoever sends
//! wrong keys or broken messages all day long costs no more of the disk than that. A crash loses the count of the last
//! seconds; whoever was refused was told so.

use super::Hub;
use busbar_core::{Code, Commit, IntakeKind, Problem, Recurred};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Rows of a day for those who could not say who they are.
const STRANGERS_ROWS: u32 = 1;
/// For any other code, of each sender: each of these is somebody's input, which a person may look at.
const ROWS: u32 = 500;
const WRITE_EVERY: Duration = Duration::from_secs(5);
const DAY_MS: i64 = 86_400_000;

/// Where it came in, its sender (a system or a key, and so one of a few), and why it was refused.
pub type RefusalKind = (IntakeKind, String, Code);

#[derive(Debug, Default)]
pub struct Refusals(Mutex<Kinds>);

#[derive(Debug, Default)]
struct Kinds {
    of_today: HashMap<RefusalKind, SeenToday>,
    /// What days before have counted and not written.
    earlier: Vec<Recurred>,
}

#[derive(Debug)]
struct SeenToday {
    day: i64,
    rows: u32,
    more: Recurred,
}

impl Refusals {
    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it gets a row, with this id; else it is counted.
    pub fn note(&self, kind: &RefusalKind, id: &str, at_ms: i64) -> bool {
        let day = at_ms.div_euclid(DAY_MS);
        let mut kinds = self.kinds();
        let none = || Recurred { intake: id.to_string(), times: 0, last_at_ms: at_ms };
        let Kinds { of_today, earlier } = &mut *kinds;
        let seen = of_today.entry(kind.clone()).or_insert_with(|| SeenToday { day, rows: 0, more: none() });
        if seen.day != day {
            let before = std::mem::replace(seen, SeenToday { day, rows: 0, more: none() });
            earlier.extend(Some(before.more).filter(|more| more.times > 0));
        }
        let most = if kind.2 == Code::Unauthorized { STRANGERS_ROWS } else { ROWS };
        if seen.rows < most {
            seen.rows += 1;
            seen.more.intake = id.to_string();
            return true;
        }
        seen.more.times += 1;
        seen.more.last_at_ms = at_ms;
        false
    }

    /// Its row was not written: the next one gets it.
    fn unwritten(&self, kind: &RefusalKind) {
        if let Some(seen) = self.kinds().of_today.get_mut(kind) {
            seen.rows = seen.rows.saturating_sub(1);
        }
    }

    /// What could not be written, as one with what could not before.
    fn put_back(&self, recurred: Recurred) {
        let earlier = &mut self.kinds().earlier;
        match earlier.iter_mut().find(|known| known.intake == recurred.intake) {
            Some(known) => {
                known.times += recurred.times;
                known.last_at_ms = known.last_at_ms.max(recurred.last_at_ms);
            }
            None => earlier.push(recurred),
        }
    }

    fn take(&self) -> Vec<Recurred> {
        let mut kinds = self.kinds();
        let mut all = std::mem::take(&mut kinds.earlier);
        for seen in kinds.of_today.values_mut().filter(|seen| seen.more.times > 0) {
            all.push(seen.more.clone());
            seen.more.times = 0;
        }
        all
    }
}

impl Hub {
    /// Writes down that an input was refused, or counts it; `commit` has its intake.
    ///
    /// # Errors
    /// `store-unavailable`: it is neither written nor counted.
    pub(super) async fn note_refusal(&self, code: Code, commit: Commit) -> Result<(), Problem> {
        let Some(intake) = &commit.intake else { return Ok(()) };
        metrics::counter!("busbar_refused_total", "kind" => intake.kind.as_str(), "code" => code.as_str()).increment(1);
        let kind = (intake.kind, intake.system.clone(), code);
        // A known id with other content may be a second fact: each one is looked at by somebody.
        let counted = code != Code::IdReused;
        if counted && !self.refusals.note(&kind, &intake.id, intake.at_ms) {
            return Ok(());
        }
        let written = self.committer.commit(commit).await.map(drop);
        written.inspect_err(|_| self.refusals.unwritten(&kind))
    }

    /// Writes what was counted. What cannot be written now is written later.
    pub async fn write_refusals(&self) {
        for recurred in self.refusals.take() {
            let commit = Commit { recurred: Some(recurred.clone()), at_ms: self.clock.now_ms(), ..Commit::default() };
            if self.committer.commit(commit).await.is_err() {
                self.refusals.put_back(recurred);
            }
        }
    }

    /// Until `stop`; what is counted after that is for [`Self::write_refusals`] once more.
    pub async fn keep_refusals(self: std::sync::Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(WRITE_EVERY) => self.write_refusals().await,
                () = stop.cancelled() => return,
            }
        }
    }
}

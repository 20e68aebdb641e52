//! Whether the journal can be written, which nobody knows before it was tried: what the last write came to.

use super::backend::{Pool, Rows, Tx};
use super::{SqlStore, whole};
use busbar_core::{Code, Problem};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A hub without traffic finds out so soon that it cannot write any more, and that it can again.
const ASK_IDLE: Duration = Duration::from_secs(15);
const ASK_FAILED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(500);
/// Between two lines of the log while every write fails.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What the last write came to, and when.
#[derive(Debug, Default)]
pub struct Health(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    failure: Option<Problem>,
    /// When a write failed last, or the first one after that succeeded: a connection that was made in between may still
    /// lead to where writes failed.
    trouble_at: Option<Instant>,
    said_at: Option<Instant>,
}

impl Health {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// Why the last write failed.
    pub fn writable(&self) -> Result<(), Problem> {
        self.last().failure.clone().map_or(Ok(()), Err)
    }

    /// Whether a connection of this age was made after the last trouble. An older one may lead to what is no longer the
    /// primary, and be alive all the same: what is read there is of earlier.
    pub(super) fn is_of_now(&self, age: Duration) -> bool {
        self.last().trouble_at.is_none_or(|at| age < at.elapsed())
    }

    /// A refusal of what was to be written says nothing about the database.
    pub(super) fn note<T>(&self, written: &Result<T, Problem>) {
        let now = Instant::now();
        let mut last = self.last();
        match written {
            Ok(_) => {
                if last.failure.take().is_some() {
                    tracing::info!("the store can be written again");
                    last.trouble_at = Some(now);
                }
                (last.at, last.said_at) = (Some(now), None);
            }
            Err(problem) if problem.code == Code::StoreUnavailable => {
                if last.said_at.is_none_or(|at| now.duration_since(at) > SAY_AGAIN) {
                    tracing::error!(%problem, "the store cannot be written");
                    last.said_at = Some(now);
                }
                (last.at, last.trouble_at, last.failure) = (Some(now), Some(now), Some(problem.clone()));
            }
            Err(_) => {}
        }
    }

    fn wants_asking(&self) -> bool {
        let last = self.last();
        let after = if last.failure.is_some() { ASK_FAILED } else { ASK_IDLE };
        last.at.is_none_or(|at| at.elapsed() > after)
    }
}

impl SqlStore {
    /// What the last write came to.
    pub fn health(&self) -> Arc<Health> {
        self.writer.health.clone()
    }

    /// Writes something small where nothing else is written, until `stop`: readiness follows without traffic.
    pub async fn keep_asking(self: Arc<Self>, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.cancelled() => return,
            }
            if self.health().wants_asking() {
                let writer = self.writer.clone();
                // What came of it is noted already.
                let _ = whole(async move { ask(&writer).await }).await;
            }
        }
    }
}

/// A new page of a table, which has no room where there is none for rows: PostgreSQL counts in place.
const NEW_PAGE: &str = "CREATE TEMP TABLE page (n BIGINT) ON COMMIT DROP; INSERT INTO page VALUES (1)";

/// Another value each time: SQLite leaves a page alone that would be what it is.
async fn ask(writer: &Pool) -> Result<(), Problem> {
    let has_failed = writer.health.writable().is_err();
    let asked = match writer.begin().await {
        Ok(mut tx) => {
            let page = match &tx {
                Tx::Postgres(_) if has_failed => tx.run(NEW_PAGE).await,
                _ => Ok(()),
            };
            let rows = Rows::default().int("more", &[1], |more| *more);
            let sql = "UPDATE counters SET value = value + r.more FROM {rows} WHERE counters.name = 'asked'";
            let written = match page {
                Ok(()) => tx.execute(sql, rows).await,
                Err(problem) => Err(problem),
            };
            tx.end(written).await
        }
        Err(problem) => Err(problem),
    };
    writer.health.note(&asked);
    asked
}

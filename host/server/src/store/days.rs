//! Days. An id carries the day on which it was given out, so that a range of ids is a day: PostgreSQL keeps the large
//! tables in one partition for each day, SQLite deletes by such a range.

use super::backend::Tx;
use busbar_core::Problem;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ids of one day at most: 2^36. Day 100,000 is in the year 2243, and its ids are still below 2^53.
const IDS_PER_DAY: i64 = 1 << 36;
const MS_PER_DAY: i64 = 86_400_000;

/// Tables that are cut into days, with the column that carries the id.
pub const TABLES: [&str; 4] = ["messages", "deliveries", "calls", "intakes"];

/// Days since 1970-01-01, UTC.
pub fn day_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(MS_PER_DAY).max(0)
}

/// The day on which an id was given out.
pub fn day_of_id(id: i64) -> i64 {
    id.div_euclid(IDS_PER_DAY)
}

/// The smallest id of a day.
pub fn first_id(day: i64) -> i64 {
    day.saturating_mul(IDS_PER_DAY)
}

/// What this process knows of the database: days and types that are there are not asked for again.
#[derive(Default)]
pub struct Days {
    known: Mutex<(HashSet<i64>, HashSet<i64>)>,
    /// Deliveries that left `open` since it was last cleared up.
    left: AtomicU64,
}

/// Dead rows that `open` may hold. PostgreSQL itself looks after a table once a minute, which is a hundred thousand
/// deliveries under load; a search by system then takes 25 ms instead of 1.
const LEFT_MAX: u64 = 20_000;

impl Days {
    fn lock(&self) -> MutexGuard<'_, (HashSet<i64>, HashSet<i64>)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_new(&self, day: i64) -> bool {
        !self.lock().0.contains(&day)
    }

    pub fn is_new_type(&self, hash: i64) -> bool {
        !self.lock().1.contains(&hash)
    }

    pub fn known(&self, days: impl IntoIterator<Item = i64>, types: impl IntoIterator<Item = i64>) {
        let mut known = self.lock();
        known.0.extend(days);
        known.1.extend(types);
    }

    /// Counts deliveries that left `open`.
    pub fn left(&self, count: u64) {
        self.left.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether it is time to clear up; says so once.
    pub fn must_clear(&self) -> bool {
        self.left.load(Ordering::Relaxed) > LEFT_MAX && self.left.swap(0, Ordering::Relaxed) > LEFT_MAX
    }

    pub fn forget(&self, day: i64) {
        self.lock().0.remove(&day);
    }
}

/// Makes the partitions of a day where they are missing. The caller holds the writers' lock, so that two hubs do not
/// make the same one. A table is made first and attached then: that does not wait for readers.
pub async fn make(tx: &mut Tx, day: i64) -> Result<(), Problem> {
    if matches!(tx, Tx::Sqlite(_)) {
        return Ok(());
    }
    let (from, to) = (first_id(day), first_id(day + 1));
    for table in TABLES {
        let part = format!("{table}_{day}");
        if tx.has_table(&part).await? {
            continue;
        }
        tx.run(&format!(
            "CREATE TABLE {part} (LIKE {table} INCLUDING ALL); \
             ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({from}) TO ({to});"
        ))
        .await?;
    }
    Ok(())
}

//! Counts by the hour: a row is added to with each transaction, so that nobody has to count messages.

use super::backend::Rows;
use super::find::Conditions;
use super::internal;
use super::read::{int, number, select, string};
use super::rows::{MessageRow, OpenRow};
use super::write::Write;
use busbar_core::Problem;
use busbar_core::statistics::{Counted, HOUR_MS, HourCount, StatisticsFilter, TallyOf};
use sqlx::AnyPool;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, Problem>;

impl Write {
    /// Counts messages that are new, and deliveries that came to something.
    pub async fn tally(&mut self, messages: &[MessageRow], deliveries: &[OpenRow]) -> Result<()> {
        let mut counts: BTreeMap<TallyOf, (u64, u64)> = BTreeMap::new();
        for row in messages {
            let of = TallyOf::new(row.received_at_ms, "", &row.message.r#type, Counted::Received);
            let (count, bytes) = counts.entry(of).or_default();
            *count += 1;
            *bytes += row.data.as_ref().map_or(0, String::len) as u64;
        }
        for row in deliveries {
            let Some(tally) = Counted::of(row.state, row.was) else { continue };
            counts.entry(TallyOf::new(row.updated_at_ms, &row.system, &row.r#type, tally)).or_default().0 += 1;
        }
        let counts: Vec<_> = counts.into_iter().map(|(of, (count, bytes))| HourCount { of, count, bytes }).collect();
        self.counts(&counts).await
    }

    pub async fn counts(&mut self, counts: &[HourCount]) -> Result<()> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let values = Rows::default()
            .int("hour", counts, |c| c.of.hour)
            .text("system", counts, |c| &c.of.system)
            .text("type", counts, |c| &c.of.r#type)
            .text("tally", counts, |c| c.of.tally.as_str())
            .int("total", counts, |c| number(c.count))
            .int("bytes", counts, |c| number(c.bytes));
        let add = "ON CONFLICT (hour, system, type, tally) DO UPDATE SET \
                   total = statistics.total + excluded.total, bytes = statistics.bytes + excluded.bytes";
        self.tx.insert("statistics", values, add).await
    }
}

pub async fn statistics(pool: &AnyPool, filter: &StatisticsFilter) -> Result<Vec<HourCount>> {
    let mut conditions = Conditions::default();
    let begins_from = |at_ms: i64| at_ms.saturating_add(HOUR_MS - 1).div_euclid(HOUR_MS);
    conditions.within("hour", filter.since_ms.map(begins_from), filter.until_ms.map(begins_from));
    conditions.equal(false, "system", &filter.system);
    conditions.equal(false, "type", &filter.r#type);
    let sql = format!("SELECT hour, system, type, tally, total, bytes FROM statistics {}", conditions.clause());
    let count = |row: &AnyRow| {
        let tally = string(row, "tally")?;
        let tally = Counted::parse(&tally).ok_or_else(|| internal(format!("a count of `{tally}`")))?;
        let of =
            TallyOf { hour: int(row, "hour")?, system: string(row, "system")?, r#type: string(row, "type")?, tally };
        Ok(HourCount { of, count: number(row, "total")?, bytes: number(row, "bytes")? })
    };
    let mut counts = select(pool, sql, conditions.values).await?.iter().map(count).collect::<Result<Vec<_>>>()?;
    counts.sort_by(|a, b| a.of.cmp(&b.of));
    Ok(counts)
}

//! What retention does to the journal: which days there are, a day written to its archive, a day removed, data that are
//! kept no longer, records for deduplication that have had their time.

use super::backend::{Pool, Rows, Tx};
use super::days::{self, first_id};
use super::dialect::Dialect;
use super::export::{Export, ExportLine, line};
use super::find::Value;
use super::read::{int, select, string};
use super::write::Write;
use super::{SqlStore, internal, whole};
use busbar_core::Problem;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

type Result<T> = std::result::Result<T, Problem>;

/// Rows that one transaction removes from SQLite: some milliseconds.
const PRUNE_ROWS: i64 = 500;
const SEEN_ROWS: i64 = 5_000;
/// Counts of an hour stay so long after its messages are gone.
const STATISTICS_DAYS: i64 = 800;

/// A day in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// Deliveries that are not done or skipped, and entries that wait for a person.
    pub unfinished: i64,
}

impl SqlStore {
    /// The days that the journal holds something of, oldest first.
    ///
    /// # Errors
    /// `store-unavailable`; so for all of these.
    pub async fn days(&self) -> Result<Vec<Day>> {
        let mut found = BTreeSet::new();
        if self.dialect == Dialect::Postgres {
            let sql = "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                       WHERE i.inhparent IN ('messages'::regclass, 'intakes'::regclass)";
            for row in select(&self.reader, sql.into(), vec![]).await? {
                found.extend(string(&row, "name")?.rsplit('_').next().and_then(|day| day.parse::<i64>().ok()));
            }
        } else {
            for table in ["messages", "intakes"] {
                let mut from = 0;
                while let Some(id) = self.first(table, from).await? {
                    let day = days::day_of_id(id);
                    found.insert(day);
                    from = first_id(day + 1);
                }
            }
        }
        let mut days = Vec::new();
        for day in found {
            // A publisher that reused an id was told so: what stands there is no entry to be decided.
            let sql = "SELECT (SELECT count(*) FROM open WHERE id >= $1 AND id < $2) + (SELECT count(*) FROM intakes \
                       WHERE seq >= $1 AND seq < $2 AND (outcome = 'left-out' \
                       OR (outcome = 'differing' AND event IS NOT NULL))) AS n"
                .to_string();
            let range = vec![Value::Int(first_id(day)), Value::Int(first_id(day + 1))];
            let rows = select(&self.reader, sql, range).await?;
            days.push(Day { day, unfinished: rows.first().map_or(Ok(0), |row| int(row, "n"))? });
        }
        Ok(days)
    }

    async fn first(&self, table: &str, from: i64) -> Result<Option<i64>> {
        let sql = format!("SELECT seq FROM {table} WHERE seq >= $1 ORDER BY seq LIMIT 1");
        select(&self.reader, sql, vec![Value::Int(from)]).await?.first().map(|row| int(row, "seq")).transpose()
    }

    /// Makes the partitions of these days, so that the first message of a day need not.
    pub async fn make_days(&self, days: Vec<i64>) -> Result<()> {
        let (writer, known) = (self.writer.clone(), self.days.clone());
        whole(async move {
            let mut write = Write::begin(&writer, &known).await?;
            let result = write.make_days(&days).await;
            write.end(result).await
        })
        .await
    }

    /// Writes a day to `file`, whole or not at all: messages with their deliveries and calls, then intakes, one JSON
    /// object a line, compressed with zstd. Returns the number of messages.
    pub async fn archive(&self, day: i64, file: &Path) -> Result<u64> {
        let export = Export { pool: self.reader.clone(), dialect: self.dialect };
        let (from, until) = (first_id(day) - 1, first_id(day + 1));
        let mut archive = Archive::create(file)?;
        let (mut after, mut count) = (from, 0);
        loop {
            let page = export.messages(after, until).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            count += page.len() as u64;
            for message in page {
                archive.line(&ExportLine::Message(Box::new(message)))?;
            }
        }
        after = from;
        loop {
            let page = export.intakes(after, until).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for intake in page {
                archive.line(&ExportLine::Intake(Box::new(intake)))?;
            }
        }
        tokio::task::spawn_blocking(move || archive.finish()).await.map_err(internal)??;
        Ok(count)
    }

    /// Removes a day. Whoever calls this has seen that all of its deliveries are finished.
    pub async fn drop_day(&self, day: i64) -> Result<()> {
        let (writer, known) = (self.writer.clone(), self.days.clone());
        known.forget(day);
        // Messages last: as long as they are there, the day is known and removed again.
        for table in ["calls", "deliveries", "intakes", "messages"] {
            loop {
                let writer = writer.clone();
                let more = whole(async move {
                    let mut tx = writer.begin().await?;
                    let result = drop_part(&mut tx, table, day).await;
                    tx.end(result).await
                })
                .await?;
                if !more {
                    break;
                }
            }
        }
        self.in_transaction(move |tx| forget_day(tx, day)).await
    }

    /// Empties the messages that were kept only until their deliveries were finished. Returns how many.
    pub async fn sweep(&self) -> Result<u64> {
        let (mut after, mut swept) = (-1, 0);
        loop {
            let sql = "SELECT seq, until FROM messages WHERE sweep = 1 AND seq > $1 ORDER BY seq LIMIT $2".to_string();
            let rows = select(&self.reader, sql, vec![Value::Int(after), Value::Int(PRUNE_ROWS)]).await?;
            let ranges =
                rows.iter().map(|row| Ok((int(row, "seq")?, int(row, "until")?))).collect::<Result<Vec<_>>>()?;
            let Some((last, _)) = ranges.last().copied() else { break };
            after = last;
            let writer = self.writer.clone();
            swept += whole(async move {
                let mut tx = writer.begin().await?;
                let result = empty(&mut tx, &ranges).await;
                tx.end(result).await
            })
            .await?;
        }
        Ok(swept)
    }

    /// Removes records for deduplication given out before `day`, except those of types that `forever` says are kept.
    /// Each day is looked at once. Returns how many.
    pub async fn forget_before(&self, day: i64, forever: &(dyn Fn(&str) -> bool + Sync)) -> Result<u64> {
        let export = Export { pool: self.reader.clone(), dialect: self.dialect };
        let until = first_id(day);
        if export.counter("pruned").await? >= until {
            return Ok(0);
        }
        let mut kept = BTreeSet::new();
        kept.extend(export.types().await?.into_iter().filter(|t| forever(&t.name)).map(|t| t.hash));
        let (mut after, mut forgotten) = ((String::new(), i64::MIN), 0);
        loop {
            let page = export.seen(&after, SEEN_ROWS).await?;
            let Some(last) = page.last() else { break };
            after = (last.id.clone(), last.pair);
            let old = page.into_iter().filter(|seen| seen.seq < until && !kept.contains(&seen.r#type));
            let old: Vec<_> = old.map(|seen| (seen.id, seen.pair)).collect();
            forgotten += old.len() as u64;
            let sql = "DELETE FROM seen WHERE (id, pair) IN (SELECT r.id, r.pair FROM {rows})";
            let rows = move |tx: Tx| async move { execute(tx, sql, &old).await };
            self.in_transaction(rows).await?;
        }
        let done = [(String::from("pruned"), until)];
        let sql = "UPDATE counters SET value = r.pair FROM {rows} WHERE counters.name = r.id";
        self.in_transaction(move |tx| async move { execute(tx, sql, &done).await }).await?;
        Ok(forgotten)
    }

    /// The newest time that the journal goes by, moved on to `now_ms` unless that is more than `jump_max_ms` ahead.
    pub async fn believe(&self, now_ms: i64, jump_max_ms: i64) -> Result<i64> {
        self.set_clock(
            "CASE WHEN counters.value = 0 OR (r.now > counters.value AND r.now - counters.value <= r.most) \
             THEN r.now ELSE counters.value END",
            now_ms,
            jump_max_ms,
        )
        .await
    }

    /// A person says that the clock is right: the journal goes by `now_ms`.
    pub async fn trust_clock(&self, now_ms: i64) -> Result<()> {
        self.set_clock("r.now", now_ms, 0).await.map(drop)
    }

    async fn set_clock(&self, value: &'static str, now_ms: i64, jump_max_ms: i64) -> Result<i64> {
        let writer: Pool = self.writer.clone();
        whole(async move {
            let mut tx = writer.begin().await?;
            let row = [(now_ms, jump_max_ms)];
            let rows = Rows::default().int("now", &row, |r| r.0).int("most", &row, |r| r.1);
            let sql = format!(
                "UPDATE counters SET value = {value} FROM {{rows}} WHERE counters.name = 'clock' RETURNING counters.value"
            );
            let set = tx.fetch::<(i64,)>(&sql, rows).await;
            let set = set.and_then(|set| set.first().map(|row| row.0).ok_or_else(|| internal("no clock")));
            tx.end(set).await
        })
        .await
    }

    async fn in_transaction<F>(&self, write: impl FnOnce(Tx) -> F + Send + 'static) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let writer: Pool = self.writer.clone();
        whole(async move { write(writer.begin().await?).await }).await
    }
}

async fn execute(mut tx: Tx, sql: &str, pairs: &[(String, i64)]) -> Result<()> {
    let rows = Rows::default().text("id", pairs, |p| p.0.as_str()).int("pair", pairs, |p| p.1);
    let result = tx.execute(sql, rows).await;
    tx.end(result).await
}

/// What is kept about a day's messages besides, and causes of which nothing is left.
async fn forget_day(mut tx: Tx, day: i64) -> Result<()> {
    let (first, next) = (first_id(day), first_id(day + 1));
    // With the writers' lock: a batch that counts the same causes would wait for these rows, and they for its own.
    let sql = format!(
        "UPDATE counters SET value = value WHERE name = 'seq'; \
         DELETE FROM minutes WHERE first >= {first} AND last < {next}; DELETE FROM causes WHERE total <= 0; \
         DELETE FROM statistics WHERE hour < {}",
        (day - STATISTICS_DAYS) * 24
    );
    let result = tx.run(&sql).await;
    tx.end(result).await
}

/// Removes what a table has of a day, or a part of it. Returns whether there is more.
async fn drop_part(tx: &mut Tx, table: &'static str, day: i64) -> Result<bool> {
    let range = [(first_id(day), first_id(day + 1), PRUNE_ROWS)];
    let rows = || Rows::default().int("first", &range, |r| r.0).int("next", &range, |r| r.1);
    if matches!(tx, Tx::Postgres(_)) {
        // Behind the writers' lock and not for long: readers and writers wait for this.
        tx.run("SET LOCAL lock_timeout = '5s'; UPDATE counters SET value = value WHERE name = 'seq'").await?;
        if table == "deliveries" && tx.has_table(&format!("deliveries_{day}")).await? {
            let sql = "SELECT system, state, count(*) FROM {rows} CROSS JOIN deliveries \
                       WHERE deliveries.id >= r.first AND deliveries.id < r.next GROUP BY system, state";
            let gone = tx.fetch::<(String, String, i64)>(sql, rows()).await?;
            uncount(tx, gone).await?;
        }
        tx.run(&format!("DROP TABLE IF EXISTS {table}_{day}")).await?;
        return Ok(false);
    }
    let id = match table {
        "calls" => "owner",
        "deliveries" => "id",
        _ => "seq",
    };
    let rows = rows().int("rows", &range, |r| r.2);
    let found = format!(
        "SELECT {table}.{id} FROM {{rows}} CROSS JOIN {table} \
                         WHERE {table}.{id} >= r.first AND {table}.{id} < r.next LIMIT {PRUNE_ROWS}"
    );
    let ids = tx.fetch::<(i64,)>(&found, rows).await?;
    let named = || Rows::default().int("id", &ids, |r| r.0);
    if table == "deliveries" {
        let sql = "SELECT deliveries.system, deliveries.state, 1 FROM {rows} CROSS JOIN deliveries WHERE deliveries.id = r.id";
        let gone = tx.fetch::<(String, String, i64)>(sql, named()).await?;
        uncount(tx, gone).await?;
    }
    tx.execute(&format!("DELETE FROM {table} WHERE {id} IN (SELECT r.id FROM {{rows}})"), named()).await?;
    Ok(!ids.is_empty())
}

/// The depths count what is in the journal.
async fn uncount(tx: &mut Tx, gone: Vec<(String, String, i64)>) -> Result<()> {
    let mut totals: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (system, state, count) in gone {
        *totals.entry((system, state)).or_default() += count;
    }
    let totals: Vec<_> = totals.into_iter().collect();
    // As they are stored: nothing is to be written otherwise a second time.
    let rows = Rows::default()
        .json("system", &totals, |t| Some(t.0.0.as_str()))
        .json("state", &totals, |t| Some(t.0.1.as_str()))
        .int("total", &totals, |t| t.1);
    let sql = "UPDATE depths SET total = depths.total - r.total FROM {rows} \
               WHERE depths.system = r.system AND depths.state = r.state";
    tx.execute(sql, rows).await
}

async fn empty(tx: &mut Tx, ranges: &[(i64, i64)]) -> Result<u64> {
    let rows = || Rows::default().int("seq", ranges, |r| r.0).int("until", ranges, |r| r.1);
    let done = "NOT EXISTS (SELECT 1 FROM open d WHERE d.id > r.seq AND d.id <= r.until AND d.message_seq = r.seq)";
    let outcome = match tx {
        Tx::Postgres(_) => "calls.record::json->>'outcome'",
        Tx::Sqlite(_) => "calls.record->>'$.outcome'",
    };
    let calls = format!(
        "DELETE FROM calls WHERE owner IN (SELECT f.id FROM {{rows}} CROSS JOIN deliveries f \
         WHERE f.id > r.seq AND f.id <= r.until AND f.message_seq = r.seq AND {done}) AND {outcome} IN ('ok', 'recorded')"
    );
    tx.execute(&calls, rows()).await?;
    let sql = format!(
        "UPDATE messages SET data = NULL, sweep = 0 FROM {{rows}} WHERE messages.seq = r.seq AND {done} RETURNING messages.seq"
    );
    Ok(tx.fetch::<(i64,)>(&sql, rows()).await?.len() as u64)
}

/// A compressed file under a temporary name.
pub struct Archive {
    file: std::path::PathBuf,
    out: zstd::Encoder<'static, tempfile::NamedTempFile>,
}

impl Archive {
    pub fn create(file: &Path) -> Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("."));
        super::private_folder(folder).map_err(internal)?;
        let temporary = tempfile::Builder::new().prefix(".archive-").tempfile_in(folder).map_err(internal)?;
        let out = zstd::Encoder::new(temporary, 3).map_err(internal)?;
        Ok(Self { file: file.to_path_buf(), out })
    }

    pub fn line(&mut self, content: &ExportLine) -> Result<()> {
        self.out.write_all(line(content)?.as_bytes()).map_err(internal)
    }

    /// Syncs it, gives it its name, and syncs that.
    pub fn finish(self) -> Result<()> {
        let temporary = self.out.finish().map_err(internal)?;
        temporary.as_file().sync_all().map_err(internal)?;
        temporary.persist(&self.file).map_err(internal)?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(internal)
    }
}

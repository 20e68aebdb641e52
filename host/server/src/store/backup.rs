//! Backup and restore. A backup is the whole journal of one moment as lines of JSON, compressed with zstd: the same from
//! SQLite and PostgreSQL, and it can be restored into either.

use super::backend::Rows;
use super::changes::Changes;
use super::days::day_of_id;
use super::desk;
use super::export::{
    AuditLine, BackupLine, CountLine, Export, ExportLine, IntakeLine, MessageLine, SeenLine, StateLine, TypeLine,
};
use super::prune::Archive;
use super::statistics::statistics;
use super::write::Write;
use super::{SqlStore, internal, read};
use busbar_core::statistics::{Counted, HourCount, StatisticsFilter, TallyOf};
use busbar_core::{AuditEntry, Code, Depth, ErrorRecord, Pause, Problem};
use serde::Serialize;
use sqlx::Executor;
use sqlx::any::AnyPoolOptions;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

type Result<T> = std::result::Result<T, Problem>;

/// 2: with pauses, decisions and counts. Those of 1 are read as well.
const VERSION: u32 = 2;
const LINES: usize = 1_000;
const SEEN_ROWS: i64 = 5_000;
/// Ids listed in a report; the rest is counted.
const LISTED_MAX: usize = 100;

/// What a backup holds, or what was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    pub messages: u64,
    pub intakes: u64,
    pub dedup_records: u64,
    /// Deliveries that were to be made when the backup was; restored ones are parked, unless they are to be made again.
    pub in_flight: u64,
}

/// What a person must know after a restore.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reconciliation {
    /// Deliveries by system and state.
    pub depths: Vec<Depth>,
    /// Deliveries parked by the restore: they may have been made after the backup. At most 100.
    pub unknown: Vec<i64>,
    pub unknown_count: u64,
    /// Messages in the archive that the journal never heard of: accepted after the backup. At most 100, by source and id.
    pub lacking: Vec<(String, String)>,
    pub lacking_count: u64,
}

impl SqlStore {
    /// Writes all of the journal, as it is at one moment, to `file`. The hub may run.
    ///
    /// # Errors
    /// `store-unavailable`, or `internal` when the file cannot be written: then there is no such file.
    pub async fn backup(&self, file: &Path, at_ms: i64) -> Result<Counts> {
        let export = Export { pool: self.snapshot(), dialect: self.dialect };
        let mut out = Archive::create(file)?;
        let (last_id, operations) = (export.counter("seq").await?, export.counter("operations").await?);
        out.line(&ExportLine::Backup(BackupLine { version: VERSION, at_ms, last_id, operations }))?;
        let mut counts = Counts::default();
        let mut after = -1;
        loop {
            let page = export.messages(after, i64::MAX).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for message in page {
                counts.message(&message);
                out.line(&ExportLine::Message(Box::new(message)))?;
            }
        }
        after = -1;
        loop {
            let page = export.intakes(after, i64::MAX).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            counts.intakes += page.len() as u64;
            page.into_iter().try_for_each(|intake| out.line(&ExportLine::Intake(Box::new(intake))))?;
        }
        export.state().await?.into_iter().try_for_each(|state| out.line(&ExportLine::State(state)))?;
        export.types().await?.into_iter().try_for_each(|r#type| out.line(&ExportLine::Type(r#type)))?;
        let mut after = (String::new(), i64::MIN);
        loop {
            let page = export.seen(&after, SEEN_ROWS).await?;
            let Some(last) = page.last() else { break };
            after = (last.id.clone(), last.pair);
            counts.dedup_records += page.len() as u64;
            page.into_iter().try_for_each(|seen| out.line(&ExportLine::Seen(seen)))?;
        }
        for HourCount { of, count, bytes } in statistics(&export.pool, &StatisticsFilter::default()).await? {
            let TallyOf { hour, system, r#type, tally } = of;
            let tally = tally.as_str().to_string();
            out.line(&ExportLine::Count(CountLine { hour, system, r#type, tally, count, bytes }))?;
        }
        desk::pauses(&export.pool).await?.into_iter().try_for_each(|pause| out.line(&ExportLine::Pause(pause)))?;
        let mut after = 0;
        loop {
            let page = desk::audit_after(&export.pool, after).await?;
            after += page.len() as i64;
            if page.is_empty() {
                break;
            }
            for (record, hash, _) in page {
                let record = read::record(&record)?;
                out.line(&ExportLine::Audit(AuditLine { record, hash }))?;
            }
        }
        export.pool.close().await;
        tokio::task::spawn_blocking(move || out.finish()).await.map_err(internal)??;
        Ok(counts)
    }

    /// One connection in one transaction that sees nothing of what is written meanwhile. A second connection would see
    /// another moment, and so there is none.
    fn snapshot(&self) -> sqlx::AnyPool {
        let (setup, begin) = (self.dialect.reader_setup(), self.dialect.snapshot());
        let used = std::sync::Arc::new(AtomicBool::new(false));
        let pool = AnyPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let pool = pool.test_before_acquire(false).after_connect(move |connection, _| {
            let used = used.clone();
            Box::pin(async move {
                if used.swap(true, Ordering::SeqCst) {
                    return Err(sqlx::Error::Protocol("the connection was lost during the backup".into()));
                }
                connection.execute(sqlx::raw_sql(setup)).await?;
                connection.execute(sqlx::raw_sql(begin)).await.map(drop)
            })
        });
        pool.connect_lazy_with((*self.reader.connect_options()).clone())
    }

    /// Fills this journal, which must be empty, with a backup. What was to be made when the backup was may have been made
    /// since: it is parked as `unknown-outcome`, for a person to decide, unless `make_again`.
    ///
    /// # Errors
    /// `rejected` when this is no backup, or the journal is not empty; `store-unavailable`. A restore that failed half way
    /// leaves a journal that is neither: make a new one.
    pub async fn restore(&self, file: &Path, make_again: bool, at_ms: i64) -> Result<Counts> {
        let export = Export { pool: self.reader.clone(), dialect: self.dialect };
        let empty = export.messages(-1, i64::MAX).await?.is_empty() && export.counter("seq").await? == 0;
        if !empty {
            return Err(Problem::new(Code::Rejected, "the journal is not empty; a backup is restored into a new one"));
        }
        let opened = std::fs::File::open(file).and_then(zstd::Decoder::new);
        let mut lines = BufReader::new(opened.map_err(|e| not_a_backup(&e.to_string()))?).lines();
        let first = lines.next().transpose().map_err(|e| not_a_backup(&e.to_string()))?;
        let Some(ExportLine::Backup(head)) = first.as_deref().and_then(|text| serde_json::from_str(text).ok()) else {
            return Err(not_a_backup("its first line is another"));
        };
        if !(1..=VERSION).contains(&head.version) {
            return Err(not_a_backup(&format!("its version is {}", head.version)));
        }
        let mut counts = Counts::default();
        loop {
            let mut page = Vec::with_capacity(LINES);
            for text in lines.by_ref().take(LINES) {
                let text = text.map_err(|e| not_a_backup(&e.to_string()))?;
                page.push(serde_json::from_str::<ExportLine>(&text).map_err(|e| not_a_backup(&e.to_string()))?);
            }
            if page.is_empty() {
                break;
            }
            self.restore_page(page, &mut counts).await?;
        }
        let mut write = Write::begin(&self.writer, &self.days).await?;
        let result = write.restored(head, (!make_again).then_some(at_ms)).await;
        write.end(result).await?;
        Ok(counts)
    }

    async fn restore_page(&self, page: Vec<ExportLine>, counts: &mut Counts) -> Result<()> {
        let changes = Changes { restored: true, ..Changes::default() };
        let mut parts = Parts { changes, ..Parts::default() };
        for line in page {
            match line {
                ExportLine::Message(message) => {
                    counts.message(&message);
                    parts.days.insert(day_of_id(message.seq));
                    message.restore(&mut parts.changes)?;
                }
                ExportLine::Intake(intake) => {
                    counts.intakes += 1;
                    parts.days.insert(day_of_id(intake.seq));
                    parts.intake(*intake)?;
                }
                ExportLine::State(state) => parts.state.push(state),
                ExportLine::Type(r#type) => parts.types.push(r#type),
                ExportLine::Seen(seen) => {
                    counts.dedup_records += 1;
                    parts.seen.push(seen);
                }
                ExportLine::Count(line) => parts.counts.push(line.count()?),
                ExportLine::Pause(pause) => parts.pauses.push(pause),
                ExportLine::Audit(line) => {
                    parts.changes.audit.push(AuditEntry { record: line.record, hash: line.hash });
                }
                ExportLine::Backup(_) => return Err(not_a_backup("it has two first lines")),
            }
        }
        let mut write = Write::begin(&self.writer, &self.days).await?;
        let result = write.parts(parts).await;
        write.end(result).await
    }

    /// Compares the journal after a restore with what is known besides. To be run before the hub is.
    ///
    /// # Errors
    /// `store-unavailable`, or `internal` when an archive cannot be read.
    pub async fn reconcile(&self, archive: &Path) -> Result<Reconciliation> {
        let export = Export { pool: self.reader.clone(), dialect: self.dialect };
        let depths = super::read::depths(&self.reader).await?;
        let unknown = export.by_code("unknown-outcome").await?;
        let known = export.counter("seq").await?;
        let mut lacking = Vec::new();
        let files = std::fs::read_dir(archive).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with(".ndjson.zst")).collect();
        files.sort();
        for file in files {
            let broken = |e: std::io::Error| internal(format!("{}: {e}", file.display()));
            let decoder = std::fs::File::open(&file).and_then(zstd::Decoder::new).map_err(broken)?;
            for text in BufReader::new(decoder).lines() {
                let Ok(ExportLine::Message(message)) = serde_json::from_str(&text.map_err(broken)?) else { continue };
                if message.seq > known {
                    let field = |name: &str| message.event[name].as_str().unwrap_or_default().to_string();
                    lacking.push((field("source"), field("id")));
                }
            }
        }
        let (unknown_count, lacking_count) = (unknown.len() as u64, lacking.len() as u64);
        let unknown = unknown.into_iter().take(LISTED_MAX).collect();
        lacking.truncate(LISTED_MAX);
        Ok(Reconciliation { depths, unknown, unknown_count, lacking, lacking_count })
    }
}

impl Counts {
    fn message(&mut self, message: &MessageLine) {
        use busbar_core::DeliveryState::{Ready, Waiting};
        self.messages += 1;
        self.in_flight += message.deliveries.iter().filter(|d| matches!(d.state, Ready | Waiting)).count() as u64;
    }
}

/// A page of lines, by the tables that they go to.
#[derive(Default)]
struct Parts {
    days: BTreeSet<i64>,
    changes: Changes,
    state: Vec<StateLine>,
    types: Vec<TypeLine>,
    seen: Vec<SeenLine>,
    pauses: Vec<Pause>,
    counts: Vec<HourCount>,
}

impl CountLine {
    fn count(self) -> Result<HourCount> {
        let Self { hour, system, r#type, tally, count, bytes } = self;
        let tally = Counted::parse(&tally).ok_or_else(|| not_a_backup(&format!("a count of `{tally}`")))?;
        Ok(HourCount { of: TallyOf { hour, system, r#type, tally }, count, bytes })
    }
}

impl Parts {
    fn intake(&mut self, line: IntakeLine) -> Result<()> {
        self.changes.record(line.seq, line.calls)?;
        self.changes.intakes.push((line.seq, line.intake));
        Ok(())
    }
}

impl Write {
    async fn parts(&mut self, parts: Parts) -> Result<()> {
        self.make_days(&parts.days.into_iter().collect::<Vec<_>>()).await?;
        self.rows(parts.changes).await?;
        let state = Rows::default()
            .text("system", &parts.state, |s| &s.system)
            .text("key", &parts.state, |s| &s.key)
            .json("value", &parts.state, |s| Some(&s.value));
        self.tx.insert("state", state, "").await?;
        let types = Rows::default().int("hash", &parts.types, |t| t.hash).text("name", &parts.types, |t| &t.name);
        self.tx.insert("types", types, "ON CONFLICT (hash) DO NOTHING").await?;
        let seen = Rows::default()
            .text("id", &parts.seen, |s| &s.id)
            .int("pair", &parts.seen, |s| s.pair)
            .int("seq", &parts.seen, |s| s.seq)
            .int("content", &parts.seen, |s| s.content)
            .int("type", &parts.seen, |s| s.r#type);
        self.tx.insert("seen", seen, "").await?;
        self.counts(&parts.counts).await?;
        self.pauses(&parts.pauses).await
    }

    /// Ends a restore: ids go on behind the backup's, and what was in flight is parked, with the time of that.
    async fn restored(&mut self, head: BackupLine, park_at_ms: Option<i64>) -> Result<()> {
        let counters = [("seq", head.last_id), ("operations", head.operations), ("clock", head.at_ms)];
        let rows = Rows::default().text("name", &counters, |c| c.0).int("value", &counters, |c| c.1);
        let sql = "UPDATE counters SET value = r.value FROM {rows} WHERE counters.name = r.name";
        self.tx.execute(sql, rows).await?;
        let Some(at_ms) = park_at_ms else { return Ok(()) };
        let error = ErrorRecord {
            code: "unknown-outcome".into(),
            detail: "restored from a backup: it may have been made after that".into(),
            ..ErrorRecord::default()
        };
        let error = [(serde_json::to_string(&error).map_err(internal)?, at_ms)];
        let rows = Rows::default().json("error", &error, |e| Some(&e.0)).int("at_ms", &error, |e| e.1);
        let sql = "UPDATE open SET state = 'parked', error = r.error, code = 'unknown-outcome', \
                   updated_at_ms = r.at_ms FROM {rows} WHERE open.state IN ('ready', 'waiting')";
        self.tx.execute(sql, rows).await?;
        self.tx
            .run(
                "DELETE FROM depths WHERE state NOT IN ('done', 'skipped'); \
                 INSERT INTO depths (system, state, total) SELECT system, state, count(*) FROM open GROUP BY system, state",
            )
            .await?;
        self.recount().await
    }
}

fn not_a_backup(why: &str) -> Problem {
    Problem::new(Code::Rejected, format!("this is not a backup of the journal: {why}"))
}

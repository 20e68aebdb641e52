//! The store: the journal in SQLite or PostgreSQL. One code path for both: reads go over sqlx's Any driver, writes over
//! the databases' own ([`backend`]).
//!
//! Every write runs in a task of its own, so that nobody can cancel it half way, and a connection on which anything
//! failed is not used again. One connection writes; the others only read, and see whole transactions.

mod backend;
mod backup;
pub mod bench;
mod changes;
mod claim;
mod days;
mod desk;
mod dialect;
mod export;
mod facts;
mod find;
mod health;
mod migrations;
mod prune;
mod read;
mod rows;
mod statistics;
mod text;
mod write;

use async_trait::async_trait;
pub use backup::{Counts, Reconciliation};
pub use days::day_of;
pub use health::Health;
pub use prune::Day;

use crate::folder::try_lock;
use backend::{EitherPool, Pool};
use busbar_core::ports::{Chunks, Claim, Claimed, Ready, StateSize, Store};
use busbar_core::statistics::{HourCount, StatisticsFilter};
use busbar_core::*;
use days::Days;
use dialect::Dialect;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};
use std::fmt::Display;
use std::fs::File;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use url::Url;
use write::Write;

const READERS_MAX: u32 = 4;
/// Writers wait for one another, and a large file takes a while.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(30);
const READ_WAIT_MAX: Duration = Duration::from_secs(10);
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3);

/// The journal in a database.
pub struct SqlStore {
    writer: Pool,
    reader: AnyPool,
    dialect: Dialect,
    days: Arc<Days>,
}

impl SqlStore {
    /// Opens `sqlite:<file>` (created with its folder where missing) or `postgres://…` and brings its
    /// tables up to date.
    ///
    /// # Errors
    /// `store-unavailable` saying why, never with the URL's password.
    pub async fn open(url: &str) -> Result<Self, Problem> {
        sqlx::any::install_default_drivers();
        let (dialect, url, _) = prepare(url)?;
        let options = AnyConnectOptions::from_url(&url).map_err(unavailable)?;
        check(&options, dialect).await?;
        let writer = Pool::new(dialect, url.as_str(), WRITE_WAIT_MAX)?;
        let health = writer.health.clone();
        let reader = pool(READERS_MAX, READ_WAIT_MAX, dialect.reader_setup()).before_acquire(move |_, known| {
            let is_of_now = health.is_of_now(known.age);
            Box::pin(async move { Ok(is_of_now) })
        });
        let reader = reader.connect_lazy_with(options);
        let store = Self { writer, reader, dialect, days: Arc::default() };
        let writer = store.writer.clone();
        whole(async move { migrate(&writer).await.map_err(not_migrated) }).await?;
        store.catch_up().await?;
        Ok(store)
    }

    /// Whether the store answers, within a few seconds.
    ///
    /// # Errors
    /// `store-unavailable`.
    pub async fn ping(&self) -> Result<(), Problem> {
        let asked = self.reader.execute("SELECT value FROM counters WHERE name = 'seq'");
        let answer = tokio::time::timeout(ANSWER_WAIT_MAX, asked).await.map_err(|_| no_answer())?;
        answer.map(drop).map_err(unavailable)
    }

    /// Bytes that the database takes on its disk.
    ///
    /// # Errors
    /// `store-unavailable`.
    pub async fn bytes(&self) -> Result<u64, Problem> {
        let rows = read::select(&self.reader, self.dialect.size().to_string(), vec![]).await?;
        rows.first().map_or(Ok(0), |row| read::number(row, "bytes"))
    }

    /// The types to look at for a search, one by one.
    async fn types(&self, filter: &MessageFilter) -> Result<Vec<Option<String>>, Problem> {
        if filter.r#type.is_some() || find::by_message(filter) {
            return Ok(vec![filter.r#type.clone()]);
        }
        let mut known: Option<Vec<String>> = None;
        if let Some(system) = &filter.system {
            known = Some(read::types(&self.reader, "deliveries", "system", system).await?);
        }
        if let Some(source) = &filter.source {
            let stated = read::types(&self.reader, "messages", "source", source).await?;
            known =
                Some(known.map_or(stated.clone(), |known| known.into_iter().filter(|t| stated.contains(t)).collect()));
        }
        Ok(known.map_or(vec![None], |types| types.into_iter().map(Some).collect()))
    }

    /// A filter by time with the ids that such messages can have: the first one beside it, and none behind the last one.
    /// `None`: there are no such messages.
    async fn within(&self, filter: &MessageFilter) -> Result<Option<(MessageFilter, Option<i64>)>, Problem> {
        let mut filter = filter.clone();
        if filter.since_ms.is_none() && filter.until_ms.is_none() {
            return Ok(Some((filter, None)));
        }
        let (sql, values) = find::ids_within(filter.since_ms, filter.until_ms);
        let rows = read::select(&self.reader, sql, values).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let ids = (read::field::<Option<i64>>(row, "first")?, read::field::<Option<i64>>(row, "last")?);
        let (Some(first), Some(last)) = ids else { return Ok(None) };
        filter.before = Some(filter.before.unwrap_or(i64::MAX).min(last.saturating_add(1)));
        Ok(Some((filter, Some(first))))
    }

    /// Waits for what is being written and closes every connection.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

async fn migrate(writer: &Pool) -> Result<(), MigrateError> {
    match &writer.driver {
        EitherPool::Sqlite(pool) => migrations::sqlite().run(pool).await,
        EitherPool::Postgres(pool) => migrations::postgres().run(pool).await,
    }
}

/// A connection of its own: a pool tries again until its time is up, and does not say why.
async fn check(options: &AnyConnectOptions, dialect: Dialect) -> Result<(), Problem> {
    let connecting = tokio::time::timeout(ANSWER_WAIT_MAX, AnyConnection::connect_with(options)).await;
    let mut connection = connecting.map_err(|_| no_answer())?.map_err(unavailable)?;
    connection.execute(sqlx::raw_sql(dialect.writer_setup())).await.map_err(unavailable)?;
    if dialect == Dialect::Postgres {
        let sql = "SELECT current_setting('server_encoding')";
        let encoding: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await.map_err(unavailable)?;
        if encoding != "UTF8" {
            let detail = format!("store: the database's encoding is {encoding}; create it with ENCODING 'UTF8'");
            return Err(Problem::new(Code::StoreUnavailable, detail));
        }
    }
    connection.close().await.map_err(unavailable)
}

fn no_answer() -> Problem {
    Problem::new(Code::StoreUnavailable, "store: the database does not answer")
}

fn pool(connections: u32, wait_max: Duration, setup: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new().max_connections(connections).acquire_timeout(wait_max).after_connect(move |connection, _| {
        Box::pin(async move { connection.execute(sqlx::raw_sql(setup)).await.map(drop) })
    })
}

/// Takes a SQLite store for this process, until the file is dropped or the process ends. PostgreSQL is made to be shared.
///
/// # Errors
/// `in-use` when another process has it, `store-unavailable`.
pub fn lock(url: &str) -> Result<Option<File>, Problem> {
    let (_, _, Some(store)) = prepare(url)? else { return Ok(None) };
    // One lock for one file, by whatever name.
    let store = store.canonicalize().unwrap_or(store);
    let mut path = store.clone().into_os_string();
    path.push(".lock");
    // Beside the store: SQLite locks parts of its own file, which some file systems take for the same thing.
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    match file.and_then(try_lock) {
        Ok(Some(file)) => Ok(Some(file)),
        Ok(None) => Err(Problem::new(Code::InUse, format!("another hub has the store {}", store.display()))),
        Err(e) => Err(Problem::new(Code::StoreUnavailable, format!("store: {}: {e}", Path::new(&path).display()))),
    }
}

/// Finds the dialect; for SQLite also makes the folder, and gives the file.
fn prepare(url: &str) -> Result<(Dialect, Url, Option<PathBuf>), Problem> {
    let wrong = |detail: String| Problem::new(Code::StoreUnavailable, detail);
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(wrong("the store's URL has no scheme; use sqlite:<file> or postgres://…".into()));
    };
    match scheme {
        "postgres" | "postgresql" => {
            let parsed = url.parse().map_err(|e| wrong(format!("the store's URL is not a URL: {e}")))?;
            Ok((Dialect::Postgres, parsed, None))
        }
        "sqlite" => {
            let file = Path::new(rest.strip_prefix("//").unwrap_or(rest));
            if rest.contains('?') || rest.starts_with(":memory:") {
                return Err(wrong("a SQLite store is a file: sqlite:<file>, without options".into()));
            }
            let found = sqlite_file(file).and_then(|file| Ok((sqlite_url(&file)?, file)));
            let (url, file) = found.map_err(|e| wrong(format!("the store `{}`: {e}", file.display())))?;
            Ok((Dialect::Sqlite, url, Some(file)))
        }
        other => Err(wrong(format!("no store for `{other}:`; use sqlite:<file> or postgres://…"))),
    }
}

fn sqlite_file(file: &Path) -> std::io::Result<PathBuf> {
    let (Some(name), Some(folder)) = (file.file_name(), file.parent()) else {
        return Err(std::io::Error::other("not a file's name"));
    };
    let folder = std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    private_folder(&folder)?;
    Ok(folder.canonicalize()?.join(name))
}

/// The file is taken literally; sqlx wants it percent-encoded.
fn sqlite_url(file: &Path) -> std::io::Result<Url> {
    let file = Url::from_file_path(file).map_err(|()| std::io::Error::other("not a path"))?;
    Url::parse(&format!("sqlite://{}?mode=rwc", file.path())).map_err(std::io::Error::other)
}

/// The journal holds personal data: a new folder is for its owner only.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Runs a write to its end, whatever becomes of the one who waits for it.
async fn whole<T: Send + 'static>(
    write: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(write).await.map_err(internal)?
}

/// Writes what comes through `feed`; `None` ends it. A feed that closes without that was abandoned.
async fn write_stream(
    write: &mut Write,
    mut head: Commit,
    mut feed: mpsc::Receiver<Option<Vec<NewMessage>>>,
) -> Result<Option<Intake>, Problem> {
    let first = std::mem::take(&mut head.messages);
    if write.refuses(&head).await? {
        return Ok(None);
    }
    write.chunk(first, &mut head.intake, head.at_ms).await?;
    loop {
        match feed.recv().await {
            Some(Some(chunk)) => write.chunk(chunk, &mut head.intake, head.at_ms).await?,
            Some(None) => break,
            None => return Err(internal("the commit was abandoned")),
        }
    }
    if let Some(intake) = &mut head.intake {
        intake.settle();
    }
    let intake = head.intake.clone();
    write.rest(head).await?;
    Ok(intake)
}

/// Feeds every chunk. One is pulled when the one before is taken: one is in memory while one is
/// written. A closed channel means that the writer failed; its own problem says why.
async fn feed_all(feed: mpsc::Sender<Option<Vec<NewMessage>>>, chunks: Chunks<'_>) -> Result<(), Problem> {
    while let Ok(room) = feed.reserve().await {
        let chunk = pull(chunks)?;
        if chunk.is_empty() {
            room.send(None);
            break;
        }
        room.send(Some(chunk));
    }
    Ok(())
}

/// The source of chunks may block (it waits for an adapter): other tasks of this thread move away.
fn pull(chunks: Chunks<'_>) -> Result<Vec<NewMessage>, Problem> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(chunks),
        _ => chunks(),
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn commit(&self, batch: Vec<Commit>) -> Result<Vec<Committed>, Problem> {
        if batch.is_empty() {
            return Ok(vec![]);
        }
        let (writer, days) = (self.writer.clone(), self.days.clone());
        whole(async move {
            let mut write = Write::begin(&writer, &days).await?;
            let result = write.batch(batch).await;
            let result = write.end(result).await;
            if days.must_clear() {
                // Beside the next commits; what fails is done by PostgreSQL itself a little later.
                tokio::spawn(async move { writer.clear().await });
            }
            result
        })
        .await
    }

    async fn commit_stream(&self, head: Commit, chunks: Chunks<'_>) -> Result<Option<Intake>, Problem> {
        let (writer, days) = (self.writer.clone(), self.days.clone());
        let (feed, fed) = mpsc::channel(1);
        let written = tokio::spawn(async move {
            let mut write = Write::begin(&writer, &days).await?;
            let result = write_stream(&mut write, head, fed).await;
            write.end(result).await
        });
        let fed = feed_all(feed, chunks).await;
        let written = written.await.map_err(internal)?;
        fed.and(written)
    }

    async fn ready(&self, system: &str, shards: Shards, after: i64, limit: u32) -> Result<Ready, Problem> {
        read::ready(&self.reader, system, shards, after, limit).await
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, Problem> {
        let writer = self.writer.clone();
        whole(async move { claim::claim(&writer, claim).await }).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<(i64, DeliveryView)>, Problem> {
        read::deliveries(&self.reader, find::deliveries(filter)).await
    }

    async fn calls(&self, delivery: i64) -> Result<Vec<Call>, Problem> {
        let mut calls = read::calls(&self.reader, self.dialect, vec![delivery]).await?;
        Ok(calls.remove(&delivery).unwrap_or_default())
    }

    async fn state(&self, system: &str, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        read::state(&self.reader, system, key).await
    }

    async fn state_size(&self, system: &str) -> Result<StateSize, Problem> {
        read::state_size(&self.reader, system).await
    }

    async fn lookup(&self, source: &str, id: &str) -> Result<Option<(i64, Message)>, Problem> {
        read::lookup(&self.reader, source, id).await
    }

    async fn messages(&self, filter: &MessageFilter) -> Result<Vec<MessageView>, Problem> {
        let Some((filter, first_id)) = self.within(filter).await? else { return Ok(vec![]) };
        let types = self.types(&filter).await?;
        read::messages(&self.reader, self.dialect, find::messages(&filter, &types, first_id)).await
    }

    async fn search(&self, filter: &MessageFilter, text: &str) -> Result<TextFound, Problem> {
        let Some((filter, first_id)) = self.within(filter).await? else { return Ok(TextFound::default()) };
        let types = self.types(&filter).await?;
        let (found, horizon) = find::with_text(&filter, &types, first_id, self.dialect.contains(), &in_json(text));
        let rows = read::select(&self.reader, found.0, found.1).await?;
        let seqs = rows.iter().map(|row| read::int(row, "seq")).collect::<Result<Vec<_>, _>>()?;
        let mut messages = Vec::new();
        if !seqs.is_empty() {
            messages = read::messages(&self.reader, self.dialect, (find::numbered(&seqs), vec![])).await?;
            messages.sort_by_key(|view| -view.seq);
        }
        if messages.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX) {
            let next = messages.last().map(|view| view.seq);
            return Ok(TextFound { messages, next });
        }
        let rows = read::select(&self.reader, horizon.0, horizon.1).await?;
        let next = rows.first().map(|row| read::int(row, "seq")).transpose()?;
        Ok(TextFound { messages, next })
    }

    async fn message(&self, seq: i64) -> Result<Option<MessageView>, Problem> {
        let query = (find::message(), vec![find::Value::Int(seq)]);
        let mut found = read::messages(&self.reader, self.dialect, query).await?;
        let owners = found.iter().flat_map(|m| &m.deliveries).map(|d| d.id).collect();
        let mut calls = read::calls(&self.reader, self.dialect, owners).await?;
        for delivery in found.iter_mut().flat_map(|m| &mut m.deliveries) {
            delivery.calls = calls.remove(&delivery.id).unwrap_or_default();
        }
        Ok(found.pop())
    }

    async fn intakes(&self, filter: &IntakeFilter) -> Result<Vec<IntakeView>, Problem> {
        let intakes = read::intakes(&self.reader, find::intakes(filter)).await?;
        let owners = intakes.iter().map(|(seq, _)| *seq).collect();
        let mut calls = read::calls(&self.reader, self.dialect, owners).await?;
        let view = |(seq, intake)| IntakeView { intake, calls: calls.remove(&seq).unwrap_or_default() };
        Ok(intakes.into_iter().map(view).collect())
    }

    async fn depths(&self) -> Result<Vec<Depth>, Problem> {
        read::depths(&self.reader).await
    }

    async fn failures(&self, filter: &FailureFilter) -> Result<Vec<FailureGroup>, Problem> {
        desk::failures(&self.reader, filter).await
    }

    async fn statistics(&self, filter: &StatisticsFilter) -> Result<Vec<HourCount>, Problem> {
        statistics::statistics(&self.reader, filter).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, Problem> {
        desk::pauses(&self.reader).await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Problem> {
        desk::audit(&self.reader, filter).await
    }
}

fn unavailable(error: sqlx::Error) -> Problem {
    // The database's own message, without its detail line, which may quote data.
    let (code, detail) = match &error {
        sqlx::Error::Database(e) if e.is_unique_violation() || e.is_foreign_key_violation() => {
            (Code::Internal, e.message().to_string())
        }
        sqlx::Error::Database(e) => (Code::StoreUnavailable, e.message().to_string()),
        sqlx::Error::PoolTimedOut => (Code::StoreUnavailable, "no connection came free in time".to_string()),
        sqlx::Error::PoolClosed => (Code::StoreUnavailable, "the store is closed".to_string()),
        other => (Code::StoreUnavailable, other.to_string()),
    };
    Problem::new(code, format!("store: {detail}"))
}

fn not_migrated(error: MigrateError) -> Problem {
    let detail = match error {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => return unavailable(e),
        MigrateError::VersionMissing(_) => "the store was written by a newer busbar; use that or a newer one".into(),
        MigrateError::VersionMismatch(v) => format!("migration {v} of the store is not the one in this program"),
        other => other.to_string(),
    };
    Problem::new(Code::StoreUnavailable, format!("store: {detail}"))
}

fn internal(error: impl Display) -> Problem {
    Problem::new(Code::Internal, format!("store: {error}"))
}

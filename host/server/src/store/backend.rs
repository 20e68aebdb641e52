//! The writer's connections: sqlx's own drivers, because arrays and prepared lists of values are several times as fast
//! as what sqlx's Any driver can pass. Many rows go into one statement, column by column.

use super::dialect::Dialect;
use super::health::Health;
use super::text::stored;
use super::unavailable;
use busbar_core::{Code, Problem};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Database, Executor, FromRow, PgPool, Postgres, Sqlite, SqlitePool};
use std::borrow::Cow;
use std::fmt::Write;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Rows of one statement at most, largest first: SQLite prepares one for each size.
const SIZES: [usize; 4] = [256, 32, 4, 1];
const STATEMENTS_MAX: usize = 400;

/// The pool that writes.
#[derive(Clone)]
pub struct Pool {
    pub driver: EitherPool,
    pub health: Arc<Health>,
}

#[derive(Clone)]
pub enum EitherPool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction that writes.
pub enum Tx {
    Sqlite(HeldConnection<Sqlite>),
    Postgres(HeldConnection<Postgres>),
}

/// A connection that a transaction has. It goes back to its pool only when that ended well. After a full disk the
/// driver still counts the transaction that SQLite has rolled back by itself, and refuses every later one; a database
/// that cannot be written any more may have become a replica, and the next connection leads to the new primary.
pub struct HeldConnection<DB: Database> {
    connection: PoolConnection<DB>,
    sound: bool,
}

impl<DB: Database> HeldConnection<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    async fn begin(connection: PoolConnection<DB>, sql: &'static str) -> Result<Self, sqlx::Error> {
        let mut held = Self { connection, sound: false };
        held.say(sql).await?;
        Ok(held)
    }

    async fn say(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        (&mut *self.connection).execute(sql).await.map(drop)
    }

    /// Commits when all is well, else rolls back.
    async fn end<T>(mut self, result: Result<T, Problem>) -> Result<T, Problem> {
        let ended = self.say(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).await.map_err(unavailable);
        let failed = |problem: &Problem| problem.code == Code::StoreUnavailable;
        self.sound = ended.is_ok() && !result.as_ref().is_err_and(failed);
        result.and_then(|value| ended.map(|()| value))
    }
}

impl<DB: Database> Deref for HeldConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Database> DerefMut for HeldConnection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

impl<DB: Database> Drop for HeldConnection<DB> {
    fn drop(&mut self) {
        if !self.sound {
            self.connection.close_on_drop();
        }
    }
}

/// What a row of an answer must offer: both drivers' decoding.
pub trait Decoded: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Decoded for T {}

impl Pool {
    /// `wait_max`: how long a write waits for a connection.
    pub fn new(dialect: Dialect, url: &str, wait_max: Duration) -> Result<Self, Problem> {
        let setup = dialect.writer_setup();
        let driver = match dialect {
            Dialect::Sqlite => {
                let options = SqliteConnectOptions::from_str(url).map_err(unavailable)?;
                let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(wait_max);
                let pool = pool.after_connect(move |connection, _| {
                    Box::pin(async move { connection.execute(sqlx::raw_sql(setup)).await.map(drop) })
                });
                EitherPool::Sqlite(pool.connect_lazy_with(options.statement_cache_capacity(STATEMENTS_MAX)))
            }
            Dialect::Postgres => {
                let options = PgConnectOptions::from_str(url).map_err(unavailable)?;
                // One writes, one may be busy with a large file, one claims shards meanwhile.
                let pool = PgPoolOptions::new().max_connections(3).acquire_timeout(wait_max);
                let pool = pool.after_connect(move |connection, _| {
                    Box::pin(async move { connection.execute(sqlx::raw_sql(setup)).await.map(drop) })
                });
                EitherPool::Postgres(pool.connect_lazy_with(options.statement_cache_capacity(STATEMENTS_MAX)))
            }
        };
        Ok(Self { driver, health: Arc::default() })
    }

    pub async fn begin(&self) -> Result<Tx, Problem> {
        let begun = match &self.driver {
            // Takes the write lock at once: a later upgrade could fail half way.
            EitherPool::Sqlite(pool) => match pool.acquire().await {
                Ok(connection) => HeldConnection::begin(connection, "BEGIN IMMEDIATE").await.map(Tx::Sqlite),
                Err(error) => Err(error),
            },
            EitherPool::Postgres(pool) => match pool.acquire().await {
                Ok(connection) => HeldConnection::begin(connection, "BEGIN").await.map(Tx::Postgres),
                Err(error) => Err(error),
            },
        };
        begun.map_err(unavailable)
    }

    /// Removes the dead rows of the deliveries that are not finished: that table is small and changes all the time.
    pub async fn clear(&self) -> Result<(), Problem> {
        match &self.driver {
            EitherPool::Sqlite(_) => Ok(()),
            EitherPool::Postgres(pool) => {
                pool.execute(sqlx::raw_sql("VACUUM (SKIP_LOCKED) open")).await.map(drop).map_err(unavailable)
            }
        }
    }

    pub async fn close(&self) {
        match &self.driver {
            EitherPool::Sqlite(pool) => pool.close().await,
            EitherPool::Postgres(pool) => pool.close().await,
        }
    }
}

enum ColumnValues<'a> {
    Int(Vec<i64>),
    Text(Vec<Option<Cow<'a, str>>>),
}

/// Rows for one statement, as columns.
#[derive(Default)]
pub struct Rows<'a> {
    columns: Vec<(&'static str, ColumnValues<'a>)>,
    count: usize,
}

impl<'a> Rows<'a> {
    pub fn int<T>(mut self, name: &'static str, rows: &'a [T], get: impl Fn(&'a T) -> i64) -> Self {
        self.count = rows.len();
        self.columns.push((name, ColumnValues::Int(rows.iter().map(get).collect())));
        self
    }

    pub fn text<T>(self, name: &'static str, rows: &'a [T], get: impl Fn(&'a T) -> &'a str) -> Self {
        self.maybe(name, rows, move |row| Some(get(row)))
    }

    pub fn maybe<T>(mut self, name: &'static str, rows: &'a [T], get: impl Fn(&'a T) -> Option<&'a str>) -> Self {
        self.count = rows.len();
        self.columns.push((name, ColumnValues::Text(rows.iter().map(|row| get(row).map(stored)).collect())));
        self
    }

    /// Text that is JSON or base64 and so holds nothing that must be written otherwise.
    pub fn json<T>(mut self, name: &'static str, rows: &'a [T], get: impl Fn(&'a T) -> Option<&'a str>) -> Self {
        self.count = rows.len();
        self.columns.push((name, ColumnValues::Text(rows.iter().map(|row| get(row).map(Cow::Borrowed)).collect())));
        self
    }

    /// The columns' names, for an INSERT.
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// These rows as `r` in a FROM clause, with parameters.
    fn postgres(&self) -> String {
        let mut sql = String::from("unnest(");
        for (place, (_, values)) in self.columns.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let kind = if matches!(values, ColumnValues::Int(_)) { "bigint" } else { "text" };
            // Writing to a String cannot fail.
            let _ = write!(sql, "{comma}${}::{kind}[]", place + 1);
        }
        format!("{sql}) AS r({})", self.names())
    }

    fn sqlite(&self, count: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        let names = self.columns.iter().enumerate();
        let names = names.map(|(place, (name, _))| format!("column{} AS {name}", place + 1));
        let names = names.collect::<Vec<_>>().join(", ");
        format!("(SELECT {names} FROM (VALUES {})) AS r", vec![row; count].join(","))
    }

    fn bind_postgres<'q>(self, mut query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        for (_, values) in self.columns {
            query = match values {
                ColumnValues::Int(values) => query.bind(values),
                ColumnValues::Text(values) => query.bind(values),
            };
        }
        query
    }

    fn bind_sqlite<'q>(
        &self,
        mut query: Query<'q, Sqlite, SqliteArguments>,
        from: usize,
        count: usize,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        for row in from..from + count {
            for (_, values) in &self.columns {
                query = match values {
                    ColumnValues::Int(values) => query.bind(values.get(row).copied()),
                    ColumnValues::Text(values) => query.bind(values.get(row).and_then(Option::as_deref)),
                };
            }
        }
        query
    }

    /// How many rows each of SQLite's statements takes.
    fn parts(&self) -> Vec<usize> {
        let mut left = self.count;
        let mut parts = Vec::new();
        for size in SIZES {
            parts.extend(std::iter::repeat_n(size, left / size));
            left %= size;
        }
        parts
    }
}

impl Tx {
    /// Executes `sql` with `{rows}` in place of a table `r` of these rows; nothing when there are none.
    pub async fn execute(&mut self, sql: &str, rows: Rows<'_>) -> Result<(), Problem> {
        if rows.count == 0 {
            return Ok(());
        }
        match self {
            Self::Postgres(tx) => {
                let sql = sql.replace("{rows}", &rows.postgres());
                let query = rows.bind_postgres(sqlx::query(AssertSqlSafe(sql)));
                query.execute(&mut **tx).await.map_err(unavailable)?;
            }
            Self::Sqlite(tx) => {
                let mut from = 0;
                for count in rows.parts() {
                    let sql = sql.replace("{rows}", &rows.sqlite(count));
                    let query = rows.bind_sqlite(sqlx::query(AssertSqlSafe(sql)), from, count);
                    query.execute(&mut **tx).await.map_err(unavailable)?;
                    from += count;
                }
            }
        }
        Ok(())
    }

    /// The same for a query.
    pub async fn fetch<T: Decoded>(&mut self, sql: &str, rows: Rows<'_>) -> Result<Vec<T>, Problem> {
        let mut found = Vec::new();
        if rows.count == 0 {
            return Ok(found);
        }
        match self {
            Self::Postgres(tx) => {
                let sql = sql.replace("{rows}", &rows.postgres());
                let query = rows.bind_postgres(sqlx::query(AssertSqlSafe(sql)));
                for row in query.fetch_all(&mut **tx).await.map_err(unavailable)? {
                    found.push(T::from_row(&row).map_err(unavailable)?);
                }
            }
            Self::Sqlite(tx) => {
                let mut from = 0;
                for count in rows.parts() {
                    let sql = sql.replace("{rows}", &rows.sqlite(count));
                    let query = rows.bind_sqlite(sqlx::query(AssertSqlSafe(sql)), from, count);
                    for row in query.fetch_all(&mut **tx).await.map_err(unavailable)? {
                        found.push(T::from_row(&row).map_err(unavailable)?);
                    }
                    from += count;
                }
            }
        }
        Ok(found)
    }

    /// Inserts the rows into `table`; `conflict` may add an ON CONFLICT clause.
    pub async fn insert(&mut self, table: &str, rows: Rows<'_>, conflict: &str) -> Result<(), Problem> {
        let names = rows.names();
        // `WHERE true`: without it SQLite takes ON CONFLICT for the ON of a join.
        let sql = format!("INSERT INTO {table} ({names}) SELECT {names} FROM {{rows}} WHERE true {conflict}");
        self.execute(&sql, rows).await
    }

    /// Whether PostgreSQL has this table.
    pub async fn has_table(&mut self, name: &str) -> Result<bool, Problem> {
        let names = [name];
        let sql = "SELECT to_regclass(r.name)::text FROM {rows}";
        let found = self.fetch::<(Option<String>,)>(sql, Rows::default().text("name", &names, |n| n)).await?;
        Ok(matches!(found.first(), Some((Some(_),))))
    }

    /// Executes a statement without parameters.
    pub async fn run(&mut self, sql: &str) -> Result<(), Problem> {
        let sql = AssertSqlSafe(sql.to_string());
        match self {
            Self::Sqlite(tx) => (&mut **tx).execute(sqlx::raw_sql(sql)).await.map(drop).map_err(unavailable),
            Self::Postgres(tx) => (&mut **tx).execute(sqlx::raw_sql(sql)).await.map(drop).map_err(unavailable),
        }
    }

    /// Commits when all is well, else rolls back.
    pub async fn end<T>(self, result: Result<T, Problem>) -> Result<T, Problem> {
        match self {
            Self::Sqlite(held) => held.end(result).await,
            Self::Postgres(held) => held.end(result).await,
        }
    }
}

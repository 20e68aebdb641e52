//! Where the SQL of SQLite and PostgreSQL differs, with both texts side by side.

/// Which database the store is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A column of rows that are passed as JSON.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    Int(&'static str),
    Text(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Int(name) | Self::Text(name) => name,
        }
    }
}

impl Dialect {
    /// `$1`, a JSON array of objects, as the rows `r` of a FROM clause: many rows in one statement.
    pub fn rows(self, columns: &[Column]) -> String {
        let column = |c: &Column| match (self, *c) {
            (Self::Sqlite, c) => format!("value->>'$.{name}' AS {name}", name = c.name()),
            (Self::Postgres, Column::Int(name)) => format!("{name} bigint"),
            (Self::Postgres, Column::Text(name)) => format!("{name} text"),
        };
        let columns = columns.iter().map(column).collect::<Vec<_>>().join(", ");
        match self {
            Self::Sqlite => format!("(SELECT {columns} FROM json_each($1)) AS r"),
            Self::Postgres => format!("json_to_recordset($1::json) AS r({columns})"),
        }
    }

    /// Inserts the rows of `$1` into `table`; `conflict` may add an ON CONFLICT clause.
    pub fn insert(self, table: &str, columns: &[Column], conflict: &str) -> String {
        let names = columns.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
        // `WHERE true`: without it SQLite takes ON CONFLICT for the ON of a join.
        format!("INSERT INTO {table} ({names}) SELECT {names} FROM {} WHERE true {conflict}", self.rows(columns))
    }

    /// Begins a write.
    pub fn begin(self) -> &'static str {
        match self {
            // Takes the write lock at once: a later upgrade could fail half way.
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Prepares a new connection for writing.
    pub fn writer_setup(self) -> &'static str {
        match self {
            // FULL: a commit that was answered survives a power cut. The size limit keeps the WAL
            // file small after a large commit.
            Self::Sqlite => {
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON; PRAGMA cache_size = -16000; PRAGMA journal_size_limit = 67108864;"
            }
            // A hub that is cut off must not hold the counters' row for the others for ever. `off`
            // as the server's default would lose answered commits; stronger settings stay. All
            // goes from a few rows to their keys: without fresh statistics the planner would read
            // whole tables for that (37 ms instead of 3 for one message among 200,000).
            Self::Postgres => {
                "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '60s'; \
                 SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
                 SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';"
            }
        }
    }

    /// Prepares a new connection for reading.
    pub fn reader_setup(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON; PRAGMA cache_size = -4000;",
            Self::Postgres => {
                "SET default_transaction_read_only = on; SET statement_timeout = '30s'; \
                 SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;"
            }
        }
    }
}

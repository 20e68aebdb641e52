//! Where the SQL of SQLite and PostgreSQL differs, with both texts side by side.

/// Which database the store is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// `$1`, a JSON array of arrays of numbers, as the rows `r` of a FROM clause.
    pub fn numbers(self, columns: &[&str]) -> String {
        let column = |(place, name): (usize, &&str)| match self {
            Self::Sqlite => format!("value->>{place} AS {name}"),
            Self::Postgres => format!("(value->>{place})::bigint AS {name}"),
        };
        let columns = columns.iter().enumerate().map(column).collect::<Vec<_>>().join(", ");
        match self {
            Self::Sqlite => format!("(SELECT {columns} FROM json_each($1)) AS r"),
            Self::Postgres => format!("(SELECT {columns} FROM json_array_elements($1::json)) AS r"),
        }
    }

    /// Prepares a new connection for writing.
    pub fn writer_setup(self) -> &'static str {
        match self {
            // FULL: a commit that was answered survives a power cut. The size limit keeps the WAL
            // file small after a large commit. A checkpoint after 32 MB: pages that every transaction changes are
            // written back once for many.
            Self::Sqlite => {
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA cache_size = -16000; PRAGMA journal_size_limit = 67108864; \
                 PRAGMA wal_autocheckpoint = 8000;"
            }
            // A hub that is cut off must not hold the counters' row for the others for ever. `off`
            // as the server's default would lose answered commits; stronger settings stay. All
            // goes from a few rows to their keys: without fresh statistics the planner would read
            // whole tables for that (37 ms instead of 3 for one message among 200,000). Bitmap scans do not mark
            // what they find dead, and what is open comes and goes thousands of times before it is vacuumed.
            Self::Postgres => {
                "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '60s'; \
                 SET enable_bitmapscan = off; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
                 SET max_parallel_workers_per_gather = 0; \
                 SET plan_cache_mode = force_generic_plan; \
                 SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';"
            }
        }
    }

    /// Prepares a new connection for reading.
    pub fn reader_setup(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON; PRAGMA cache_size = -4000;",
            Self::Postgres => {
                // A replica is behind: what is read there and decided upon (state, what is known, what is ready) would be
                // of earlier. Whoever fails over leads the next connection to the new primary.
                // Every page is walked in the order of an index; of a day without statistics the planner thinks that
                // sorting what little there is was cheaper (241 ms instead of 2 at a million).
                "DO $$ BEGIN IF pg_is_in_recovery() THEN RAISE 'the database is a replica'; END IF; END $$; \
                 SET default_transaction_read_only = on; SET statement_timeout = '30s'; \
                 SET enable_bitmapscan = off; SET enable_sort = off; \
                 SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
                 SET max_parallel_workers_per_gather = 0;"
            }
        }
    }

    /// The function that finds a text in another.
    pub fn contains(self) -> &'static str {
        match self {
            Self::Sqlite => "instr",
            Self::Postgres => "strpos",
        }
    }

    /// How large the database is.
    pub fn size(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()",
            Self::Postgres => "SELECT pg_database_size(current_database()) AS bytes",
        }
    }

    /// Begins a transaction that sees one moment.
    pub fn snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        }
    }
}

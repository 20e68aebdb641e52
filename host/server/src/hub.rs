//! The hub: takes messages in, writes them down, makes the deliveries.

mod adapters;
mod attempt;
mod board;
mod connection;
mod driver;
mod effects;
mod entries;
mod file;
mod intake;
mod line;
mod oauth2;
mod operate;
mod outbox;
mod pauses;
mod poll;
mod questions;
mod quota;
mod refusals;
mod relay;
mod session;
mod shards;
mod via;
mod writer;

pub use adapters::WasmAdapters;
pub use attempt::Attempter;
pub use board::Board;
pub use driver::{Attempts, Committer, Driver, Making, Pending};
pub use effects::{HubEffects, SystemSecrets, WriteAhead};
pub use file::FileResult;
pub use intake::reused_problem;
pub use line::{ConnectionShown, Connections, GivenQueue, Line, Trouble};
pub use outbox::{Filed, Outbox};
pub use pauses::Pauses;
pub use poll::Poller;
pub use questions::{Asker, Questions};
pub use quota::Quota;
pub use refusals::Refusals;
pub use shards::{Sharing, Turn};
pub use via::{Via, ViaAmqp, ViaHttp};
pub use writer::WriterThread;

use busbar_core::Rules;
use busbar_core::ports::{Adapters, Clock, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The hub's inner side: everything that inputs need.
pub struct Hub {
    pub rules: Arc<Rules>,
    pub store: Arc<dyn Store>,
    pub committer: Committer,
    pub attempter: Arc<Attempter>,
    pub adapters: Arc<dyn Adapters>,
    pub questions: Arc<Questions>,
    pub clock: Arc<dyn Clock>,
    pub pauses: Arc<Pauses>,
    /// Of the systems that get files.
    pub refusals: Refusals,
    /// Folder for files that are being decoded.
    pub spool: PathBuf,
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

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
mod oauth2;
mod operate;
mod outbox;
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
pub use connection::{ConnectionShown, Connections, Line, Trouble};
pub use driver::{Attempts, Committer, Driver, Making, Pending};
pub use effects::{HubEffects, SystemSecrets, WriteAhead};
pub use file::FileResult;
pub use intake::Hub;
pub use intake::reused_problem;
pub use outbox::{Filed, Outbox};
pub use poll::Poller;
pub use questions::{Asker, Questions};
pub use quota::Quota;
pub use refusals::Refusals;
pub use session::GivenQueue;
pub use shards::{Lease, Sharing, Turn};
pub use via::{Via, ViaAmqp, ViaHttp};
pub use writer::WriterThread;

use std::time::{SystemTime, UNIX_EPOCH};

/// The machine's clock.
pub struct SystemClock;

impl busbar_core::ports::Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

//! A hub at work, and its end.

use crate::hub::Driver;
use crate::rest::Api;
use crate::store::SqlStore;
use busbar_core::ports::Transport;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// For the broker to hear that the hub goes, and for the store to be closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A hub at work.
pub struct Running {
    pub address: SocketAddr,
    pub(crate) api: Arc<Api>,
    pub(crate) intake: CancellationToken,
    pub(crate) delivery: CancellationToken,
    pub(crate) leases: CancellationToken,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) sharing: JoinSet<()>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) store: Arc<SqlStore>,
    /// The store is this process's as long as this is there.
    pub(crate) _lock: Option<File>,
}

impl Running {
    /// Drains: not ready any more, nothing more is taken, what runs ends and is written; at most `within`. What does
    /// not end in time is done after the next start, or by another hub. The broker is left when all is written, since
    /// outcomes, confirms and acknowledgements go over it, and the store is closed last.
    pub async fn stop(mut self, within: Duration) {
        self.api.stop();
        self.intake.cancel();
        self.delivery.cancel();
        self.driver.stop();
        let drain = async {
            while self.tasks.join_next().await.is_some() {}
            self.api.hub.write_refusals().await;
            self.driver.drained().await;
            self.leases.cancel();
            while self.sharing.join_next().await.is_some() {}
        };
        if tokio::time::timeout(within, drain).await.is_err() {
            tracing::warn!("not everything ended in time; it goes on after the next start");
        }
        if let Some(transport) = &self.transport
            && tokio::time::timeout(CLOSE_MAX, transport.close()).await.is_err()
        {
            tracing::warn!("the broker did not take leave in time");
        }
        if tokio::time::timeout(CLOSE_MAX, self.store.close()).await.is_err() {
            tracing::warn!("the store was not closed in time; what was confirmed is in it");
        }
    }
}

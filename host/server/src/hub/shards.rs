//! Several hubs on one store share the deliveries by leases on shards, without a leader: each one renews what it
//! has, counts the living and gives up what is over its share.

use super::Driver;
use busbar_core::engine::Event;
use busbar_core::leases::Lease;
use busbar_core::ports::{Claim, Claimed, Clock, Store};
use busbar_core::{Problem, Shards};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const RENEW: Duration = Duration::from_millis(1_000);
/// How often a hub that is not alone looks for what the others wrote.
const NEWS: Duration = Duration::from_millis(200);
const LEASE_MS: i64 = 8_000;
/// A lease that could not be renewed counts as lost so long before it ends: attempts may still be running.
const MARGIN_MS: i64 = 3_000;

/// Which hub polls a system, or lets days go: two at once would do it twice.
#[derive(Clone)]
pub struct Turn(pub watch::Receiver<Shards>);

impl Turn {
    pub fn is_mine(&self, system: &str) -> bool {
        self.0.borrow().has(Shards::of(system, None, 0))
    }
}

/// Keeps this hub's share of the deliveries.
pub struct Sharing {
    pub hub: String,
    pub driver: Arc<Driver>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// What this hub has; the intake follows it.
    pub owned: watch::Sender<Shards>,
    pub lease: Arc<Lease>,
}

impl Sharing {
    /// Runs until `stop`, then until nothing is busy, and gives everything up.
    pub async fn run(self, stop: CancellationToken) {
        let mut last: Option<Claimed> = None;
        let mut renewed_ms = self.clock.now_ms();
        let mut next_claim = tokio::time::Instant::now();
        while !stop.is_cancelled() {
            if tokio::time::Instant::now() >= next_claim {
                next_claim = tokio::time::Instant::now() + RENEW;
                let asked_ms = self.clock.now_ms();
                // After a long pause nothing is this hub's before it has asked again.
                if last.is_some() && asked_ms > renewed_ms + LEASE_MS - MARGIN_MS {
                    last = None;
                    self.lease.end();
                    self.own(Shards::NONE);
                }
                match self.claim(false).await {
                    Ok(claimed) => {
                        renewed_ms = asked_ms;
                        self.lease.renew(asked_ms + LEASE_MS - MARGIN_MS);
                        self.tell(claimed, last.replace(claimed));
                    }
                    Err(problem) => tracing::warn!(%problem, "the leases cannot be renewed"),
                }
            } else if last.is_some_and(|claimed| claimed.hubs > 1) {
                self.driver.feed([Event::News]);
            }
            tokio::select! {
                () = tokio::time::sleep(NEWS) => {}
                () = stop.cancelled() => {}
            }
        }
        if let Err(problem) = self.claim(true).await {
            tracing::info!(%problem, "the leases run out by themselves");
        }
    }

    async fn claim(&self, leaving: bool) -> Result<Claimed, Problem> {
        let busy = self.driver.busy();
        let claim = Claim { hub: self.hub.clone(), now_ms: self.clock.now_ms(), lease_ms: LEASE_MS, busy, leaving };
        self.store.claim(claim).await
    }

    fn tell(&self, claimed: Claimed, before: Option<Claimed>) {
        if before.is_none_or(|b| b.shards != claimed.shards || b.hubs != claimed.hubs) {
            let shards = claimed.shards.0.count_ones();
            tracing::info!(shards, of = Shards::COUNT, hubs = claimed.hubs, "this hub's share");
        }
        self.own(claimed.shards);
    }

    fn own(&self, shards: Shards) {
        self.driver.feed([Event::Owns { shards }]);
        self.owned.send_if_modified(|owned| std::mem::replace(owned, shards) != shards);
    }
}

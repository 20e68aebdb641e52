//! Makes the deliveries: one loop per system, so that a slow or dead system is nobody else's matter.

use super::attempt::{Attempter, Settled};
use busbar_core::ports::{Clock, Store};
use busbar_core::{DeliveryState, Job, Lanes, Message, Offer, Refill, StoredDelivery};
use futures::FutureExt;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Deliveries of one system held in memory.
const WINDOW_MAX: usize = 2_000;
const IDLE_MAX: Duration = Duration::from_secs(60);
const STORE_RETRY: Duration = Duration::from_millis(500);

pub(super) type Delivery = Job<Arc<Message>>;

struct Queue {
    lanes: Mutex<Lanes<Arc<Message>>>,
    wake: Notify,
}

impl Queue {
    fn lanes(&self) -> MutexGuard<'_, Lanes<Arc<Message>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lanes of every system.
pub struct Dispatcher {
    queues: BTreeMap<String, Arc<Queue>>,
}

impl Dispatcher {
    /// `systems`: name and how many deliveries may run at once.
    pub fn new(systems: impl IntoIterator<Item = (String, usize)>) -> Self {
        let queue =
            |at_once: usize| Queue { lanes: Mutex::new(Lanes::new(WINDOW_MAX, at_once, [])), wake: Notify::new() };
        Self { queues: systems.into_iter().map(|(name, at_once)| (name, Arc::new(queue(at_once)))).collect() }
    }

    /// Deliveries just committed, in order.
    pub fn offer(&self, deliveries: impl Iterator<Item = StoredDelivery>) {
        for delivery in deliveries {
            let Some(queue) = self.queues.get(&delivery.system) else { continue };
            let mut lanes = queue.lanes();
            if delivery.state == DeliveryState::Parked {
                lanes.hold(delivery.key.unwrap_or_default());
                continue;
            }
            // One that must wait behind a parked key is read again from the store and parked there.
            if let Offer::Behind(_) = lanes.offer(job(delivery)) {
                lanes.fall_behind();
            }
            queue.wake.notify_one();
        }
    }

    /// The store has deliveries that were not offered.
    pub fn fell_behind(&self) {
        for queue in self.queues.values() {
            queue.lanes().fall_behind();
            queue.wake.notify_one();
        }
    }

    /// Deliveries running now, by system.
    pub fn in_flight(&self) -> Vec<(String, usize)> {
        self.queues.iter().map(|(name, queue)| (name.clone(), queue.lanes().in_flight())).collect()
    }

    /// Starts the loops. They end when `stop` is cancelled and their running deliveries have ended.
    pub fn start(
        &self,
        attempter: &Arc<Attempter>,
        store: &Arc<dyn Store>,
        clock: &Arc<dyn Clock>,
        stop: &CancellationToken,
    ) -> JoinSet<()> {
        let mut loops = JoinSet::new();
        for (name, queue) in &self.queues {
            let serve = Serve {
                system: name.clone(),
                queue: queue.clone(),
                attempter: attempter.clone(),
                store: store.clone(),
                clock: clock.clone(),
                stop: stop.clone(),
            };
            loops.spawn(serve.run());
        }
        loops
    }
}

fn job(delivery: StoredDelivery) -> Delivery {
    Job {
        id: delivery.id,
        key: delivery.key,
        attempts: delivery.attempts,
        due_ms: delivery.next_at_ms,
        load: delivery.message,
    }
}

/// A panic in one attempt must not cost its lane: the delivery is made again.
async fn guarded(attempter: Arc<Attempter>, system: String, delivery: Delivery) -> Settled {
    let mut again = delivery.clone();
    match AssertUnwindSafe(attempter.attempt(system.clone(), delivery)).catch_unwind().await {
        Ok(settled) => settled,
        Err(_) => {
            tracing::error!(system, delivery = again.id, "an attempt ended unexpectedly; it is made again");
            again.due_ms = busbar_core::ports::Clock::now_ms(&super::SystemClock) + 1_000;
            Settled::Again(again)
        }
    }
}

struct Serve {
    system: String,
    queue: Arc<Queue>,
    attempter: Arc<Attempter>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Serve {
    async fn run(self) {
        let mut running: JoinSet<Settled> = JoinSet::new();
        while !self.stop.is_cancelled() {
            self.refill().await;
            loop {
                let taken = self.queue.lanes().take(self.clock.now_ms());
                let Some(delivery) = taken else { break };
                running.spawn(guarded(self.attempter.clone(), self.system.clone(), delivery));
            }
            let idle = self.idle();
            tokio::select! {
                () = self.queue.wake.notified() => {}
                Some(settled) = running.join_next(), if !running.is_empty() => self.settle(settled).await,
                () = tokio::time::sleep(idle) => {}
                () = self.stop.cancelled() => break,
            }
        }
        // Running calls may finish; what does not is made again after the start.
        while let Some(settled) = running.join_next().await {
            self.settle(settled).await;
        }
    }

    fn idle(&self) -> Duration {
        let lanes = self.queue.lanes();
        let until_ms = lanes.next_due_ms().map(|due| due.saturating_sub(self.clock.now_ms()).max(1));
        until_ms.and_then(|ms| u64::try_from(ms).ok()).map_or(IDLE_MAX, Duration::from_millis).min(IDLE_MAX)
    }

    async fn refill(&self) {
        loop {
            let Some(refill) = self.queue.lanes().wants_refill() else { return };
            match self.read(refill).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(problem) => {
                    tracing::warn!(system = self.system, %problem, "deliveries cannot be read");
                    tokio::select! {
                        () = tokio::time::sleep(STORE_RETRY) => {}
                        () = self.stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Whether there is nothing more to read for now.
    async fn read(&self, refill: Refill) -> Result<bool, busbar_core::Problem> {
        let parked = self.store.parked_keys(&self.system).await?;
        let limit = u32::try_from(refill.room).unwrap_or(u32::MAX);
        let found = self.store.ready(&self.system, refill.after, limit).await?;
        let last = found.len() < refill.room;
        let mut behind = Vec::new();
        {
            let mut lanes = self.queue.lanes();
            parked.into_iter().for_each(|key| lanes.hold(key));
            for delivery in found {
                if let Offer::Behind(job) = lanes.refill(job(delivery)) {
                    behind.push(job);
                }
            }
            if last {
                lanes.caught_up(refill);
            }
        }
        self.attempter.park_behind(behind).await;
        Ok(last)
    }

    async fn settle(&self, settled: Result<Settled, tokio::task::JoinError>) {
        match settled {
            Ok(Settled::Done { key }) => self.queue.lanes().done(key.as_deref()),
            Ok(Settled::Again(delivery)) => self.queue.lanes().retry(delivery),
            Ok(Settled::Parked { key }) => {
                let behind = self.queue.lanes().park(&key);
                self.attempter.park_behind(behind).await;
            }
            Err(error) => tracing::error!(system = self.system, %error, "a delivery's task ended unexpectedly"),
        }
    }
}

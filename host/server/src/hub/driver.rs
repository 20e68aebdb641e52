//! Drives the engine of `busbar-core`: what happens goes in as events, what it says is done here over the ports.

use super::WriterThread;
use super::entries;
use busbar_core::engine::{Engine, Event, Step, SystemStatus, Ticket, Work};
use busbar_core::ports::{Chunks, Clock, Store};
use busbar_core::{Code, Commit, Committed, Intake, Problem, Refill, Shards, StoredDelivery};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Inputs that wait for the store at once; more wait before they are taken.
const INPUTS_MAX: usize = 8_192;
const IDLE_MAX_MS: i64 = 60_000;
const NEWS: Duration = Duration::from_secs(30);

/// A handle for whoever has something to write.
pub type Committer = Arc<Driver>;

/// An attempt that the engine wants made.
pub enum Making {
    Delivery { delivery: StoredDelivery, fresh: bool },
    File { system: String, deliveries: Vec<Work> },
}

/// Attempts to be made, in the engine's order. The engine cannot wait for room; what it starts at once is bounded, by
/// `limits.concurrency` of each system.
pub type Attempts = mpsc::UnboundedReceiver<Making>;

/// The result of a commit, when it is there.
pub struct Pending(oneshot::Receiver<Result<Committed, Problem>>);

impl Pending {
    /// # Errors
    /// `store-unavailable`: not known to be written.
    pub async fn wait(self) -> Result<Committed, Problem> {
        self.0.await.unwrap_or_else(|_| Err(stopping()))
    }
}

struct Unconfirmed {
    answer: oneshot::Sender<Result<Committed, Problem>>,
    _permit: OwnedSemaphorePermit,
}

/// The engine with the ports that it is driven over.
pub struct Driver {
    engine: Mutex<Engine>,
    waiting: Mutex<HashMap<Ticket, Unconfirmed>>,
    tickets: AtomicU64,
    inputs: Arc<Semaphore>,
    store: Arc<dyn Store>,
    writer: WriterThread,
    clock: Arc<dyn Clock>,
    wanted: mpsc::UnboundedSender<Making>,
    wake: Notify,
    tasks: TaskTracker,
}

impl Driver {
    /// Whoever makes attempts takes them from the second one.
    pub fn new(
        engine: Engine,
        store: Arc<dyn Store>,
        writer: WriterThread,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, Attempts) {
        let (wanted, attempts) = mpsc::unbounded_channel();
        let driver = Self {
            engine: Mutex::new(engine),
            waiting: Mutex::default(),
            tickets: AtomicU64::new(1),
            inputs: Arc::new(Semaphore::new(INPUTS_MAX)),
            store,
            writer,
            clock,
            wanted,
            wake: Notify::new(),
            tasks: TaskTracker::new(),
        };
        (Arc::new(driver), attempts)
    }

    /// Starts making deliveries of these shards.
    pub fn start(self: &Arc<Self>, shards: Shards, stop: CancellationToken) {
        tokio::spawn(self.clone().keep_time(stop));
        self.feed([Event::Owns { shards }]);
    }

    /// No new attempts from now on.
    pub fn stop(self: &Arc<Self>) {
        self.feed([Event::Stop]);
    }

    /// Waits until what runs has ended and is written.
    pub async fn drained(&self) {
        while !self.engine().is_idle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Hands a commit over; those handed over earlier are written earlier. Waits while too many wait already.
    ///
    /// # Errors
    /// `store-unavailable` when the hub is stopping.
    pub async fn submit(self: &Arc<Self>, commit: Commit) -> Result<Pending, Problem> {
        let mut pending = self.submit_all(vec![commit], false).await?;
        pending.pop().ok_or_else(stopping)
    }

    /// Hands commits over together. `patient`: while the store is away they wait for it, in their order.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_all(self: &Arc<Self>, commits: Vec<Commit>, patient: bool) -> Result<Vec<Pending>, Problem> {
        let mut pending = Vec::with_capacity(commits.len());
        let mut events = Vec::with_capacity(commits.len());
        for commit in commits {
            let permit = self.inputs.clone().acquire_owned().await.map_err(|_| stopping())?;
            let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
            let (answer, answered) = oneshot::channel();
            lock(&self.waiting).insert(ticket, Unconfirmed { answer, _permit: permit });
            pending.push(Pending(answered));
            events.push(Event::Input { ticket, patient, commit: Box::new(commit) });
        }
        self.feed(events);
        Ok(pending)
    }

    /// Writes a commit and waits until it is durable.
    ///
    /// # Errors
    /// `store-unavailable`: nothing was written, or nobody knows.
    pub async fn commit(self: &Arc<Self>, commit: Commit) -> Result<Committed, Problem> {
        self.submit(commit).await?.wait().await
    }

    /// Writes a large commit in a transaction of its own.
    ///
    /// # Errors
    /// As [`Store::commit_stream`].
    pub async fn commit_stream(self: &Arc<Self>, head: Commit, chunks: Chunks<'_>) -> Result<Option<Intake>, Problem> {
        let result = self.store.commit_stream(head, chunks).await;
        self.feed([Event::News]);
        result
    }

    /// How each system is doing.
    pub fn statuses(&self) -> BTreeMap<String, SystemStatus> {
        self.engine().statuses().map(|(name, status)| (name.to_string(), status)).collect()
    }

    /// Shards with deliveries running.
    pub fn busy(&self) -> Shards {
        self.engine().busy()
    }

    /// Tells the engine what happened and does what it says.
    pub fn feed(self: &Arc<Self>, events: impl IntoIterator<Item = Event>) {
        let now_ms = self.clock.now_ms();
        let mut steps = Vec::new();
        let sooner = {
            let mut engine = self.engine();
            let before = engine.wake_ms();
            engine.handle(events, now_ms, &mut steps);
            engine.wake_ms() < before || (before.is_none() && engine.wake_ms().is_some())
        };
        if sooner {
            self.wake.notify_one();
        }
        for step in steps {
            self.perform(step);
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    fn perform(self: &Arc<Self>, step: Step) {
        match step {
            Step::Write(commits) => self.spawn(self.clone().write(commits)),
            Step::Confirm { ticket, result } => {
                if let Some(waiting) = lock(&self.waiting).remove(&ticket) {
                    // Whoever asked may be gone; what is written is written.
                    let _ = waiting.answer.send(result);
                }
            }
            Step::Attempt { delivery, fresh } => self.want(Making::Delivery { delivery, fresh }),
            Step::File { system, deliveries } => self.want(Making::File { system, deliveries }),
            Step::Read { system, refill } => self.spawn(self.clone().read(system, refill)),
        }
    }

    fn want(&self, wanted: Making) {
        // Nobody makes attempts any more: it is made after the next start.
        let _ = self.wanted.send(wanted);
    }

    /// Does `work` as a part of what [`Self::drained`] waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn(work));
    }

    async fn write(self: Arc<Self>, commits: Vec<Commit>) {
        let started = std::time::Instant::now();
        metrics::histogram!("busbar_commit_group_size").record(commits.len() as f64);
        let store = self.store.clone();
        let left_out = commits.iter().filter_map(|commit| commit.intake.as_ref()).map(|intake| intake.left_out).sum();
        let written = self.writer.run(async move { store.commit(commits).await }).await;
        let result = written.unwrap_or_else(|| Err(Problem::new(Code::Internal, "the write ended unexpectedly")));
        metrics::histogram!("busbar_commit_seconds").record(started.elapsed());
        match &result {
            Ok(committed) => entries::count_committed(left_out, committed),
            Err(problem) => {
                metrics::counter!("busbar_commit_failures_total").increment(1);
                // That the store is away, it says itself, once and not with every write.
                if problem.code != Code::StoreUnavailable {
                    tracing::error!(%problem, "a write failed");
                }
            }
        }
        self.feed([Event::Written(result)]);
    }

    async fn read(self: Arc<Self>, system: String, refill: Refill) {
        let room = u32::try_from(refill.room).unwrap_or(u32::MAX);
        let found = self.store.ready(&system, refill.shards, refill.after, room).await;
        if let Err(problem) = &found {
            tracing::warn!(system, %problem, "deliveries cannot be read");
        }
        self.feed([Event::Read { system, refill, found }]);
    }

    async fn keep_time(self: Arc<Self>, stop: CancellationToken) {
        let mut news = tokio::time::interval(NEWS);
        loop {
            let now_ms = self.clock.now_ms();
            let until_ms = self.engine().wake_ms().unwrap_or(i64::MAX).saturating_sub(now_ms).clamp(1, IDLE_MAX_MS);
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(until_ms.unsigned_abs())) => self.feed([Event::Time]),
                // A write that was given up may be applied later.
                _ = news.tick() => self.feed([Event::News]),
                () = stop.cancelled() => return,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopping() -> Problem {
    Problem::new(Code::StoreUnavailable, "the hub is stopping")
}

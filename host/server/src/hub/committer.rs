//! The one writer: gathers what is to be written into one transaction after another. While one is
//! being synced the next gathers, so that load makes the groups larger and not the queue longer.

use super::Dispatcher;
use busbar_core::ports::{Chunks, Store};
use busbar_core::{Code, Commit, Committed, Intake, Problem};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

const QUEUE_MAX: usize = 1024;
const GROUP_MAX: usize = 512;

type Answer = oneshot::Sender<Result<Committed, Problem>>;

/// A handle to the writer.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<(Commit, Answer)>,
    store: Arc<dyn Store>,
    dispatcher: Arc<Dispatcher>,
}

/// The result of a commit, when it is there.
pub struct Pending(oneshot::Receiver<Result<Committed, Problem>>);

impl Pending {
    /// # Errors
    /// `store-unavailable`: nothing was written.
    pub async fn wait(self) -> Result<Committed, Problem> {
        self.0.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl Committer {
    /// Starts the writer; it ends when every handle is gone.
    pub fn start(store: Arc<dyn Store>, dispatcher: Arc<Dispatcher>) -> Self {
        let (queue, incoming) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write(store.clone(), dispatcher.clone(), incoming));
        Self { queue, store, dispatcher }
    }

    /// Hands a commit over; those handed over earlier are written earlier. Waits while the queue is full.
    ///
    /// # Errors
    /// `store-unavailable` when the writer has ended.
    pub async fn submit(&self, commit: Commit) -> Result<Pending, Problem> {
        let (answer, pending) = oneshot::channel();
        self.queue.send((commit, answer)).await.map_err(|_| stopping())?;
        Ok(Pending(pending))
    }

    /// Writes a commit and waits until it is durable.
    ///
    /// # Errors
    /// `store-unavailable`: nothing was written.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, Problem> {
        self.submit(commit).await?.wait().await
    }

    /// Writes a large commit in a transaction of its own.
    ///
    /// # Errors
    /// As [`Store::commit_stream`].
    pub async fn commit_stream(&self, head: Commit, chunks: Chunks<'_>) -> Result<Option<Intake>, Problem> {
        let result = self.store.commit_stream(head, chunks).await;
        self.dispatcher.fell_behind();
        result
    }
}

fn stopping() -> Problem {
    Problem::new(Code::StoreUnavailable, "the hub is stopping")
}

async fn write(store: Arc<dyn Store>, dispatcher: Arc<Dispatcher>, mut incoming: mpsc::Receiver<(Commit, Answer)>) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while incoming.recv_many(&mut group, GROUP_MAX).await > 0 {
        let (commits, answers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let started = std::time::Instant::now();
        metrics::histogram!("busbar_commit_group_size").record(commits.len() as f64);
        let results = store.commit(commits).await;
        metrics::histogram!("busbar_commit_seconds").record(started.elapsed());
        match results {
            Ok(results) => {
                for (result, answer) in results.into_iter().zip(answers) {
                    if let Ok(accepted) = &result {
                        let deliveries = accepted.iter().flat_map(|a| a.deliveries.iter().cloned());
                        dispatcher.offer(deliveries);
                    }
                    // Whoever asked may be gone; what is written is written.
                    let _ = answer.send(Ok(result));
                }
            }
            Err(problem) => {
                metrics::counter!("busbar_commit_failures_total").increment(1);
                tracing::error!(%problem, "the store cannot be written");
                // Written all the same, perhaps, when the connection broke at the end.
                dispatcher.fell_behind();
                for answer in answers {
                    let _ = answer.send(Err(problem.clone()));
                }
            }
        }
    }
}

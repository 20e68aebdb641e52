//! The connection: made, watched, and made again.

use super::consume::{Takers, Taking};
use super::topology::Topology;
use super::transport::{Reading, reply};
use busbar_core::ports::Received;
use busbar_core::{Code, Payload, Problem, Shards};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// A connection that lived so long without anything to acknowledge was a good one.
const LASTING: Duration = Duration::from_secs(60);
/// Between attempts where the first message ends each connection: long enough for somebody else to move it.
const STEP_ASIDE: Duration = Duration::from_secs(30);
pub(super) const LEAVING: &str = "the hub is stopping";
/// Publishers, each with a channel of its own. One batch is on its way on each, so that confirms are waited for side by side, and a
/// return can only be of the batch that waits on its channel.
pub const PUBLISHERS: usize = 4;

/// Questions that wait for their answer, by correlation id.
pub type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Result<Payload, Problem>>>>>;

/// One connection that works.
pub struct Live {
    /// Grows with every connection.
    pub number: u64,
    pub asking: Channel,
    connection: Connection,
}

impl Live {
    pub fn works(&self) -> bool {
        self.connection.status().connected() && self.asking.status().connected()
    }

    /// A channel with confirms.
    ///
    /// # Errors
    /// `broker-unavailable`.
    pub async fn confirmed(&self) -> Result<Channel, Problem> {
        confirmed(&self.connection).await
    }

    /// How many messages a queue has, asked on a channel of its own: of a queue that is gone the broker closes it.
    ///
    /// # Errors
    /// `broker-unavailable`.
    pub async fn length(&self, queue: &str) -> Result<u64, Problem> {
        let channel = self.connection.create_channel().await.map_err(|e| failed("no channel", &e))?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        let count = found.map_err(|e| failed("no such queue", &e))?.message_count();
        channel.close(200, "it is counted".into()).await.map_err(|e| failed("no end", &e))?;
        Ok(count.into())
    }

    /// Says goodbye. A socket that just closes is a failure in the broker's log.
    async fn close(&self) {
        let ended = match self.asking.close(200, LEAVING.into()).await {
            Ok(()) => self.connection.close(200, LEAVING.into()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "the connection was closed already");
        }
    }

    /// Bytes that the properties of a message may have.
    pub fn room(&self) -> usize {
        super::fit::room(self.connection.configuration().frame_max())
    }
}

async fn confirmed(connection: &Connection) -> Result<Channel, Problem> {
    let channel = connection.create_channel().await.map_err(|e| failed("no channel", &e))?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|e| failed("no confirms", &e))?;
    Ok(channel)
}

fn failed(what: &str, error: &lapin::Error) -> Problem {
    Problem::new(Code::BrokerUnavailable, format!("{what}: {error}"))
}

/// What the supervisor needs.
pub struct Link {
    pub url: SecretString,
    pub topology: Topology,
    pub prefetch: u16,
    pub reading: Reading,
    pub received: mpsc::Sender<Received>,
    pub takers: Arc<Takers>,
    /// A hub without any shard takes no messages either.
    pub owned: watch::Receiver<Shards>,
    pub waiting: Waiting,
    pub live: watch::Sender<Option<Arc<Live>>>,
    pub stop: CancellationToken,
}

impl Link {
    async fn connect_once(&self, number: u64) -> Result<(Arc<Live>, Consumer), Problem> {
        let properties = ConnectionProperties::default().with_connection_name("busbar".into());
        let url = self.url.expose_secret();
        let connection = Connection::connect(url, properties).await.map_err(|e| failed("cannot connect", &e))?;
        let declaring = connection.create_channel().await.map_err(|e| failed("no channel", &e))?;
        self.topology.declare(&declaring).await?;
        let asking = confirmed(&connection).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies =
            asking.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default()).await;
        let replies = replies.map_err(|e| failed("cannot take answers", &e))?;
        Ok((Arc::new(Live { number, asking, connection }), replies))
    }

    /// Connects. A broker that is just starting may take the connection and never greet: that must not be the end, neither
    /// at the start nor later.
    ///
    /// # Errors
    /// `broker-unavailable` with the reason.
    pub async fn connect(&self, number: u64) -> Result<(Arc<Live>, Consumer), Problem> {
        let slow = |_| Problem::new(Code::BrokerUnavailable, "the broker does not answer");
        tokio::time::timeout(CONNECT_MAX, self.connect_once(number)).await.map_err(slow)?
    }

    /// Keeps a connection until `stop`.
    pub async fn run(self, first: (Arc<Live>, Consumer)) {
        let mut next = Some(first);
        let mut number = 1;
        let mut pause = RETRY_FIRST;
        let mut trouble = Trouble::default();
        while !self.stop.is_cancelled() {
            let (live, replies) = match next.take() {
                Some(connected) => connected,
                None => match self.connect(number).await {
                    Ok(connected) => connected,
                    Err(problem) => {
                        tracing::warn!(%problem, "no broker; trying again");
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            () = self.stop.cancelled() => return,
                        }
                        pause = (pause * 2).min(RETRY_MAX);
                        continue;
                    }
                },
            };
            number = live.number + 1;
            let began = (Instant::now(), self.takers.acknowledged());
            tracing::info!(connection = live.number, "connected to the broker");
            metrics::counter!("busbar_broker_connections_total").increment(1);
            self.live.send_replace(Some(live.clone()));
            let taking = self.taking(trouble.cautious);
            tokio::select! {
                ended = taking.run(&live.connection, self.owned.clone()) => {
                    if let Err(problem) = ended {
                        tracing::debug!(%problem, "taking messages ended");
                    }
                }
                () = self.answers(replies) => {}
                () = watch_over(&live) => {}
                () = self.stop.cancelled() => {}
            }
            self.live.send_replace(None);
            if self.stop.is_cancelled() {
                self.takers.close().await;
                live.close().await;
            }
            self.takers.clear();
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
            if self.stop.is_cancelled() {
                return;
            }
            let settled = self.takers.acknowledged() != began.1;
            let lasted = began.0.elapsed() > LASTING;
            if settled || lasted {
                pause = RETRY_FIRST;
            }
            if lasted {
                trouble = Trouble::default();
            }
            trouble.note(&live, &self.topology.incoming(), settled);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
            pause = (pause * 2).min(if trouble.cautious { STEP_ASIDE } else { RETRY_MAX });
        }
    }

    fn taking(&self, cautious: bool) -> Taking<'_> {
        Taking {
            topology: &self.topology,
            prefetch: self.prefetch,
            reading: &self.reading,
            cautious,
            takers: &self.takers,
            received: &self.received,
        }
    }

    async fn answers(&self, mut replies: Consumer) {
        while let Some(Ok(delivery)) = replies.next().await {
            let (correlation, payload) = reply(delivery);
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
            if let Some(waiting) = waiting {
                // Whoever asked may have given up.
                let _ = waiting.send(payload);
            }
        }
    }
}

/// Connections that did not last, one after another.
#[derive(Default)]
struct Trouble {
    ended: u32,
    /// Messages are taken one at a time: should one of them end the connection, its neighbours are not handed out in vain.
    cautious: bool,
}

impl Trouble {
    fn note(&mut self, live: &Live, queue: &str, settled: bool) {
        self.ended += 1;
        if self.cautious && !settled {
            metrics::counter!("busbar_broker_stuck_total").increment(1);
            tracing::error!(
                connection = live.number,
                "the connection ends before the first message of `{queue}` is acknowledged: look at the queue's head, move or drop it; the hub \
                 leaves the queue alone for up to 30 seconds each time"
            );
        } else {
            tracing::warn!(connection = live.number, "the connection to the broker ended");
        }
        self.cautious = self.ended > 1;
    }
}

// A channel can be closed by the broker while the connection lives on.
async fn watch_over(live: &Live) {
    while live.works() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

//! The connection: made, watched, and made again.

use super::consume::{Takers, Taking};
use super::topology::Topology;
use super::transport::reply;
use busbar_core::ports::Received;
use busbar_core::{Code, Payload, Problem, Shards};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// Channels for publishing. One batch is on its way on each, so that confirms are waited for side by side, and a
/// return can only be of the batch that waits on its channel.
pub const PUBLISHERS: usize = 4;

/// Questions that wait for their answer, by correlation id.
pub type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Result<Payload, Problem>>>>>;

/// One connection that works.
pub struct Live {
    /// Grows with every connection.
    pub number: u64,
    pub publishing: Vec<Channel>,
    pub asking: Channel,
    connection: Connection,
}

impl Live {
    pub fn works(&self) -> bool {
        self.connection.status().connected()
            && self.publishing.iter().chain([&self.asking]).all(|c| c.status().connected())
    }
}

/// What the supervisor needs.
pub struct Link {
    pub url: SecretString,
    pub topology: Topology,
    pub prefetch: u16,
    /// Attributes that are written without a prefix.
    pub bare: Vec<String>,
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
        let failed = |what: &str, e: &lapin::Error| Problem::new(Code::BrokerUnavailable, format!("{what}: {e}"));
        let properties = ConnectionProperties::default().with_connection_name("busbar".into());
        let url = self.url.expose_secret();
        let connection = Connection::connect(url, properties).await.map_err(|e| failed("cannot connect", &e))?;
        let channel = async || connection.create_channel().await.map_err(|e| failed("no channel", &e));
        let confirmed = async || {
            let channel = channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|e| failed("no confirms", &e))?;
            Ok::<_, Problem>(channel)
        };
        self.topology.declare(&channel().await?).await?;
        let asking = confirmed().await?;
        let mut publishing = Vec::with_capacity(PUBLISHERS);
        for _ in 0..PUBLISHERS {
            publishing.push(confirmed().await?);
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies =
            asking.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default()).await;
        let replies = replies.map_err(|e| failed("cannot take answers", &e))?;
        Ok((Arc::new(Live { number, publishing, asking, connection }), replies))
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
            pause = RETRY_FIRST;
            number = live.number + 1;
            tracing::info!(connection = live.number, "connected to the broker");
            metrics::counter!("busbar_broker_connections_total").increment(1);
            self.live.send_replace(Some(live.clone()));
            let taking = self.taking();
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
            self.takers.clear();
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
            if !self.stop.is_cancelled() {
                tracing::warn!(connection = live.number, "the connection to the broker ended");
            }
        }
    }

    fn taking(&self) -> Taking<'_> {
        Taking {
            topology: &self.topology,
            prefetch: self.prefetch,
            bare: &self.bare,
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

// A channel can be closed by the broker while the connection lives on.
async fn watch_over(live: &Live) {
    while live.works() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

//! The connection: made, watched, and made again.

use super::topology::Topology;
use super::transport::{incoming, reply};
use busbar_core::ports::Received;
use busbar_core::{Code, Payload, Problem};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
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

/// Questions that wait for their answer, by correlation id.
pub type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Payload>>>>;

/// One connection that works.
pub struct Live {
    /// Grows with every connection; part of every tag.
    pub number: u64,
    pub consuming: Channel,
    pub publishing: Channel,
    pub asking: Channel,
    connection: Connection,
}

impl Live {
    pub fn works(&self) -> bool {
        self.connection.status().connected()
            && [&self.consuming, &self.publishing, &self.asking].iter().all(|c| c.status().connected())
    }
}

/// What the supervisor needs.
pub struct Link {
    pub url: SecretString,
    pub topology: Topology,
    pub prefetch: u16,
    pub received: mpsc::Sender<Received>,
    pub waiting: Waiting,
    pub live: watch::Sender<Option<Arc<Live>>>,
    pub stop: CancellationToken,
}

impl Link {
    /// Connects once, for the check at the start.
    ///
    /// # Errors
    /// `broker-unavailable` with the reason.
    pub async fn connect(&self, number: u64) -> Result<(Arc<Live>, Consumer, Consumer), Problem> {
        let failed = |what: &str, e: &lapin::Error| Problem::new(Code::BrokerUnavailable, format!("{what}: {e}"));
        let properties = ConnectionProperties::default().with_connection_name("busbar".into());
        let url = self.url.expose_secret();
        let connection = Connection::connect(url, properties).await.map_err(|e| failed("cannot connect", &e))?;
        let channel = async || connection.create_channel().await.map_err(|e| failed("no channel", &e));
        let (consuming, publishing, asking) = (channel().await?, channel().await?, channel().await?);
        self.topology.declare(&consuming).await?;
        for confirmed in [&publishing, &asking] {
            confirmed.confirm_select(ConfirmSelectOptions::default()).await.map_err(|e| failed("no confirms", &e))?;
        }
        let qos = consuming.basic_qos(self.prefetch, BasicQosOptions::default()).await;
        qos.map_err(|e| failed("no prefetch", &e))?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies =
            asking.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default()).await;
        let replies = replies.map_err(|e| failed("cannot take answers", &e))?;
        let queue = self.topology.incoming();
        let messages = consuming
            .basic_consume(queue.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await;
        let messages = messages.map_err(|e| failed("cannot consume", &e))?;
        Ok((Arc::new(Live { number, consuming, publishing, asking, connection }), messages, replies))
    }

    // A broker that is just starting may take the connection and never greet: that must not be the end.
    async fn connect_in_time(&self, number: u64) -> Result<(Arc<Live>, Consumer, Consumer), Problem> {
        let slow = |_| Problem::new(Code::BrokerUnavailable, "the broker does not answer");
        tokio::time::timeout(CONNECT_MAX, self.connect(number)).await.map_err(slow)?
    }

    /// Keeps a connection until `stop`.
    pub async fn run(self, first: (Arc<Live>, Consumer, Consumer)) {
        let mut next = Some(first);
        let mut number = 1;
        let mut pause = RETRY_FIRST;
        while !self.stop.is_cancelled() {
            let (live, messages, replies) = match next.take() {
                Some(connected) => connected,
                None => match self.connect_in_time(number).await {
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
            tokio::select! {
                () = self.consume(&live, messages) => {}
                () = self.answers(replies) => {}
                () = watch_over(&live) => {}
                () = self.stop.cancelled() => {}
            }
            self.live.send_replace(None);
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
            if !self.stop.is_cancelled() {
                tracing::warn!(connection = live.number, "the connection to the broker ended");
            }
        }
    }

    // lapin ends the stream silently when the broker cancels the consumer: either way, connect anew.
    async fn consume(&self, live: &Live, mut messages: Consumer) {
        while let Some(delivery) = messages.next().await {
            let Ok(delivery) = delivery else { return };
            if self.received.send(incoming(live.number, delivery)).await.is_err() {
                return;
            }
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

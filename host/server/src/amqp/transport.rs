//! The port `Transport` over RabbitMQ.

use super::consume::Takers;
use super::link::{Link, Live, Waiting};
use super::publish::{self, Publishers, down};
use super::topology::Topology;
use crate::cloudevents::AMQP_PREFIX;
use crate::config::model::AmqpConfig;
use async_trait::async_trait;
use busbar_core::ports::{Confirms, Outgoing, Received, Tag, Transport};
use busbar_core::{Code, Payload, Problem, Shards};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use secrecy::SecretString;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// RabbitMQ behind a connection that comes back by itself.
pub struct RabbitTransport {
    received: Mutex<mpsc::Receiver<Received>>,
    publishers: Publishers,
    takers: Arc<Takers>,
    live: watch::Receiver<Option<Arc<Live>>>,
    waiting: Waiting,
    timeout: Duration,
}

impl RabbitTransport {
    /// Connects, declares the topology, and keeps the connection from then on.
    ///
    /// # Errors
    /// `broker-unavailable` when there is no broker now, or it has something else under our names.
    pub async fn start(
        config: &AmqpConfig,
        url: SecretString,
        topology: Topology,
        owned: watch::Receiver<Shards>,
        stop: CancellationToken,
    ) -> Result<Self, Problem> {
        let (received, incoming) = mpsc::channel(usize::from(config.prefetch));
        let (live_sender, live) = watch::channel(None);
        let takers = Arc::new(Takers::default());
        let waiting = Waiting::default();
        let timeout = Duration::from_millis(config.confirm_timeout_ms);
        let link = Link {
            url,
            topology,
            prefetch: config.prefetch,
            received,
            takers: takers.clone(),
            owned,
            waiting: waiting.clone(),
            live: live_sender,
            stop,
        };
        let first = link.connect(1).await?;
        // Whoever starts publishing right away finds the connection.
        link.live.send_replace(Some(first.0.clone()));
        tokio::spawn(link.run(first));
        let publishers = Publishers::start(&live, timeout);
        Ok(Self { received: Mutex::new(incoming), publishers, takers, live, waiting, timeout })
    }
}

pub(super) fn is_live(live: &watch::Receiver<Option<Arc<Live>>>) -> Option<Arc<Live>> {
    live.borrow().clone().filter(|l| l.works())
}

#[async_trait]
impl Transport for RabbitTransport {
    async fn receive(&self, max: usize) -> Result<Vec<Received>, Problem> {
        let mut batch = Vec::with_capacity(max);
        match self.received.lock().await.recv_many(&mut batch, max).await {
            0 => Err(down("the hub is stopping")),
            _ => Ok(batch),
        }
    }

    async fn ack(&self, tags: &[Tag]) -> Result<(), Problem> {
        self.takers.ack(tags).await
    }

    async fn hand_over(&self, batch: Vec<Outgoing>) -> Confirms {
        let mut pending = Vec::with_capacity(batch.len());
        for outgoing in batch {
            pending.push(self.publishers.publish(outgoing).await);
        }
        Box::pin(async move {
            let mut results = Vec::with_capacity(pending.len());
            for result in pending {
                results.push(result.await.unwrap_or_else(|_| Err(down("the hub is stopping"))));
            }
            results
        })
    }

    fn connected(&self) -> bool {
        is_live(&self.live).is_some()
    }

    async fn ask(&self, question: Outgoing, deadline_ms: u64) -> Result<Payload, Problem> {
        let live = is_live(&self.live).ok_or_else(|| down("no connection to the broker"))?;
        let correlation = crate::hub::new_id();
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation.clone(), answer);
        let question = Outgoing {
            reply_to: Some("amq.rabbitmq.reply-to".into()),
            correlation_id: Some(correlation.clone()),
            ..question
        };
        let asked = async {
            let published = publish::publish(&live.asking, vec![question], self.timeout).await;
            published.into_iter().next().unwrap_or_else(|| Err(down("not published")))?;
            answered.await.map_err(|_| down("the connection ended before the answer came"))
        };
        let result = tokio::time::timeout(Duration::from_millis(deadline_ms), asked).await;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
        result.unwrap_or_else(|_| Err(Problem::new(Code::AnswerTimeout, format!("no answer within {deadline_ms} ms"))))
    }
}

/// Attributes as AMQP headers (CloudEvents AMQP binding, section 3.1).
pub(super) fn fields(payload: &Payload) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in &payload.attributes {
        table.insert(format!("{AMQP_PREFIX}{name}").into(), AMQPValue::LongString(value.as_str().into()));
    }
    table
}

fn payload(properties: &lapin::BasicProperties, body: Vec<u8>) -> Payload {
    let mut attributes = Vec::new();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        // Brokers' plugins that translate from AMQP 1.0 write `_` where the binding has `:`.
        let name = name.as_str();
        let Some(name) = name.strip_prefix(AMQP_PREFIX).or_else(|| name.strip_prefix("cloudEvents_")) else { continue };
        if let Some(text) = text(value) {
            attributes.push((name.to_string(), text));
        }
    }
    Payload { attributes, content_type: properties.content_type().as_ref().map(ToString::to_string), body }
}

fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::Boolean(yes) => yes.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        _ => return None,
    })
}

pub(super) fn incoming(connection: u64, delivery: Delivery) -> Received {
    let optional = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
    Received {
        tag: Tag { connection, number: delivery.delivery_tag },
        routing_key: delivery.routing_key.to_string(),
        reply_to: optional(delivery.properties.reply_to()),
        correlation_id: optional(delivery.properties.correlation_id()),
        payload: payload(&delivery.properties, delivery.data),
    }
}

pub(super) fn reply(delivery: Delivery) -> (String, Payload) {
    let correlation = delivery.properties.correlation_id().as_ref().map(ToString::to_string).unwrap_or_default();
    (correlation, payload(&delivery.properties, delivery.data))
}

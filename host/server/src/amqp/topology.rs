//! Exchanges and queues (design, section 7). Declared at every connection, so that a broker that does
//! not have them as they must be is noticed before a message is taken.

use super::frames::down;
use busbar_core::{Code, Problem};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

/// Times a message may come back before the broker puts it aside. Large, because a hub that is killed
/// hands messages back as well; set, because RabbitMQ 4 drops after 20 otherwise.
pub const DELIVERY_LIMIT: i32 = 100_000;
/// Looks at a dead letter before it is dropped. RabbitMQ 3.10 takes no "without limit": it drops at the first return with -1.
pub const DEAD_LOOKS_MAX: i32 = i32::MAX;
pub const LIMIT_ARGUMENT: &str = "x-delivery-limit";

/// A queue that the hub declares for a system that speaks canonical messages over AMQP.
#[derive(Clone, Debug)]
pub struct SystemQueue {
    pub queue: String,
    /// Message types, bound on `busbar.out`; `*` for all.
    pub messages: Vec<String>,
    /// Question types, bound on `busbar.requests`.
    pub questions: Vec<String>,
}

/// What a queue of the hub's is declared with, as far as policies can undo it.
#[derive(Clone, Debug)]
pub struct KeptQueue {
    pub queue: String,
    pub delivery_limit: i64,
    /// What it gives up is put aside, and it refuses messages when it is full.
    pub puts_aside: bool,
}

/// Everything the hub declares.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub prefix: String,
    pub queues: Vec<SystemQueue>,
    /// Publishers with an exchange of their own.
    pub publishers: Vec<String>,
}

impl Topology {
    /// The exchange of a publisher that has one of its own.
    pub fn incoming_of(&self, publisher: &str) -> String {
        format!("{}.{publisher}", self.incoming())
    }

    pub fn incoming(&self) -> String {
        format!("{}.in", self.prefix)
    }

    pub fn outgoing(&self) -> String {
        format!("{}.out", self.prefix)
    }

    pub fn requests(&self) -> String {
        format!("{}.requests", self.prefix)
    }

    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// Every queue that keeps messages.
    pub fn kept(&self) -> Vec<KeptQueue> {
        let all = std::iter::once(self.incoming()).chain(self.queues.iter().map(|system| system.queue.clone()));
        let kept = |queue| KeptQueue { queue, delivery_limit: DELIVERY_LIMIT.into(), puts_aside: true };
        let dead = KeptQueue { queue: self.dead(), delivery_limit: DEAD_LOOKS_MAX.into(), puts_aside: false };
        all.map(kept).chain([dead]).collect()
    }

    /// Declares exchanges, queues and bindings; of the dead letters only the exchange, see [`super::dead`].
    ///
    /// # Errors
    /// `broker-unsafe`, naming what exists with other properties and what to do.
    pub async fn declare(&self, connection: &Connection) -> Result<(), Problem> {
        let channel = &connection.create_channel().await.map_err(|e| down(&e.to_string()))?;
        let own: Vec<_> = self.publishers.iter().map(|name| self.incoming_of(name)).collect();
        for exchange in [self.incoming(), self.outgoing(), self.requests(), self.dead()].iter().chain(&own) {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let result = channel
                .exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, options, FieldTable::default())
                .await;
            result.map_err(|e| different("exchange", exchange, &e))?;
        }
        // A hub that takes over from a killed one must not be handed later messages while the broker still
        // counts the earlier ones as the other's: one consumer at a time keeps the order.
        let one_at_a_time = ("x-single-active-consumer", AMQPValue::Boolean(true));
        let arguments = [self.dead_letters(), vec![one_at_a_time]].concat();
        self.queue(channel, &self.incoming(), &arguments).await?;
        for exchange in std::iter::once(&self.incoming()).chain(&own) {
            bind(channel, &self.incoming(), exchange, "#").await?;
        }
        for system in &self.queues {
            self.queue(channel, &system.queue, &self.dead_letters()).await?;
            for kind in &system.messages {
                let key = if kind == "*" { "#" } else { kind };
                bind(channel, &system.queue, &self.outgoing(), key).await?;
            }
            for kind in &system.questions {
                bind(channel, &system.queue, &self.requests(), kind).await?;
            }
        }
        Ok(())
    }

    fn dead_letters(&self) -> Vec<(&'static str, AMQPValue)> {
        vec![
            (LIMIT_ARGUMENT, AMQPValue::LongInt(DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", AMQPValue::LongString(self.dead().as_str().into())),
            ("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into())),
            // At-least-once dead-lettering needs it (RabbitMQ, quorum queues, dead lettering).
            ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ]
    }

    async fn queue(&self, channel: &Channel, name: &str, more: &[(&'static str, AMQPValue)]) -> Result<(), Problem> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(name.into(), options, quorum(more)).await;
        declared.map(drop).map_err(|e| different("queue", name, &e))
    }
}

/// Arguments of a quorum queue.
pub fn quorum(more: &[(&'static str, AMQPValue)]) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (key, value) in more {
        arguments.insert((*key).into(), value.clone());
    }
    arguments
}

pub async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Problem> {
    let bound = channel
        .queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default())
        .await;
    bound.map_err(|e| different("binding", queue, &e))
}

pub fn different(what: &str, name: &str, error: &lapin::Error) -> Problem {
    let text = format!(
        "{what} `{name}`: {error}; if it exists with other properties, drain and delete it, or set another amqp.prefix"
    );
    Problem::new(Code::BrokerUnsafe, text)
}

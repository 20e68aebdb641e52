//! Exchanges and queues (design, section 7). Declared at every connection, so that a broker that does
//! not have them as they must be is noticed before a message is taken.

use busbar_core::{Code, Problem, Shards};
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// Times a message may come back before the broker puts it aside. Large, because a hub that is killed
/// hands messages back as well; set, because RabbitMQ 4 drops after 20 otherwise.
const DELIVERY_LIMIT: i32 = 100_000;

/// A queue that the hub declares for a system that speaks canonical messages over AMQP.
#[derive(Clone, Debug)]
pub struct SystemQueue {
    pub queue: String,
    /// Message types, bound on `busbar.out`; `*` for all.
    pub messages: Vec<String>,
    /// Question types, bound on `busbar.requests`.
    pub questions: Vec<String>,
}

/// Everything the hub declares.
#[derive(Clone, Debug)]
pub struct Topology {
    pub prefix: String,
    pub queues: Vec<SystemQueue>,
    /// Incoming queues that share the messages.
    pub shards: u32,
}

impl Topology {
    pub fn incoming(&self) -> String {
        format!("{}.in", self.prefix)
    }

    /// The incoming queue of a shard.
    pub fn queue_of(&self, shard: u32) -> String {
        if self.shards == 1 { self.incoming() } else { format!("{}.{shard}of{}", self.incoming(), self.shards) }
    }

    /// Whether a hub that makes the deliveries of `owned` takes from this incoming queue. A single queue is taken
    /// from by every hub: the broker keeps all but one waiting.
    pub fn takes(&self, shard: u32, owned: Shards) -> bool {
        self.shards == 1 || owned.has(shard * Shards::COUNT / self.shards)
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

    /// Declares exchanges, queues and bindings.
    ///
    /// # Errors
    /// `broker-unsafe`, naming what exists with other properties and what to do.
    pub async fn declare(&self, channel: &Channel) -> Result<(), Problem> {
        for exchange in [self.incoming(), self.outgoing(), self.requests(), self.dead()] {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let result = channel
                .exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, options, FieldTable::default())
                .await;
            result.map_err(|e| different("exchange", &exchange, &e))?;
        }
        self.queue(channel, &self.dead(), &[]).await?;
        bind(channel, &self.dead(), &self.dead(), "#").await?;
        // A hub that takes over from a killed one must not be handed later messages while the broker still
        // counts the earlier ones as the other's: one consumer at a time keeps the order.
        let one_at_a_time = ("x-single-active-consumer", AMQPValue::Boolean(true));
        let own = [self.dead_letters(), vec![one_at_a_time]].concat();
        for shard in 0..self.shards {
            self.queue(channel, &self.queue_of(shard), &own).await?;
        }
        match self.shards {
            1 => bind(channel, &self.incoming(), &self.incoming(), "#").await?,
            _ => self.spread(channel).await?,
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

    /// Refuses a broker that would lose messages, or that holds messages nobody would take.
    ///
    /// # Errors
    /// `broker-unsafe` with the remedy.
    pub async fn check(&self, channel: &Channel) -> Result<(), Problem> {
        if self.shards == 1 {
            return Ok(());
        }
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let old = channel.queue_declare(self.incoming().as_str().into(), passive, FieldTable::default()).await;
        match old {
            Ok(_) => {
                let text = format!(
                    "amqp.shards is {}, and the queue `{}` of a hub with one shard is still there, so that every                      message would be queued twice and one of the two never taken: drain it and delete it",
                    self.shards,
                    self.incoming()
                );
                Err(Problem::new(Code::BrokerUnsafe, text))
            }
            Err(_) => Ok(()),
        }
    }

    async fn spread(&self, channel: &Channel) -> Result<(), Problem> {
        let name = format!("{}.shards", self.incoming());
        let mut arguments = FieldTable::default();
        arguments.insert("hash-header".into(), AMQPValue::LongString("cloudEvents:partitionkey".into()));
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let kind = ExchangeKind::Custom("x-consistent-hash".into());
        let declared = channel.exchange_declare(name.as_str().into(), kind, options, arguments).await;
        declared.map_err(|e| {
            let text = format!(
                "exchange `{name}`: {e}; amqp.shards needs `rabbitmq-plugins enable rabbitmq_consistent_hash_exchange`"
            );
            Problem::new(Code::BrokerUnsafe, text)
        })?;
        for shard in 0..self.shards {
            bind(channel, &self.queue_of(shard), &name, "1").await?;
        }
        let options = ExchangeBindOptions::default();
        let incoming = self.incoming();
        let bound = channel
            .exchange_bind(name.as_str().into(), incoming.as_str().into(), "#".into(), options, FieldTable::default())
            .await;
        bound.map_err(|e| different("binding", &name, &e))
    }

    fn dead_letters(&self) -> Vec<(&'static str, AMQPValue)> {
        vec![
            ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", AMQPValue::LongString(self.dead().as_str().into())),
            ("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into())),
            // At-least-once dead-lettering needs it (RabbitMQ, quorum queues, dead lettering).
            ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ]
    }

    async fn queue(&self, channel: &Channel, name: &str, more: &[(&'static str, AMQPValue)]) -> Result<(), Problem> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        for (key, value) in more {
            arguments.insert((*key).into(), value.clone());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), options, arguments).await.map(drop).map_err(|e| different("queue", name, &e))
    }
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Problem> {
    let bound = channel
        .queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default())
        .await;
    bound.map_err(|e| different("binding", queue, &e))
}

fn different(what: &str, name: &str, error: &lapin::Error) -> Problem {
    let text = format!(
        "{what} `{name}`: {error}; if it exists with other properties, drain and delete it, or set another amqp.prefix"
    );
    Problem::new(Code::BrokerUnsafe, text)
}

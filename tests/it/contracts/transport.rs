//! The contract of `Transport` over the broker in memory and a real RabbitMQ.

use crate::servers::Server;
use async_trait::async_trait;
use busbar_core::fakes::MemoryTransport;
use busbar_core::ports::{Outgoing, Received, Transport};
use busbar_core::{Code, Payload};
use busbar_server::amqp::{RabbitTransport, SystemQueue, Topology};
use busbar_server::config::model::{AmqpConfig, TextOrReference};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The other side of a transport.
#[async_trait]
trait Peer: Send + Sync {
    fn transport(&self) -> &dyn Transport;
    /// Puts a message into the hub's queue.
    async fn push(&self, body: &str);
    /// Breaks the connection and waits until there is another.
    async fn reconnect(&self);
}

struct Memory(MemoryTransport);

#[async_trait]
impl Peer for Memory {
    fn transport(&self) -> &dyn Transport {
        &self.0
    }

    async fn push(&self, body: &str) {
        self.0.push("test.v1", Payload { body: body.into(), ..Payload::default() });
    }

    async fn reconnect(&self) {
        self.0.reconnect();
    }
}

struct Rabbit {
    transport: RabbitTransport,
    server: Mutex<Server>,
    url: String,
}

#[async_trait]
impl Peer for Rabbit {
    fn transport(&self) -> &dyn Transport {
        &self.transport
    }

    async fn push(&self, body: &str) {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let confirm =
            channel.basic_publish("busbar.in".into(), "test.v1".into(), options, body.as_bytes(), properties).await;
        assert!(confirm.unwrap().await.unwrap().is_ack());
    }

    async fn reconnect(&self) {
        tokio::task::block_in_place(|| self.server.lock().unwrap().restart());
        for _ in 0..400 {
            if self.transport.connected() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no connection after the broker's restart");
    }
}

fn outgoing(routing_key: &str, body: &str) -> Outgoing {
    let payload = Payload { attributes: vec![("id".into(), body.into())], content_type: None, body: body.into() };
    Outgoing {
        exchange: "busbar.out".into(),
        routing_key: routing_key.into(),
        payload,
        reply_to: None,
        correlation_id: None,
    }
}

async fn receive(peer: &dyn Peer, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        let more = tokio::time::timeout(Duration::from_secs(20), peer.transport().receive(count - all.len())).await;
        let more = more.expect("nothing came").unwrap();
        assert!(!more.is_empty(), "only {} of {count}", all.len());
        all.extend(more);
    }
    all
}

fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|r| String::from_utf8(r.payload.body.clone()).unwrap()).collect()
}

async fn contract(peer: &dyn Peer) {
    let transport = peer.transport();
    // Publishing: exactly the unroutable ones of a batch are reported, in their places.
    let batch = (0..300).map(|i| outgoing(if i % 7 == 3 { "nowhere.v1" } else { "known.v1" }, &i.to_string()));
    for (i, result) in transport.publish(batch.collect()).await.into_iter().enumerate() {
        match result {
            Ok(()) => assert_ne!(i % 7, 3, "{i} went nowhere"),
            Err(problem) => assert_eq!((i % 7, problem.code), (3, Code::Unroutable), "{i}"),
        }
    }
    // What is acknowledged is gone, what is not comes again with another tag, in order.
    for body in ["a", "b", "c"] {
        peer.push(body).await;
    }
    let first = receive(peer, 3).await;
    assert_eq!(bodies(&first), ["a", "b", "c"]);
    transport.ack(&[first[0].tag]).await.unwrap();
    // The acknowledgement is on its way only; the broker must have it before it is stopped.
    tokio::time::sleep(Duration::from_millis(500)).await;
    peer.reconnect().await;
    let again = receive(peer, 2).await;
    assert_eq!(bodies(&again), ["b", "c"]);
    assert_ne!(again[0].tag.connection, first[1].tag.connection);
    // A stale tag acknowledges nothing, and harms nobody.
    transport.ack(&[first[1].tag, first[2].tag]).await.unwrap();
    peer.push("d").await;
    assert_eq!(bodies(&receive(peer, 1).await), ["d"]);
    let results = transport.publish(vec![outgoing("known.v1", "after")]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[tokio::test]
async fn memory() {
    let transport = MemoryTransport::default();
    transport.bind("known.v1");
    contract(&Memory(transport)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    let server = tokio::task::spawn_blocking(Server::rabbitmq).await.unwrap();
    let url = server.url.clone();
    let config = AmqpConfig {
        url: TextOrReference::Text(url.clone()),
        prefix: "busbar".into(),
        prefetch: 100,
        shards: 1,
        confirm_timeout_ms: 10_000,
    };
    let queue = SystemQueue { queue: "known".into(), messages: vec!["known.v1".into()], questions: vec![] };
    let owned = tokio::sync::watch::Sender::new(busbar_core::Shards::ALL);
    let topology = Topology { prefix: "busbar".into(), queues: vec![queue], shards: 1 };
    let transport =
        RabbitTransport::start(&config, url.clone().into(), topology, owned.subscribe(), CancellationToken::new())
            .await
            .unwrap();
    contract(&Rabbit { transport, server: Mutex::new(server), url }).await;
}

/// A broker that has something else under our names, or would lose messages, is not used.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_as_it_must_be_is_noticed_at_the_start() {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let quorum = || ("x-queue-type", text("quorum"));
    let ours = || {
        vec![
            quorum(),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ("x-delivery-limit", AMQPValue::LongInt(100_000)),
            ("x-dead-letter-exchange", text("busbar.dead")),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ]
    };
    let without = |name: &str| ours().into_iter().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    for (what, arguments) in [
        ("classic", vec![]),
        ("no delivery limit", without("x-delivery-limit")),
        (
            "a small delivery limit",
            [without("x-delivery-limit"), vec![("x-delivery-limit", AMQPValue::LongInt(20))]].concat(),
        ),
        ("at most once to the dead letters", without("x-dead-letter-strategy")),
        ("several consumers", without("x-single-active-consumer")),
    ] {
        let url = tokio::task::spawn_blocking(crate::servers::vhost).await.unwrap();
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert(name.into(), value);
        }
        channel.queue_declare("busbar.in".into(), options, table).await.unwrap();
        let problem = start(&url, 1).await.err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(problem.code, Code::BrokerUnsafe, "{what}");
        assert!(problem.detail.contains("busbar.in") && problem.detail.contains("amqp.prefix"), "{problem}");
    }
}

async fn start(url: &str, shards: u32) -> Result<RabbitTransport, busbar_core::Problem> {
    let config = AmqpConfig {
        url: TextOrReference::Text(url.into()),
        prefix: "busbar".into(),
        prefetch: 100,
        shards,
        confirm_timeout_ms: 10_000,
    };
    let owned = tokio::sync::watch::Sender::new(busbar_core::Shards::ALL);
    let topology = Topology { prefix: "busbar".into(), queues: vec![], shards };
    RabbitTransport::start(&config, url.into(), topology, owned.subscribe(), CancellationToken::new()).await
}

/// Prefixes reach the broker in their order, whoever acknowledges: it closes a channel that is told a shorter one later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledgements_at_once_do_not_overtake_each_other() {
    let url = tokio::task::spawn_blocking(crate::servers::vhost).await.unwrap();
    let transport = std::sync::Arc::new(start(&url, 1).await.unwrap());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for _ in 0..4_000 {
        let options = BasicPublishOptions::default();
        channel.basic_publish("busbar.in".into(), "x".into(), options, b"{}", Default::default()).await.unwrap();
    }
    let mut taken = 0;
    let mut tasks = tokio::task::JoinSet::new();
    while taken < 4_000 {
        let received = tokio::time::timeout(Duration::from_secs(20), transport.receive(50)).await;
        let received = received.unwrap_or_else(|_| panic!("only {taken} came")).unwrap();
        taken += received.len();
        for some in received.chunks(5) {
            let (transport, tags) = (transport.clone(), some.iter().map(|one| one.tag).collect::<Vec<_>>());
            assert_eq!(tags[0].connection, 1, "the channel was closed");
            tasks.spawn(async move { transport.ack(&tags).await.unwrap() });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(transport.connected());
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    assert_eq!(
        channel.queue_declare("busbar.in".into(), passive, Default::default()).await.unwrap().message_count(),
        0
    );
}

/// Several incoming queues: each message in one of them, those with one partition key in the same; and the queue of
/// a hub with one shard beside them would take a copy of each.
#[tokio::test(flavor = "multi_thread")]
async fn shards_share_the_messages_and_refuse_a_queue_left_over() {
    let url = tokio::task::spawn_blocking(crate::servers::vhost).await.unwrap();
    let transport = start(&url, 4).await.unwrap();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for number in 0..400 {
        let mut headers = FieldTable::default();
        if number % 10 != 0 {
            let key = AMQPValue::LongString(format!("key-{}", number % 40).into());
            headers.insert("cloudEvents:partitionkey".into(), key);
        }
        let properties = BasicProperties::default().with_headers(headers);
        let body = number.to_string();
        let options = BasicPublishOptions::default();
        channel.basic_publish("busbar.in".into(), "x".into(), options, body.as_bytes(), properties).await.unwrap();
    }
    let mut numbers: Vec<u32> = Vec::new();
    let mut last = std::collections::HashMap::new();
    while numbers.len() < 400 {
        for received in transport.receive(100).await.unwrap() {
            let number: u32 = String::from_utf8(received.payload.body).unwrap().parse().unwrap();
            // In order within a key; those without one are in order as well.
            let key = if number.is_multiple_of(10) { 1_000 } else { number % 40 };
            let before = last.insert(key, (number, received.tag.connection));
            assert!(before.is_none_or(|(n, queue)| n < number && queue == received.tag.connection), "{number}");
            numbers.push(number);
            transport.ack(&[received.tag]).await.unwrap();
        }
    }
    numbers.sort();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>(), "each once");
    let queues: std::collections::HashSet<_> = last.values().map(|(_, queue)| *queue).collect();
    assert!(queues.len() > 1, "one queue has all");

    let url = tokio::task::spawn_blocking(crate::servers::vhost).await.unwrap();
    drop(start(&url, 1).await.unwrap());
    let problem = start(&url, 4).await.err().unwrap();
    assert_eq!(problem.code, Code::BrokerUnsafe);
    assert!(problem.detail.contains("drain it and delete it"), "{problem}");
}

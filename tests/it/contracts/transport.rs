//! The contract of `Transport` over the broker in memory and a real RabbitMQ.

use crate::servers::Server;
use async_trait::async_trait;
use busbar_core::fakes::MemoryTransport;
use busbar_core::ports::{Outgoing, Received, Transport};
use busbar_core::{Code, Payload, Shards};
use busbar_server::amqp::{RabbitTransport, SystemQueue, Topology};
use busbar_server::config::model::{AmqpConfig, BrokerUrls, TextOrReference};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
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
    Outgoing { exchange: "busbar.out".into(), routing_key: routing_key.into(), payload, ..Outgoing::default() }
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
        body_bytes_max: 1 << 20,
        url: BrokerUrls::One(TextOrReference::Text(url.clone())),
        management: None,
        prefix: "busbar".into(),
        prefetch: 100,
        confirm_timeout_ms: 10_000,
        bare_attributes: Vec::new(),
        dead_max: 1_000,
        publishers: Vec::new(),
        reply_queues: Vec::new(),
    };
    let queue = SystemQueue { queue: "known".into(), messages: vec!["known.v1".into()], questions: vec![] };
    let owned = tokio::sync::watch::Sender::new(busbar_core::Shards::ALL);
    let topology = Topology { prefix: "busbar".into(), queues: vec![queue], ..Topology::default() };
    let transport = RabbitTransport::start(
        &config,
        vec![url.clone().into()],
        topology,
        owned.subscribe(),
        CancellationToken::new(),
    )
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
        let problem = start(&url).await.err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(problem.code, Code::BrokerUnsafe, "{what}");
        assert!(problem.detail.contains("busbar.in") && problem.detail.contains("amqp.prefix"), "{problem}");
    }
}

async fn start(url: &str) -> Result<RabbitTransport, busbar_core::Problem> {
    start_owning(url, watch::Sender::new(Shards::ALL).subscribe()).await
}

async fn start_owning(url: &str, owned: watch::Receiver<Shards>) -> Result<RabbitTransport, busbar_core::Problem> {
    let config = AmqpConfig {
        body_bytes_max: 1 << 20,
        url: BrokerUrls::One(TextOrReference::Text(url.into())),
        management: None,
        prefix: "busbar".into(),
        prefetch: 100,
        confirm_timeout_ms: 10_000,
        bare_attributes: Vec::new(),
        dead_max: 1_000,
        publishers: Vec::new(),
        reply_queues: Vec::new(),
    };
    let topology = Topology { prefix: "busbar".into(), ..Topology::default() };
    RabbitTransport::start(&config, vec![url.into()], topology, owned, CancellationToken::new()).await
}

/// Prefixes reach the broker in their order, whoever acknowledges: it closes a channel that is told a shorter one later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledgements_at_once_do_not_overtake_each_other() {
    let url = tokio::task::spawn_blocking(crate::servers::vhost).await.unwrap();
    let transport = std::sync::Arc::new(start(&url).await.unwrap());
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

/// A hub that cannot write any more must not keep the messages of the others; and who comes next gets all it had, in
/// order, before anything later.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_without_shards_hands_its_messages_on() {
    let url = tokio::task::spawn_blocking(crate::servers::vhost).await.unwrap();
    let (first_owns, second_owns) = (watch::Sender::new(Shards::ALL), watch::Sender::new(Shards::NONE));
    let first = start_owning(&url, first_owns.subscribe()).await.unwrap();
    let second = start_owning(&url, second_owns.subscribe()).await.unwrap();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    for number in 0..500 {
        let (options, body) = (BasicPublishOptions::default(), number.to_string());
        let properties = BasicProperties::default();
        channel.basic_publish("busbar.in".into(), "x".into(), options, body.as_bytes(), properties).await.unwrap();
    }
    let number = |received: &Received| -> u32 { String::from_utf8_lossy(&received.payload.body).parse().unwrap() };
    let some = first.receive(40).await.unwrap();
    assert_eq!(number(&some[0]), 0);
    first.ack(&[some[0].tag]).await.unwrap();
    second_owns.send_replace(Shards(2));
    assert!(tokio::time::timeout(Duration::from_millis(500), second.receive(1)).await.is_err(), "two take at once");
    first_owns.send_replace(Shards::NONE);
    let mut expected = 1;
    while expected < 500 {
        let received = tokio::time::timeout(Duration::from_secs(20), second.receive(100)).await;
        for one in received.unwrap_or_else(|_| panic!("{expected} does not come")).unwrap() {
            assert_eq!(number(&one), expected);
            expected += 1;
            second.ack(&[one.tag]).await.unwrap();
        }
    }
    // And back again.
    first_owns.send_replace(Shards(1));
    second_owns.send_replace(Shards::NONE);
    channel
        .basic_publish("busbar.in".into(), "x".into(), Default::default(), b"500", Default::default())
        .await
        .unwrap();
    let late = async {
        loop {
            // What it had before it gave them up may still come; acknowledging it does nothing.
            let received = first.receive(100).await.unwrap();
            if received.iter().any(|one| number(one) == 500) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), late).await.unwrap();
}

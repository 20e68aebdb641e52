//! The queue of what was put aside, made anew where it is an older hub's: nothing of it is lost.

use super::broker::Broker;
use crate::hub::Hub;
use crate::servers::vhost;
use lapin::options::{
    BasicGetOptions, BasicNackOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};

const MESSAGES: usize = 300;

fn arguments(limit: Option<i32>) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    if let Some(limit) = limit {
        table.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
    }
    table
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

/// A queue as hubs before this one declared it, or as one left it that was killed while it moved the messages.
async fn older(broker: &Broker, queue: &str, limit: Option<i32>, from: usize) {
    let durable_exchange = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let exchange = broker.channel.exchange_declare(
        "busbar.dead".into(),
        ExchangeKind::Topic,
        durable_exchange,
        FieldTable::default(),
    );
    exchange.await.unwrap();
    broker.channel.queue_declare(queue.into(), durable(), arguments(limit)).await.unwrap();
    let bound = broker.channel.queue_bind(
        queue.into(),
        "busbar.dead".into(),
        "#".into(),
        Default::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    for n in from..from + MESSAGES {
        // What the broker would act upon in a copy: a copy of a copy to another queue, and the name of who sent it.
        let mut headers = FieldTable::default();
        headers.insert("CC".into(), AMQPValue::FieldArray(vec![AMQPValue::LongString("busbar.in".into())].into()));
        headers.insert("own".into(), AMQPValue::LongInt(n.try_into().unwrap()));
        let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
        let properties = properties.with_user_id("busbar".into()).with_message_id(format!("m-{n}").into());
        let (options, body) = (BasicPublishOptions::default(), n.to_string());
        let sent = broker.channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties).await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    }
}

async fn has_the_limit(url: &str, queue: &str) -> bool {
    let broker = Broker::connect(url).await.unwrap();
    broker.channel.queue_declare(queue.into(), durable(), arguments(Some(i32::MAX))).await.is_ok()
}

async fn is_there(url: &str, queue: &str) -> bool {
    let broker = Broker::connect(url).await.unwrap();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    broker.channel.queue_declare(queue.into(), passive, FieldTable::default()).await.is_ok()
}

/// The bodies, in their order.
async fn bodies(broker: &Broker) -> Vec<usize> {
    let mut all = Vec::new();
    while let Some(got) =
        broker.channel.basic_get("busbar.dead".into(), BasicGetOptions { no_ack: true }).await.unwrap()
    {
        let number: usize = String::from_utf8_lossy(&got.data).parse().unwrap();
        assert_eq!(got.properties.message_id().as_ref().unwrap().as_str(), format!("m-{number}"));
        assert_eq!(
            got.properties.headers().as_ref().unwrap().inner()["own"],
            AMQPValue::LongInt(number.try_into().unwrap())
        );
        all.push(number);
    }
    all
}

fn toml(url: &str) -> String {
    format!("[amqp]\nurl = \"{url}\"\npublishers = []\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_queue_is_made_anew_with_all_its_messages_and_a_look_takes_none_away() {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let broker = Broker::connect(&url).await.unwrap();
    older(&broker, "busbar.dead", None, 0).await;
    let hub = Hub::start(&toml(&url));
    assert!(has_the_limit(&url, "busbar.dead").await, "{}", hub.log());
    assert!(!is_there(&url, "busbar.dead.aside").await && !is_there(&url, "busbar.dead.moving").await);
    assert!(hub.log().contains("\"moved\":300") || hub.log().contains("moved=300"), "{}", hub.log());
    for _ in 0..25 {
        let got = broker.channel.basic_get("busbar.dead".into(), BasicGetOptions::default()).await.unwrap().unwrap();
        assert_eq!(got.properties.message_id().as_ref().unwrap().as_str(), "m-0");
        got.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(bodies(&broker).await, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_hub_left_on_the_way_comes_back() {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let broker = Broker::connect(&url).await.unwrap();
    older(&broker, "busbar.dead.aside", Some(i32::MAX), 0).await;
    older(&broker, "busbar.dead", None, MESSAGES).await;
    let hub = Hub::start(&toml(&url));
    assert!(has_the_limit(&url, "busbar.dead").await, "{}", hub.log());
    assert!(!is_there(&url, "busbar.dead.aside").await);
    assert_eq!(bodies(&broker).await, (0..2 * MESSAGES).collect::<Vec<_>>());
}

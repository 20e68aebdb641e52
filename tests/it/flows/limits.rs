//! What is too large for the broker, or for the hub, on the way in and on the way out: one such message is refused by name,
//! and its neighbours and the connection do not notice.

use super::broker::Broker;
use crate::hub::{ANYBODY, Hub, payment, wait_for};
use crate::servers::{Server, vhost};
use lapin::BasicProperties;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicConsumeOptions, BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Everything goes to the CRM over the broker.
pub fn relay(url: &str, amqp: &str) -> String {
    format!(
        r#"
[amqp]
url = "{url}"
{amqp}
{ANYBODY}
[systems.crm]
via = "amqp"
queue = "crm.messages"
policy = {{ backoff-first-ms = 50, attempts = 50 }}
[[routes]]
types = ["payment.received.v1"]
to = ["crm"]
"#
    )
}

fn text(delivery: &BasicGetMessage, name: &str) -> String {
    match delivery.properties.headers().as_ref().unwrap().inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => format!("{other:?}"),
    }
}

/// A payment with these headers besides its attributes; their values are texts.
async fn publish_with(broker: &Broker, event: &Value, more: &[(&str, String)]) {
    let attributes = event.as_object().unwrap().iter().filter(|(name, _)| *name != "data");
    let attributes =
        attributes.map(|(name, value)| (format!("cloudEvents:{name}"), value.as_str().unwrap().to_string()));
    let more = more.iter().map(|(name, value)| (name.to_string(), value.clone()));
    let mut headers = FieldTable::default();
    for (name, value) in attributes.chain(more) {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    let properties = properties.with_content_type("application/json".into());
    let kind = event["type"].as_str().unwrap();
    let body = event["data"].to_string();
    let options = BasicPublishOptions::default();
    let sent =
        broker.channel.basic_publish("busbar.in".into(), kind.into(), options, body.as_bytes(), properties).await;
    assert!(sent.unwrap().await.unwrap().is_ack());
}

/// The next message that was put aside. One at a time: a consumer would be given the next ones as well.
async fn dead(broker: &Broker) -> BasicGetMessage {
    let options = BasicGetOptions { no_ack: true };
    wait_for("a dead message", async || broker.channel.basic_get("busbar.dead".into(), options).await.unwrap()).await
}

/// How often the hub has connected, to publish and to take.
async fn connections(hub: &Hub) -> (u64, u64) {
    let metrics = hub.get("", "/metrics").await.body;
    let count = |what: &str| {
        let name = format!("busbar_broker_connections_total{{for=\"{what}\"}} ");
        metrics.as_str().unwrap().lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    (count("publishing"), count("taking"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_headers_hardly_fit_is_put_aside_cut_and_alone() {
    let url = vhost();
    let hub = Hub::start(&relay(&url, ""));
    let broker = Broker::connect(&url).await.unwrap();
    // The attribute alone, and among headers of the sender's own, nearly fills the frame of 131,072 bytes.
    let mut long = payment("p-long", "1", "1.00");
    long["time"] = json!("2".repeat(125_000));
    publish_with(&broker, &long, &[("x-own", "kept".into())]).await;
    let mut many = payment("p-many", "1", "1.00");
    many["time"] = json!("yesterday");
    let own: Vec<_> = (0..600).map(|n| (format!("own-{n}"), "o".repeat(199))).collect();
    let own: Vec<_> = own.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    publish_with(&broker, &many, &own).await;
    assert!(broker.publish("busbar.in", &payment("p-good", "1", "1.00"), BasicProperties::default()).await);
    let first = dead(&broker).await;
    assert_eq!((text(&first, "busbar-cut"), text(&first, "x-own")), ("texts".into(), "kept".into()));
    assert_eq!(text(&first, "cloudEvents:id"), "p-long");
    assert!(text(&first, "cloudEvents:busbardetail").len() < 5_000);
    let second = dead(&broker).await;
    assert_eq!(
        (text(&second, "busbar-cut"), text(&second, "cloudEvents:busbarerror")),
        ("headers".into(), "invalid-event".into())
    );
    assert_eq!(serde_json::from_slice::<Value>(&second.data).unwrap(), many["data"]);
    wait_for("the neighbour", async || (hub.messages("state=done").await.len() == 1).then_some(())).await;
    assert_eq!(connections(&hub).await, (1, 1));
    assert!(hub.log().len() < 20_000, "{} bytes of log", hub.log().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_to_be_read_is_put_aside_unread() {
    let url = vhost();
    let hub = Hub::start(&relay(&url, "body-bytes-max = 1000"));
    let broker = Broker::connect(&url).await.unwrap();
    let mut large = payment("p-large", "1", "1.00");
    large["data"]["purpose"] = json!("п".repeat(700));
    for event in [&large, &payment("p-good", "1", "1.00")] {
        assert!(broker.publish("busbar.in", event, BasicProperties::default()).await);
    }
    let dead = dead(&broker).await;
    assert_eq!((text(&dead, "cloudEvents:busbarerror"), dead.data.len() > 1000), ("too-large".into(), true));
    wait_for("the neighbour", async || (hub.messages("state=done").await.len() == 1).then_some(())).await;
    assert_eq!(hub.messages("").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_does_not_take_parks_and_its_neighbours_go() {
    let server = tokio::task::spawn_blocking(|| Server::rabbitmq_with("max_message_size = 2000")).await.unwrap();
    for (amqp_url, reason) in [
        // The header of the second one does not go into the frame that this hub wishes for.
        (format!("{}?frame_max=8192", server.url.replace("/%2f", "/t0")), "frame_max"),
        (server.url.replace("/%2f", "/t1"), "larger than configured max size 2000"),
    ] {
        let hub = Hub::start(&relay(&amqp_url, ""));
        let mut bad = payment("p-bad", "bad", "1.00");
        match reason {
            "frame_max" => (0..10).for_each(|n| bad[format!("own{n}")] = json!("e".repeat(1000))),
            _ => bad["data"]["purpose"] = json!("п".repeat(1000)),
        }
        let batch: Vec<Value> = (0..20).map(|n| payment(&format!("p-{n}"), &n.to_string(), "1.00")).collect();
        let whole: Vec<Value> = batch[..10].iter().chain([&bad]).chain(&batch[10..]).cloned().collect();
        let answer = hub.post("application/cloudevents-batch+json", Value::from(whole).to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        wait_for("the others", async || (hub.messages("state=done").await.len() == 20).then_some(())).await;
        wait_for("the refused one", async || (hub.messages("state=parked").await.len() == 1).then_some(())).await;
        let parked = hub.get(crate::hub::OFFICER, "/v1/deliveries").await.body["deliveries"][0].clone();
        assert_eq!((&parked["error"]["code"], &parked["attempts"]), (&json!("broker-refused"), &json!(1)), "{parked}");
        assert!(parked["error"]["detail"].as_str().unwrap().contains(reason), "{parked}");
        assert_eq!(connections(&hub).await, (1, 1), "{reason}");
    }
}

/// The broker adds a header to what comes back, and so to a frame that was full: it ends each connection that gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_each_connection_is_left_alone_ever_longer_and_named() {
    let url = vhost();
    let hub = Hub::start(&relay(&url, ""));
    let broker = Broker::connect(&url).await.unwrap();
    drop(hub);
    // Frame and content header, content type, delivery mode, the table and its entries (AMQP 0-9-1, section 4.2): five
    // bytes are left of 131,072.
    let full = payment("p-full", "1", "1.00");
    let attributes = full.as_object().unwrap().iter().filter(|(name, _)| *name != "data");
    let entry = |name: usize, value: usize| 1 + name + 1 + 4 + value;
    let attributes: usize = attributes.map(|(name, value)| entry(12 + name.len(), value.as_str().unwrap().len())).sum();
    let taken = 8 + 14 + 17 + 1 + 4 + attributes + entry("own".len(), 0);
    publish_with(&broker, &full, &[("own", "o".repeat(131_072 - 5 - taken))]).await;
    for n in 0..3 {
        assert!(
            broker.publish("busbar.in", &payment(&format!("p-{n}"), "1", "1.00"), BasicProperties::default()).await
        );
    }
    // Handed out once and not acknowledged.
    let other = Broker::connect(&url).await.unwrap();
    let consumer = other.channel.basic_consume(
        "busbar.in".into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = consumer.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(consumer);
    other.close().await;
    let hub = Hub::start(&relay(&url, ""));
    let began = Instant::now();
    // What goes out has a connection of its own, and does not notice.
    for n in 10..30 {
        let accepted = hub.publish(&payment(&format!("p-{n}"), "2", "1.00")).await;
        hub.settled(&accepted["seq"], &["done"]).await;
    }
    assert!(began.elapsed() < Duration::from_secs(6), "published in {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(10).saturating_sub(began.elapsed())).await;
    let (publishing, count) = connections(&hub).await;
    assert_eq!(publishing, 1, "{}", hub.log());
    // Each of the three neighbours that comes meanwhile makes the pauses short again; without pauses there were hundreds.
    assert!(count <= 16, "{count} connections in 10 s\n{}", hub.log());
    assert!(hub.log().contains("before the first message of `busbar.in`"), "{}", hub.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_put_aside_is_counted_and_told_before_it_is_too_much() {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let hub = Hub::start(&format!("[store]\nfree-bytes-min = 1\n{}", relay(&url, "dead-max = 5")));
    let broker = Broker::patient(&url).await;
    let metric = async |wanted: &str| {
        let text = hub.get("", "/metrics").await.body.as_str().unwrap().to_string();
        text.lines().any(|line| line == wanted).then_some(text)
    };
    wait_for("the first count", async || metric("busbar_dead_messages 0").await).await;
    for number in 0..4 {
        let mut event = payment(&format!("d-{number}"), "100", "1.00");
        event["data"] = json!({ "no": "payment" });
        assert!(broker.publish("busbar.in", &event, BasicProperties::default()).await);
    }
    let shown = wait_for("the count", async || metric("busbar_dead_messages 4").await).await;
    let seconds = shown.lines().find_map(|line| line.strip_prefix("busbar_dead_seconds ")).unwrap();
    assert!(seconds.parse::<f64>().unwrap() < 60.0, "{seconds}");
    let ready = hub.get("", "/readyz").await;
    assert_eq!((ready.status, &ready.body["nearly-reached"]), (200, &json!(["dead"])), "{ready:?}");
    assert!(hub.log().contains("a bound is nearly reached"), "{}", hub.log());
}

//! A broker that takes nothing for a while, or confirms nothing: what is to go out waits and is not sent again and again, and
//! the rest of the hub goes on.

use super::broker::{Broker, header};
use crate::hub::{ANYBODY, Hub, READER, Standin, payment, wait_for};
use crate::servers::Server;
use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn toml(url: &str, portal: &str) -> String {
    format!(
        r#"
[amqp]
url = "{url}"
confirm-timeout-ms = 2000
{ANYBODY}
[systems.crm]
via = "amqp"
queue = "crm.messages"
policy = {{ backoff-first-ms = 50, attempts = 50 }}
[systems.portal]
via = "http"
url = "{portal}/in"
[[routes]]
types = ["payment.received.v1"]
to = ["crm", "portal"]
"#
    )
}

pub async fn hub(server: &Server) -> (Hub, Broker, Standin) {
    let portal = Standin::start(|_, _| (204, "")).await;
    let hub = Hub::start(&toml(&server.url, &portal.url));
    (hub, Broker::connect(&server.url).await.unwrap(), portal)
}

pub async fn post(hub: &Hub, from: usize) {
    let batch: Vec<Value> = (from..from + 20).map(|n| payment(&format!("p-{n}"), &n.to_string(), "1.00")).collect();
    assert_eq!(hub.post("application/cloudevents-batch+json", Value::from(batch).to_string()).await.status, 202);
}

pub async fn arrived_at_portal(portal: &Standin, count: usize) {
    let what = format!("{count} at the portal");
    wait_for(&what, async || (portal.count("POST", "/in") == count).then_some(())).await;
}

/// How often each message came, and under how many ids of the broker's.
pub async fn drained(broker: &Broker) -> BTreeMap<String, (usize, usize)> {
    let mut came: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(got) = broker.channel.basic_get("crm.messages".into(), options).await.unwrap() {
        let published = got.properties.message_id().as_ref().unwrap().to_string();
        came.entry(header(&got.delivery, "id")).or_default().push(published);
    }
    let counted = |mut ids: Vec<String>| {
        (ids.len(), {
            ids.sort();
            ids.dedup();
            ids.len()
        })
    };
    came.into_iter().map(|(id, published)| (id, counted(published))).collect()
}

pub async fn ready(hub: &Hub) -> (u16, Value) {
    let answer = hub.get(READER, "/readyz").await;
    (answer.status, answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_has_an_alarm_nothing_is_sent_twice_and_the_rest_goes_on() {
    let server = tokio::task::spawn_blocking(Server::rabbitmq).await.unwrap();
    let (mut hub, broker, portal) = hub(&server).await;
    // These lie in the broker when the hub comes back under the alarm.
    hub.kill();
    for n in 100..105 {
        let event = payment(&format!("p-{n}"), &n.to_string(), "1.00");
        assert!(broker.publish("busbar.in", &event, BasicProperties::default()).await);
    }
    let bad =
        json!({ "specversion": "1.0", "id": "bad", "source": "/test/cash", "type": "payment.received.v1", "data": {} });
    assert!(broker.publish("busbar.in", &bad, BasicProperties::default()).await);
    server.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]);
    hub.restart();
    post(&hub, 0).await;
    arrived_at_portal(&portal, 25).await;
    let (status, shown) = wait_for("the alarm to be named", async || {
        let (status, shown) = ready(&hub).await;
        shown["broker-trouble"].is_string().then_some((status, shown))
    })
    .await;
    assert_eq!((status, &shown["ready"], &shown["broker"]), (200, &json!(true), &json!(true)), "{shown}");
    assert!(shown["broker-trouble"].as_str().unwrap().contains("memory"), "{shown}");
    let metrics = hub.get("", "/metrics").await.body;
    assert!(metrics.as_str().unwrap().lines().any(|line| line == "busbar_broker_blocked 1"), "{metrics}");
    assert!(hub.log().contains("the broker has an alarm"), "{}", hub.log());
    // Six times as long as a confirm may take; and more comes in meanwhile.
    tokio::time::sleep(Duration::from_secs(6)).await;
    post(&hub, 20).await;
    arrived_at_portal(&portal, 45).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    server.rabbitmqctl(&["set_vm_memory_high_watermark", "0.6"]);
    wait_for("all to be done", async || (hub.messages("system=crm&state=done").await.len() == 45).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What is refused is put aside once as well.
    assert_eq!(header(&broker.next("busbar.dead").await.unwrap(), "id"), "bad");
    let options = BasicGetOptions { no_ack: true };
    assert!(broker.channel.basic_get("busbar.dead".into(), options).await.unwrap().is_none());
    let came = drained(&broker).await;
    assert_eq!(came.len(), 45, "{came:?}");
    assert!(came.values().all(|(count, _)| *count == 1), "{came:?}");
    wait_for("the alarm to be over", async || ready(&hub).await.1["broker-trouble"].is_null().then_some(())).await;
    let metrics = hub.get("", "/metrics").await.body;
    assert!(metrics.as_str().unwrap().lines().any(|line| line == "busbar_broker_blocked 0"), "{metrics}");
}

/// As in the smaller part of a cluster: nothing is confirmed, and all is kept.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_confirmed_the_hub_is_not_ready_and_what_is_sent_again_has_the_same_id() {
    let server = tokio::task::spawn_blocking(Server::rabbitmq).await.unwrap();
    let (hub, broker, portal) = hub(&server).await;
    let queue = |what: &str| server.rabbitmqctl(&["eval", &format!("sys:{what}(whereis('%2F_crm.messages')).")]);
    queue("suspend");
    post(&hub, 0).await;
    arrived_at_portal(&portal, 20).await;
    let (status, shown) = wait_for("a hub that is not ready", async || {
        let (status, shown) = ready(&hub).await;
        shown["broker-trouble"].is_string().then_some((status, shown))
    })
    .await;
    assert_eq!((status, &shown["broker"]), (503, &json!(false)), "{shown}");
    assert!(shown["broker-trouble"].as_str().unwrap().contains("confirm"), "{shown}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    queue("resume");
    wait_for("all to be done", async || (hub.messages("system=crm&state=done").await.len() == 20).then_some(())).await;
    wait_for("a hub that is ready", async || (ready(&hub).await.0 == 200).then_some(())).await;
    let came = drained(&broker).await;
    assert_eq!(came.len(), 20, "{came:?}");
    assert!(came.values().all(|(_, ids)| *ids == 1), "{came:?}");
    // Each of the few tries carried one message; before, each carried all twenty.
    let copies: usize = came.values().map(|(count, _)| count - 1).sum();
    assert!(copies <= 20 + 8, "{copies} copies: {came:?}");
}

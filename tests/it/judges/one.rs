//! A client of AMQP 1.0 (npm rhea 3.0.5), as Azure's libraries are, and in `jms` one of JMS: through the plugin of RabbitMQ 3,
//! and natively in 4.

mod jms;

use crate::flows::broker::{Broker, header};
use crate::hub::{ANYBODY, Hub, Standin, payment, root, wait_for};
use crate::peers::{self, Peer};
use crate::servers::Server;
use lapin::options::QueueDeclareOptions;
use serde_json::{Value, json};
use std::process::Command;

/// `form` of the body, prefix of the attributes, content type.
const TAKEN: [(&str, &str, Option<&str>); 4] = [
    ("text", "ce-", None),
    ("binary", "cloudEvents_", None),
    ("data", "cloudEvents:", Some("application/json")),
    ("data", "cloudEvents:", Some("application/cloudevents+json; charset=utf-8")),
];

fn client(server: &Server) -> Option<Peer> {
    let modules = peers::folder()?.join("node_modules");
    if !modules.join("rhea").exists() {
        return None;
    }
    let port = server.port.to_string();
    let script = root().join("tests/fixtures/judges/one.js");
    let mut command = Command::new("node");
    Some(Peer::start(command.arg(script).args([&port, "busbar", "busbar"]).env("NODE_PATH", modules)))
}

fn line(id: &str, form: &str, prefix: &str, content_type: Option<&str>) -> Value {
    let event = payment(id, "0042", "12.50");
    let mut properties = serde_json::Map::new();
    let attributes = event.as_object().unwrap().iter().filter(|(name, _)| *name != "data");
    let more = [("time", json!(1_795_849_200_123_u64)), ("num", json!(-7))];
    let more = more.iter().map(|(name, value)| (name.to_string(), value));
    for (name, value) in attributes.map(|(name, value)| (name.clone(), value)).chain(more) {
        properties.insert(format!("{prefix}{name}"), value.clone());
    }
    let is_structured = content_type.is_some_and(|t| t.starts_with("application/cloudevents+json"));
    let body = if is_structured { &event } else { &event["data"] };
    let properties = if is_structured { json!({}) } else { Value::Object(properties) };
    json!({ "id": id, "form": form, "type": content_type, "properties": properties, "body": body.to_string() })
}

/// A hub whose answers may go to the queue `answers`, which it made; and the broker.
async fn hub(server: &Server, more: &str) -> (Hub, Broker) {
    hub_of(server, ANYBODY, more).await
}

async fn hub_of(server: &Server, publishers: &str, more: &str) -> (Hub, Broker) {
    let hub =
        Hub::start(&format!("[amqp]\nurl = \"{}\"\nreply-queues = [\"answers\"]\n{publishers}\n{more}", server.url));
    let broker = Broker::connect(&server.url).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    broker.channel.queue_declare("answers".into(), durable, Default::default()).await.unwrap();
    (hub, broker)
}

async fn server() -> Server {
    tokio::task::spawn_blocking(|| Server::rabbitmq_plugged("rabbitmq_amqp1_0", "")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_of_amqp_1_0_sends_is_taken_as_it_means_it() {
    let server = server().await;
    let crm = "[systems.crm]\nvia = \"amqp\"\nqueue = \"crm.messages\"\n[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"crm\"]\n";
    let (hub, broker) = hub(&server, crm).await;
    let Some(mut client) = client(&server) else {
        println!("NOT CHECKED: AMQP 1.0; BUSBAR_PEERS names no folder with npm's rhea");
        return;
    };
    for (n, (form, prefix, content_type)) in TAKEN.iter().enumerate() {
        client.say(&line(&format!("one-{n}"), form, prefix, *content_type).to_string());
    }
    for (n, (form, _, content_type)) in TAKEN.iter().enumerate() {
        let id = format!("one-{n}");
        let found = wait_for(&id, async || hub.messages(&format!("id={id}")).await.pop()).await;
        let message = hub.trace(&found["seq"]).await["message"].clone();
        assert_eq!(message["data"], payment(&id, "0042", "12.50")["data"], "{form} {content_type:?}: {message}");
        if n < 3 {
            // Whole milliseconds through RabbitMQ 3; RabbitMQ 4 makes seconds of them.
            assert!(message["time"].as_str().unwrap().starts_with("2026-11-28T07:00:00"), "{message}");
            assert!(message.to_string().contains("\"num\":\"-7\""), "{message}");
        }
    }
    // What cannot be taken is refused by name.
    let batch = Some("application/cloudevents-batch+json");
    for (id, form, content_type, reason) in
        [("map", "map", None, "neither text nor bytes"), ("batch", "data", batch, "over HTTP alone")]
    {
        client.say(&line(id, form, "ce-", content_type).to_string());
        let dead = broker.next("busbar.dead").await.unwrap();
        assert_eq!(header(&dead, "busbarerror"), "unsupported-media-type", "{id}");
        assert!(header(&dead, "busbardetail").contains(reason), "{id}: {}", header(&dead, "busbardetail"));
    }
    // A refused question is answered to where it asked for, under its message's id.
    let mut asked = line("asked", "text", "ce-", None);
    asked["ask"] = json!(true);
    asked["properties"]["ce-type"] = json!("account.lookup.v1");
    client.say(&asked.to_string());
    let answer: Value = serde_json::from_str(&client.heard()).unwrap();
    assert_eq!(answer["correlation"], "asked", "{answer}");
    assert!(answer["answer"].as_str().unwrap().contains("urn:busbar:error:"), "{answer}");
}

/// A system whose accounts are those that its far end knows.
fn billing(url: &str) -> String {
    format!(
        r#"
[systems.billing]
adapter = "rest-json"
[systems.billing.config]
base-url = "{url}"
[systems.billing.config.answer."account.lookup.v1"]
request = {{ path = "/accounts/{{.data.account}}", statuses = {{ 404 = "ok" }} }}
type = "account.lookup.answer.v1"
data = "{{ account: .question.data.account, found: (.status == 200) }}"
[systems.billing.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
[[routes]]
types = ["account.lookup.v1"]
to = ["billing"]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_a_client_of_amqp_1_0_is_answered_to_its_address() {
    let server = server().await;
    let far_end = Standin::start(|seen, _| if seen.path == "/accounts/0042" { (200, "{}") } else { (404, "{}") }).await;
    let (_hub, _broker) = hub(&server, &billing(&far_end.url)).await;
    let Some(mut client) = client(&server) else {
        println!("NOT CHECKED: AMQP 1.0; BUSBAR_PEERS names no folder with npm's rhea");
        return;
    };
    for (id, correlation, account, is_known) in
        [("by-id", None, "0042", true), ("by-correlation", Some("call-17"), "0043", false)]
    {
        let mut asked = line(id, "text", "ce-", None);
        asked["ask"] = json!(true);
        asked["correlation"] = json!(correlation);
        asked["properties"]["ce-type"] = json!("account.lookup.v1");
        asked["body"] = json!(json!({ "account": account }).to_string());
        client.say(&asked.to_string());
        let answer: Value = serde_json::from_str(&client.heard()).unwrap();
        assert_eq!(answer["correlation"], correlation.unwrap_or(id), "{answer}");
        assert_eq!(answer["type"], "application/json", "{answer}");
        let data: Value = serde_json::from_str(answer["answer"].as_str().unwrap()).unwrap();
        assert_eq!(data, json!({ "account": account, "found": is_known }), "{answer}");
        // The plugin of RabbitMQ 3 leaves headers out: there the body and the correlation id are all that comes.
        let kind = if answer["is4"] == true { json!("account.lookup.answer.v1") } else { Value::Null };
        assert_eq!(answer["properties"]["cloudEvents:type"], kind, "{answer}");
    }
}

//! Who may say what over AMQP: RabbitMQ says who it is, the hub what that one may state and ask, and where answers go.

use super::broker::{Broker, header};
use crate::hub::{Hub, OPERATOR, READER, payment, wait_for};
use crate::servers::vhost;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use serde_json::{Value, json};

/// A clerk who is known by the user, and a desk that is known by its exchange.
fn deployment(url: &str) -> String {
    format!(
        r#"
[amqp]
url = "{url}"
reply-queues = ["answers"]
[[amqp.publishers]]
name = "clerk"
sources = ["/clerk", "/clerk/*"]
types = ["payment.received.*"]
questions = ["account.lookup.v1"]
[[amqp.publishers]]
name = "desk"
known-by = "exchange"
sources = ["/desk"]
types = ["*"]
"#
    )
}

async fn started() -> (Hub, Broker, Broker) {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let hub = Hub::start(&deployment(&url));
    let all = Broker::connect(&url).await.unwrap();
    let clerk = Broker::connect(&url.replace("busbar:busbar@", "clerk:clerk@")).await.unwrap();
    (hub, all, clerk)
}

fn by(user: &str) -> BasicProperties {
    BasicProperties::default().with_user_id(user.into())
}

fn of(source: &str, id: &str) -> Value {
    let mut event = payment(id, "100", "1.00");
    event["source"] = source.into();
    event
}

/// The next message of a queue, and no other.
async fn one(broker: &Broker, queue: &str) -> Delivery {
    wait_for(&format!("a message in {queue}"), async || {
        let got = broker.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
        got.map(|got| got.delivery)
    })
    .await
}

/// Waits until so many were refused, and gives their ids with the reasons.
async fn refused(all: &Broker, count: usize) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        let dead = one(all, "busbar.dead").await;
        found.push((header(&dead, "id"), header(&dead, "busbarerror"), header(&dead, "busbarplace")));
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_states_only_its_own() {
    let (hub, all, clerk) = started().await;
    assert!(clerk.publish("busbar.in", &of("/clerk", "own"), by("clerk")).await);
    assert!(clerk.publish("busbar.in", &of("/clerk/2", "own-2"), by("clerk")).await);
    assert!(all.publish("busbar.in.desk", &of("/desk", "over-its-exchange"), by("busbar")).await);
    for (id, source, properties) in [
        ("a-bank", "https://bank.example", by("clerk")),
        ("a-system", "/test/bank", by("clerk")),
        ("of-the-desk", "/desk", by("clerk")),
        ("without-user", "/clerk", BasicProperties::default()),
    ] {
        assert!(clerk.publish("busbar.in", &of(source, id), properties).await);
    }
    assert!(all.publish("busbar.in", &of("/clerk", "of-another-user"), by("busbar")).await);
    assert!(all.publish("busbar.in.desk", &of("/clerk", "over-another-exchange"), by("busbar")).await);
    let mut other = of("/clerk", "another-type");
    other["type"] = "payment.rejected.v1".into();
    assert!(clerk.publish("busbar.in", &other, by("clerk")).await);

    let expected = [
        ("a-bank", "forbidden", "source"),
        ("a-system", "forbidden", "source"),
        ("another-type", "forbidden", "type"),
        ("of-another-user", "unknown-publisher", ""),
        ("of-the-desk", "forbidden", "source"),
        ("over-another-exchange", "forbidden", "source"),
        ("without-user", "unknown-publisher", ""),
    ];
    let expected = expected.map(|(id, code, place)| (id.to_string(), code.to_string(), place.to_string()));
    assert_eq!(refused(&all, expected.len()).await, expected);
    let taken = wait_for("what was taken", async || {
        let taken = hub.messages("type=payment.received.v1").await;
        (taken.len() == 3).then_some(taken)
    })
    .await;
    for message in taken {
        let trace = hub.trace(&message["seq"]).await;
        let stated = if message["source"] == "/desk" { "publisher:desk" } else { "publisher:clerk" };
        assert_eq!(trace["stated-by"], stated, "{trace}");
    }
    let refused = hub.intakes("system=clerk").await;
    assert!(refused.len() == 4 && refused.iter().all(|i| i["stated-by"] == "publisher:clerk"), "{refused:?}");
}

/// A name that is not the user's own never reaches the hub.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_holds_a_user_id_against_the_user() {
    let (hub, _all, clerk) = started().await;
    assert!(!clerk.publish("busbar.in", &of("/clerk", "forged"), by("busbar")).await);
    assert!(hub.messages("").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_go_only_to_reply_queues() {
    let (hub, all, clerk) = started().await;
    all.queue("billing.messages", "busbar.out", "invoice.issued.v1").await;
    let options = QueueDeclareOptions::default();
    clerk.channel.queue_declare("answers".into(), options, Default::default()).await.unwrap();
    let question = |id: &str, r#type: &str| json!({ "specversion": "1.0", "id": id, "source": "/clerk", "type": r#type, "data": { "account": "77" } });
    let asked = |queue: &str| by("clerk").with_reply_to(queue.into());
    // Nobody answers here: that is said where answers may go, and nowhere else.
    assert!(clerk.publish("busbar.in", &question("q1", "account.lookup.v1"), asked("answers")).await);
    let answer = one(&clerk, "answers").await;
    assert_eq!(serde_json::from_slice::<Value>(&answer.data).unwrap()["code"], "no-answerer");
    assert!(clerk.publish("busbar.in", &question("q2", "account.lookup.v1"), asked("billing.messages")).await);
    assert!(clerk.publish("busbar.in", &question("q3", "document.status.lookup.v1"), asked("answers")).await);
    // What is refused as a message says so to reply queues only, as well.
    assert!(clerk.publish("busbar.in", &of("/desk", "m1"), asked("billing.messages")).await);
    assert!(clerk.publish("busbar.in", &of("/desk", "m2"), asked("answers")).await);
    let reasons = refused(&all, 4).await;
    let codes: Vec<_> = reasons.iter().map(|(id, code, _)| (id.as_str(), code.as_str())).collect();
    assert_eq!(codes, [("m1", "forbidden"), ("m2", "forbidden"), ("q2", "reply-refused"), ("q3", "forbidden")]);
    for _ in 0..2 {
        let told = one(&clerk, "answers").await;
        assert_eq!(serde_json::from_slice::<Value>(&told.data).unwrap()["code"], "forbidden");
    }
    let foreign = all.channel.basic_get("billing.messages".into(), BasicGetOptions::default()).await.unwrap();
    assert!(foreign.is_none(), "the hub wrote into another system's queue");
    assert!(hub.get(READER, "/readyz").await.status == 200 && hub.get(OPERATOR, "/v1/systems").await.status == 200);
}

/// lapin writes returned messages into the log, with their content.
#[tokio::test(flavor = "multi_thread")]
async fn no_level_of_the_log_shows_what_a_message_says() {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let systems = "[systems.crm]\nvia = \"amqp\"\n[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"crm\"]\n";
    let hub = Hub::prepared(&format!("{}{systems}", deployment(&url)), |folder| {
        std::fs::write(folder.join("log-level"), "trace,lapin::returned_messages=trace").unwrap();
    });
    let taken = hub.publish(&payment("p1", "100", "10.00")).await;
    wait_for("a return", async || {
        let trace = hub.trace(&taken["seq"]).await;
        (trace["deliveries"][0]["calls"][0]["outcome"] == "unroutable").then_some(())
    })
    .await;
    let log = hub.log();
    assert!(
        log.contains("TRACE") && !log.contains("Pelageya"),
        "{}",
        log.lines().find(|l| l.contains("Pelageya")).unwrap()
    );
}

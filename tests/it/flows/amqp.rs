//! Over a real RabbitMQ.

use super::broker::{Broker, header};
use crate::hub::{ANYBODY, Hub, TOKEN, payment, wait_for};
use crate::servers::{Server, vhost};
use busbar_standins::billing;
use lapin::BasicProperties;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const INVOICES: usize = 10_000;
const ACCOUNTS: usize = 500;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn billing() -> billing::Billing {
    let options = billing::Options { token: TOKEN.into(), ..billing::Options::default() };
    billing::start(any_port(), options).await.unwrap()
}

/// Billing by mapping, and the broker.
fn deployment(amqp_url: &str, billing: SocketAddr) -> String {
    format!(
        r#"
        [amqp]
        url = "{amqp_url}"
        reply-queues = ["answers"]
        {ANYBODY}
        [systems.billing]
        adapter = "rest-json"
        policy = {{ backoff-first-ms = 50, backoff-max-ms = 1000, attempts = 50 }}
        [systems.billing.config]
        base-url = "http://{billing}/api"
        authorization = {{ kind = "bearer", credential = "token" }}
        [systems.billing.config.deliver."invoice.issued.v1"]
        path = "/invoices"
        body = "{{ reference: .data.number, account: .data.account, amount: .data.amount.value, currency: .data.amount.currency, issuedOn: .data.issuedOn }}"
        [systems.billing.config.answer."account.lookup.v1"]
        request = {{ path = "/accounts/{{.data.account}}", statuses = {{ 404 = "ok" }} }}
        type = "account.lookup.answer.v1"
        data = "{{ account: .question.data.account, found: (.status == 200) }}"
        [systems.billing.credentials]
        token = {{ file = "secrets/token" }}
        [systems.billing.grants]
        http = ["http://{billing}"]
        private-addresses = ["127.0.0.1"]
        credentials = ["token"]
        [systems.crm]
        via = "amqp"
        queue = "crm.messages"
        policy = {{ backoff-first-ms = 50, backoff-max-ms = 500 }}
        [[routes]]
        types = ["invoice.issued.v1", "account.lookup.v1"]
        to = ["billing"]
        [[routes]]
        types = ["payment.received.v1"]
        to = ["crm"]
        "#
    )
}

fn invoice(number: usize) -> Value {
    let account = format!("{:07}", number % ACCOUNTS);
    json!({
        "specversion": "1.0", "id": format!("invoice-{number}"), "source": "/test/crm", "type": "invoice.issued.v1",
        "subject": account, "time": "2026-11-22T09:00:00+03:00",
        "data": {
            "account": account, "number": format!("{number:06}"), "issuedOn": "2026-11-22",
            "amount": { "value": format!("{}.{:02}", 100 + number % 900, number % 100), "currency": "RUB" },
        },
    })
}

/// The CRM: publishes every invoice until the broker has confirmed it, in windows that hold each account once.
async fn publish_all(url: String, published: Arc<AtomicUsize>) {
    let mut broker = Broker::patient(&url).await;
    let (mut next, began) = (0, Instant::now());
    while next < INVOICES {
        assert!(began.elapsed() < Duration::from_secs(150), "the CRM got stuck at {next}");
        let window: Vec<Value> = (next..(next + 250).min(INVOICES)).map(invoice).collect();
        let results = futures::future::join_all(
            window.iter().map(|i| broker.publish("busbar.in", i, BasicProperties::default())),
        );
        let confirmed =
            tokio::time::timeout(Duration::from_secs(20), results).await.is_ok_and(|r| r.iter().all(|ok| *ok));
        if confirmed {
            next += window.len();
            published.store(next, Ordering::SeqCst);
        } else {
            broker = Broker::patient(&url).await;
        }
    }
    broker.close().await;
}

async fn until(published: &AtomicUsize, count: usize) {
    let began = Instant::now();
    while published.load(Ordering::SeqCst) < count {
        assert!(began.elapsed() < Duration::from_secs(120), "the CRM got stuck at {published:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Promises 1 to 3: a broker restarted and a hub killed in the middle lose nothing, do nothing twice, and keep each
/// account's order.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_invoices_are_executed_once_each_through_a_restart_and_a_kill() {
    let mut server = tokio::task::spawn_blocking(Server::rabbitmq).await.unwrap();
    let billing = billing().await;
    let mut hub = Hub::start(&deployment(&server.url, billing.addr()));
    let published = Arc::new(AtomicUsize::new(0));
    let crm = tokio::spawn(publish_all(server.url.clone(), published.clone()));
    until(&published, INVOICES / 4).await;
    println!("{} executed, killing the hub", billing.ledger().effects.len());
    hub.kill();
    let at_kill = billing.ledger().effects.len();
    hub.restart();
    until(&published, INVOICES / 2).await;
    println!("{} executed, restarting the broker", billing.ledger().effects.len());
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let server = server.await.unwrap();
    println!("{} executed, the broker is back", billing.ledger().effects.len());
    crm.await.unwrap();
    println!("{} executed, all published", billing.ledger().effects.len());
    let began = Instant::now();
    while billing.ledger().effects.len() < INVOICES {
        let done = billing.ledger().effects.len();
        assert!(began.elapsed() < Duration::from_secs(180), "only {done} executed\n{}", hub.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(at_kill < INVOICES, "the hub was killed after everything was done: the test proves nothing");
    let ledger = billing.ledger();
    assert_eq!(ledger.effects.len(), INVOICES);
    assert_eq!(ledger.executed_twice(), Vec::<String>::new());
    let mut by_account: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for effect in &ledger.effects {
        by_account.entry(&effect.account).or_default().push(&effect.reference);
    }
    for (account, references) in by_account {
        assert!(references.is_sorted(), "account {account} out of order: {references:?}");
    }
    let systems = hub.get(crate::hub::READER, "/v1/systems").await.body;
    let row = systems.as_array().unwrap().iter().find(|s| s["name"] == "billing").unwrap().clone();
    println!("executed {INVOICES}, repeated requests answered from billing's own key: {}", ledger.repeats());
    wait_for("every delivery done", async || {
        let systems = hub.get(crate::hub::READER, "/v1/systems").await.body;
        let row = systems.as_array()?.iter().find(|s| s["name"] == "billing")?.clone();
        (row["deliveries"] == json!({ "done": INVOICES })).then_some(())
    })
    .await;
    drop((row, server));
}

async fn shared() -> (String, billing::Billing, Hub, Broker) {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let billing = billing().await;
    let hub = Hub::start(&deployment(&url, billing.addr()));
    let broker = Broker::connect(&url).await.unwrap();
    (url, billing, hub, broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_lies_in_the_dead_queue_with_its_reason() {
    let (_, _billing, hub, broker) = shared().await;
    let mut bad = invoice(1);
    bad["data"]["amount"]["value"] = json!("12,50");
    assert!(broker.publish("busbar.in", &bad, BasicProperties::default()).await);
    let dead = broker.next("busbar.dead").await.unwrap();
    assert_eq!(header(&dead, "busbarerror"), "invalid-data");
    assert_eq!(header(&dead, "busbarplace"), "/data/amount/value");
    assert_eq!(header(&dead, "id"), "invoice-1");
    let body: Value = serde_json::from_slice(&dead.data).unwrap();
    assert_eq!(body, bad["data"]);
    let refused = async || Some(hub.intakes("outcome=refused").await).filter(|found| !found.is_empty());
    let intakes = wait_for("the refusal in the journal", refused).await;
    assert_eq!((&intakes[0]["kind"], &intakes[0]["error"]["code"]), (&json!("amqp"), &json!("invalid-data")));
    // The same id once more, now right: nothing of the refused one was kept.
    assert!(broker.publish("busbar.in", &invoice(1), BasicProperties::default()).await);
    wait_for("the mended invoice", async || (hub.messages("id=invoice-1").await.len() == 1).then_some(())).await;
    // And the same id with other content is no repeat.
    let mut other = invoice(1);
    other["data"]["amount"]["value"] = json!("999.99");
    assert!(broker.publish("busbar.in", &other, BasicProperties::default()).await);
    let dead = broker.next("busbar.dead").await.unwrap();
    assert_eq!(header(&dead, "busbarerror"), "id-reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_to_reply_to() {
    let (_, _billing, _hub, broker) = shared().await;
    broker.queue("answers", "amq.direct", "answers").await;
    let question = json!({
        "specversion": "1.0", "id": "q1", "source": "/test/crm", "type": "account.lookup.v1", "data": { "account": "77" },
    });
    let properties = || BasicProperties::default().with_reply_to("answers".into()).with_correlation_id("c-1".into());
    assert!(broker.publish("busbar.in", &question, properties()).await);
    let answer = broker.next("answers").await.unwrap();
    assert_eq!(answer.properties.correlation_id().as_ref().unwrap().as_str(), "c-1");
    assert_eq!(header(&answer, "type"), "account.lookup.answer.v1");
    assert_eq!(serde_json::from_slice::<Value>(&answer.data).unwrap(), json!({ "account": "77", "found": true }));
    // A wrong question gets a problem, not silence.
    let mut wrong = question.clone();
    wrong["data"] = json!({});
    assert!(broker.publish("busbar.in", &wrong, properties()).await);
    let answer = broker.next("answers").await.unwrap();
    assert_eq!(answer.properties.content_type().as_ref().unwrap().as_str(), "application/problem+json");
    assert_eq!(serde_json::from_slice::<Value>(&answer.data).unwrap()["code"], "invalid-data");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_over_amqp_gets_its_messages_and_an_unroutable_one_waits() {
    let (_, _billing, hub, broker) = shared().await;
    let accepted = hub.publish(&payment("p1", "100", "10.00")).await;
    let got = broker.next("crm.messages").await.unwrap();
    assert_eq!(
        (header(&got, "id"), header(&got, "type"), header(&got, "subject")),
        ("p1".into(), "payment.received.v1".into(), "100".into())
    );
    assert_eq!(serde_json::from_slice::<Value>(&got.data).unwrap()["amount"]["value"], "10.00");
    hub.settled(&accepted["seq"], &["done"]).await;
    // Nobody is bound any more: the broker confirms such a message all the same.
    let options = lapin::options::QueueDeleteOptions::default();
    broker.channel.queue_delete("crm.messages".into(), options).await.unwrap();
    let accepted = hub.publish(&payment("p2", "100", "20.00")).await;
    let trace = wait_for("a failed attempt", async || {
        let trace = hub.trace(&accepted["seq"]).await;
        trace["deliveries"][0]["error"].is_object().then_some(trace)
    })
    .await;
    assert_eq!(trace["deliveries"][0]["state"], "ready");
    assert_eq!(trace["deliveries"][0]["calls"][0]["outcome"], "unroutable");
    broker.queue("crm.again", "busbar.out", "payment.received.v1").await;
    assert_eq!(header(&broker.next("crm.again").await.unwrap(), "id"), "p2");
    hub.settled(&accepted["seq"], &["done"]).await;
}

//! Signed webhooks in, after Standard Webhooks 1.0.0.

use crate::hub::{Answer, Hub, SIGNING, wait_for};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use busbar_server::wasm::hmac_sha256;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

fn acquiring() -> &'static str {
    r#"
[systems.acquiring]
adapter = "webhook"
[systems.acquiring.hook]
open = true
[systems.acquiring.credentials]
signing = { file = "secrets/signing" }
[systems.acquiring.config.receive]
credential = "signing"
[systems.acquiring.config.receive.events."payment.succeeded"]
type = "payment.received.v1"
subject = "/data/account"
data = { account = "/data/account", amount = { value = "/data/sum", currency = "RUB" }, channel = "acquiring", paidOn = "2026-11-20" }
[systems.acquiring.grants]
emit = ["payment.received.v1"]
credentials = ["signing"]
clock = true
http = []
"#
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn event(sum: &str) -> String {
    json!({ "type": "payment.succeeded", "data": { "account": "0042", "sum": sum } }).to_string()
}

fn sign(secret: &str, id: &str, timestamp: u64, body: &str) -> String {
    let mac = hmac_sha256(secret, format!("{id}.{timestamp}.{body}").as_bytes()).unwrap();
    format!("v1,{}", BASE64_STANDARD.encode(mac))
}

async fn send(hub: &Hub, id: &str, timestamp: u64, signature: &str, body: &str) -> Answer {
    let request = hub.client.post(format!("{}/hooks/acquiring/events", hub.url)).header("webhook-id", id);
    let request = request.header("webhook-timestamp", timestamp).header("webhook-signature", signature);
    hub.send(request.body(body.to_string())).await
}

async fn signed(hub: &Hub, id: &str, body: &str) -> Answer {
    send(hub, id, now(), &sign(SIGNING, id, now(), body), body).await
}

#[tokio::test]
async fn a_right_signature_is_accepted_once() {
    let mut hub = Hub::start(acquiring());
    let body = event("5.00");
    assert_eq!(signed(&hub, "msg-1", &body).await.status, 204);
    assert_eq!(signed(&hub, "msg-1", &body).await.status, 204, "a repeat is no error");
    hub.restart();
    assert_eq!(signed(&hub, "msg-1", &body).await.status, 204, "nor after a crash");
    let messages = hub.messages("source=/test/acquiring").await;
    assert_eq!((messages.len(), &messages[0]["id"]), (1, &json!("msg-1")));
    let outcomes: Vec<_> = hub.intakes("system=acquiring").await.iter().map(|i| i["outcome"].clone()).collect();
    assert_eq!(outcomes, ["repeated", "repeated", "accepted"]);
}

#[tokio::test]
async fn forged_and_stale_webhooks_are_refused_and_recorded() {
    let hub = Hub::start(acquiring());
    let (body, secret) = (event("5.00"), "whsec_Z3Vlc3NlZCBzZWNyZXQ=");
    let good = sign(SIGNING, "msg-1", now(), &body);
    let forged = [
        send(&hub, "msg-1", now(), &sign(secret, "msg-1", now(), &body), &body).await,
        send(&hub, "msg-1", now(), &good, &event("5000.00")).await,
        send(&hub, "msg-2", now(), &good, &body).await,
        send(&hub, "msg-1", now() + 1000, &good, &body).await,
        send(&hub, "msg-1", now(), "v1,", &body).await,
        hub.send(hub.client.post(format!("{}/hooks/acquiring/events", hub.url)).body(body.clone())).await,
    ];
    for answer in &forged {
        answer.problem(401, "unauthorized");
    }
    for stale in [now() - 301, now() + 320] {
        let answer = send(&hub, "msg-1", stale, &sign(SIGNING, "msg-1", stale, &body), &body).await;
        assert_eq!(answer.problem(422, "timestamp-outside-tolerance"), "header webhook-timestamp");
    }
    signed(&hub, "msg-1", "no json").await.problem(422, "bad-json");
    signed(&hub, "msg-1", "{\"type\":\"x\"}").await.problem(422, "unknown-event");
    signed(&hub, "msg-1", &event("5,00")).await.problem(422, "invalid-data");
    // Those whose sender nobody knows are one entry with a count.
    let intakes = wait_for("the count", async || {
        let intakes = hub.intakes("system=acquiring&outcome=refused").await;
        let forgeries = intakes.iter().find(|i| i["error"]["code"] == "unauthorized")?;
        (forgeries["times"] == json!(forged.len())).then_some(intakes)
    })
    .await;
    assert_eq!(intakes.len(), 6, "{intakes:?}");
    assert!(hub.messages("").await.is_empty());
}

#[tokio::test]
async fn another_content_under_a_known_id_is_refused_and_recorded() {
    let hub = Hub::start(acquiring());
    assert_eq!(signed(&hub, "msg-1", &event("5.00")).await.status, 204);
    signed(&hub, "msg-1", &event("6.00")).await.problem(409, "id-reused");
    assert_eq!(hub.messages("").await.len(), 1);
    wait_for("the refusal in the journal", async || {
        let intakes = hub.intakes("system=acquiring&outcome=differing").await;
        intakes.first().map(|i| assert_eq!(i["error"]["code"], "id-reused"))
    })
    .await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_recorded() {
    let hub = Hub::start(acquiring());
    let body = "x".repeat((1 << 20) + 1);
    signed(&hub, "msg-1", &body).await.problem(413, "too-large");
    let intakes = hub.intakes("system=acquiring&outcome=refused").await;
    assert_eq!(intakes.first().map(|i| &i["error"]["code"]), Some(&json!("too-large")));
}

//! Those who have no right key, or nothing to ask: they cost no disk, and shut out nobody.

use super::bounds::{connect, until_closed};
use crate::hub::{Hub, LOGIN, OFFICER, READER, payment, wait_for};
use crate::servers::free_port;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const TERMINAL: &str = r#"
[systems.terminal]
adapter = "hostile"
[systems.terminal.hook]
basic = "login"
[systems.terminal.credentials]
login = { file = "secrets/login" }
[systems.signed]
adapter = "hostile"
[systems.signed.hook]
open = true
"#;

/// What was refused, of one kind.
async fn refused(hub: &Hub, kind: &str, system: &str) -> Vec<Value> {
    let found = hub.get(OFFICER, &format!("/v1/intakes?limit=500&outcome=refused&system={system}")).await.body;
    found["intakes"].as_array().unwrap().iter().filter(|intake| intake["kind"] == kind).cloned().collect()
}

/// The one entry there must be, once it counts so many.
async fn counted(hub: &Hub, kind: &str, system: &str, times: u64) -> Value {
    wait_for(&format!("{times} refusals of {system}"), async || {
        let found = refused(hub, kind, system).await;
        assert!(found.len() <= 1, "{found:?}");
        found.into_iter().next().filter(|intake| intake["times"] == json!(times))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_signatures_are_one_entry_each_with_a_count() {
    let mut hub = Hub::start(TERMINAL);
    for number in 0..150 {
        let key = format!("guess-{number}");
        assert_ne!(hub.get(&key, &format!("/v1/messages/{number}")).await.status, 200);
        let forged = hub.client.post(format!("{}/hooks/terminal/{number}", hub.url));
        assert_ne!(hub.send(forged.basic_auth("terminal", Some(key))).await.status, 200);
    }
    for _ in 0..50 {
        let unsigned = hub.client.post(format!("{}/hooks/signed/unauthorized", hub.url));
        hub.send(unsigned).await.problem(401, "unauthorized");
    }
    let strangers = counted(&hub, "rest", "unknown", 150).await;
    assert_eq!(strangers["error"]["code"], "unauthorized");
    assert_eq!(strangers["name"], "/v1/messages/0");
    assert!(strangers["last-at"].as_str() > strangers["at"].as_str(), "{strangers}");
    counted(&hub, "hook", "terminal", 150).await;
    counted(&hub, "hook", "signed", 50).await;
    // What is counted is written before the hub ends.
    assert_eq!(hub.get("guess-0", "/v1/messages").await.status / 100, 4);
    assert!(hub.stop().success());
    hub.restart();
    counted(&hub, "rest", "unknown", 151).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_other_refusals_the_first_have_an_entry_each() {
    let hub = Hub::start("");
    for number in 0..510 {
        let mut event = payment(&format!("p-{number}"), "100", "1.00");
        event["data"] = json!({ "number": number });
        hub.post("application/cloudevents+json", event.to_string()).await.problem(422, "invalid-data");
    }
    let found = wait_for("the count", async || {
        let found = refused(&hub, "rest", "publisher").await;
        found.iter().any(|intake| intake["times"] == json!(11)).then_some(found)
    })
    .await;
    // The newest entry counts the others.
    assert_eq!((found.len(), &found[0]["times"], &found[1]["times"]), (500, &json!(11), &json!(1)));
    // A reused id is a second fact: each one is kept.
    hub.publish(&payment("known", "100", "1.00")).await;
    for sum in 0..600 {
        let other = payment("known", "100", &format!("{}.00", sum + 2));
        hub.post("application/cloudevents+json", other.to_string()).await.problem(409, "id-reused");
    }
    let differing = hub.intakes("outcome=differing").await;
    assert!(differing.len() == 500 && differing.iter().all(|intake| intake["times"] == json!(1)), "a whole page");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_wrong_keys_is_told_to_wait_and_others_there_are_served() {
    let hub = Hub::start(TERMINAL);
    for _ in 0..30 {
        hub.get("an-old-key", "/v1/messages").await.problem(401, "unauthorized");
    }
    let mut told = Vec::new();
    for _ in 0..100 {
        let answer = hub.get("an-old-key", "/v1/messages").await;
        if answer.status == 429 {
            answer.problem(429, "throttled");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{answer:?}");
        }
        told.push(answer.status);
    }
    // Now and then it is told again that the key is wrong.
    assert!(told.starts_with(&[429; 3]) && told.iter().filter(|status| **status == 429).count() > 90, "{told:?}");
    // All of these come from the same address.
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
    hub.get("mistyped", "/v1/messages").await.problem(401, "unauthorized");
    let hook = |password: &str| {
        hub.send(hub.client.post(format!("{}/hooks/terminal/ok", hub.url)).basic_auth(LOGIN.0, Some(password)))
    };
    let mut told = Vec::new();
    for number in 0..100 {
        told.push(hook(&format!("guess-{number}")).await.status);
    }
    let throttled = told.iter().filter(|status| **status == 429).count();
    assert!(told.starts_with(&[401; 20]) && throttled > 5, "{told:?}");
    assert_eq!(hook(LOGIN.1).await.status, 200);
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
    assert!(hub.log().contains("wrong keys come from an address again and again"));
}

/// As many sockets as a crowd needs.
fn raise_sockets() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_nothing_shuts_out_nobody() {
    raise_sockets();
    let hub = Hub::with("header-timeout-ms = 60000\ntimeout-ms = 60000", "");
    // One that asks now and then keeps its connection.
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
    let mut crowd = Vec::new();
    for number in 0..1_100 {
        let mut stream = connect(&hub).await;
        // Half of them begin to ask.
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").await.unwrap();
        }
        crowd.push(stream);
    }
    let fresh = crate::hub::client();
    let asked = fresh.get(format!("{}/healthz", hub.url)).timeout(Duration::from_secs(5)).send().await;
    assert_eq!(asked.expect("shut out").status(), 200);
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
    let metrics = hub.get("", "/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("busbar_http_idle_closed_total"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_may_have_a_listener_of_their_own() {
    let port = free_port();
    let hub = Hub::with(&format!("health-listen = \"127.0.0.1:{port}\""), "");
    for path in ["/healthz", "/readyz", "/metrics"] {
        hub.get("", path).await.problem(404, "not-found");
        let there = hub.send(hub.client.get(format!("http://127.0.0.1:{port}{path}"))).await;
        assert_eq!(there.status, 200, "{there:?}");
    }
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
    let there = hub.client.get(format!("http://127.0.0.1:{port}/v1/messages")).bearer_auth(READER);
    hub.send(there).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_connection_without_a_further_request_ends() {
    let hub = Hub::with("header-timeout-ms = 400", "");
    let mut stream = connect(&hub).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
}

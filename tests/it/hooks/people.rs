//! What a person does about deliveries that are tried again by themselves, and what is shown of them.

use super::deliveries::billing;
use crate::hub::{Answer, Hub, OPERATOR, READER, Standin, payment, wait_for};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LONG: &str = "backoff-first-ms = 600000\nbackoff-max-ms = 600000\nbreaker-failures = 100";

async fn operate(hub: &Hub, id: &Value, act: &str, body: Option<Value>) -> Answer {
    let request = hub.client.post(format!("{}/v1/deliveries/{}/{act}", hub.url, id.as_str().unwrap()));
    let request = request.bearer_auth(OPERATOR);
    hub.send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// The one delivery that is failing, once it has failed so often.
async fn failing(hub: &Hub, attempts: u64) -> Value {
    wait_for("a delivery that is failing", async || {
        let found = hub.get(READER, "/v1/deliveries").await.body["deliveries"][0].clone();
        (found["attempts"].as_u64() == Some(attempts)).then_some(found)
    })
    .await
}

async fn system(hub: &Hub) -> Value {
    hub.get(READER, "/v1/systems").await.body[0].clone()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

#[tokio::test]
async fn what_waits_to_be_tried_again_is_shown_retried_edited_and_skipped() {
    let far = Standin::start(|seen, _| if seen.body.contains("\"mended\"") { (201, "{}") } else { (401, "no") }).await;
    let hub = Hub::start(&billing(&far.url, LONG));
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    let shown = failing(&hub, 1).await;
    assert_eq!((&shown["state"], &shown["error"]["code"]), (&json!("ready"), &json!("system-unauthorized")), "{shown}");
    assert!(shown["next-at"].is_string(), "{shown}");
    // Nothing gave up, so that an operation on many does not mean it unless it says so.
    let request = hub.client.post(format!("{}/v1/deliveries/skip", hub.url)).bearer_auth(OPERATOR);
    assert_eq!(hub.send(request).await.body["done"], json!(0));

    assert_eq!(operate(&hub, &shown["id"], "retry", None).await.status, 204);
    let shown = failing(&hub, 2).await;
    let data = json!({
        "account": "mended", "amount": { "value": "1.00", "currency": "RUB" }, "channel": "cash-desk",
        "paidOn": "2026-11-20",
    });
    assert_eq!(operate(&hub, &shown["id"], "edit", Some(data)).await.status, 204);
    let trace = hub.settled(&taken["seq"], &["done"]).await;
    assert_eq!((&trace["deliveries"][0]["attempts"], &trace["deliveries"][0]["by"]), (&json!(3), &json!("operator")));
    assert_eq!(operate(&hub, &shown["id"], "retry", None).await.problem(409, "not-parked"), "");

    let other = hub.publish(&payment("p-2", "2", "1.00")).await;
    let shown = failing(&hub, 1).await;
    let behind = hub.publish(&payment("p-3", "2", "1.00")).await;
    assert_eq!(operate(&hub, &shown["id"], "skip", None).await.status, 204);
    hub.settled(&other["seq"], &["skipped"]).await;
    wait_for("the one behind it", async || {
        (hub.trace(&behind["seq"]).await["deliveries"][0]["attempts"] == json!(1)).then_some(())
    })
    .await;
    assert_eq!(far.seen().len(), 5);
}

#[tokio::test]
async fn what_has_done_something_is_not_edited_while_it_is_tried_again() {
    let far = Standin::start(|seen, _| if seen.method == "POST" { (201, "booked") } else { (503, "") }).await;
    let toml = format!(
        r#"
[systems.gated]
adapter = "hostile"
[systems.gated.config]
behaviour = "post-then-gate"
url = "{url}"
[systems.gated.policy]
{LONG}
[systems.gated.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
[[routes]]
types = ["payment.received.v1"]
to = ["gated"]
"#,
        url = far.url
    );
    let hub = Hub::start(&toml);
    hub.publish(&payment("p-1", "1", "1.00")).await;
    let shown = failing(&hub, 1).await;
    let data = payment("p-1", "2", "2.00")["data"].clone();
    operate(&hub, &shown["id"], "edit", Some(data)).await.problem(409, "not-parked");
    assert_eq!(operate(&hub, &shown["id"], "retry", None).await.status, 204);
    failing(&hub, 2).await;
    assert_eq!(far.count("POST", "/post"), 1, "what was done is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_made_is_let_be() {
    let far = Standin::slow(|_, _| (201, "{}".into(), Duration::from_millis(1500))).await;
    let hub = Hub::start(&billing(&far.url, LONG));
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    wait_for("the request", async || (far.seen().len() == 1).then_some(())).await;
    let id = hub.trace(&taken["seq"]).await["deliveries"][0]["id"].clone();
    for act in ["retry", "skip"] {
        operate(&hub, &id, act, None).await.problem(409, "under-way");
    }
    let trace = hub.settled(&taken["seq"], &["done"]).await;
    assert_eq!((&trace["deliveries"][0]["attempts"], far.seen().len()), (&json!(1), 1));
}

#[tokio::test]
async fn a_system_that_is_down_is_asked_when_a_person_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let policy = "backoff-first-ms = 600000\nbackoff-max-ms = 600000\nbreaker-failures = 1\nbreaker-first-ms = 600000\nbreaker-max-ms = 600000";
    let hub = Hub::start(&billing(&format!("http://{address}"), policy));
    let first = hub.publish(&payment("p-1", "1", "1.00")).await;
    let shown = failing(&hub, 1).await;
    let second = hub.publish(&payment("p-2", "2", "1.00")).await;
    assert!(system(&hub).await["down-since-ms"].is_i64());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let up = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(|| async { "{}" })).await });
    assert_eq!(operate(&hub, &shown["id"], "retry", None).await.status, 204);
    hub.settled(&first["seq"], &["done"]).await;
    hub.settled(&second["seq"], &["done"]).await;
    up.abort();
}

/// A system that speaks the hub's own language and asks for ages; the second time it takes what comes.
#[tokio::test]
async fn a_wish_to_wait_is_cut_shown_as_it_is_done_and_overruled_by_a_person() {
    for status in [429_u16, 503] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let far = Router::new().fallback(move || {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                match first {
                    true => (StatusCode::from_u16(status).unwrap(), [(RETRY_AFTER, "99999999999")]).into_response(),
                    false => StatusCode::OK.into_response(),
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, far).await });
        let toml = format!(
            "[systems.crm]\nvia = \"http\"\nurl = \"{url}/events\"\n[systems.crm.policy]\n{LONG}\nwait-max-ms = 1800000\n\
             [[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"crm\"]\n"
        );
        let hub = Hub::start(&toml);
        let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
        let shown = failing(&hub, 1).await;
        let next_at = shown["next-at"].as_str().unwrap();
        let next_at = time::OffsetDateTime::parse(next_at, &time::format_description::well_known::Rfc3339).unwrap();
        let wait_ms = i64::try_from(next_at.unix_timestamp_nanos() / 1_000_000).unwrap() - now_ms();
        assert!((1_700_000..=1_800_000).contains(&wait_ms), "{shown}");
        let held = system(&hub).await["held-until-ms"].as_i64();
        match status {
            429 => assert!((1_700_000..=1_800_000).contains(&(held.unwrap() - now_ms())), "{held:?}"),
            _ => assert_eq!(held, None),
        }
        assert_eq!(operate(&hub, &shown["id"], "retry", None).await.status, 204);
        hub.settled(&taken["seq"], &["done"]).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        server.abort();
    }
}

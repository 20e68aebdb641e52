//! Parked deliveries: those behind wait, others pass, and a person retries, edits or skips.

use super::deliveries;
use crate::hub::{Hub, OFFICER, OPERATOR, PUBLISHER, Standin, payment, wait_for};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A billing system that refuses sums below zero while `strict`.
async fn billing(strict: Arc<AtomicBool>) -> (Standin, Hub) {
    let standin = Standin::start(move |seen, _| {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        let bad = body["purpose"].as_str().unwrap().contains("bad");
        if bad && strict.load(Ordering::SeqCst) { (422, r#"{"error":"refused"}"#) } else { (200, "{}") }
    })
    .await;
    let hub = Hub::start(&format!(
        "[systems.billing]\nadapter = \"rest-json\"\n[systems.billing.config]\nbase-url = \"{}\"\n\
         [systems.billing.config.deliver.\"payment.received.v1\"]\npath = \"/payments\"\n[systems.billing.grants]\n\
         http = [\"{}\"]\nprivate-addresses = [\"127.0.0.1\"]\n[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"billing\"]\n",
        standin.url, standin.url
    ));
    (standin, hub)
}

fn named(id: &str, account: &str, purpose: &str) -> Value {
    let mut event = payment(id, account, "10.00");
    event["data"]["purpose"] = purpose.into();
    event
}

fn purposes(standin: &Standin) -> Vec<String> {
    let purpose = |body: &str| serde_json::from_str::<Value>(body).unwrap()["purpose"].as_str().unwrap().to_string();
    standin.seen().iter().map(|seen| purpose(&seen.body)).collect()
}

async fn act(hub: &Hub, path: &str, body: &str) -> crate::hub::Answer {
    let request = hub.client.post(format!("{}{path}", hub.url)).bearer_auth(OPERATOR);
    hub.send(request.header("content-type", "application/json").body(body.to_string())).await
}

async fn states(hub: &Hub, expected: &[(&str, &str)]) {
    wait_for(&format!("{expected:?}"), async || {
        for (id, state) in expected {
            let found = hub.messages(&format!("id={id}")).await;
            if found.first()?["deliveries"][0]["state"] != **state {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test]
async fn what_waits_behind_a_parked_one_follows_it_in_order() {
    let strict = Arc::new(AtomicBool::new(true));
    let (standin, mut hub) = billing(strict.clone()).await;
    for (id, account, purpose) in
        [("1", "a", "a bad 1"), ("2", "a", "a 2"), ("3", "b", "b 3"), ("4", "a", "a bad 4"), ("5", "a", "a 5")]
    {
        hub.publish(&named(id, account, purpose)).await;
    }
    let held = [("1", "parked"), ("2", "waiting"), ("3", "done"), ("4", "waiting"), ("5", "waiting")];
    states(&hub, &held).await;
    // A start changes nothing, and what comes in afterwards waits as well.
    hub.restart();
    hub.publish(&named("6", "a", "a 6")).await;
    hub.publish(&named("7", "b", "b 7")).await;
    states(&hub, &[held.as_slice(), &[("6", "waiting"), ("7", "done")]].concat()).await;
    let parked = deliveries(&hub, "parked").await;
    assert_eq!(parked.len(), 1);
    assert_eq!((&parked[0]["error"]["code"], &parked[0]["attempts"]), (&json!("http-422"), &json!(1)));
    let waiting = deliveries(&hub, "waiting").await;
    assert_eq!(waiting.len(), 4);

    // Out of turn, unknown, without the right.
    let second = waiting[0]["id"].as_str().unwrap();
    act(&hub, &format!("/v1/deliveries/{second}/retry"), "").await.problem(409, "not-parked");
    act(&hub, "/v1/deliveries/999999/retry", "").await.problem(404, "not-found");
    let first = parked[0]["id"].as_str().unwrap().to_string();
    let forbidden = hub.client.post(format!("{}/v1/deliveries/{first}/retry", hub.url)).bearer_auth(PUBLISHER);
    hub.send(forbidden).await.problem(403, "forbidden");

    // Retried while nothing has changed: parked again. Mended data: it goes, and 2 follows, until 4.
    assert_eq!(act(&hub, &format!("/v1/deliveries/{first}/retry"), "").await.status, 204);
    states(&hub, &[("1", "parked"), ("2", "waiting")]).await;
    let refused = act(&hub, &format!("/v1/deliveries/{first}/edit"), r#"{"account": 7}"#).await;
    assert!(refused.problem(422, "invalid-data").starts_with('/'), "{refused:?}");
    let mended = named("1", "a", "a mended 1")["data"].to_string();
    assert_eq!(act(&hub, &format!("/v1/deliveries/{first}/edit"), &mended).await.status, 204);
    states(&hub, &[("1", "done"), ("2", "done"), ("4", "parked"), ("5", "waiting"), ("6", "waiting")]).await;
    let trace = hub.get(OFFICER, &format!("/v1/messages/{}", parked[0]["message"].as_str().unwrap())).await.body;
    assert_eq!(trace["message"]["data"]["purpose"], "a bad 1", "what came in stays");
    assert_eq!(trace["deliveries"][0]["edited"]["purpose"], "a mended 1");
    assert_eq!(trace["deliveries"][0]["by"], "operator");
    assert_eq!(trace["deliveries"][0]["attempts"], 3);

    // Skipped: the rest follows.
    let fourth = deliveries(&hub, "parked").await[0]["id"].as_str().unwrap().to_string();
    assert_eq!(act(&hub, &format!("/v1/deliveries/{fourth}/skip"), "").await.status, 204);
    states(&hub, &[("4", "skipped"), ("5", "done"), ("6", "done")]).await;
    let of_a: Vec<_> = purposes(&standin).into_iter().filter(|p| p.starts_with('a') && !p.contains("bad")).collect();
    assert_eq!(of_a, ["a mended 1", "a 2", "a 5", "a 6"]);
}

#[tokio::test]
async fn many_are_retried_by_filter_in_their_order() {
    let strict = Arc::new(AtomicBool::new(true));
    let (standin, hub) = billing(strict.clone()).await;
    for number in 0..30 {
        let account = format!("account-{}", number % 10);
        hub.publish(&named(&number.to_string(), &account, &format!("{account} bad {number:02}"))).await;
    }
    wait_for("ten to be parked", async || (deliveries(&hub, "parked").await.len() == 10).then_some(())).await;
    assert_eq!(deliveries(&hub, "waiting").await.len(), 20);
    let nothing = act(&hub, "/v1/deliveries/retry?system=crm", "").await.body;
    assert_eq!(nothing, json!({ "done": 0, "refused": [] }));
    strict.store(false, Ordering::SeqCst);
    let command = |more: &[&str]| {
        let mut command = std::process::Command::new(crate::hub::binary());
        command.args(["parked", "--url", &hub.url, "--key", OPERATOR]).args(more);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (listed, text) = command(&["--system", "billing", "--code", "http-422"]);
    assert!(listed && text.matches("parked").count() == 10, "{text}");
    let (retried, text) = command(&["--system", "billing", "--code", "http-422", "retry", "--all", "--rate", "200"]);
    assert!(retried && text.contains("10 retried"), "{text}");
    states(&hub, &(0..30).map(|_| ("29", "done")).collect::<Vec<_>>()).await;
    wait_for("nothing to be open", async || {
        (deliveries(&hub, "waiting").await.is_empty() && deliveries(&hub, "ready").await.is_empty()).then_some(())
    })
    .await;
    for account in 0..10 {
        let prefix = format!("account-{account} ");
        let mut of_one: Vec<_> = purposes(&standin).into_iter().filter(|p| p.starts_with(&prefix)).collect();
        // The first was tried before and refused.
        of_one.remove(0);
        let expected: Vec<_> = [0, 10, 20].map(|n| format!("{prefix}bad {:02}", n + account)).into();
        assert_eq!(of_one, expected);
    }
}

#[tokio::test]
async fn a_paused_system_waits_and_loses_nothing() {
    let (standin, hub) = billing(Arc::new(AtomicBool::new(false))).await;
    assert_eq!(act(&hub, "/v1/systems/billing/pause", "").await.status, 204);
    act(&hub, "/v1/systems/nobody/pause", "").await.problem(404, "not-found");
    hub.publish(&named("1", "a", "a 1")).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(standin.seen().len(), 0);
    let systems = hub.get(OFFICER, "/v1/systems").await.body;
    assert_eq!((&systems[0]["paused"], &systems[0]["deliveries"]["ready"]), (&json!(true), &json!(1)));
    assert_eq!(act(&hub, "/v1/systems/billing/resume", "").await.status, 204);
    states(&hub, &[("1", "done")]).await;
}

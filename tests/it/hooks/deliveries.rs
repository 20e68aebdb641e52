//! Deliveries of a running hub: retried, parked, kept in order, and never sent twice.

use crate::hub::{Hub, READER, Seen, Standin, payment, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

/// A plain system at this address: `POST /payments`, the account's number in the body.
pub fn billing(url: &str, policy: &str) -> String {
    format!(
        r#"
[systems.billing]
adapter = "rest-json"
[systems.billing.config]
base-url = "{url}"
[systems.billing.config.deliver."payment.received.v1"]
path = "/payments"
body = '{{id: .id, account: .data.account}}'
[systems.billing.policy]
{policy}
[systems.billing.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
[[routes]]
types = ["payment.received.v1"]
to = ["billing"]
"#
    )
}

fn delivery(trace: &Value) -> &Value {
    &trace["deliveries"][0]
}

fn ids(seen: &[Seen]) -> Vec<String> {
    let id = |s: &Seen| serde_json::from_str::<Value>(&s.body).unwrap()["id"].as_str().unwrap().to_string();
    seen.iter().map(id).collect()
}

#[tokio::test]
async fn a_failing_system_is_tried_again_ever_later_until_it_takes_it_once() {
    let shaky = Standin::start(|_, before| if before < 3 { (503, "down") } else { (201, "{}") }).await;
    let hub = Hub::start(&billing(&shaky.url, "backoff-first-ms = 200\nbackoff-max-ms = 10000"));
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    let trace = hub.settled(&taken["seq"], &["done"]).await;
    assert_eq!((delivery(&trace)["attempts"].as_u64(), shaky.seen().len()), (Some(4), 4), "{trace}");
    let calls = delivery(&trace)["calls"].as_array().unwrap().clone();
    let statuses: Vec<_> = calls.iter().map(|c| c["answer"]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [503, 503, 503, 201]);
    // Each step is half fixed, half random: 100 to 200 ms, 200 to 400 ms, 400 to 800 ms.
    let seen = shaky.seen();
    let gaps: Vec<Duration> = seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (gap, least) in gaps.iter().zip([100, 200, 400]) {
        let (least, most) = (Duration::from_millis(least), Duration::from_millis(least * 2 + 1000));
        assert!(*gap >= least && *gap < most, "{gaps:?}");
    }
    // Every attempt carried the same idempotency key: that is what makes repeating safe.
    let keys: Vec<_> = calls.iter().map(|c| c["request"]["headers"].to_string()).collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]) && keys[0].contains("idempotency-key"), "{keys:?}");
}

#[tokio::test]
async fn a_system_that_stays_down_is_given_up_after_the_policy_says() {
    let down = Standin::start(|_, _| (503, "down")).await;
    let hub = Hub::start(&billing(&down.url, "attempts = 3\nbackoff-first-ms = 20\nbreaker-failures = 100"));
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    let mut keyless = payment("p-2", "1", "1.00");
    keyless.as_object_mut().unwrap().remove("subject");
    let other = hub.publish(&keyless).await;
    let trace = hub.settled(&taken["seq"], &["parked"]).await;
    assert_eq!(
        (delivery(&trace)["attempts"].as_u64(), &delivery(&trace)["error"]["code"]),
        (Some(3), &json!("transient"))
    );
    // Without a key nothing can wait behind it.
    hub.settled(&other["seq"], &["dead"]).await;
    assert_eq!(down.seen().len(), 6);
}

#[tokio::test]
async fn behind_a_parked_delivery_its_key_waits_and_others_pass() {
    let strict = Standin::start(|seen, _| if seen.body.contains("\"bad\"") { (422, "no") } else { (201, "{}") }).await;
    let mut hub = Hub::start(&billing(&strict.url, "attempts = 5"));
    let first = hub.publish(&payment("good-1", "A", "1.00")).await;
    let bad = hub.publish(&payment("bad", "A", "1.00")).await;
    let behind = hub.publish(&payment("behind-1", "A", "1.00")).await;
    let passing = hub.publish(&payment("good-2", "B", "1.00")).await;
    hub.settled(&first["seq"], &["done"]).await;
    hub.settled(&passing["seq"], &["done"]).await;
    let trace = hub.settled(&bad["seq"], &["parked"]).await;
    assert_eq!(
        (delivery(&trace)["attempts"].as_u64(), &delivery(&trace)["error"]["code"]),
        (Some(1), &json!("refused"))
    );
    // One that comes when the key is parked already waits just so.
    let later = hub.publish(&payment("behind-2", "A", "1.00")).await;
    for seq in [&behind["seq"], &later["seq"]] {
        let trace = hub.settled(seq, &["waiting"]).await;
        assert_eq!((&delivery(&trace)["error"], &delivery(&trace)["attempts"]), (&Value::Null, &json!(0)));
    }
    // Neither a crash nor an orderly stop lets it slip through.
    hub.restart();
    let after = hub.publish(&payment("behind-3", "A", "1.00")).await;
    let other = hub.publish(&payment("good-3", "B", "1.00")).await;
    hub.settled(&other["seq"], &["done"]).await;
    hub.settled(&after["seq"], &["waiting"]).await;
    assert_eq!(hub.messages("system=billing&state=parked").await.len(), 1);
    assert_eq!(hub.messages("system=billing&state=waiting").await.len(), 3);
    let mut sent = ids(&strict.seen());
    sent.sort();
    assert_eq!(sent, ["bad", "good-1", "good-2", "good-3"]);
}

#[tokio::test]
async fn one_key_is_delivered_in_order_though_the_system_stumbles() {
    let shaky = Standin::start(
        |seen, before| if before % 3 == 1 || seen.body.contains("slow") { (503, "") } else { (201, "{}") },
    )
    .await;
    let hub = Hub::start(&billing(&shaky.url, "backoff-first-ms = 5\nbackoff-max-ms = 20\nattempts = 50"));
    let batch: Vec<Value> = (0..30).map(|n| payment(&format!("p-{n:02}"), ["A", "B", "C"][n % 3], "1.00")).collect();
    let answer = hub.post("application/cloudevents-batch+json", Value::from(batch).to_string()).await;
    assert_eq!(answer.status, 202);
    wait_for("all of them", async || (hub.messages("system=billing&state=done").await.len() == 30).then_some(())).await;
    let mut order = ids(&shaky.seen());
    order.dedup();
    for key in 0..3 {
        // Tries of one message follow each other; with the repeats taken out, its key's order is left.
        let mut of_key: Vec<_> =
            order.iter().filter(|id| id[2..].parse::<usize>().unwrap() % 3 == key).cloned().collect();
        of_key.dedup();
        let expected: Vec<_> = (0..30).filter(|n| n % 3 == key).map(|n| format!("p-{n:02}")).collect();
        assert_eq!(of_key, expected);
    }
}

/// The hostile adapter, which posts and then looks whether it may end well.
fn gated(url: &str) -> String {
    format!(
        r#"
[systems.gated]
adapter = "hostile"
[systems.gated.config]
behaviour = "post-then-gate"
url = "{url}"
[systems.gated.policy]
backoff-first-ms = 20
[systems.gated.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
[[routes]]
types = ["payment.received.v1"]
to = ["gated"]
"#
    )
}

#[tokio::test]
async fn an_answered_post_is_not_sent_again_whatever_follows() {
    // Closed, then a crash of the adapter, then the hub is killed, then open.
    let gate = Standin::start(|seen, before| match (seen.method.as_str(), before) {
        ("POST", _) => (201, "booked"),
        (_, 0) => (503, ""),
        (_, 1) => (500, ""),
        (_, 2..6) => (503, ""),
        _ => (200, ""),
    })
    .await;
    let mut hub = Hub::start(&gated(&gate.url));
    let taken = hub.publish(&payment("p-1", "1", "1.00")).await;
    wait_for("two attempts", async || (gate.count("GET", "/gate") >= 3).then_some(())).await;
    hub.restart();
    let trace = hub.settled(&taken["seq"], &["done"]).await;
    let calls = delivery(&trace)["calls"].as_array().unwrap().clone();
    let posts: Vec<_> =
        calls.iter().filter(|c| c["request"]["method"] == "POST").map(|c| c["outcome"].as_str().unwrap()).collect();
    assert_eq!(posts[0], "ok");
    assert!(posts.len() >= 5 && posts[1..].iter().all(|outcome| *outcome == "recorded"), "{posts:?}");
    assert_eq!(gate.count("POST", "/post"), 1);
    // Another message is another payment.
    let other = hub.publish(&payment("p-2", "1", "1.00")).await;
    hub.settled(&other["seq"], &["done"]).await;
    assert_eq!(gate.count("POST", "/post"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_lets_what_runs_end_and_a_crash_makes_it_again() {
    let slow = Standin::slow(|_, _| (201, "{}".into(), Duration::from_millis(700))).await;
    let mut hub = Hub::start(&billing(&slow.url, "backoff-first-ms = 20"));
    let first = hub.publish(&payment("p-1", "A", "1.00")).await;
    wait_for("the request", async || (slow.seen().len() == 1).then_some(())).await;
    assert!(hub.stop().success());
    hub.restart();
    let trace = hub.settled(&first["seq"], &["done"]).await;
    assert_eq!((delivery(&trace)["attempts"].as_u64(), slow.seen().len()), (Some(1), 1), "it was sent again");
    let second = hub.publish(&payment("p-2", "A", "1.00")).await;
    wait_for("the request", async || (slow.seen().len() == 2).then_some(())).await;
    hub.kill();
    hub.restart();
    hub.settled(&second["seq"], &["done"]).await;
    assert_eq!(ids(&slow.seen()), ["p-1", "p-2", "p-2"], "confirmed, so it must not be lost");
    assert_eq!(hub.get(READER, "/v1/messages?state=done").await.body["messages"].as_array().unwrap().len(), 2);
}

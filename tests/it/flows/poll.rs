//! Polling by the real program: the cursor moves with what was committed, and with nothing else.

use crate::hub::{Hub, Standin, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

/// A system with the changes `1..` at `GET /changes/<after>`, two at a time.
fn feed(url: &str) -> String {
    format!(
        r#"
[systems.feed]
adapter = "rest-json"
poll = {{ every-ms = 100 }}
[systems.feed.config]
base-url = "{url}"
[systems.feed.config.poll]
request = {{ path = "/changes/{{.cursor // 0}}" }}
items = '[.body.items[] | {{id: "p-\(.)", type: "payment.received.v1", subject: "5", data: {{account: "5", amount: {{value: "\(.).00", currency: "RUB"}}, channel: "acquiring", paidOn: "2026-11-20"}}}}]'
cursor = ".body.next"
more = ".body.more"
[systems.feed.policy]
backoff-first-ms = 100
[systems.feed.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
emit = ["payment.received.v1"]
"#
    )
}

/// The page after `path`, of changes up to `last`.
fn page(path: &str, last: u64) -> String {
    let after: u64 = path.trim_start_matches("/changes/").parse().unwrap();
    let items: Vec<u64> = (after + 1..=last).take(2).collect();
    let next = items.last().copied().unwrap_or(after);
    json!({ "items": items, "next": next, "more": next < last }).to_string()
}

async fn ids(hub: &Hub) -> Vec<String> {
    let found = hub.messages("source=/test/feed").await;
    found.iter().rev().map(|m| m["id"].as_str().unwrap().to_string()).collect()
}

fn numbered(numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|n| format!("p-{n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_goes_on_where_it_was_after_a_failure_and_after_a_restart() {
    let standin = Standin::slow(|seen, before| match (seen.path.as_str(), before) {
        ("/changes/4", 0..3) => (500, "broken".into(), Duration::ZERO),
        (path, _) => (200, page(path, 6), Duration::ZERO),
    })
    .await;
    let mut hub = Hub::start(&feed(&standin.url));
    wait_for("six changes", async || (ids(&hub).await.len() == 6).then_some(())).await;
    assert_eq!(ids(&hub).await, numbered(1..=6));
    // What failed is written down, and was asked again with the cursor it had, ever later.
    let intakes = hub.intakes("system=feed").await;
    let outcomes: Vec<_> = intakes.iter().rev().map(|i| i["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["accepted", "accepted", "refused", "refused", "refused", "accepted"], "{intakes:?}");
    assert!(intakes.iter().all(|i| i["kind"] == "poll"));
    let seen = standin.seen();
    let asked: Vec<_> = seen.iter().take(6).map(|s| s.path.trim_start_matches("/changes/")).collect();
    assert_eq!(asked, ["0", "2", "4", "4", "4", "4"]);
    let gaps: Vec<_> = seen[2..6].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (gap, least) in gaps.iter().zip([50, 100, 200]) {
        assert!(*gap >= Duration::from_millis(least), "{gaps:?}");
    }
    // With nothing new there is nothing to write down.
    wait_for("polls of nothing", async || (standin.count("GET", "/changes/6") >= 2).then_some(())).await;
    assert_eq!(hub.intakes("system=feed").await.len(), 6);
    hub.restart();
    let before = standin.count("GET", "/changes/6");
    wait_for("a poll", async || (standin.count("GET", "/changes/6") > before).then_some(())).await;
    assert_eq!((standin.count("GET", "/changes/0"), ids(&hub).await.len()), (1, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_and_nothing_twice_however_often_the_hub_is_killed() {
    const LAST: u64 = 300;
    let standin = Standin::slow(|seen, _| (200, page(&seen.path, LAST), Duration::from_millis(4))).await;
    let mut hub = Hub::start(&feed(&standin.url));
    for part in 1..=4 {
        wait_for("some", async || (ids(&hub).await.len() as u64 >= part * LAST / 6).then_some(())).await;
        hub.restart();
    }
    wait_for("all", async || (ids(&hub).await.len() as u64 >= LAST).then_some(())).await;
    assert_eq!(ids(&hub).await, numbered(1..=LAST));
    assert_eq!(standin.count("GET", "/changes/0"), 1, "it began anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_refuses_holds_the_cursor() {
    let standin = Standin::slow(|seen, before| {
        let page = page(&seen.path, 4);
        // A sum that is none, until the far end is mended.
        (200, if before < 2 { page.replace("[3,", "[\"x\",") } else { page }, Duration::ZERO)
    })
    .await;
    let hub = Hub::start(&feed(&standin.url));
    wait_for("four", async || (ids(&hub).await.len() == 4).then_some(())).await;
    assert_eq!(ids(&hub).await, numbered(1..=4));
    let refused: Vec<Value> = hub.intakes("system=feed&outcome=refused").await;
    assert_eq!(refused.len(), 2, "{refused:?}");
    let named = |i: &Value| i["error"]["detail"].as_str().unwrap().contains("from item 0");
    assert!(refused.iter().all(|i| i["error"]["code"] == "invalid-emit" && named(i)), "{refused:?}");
    assert_eq!(standin.count("GET", "/changes/2"), 3);
}

//! What an input says that is known otherwise, and what is left out of it: an outcome of its own, never `done/`, and a
//! person decides.

use crate::hub::{Hub, OFFICER, OPERATOR, PUBLISHER, READER, payment, wait_for};
use serde_json::{Value, json};

/// A system whose files state what they say: one payment a line, `id account sum`; `-` leaves a line out.
pub const LINES: &str = r#"
    [systems.bank]
    adapter = "hostile"
    config = { behaviour = "lines" }
    folder = { path = "inbox", settle-ms = 100 }
    [systems.bank.grants]
    emit = ["payment.received.v1"]
    [[routes]]
    types = ["payment.received.v1"]
    to = ["log"]
    key = "data.account"
    [systems.log]
    adapter = "hostile"
"#;

async fn taken(hub: &Hub, name: &str, folder: &str, lines: &str) -> String {
    std::fs::write(hub.path(&format!("inbox/{name}")), lines).unwrap();
    let (file, report) = (format!("inbox/{folder}/{name}"), format!("inbox/{folder}/{name}.report.txt"));
    wait_for(&file, async || hub.path(&file).exists().then_some(())).await;
    std::fs::read_to_string(hub.path(&report)).unwrap()
}

async fn decide(hub: &Hub, key: &str, entry: &Value, act: &str) -> crate::hub::Answer {
    let url = format!("{}/v1/intakes/{}/{act}", hub.url, entry["id"].as_str().unwrap());
    hub.send(hub.client.post(url).bearer_auth(key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_id_with_other_content_goes_to_review_and_a_person_decides() {
    let hub = Hub::start(LINES);
    taken(&hub, "one.txt", "done", "p-1 100 10.00\np-2 100 20.00\n").await;
    let report = taken(&hub, "two.txt", "review", "p-1 100 11.00\np-2 100 20.00\np-3 100 30.00\n").await;
    assert!(report.contains("incomplete") && report.contains("1 known ones say something else"), "{report}");
    let entry = hub.intakes("outcome=differing").await.remove(0);
    assert_eq!(
        (&entry["kind"], &entry["name"], &entry["error"]["code"]),
        (&json!("file"), &json!("two.txt"), &json!("known-differs"))
    );
    assert_eq!(entry["error"]["place"], "line 1");
    assert_eq!(entry["event"]["data"]["amount"]["value"], "11.00");
    // Whoever has no right to personal data sees what is personal masked there as well.
    let seen = async |key| hub.get(key, "/v1/intakes?outcome=differing").await.body["intakes"][0]["event"].clone();
    let (all, some) = (seen(OFFICER).await, seen(READER).await);
    assert_eq!((&all["data"]["purpose"], &some["data"]["purpose"]), (&json!("for p-1"), &json!("***")));
    // The others of the file were taken, the first statement stands.
    assert_eq!(hub.messages("type=payment.received.v1").await.len(), 3);

    assert_eq!(decide(&hub, READER, &entry, "accept").await.status, 403);
    let accepted = decide(&hub, OPERATOR, &entry, "accept").await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let own = accepted.body["id"].as_str().unwrap();
    assert!(own.starts_with("p-1~"), "{own}");
    let found = hub.messages(&format!("id={own}")).await.remove(0);
    assert_eq!(hub.trace(&found["seq"]).await["message"]["data"]["amount"]["value"], "11.00");
    assert_eq!(found["deliveries"].as_array().unwrap().len(), 1);
    decide(&hub, OPERATOR, &entry, "accept").await.problem(409, "not-open");
    // The same file again says nothing that is not decided.
    taken(&hub, "three.txt", "review", "p-1 100 11.00\n").await;
    assert!(hub.intakes("outcome=differing").await.is_empty());
    assert_eq!(hub.messages("type=payment.received.v1").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_left_out_is_told_of_with_its_place_and_the_others_are_taken() {
    let hub = Hub::start(LINES);
    let report = taken(&hub, "some.txt", "review", "p-1 100 10.00\n- no-sum\np-2 100 20.00\n").await;
    assert!(report.lines().any(|line| line.starts_with("left out") && line.ends_with('1')), "{report}");
    let input = hub.intakes("outcome=incomplete").await.remove(0);
    assert_eq!((&input["messages"], &input["left-out"]), (&json!(2), &json!(1)));
    let entry = hub.intakes("outcome=left-out").await.remove(0);
    assert_eq!((&entry["error"]["code"], &entry["error"]["place"]), (&json!("no-sum"), &json!("line 2")));
    assert_eq!(entry["part-of"], input["id"]);
    let metrics = hub.get(READER, "/metrics").await;
    let text = metrics.body.as_str().unwrap_or_default();
    assert!(text.contains("busbar_entries_total{outcome=\"left-out\"} 1"), "{text}");
    decide(&hub, OPERATOR, &entry, "accept").await.problem(409, "not-open");
    assert_eq!(decide(&hub, OPERATOR, &entry, "dismiss").await.status, 204);
    let entry = hub.intakes("outcome=dismissed").await.remove(0);
    assert_eq!(entry["by"], "operator");
    decide(&hub, PUBLISHER, &entry, "dismiss").await.problem(403, "forbidden");
    decide(&hub, OPERATOR, &json!({ "id": "nobody" }), "dismiss").await.problem(404, "not-found");
}

/// A publisher is told at once, and what it sent has an outcome that no repeat has.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_reuses_an_id_is_refused() {
    let hub = Hub::start("");
    hub.publish(&payment("p-1", "100", "10.00")).await;
    let again = hub.post("application/cloudevents+json", payment("p-1", "100", "11.00").to_string()).await;
    again.problem(409, "id-reused");
    let refused = hub.intakes("outcome=differing").await;
    assert_eq!((refused.len(), &refused[0]["error"]["code"]), (1, &json!("id-reused")), "{refused:?}");
}

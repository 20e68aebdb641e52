//! Standard Webhooks by the reference libraries of four languages, both ways: what they sign is taken, what the hub signs
//! they take; with each form of a secret that they take.

use super::{Dice, Judge, report};
use crate::hub::{Hub, wait_for};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

const CASES: usize = 20;

fn version(judge: Judge) -> &'static str {
    match judge {
        Judge::Python => "PyPI standardwebhooks 1.1.0",
        Judge::JavaScript => "npm standardwebhooks 1.1.1",
        Judge::Go => "Go standard-webhooks 0.0.1",
        Judge::Java => "Maven com.standardwebhooks 1.1.0",
        Judge::Rust => unreachable!("judges payment codes alone"),
    }
}

/// A key in the forms that people paste: with and without its prefix and its padding. Go's library takes no other than a
/// padded one.
fn secrets(judge: Judge, dice: &mut Dice) -> Vec<String> {
    let key: Vec<u8> = (0..25).map(|_| dice.below(256) as u8).collect();
    let padded = STANDARD.encode(&key);
    let bare = format!("whsec_{}", STANDARD_NO_PAD.encode(&key));
    [format!("whsec_{padded}"), bare, padded].into_iter().filter(|s| judge != Judge::Go || s.ends_with('=')).collect()
}

fn text(dice: &mut Dice) -> String {
    let parts = ["Отключение", " ", "\"до 17:00\"", "\n", "ул. Липовая", "😀", "0.10"];
    (0..1 + dice.below(6)).map(|_| dice.of(&parts)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_libraries_sign_is_taken() {
    let mut dice = Dice::thrown("webhooks read");
    for judge in Judge::ALL {
        let mut differences = Vec::new();
        let mut cases = 0;
        for secret in secrets(judge, &mut dice) {
            let hub =
                Hub::prepared(SYSTEM_IN, |folder| std::fs::write(folder.join("secrets/signing"), &secret).unwrap());
            let now = time::OffsetDateTime::now_utc().unix_timestamp();
            let event = |dice: &mut Dice, n: usize| {
                json!({ "type": "paid", "id": format!("e-{n}"), "data": { "account": "77", "note": text(dice) } })
                    .to_string()
            };
            let lines: Vec<Value> = (0..CASES)
                .map(|n| json!({ "id": format!("msg-{n}"), "timestamp": now, "body": event(&mut dice, n) }))
                .collect();
            let Some(signatures) = judge.ask(&["sign", &secret], lines.clone()).await else { continue };
            for (line, signature) in lines.iter().zip(signatures) {
                let request = hub
                    .client
                    .post(format!("{}/hooks/shop", hub.url))
                    .header("webhook-id", line["id"].as_str().unwrap());
                let request = request
                    .header("webhook-timestamp", now.to_string())
                    .header("webhook-signature", signature.as_str().unwrap());
                let answer = hub.send(request.body(line["body"].as_str().unwrap().to_string())).await;
                cases += 1;
                if answer.status >= 300 {
                    differences.push(format!("{judge:?}, {}: {answer:?}", line["id"]));
                }
            }
        }
        if cases > 0 {
            report("Standard Webhooks, read", version(judge), cases, &differences);
        }
    }
}

const SYSTEM_IN: &str = r#"
[systems.shop]
adapter = "webhook"
hook = { open = true }
credentials = { signing = { file = "secrets/signing" } }
[systems.shop.config.receive]
credential = "signing"
[systems.shop.config.receive.events.paid]
type = "account.changed.v1"
data = { account = "/data/account", status = "closed" }
[systems.shop.grants]
credentials = ["signing"]
emit = ["account.changed.v1"]
clock = true
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_hub_signs_libraries_take() {
    let mut dice = Dice::thrown("webhooks written");
    for judge in Judge::ALL {
        if judge.command(&[]).is_none() {
            continue;
        }
        let (mut differences, mut cases) = (Vec::new(), 0);
        for secret in secrets(judge, &mut dice) {
            let got = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Value>::new()));
            let seen = got.clone();
            let far = axum::Router::new().fallback(move |headers: axum::http::HeaderMap, body: String| {
                let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
                let headers: std::collections::BTreeMap<_, _> =
                    names.iter().map(|name| (*name, headers[*name].to_str().unwrap().to_string())).collect();
                seen.lock().unwrap().push(json!({ "headers": headers, "body": body }));
                async { axum::http::StatusCode::NO_CONTENT }
            });
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let server = tokio::spawn(async move { axum::serve(listener, far).await.unwrap() });
            let hub = Hub::prepared(&system_out(&url), |folder| {
                std::fs::write(folder.join("secrets/signing"), &secret).unwrap()
            });
            for number in 0..CASES {
                let mut event = crate::hub::payment(&format!("p-{number}"), "0042", "12.50");
                event["data"]["purpose"] = text(&mut dice).replace('\n', " ").into();
                hub.publish(&event).await;
            }
            wait_for("all webhooks", async || (got.lock().unwrap().len() >= CASES).then_some(())).await;
            server.abort();
            let lines = got.lock().unwrap().clone();
            for (line, verdict) in
                lines.iter().zip(judge.ask(&["verify", &secret], lines.clone()).await.unwrap_or_default())
            {
                cases += 1;
                if verdict != "good" {
                    differences.push(format!("{judge:?}: {verdict} of {line}"));
                }
            }
        }
        report("Standard Webhooks, written", version(judge), cases, &differences);
    }
}

fn system_out(url: &str) -> String {
    format!(
        r#"
[systems.portal]
adapter = "webhook"
credentials = {{ signing = {{ file = "secrets/signing" }} }}
[systems.portal.config.deliver]
url = "{url}/hook"
credential = "signing"
[systems.portal.grants]
http = ["{url}"]
private-addresses = ["127.0.0.1"]
credentials = ["signing"]
clock = true
[[routes]]
types = ["payment.received.v1"]
to = ["portal"]
"#
    )
}

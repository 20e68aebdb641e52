//! A refusal that passes: what a far end refused is sent again by the next attempt, and when a person retries it. The
//! settings, messages and answers are those of the adapters' cases.

use crate::hub::{Hub, OPERATOR, Standin, root};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

struct Case {
    adapter: &'static str,
    setup: Value,
    event: Value,
}

impl Case {
    fn read(adapter: &'static str, case: &str) -> Self {
        let folder = root().join("plugins").join(adapter).join("cases").join(case);
        let file = |name| serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap();
        Self { adapter, setup: file("setup.json"), event: file("input.json") }
    }

    /// A far end that gives the case's answers, and `refusals` to as many requests that are not safe. After a refusal
    /// the delivery begins anew.
    async fn far(&self, refusals: &[u16]) -> Standin {
        let answers = self.setup["http"].as_array().unwrap().clone();
        let state = Mutex::new((VecDeque::from(refusals.to_vec()), 0_usize));
        Standin::slow(move |seen, _| {
            let (refusals, at) = &mut *state.lock().unwrap();
            let refusal = if seen.method == "GET" { None } else { refusals.pop_front() };
            *at = if refusal.is_some() { 0 } else { *at + 1 };
            let answer = at.checked_sub(1).and_then(|at| answers.get(at)).cloned().unwrap_or_default();
            let status = refusal.unwrap_or_else(|| answer["status"].as_u64().unwrap_or(500).try_into().unwrap());
            (status, if answer["body"].is_null() { String::new() } else { answer["body"].to_string() }, Duration::ZERO)
        })
        .await
    }

    /// A hub with one system at `url`.
    fn hub(&self, url: &str, settings: Value) -> Hub {
        let origins = ["http://127.0.0.1:18081", "http://127.0.0.1:18083"];
        let config = origins.iter().fold(self.setup["config"].to_string(), |text, origin| text.replace(origin, url));
        let mut config: Value = serde_json::from_str(&config).unwrap();
        merge(&mut config, settings);
        let secrets = self.setup["credentials"].as_object().cloned().unwrap_or_default();
        let credentials: Value =
            secrets.keys().map(|name| (name.clone(), json!({ "file": format!("secrets/of-{name}") }))).collect();
        let names: Vec<_> = secrets.keys().collect();
        let system = json!({
            "adapter": self.adapter,
            "config": config,
            "credentials": credentials,
            "policy": { "backoff-first-ms": 20, "breaker-failures": 100 },
            "grants": {
                "http": [url], "private-addresses": ["127.0.0.1"], "credentials": names, "clock": true, "state": true,
                "lookup": true, "emit": ["payment.link.issued.v1"],
            },
        });
        let route = json!({ "types": [self.event["type"]], "to": ["far"] });
        let toml = toml::to_string(&json!({ "systems": { "far": system }, "routes": [route] })).unwrap();
        Hub::prepared(&toml, |folder| {
            for (name, secret) in secrets {
                std::fs::write(folder.join(format!("secrets/of-{name}")), secret.as_str().unwrap()).unwrap();
            }
        })
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(name, value)| merge(into.entry(name).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

/// Five far ends, what of their settings names the address, and requests that are not safe in a delivery.
fn all(url: &str) -> [(Case, Value, usize); 5] {
    [
        (Case::read("rest-json", "payment"), json!({}), 1),
        (Case::read("webhook", "structured"), json!({}), 1),
        (Case::read("odata-1c", "payment"), json!({}), 2),
        (Case::read("yookassa", "invoice"), json!({ "base-url": url }), 1),
        (Case::read("tbank", "invoice"), json!({ "base-url": url }), 1),
    ]
}

fn posts(far: &Standin) -> usize {
    far.seen().iter().filter(|seen| seen.method != "GET").count()
}

#[tokio::test]
async fn a_refusal_of_the_credentials_is_not_for_ever() {
    for (place, (case, _, sends)) in all("").into_iter().enumerate() {
        for status in [401, 403] {
            let far = case.far(&[status]).await;
            let (case, settings, _) = all(&far.url).into_iter().nth(place).unwrap();
            let hub = case.hub(&far.url, settings);
            let taken = hub.publish(&case.event).await;
            let trace = hub.settled(&taken["seq"], &["done"]).await;
            let delivery = &trace["deliveries"][0];
            assert_eq!(delivery["attempts"], json!(2), "{}, {status}: {trace}", case.adapter);
            assert_eq!(posts(&far), sends + 1, "{}, {status}: {trace}", case.adapter);
        }
    }
}

#[tokio::test]
async fn a_conflict_that_may_pass_is_asked_again() {
    let case = Case::read("rest-json", "payment");
    let far = case.far(&[409, 409]).await;
    let hub =
        case.hub(&far.url, json!({ "deliver": { "payment.received.v1": { "statuses": { "409": "transient" } } } }));
    let taken = hub.publish(&case.event).await;
    let trace = hub.settled(&taken["seq"], &["done"]).await;
    assert_eq!((&trace["deliveries"][0]["attempts"], posts(&far)), (&json!(3), 3), "{trace}");
}

#[tokio::test]
async fn a_person_who_retries_a_refusal_has_it_sent_again() {
    for (place, (case, _, sends)) in all("").into_iter().enumerate() {
        let far = case.far(&[422]).await;
        let (case, settings, _) = all(&far.url).into_iter().nth(place).unwrap();
        let hub = case.hub(&far.url, settings);
        let taken = hub.publish(&case.event).await;
        let trace = hub.settled(&taken["seq"], &["parked", "dead"]).await;
        assert_eq!(posts(&far), 1, "{trace}");
        let id = trace["deliveries"][0]["id"].as_str().unwrap();
        let request = hub.client.post(format!("{}/v1/deliveries/{id}/retry", hub.url)).bearer_auth(OPERATOR);
        assert_eq!(hub.send(request).await.status, 204);
        let trace = hub.settled(&taken["seq"], &["done"]).await;
        assert_eq!(posts(&far), sends + 1, "{}: {trace}", case.adapter);
    }
}

//! Sends payments as a careful publisher does: the next one of an account only after the one before is confirmed.

use crate::flows::broker::Broker;
use crate::hub::{Hub, payment};
use futures::future::join_all;
use lapin::BasicProperties;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Accounts whose payments go to each of the gateway's sides.
pub const SIDES: [&str; 3] = ["keyed", "asked", "blind"];

/// Between two rounds: more than the hubs can do meanwhile, and so long in all that the broker is restarted amid them. Not
/// in its first seconds: killed then, RabbitMQ 3.10 forgets a quorum queue that was just declared, with all in it.
const PACE: Duration = Duration::from_millis(400);

/// Rounds of payments, one of each account in a round; and what is expected of each account, in order.
pub struct Plan {
    pub rounds: Vec<Vec<Value>>,
    pub expected: BTreeMap<String, Vec<String>>,
    /// Rounds published so far.
    pub published: AtomicUsize,
}

impl Plan {
    pub fn new(payments: usize, accounts: usize) -> Self {
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut rounds = Vec::new();
        for round in 0..payments.div_ceil(accounts) {
            let mut events = Vec::new();
            for number in 0..accounts.min(payments - round * accounts) {
                let account = format!("{}-{number}", SIDES[number % SIDES.len()]);
                let purpose = format!("{account}-{round}");
                let mut event = payment(&purpose, &account, "100.00");
                event["data"]["purpose"] = purpose.clone().into();
                event["partitionkey"] = account.clone().into();
                expected.entry(account).or_default().push(purpose);
                events.push(event);
            }
            rounds.push(events);
        }
        Self { rounds, expected, published: AtomicUsize::new(0) }
    }

    pub fn len(&self) -> usize {
        self.rounds.iter().map(Vec::len).sum()
    }

    /// Over the broker, through every restart of it.
    pub async fn publish(&self, url: &str) {
        let mut broker = Broker::patient(url).await;
        for round in &self.rounds {
            let mut open: Vec<_> = round.iter().collect();
            while !open.is_empty() {
                let sent = join_all(open.iter().map(|e| broker.publish("busbar.in", e, BasicProperties::default())));
                // A broker that is being killed may never answer.
                let sent = tokio::time::timeout(Duration::from_secs(10), sent).await;
                let sent = sent.unwrap_or_else(|_| vec![false; open.len()]);
                open = open.into_iter().zip(sent).filter(|(_, sent)| !sent).map(|(event, _)| event).collect();
                if !open.is_empty() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    broker = Broker::patient(url).await;
                }
            }
            self.published.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(PACE).await;
        }
        broker.close().await;
    }

    /// Over REST, through every restart of the hub.
    pub async fn post(&self, url: impl AsyncFn() -> String) {
        let client = crate::hub::client();
        for round in &self.rounds {
            let body = Value::Array(round.clone()).to_string();
            loop {
                let request = client.post(format!("{}/v1/messages", url().await)).bearer_auth(crate::hub::PUBLISHER);
                let request = request.header("content-type", "application/cloudevents-batch+json").body(body.clone());
                match request.send().await {
                    Ok(response) if response.status() == 202 => break,
                    Ok(response) if response.status() != 503 => panic!("{response:?}"),
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        }
    }
}

/// The systems and routes of the gateway's sides.
pub fn toml(gateway: &str) -> String {
    let mut toml = String::new();
    for side in SIDES {
        let more = match side {
            "keyed" => "",
            "asked" => {
                "idempotency-header = \"\"\n[systems.asked.config.deliver.\"payment.received.v1\".status]\n\
                 path = \"/payments/{.data.purpose}\"\ndone = \".body.known\"\nabsent-status = 404\n"
            }
            _ => "idempotency-header = \"\"\n",
        };
        toml.push_str(&format!(
            "[systems.{side}]\nadapter = \"rest-json\"\n[systems.{side}.config]\nbase-url = \"{gateway}/{side}\"\n\
             [systems.{side}.config.deliver.\"payment.received.v1\"]\npath = \"/payments\"\n{more}\
             [systems.{side}.grants]\nhttp = [\"{gateway}\"]\nprivate-addresses = [\"127.0.0.1\"]\n\
             [systems.{side}.limits]\nhttp-timeout-ms = 5000\n\
             [systems.{side}.policy]\nattempts = 40\nbackoff-first-ms = 50\nbackoff-max-ms = 1000\n\
             [[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"{side}\"]\nwhen = \"subject.startsWith('{side}')\"\n"
        ));
    }
    toml
}

/// Does what an operator does: looks into the gateway's books for every parked payment and retries or skips it.
pub async fn resolve(hub: &Hub, knows: impl Fn(&str) -> bool) -> usize {
    let parked = super::deliveries(hub, "parked").await;
    for delivery in &parked {
        assert_eq!(delivery["error"]["code"], "unknown-outcome", "{delivery}");
        let trace = hub.trace(&delivery["message"]).await;
        let purpose = trace["message"]["data"]["purpose"].as_str().unwrap_or_else(|| panic!("{trace}"));
        let act = if knows(purpose) { "skip" } else { "retry" };
        let path = format!("{}/v1/deliveries/{}/{act}", hub.url, delivery["id"].as_str().unwrap());
        let answer = hub.send(hub.client.post(path).bearer_auth(crate::hub::OPERATOR)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    parked.len()
}

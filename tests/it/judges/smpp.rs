//! SMPP 3.4 by SMS centres of two libraries, node-smpp and Cloudhopper's ch-smpp: they take generated notifications apart, refuse
//! some, tell what became of them, and bring what people write; texts are encoded and decoded by them alone.

mod incoming;
mod notifications;
mod receipts;
mod texts;

use super::{Dice, Judge, report};
use crate::hub::Hub;
use crate::peers::{Peer, ready};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An SMS centre, the hub that is bound to it, and what was wrong.
struct Scene {
    hub: Hub,
    centre: Peer,
    dice: Dice,
    is_payload: bool,
    window: u64,
    /// Of the ids that the centre gives.
    base: u32,
    /// It gives all parts of a message one id.
    is_one: bool,
    tag: u64,
    /// deliver_sm that are not answered.
    waited: BTreeSet<u64>,
    cases: usize,
    differences: Vec<String>,
}

impl Scene {
    fn start(judge: Judge, long: &str, mut dice: Dice) -> Option<Self> {
        let port = crate::servers::free_port();
        let mut command = judge.command(&["centre", &port.to_string(), "token-of"])?;
        let centre = Peer::start(&mut command);
        let (window, base, is_one) = (1 + dice.below(12), dice.of(&[10, 16]), dice.one_in(3));
        let system = format!(
            r#"
[systems.sms]
adapter = "smpp"
connection = {{ connect = ["127.0.0.1:{port}"] }}
credentials = {{ word = {{ file = "secrets/sms" }} }}
[systems.sms.config]
system-id = "energo"
password = "word"
sender = "ENERGO"
long = "{long}"
window = {window}
[systems.sms.limits]
concurrency = 32
[systems.sms.policy]
backoff-first-ms = 100
backoff-max-ms = 500
[systems.sms.grants]
credentials = ["word"]
emit = ["notification.delivered.v1", "notification.failed.v1", "appeal.received.v1"]
state = true
clock = true
[[routes]]
types = ["notification.requested.v1"]
to = ["sms"]
"#
        );
        let hub = Hub::prepared(&system, |folder| std::fs::write(folder.join("secrets/sms"), "token-of").unwrap());
        let (waited, differences) = (BTreeSet::new(), Vec::new());
        let is_payload = long == "payload";
        Some(Self { hub, centre, dice, is_payload, window, base, is_one, tag: 0, waited, cases: 0, differences })
    }

    fn say(&mut self, command: &Value) {
        self.centre.say(&command.to_string());
    }

    fn hear(&mut self) -> Value {
        let line = self.centre.heard();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Some(tag) = said["answered"].as_u64() {
            self.waited.remove(&tag);
            self.differ(said["status"] == 0, || format!("deliver_sm {tag} was refused: {said}"));
        }
        said
    }

    /// Has the centre send a deliver_sm.
    fn bring(&mut self, command: &str, mut told: Value) {
        self.tag += 1;
        told["tag"] = self.tag.into();
        self.waited.insert(self.tag);
        self.cases += 1;
        self.say(&json!([command, told]));
    }

    /// Until all that the centre brought are answered.
    fn all_answered(&mut self) {
        while !self.waited.is_empty() {
            let said = self.hear();
            self.differ(!said["answered"].is_null(), || format!("this was not to be said: {said}"));
        }
    }

    fn bound(&mut self) {
        let said = self.hear();
        self.differ(said["bound"] == "energo", || format!("a bind was expected: {said}"));
    }

    fn differ(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right && self.differences.len() < 10 {
            self.differences.push(what());
        }
    }
}

async fn judged(judge: Judge, long: &str, version: &str) {
    let dice = Dice::thrown(&format!("smpp {judge:?} {long}"));
    let Some(mut scene) = Scene::start(judge, long, dice) else { return };
    scene.bound();
    ready(&scene.hub, "sms").await;
    let sent = scene.notifications().await;
    scene.left_open().await;
    let fates = scene.receipts(&sent);
    scene.incoming().await;
    scene.told(fates).await;
    report(&format!("SMPP 3.4, long texts as {long}"), version, scene.cases, &scene.differences);
}

const NODE: &str = "npm smpp 0.5.1";
const CLOUDHOPPER: &str = "Maven com.fizzed:ch-smpp 5.0.9";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_centre_of_node_smpp_and_parts() {
    judged(Judge::JavaScript, "parts", NODE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_centre_of_node_smpp_and_payload() {
    judged(Judge::JavaScript, "payload", NODE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_centre_of_cloudhopper_and_parts() {
    judged(Judge::Java, "parts", CLOUDHOPPER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_centre_of_cloudhopper_and_payload() {
    judged(Judge::Java, "payload", CLOUDHOPPER).await;
}

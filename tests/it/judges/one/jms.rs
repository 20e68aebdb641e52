//! A client of JMS (Apache Qpid JMS 2.10.0, Jakarta Messaging 3.1): what JMS can say over AMQP 1.0, and what it reads of an answer.

use super::{billing, hub, hub_of, line, server};
use crate::flows::broker::header;
use crate::hub::{ANYBODY, Standin, payment, wait_for};
use crate::judges::Judge;
use crate::peers::Peer;
use crate::servers::Server;
use serde_json::{Value, json};

/// Names of JMS are identifiers of Java: neither `ce-` nor `cloudEvents:` is taken.
const PREFIX: &str = "cloudEvents_";

struct Client {
    peer: Peer,
    is4: bool,
}

impl Client {
    fn start(server: &Server, options: &str) -> Option<Self> {
        let mut command = Judge::Java.command(&["jms", &server.port.to_string(), "busbar", "busbar", options])?;
        let mut client = Self { peer: Peer::start(&mut command), is4: false };
        client.is4 = client.told(&json!({ "form": "version" }))["version"].as_str().unwrap().starts_with("4.");
        Some(client)
    }

    fn told(&mut self, line: &Value) -> Value {
        self.peer.say(&line.to_string());
        serde_json::from_str(&self.peer.heard()).unwrap()
    }
}

fn question(id: &str, form: &str, account: &str) -> Value {
    let mut asked = line(id, form, PREFIX, None);
    asked["ask"] = json!(true);
    asked["properties"][format!("{PREFIX}type")] = json!("account.lookup.v1");
    asked["body"] = json!(json!({ "account": account }).to_string());
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_of_jms_sends_is_taken_as_it_means_it() {
    let server = server().await;
    let crm = "[systems.crm]\nvia = \"amqp\"\nqueue = \"crm.messages\"\n[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"crm\"]\n";
    let known = ANYBODY.replacen("\"*\"", "\"busbar\"", 1);
    let (hub, broker) = hub_of(&server, &known, crm).await;
    let Some(mut unknown) = Client::start(&server, "") else { return };
    unknown.told(&line("nobody", "text", PREFIX, None));
    let dead = broker.next("busbar.dead").await.unwrap();
    assert_eq!(header(&dead, "busbarerror"), "unknown-publisher");
    let Some(mut client) = Client::start(&server, "&jms.populateJMSXUserID=true") else { return };
    for form in ["text", "bytes"] {
        let id = format!("jms-{form}");
        let sent = client.told(&line(&id, form, PREFIX, None));
        assert!(sent["sent"].is_string(), "{sent}");
        let found = wait_for(&id, async || hub.messages(&format!("id={id}")).await.pop()).await;
        let message = hub.trace(&found["seq"]).await["message"].clone();
        let meant = payment(&id, "0042", "12.50");
        for name in ["data", "specversion", "id", "source", "type", "subject"] {
            assert_eq!(message[name], meant[name], "{form}: {message}");
        }
        // JMS has no times: whole milliseconds as a number. And a number.
        assert_eq!(message["time"], "2026-11-28T07:00:00.123Z", "{form}: {message}");
        assert!(message.to_string().contains("\"num\":\"-7\""), "{form}: {message}");
    }
    // What is no JSON is refused, text or bytes; so is a map.
    for (form, body, code) in [
        ("text", "<xml/>", "invalid-json"),
        ("bytes", "<xml/>", "invalid-json"),
        ("map", "{}", "unsupported-media-type"),
    ] {
        let mut bad = line("bad", form, PREFIX, None);
        bad["body"] = json!(body);
        client.told(&bad);
        let dead = broker.next("busbar.dead").await.unwrap();
        assert_eq!(header(&dead, "busbarerror"), code, "{form}");
    }
    // What there is not, as host/docs/jms.md says: other prefixes, temporary queues, selectors.
    for (line, why) in [
        (line("dashed", "text", "ce-", None), "invalid JMS identifier character '-'"),
        (line("colon", "text", "cloudEvents:", None), "invalid JMS identifier character ':'"),
        (json!({ "form": "temporary" }), "timed out"),
    ] {
        let said = client.told(&line);
        assert!(said["error"].as_str().is_some_and(|error| error.contains(why)), "{line}: {said}");
    }
    let selected = client.told(&json!({ "form": "selector" }));
    assert_eq!((&selected["asked"], &selected["correlation"]), (&json!("mine"), &json!("theirs")), "{selected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_a_client_of_jms_is_answered_to_its_queue() {
    let server = server().await;
    let far_end = Standin::start(|seen, _| if seen.path == "/accounts/0042" { (200, "{}") } else { (404, "{}") }).await;
    let (_hub, _broker) = hub(&server, &billing(&far_end.url)).await;
    for (form, correlation, account, is_known, options) in [
        ("text", None, "0042", true, ""),
        ("bytes", Some("call-17"), "0043", false, "&jms.validatePropertyNames=false"),
    ] {
        let Some(mut client) = Client::start(&server, options) else { return };
        let mut asked = question(form, form, account);
        asked["correlation"] = json!(correlation);
        let answer = client.told(&asked);
        // Without a correlation id of its own, the id that JMS gave the question.
        assert_eq!(answer["correlation"], correlation.map_or(answer["asked"].clone(), Into::into), "{answer}");
        let data: Value = serde_json::from_str(answer["answer"].as_str().unwrap()).unwrap();
        assert_eq!(data, json!({ "account": account, "found": is_known }), "{answer}");
        // By its content type, JSON is text.
        assert_eq!(answer["form"], "text", "{answer}");
        // The plugin of RabbitMQ 3 leaves headers out, and JMS those that are no identifiers of Java.
        let is_there = client.is4 && !options.is_empty();
        let kind = if is_there { json!("account.lookup.answer.v1") } else { Value::Null };
        assert_eq!(answer["properties"]["cloudEvents:type"], kind, "{answer}");
    }
    let Some(mut client) = Client::start(&server, "") else { return };
    // A question that is refused is answered as well.
    let mut asked = question("refused", "text", "0042");
    asked["properties"][format!("{PREFIX}type")] = json!("account.balance.lookup.v1");
    let answer = client.told(&asked);
    assert_eq!(answer["correlation"], answer["asked"], "{answer}");
    assert_eq!(answer["form"], "text", "{answer}");
    assert!(answer["answer"].as_str().unwrap().contains("urn:busbar:error:"), "{answer}");
}

//! The CloudEvents SDKs of four languages: what they send is taken as they mean it, what they get they read as it was
//! meant; over HTTP, and over AMQP where they have a binding.

use super::{Dice, Judge, report};
use crate::hub::{ANYBODY, Hub, PUBLISHER, payment};
use crate::servers::vhost;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const CASES: usize = 60;

/// What each SDK is pinned to.
fn version(judge: Judge) -> &'static str {
    match judge {
        Judge::Python => "PyPI cloudevents 2.2.0",
        Judge::JavaScript => "npm cloudevents 10.0.0",
        Judge::Go => "Go cloudevents/sdk-go 2.16.2",
        Judge::Java => "Maven io.cloudevents 4.0.1 (AMQP 2.3.0)",
        Judge::Rust => unreachable!("judges payment codes alone"),
    }
}

/// An event as a publisher means it. `ascii`: only characters that stand in a header as they are.
fn event(judge: Judge, dice: &mut Dice, id: &str, ascii: bool) -> Value {
    let texts: &[&str] = if ascii {
        &["42", "A-7", "a/b?c=d&e", "x;y,z"]
    } else {
        &["42", "ЛС-42", "ул. Липовая, 1", "100 %", "\"в кавычках\"", "😀"]
    };
    let mut attributes = Map::new();
    attributes.insert("id".into(), id.into());
    attributes
        .insert("source".into(), dice.of(&["/test/judge", "urn:example:judge", "https://judge.example/a?b=c"]).into());
    attributes.insert("type".into(), "payment.received.v1".into());
    if !dice.one_in(4) {
        attributes.insert("subject".into(), dice.of(texts).into());
    }
    if !dice.one_in(4) {
        // JavaScript and AMQP 1.0 have milliseconds, and no more.
        let times = ["2026-11-28T10:00:00Z", "2026-11-28T10:00:00+03:00", "2026-11-28T10:00:00.123+05:00"];
        attributes.insert("time".into(), dice.of(&times).into());
    }
    if dice.one_in(2) {
        attributes.insert("partitionkey".into(), dice.of(texts).into());
    }
    if dice.one_in(2) {
        attributes.insert("num".into(), (dice.below(4_000) as i64 - 2_000).into());
    }
    // Python's SDK 2.2.0 writes a boolean as `True`, where the type system has `true`: what it means cannot be told then.
    if judge != Judge::Python && dice.one_in(2) {
        attributes.insert("flag".into(), dice.one_in(2).into());
    }
    json!({ "attributes": attributes, "data": payment(id, "0042", "12.50")["data"] })
}

/// Attributes in their canonical text, times as moments: an SDK may write a time in UTC.
fn canonical(attributes: &Value) -> BTreeMap<String, String> {
    let shown = |(name, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let moment = OffsetDateTime::parse(&text, &Rfc3339).ok().filter(|_| name == "time");
        (name.clone(), moment.map_or(text, |moment| moment.unix_timestamp_nanos().to_string()))
    };
    let all = attributes.as_object().unwrap().iter();
    // The body's kind is the transport's, and the schema's address is the publisher's to give or not.
    all.filter(|(name, _)| !["datacontenttype", "dataschema", "data", "specversion"].contains(&name.as_str()))
        .map(shown)
        .collect()
}

fn compare(id: &str, what: &str, meant: &Value, found: &Value, differences: &mut Vec<String>) {
    let (meant_all, mut found_all) = (canonical(&meant["attributes"]), canonical(found));
    if !meant_all.contains_key("time") {
        found_all.remove("time"); // Where the publisher states none, an SDK may put the moment of sending.
    }
    if meant_all != found_all {
        differences.push(format!("{what}, {id}: {found_all:?}, meant was {meant_all:?}"));
    }
    if meant["data"] != found["data"] {
        differences.push(format!("{what}, {id}: data {}", found["data"]));
    }
}

async fn taken(hub: &Hub, events: &[Value], what: &str) -> Vec<String> {
    let mut differences = Vec::new();
    for event in events {
        let id = event["attributes"]["id"].as_str().unwrap();
        let message = crate::hub::wait_for(id, async || hub.messages(&format!("id={id}")).await.pop()).await;
        let found = hub.trace(&message["seq"]).await["message"].clone();
        compare(id, what, event, &found, &mut differences);
    }
    differences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sdks_send_over_http_is_what_they_mean() {
    let mut dice = Dice::thrown("cloudevents over http");
    let hub = Hub::start("");
    for judge in Judge::ALL {
        let modes =
            if judge == Judge::Go { &["binary", "structured", "base64"][..] } else { &["binary", "structured"] };
        let mut events = Vec::new();
        for number in 0..CASES {
            let mode = modes[number % modes.len()];
            // Of the four only Python's encodes a header by section 3.1.3.2; the others write what is not ASCII as it comes.
            let ascii = mode == "binary" && judge != Judge::Python;
            let mut event = event(judge, &mut dice, &format!("{judge:?}-{number}"), ascii);
            event["mode"] = mode.into();
            events.push(event);
        }
        let url = format!("{}/v1/messages", hub.url);
        let Some(answers) = judge.ask(&["send", &url, PUBLISHER], events.clone()).await else { continue };
        let refused: Vec<_> = answers.iter().filter(|answer| **answer != 202).map(ToString::to_string).collect();
        assert!(refused.is_empty(), "{judge:?}: {refused:#?}");
        let differences = taken(&hub, &events, "sent").await;
        report("CloudEvents over HTTP, read", version(judge), events.len(), &differences);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sdks_send_over_amqp_is_what_they_mean() {
    let mut dice = Dice::thrown("cloudevents over amqp");
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let bare = r#"["partitionkey", "num", "flag"]"#;
    let hub = Hub::start(&format!("[amqp]\nurl = \"{url}\"\nbare-attributes = {bare}\n{ANYBODY}\n"));
    for (judge, modes) in [(Judge::Python, &["rabbitmq", "amqp"][..]), (Judge::Java, &["amqp"])] {
        for mode in modes {
            let mut events = Vec::new();
            for number in 0..CASES {
                let mut event = event(judge, &mut dice, &format!("{judge:?}-{mode}-{number}"), false);
                event["mode"] = (*mode).into();
                events.push(event);
            }
            let Some(answers) = judge.ask(&["publish", &url], events.clone()).await else { continue };
            assert_eq!(answers.len(), events.len());
            let differences = taken(&hub, &events, mode).await;
            report(&format!("CloudEvents over AMQP ({mode}), read"), version(judge), events.len(), &differences);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sdks_get_is_what_was_meant() {
    let mut dice = Dice::thrown("cloudevents to http");
    for judge in Judge::ALL {
        for mode in ["structured", "binary"] {
            let Some(serving) = judge.serve("serve") else { continue };
            let system = "[systems.crm]\nvia = \"http\"";
            let hub = Hub::start(&format!(
                "{system}\nmode = \"{mode}\"\nurl = \"http://127.0.0.1:{}/\"\n[[routes]]\ntypes = [\"*\"]\nto = [\"crm\"]\n",
                serving.port
            ));
            let ascii = mode == "binary" && judge != Judge::Python;
            let mut differences = Vec::new();
            for number in 0..CASES / 2 {
                let meant = event(judge, &mut dice, &format!("to-{judge:?}-{number}"), ascii);
                let mut sent = meant["attributes"].clone();
                sent["specversion"] = "1.0".into();
                sent["data"] = meant["data"].clone();
                hub.publish(&sent).await;
                let got = serving.heard.recv_timeout(Duration::from_secs(20)).expect("nothing came");
                if !got["error"].is_null() {
                    differences.push(format!("{mode}, {number}: {}", got["error"]));
                    continue;
                }
                let mut found = got["attributes"].clone();
                found["data"] = got["data"].clone();
                compare(&number.to_string(), mode, &meant, &found, &mut differences);
            }
            report(&format!("CloudEvents over HTTP ({mode}), written"), version(judge), CASES / 2, &differences);
        }
    }
}

/// The two publishers of `../shared/field/cloudevents` as they are: everything they send is taken, nothing is set aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_publishers_of_the_field_are_understood() {
    let field = crate::hub::root().join("../shared/field/cloudevents");
    let (Some(folder), true) = (crate::peers::folder(), field.exists()) else {
        return println!("NOT CHECKED: no publishers");
    };
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let hub = Hub::start(&format!("[amqp]\nurl = \"{url}\"\n{ANYBODY}\n"));
    let python = folder.join("venv/bin/python");
    for (program, script) in [(python.as_os_str(), "amqp.py"), ("node".as_ref(), "amqp.js")] {
        let mut command = std::process::Command::new(program);
        command.arg(field.join(script)).arg(&url).env("NODE_PATH", folder.join("node_modules"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let python = ["rb-bin", "rb-str", "am-bin", "am-str", "ts-native", "ts-string", "no-ct", "ct-charset"];
    for (id, time) in
        python.map(|id| (id, if id == "ts-native" { "2026-11-28T10:00:00Z" } else { "2026-11-28T10:00:00+03:00" }))
    {
        let message = crate::hub::wait_for(id, async || hub.messages(&format!("id={id}")).await.pop()).await;
        let found = hub.trace(&message["seq"]).await["message"].clone();
        let second = |text: &str| OffsetDateTime::parse(text, &Rfc3339).unwrap().unix_timestamp();
        assert_eq!(second(found["time"].as_str().unwrap()), second(time), "{id}: {found}");
    }
    let number = hub.messages("id=rb-bin").await.remove(0);
    assert_eq!(hub.trace(&number["seq"]).await["message"]["num"], "42");
    assert_eq!(hub.messages("id=js-structured").await.len(), 1);
    // A fraction has no form in CloudEvents: that message is set aside, and says which attribute it is.
    let refused = hub.intakes("outcome=refused").await;
    let places: Vec<_> = refused.iter().map(|intake| intake["error"]["place"].as_str().unwrap_or_default()).collect();
    assert_eq!(places, ["rate"], "{refused:?}");
}

//! The REST interface of a running hub: messages in, refusals, rights, limits, the journal.

mod bad;
pub mod bounds;
mod desk;
mod journal;
mod malformed;
mod rights;
mod strangers;
mod table;

use crate::hub::{Hub, OFFICER, PUBLISHER, READER, payment};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::process::Command;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// A hub that keeps what it gets; nothing is delivered.
fn quiet() -> Hub {
    Hub::start("")
}

#[tokio::test]
async fn a_message_is_taken_in_each_of_the_three_modes() {
    let hub = quiet();
    let structured = hub.publish(&payment("s-1", "0042", "12.50")).await;
    let data = payment("", "0042", "12.50")["data"].clone();
    let request = hub.client.post(format!("{}/v1/messages", hub.url)).bearer_auth(PUBLISHER);
    let request = request.header("ce-specversion", "1.0").header("ce-id", "b-1").header("ce-source", "/test/cash");
    let request = request.header("ce-type", "payment.received.v1").header("ce-subject", "%D0%9B%D0%A1-42");
    let request = request.header("ce-time", "2026-11-20T10:00:00+03:00").header("ce-branch", "5");
    let binary = hub.send(request.header(CONTENT_TYPE, "application/json").body(data.to_string())).await;
    assert_eq!(binary.status, 202, "{binary:?}");
    let batch = json!([payment("t-1", "0042", "1.00"), payment("t-2", "0042", "2.00")]);
    let batched = hub.post(BATCHED, batch.to_string()).await;
    assert_eq!((batched.status, batched.body["accepted"].as_array().unwrap().len()), (202, 2), "{batched:?}");

    let trace = hub.trace(&binary.body["accepted"][0]["seq"]).await;
    let message = &trace["message"];
    assert_eq!((&message["subject"], &message["branch"]), (&json!("ЛС-42"), &json!("5")));
    // The offset that the source stated stays.
    assert_eq!(message["time"], "2026-11-20T10:00:00+03:00");
    assert_eq!(message["data"], data);
    assert_eq!(structured["duplicate"], false);
    assert_eq!(hub.messages("source=/test/cash").await.len(), 4);
}

#[tokio::test]
async fn a_batch_is_taken_all_or_none() {
    let hub = quiet();
    hub.publish(&payment("known", "1", "1.00")).await;
    let mut wrong = payment("b", "1", "1.00");
    wrong["data"]["amount"]["value"] = json!(1.5);
    let without_id = json!({ "specversion": "1.0", "source": "/test/cash", "type": "payment.received.v1", "data": {} });
    let cases = [
        (wrong, 422, "invalid-data", "/data/amount/value"),
        (without_id, 400, "invalid-event", "id"),
        (json!("text"), 400, "invalid-event", ""),
        (payment("known", "1", "2.00"), 409, "id-reused", "id"),
    ];
    for (third, status, code, place) in cases {
        let batch = json!([payment("a", "1", "1.00"), payment("c", "1", "1.00"), third]);
        let answer = hub.post(BATCHED, batch.to_string()).await;
        assert_eq!(answer.problem(status, code), place, "{answer:?}");
        assert_eq!(answer.body["index"], 2, "{answer:?}");
        assert_eq!(hub.messages("").await.len(), 1, "something of it was taken");
    }
    let twice = json!([payment("a", "1", "1.00"), payment("a", "1", "1.00")]);
    let accepted = hub.post(BATCHED, twice.to_string()).await.body["accepted"].clone();
    assert_eq!((&accepted[0]["duplicate"], &accepted[1]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(accepted[0]["seq"], accepted[1]["seq"]);
    let many: Vec<Value> = (0..1001).map(|n| payment(&format!("m{n}"), "1", "1.00")).collect();
    hub.post(BATCHED, Value::from(many).to_string()).await.problem(413, "too-large");
    assert_eq!(hub.messages("").await.len(), 2);
    let empty = hub.post(BATCHED, "[]").await;
    assert_eq!((empty.status, &empty.body["accepted"]), (202, &json!([])));
}

#[tokio::test]
async fn a_repeat_changes_nothing_and_a_reused_id_is_refused_and_recorded() {
    let hub = quiet();
    let first = hub.publish(&payment("p-1", "7", "10.00")).await;
    for _ in 0..3 {
        let again = hub.publish(&payment("p-1", "7", "10.00")).await;
        assert_eq!((&again["duplicate"], &again["seq"]), (&json!(true), &first["seq"]));
    }
    let reused = hub.post(STRUCTURED, payment("p-1", "7", "99.00").to_string()).await;
    assert_eq!(reused.problem(409, "id-reused"), "id");
    let intake = hub.intakes("outcome=differing").await[0].clone();
    assert_eq!(
        (&intake["error"]["code"], &intake["system"], &intake["kind"]),
        (&json!("id-reused"), &json!("publisher"), &json!("rest"))
    );
    assert_eq!(hub.trace(&first["seq"]).await["message"]["data"]["amount"]["value"], "10.00");
    assert_eq!(hub.messages("").await.len(), 1);
    // The same id of another source is another message.
    let mut other = payment("p-1", "7", "99.00");
    other["source"] = json!("/test/other");
    assert_eq!(hub.publish(&other).await["duplicate"], false);
}

#[tokio::test]
async fn each_bad_input_is_a_problem_with_a_place_and_stands_in_the_journal() {
    let hub = quiet();
    let mut wrong = Vec::new();
    for bad in [bad::syntax(), bad::attributes(), bad::data()].into_iter().flatten() {
        let answer = hub.post(bad.content_type, bad.body).await;
        let (status, code, place) = (&answer.body["status"], &answer.body["code"], answer.body["place"].as_str());
        let place = place.unwrap_or_default();
        let fits = place.starts_with(bad.place) && bad.place.is_empty() == place.is_empty();
        if (status, code) != (&json!(bad.status), &json!(bad.code)) || !fits {
            wrong.push(format!("{}: {answer:?}; wanted {} {} at `{}`", bad.what, bad.status, bad.code, bad.place));
            continue;
        }
        answer.problem(bad.status, bad.code);
        let intake = hub.intakes("outcome=refused").await.first().cloned().unwrap_or_default();
        if intake["error"]["code"] != bad.code || intake["system"] != "publisher" {
            wrong.push(format!("{} is not in the journal: {intake}", bad.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(hub.messages("").await.is_empty());
}

#[tokio::test]
async fn header_bytes_that_are_no_text_are_refused_and_not_dropped() {
    let hub = quiet();
    for bad in [b"\xd0".as_slice(), b"%D0".as_slice()] {
        let request = hub.client.post(format!("{}/v1/messages", hub.url)).bearer_auth(PUBLISHER);
        let request = request.header("ce-specversion", "1.0").header("ce-id", "b-1").header("ce-source", "/test/cash");
        let request = request.header("ce-type", "payment.received.v1");
        let request = request.header("ce-subject", reqwest::header::HeaderValue::from_bytes(bad).unwrap());
        let data = payment("", "1", "1.00")["data"].to_string();
        let answer = hub.send(request.header(CONTENT_TYPE, "application/json").body(data)).await;
        assert_eq!(answer.problem(400, "invalid-event"), "subject");
    }
}

#[tokio::test]
async fn keys_and_rights_hold() {
    let hub = quiet();
    let url = |path: &str| format!("{}{path}", hub.url);
    for path in ["/v1/messages", "/v1/messages/1", "/v1/intakes", "/v1/systems", "/v1/schemas"] {
        for request in [
            hub.client.get(url(path)),
            hub.client.get(url(path)).bearer_auth("guessed"),
            hub.client.get(url(path)).basic_auth("reader", Some(READER)),
            hub.client.get(url(path)).header("authorization", READER),
        ] {
            let answer = hub.send(request).await;
            answer.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").contains("Bearer"), "{answer:?}");
        }
    }
    hub.send(hub.client.post(url("/v1/messages")).body("{}")).await.problem(401, "unauthorized");
    hub.send(hub.client.post(url("/v1/messages")).bearer_auth(READER).body("{}")).await.problem(403, "forbidden");
    hub.send(hub.client.post(url("/v1/questions")).bearer_auth(OFFICER).body("{}")).await.problem(403, "forbidden");
    for path in ["/v1/messages", "/v1/messages/1", "/v1/intakes", "/v1/systems"] {
        hub.get(PUBLISHER, path).await.problem(403, "forbidden");
    }
    hub.get(READER, "/v1/messages/999").await.problem(404, "not-found");
    hub.get(READER, "/v1/messages/abc").await.problem(404, "not-found");
    hub.get(READER, "/v1/nothing").await.problem(404, "not-found");
    hub.get(READER, "/v1/schemas/no.such.v1").await.problem(404, "not-found");
    hub.get(READER, "/hooks/nobody/x").await.problem(404, "not-found");
    hub.send(hub.client.delete(url("/v1/messages")).bearer_auth(READER)).await.problem(405, "method-not-allowed");
    hub.send(hub.client.put(url("/healthz"))).await.problem(405, "method-not-allowed");
    // RFC 9110, section 11.1: the scheme's case does not matter.
    let request = hub.client.get(url("/v1/messages")).header("authorization", format!("bearer {READER}"));
    assert_eq!(hub.send(request).await.status, 200);
}

#[tokio::test]
async fn what_the_framework_refuses_is_a_problem_too() {
    let hub = quiet();
    hub.get(READER, "/v1/messages/%FF").await.problem(404, "not-found");
    hub.get(READER, "/hooks/%FF").await.problem(404, "not-found");
    let ask = hub.client.post(format!("{}/v1/questions?deadline-ms=soon", hub.url)).bearer_auth(PUBLISHER);
    hub.send(ask.body("{}")).await.problem(400, "invalid-event");
    for path in [
        "/v1/messages?limit=x",
        "/v1/messages?state=lost",
        "/v1/messages?after=x",
        "/v1/messages?colour=red",
        "/v1/intakes?limit=-1",
    ] {
        assert_eq!(hub.get(READER, path).await.problem(400, "invalid-event"), "query", "{path}");
    }
}

#[tokio::test]
async fn a_refused_caller_stands_in_the_journal_without_what_it_carried() {
    let hub = quiet();
    let request = hub.client.post(format!("{}/v1/messages", hub.url)).bearer_auth("guessed-key");
    hub.send(request.header(CONTENT_TYPE, STRUCTURED).body(payment("f", "1", "1.00").to_string())).await;
    let intakes = hub.intakes("outcome=refused").await;
    assert_eq!(intakes.len(), 1, "a request without a valid key is not in the journal");
    assert_eq!(intakes[0]["error"]["code"], "unauthorized");
    assert!(!intakes[0].to_string().contains("guessed-key"));
}

#[tokio::test]
async fn the_documents_are_what_the_program_prints() {
    let hub = quiet();
    let served = hub.get("", "/openapi.json").await;
    let printed = Command::new(crate::hub::binary()).args(["print", "openapi"]).output().unwrap();
    assert_eq!(served.body, serde_json::from_slice::<Value>(&printed.stdout).unwrap());
    assert!(served.body["openapi"].as_str().unwrap().starts_with("3.1"), "{}", served.body["openapi"]);
    let schema = served.body.to_string();
    // Every reference leads somewhere, and every path answers something else than 404 without a key.
    for part in schema.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(served.body.pointer(pointer).is_some(), "{pointer}");
    }
    for (path, methods) in served.body["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace("{seq}", "1").replace("{type}", "x");
            let answer = hub.send(hub.client.request(method.clone(), format!("{}{path}", hub.url))).await;
            let open = ["/healthz", "/readyz", "/metrics"].contains(&path.as_str());
            assert_eq!(answer.status, if open { 200 } else { 401 }, "{method} {path}");
            assert!(operation["responses"].as_object().is_some_and(|r| !r.is_empty()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn health_readiness_and_metrics_answer() {
    let hub = quiet();
    hub.publish(&payment("m", "1", "1.00")).await;
    hub.post(STRUCTURED, "{").await;
    assert_eq!(hub.get("", "/healthz").await.body, "ok\n");
    let ready = hub.get("", "/readyz").await;
    assert_eq!((ready.status, &ready.body["ready"], &ready.body["store"]), (200, &json!(true), &json!(true)));
    let metrics = hub.get("", "/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain"), "{metrics:?}");
    let text = metrics.body.as_str().unwrap();
    // Text exposition format 0.0.4: comments, or a name with labels and a number.
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(name.starts_with("busbar_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(text.contains("busbar_refused_total{") && text.contains("code=\"invalid-json\""), "{text}");
}

#[test]
fn the_description_names_who_may_and_how_errors_look() {
    let described: Value = serde_json::from_str(&busbar_server::rest::openapi()).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, of)| of.as_object().unwrap().values().map(move |of| (path, of)));
    let mut seen = 0;
    for (path, operation) in operations {
        let responses = operation["responses"].as_object().unwrap();
        let needs_key = !["/healthz", "/readyz", "/metrics"].contains(&path.as_str());
        // A schema is shown to every key.
        let needs_right = needs_key && !path.starts_with("/v1/schemas");
        assert_eq!(responses.contains_key("401"), needs_key, "{path}");
        assert_eq!(responses.contains_key("403"), needs_right, "{path}");
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            let is_problem = schema == "#/components/schemas/Problem";
            assert!(is_problem || path == "/readyz" && status == "503", "{path} {status}: {response}");
            assert!(response["content"]["application/json"].is_null() || path == "/readyz", "{path} {status}");
            seen += usize::from(is_problem);
        }
    }
    assert!(seen > 40, "{seen}");
}

#[tokio::test]
async fn a_hangup_is_said_in_the_log_and_ends_nothing() {
    let mut hub = quiet();
    hub.signal(rustix::process::Signal::HUP);
    crate::hub::wait_for("the hangup in the log", async || hub.log().contains("SIGHUP").then_some(())).await;
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
    assert!(hub.stop().success());
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_output_quietly() {
    for arguments in [["print", "openapi"], ["print", "errors"], ["check", "deploy/demo"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            Command::new(crate::hub::binary()).args(arguments).current_dir(crate::hub::root()).stdout(writer).output();
        let output = output.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        // As the shell says it of a program that SIGPIPE ended.
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
    }
}

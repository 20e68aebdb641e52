//! Requests that are malformed, over REST and at hooks: each is a problem, and none is guessed at.

use super::STRUCTURED;
use super::bounds::{connect, until_closed};
use crate::hub::{Answer, Hub, PUBLISHER, READER, payment};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

const HOOK: &str = "[systems.one]\nadapter = \"hostile\"\n[systems.one.hook]\nopen = true\n";

/// The answer to a request that is written as it stands.
async fn raw(hub: &Hub, request: &str) -> Answer {
    let mut stream = connect(hub).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"));
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Answer { status, headers, body: serde_json::from_str(body).unwrap_or(Value::String(body.into())) }
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let hub = Hub::start(HOOK);
    for path in ["/v1/messages", "/hooks/one/loop", "/healthz", "/nowhere"] {
        for hosts in ["", "Host: hub\r\nHost: other\r\n", "Host: hub\r\nHost: hub\r\n"] {
            let request = format!("GET {path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
            raw(&hub, &request).await.problem(400, "bad-request");
        }
    }
    // HTTP/1.0 has no such header.
    assert_eq!(raw(&hub, "GET /healthz HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn a_malformed_chunk_is_the_senders_mistake() {
    let hub = Hub::start(HOOK);
    for (path, body) in [("/v1/messages", "zz\r\n"), ("/hooks/one/x", "5\r\nabcdefg\r\n0\r\n\r\n")] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nAuthorization: Bearer {PUBLISHER}\r\n\
             Content-Type: {STRUCTURED}\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        raw(&hub, &request).await.problem(400, "bad-request");
    }
    let refused = hub.intakes("outcome=refused").await;
    assert!(refused.len() == 2 && refused.iter().all(|intake| intake["error"]["code"] == "bad-request"), "{refused:?}");
}

#[tokio::test]
async fn a_body_that_is_encoded_is_not_read() {
    let hub = Hub::start(HOOK);
    for path in ["/v1/messages", "/v1/questions", "/hooks/one/x"] {
        for encoding in ["gzip", "br, gzip", "none"] {
            let request = hub.client.post(format!("{}{path}", hub.url)).bearer_auth(PUBLISHER);
            let request = request.header(CONTENT_TYPE, STRUCTURED).header(CONTENT_ENCODING, encoding);
            hub.send(request.body("{}")).await.problem(415, "unsupported-encoding");
        }
    }
    let request = hub.client.post(format!("{}/v1/messages", hub.url)).bearer_auth(PUBLISHER);
    let request = request.header(CONTENT_TYPE, STRUCTURED).header(CONTENT_ENCODING, "Identity");
    assert_eq!(hub.send(request.body(payment("p", "1", "1.00").to_string())).await.status, 202);
}

#[tokio::test]
async fn headers_over_their_limit_are_a_problem_and_up_to_it_are_taken() {
    let hub = Hub::with("header-bytes-max = 8192", HOOK);
    for path in ["/v1/messages", "/hooks/one/x", "/healthz"] {
        let large =
            hub.client.get(format!("{}{path}", hub.url)).bearer_auth(READER).header("x-large", "a".repeat(9_000));
        hub.send(large).await.problem(431, "headers-too-large");
        let mut many = hub.client.get(format!("{}{path}", hub.url)).bearer_auth(READER);
        for number in 0..150 {
            many = many.header(format!("x-{number}"), "a".repeat(60));
        }
        hub.send(many).await.problem(431, "headers-too-large");
    }
    let most =
        hub.client.get(format!("{}/v1/messages", hub.url)).bearer_auth(READER).header("x-large", "a".repeat(7_500));
    assert_eq!(hub.send(most).await.status, 200);
}

#[tokio::test]
async fn an_attribute_that_stands_twice_is_refused() {
    let hub = Hub::start("");
    for twice in [("ce-id", "p-2"), ("ce-branch", "5"), ("content-type", "application/json")] {
        let request = hub.client.post(format!("{}/v1/messages", hub.url)).bearer_auth(PUBLISHER);
        let request =
            request.header("ce-specversion", "1.0").header("ce-source", "/test/cash").header("ce-branch", "4");
        let request = request.header("ce-id", "p-1").header("ce-type", "payment.received.v1");
        let request = request.header(CONTENT_TYPE, "application/json").header(twice.0, twice.1);
        let answer = hub.send(request.body(payment("", "1", "1.00")["data"].to_string())).await;
        assert_eq!(answer.problem(400, "invalid-event"), twice.0);
    }
    assert!(hub.messages("").await.is_empty());
}

#[tokio::test]
async fn a_name_that_stands_twice_is_refused_at_hooks_as_well() {
    let hub = Hub::start(HOOK);
    for (kind, body, status) in [
        ("application/json", r#"{"sum": 1, "sum": 2}"#, 400),
        ("application/x+json; charset=utf-8", r#"[{"a": {"b": 1, "\u0062": 1}}]"#, 400),
        // What else is wrong with it, its adapter says in its own way.
        ("text/plain", r#"{"sum": 1, "sum": 2}"#, 404),
        ("application/json", "{", 404),
    ] {
        let request = hub.client.post(format!("{}/hooks/one/x", hub.url)).header(CONTENT_TYPE, kind);
        let answer = hub.send(request.body(body)).await;
        match status {
            400 => assert!(answer.problem(400, "repeated-name").starts_with("line 1, column "), "{answer:?}"),
            _ => assert_ne!(answer.body["code"], "repeated-name", "{body}: {answer:?}"),
        }
    }
}

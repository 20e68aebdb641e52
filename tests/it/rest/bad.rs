//! Inputs that are wrong, each in one way.

use super::{BATCHED, STRUCTURED};
use crate::hub::payment;
use serde_json::{Value, json};

/// What is wrong with it, and the problem it must be answered with.
pub struct Bad {
    pub what: &'static str,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub status: u16,
    pub code: &'static str,
    /// Beginning of the place; empty where there is none.
    pub place: &'static str,
}

fn body(
    what: &'static str,
    content_type: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
    place: &'static str,
) -> Bad {
    Bad { what, content_type, body: body.into(), status, code, place }
}

fn event(change: impl Fn(&mut Value)) -> String {
    let mut event = payment("x", "1", "1.00");
    change(&mut event);
    event.to_string()
}

pub fn syntax() -> Vec<Bad> {
    let json = |what, text: Vec<u8>, place| body(what, STRUCTURED, text, 400, "invalid-json", place);
    let nested =
        |depth: usize| format!("{{\"specversion\":\"1.0\",\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let mut latin = event(|_| ()).into_bytes();
    let at = latin.windows(8).position(|w| w == b"Pelageya").unwrap();
    latin[at] = 0xff;
    vec![
        json("no JSON", b"{\"id\":\n oops".into(), "line 2, column 2"),
        json("cut", b"{\"id\":\"1\"".into(), "line 1, column 9"),
        json("nothing", Vec::new(), "line 1, column 0"),
        json("deep", nested(10_000).into(), "line 1"),
        json("a little too deep", nested(64).into(), "line 1"),
        json("no UTF-8", latin, "line 1, column"),
        body("a name twice", STRUCTURED, r#"{"id":"1", "id":"1"}"#, 400, "repeated-name", "line 1, column"),
        body(
            "one of data twice",
            STRUCTURED,
            event(|_| ()).replace("{\"account", "{\"value\":1,\"account").replace("\"channel", "\"value\":1,\"channel"),
            400,
            "repeated-name",
            "line 1, column",
        ),
        body("twice in a batch", BATCHED, r#"[{}, {"id":"1","\u0069d":"2"}]"#, 400, "repeated-name", "line 1, column"),
        body("deep batch", BATCHED, "[".repeat(10_000), 400, "invalid-json", "line 1"),
        body("a list", STRUCTURED, "[]", 400, "invalid-event", ""),
        body("XML", "application/xml", "<a/>", 415, "unsupported-media-type", ""),
        body("text", "text/plain; charset=utf-8", "hello", 415, "unsupported-media-type", ""),
        body("large", STRUCTURED, vec![b' '; (1 << 20) + 1], 413, "too-large", ""),
    ]
}

pub fn attributes() -> Vec<Bad> {
    let wrong = |what, name: &'static str, value: Value| {
        let text = event(|event| event[name] = value.clone());
        body(what, STRUCTURED, text, 400, "invalid-event", name)
    };
    let without = |what, name: &'static str| {
        let text = event(|event| drop(event.as_object_mut().unwrap().remove(name)));
        body(what, STRUCTURED, text, 400, "invalid-event", name)
    };
    vec![
        without("no id", "id"),
        without("no specversion", "specversion"),
        without("no source", "source"),
        without("no type", "type"),
        without("no data", "data"),
        wrong("blank id", "id", json!("  ")),
        wrong("number as id", "id", json!(5)),
        wrong("control character", "id", json!("a\u{0}b")),
        wrong("long id", "id", json!("x".repeat(2000))),
        wrong("old specversion", "specversion", json!("0.3")),
        wrong("no offset", "time", json!("2026-11-20T10:00:00")),
        wrong("impossible time", "time", json!("2026-02-30T10:00:00Z")),
        wrong("source with blanks", "source", json!("a b")),
        wrong("type without version", "type", json!("payment")),
        wrong("binary data", "data_base64", json!("AAAA")),
        wrong("odd extension", "Kind", json!("x")),
        body("no attributes", "application/json", "{}", 400, "invalid-event", "specversion"),
    ]
}

pub fn data() -> Vec<Bad> {
    let wrong = |what, pointer: &'static str, value: Value| {
        let text = event(|event| *event.pointer_mut(pointer).unwrap() = value.clone());
        body(what, STRUCTURED, text, 422, "invalid-data", pointer)
    };
    let question = event(|event| {
        event["type"] = json!("account.lookup.v1");
        event["data"] = json!({ "account": "1" });
    });
    let unknown = event(|event| event["type"] = json!("payment.lost.v1"));
    vec![
        wrong("float money", "/data/amount/value", json!(12.5)),
        wrong("impossible day", "/data/paidOn", json!("2026-02-30")),
        wrong("unknown field", "/data/amount", json!({ "value": "1", "currency": "RUB", "x": 1 })),
        wrong("number as account", "/data/account", json!(42)),
        body("a question", STRUCTURED, question, 422, "not-a-question", "type"),
        body("type of nobody", STRUCTURED, unknown, 422, "unknown-type", "type"),
    ]
}

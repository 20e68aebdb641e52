//! Messages, schemas and routes.

use busbar_core::{Catalog, Code, Expr, Message, Payload, Problem, Route, Rules, parse_json, valid_type};
use serde_json::{Value, json};

fn event() -> Value {
    json!({
        "specversion": "1.0", "id": "1", "source": "/crm", "type": "bill.v1", "subject": "77",
        "time": "2026-11-22T10:00:00+05:00", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tenant": "north", "data": { "sum": "1.00", "payer": { "name": "Pelageya" }, "lines": [{ "note": "x" }] },
    })
}

fn refused(change: impl FnOnce(&mut Value)) -> (Code, String) {
    let mut event = event();
    change(&mut event);
    let problem = Message::from_structured(event).unwrap_err();
    (problem.code, problem.place.unwrap_or_default())
}

#[test]
fn an_event_comes_back_as_it_came() {
    let message = Message::from_structured(event()).unwrap();
    assert_eq!(message.time.as_deref(), Some("2026-11-22T10:00:00+05:00"), "the offset is the source's own");
    assert_eq!(message.extensions["tenant"], "north");
    let mut again = message.to_structured();
    assert_eq!(again.as_object_mut().unwrap().remove("datacontenttype"), Some(json!("application/json")));
    assert_eq!(again, event());
    let attributes = message.attributes();
    let payload = Payload { attributes, content_type: None, body: message.data.to_string().into_bytes() };
    assert_eq!(Message::from_payload(&payload).unwrap(), message);
}

#[test]
fn each_bad_attribute_is_named() {
    for attribute in ["id", "source", "type", "specversion", "data"] {
        assert_eq!(
            refused(|e| drop(e.as_object_mut().unwrap().remove(attribute))),
            (Code::InvalidEvent, attribute.into())
        );
    }
    let cases = [
        ("id", json!("")),
        ("id", json!(5)),
        ("id", json!("x".repeat(2000))),
        ("id", json!("a\u{0}b")),
        ("source", json!("not a uri")),
        ("type", json!("Bill.v1")),
        ("type", json!("bill")),
        ("type", json!("bill.v0")),
        ("time", json!("2026-11-22 10:00")),
        ("time", json!("2026-02-30T10:00:00Z")),
        ("specversion", json!("0.3")),
        ("datacontenttype", json!("text/xml")),
        ("Tenant", json!("x")),
        ("tenant", json!({})),
        ("data_base64", json!("AAAA")),
    ];
    for (attribute, value) in cases {
        assert_eq!(refused(|e| e[attribute] = value.clone()), (Code::InvalidEvent, attribute.into()), "{value}");
    }
    assert!(!valid_type("payment..v1") && !valid_type(".v1") && valid_type("account.lookup.answer.v12"));
}

#[test]
fn json_is_bounded_and_its_mistakes_have_a_place() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let problem: Problem = parse_json(deep.as_bytes()).unwrap_err();
    assert_eq!(problem.code, Code::InvalidJson);
    // Brackets inside a text are no depth.
    assert!(parse_json(json!("[".repeat(1000)).to_string().as_bytes()).is_ok());
    let problem = parse_json(b"{\n  \"a\": 1,\n  \"b\": }\n").unwrap_err();
    assert_eq!(problem.place.as_deref(), Some("line 3, column 8"));
}

fn rules() -> Rules {
    let bill = json!({
        "type": "object", "required": ["sum"],
        "properties": {
            "sum": { "type": "string", "pattern": "^[0-9]+\\.[0-9]{2}$" },
            "payer": { "$ref": "#/$defs/person" },
            "lines": { "type": "array", "items": { "properties": { "note": { "x-personal-data": true } } } },
        },
        "$defs": { "person": { "properties": { "name": { "x-personal-data": true } } } },
    });
    let ask = json!({ "type": "object", "x-answer": "ask.answer.v1" });
    let schemas =
        vec![("bill.v1".to_string(), bill), ("ask.v1".to_string(), ask), ("ask.answer.v1".to_string(), json!({}))];
    let route = |types: &str, to: &[&str], when: Option<&str>, key: Option<&str>| Route {
        types: vec![types.into()],
        to: to.iter().map(ToString::to_string).collect(),
        when: when.map(|w| Expr::compile(w).unwrap()),
        key: key.map(|k| Expr::compile(k).unwrap()),
        journal: busbar_core::Journal::Full,
    };
    let routes = vec![
        route("bill.v1", &["billing", "crm"], None, None),
        route("*", &["archive"], Some("has(data.sum) && data.sum != '0.00'"), Some("source + subject")),
        route("bill.v1", &["odd"], Some("data.missing == 1"), None),
        route("bill.v1", &["billing"], None, None),
        route("ask.v1", &["registry"], None, None),
    ];
    Rules::new(Catalog::compile(schemas).unwrap(), routes)
}

#[test]
fn routes_plan_one_delivery_for_each_system() {
    let rules = rules();
    let new = rules.admit(Message::from_structured(event()).unwrap(), None).unwrap();
    let planned: Vec<_> =
        new.deliveries.iter().map(|d| (d.system.as_str(), d.key.as_deref(), d.error.is_some())).collect();
    let expected = [
        ("billing", Some("77"), false),
        ("crm", Some("77"), false),
        ("archive", Some("/crm77"), false),
        ("odd", Some("77"), true),
    ];
    assert_eq!(planned, expected, "a condition that cannot be evaluated parks its delivery, and loses nothing");
    let mut free = event();
    free["data"]["sum"] = json!("0.00");
    let new = rules.admit(Message::from_structured(free).unwrap(), None).unwrap();
    assert!(!new.deliveries.iter().any(|d| d.system == "archive"));
    assert!(Expr::compile("data.sum ==").is_err() && Expr::compile("password == ''").is_err());
}

#[test]
fn questions_and_messages_are_kept_apart() {
    let rules = rules();
    let mut ask = event();
    ask["type"] = json!("ask.v1");
    let ask = Message::from_structured(ask).unwrap();
    assert_eq!(rules.answerer(&ask).unwrap(), "registry");
    assert_eq!(rules.admit(ask, None).unwrap_err().code, Code::NotAQuestion);
    let bill = Message::from_structured(event()).unwrap();
    assert_eq!(rules.answerer(&bill).unwrap_err().code, Code::NotAQuestion);
    let mut unknown = event();
    unknown["type"] = json!("nobody.knows.v1");
    assert_eq!(rules.admit(Message::from_structured(unknown).unwrap(), None).unwrap_err().code, Code::UnknownType);
}

#[test]
fn data_is_checked_without_being_told_and_personal_data_is_masked() {
    let rules = rules();
    let mut wrong = event();
    wrong["data"]["sum"] = json!("secret sum");
    let problem = rules.admit(Message::from_structured(wrong).unwrap(), None).unwrap_err();
    assert_eq!((problem.code, problem.place.as_deref()), (Code::InvalidData, Some("/data/sum")));
    assert!(!problem.detail.contains("secret"), "{}", problem.detail);
    let masked = rules.catalog.mask("bill.v1", &event()["data"]);
    assert_eq!(masked, json!({ "sum": "1.00", "payer": { "name": "***" }, "lines": [{ "note": "***" }] }));
}

use super::*;
use serde_json::json;

fn settings() -> Settings {
    serde_json::from_value(json!({
        "deliver": {"url": "http://portal/hook", "credential": "signing"},
        "receive": {"credential": "signing", "events": {"invoice.paid": {
            "type": "payment.received.v1", "subject": "/data/account", "time": "/at",
            "data": {"account": "/data/account", "channel": "portal", "note": "/data/none", "list": ["/at", 1]}
        }}}
    }))
    .unwrap()
}

fn hook(headers: &[(&str, &str)], body: &str) -> HookRequest {
    let headers = headers.iter().map(|(name, value)| Header { name: (*name).into(), value: (*value).into() }).collect();
    HookRequest { method: "POST".into(), path: "/".into(), query: String::new(), headers, body: body.into() }
}

const HEADERS: [(&str, &str); 3] =
    [("Webhook-Id", "evt_1"), ("Webhook-Timestamp", "1000"), ("Webhook-Signature", "v1,AAEC v1a,xx v1,%% v1,AwQ=")];
const BODY: &str = r#"{"type":"invoice.paid","at":"2026-11-22T10:00:00+03:00","data":{"account":"1"}}"#;

#[test]
fn a_webhook_becomes_a_message() {
    let request = hook(&HEADERS, BODY);
    let settings = settings();
    let source = source(&settings).unwrap();
    let incoming = incoming(source, &request).unwrap();
    let Proof::Signatures { signed, signatures } = &incoming.proof else { panic!() };
    assert_eq!(*signatures, [vec![0, 1, 2], vec![3, 4]]);
    assert_eq!(*signed, format!("evt_1.1000.{BODY}").into_bytes());
    let draft = &messages(accept(source, &incoming, true, 1300))[0];
    assert_eq!((draft.id.as_str(), draft.subject.as_deref()), ("evt_1", Some("1")));
    let data: Value = serde_json::from_str(&draft.data).unwrap();
    assert_eq!(data, json!({"account": "1", "channel": "portal", "list": ["2026-11-22T10:00:00+03:00", 1]}));
}

#[test]
fn nothing_is_told_before_the_signature_is_right() {
    let settings = settings();
    let source = source(&settings).unwrap();
    for missing in 0..3 {
        let headers: Vec<_> =
            HEADERS.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, header)| *header).collect();
        assert!(matches!(incoming(source, &hook(&headers, BODY)), Err(Failure::Unauthorized(_))));
    }
    let request = hook(&HEADERS, "no json");
    let incoming = incoming(source, &request).unwrap();
    assert!(matches!(accept(source, &incoming, false, 9999), Err(Failure::Unauthorized(_))));
}

#[test]
fn time_type_and_body_are_checked() {
    let settings = settings();
    let source = source(&settings).unwrap();
    for (body, now, code) in [
        (BODY, 1301, "timestamp-outside-tolerance"),
        (BODY, 699, "timestamp-outside-tolerance"),
        ("no json", 1000, "bad-json"),
        ("{}", 1000, "bad-event"),
        (r#"{"type":"other"}"#, 1000, "unknown-event"),
        (r#"{"type":"invoice.paid"}"#, 1000, "bad-event"),
    ] {
        let request = hook(&HEADERS, body);
        let failure = accept(source, &incoming(source, &request).unwrap(), true, now).unwrap_err();
        let Failure::Rejected(rejection) = failure else { panic!("{failure:?}") };
        assert_eq!(rejection.code, code, "{body}");
    }
}

#[test]
fn own_headers_cannot_replace_the_signature() {
    let target: Target = serde_json::from_value(json!({
        "url": "http://portal", "credential": "s", "headers": {"Webhook-Signature": "v1,x", "X-A": "b"}
    }))
    .unwrap();
    let outgoing = Outgoing { id: "msg_1".into(), timestamp: "5".into(), body: "{}".into(), signed: vec![] };
    let request = request(&target, outgoing, &[0, 1, 2]);
    let found: Vec<_> = request.headers.iter().filter(|header| header.name == "webhook-signature").collect();
    assert_eq!(found.len(), 1);
    assert_eq!(header(&request.headers, "webhook-signature"), Some("v1,AAEC"));
}

fn messages(received: Result<Received, Failure>) -> Vec<Draft> {
    match received {
        Ok(Received::Messages(drafts)) => drafts,
        other => panic!("{other:?}"),
    }
}

fn of(receive: Value) -> Source {
    serde_json::from_value(receive).unwrap()
}

fn place(received: Result<Received, Failure>) -> (String, String) {
    match received {
        Err(Failure::Rejected(found)) => (found.code, found.place.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

/// A queue that signs the body alone: no id, no timestamp, the state beside the event's type.
#[test]
fn a_signature_of_the_body_alone() {
    let source = of(json!({
        "credential": "s", "signature": {"header": "X-Queue-Signature", "prefix": "sha256="},
        "type-pointer": ["/type", "/data/status"], "unknown": "ignore",
        "events": {"ticket_changed/NOSHOW": {
            "type": "queue.ticket.changed.v1", "subject": "/data/id",
            "data": {"id": "text:/data/id", "status": "missed", "desk": "text:/data/desk"}
        }}
    }));
    let body = r#"{"type":"ticket_changed","data":{"id":17,"status":"NOSHOW","desk":3}}"#;
    let request = hook(&[("x-queue-signature", "sha256=00FFa0")], body);
    let found = incoming(&source, &request).unwrap();
    let Proof::Signatures { signed, signatures } = &found.proof else { panic!() };
    assert_eq!((signed.as_slice(), signatures.as_slice()), (body.as_bytes(), [vec![0, 255, 160]].as_slice()));
    let drafts = messages(accept(&source, &found, true, u64::MAX));
    assert_eq!((drafts[0].subject.as_deref(), drafts[0].id.len()), (Some("17"), 32));
    let data: Value = serde_json::from_str(&drafts[0].data).unwrap();
    assert_eq!(data, json!({"id": "17", "status": "missed", "desk": "3"}));
    // Sent again it is the same message, and another body another.
    assert_eq!(messages(accept(&source, &incoming(&source, &request).unwrap(), true, 0))[0].id, drafts[0].id);
    let other = hook(&[("x-queue-signature", "sha256=00")], &body.replace("17", "18"));
    assert_ne!(messages(accept(&source, &incoming(&source, &other).unwrap(), true, 0))[0].id, drafts[0].id);
    for (header, value) in
        [("x-queue-signature", "00FFa0"), ("x-queue-signature", "sha256=0"), ("x-queue-signature", "sha256=xx")]
    {
        let request = hook(&[(header, value)], body);
        let found = incoming(&source, &request).unwrap();
        let Proof::Signatures { signatures, .. } = &found.proof else { panic!() };
        assert!(signatures.iter().all(Vec::is_empty), "{value}");
    }
    assert!(matches!(incoming(&source, &hook(&[], body)), Err(Failure::Unauthorized(_))));
    let dropped = hook(&[("x-queue-signature", "sha256=00")], &body.replace("NOSHOW", "NEW"));
    let dropped = accept(&source, &incoming(&source, &dropped).unwrap(), true, 0);
    assert!(matches!(dropped, Ok(Received::Dropped(kind)) if kind == "ticket_changed/NEW"));
    let other = hook(&[("x-queue-signature", "sha256=00")], r#"{"type":"line_changed","data":{}}"#);
    let other = accept(&source, &incoming(&source, &other).unwrap(), true, 0);
    assert!(matches!(other, Ok(Received::Dropped(kind)) if kind == "line_changed"));
}

#[test]
fn a_secret_in_a_header_and_a_list_of_facts() {
    let source = of(json!({
        "credential": "s", "secret-header": "X-Api-Key", "id-pointer": "/number",
        "events": {"readings": {
            "type": "meter.reading.taken.v1", "each": "/data/list", "subject": "/data/account", "time": "/item/at",
            "data": {"account": "/data/account", "value": "/item/value"}
        }}
    }));
    let body = r#"{"type":"readings","number":5,"data":{"account":"1","list":[{"at":"a","value":"7"},{"at":"b","value":"8"}]}}"#;
    let request = hook(&[("X-Api-Key", " key ")], body);
    let found = incoming(&source, &request).unwrap();
    assert!(matches!(found.proof, Proof::Secret("key")));
    let drafts = messages(accept(&source, &found, true, 0));
    let found: Vec<_> =
        drafts.iter().map(|draft| (draft.id.as_str(), draft.time.as_deref(), draft.place.as_deref())).collect();
    assert_eq!(found, [("5-0", Some("a"), Some("/data/list/0")), ("5-1", Some("b"), Some("/data/list/1"))]);
    assert_eq!(drafts[1].data, r#"{"account":"1","value":"8"}"#);
    let refused = |body: &str| {
        let request = hook(&[("X-Api-Key", "key")], body);
        place(accept(&source, &incoming(&source, &request).unwrap(), true, 0))
    };
    let bad = |at: &str| ("bad-event".to_owned(), at.to_owned());
    assert_eq!(refused(&body.replace(r#""at":"b","#, "")), bad("/data/list/1"));
    assert_eq!(refused(&body.replace("list", "none")), bad("/data/list"));
    assert_eq!(refused(&body.replace(":5,", ":\"\",")), bad("/number"));
    assert_eq!(refused(&body.replace("readings", "other")), ("unknown-event".to_owned(), "/type".to_owned()));
    let long = format!(r#"{{"type":"readings","number":5,"data":{{"list":[{}0]}}}}"#, "0,".repeat(1000));
    assert_eq!(refused(&long), bad("/data/list"));
    assert!(
        messages(accept(
            &source,
            &incoming(
                &source,
                &hook(&[("X-Api-Key", "k")], &body.replace(r#"{"at":"a","value":"7"},{"at":"b","value":"8"}"#, ""))
            )
            .unwrap(),
            true,
            0
        ))
        .is_empty()
    );
}

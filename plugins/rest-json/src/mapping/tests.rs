use super::*;

fn settings(json: &str) -> Settings {
    serde_json::from_str(json).unwrap()
}

fn message(data: &str) -> Message {
    Message {
        subject: Some("500100".into()),
        ..busbar_sdk::test_hub::message("/demo/bank", "p-1", "payment.received.v1", data)
    }
}

fn prepared(operation: &str, data: &str) -> Result<Prepared, Rejection> {
    let text = format!(r#"{{"base-url":"http://billing/api/","deliver":{{"payment.received.v1":{operation}}}}}"#);
    let settings = settings(&text);
    let message = message(data);
    let (operation, place) = operation_of(&settings, &message);
    prepare(&settings, operation, &message, "POST", &place)
}

fn operation_of<'a>(settings: &'a Settings, message: &Message) -> (&'a Operation, String) {
    operation(settings, message).unwrap()
}

fn response(status: u16, body: &str) -> Response {
    Response { status, headers: vec![], body: body.into() }
}

#[test]
fn the_url_is_encoded_and_stays_within_its_path() {
    let request = prepared(r#"{"path":"/a/{.data.account}?x={.subject}"}"#, r#"{"account":"1/2 ё?"}"#).unwrap().request;
    assert_eq!(request.url, "http://billing/api/a/1%2F2%20%D1%91%3F?x=500100");
    for account in [r#""""#, r#""..""#, "null", "[]"] {
        let data = format!(r#"{{"account":{account}}}"#);
        let rejection = prepared(r#"{"path":"/a/{.data.account}"}"#, &data).unwrap_err();
        assert_eq!(rejection.code, "empty-path-value", "{account}");
        assert_eq!(rejection.place.as_deref(), Some(r#"config, deliver."payment.received.v1".path"#));
    }
}

#[test]
fn expressions_in_templates_may_have_braces() {
    let request = prepared(r#"{"path":"/{ {a:.subject} | .a }/x"}"#, "{}").unwrap().request;
    assert_eq!(request.url, "http://billing/api/500100/x");
    assert_eq!(prepared(r#"{"path":"/{.subject"}"#, "{}").unwrap_err().code, "bad-mapping");
}

#[test]
fn an_unsafe_request_carries_a_key_and_is_repeatable() {
    let with = prepared(r#"{"path":"/p"}"#, r#"{"n":1.50}"#).unwrap();
    assert!(with.repeatable);
    let key = busbar_sdk::header(&with.request.headers, "idempotency-key").unwrap();
    assert_eq!(key, ids::derived(&["/demo/bank", "p-1"]));
    assert_eq!(with.request.body, br#"{"n":1.50}"#);
    let without = prepared(r#"{"path":"/p","idempotency-header":""}"#, "{}").unwrap();
    assert!(!without.repeatable);
    let get = prepared(r#"{"path":"/p","method":"get"}"#, "{}").unwrap();
    assert!(get.repeatable && get.request.body.is_empty());
    assert_eq!(busbar_sdk::header(&get.request.headers, "idempotency-key"), None);
}

#[test]
fn headers_cannot_be_split() {
    let rejection =
        prepared(r#"{"path":"/p","headers":{"X-Note":"{.data.note}"}}"#, r#"{"note":"a\r\nb: c"}"#).unwrap_err();
    assert_eq!(rejection.code, "bad-header");
}

#[test]
fn statuses_have_meanings_that_settings_may_change() {
    let text = r#"{"base-url":"http://b","deliver":{"payment.received.v1":{"path":"/p","statuses":{"409":"ok","500":"rejected"}}}}"#;
    let settings = settings(text);
    let message = message("{}");
    let (operation, place) = operation_of(&settings, &message);
    let mut prepared = prepare(&settings, operation, &message, "POST", &place).unwrap();
    let judged = |prepared: &Prepared, status| judge(prepared, operation, Ok(response(status, "")));
    assert!(judged(&prepared, 201).is_ok());
    assert!(judged(&prepared, 409).is_ok());
    assert!(matches!(judged(&prepared, 500), Err(Failure::Rejected(_))));
    assert!(matches!(judged(&prepared, 504), Err(Failure::Transient(_))));
    prepared.repeatable = false;
    assert!(matches!(judged(&prepared, 504), Err(Failure::UnknownOutcome(_))));
    assert!(matches!(judged(&prepared, 503), Err(Failure::Transient(_))));
}

#[test]
fn answers_are_read_from_any_reply() {
    let text = r#"{"base-url":"http://b","answer":{"payment.received.v1":{"request":{"path":"/a"},"type":"x.v1","data":"{s:.status,b:.body,h:.headers.etag,q:.question.subject}"}}}"#;
    let settings = settings(text);
    let message = message("{}");
    let (question, place) = question(&settings, &message).unwrap();
    for (body, expected) in [("{\"d\":1.10}", "{\"d\":1.10}"), ("", "null"), ("no\tjson", "\"no\\tjson\"")] {
        let draft = answer(question, &message, &response(404, body), &place).unwrap();
        assert_eq!(draft.data, format!(r#"{{"s":404,"b":{expected},"h":null,"q":"500100"}}"#));
        assert_eq!((draft.type_.as_str(), draft.subject.as_deref()), ("x.v1", Some("500100")));
    }
    let deep = "[".repeat(100_000);
    assert!(answer(question, &message, &response(200, &deep), &place).is_ok());
}

#[test]
fn a_type_that_is_not_mapped_checks_every_expression() {
    let good = r#"{"base-url":"http://b","deliver":{"x.v1":{"path":"/{.id}","headers":{"a":"{.id}"},"body":"{a:.id}",
        "status":{"path":"/{.id}","done":".body.ok"}}},"answer":{"y.v1":{"request":{"path":"/"},"type":"z.v1","data":"{}"}},
        "poll":{"request":{"path":"/?{.cursor}"},"items":".body","each":".item","only":"true","cursor":".body.next","more":"false"}}"#;
    let code = |text: &str| match operation(&settings(text), &message("{}")).map(drop) {
        Err(Failure::Rejected(rejection)) => (rejection.code, rejection.place.unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(good).0, "unmapped-type");
    for (from, to, place) in [
        ("\"/{.id}\",\"headers\"", "\"/{.id\",\"headers\"", "config, deliver.\"x.v1\".path"),
        ("\"a\":\"{.id}\"", "\"a\":\"{nosuch}\"", "config, deliver.\"x.v1\".headers.a"),
        ("{a:.id}", "{a:.id", "config, deliver.\"x.v1\".body"),
        (".body.ok", "now", "config, deliver.\"x.v1\".status.done"),
        ("\"data\":\"{}\"", "\"data\":\"{\"", "config, answer.\"y.v1\".data"),
        ("{.cursor}", "{.cursor |}", "config, poll.request.path"),
        ("\"items\":\".body\"", "\"items\":\"[\"", "config, poll.items"),
        ("\".item\"", "\"nosuch\"", "config, poll.each"),
        ("\"only\":\"true\"", "\"only\":\"tru\"", "config, poll.only"),
        (".body.next", ".body.", "config, poll.cursor"),
        ("\"more\":\"false\"", "\"more\":\"env\"", "config, poll.more"),
    ] {
        assert_eq!(code(&good.replace(from, to)), ("bad-mapping".to_owned(), place.to_owned()), "{to}");
    }
}

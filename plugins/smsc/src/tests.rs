#![allow(clippy::unwrap_used)]

use busbar_sdk::http::Request;
use busbar_sdk::memory::Store;
use busbar_sdk::{Failure, HookRequest, Message, TestHub, hex, mutations, parse_settings, test_hub};
use serde_json::{Value, json};

use crate::mapping::{Order, Sent, Settings, is_own};
use crate::receipt::Outcome;
use crate::{deliver, poll, receive};

/// 2026-11-22 10:00 at +03:00.
const NOW_S: u64 = 1_795_330_800;

/// Answers with these bodies; an empty one is no answer.
fn answering(bodies: &[&str]) -> TestHub {
    let answers: Vec<_> = bodies.iter().map(|body| (if body.is_empty() { 0 } else { 200 }, *body)).collect();
    TestHub::answering(&answers)
}

/// Page and form of a request.
fn asked(request: &Request) -> String {
    let page = request.url.strip_prefix("https://smsc.ru/sys/").unwrap();
    format!("{page} {}", String::from_utf8(request.body.clone()).unwrap())
}

/// One byte, sixteen times.
fn hash(plain: &[u8]) -> Vec<u8> {
    vec![plain.iter().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)); 16]
}

/// The hub that a callback comes to.
fn called() -> TestHub {
    TestHub { hash, ..TestHub::default() }
}

fn received(settings: &Settings, request: &HookRequest, hub: &mut TestHub) -> Result<u16, Failure> {
    let response = receive::receive(settings, request, hub)?;
    hub.commit();
    Ok(response.status)
}

fn settings(more: &Value) -> Settings {
    let mut settings = json!({ "login": "login", "password": "psw" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parse_settings(&settings.to_string()).unwrap()
}

fn message(more: &Value) -> Message {
    let mut data = json!({ "id": "N-17", "channel": "sms", "recipient": { "phone": "+79005550117" }, "text": "Свет" });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let message = test_hub::message("/demo/crm", "m1", "notification.requested.v1", data.to_string());
    Message { time: Some("2026-11-22T09:59:30+03:00".into()), ..message }
}

fn code(failure: &Failure) -> String {
    match failure {
        Failure::Rejected(rejection) => format!("{} {}", rejection.code, rejection.place.as_deref().unwrap_or("")),
        Failure::Transient(delay) => format!("transient {:?}", delay.retry_after_ms),
        Failure::RateLimited(delay) => format!("rate-limited {:?}", delay.retry_after_ms),
        Failure::Unauthorized(_) => "unauthorized".to_owned(),
        other => format!("{other:?}"),
    }
}

const SENT: &str = r#"{"id":"bb-N-17","cnt":2,"cost":"8.4","balance":"100.10"}"#;
const ABSENT: &str = r#"{"status":-3,"last_date":"","last_timestamp":0}"#;

fn error(code: i64) -> String {
    format!(r#"{{"error":"words","error_code":{code}}}"#)
}

#[test]
fn an_order_says_what_the_notification_says() {
    let order = Order::of(
        &settings(&json!({ "sender": "ENERGO" })),
        &message(&json!({ "notBeforeAt": "2026-11-22T12:00:00+03:00", "validUntilAt": "2026-11-22T20:30:59+03:00" })),
    );
    let form = String::from_utf8(order.unwrap().form).unwrap();
    assert_eq!(
        form,
        "phones=%2B79005550117&mes=%D0%A1%D0%B2%D0%B5%D1%82&id=bb-N-17&sender=ENERGO&time=01795338000&valid=08%3A30\
         &cost=3&charset=utf-8&fmt=3"
    );
    for (more, expected) in [
        (json!({ "validUntilAt": "2026-11-22T10:00:00+03:00" }), "valid=00%3A01"),
        (json!({ "validUntilAt": "2026-12-31T10:00:00+03:00" }), "valid=24%3A00"),
        (json!({ "id": "Н/17" }), "id=bh-"),
        (json!({ "id": "x".repeat(38) }), "id=bh-"),
        (json!({ "id": "x".repeat(37) }), "id=bb-xxxxx"),
        (json!({ "sender": "SVET" }), "sender=SVET"),
    ] {
        let form = String::from_utf8(Order::of(&settings(&json!({})), &message(&more)).unwrap().form).unwrap();
        assert!(form.contains(expected), "{form}");
    }
}

#[test]
fn what_is_no_short_message_is_refused() {
    for (more, expected) in [
        (json!({ "channel": "email" }), "unsupported-channel /data/channel"),
        (json!({ "text": null, "template": "t" }), "no-text /data/text"),
        (json!({ "recipient": { "customer": "C1" } }), "no-phone /data/recipient/phone"),
        (json!({ "text": "я".repeat(6 * 67 + 1) }), "too-many-parts /data/text"),
        (
            json!({ "notBeforeAt": "2026-11-23T10:00:00Z", "validUntilAt": "2026-11-23T10:00:00Z" }),
            "bad-validity /data/validUntilAt",
        ),
    ] {
        let failure = Order::of(&settings(&json!({})), &message(&more)).map(|order| order.own).unwrap_err();
        assert_eq!(code(&failure), expected);
    }
    assert!(Order::of(&settings(&json!({})), &message(&json!({ "text": "я".repeat(6 * 67) }))).is_ok());
}

#[test]
fn a_message_is_sent_and_remembered() {
    let mut hub = answering(&[SENT]);
    deliver::deliver(&settings(&json!({})), &message(&json!({ "account": "5001" })), &mut hub).unwrap();
    assert_eq!(hub.requests.len(), 1);
    let sent: Sent = serde_json::from_slice(&hub.get("sms:bb-N-17").unwrap()).unwrap();
    assert_eq!((sent.parts, sent.cost.unwrap().value.as_str()), (Some(2), "8.40"));
    assert_eq!((sent.id.as_str(), sent.account.as_deref()), ("N-17", Some("5001")));
    assert_eq!(hub.warnings.len(), 1, "one part was counted here");
}

#[test]
fn whatever_is_lost_it_is_sent_once() {
    let status = r#"{"status":0,"last_date":"22.11.2026 10:00:00","last_timestamp":1795330800}"#;
    let list = format!("[{status}]");
    let (busy, no_money) = (error(9), error(3));
    for (answers, pages, undone, expected) in [
        (vec!["", status], "send status", vec![1], Ok(())),
        (vec!["", &list], "send status", vec![1], Ok(())),
        (vec!["", ABSENT, SENT], "send status send", vec![1], Ok(())),
        (vec!["<html>", ABSENT, SENT], "send status send", vec![1], Ok(())),
        (vec!["<html>", ABSENT, "<html>"], "send status send", vec![1, 2], Err("bad-answer answer")),
        (vec!["{}", ABSENT, "{}"], "send status send", vec![1, 2], Err("bad-answer answer/id")),
        (vec!["", ""], "send status", vec![], Err("transient None")),
        (vec!["", ABSENT, ""], "send status send", vec![1], Err("transient None")),
        (vec!["", ABSENT, &no_money], "send status send", vec![1, 2], Err("transient Some(600000)")),
        (vec![&busy, status], "send status", vec![0, 1], Ok(())),
        (vec![&busy, ABSENT], "send status", vec![0, 1], Err("rate-limited Some(60000)")),
        (vec![&no_money], "send", vec![0], Err("transient Some(600000)")),
        (vec!["", "{}"], "send status", vec![1], Err("bad-answer answer/status")),
    ] {
        let mut hub = answering(&answers);
        let result = deliver::deliver(&settings(&json!({})), &message(&json!({})), &mut hub);
        assert_eq!(result.map_err(|failure| code(&failure)), expected.map_err(str::to_owned), "{answers:?}");
        let asked: Vec<_> = hub.requests.iter().map(asked).collect();
        let came: Vec<_> = asked.iter().map(|asked| asked.split('.').next().unwrap()).collect();
        assert_eq!((came.join(" ").as_str(), &hub.undone), (pages, &undone), "{answers:?}");
        // All but the first that sends may be sent again.
        assert_eq!(hub.idempotent, (1..asked.len()).collect::<Vec<_>>());
    }
}

#[test]
fn errors_of_the_gateway() {
    for (number, expected) in [
        (1, "refused answer/error_code"),
        (2, "unauthorized"),
        (3, "transient Some(600000)"),
        (4, "rate-limited Some(600000)"),
        (5, "refused answer/error_code"),
        (6, "forbidden answer/error_code"),
        (9, "rate-limited Some(60000)"),
        (77, "refused answer/error_code"),
    ] {
        let error = error(number);
        let mut hub = answering(&[&error, ABSENT]);
        let failure = deliver::deliver(&settings(&json!({})), &message(&json!({})), &mut hub).unwrap_err();
        assert_eq!(code(&failure), expected, "{number}");
    }
    for (number, expected) in [(7, "unknown-recipient"), (8, "undeliverable")] {
        let mut hub = answering(&[&error(number)]);
        deliver::deliver(&settings(&json!({})), &message(&json!({})), &mut hub).unwrap();
        assert_eq!(hub.data(0).pointer("/reason/code"), Some(&json!(expected)));
        assert!(hub.store.0.is_empty());
    }
}

#[test]
fn what_comes_too_late_is_not_sent() {
    let late = message(&json!({ "validUntilAt": "2026-11-22T10:00:00+03:00" }));
    let mut hub = answering(&[ABSENT]);
    deliver::deliver(&settings(&json!({})), &late, &mut hub).unwrap();
    assert_eq!((hub.requests.len(), hub.data(0).pointer("/reason/code")), (1, Some(&json!("expired"))));
    let mut hub = answering(&[r#"{"status":1}"#]);
    deliver::deliver(&settings(&json!({})), &late, &mut hub).unwrap();
    assert_eq!((hub.drafts.len(), hub.store.0.len()), (0, 1));
}

fn callback(body: &[u8]) -> HookRequest {
    HookRequest {
        method: "POST".into(),
        path: "/<secret>".into(),
        query: "charset=x".into(),
        headers: vec![],
        body: body.into(),
    }
}

fn by(verify: &str) -> Settings {
    settings(&json!({ "callback": { "verify": verify, "credential": "secret" } }))
}

const STATUS: &str =
    "id=bb-N-17&phone=79005550117&status=1&time=22.11.2026+10%3A00%3A09&ts=1795330809&err=0&cnt=2&type=0";

#[test]
fn a_receipt_is_stated_once() {
    let mut hub = called();
    let sent = json!({ "id": "N-17", "account": "5001", "sender": "ENERGO", "parts": 1,
        "cost": { "value": "8.40", "currency": "RUB" } });
    hub.set("sms:bb-N-17", sent.to_string().into_bytes());
    for _ in 0..2 {
        received(&by("path"), &callback(STATUS.as_bytes()), &mut hub).unwrap();
    }
    received(&by("path"), &callback(STATUS.replace("status=1", "status=2").as_bytes()), &mut hub).unwrap();
    assert_eq!((hub.drafts.len(), hub.store.0.len()), (1, 0));
    assert_eq!(
        hub.data(0),
        json!({ "id": "N-17", "channel": "sms", "account": "5001", "providerId": "bb-N-17", "parts": 2,
            "cost": { "value": "8.40", "currency": "RUB" }, "sender": "ENERGO",
            "deliveredAt": "2026-11-22T10:00:09+03:00" })
    );
}

#[test]
fn statuses() {
    for (status, error, expected) in [
        (-1, None, Outcome::Waiting),
        (0, None, Outcome::Waiting),
        (1, Some(0), Outcome::Delivered),
        (2, None, Outcome::Delivered),
        (4, None, Outcome::Delivered),
        (-2, None, Outcome::Failed("cancelled")),
        (3, None, Outcome::Failed("expired")),
        (20, Some(6), Outcome::Failed("undeliverable")),
        (20, Some(1), Outcome::Failed("unknown-recipient")),
        (22, None, Outcome::Failed("unknown-recipient")),
        (23, Some(254), Outcome::Failed("blocked")),
        (24, None, Outcome::Failed("no-credit")),
        (25, Some(248), Outcome::Failed("undeliverable")),
        (-3, None, Outcome::Failed("unknown")),
        (20, Some(13), Outcome::Failed("blocked")),
        (20, Some(240), Outcome::Failed("busy")),
        (20, Some(245), Outcome::Failed("unknown")),
        (20, Some(255), Outcome::Failed("rejected")),
        (20, Some(999), Outcome::Failed("undeliverable")),
        (99, None, Outcome::Failed("unknown")),
    ] {
        assert_eq!(Outcome::of(status, error), expected, "{status} {error:?}");
    }
}

#[test]
fn ids_of_ours() {
    assert!(is_own("bb-N-17") && is_own("bh-0f"));
    assert!(
        is_own(&format!("bb-{}", "x".repeat(37))) && !is_own(&format!("bb-{}", "x".repeat(38))),
        "of at most 40 characters"
    );
    assert!(!is_own("17") && !is_own("bb-\u{1}") && !is_own("bb-Н"));
}

#[test]
fn only_the_genuine_counts() {
    let signed = format!("{STATUS}&md5={}", hex::encoded(&hash(b"bb-N-17:79005550117:1:<secret>")));
    received(&by("md5"), &callback(signed.as_bytes()), &mut called()).unwrap();
    for (settings, body, path) in [
        (by("md5"), signed.replace("status=1", "status=20"), "/<secret>"),
        (by("md5"), STATUS.to_owned(), "/<secret>"),
        (by("sha1"), signed.clone(), "/<secret>"),
        (by("path"), signed.clone(), "/secret"),
        (by("path"), signed.clone(), "/"),
    ] {
        let request = HookRequest { path: path.into(), ..callback(body.as_bytes()) };
        let mut hub = called();
        let failure = received(&settings, &request, &mut hub).unwrap_err();
        assert!(matches!(failure, Failure::Unauthorized(_)), "{failure:?}");
        assert!(hub.drafts.is_empty());
    }
}

#[test]
fn an_answer_of_a_customer_in_any_encoding() {
    let body = b"phone=79005550117&mes=%D1%E2%E5%F2+%ED%E5+%E3%EE%F0%E8%F2&to=79005550100&id=991&ts=1795330809";
    let mut hub = called();
    for _ in 0..2 {
        received(&by("path"), &callback(body), &mut hub).unwrap();
    }
    assert_eq!(hub.drafts.first().map(|draft| &draft.id), hub.drafts.get(1).map(|draft| &draft.id));
    assert_eq!(
        hub.data(0),
        json!({ "id": "991", "receivedOn": "2026-11-22", "receivedAt": "2026-11-22T10:00:09+03:00", "channel": "sms",
            "customer": { "phone": "+79005550117" }, "text": "Свет не горит" })
    );
    let other = String::from_utf8(body.to_vec()).unwrap().replace("id=991", "id=992");
    received(&by("path"), &callback(other.as_bytes()), &mut hub).unwrap();
    assert_ne!(hub.drafts.first().map(|draft| &draft.id), hub.drafts.get(2).map(|draft| &draft.id));
}

fn history(cursor: Option<&str>, hub: &mut TestHub) -> Result<(String, bool), Failure> {
    let settings = settings(&json!({ "page-rows": 10 }));
    let polled = poll::poll(&settings, cursor.map(str::as_bytes), hub)?;
    Ok((String::from_utf8(polled.cursor.unwrap()).unwrap(), polled.more))
}

#[test]
fn a_day_is_read_when_it_is_decided() {
    let mut hub = called();
    assert_eq!(history(None, &mut hub).unwrap(), (r#"{"day":"2026-11-22"}"#.into(), false));
    assert_eq!(history(Some(r#"{"day":"2026-11-21"}"#), &mut hub).unwrap().0, r#"{"day":"2026-11-21"}"#);
    assert!(hub.requests.is_empty());
    let row = |id: &str, status: i64, number: u32| {
        json!({ "id": id, "int_id": number, "phone": "79005550117", "status": status, "last_timestamp": NOW_S,
            "sms_cnt": "3", "cost": "12.60", "sender_id": "ENERGO" })
    };
    let rows: Vec<Value> = (0..10).map(|n| row(&format!("bb-N-{n}"), if n == 9 { 0 } else { 1 }, 100 + n)).collect();
    let page = json!(rows).to_string();
    let last =
        json!([row("bb-N-1", 1, 200), row("17", 1, 201), row("bh-00", 1, 202), row("bb-N-20", 3, 203)]).to_string();
    let mut hub = answering(&[&page, &last, &error(3)]);
    let (cursor, more) = history(Some(r#"{"day":"2026-11-18"}"#), &mut hub).unwrap();
    assert_eq!((cursor.as_str(), more), (r#"{"day":"2026-11-18","after":"109"}"#, true));
    assert_eq!((hub.drafts.len(), hub.data(9).pointer("/reason/code").cloned()), (10, Some(json!("unknown"))));
    hub.commit();
    let (cursor, more) = history(Some(&cursor), &mut hub).unwrap();
    assert_eq!((cursor.as_str(), more), (r#"{"day":"2026-11-19"}"#, true));
    assert_eq!((hub.drafts.len(), hub.data(10).pointer("/reason/code").cloned()), (11, Some(json!("expired"))));
    assert!(
        asked(&hub.requests[1]).contains("start=18.11.2026&end=18.11.2026&cnt=10&prev_id=109"),
        "{:?}",
        hub.requests
    );
    assert_eq!(history(Some(&cursor), &mut hub).unwrap(), (r#"{"day":"2026-11-20"}"#.into(), true));
    assert_eq!(hub.data(0).pointer("/cost/value"), Some(&json!("12.60")));
}

#[test]
fn no_bytes_make_a_trap() {
    for body in mutations::of(STATUS.as_bytes(), 3000) {
        let _ = received(&by("path"), &callback(&body), &mut called());
    }
    let row = r#"[{"id":"bb-N-1","int_id":7,"phone":"79005550117","status":1,"last_date":"22.11.2026 10:00:09","cost":"8.4"}]"#;
    for body in mutations::of(row.as_bytes(), 3000) {
        let mut hub = answering(&[&String::from_utf8_lossy(&body)]);
        let _ = history(Some(r#"{"day":"2026-11-18"}"#), &mut hub);
    }
    for body in mutations::of(SENT.as_bytes(), 1000) {
        let text = String::from_utf8_lossy(&body).into_owned();
        let mut hub = answering(&[&text, &text, &text]);
        let _ = deliver::deliver(&settings(&json!({})), &message(&json!({})), &mut hub);
    }
}

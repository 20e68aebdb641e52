#![allow(clippy::unwrap_used)]

use busbar_sdk::http::Request;
use busbar_sdk::test_hub::message;
use busbar_sdk::{Failure, HookRequest, Message, TestHub, header, mutations, parse_settings};
use serde_json::json;

use super::*;
use crate::hub;
use crate::poll;

const PAYMENT: &str = r#"{"id":"2f0e1d6a-000f-5000-8000-18db351245c7","status":"succeeded","paid":true,"test":false,
    "amount":{"value":"1052.98","currency":"RUB"},"income_amount":{"value":"1016.13","currency":"RUB"},
    "created_at":"2026-11-21T20:51:18.139Z","captured_at":"2026-11-21T21:00:00.233Z",
    "metadata":{"account":"500100200300","invoice":"2026-11-000017"}}"#;
const NOTIFICATION: &str =
    r#"{"type":"notification","event":"payment.succeeded","object":{"id":"2f0e1d6a-000f-5000-8000-18db351245c7"}}"#;

/// Paths, and keys, of what was asked.
fn asked(hub: &TestHub) -> Vec<String> {
    let base = settings().base_url;
    let key = |request: &Request| {
        header(&request.headers, "idempotence-key").map(|key| format!(" {key}")).unwrap_or_default()
    };
    let shown = |request: &Request| format!("{}{}", request.url.strip_prefix(&base).unwrap(), key(request));
    hub.requests.iter().map(shown).collect()
}

fn settings() -> Settings {
    parse_settings(r#"{"credential":"shop","return-url":"https://portal.example/paid"}"#).unwrap()
}

fn request(body: &[u8]) -> HookRequest {
    HookRequest {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: body.to_vec(),
    }
}

#[test]
fn a_notification_and_a_poll_state_the_same() {
    let mut told = TestHub::answering(&[(200, PAYMENT)]);
    hub::receive(&settings(), &request(NOTIFICATION.as_bytes()), &mut told).unwrap();
    let mut polled = TestHub::answering(&[(200, &format!(r#"{{"type":"list","items":[{PAYMENT}]}}"#))]);
    poll::poll(&settings(), None, &mut polled).unwrap();
    let (one, other) = (&told.drafts[0], &polled.drafts[0]);
    assert_eq!((&one.id, &one.type_, &one.data), (&other.id, &other.type_, &other.data));
    assert_eq!(one.time.as_deref(), Some("2026-11-22T00:00:00+03:00"));
    let data: Value = serde_json::from_str(&one.data).unwrap();
    assert_eq!((&data["paidOn"], &data["fee"]["value"]), (&json!("2026-11-22"), &json!("36.85")));
}

#[test]
fn one_payment_and_another() {
    let stated = |payment: &str| {
        let list = format!(r#"{{"items":[{payment}]}}"#);
        let mut world = TestHub::answering(&[(200, &list)]);
        poll::poll(&settings(), None, &mut world).unwrap();
        world.drafts.remove(0).id
    };
    // All but the id alike: two. Whatever else is said of one: one.
    let first = stated(PAYMENT);
    assert_ne!(first, stated(&PAYMENT.replace("2f0e1d6a", "2f0e1d6b")));
    assert_eq!(first, stated(&PAYMENT.replace("\"test\":false", "\"paid\":true")));
    let refund = |id: &str| {
        let refund = json!({ "id": id, "payment_id": "p-1", "status": "succeeded",
            "amount": { "value": "1.00", "currency": "RUB" }, "created_at": "2026-11-22T06:00:00.5Z" });
        let refund: Refund = serde_json::from_value(refund).unwrap();
        refund.draft(&settings(), "500100200300", "answer").unwrap().id
    };
    assert_eq!(refund("r-1"), refund("r-1"));
    assert_ne!(refund("r-1"), refund("r-2"), "two refunds of one sum on one day");
}

#[test]
fn statuses_that_nobody_knows_are_refused() {
    let mut world = TestHub::answering(&[(200, &PAYMENT.replace("succeeded", "glorified"))]);
    let failure = hub::receive(&settings(), &request(NOTIFICATION.as_bytes()), &mut world).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(rejection) if rejection.place.as_deref() == Some("answer/status")));
}

#[test]
fn what_the_notification_claims_does_not_count() {
    let forged = NOTIFICATION
        .replace("\"object\":{", "\"object\":{\"status\":\"succeeded\",\"amount\":{\"value\":\"9999.00\"},");
    let mut world = TestHub::answering(&[(404, "{}")]);
    let failure = hub::receive(&settings(), &request(forged.as_bytes()), &mut world).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(rejection) if rejection.code == "unknown-object"));
    let mut world = TestHub::answering(&[(200, &PAYMENT.replace("succeeded", "pending"))]);
    let failure = hub::receive(&settings(), &request(forged.as_bytes()), &mut world).unwrap_err();
    assert!(matches!(failure, Failure::Transient(_)));
    let mut world = TestHub::answering(&[(200, &PAYMENT.replace("\"test\":false", "\"test\":true"))]);
    hub::receive(&settings(), &request(forged.as_bytes()), &mut world).unwrap();
    assert!(world.drafts.is_empty());
    for id in ["../refunds/1", "a?b", "", &"a".repeat(65)] {
        let body = json!({ "type": "notification", "event": "payment.succeeded", "object": { "id": id } }).to_string();
        let mut world = TestHub::default();
        assert!(hub::receive(&settings(), &request(body.as_bytes()), &mut world).is_err());
        assert!(world.requests.is_empty(), "{id}");
    }
}

#[test]
fn a_round_of_polls() {
    let refund = r#"{"id":"r-1","payment_id":"2f0e1d6a-000f-5000-8000-18db351245c7","status":"succeeded",
        "amount":{"value":"52.98","currency":"RUB"},"created_at":"2026-11-22T06:00:00Z","description":"Лишнее"}"#;
    let mut world = TestHub::answering(&[
        (200, r#"{"items":[],"next_cursor":"37a5 c87d"}"#),
        (200, &format!(r#"{{"items":[{PAYMENT}]}}"#)),
        (200, &format!(r#"{{"items":[{refund}]}}"#)),
        (200, r#"{"items":[]}"#),
    ]);
    let mut cursor: Option<Vec<u8>> = None;
    let mut more = Vec::new();
    for _ in 0..4 {
        let polled = poll::poll(&settings(), cursor.as_deref(), &mut world).unwrap();
        more.push(polled.more);
        cursor = polled.cursor;
        world.commit();
    }
    assert_eq!(more, [true, true, false, true]);
    let asked = asked(&world);
    let since = "2026%2D11%2D19T07%3A00%3A00%2B00%3A00";
    assert_eq!(asked[0], format!("/payments?status=succeeded&captured_at.gte={since}&limit=100"));
    assert_eq!(asked[1], format!("{}&cursor=37a5%20c87d", asked[0]));
    assert_eq!(asked[2], format!("/refunds?status=succeeded&created_at.gte={since}&limit=20"));
    assert_eq!(asked[3], asked[0]);
    // The account of the refund is that of the payment stated before.
    assert_eq!(world.drafts[1].subject.as_deref(), Some("500100200300"));
    assert_eq!(world.requests.len(), 4);
}

#[test]
fn a_refund_asks_for_its_payment_once() {
    let refund: Refund = serde_json::from_value(json!({ "id": "r-1", "payment_id": "p-1", "status": "succeeded",
        "amount": { "value": "1.00", "currency": "RUB" }, "created_at": "2026-11-22T06:00:00.5Z" }))
    .unwrap();
    let mut world = TestHub::answering(&[(200, PAYMENT)]);
    for _ in 0..2 {
        hub::state_refund(&settings(), &refund, "answer", &mut world).unwrap();
        world.commit();
    }
    assert_eq!((world.requests.len(), world.drafts.len()), (1, 1));
    let data = world.data(0);
    assert_eq!((&data["refundedAt"], data.get("reason")), (&json!("2026-11-22T09:00:00+03:00"), None));
}

fn invoice(value: &str) -> Message {
    let data = json!({ "account": "500100200300", "number": "17", "issuedOn": "2026-11-01",
        "amount": { "value": value, "currency": "RUB" } });
    message("/demo/billing", "invoice-17", "invoice.issued.v1", data.to_string())
}

const BILL: &str = r#"{"id":"in-e44e8088-bd73-43b1-959a-954f3a7d0c54","status":"pending","created_at":"2026-11-22T07:00:00.139Z",
    "expires_at":"2026-11-30T20:59:59.000Z","delivery_method":{"type":"self","url":"https://pay.example/my/i/1"}}"#;

#[test]
fn a_page_of_an_invoice() {
    let deliver = |answer: &str| {
        let mut world = TestHub::answering(&[(200, answer)]);
        (hub::deliver(&settings(), &invoice("1052.98"), &mut world), world)
    };
    let (result, world) = deliver(BILL);
    result.unwrap();
    let key = ids::derived(&["yookassa", "invoice", "/demo/billing", "invoice-17"]);
    assert_eq!(world.idempotent, [0]);
    assert_eq!(asked(&world), [format!("/invoices {key}")]);
    let data = world.data(0);
    assert_eq!(data["url"], "https://pay.example/my/i/1");
    assert_eq!(
        (&data["amount"]["value"], &data["expiresAt"]),
        (&json!("1052.98"), &json!("2026-11-30T23:59:59+03:00"))
    );
    let (result, world) = deliver(&BILL.replace("pending", "succeeded"));
    assert!(result.is_ok() && world.drafts.is_empty());
    assert!(deliver(&BILL.replace("pending", "canceled")).0.is_err());
    for bytes in mutations::of(BILL.as_bytes(), 2_000) {
        drop(deliver(&String::from_utf8_lossy(&bytes)));
    }
}

#[test]
fn a_page_of_a_payment() {
    let pending = PAYMENT.replace("succeeded", "pending");
    let paged =
        pending.replacen('{', r#"{"confirmation":{"type":"redirect","confirmation_url":"https://pay.example/1"},"#, 1);
    let settings: Settings =
        parse_settings(r#"{"credential":"shop","page":"payment","return-url":"https://portal.example/paid"}"#).unwrap();
    let deliver = |value: &str, status: u16, answer: &str| {
        let mut world = TestHub::answering(&[(status, answer)]);
        let result = hub::deliver(&settings, &invoice(value), &mut world);
        (result, world)
    };
    let (result, world) = deliver("1052.98", 200, &paged);
    assert!(result.is_ok() && world.drafts[0].data.contains("https://pay.example/1"));
    assert_eq!(asked(&world), [format!("/payments {}", ids::derived(&["yookassa", "/demo/billing", "invoice-17"]))]);
    let (result, world) = deliver("0.00", 200, &paged);
    assert!(result.is_ok() && world.requests.is_empty());
    let (result, world) = deliver("1052.98", 200, PAYMENT);
    assert!(result.is_ok() && world.drafts.is_empty());
    let code = |result| match result {
        Err(Failure::Rejected(rejection)) => rejection.code,
        other => format!("{other:?}"),
    };
    assert_eq!(code(deliver("1.005", 200, &paged).0), "bad-amount");
    assert_eq!(code(deliver("1.00", 200, &pending).0), "bad-answer");
    assert_eq!(code(deliver("1.00", 200, &PAYMENT.replace("succeeded", "canceled")).0), "no-link");
    assert_eq!(code(deliver("1.00", 400, "{}").0), "refused");
    let wait = deliver("1.00", 202, r#"{"type":"processing","retry_after":1800}"#).0;
    assert!(matches!(wait, Err(Failure::Transient(delay)) if delay.retry_after_ms == Some(1800)));
}

#[test]
fn damaged_input_is_refused_not_crashed_on() {
    let settings = settings();
    let mut seed = 7_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let list = format!(r#"{{"items":[{PAYMENT}],"next_cursor":"a"}}"#);
    for round in 0..4000 {
        let mut damaged = if round % 2 == 0 { NOTIFICATION } else { list.as_str() }.as_bytes().to_vec();
        for _ in 0..=random() % 3 {
            let at = random() % damaged.len();
            damaged[at] = u8::try_from(random() % 256).unwrap();
        }
        damaged.truncate(if random() % 4 == 0 { random() % damaged.len() } else { damaged.len() });
        let text = String::from_utf8_lossy(&damaged).into_owned();
        let mut world = TestHub::answering(&[(200, text.as_str()), (200, PAYMENT)]);
        let _ = poll::poll(&settings, Some(&damaged), &mut world);
        let _ = poll::poll(&settings, None, &mut world);
        let _ = hub::receive(&settings, &request(&damaged), &mut TestHub::answering(&[(200, text.as_str())]));
        let _ = hub::receive(&settings, &request(&damaged), &mut TestHub::answering(&[(200, PAYMENT)]));
    }
}

#[test]
fn each_object_is_itself() {
    let ids = [payment_id("1"), payment_id("2"), refund_id("1"), refund_id("2")];
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    let settings = parse_settings::<Settings>(r#"{"credential":"shop"}"#).unwrap();
    let draft = |text: &str| serde_json::from_str::<Payment>(text).unwrap().draft(&settings, "x");
    let other = PAYMENT.replace("2f0e1d6a", "3f0e1d6a");
    assert_ne!(draft(PAYMENT).unwrap().id, draft(&other).unwrap().id);
    for (currency, is_known) in
        [("RUB", true), ("KZT", true), ("ZZZ", false), ("rub", false), ("XXX", false), ("643", false)]
    {
        assert_eq!(draft(&PAYMENT.replace("RUB", currency)).is_ok(), is_known, "{currency}");
    }
}

#[test]
fn a_bad_object_of_a_page_is_left_out() {
    let settings = parse_settings::<Settings>(r#"{"credential":"shop"}"#).unwrap();
    let bad = PAYMENT.replace("1052.98", "much");
    let mut hub = TestHub::answering(&[(200, &format!(r#"{{"items":[{bad},{{"id":7}},{PAYMENT}]}}"#))]);
    assert!(poll::poll(&settings, None, &mut hub).is_ok());
    let left_out = hub.left_out.iter().map(|entry| (entry.code.as_str(), entry.place.as_deref().unwrap_or_default()));
    let wanted = [("bad-answer", "items/0/amount"), ("bad-answer", "items/1")];
    assert_eq!((hub.drafts.len(), left_out.collect::<Vec<_>>()), (1, wanted.to_vec()));
    let unknown = NOTIFICATION.replace("payment.succeeded", "payment.thought_over");
    let request = HookRequest {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![],
        body: unknown.into(),
    };
    let failure =
        hub::receive(&settings, &request, &mut TestHub::default()).map(|response| response.status).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(rejection) if rejection.code == "unknown-event"));
}

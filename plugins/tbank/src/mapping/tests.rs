#![allow(clippy::unwrap_used)]

use busbar_sdk::test_hub::{TestHub, message, plain};
use busbar_sdk::{HookRequest, Message, mutations};
use serde_json::json;

use super::*;
use crate::hub;

const PAID: &str = r#"{"TerminalKey":"1700000000000","OrderId":"500100200300-17","Success":true,"Status":"CONFIRMED",
    "PaymentId":5600001,"ErrorCode":"0","Amount":105298,"Data":{"Phone":"+70000000000"},
    "Token":"5A5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"}"#;
const INVOICE: &str = r#"{"account":"500100200300","number":"2026-11-000017","issuedOn":"2026-11-01",
    "amount":{"value":"1052.98","currency":"RUB"}}"#;
const PAGE: &str = r#"{"Success":true,"ErrorCode":"0","TerminalKey":"1700000000000","Status":"NEW","PaymentId":"5600001",
    "OrderId":"x","Amount":105298,"PaymentURL":"https://pay.example/new/a1"}"#;

fn world() -> TestHub {
    TestHub { hash: |_| vec![0x5A; 32], ..TestHub::default() }
}

fn text_of(pieces: &[Piece]) -> String {
    String::from_utf8(plain(pieces)).unwrap()
}

fn invoice() -> Message {
    message("/demo/billing", "invoice-17", "invoice.issued.v1", INVOICE)
}

fn settings() -> Settings {
    let raw = json!({ "terminal-key": "1700000000000", "credential": "password", "account-pattern": "^([0-9]+)-" });
    Settings::compiled(serde_json::from_value(raw).unwrap()).ok().unwrap()
}

fn receive(body: &str, world: &mut TestHub) -> Result<Vec<u8>, Failure> {
    let request = HookRequest {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![],
        body: body.as_bytes().to_vec(),
    };
    let response = hub::receive(&settings(), &request, world)?;
    world.commit();
    Ok(response.body)
}

fn code(body: &str) -> String {
    match receive(body, &mut world()) {
        Err(Failure::Rejected(rejection)) => rejection.code,
        Err(Failure::Unauthorized(_)) => "unauthorized".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_text_under_a_token() {
    let fields = json!({
        "TerminalKey": "MerchantTerminalKey", "Amount": 19200, "OrderId": "21090", "Token": "x",
        "Description": "Подарочная карта на 1000 рублей", "DATA": { "Phone": "+71234567890" }, "Receipt": { "Items": [] }
    });
    let text = text_of(&signed(&settings(), fields.as_object().unwrap()));
    assert_eq!(text, "19200Подарочная карта на 1000 рублей21090<password>MerchantTerminalKey");
    let fields = json!({ "Success": true, "RebillId": "", "Pan": null, "Password": "known" });
    assert_eq!(text_of(&signed(&settings(), fields.as_object().unwrap())), "<password>true");
}

#[test]
fn one_payment_and_another() {
    for (other, wanted) in [
        (PAID.replace("5600001", "5600002"), Ok(2)),
        (PAID.replace("105298", "\"105298\""), Ok(1)),
        (PAID.replace("5600001", "\"5600001\""), Ok(1)),
        (PAID.replace("105298", "105299"), Err("other-sum")),
        (PAID.replace("CONFIRMED", "GLORIFIED"), Err("unknown-status")),
        (PAID.replace("CONFIRMED", "confirmed"), Err("unknown-status")),
        (PAID.replace("CONFIRMED", "AUTHORIZED"), Ok(1)),
    ] {
        let mut world = world();
        receive(PAID, &mut world).unwrap();
        let came = match receive(&other, &mut world) {
            Err(Failure::Rejected(rejection)) => Err(rejection.code),
            _ => Ok(world.drafts.len()),
        };
        assert_eq!(came, wanted.map_err(str::to_owned), "{other}");
    }
}

#[test]
fn a_payment_its_repeat_and_its_refund() {
    let mut world = world();
    for _ in 0..2 {
        assert_eq!(receive(PAID, &mut world).unwrap(), b"OK");
    }
    let signed = "1052980500100200300-17<password>5600001CONFIRMEDtrue1700000000000";
    assert_eq!(world.hashed[0], signed.as_bytes());
    assert_eq!(world.drafts.len(), 1);
    let data = world.data(0);
    assert_eq!(
        data,
        json!({
            "account": "500100200300", "amount": { "value": "1052.98", "currency": "RUB" }, "channel": "acquiring",
            "paidOn": "2026-11-22", "paidAt": "2026-11-22T10:00:00+03:00", "document": { "number": "5600001" },
        })
    );
    for _ in 0..2 {
        receive(&PAID.replace("CONFIRMED", "REFUNDED").replace("105298", "0"), &mut world).unwrap();
    }
    assert_eq!((world.drafts.len(), world.drafts[1].type_.as_str()), (2, "payment.refunded.v1"));
    let data = world.data(1);
    assert_eq!(data["amount"]["value"], "1052.98");
}

#[test]
fn one_refund_and_another() {
    let other = PAID.replace("5600001", "5600002");
    let mut world = world();
    for status in ["CONFIRMED", "REFUNDED", "REFUNDED"] {
        for payment in [PAID, other.as_str()] {
            receive(&payment.replace("CONFIRMED", status), &mut world).unwrap();
        }
    }
    let refunds = world.drafts.iter().filter(|draft| draft.type_ == "payment.refunded.v1");
    assert_eq!(refunds.count(), 2, "two whole payments of one sum, each given back once");
}

#[test]
fn after_a_part_went_back_no_sum_is_guessed() {
    let mut world = world();
    for status in ["CONFIRMED", "PARTIAL_REFUNDED", "REFUNDED"] {
        receive(&PAID.replace("CONFIRMED", status), &mut world).unwrap();
    }
    assert_eq!((world.drafts.len(), world.warnings.len()), (1, 2));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (from, to, wanted) in [
        ("105298", "1052.98", "bad-field"),
        ("105298", "-1", "bad-field"),
        ("105298", "0", "bad-field"),
        ("5600001", "\"5 6\"", "bad-field"),
        ("\"1700000000000\"", "\"1\"", "bad-field"),
        ("\"Status\"", "\"status\"", "bad-field"),
        ("\"Token\"", "\"token\"", "unauthorized"),
        ("5A5a", "", "unauthorized"),
        ("{\"TerminalKey", "[{\"TerminalKey", "bad-request"),
    ] {
        assert_eq!(code(&PAID.replace(from, to)), wanted, "{to}");
    }
    let mut forged = TestHub { hash: |_| Vec::new(), ..TestHub::default() };
    assert!(matches!(receive(PAID, &mut forged), Err(Failure::Unauthorized(_))));
    for status in ["AUTHORIZED", "REJECTED", "REVERSED", "CANCELED", "RECEIPT", "ACTIVE"] {
        let mut world = world();
        receive(&PAID.replace("CONFIRMED", status), &mut world).unwrap();
        assert!(world.drafts.is_empty(), "{status}");
    }
}

/// A page was made; two hours later the payment's status is this.
fn asked(status: &str) -> TestHub {
    let mut world = world();
    world.answer(&[(200, PAGE)]);
    hub::deliver(&settings(), &invoice(), &mut world).unwrap();
    world.commit();
    world.now_ms += 2 * 3_600_000;
    world.answer(&[(200, &PAGE.replace("NEW", status))]);
    let mut cursor = None;
    loop {
        let polled = hub::poll(&settings(), cursor.as_deref(), &mut world).unwrap();
        cursor = polled.cursor;
        if !polled.more {
            return world;
        }
    }
}

#[test]
fn a_link_without_a_notification_is_asked_about() {
    let types = |world: &TestHub| world.drafts.iter().map(|draft| draft.type_.clone()).collect::<Vec<_>>();
    let world = asked("CONFIRMED");
    assert_eq!(types(&world), ["payment.link.issued.v1", "payment.received.v1"]);
    let data = world.data(1);
    assert_eq!((&data["account"], &data["invoice"]), (&json!("500100200300"), &json!("2026-11-000017")));
    assert_eq!(world.store.0.len(), 1);
    let world = asked("FORM_SHOWED");
    assert_eq!((types(&world).len(), world.requests.len(), world.store.0.len()), (1, 2, 2));
    let world = asked("DEADLINE_EXPIRED");
    assert_eq!((types(&world).len(), world.store.0.len()), (1, 1));
    let world = asked("REFUNDED");
    assert_eq!(types(&world), ["payment.link.issued.v1", "payment.received.v1", "payment.refunded.v1"]);
    let world = asked("PARTIAL_REFUNDED");
    assert_eq!((types(&world).len(), world.warnings.len()), (2, 1));
}

#[test]
fn the_number_of_an_order_that_exists_is_not_used_again() {
    let exists = r#"{"Success":false,"ErrorCode":"8","Message":"Неверный статус транзакции."}"#;
    let mut world = world();
    world.answer(&[(200, exists), (200, PAGE)]);
    hub::deliver(&settings(), &invoice(), &mut world).unwrap();
    let sent = |index: usize| serde_json::from_slice::<Value>(&world.requests[index].body).unwrap();
    let number = |index: usize| sent(index)["OrderId"].as_str().unwrap().to_owned();
    assert_eq!(number(1), format!("{}-2", number(0)));
    assert_eq!(world.drafts.len(), 1);
}

#[test]
fn damaged_inputs_are_never_a_panic() {
    for bytes in mutations::of(PAID.as_bytes(), 3_000) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        drop(receive(&text, &mut world()));
    }
    for bytes in mutations::of(PAGE.as_bytes(), 3_000) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut world = world();
        world.answer(&[(200, &text)]);
        drop(hub::deliver(&settings(), &invoice(), &mut world));
    }
}

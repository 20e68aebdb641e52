#![allow(clippy::unwrap_used)]

use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::memory::MapStore;
use busbar_sdk::{HookRequest, Message, mutations};
use serde_json::json;

use super::*;
use crate::hub::{self, Hub};

const PAID: &str = r#"{"TerminalKey":"1700000000000","OrderId":"500100200300-17","Success":true,"Status":"CONFIRMED",
    "PaymentId":5600001,"ErrorCode":"0","Amount":105298,"Data":{"Phone":"+70000000000"},
    "Token":"5A5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"}"#;
const INVOICE: &str = r#"{"account":"500100200300","number":"2026-11-000017","issuedOn":"2026-11-01",
    "amount":{"value":"1052.98","currency":"RUB"}}"#;
const PAGE: &str = r#"{"Success":true,"ErrorCode":"0","TerminalKey":"1700000000000","Status":"NEW","PaymentId":"5600001",
    "OrderId":"x","Amount":105298,"PaymentURL":"https://pay.example/new/a1"}"#;

// Hashes are the host's: here the text under the token is looked at, and the cases compare published ones.
#[derive(Default)]
struct World {
    forged: bool,
    answers: Vec<String>,
    sent: Vec<Value>,
    known: Vec<Message>,
    drafts: Vec<Draft>,
    warned: Vec<String>,
}

fn text_of(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Plain(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Piece::Secret(name) => format!("<{name}>"),
    };
    pieces.iter().map(text).collect()
}

impl Hub for World {
    fn now_ms(&self) -> u64 {
        1_795_330_800_000
    }

    fn hash(&self, pieces: &[Piece]) -> Result<Vec<u8>, String> {
        Ok(text_of(pieces).into_bytes())
    }

    fn verify(&self, _: &[Piece], hash: &[u8]) -> Result<bool, String> {
        Ok(!self.forged && hash.len() == 32)
    }

    fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Response, HttpError> {
        self.sent.push(json!([path, serde_json::from_slice::<Value>(&body).unwrap()]));
        if self.answers.is_empty() {
            return Err(HttpError::NoAnswer("no more".to_owned()));
        }
        Ok(Response { status: 200, headers: Vec::new(), body: self.answers.remove(0).into_bytes() })
    }

    fn lookup(&self, id: &str) -> Option<Message> {
        let stated = self.drafts.iter().find(|draft| draft.id == id).map(stated);
        stated.or_else(|| self.known.iter().find(|message| message.id == id).cloned())
    }

    fn emit(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    fn note(&mut self, _: &str) {}

    fn warn(&mut self, text: &str) {
        self.warned.push(text.to_owned());
    }
}

fn stated(draft: &Draft) -> Message {
    message(&draft.id, &draft.type_, &draft.data)
}

fn message(id: &str, r#type: &str, data: &str) -> Message {
    Message {
        id: id.to_owned(),
        source: "/demo/billing".to_owned(),
        type_: r#type.to_owned(),
        subject: None,
        time: None,
        partition_key: None,
        correlation_id: None,
        data: data.to_owned(),
    }
}

fn settings() -> Settings {
    let raw = json!({ "terminal-key": "1700000000000", "credential": "password", "account-pattern": "^([0-9]+)-" });
    Settings::compiled(serde_json::from_value(raw).unwrap()).ok().unwrap()
}

fn receive(body: &str, store: &mut MapStore, world: &mut World) -> Result<Vec<u8>, Failure> {
    let request = HookRequest {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![],
        body: body.as_bytes().to_vec(),
    };
    hub::receive(&settings(), &request, store, world).map(|response| response.body)
}

fn code(body: &str) -> String {
    match receive(body, &mut MapStore::default(), &mut World::default()) {
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
        let (mut store, mut world) = (MapStore::default(), World::default());
        receive(PAID, &mut store, &mut world).unwrap();
        let came = match receive(&other, &mut store, &mut world) {
            Err(Failure::Rejected(rejection)) => Err(rejection.code),
            _ => Ok(world.drafts.len()),
        };
        assert_eq!(came, wanted.map_err(str::to_owned), "{other}");
    }
}

#[test]
fn a_payment_its_repeat_and_its_refund() {
    let (mut store, mut world) = (MapStore::default(), World::default());
    for _ in 0..2 {
        assert_eq!(receive(PAID, &mut store, &mut world).unwrap(), b"OK");
    }
    assert_eq!(world.drafts.len(), 1);
    let data: Value = serde_json::from_str(&world.drafts[0].data).unwrap();
    assert_eq!(
        data,
        json!({
            "account": "500100200300", "amount": { "value": "1052.98", "currency": "RUB" }, "channel": "acquiring",
            "paidOn": "2026-11-22", "paidAt": "2026-11-22T10:00:00+03:00", "document": { "number": "5600001" },
        })
    );
    for _ in 0..2 {
        receive(&PAID.replace("CONFIRMED", "REFUNDED").replace("105298", "0"), &mut store, &mut world).unwrap();
    }
    assert_eq!((world.drafts.len(), world.drafts[1].type_.as_str()), (2, "payment.refunded.v1"));
    let data: Value = serde_json::from_str(&world.drafts[1].data).unwrap();
    assert_eq!(data["amount"]["value"], "1052.98");
}

#[test]
fn one_refund_and_another() {
    let other = PAID.replace("5600001", "5600002");
    let (mut store, mut world) = (MapStore::default(), World::default());
    for status in ["CONFIRMED", "REFUNDED", "REFUNDED"] {
        for payment in [PAID, other.as_str()] {
            receive(&payment.replace("CONFIRMED", status), &mut store, &mut world).unwrap();
        }
    }
    let refunds = world.drafts.iter().filter(|draft| draft.type_ == "payment.refunded.v1");
    assert_eq!(refunds.count(), 2, "two whole payments of one sum, each given back once");
}

#[test]
fn after_a_part_went_back_no_sum_is_guessed() {
    let (mut store, mut world) = (MapStore::default(), World::default());
    for status in ["CONFIRMED", "PARTIAL_REFUNDED", "REFUNDED"] {
        receive(&PAID.replace("CONFIRMED", status), &mut store, &mut world).unwrap();
    }
    assert_eq!((world.drafts.len(), world.warned.len()), (1, 2));
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
    let mut world = World { forged: true, ..World::default() };
    assert!(matches!(receive(PAID, &mut MapStore::default(), &mut world), Err(Failure::Unauthorized(_))));
    for status in ["AUTHORIZED", "REJECTED", "REVERSED", "CANCELED", "RECEIPT", "ACTIVE"] {
        let mut world = World::default();
        receive(&PAID.replace("CONFIRMED", status), &mut MapStore::default(), &mut world).unwrap();
        assert!(world.drafts.is_empty(), "{status}");
    }
}

/// A page was made; two hours later the payment's status is this.
fn asked(status: &str) -> (World, MapStore) {
    let mut store = MapStore::default();
    let mut world = World { answers: vec![PAGE.to_owned()], ..World::default() };
    let invoice = message("invoice-17", "invoice.issued.v1", INVOICE);
    hub::deliver(&settings(), &invoice, &mut store, &mut world).unwrap();
    world.answers = vec![PAGE.replace("NEW", status)];
    let mut later = Later(world);
    let mut cursor = None;
    loop {
        let polled = hub::poll(&settings(), cursor.as_deref(), &mut store, &mut later).unwrap();
        cursor = polled.cursor;
        if !polled.more {
            return (later.0, store);
        }
    }
}

/// The same two hours later.
struct Later(World);

impl Hub for Later {
    fn now_ms(&self) -> u64 {
        self.0.now_ms() + 2 * 3_600_000
    }
    fn hash(&self, pieces: &[Piece]) -> Result<Vec<u8>, String> {
        self.0.hash(pieces)
    }
    fn verify(&self, pieces: &[Piece], hash: &[u8]) -> Result<bool, String> {
        self.0.verify(pieces, hash)
    }
    fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Response, HttpError> {
        self.0.post(path, body)
    }
    fn lookup(&self, id: &str) -> Option<Message> {
        self.0.lookup(id)
    }
    fn emit(&mut self, draft: Draft) {
        self.0.emit(draft);
    }
    fn note(&mut self, text: &str) {
        self.0.note(text);
    }
    fn warn(&mut self, text: &str) {
        self.0.warn(text);
    }
}

#[test]
fn a_link_without_a_notification_is_asked_about() {
    let types = |world: &World| world.drafts.iter().map(|draft| draft.type_.clone()).collect::<Vec<_>>();
    let (world, store) = asked("CONFIRMED");
    assert_eq!(types(&world), ["payment.link.issued.v1", "payment.received.v1"]);
    let data: Value = serde_json::from_str(&world.drafts[1].data).unwrap();
    assert_eq!((&data["account"], &data["invoice"]), (&json!("500100200300"), &json!("2026-11-000017")));
    assert_eq!(store.0.len(), 1);
    let (world, store) = asked("FORM_SHOWED");
    assert_eq!((types(&world).len(), world.sent.len(), store.0.len()), (1, 2, 2));
    let (world, store) = asked("DEADLINE_EXPIRED");
    assert_eq!((types(&world).len(), store.0.len()), (1, 1));
    let (world, _) = asked("REFUNDED");
    assert_eq!(types(&world), ["payment.link.issued.v1", "payment.received.v1", "payment.refunded.v1"]);
    let (world, _) = asked("PARTIAL_REFUNDED");
    assert_eq!((types(&world).len(), world.warned.len()), (2, 1));
}

#[test]
fn the_number_of_an_order_that_exists_is_not_used_again() {
    let exists = r#"{"Success":false,"ErrorCode":"8","Message":"Неверный статус транзакции."}"#;
    let mut world = World { answers: vec![exists.to_owned(), PAGE.to_owned()], ..World::default() };
    let invoice = message("invoice-17", "invoice.issued.v1", INVOICE);
    hub::deliver(&settings(), &invoice, &mut MapStore::default(), &mut world).unwrap();
    let number = |index: usize| world.sent[index][1]["OrderId"].as_str().unwrap().to_owned();
    assert_eq!(number(1), format!("{}-2", number(0)));
    assert_eq!(world.drafts.len(), 1);
}

#[test]
fn damaged_inputs_are_never_a_panic() {
    for bytes in mutations::of(PAID.as_bytes(), 3_000) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        drop(receive(&text, &mut MapStore::default(), &mut World::default()));
    }
    let invoice = message("invoice-17", "invoice.issued.v1", INVOICE);
    for bytes in mutations::of(PAGE.as_bytes(), 3_000) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut world = World { answers: vec![text], ..World::default() };
        drop(hub::deliver(&settings(), &invoice, &mut MapStore::default(), &mut world));
    }
}

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod incoming;
mod sending;

use busbar_sdk::bindings::busbar::adapter::credentials::Piece;
use busbar_sdk::memory::{MapStore, Store};
use busbar_sdk::{Failure, Message, Step, TestHub, mutations};
use serde_json::{Value, json};

use crate::pdu::{self, Pdu, put_parameter, put_text};
use crate::session::Smpp;

/// 2026-11-22T12:00:00+03:00.
pub const NOW: u64 = 1_795_338_000_000;

/// Writes of one call, of which the host allows 64.
struct Limited<'a>(&'a mut MapStore, usize);

impl Store for Limited<'_> {
    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn set(&mut self, key: &str, value: Vec<u8>) {
        self.1 += 1;
        assert!(self.1 <= 64, "too many writes");
        self.0.set(key, value);
    }

    fn delete(&mut self, key: &str) {
        self.1 += 1;
        assert!(self.1 <= 64, "too many writes");
        self.0.delete(key);
    }
}

pub struct Far {
    settings: Value,
    pub smpp: Smpp,
    pub store: MapStore,
    pub seen: TestHub,
    pub now: u64,
}

/// The PDUs of a step, the secret as `<name>` in the body of the bind.
pub fn sent(step: &Step) -> Vec<Pdu> {
    let mut bytes = Vec::new();
    for piece in &step.send {
        match piece {
            Piece::Plain(plain) => bytes.extend_from_slice(plain),
            // As long as the credential is said to be.
            Piece::Secret(_) => bytes.extend_from_slice(b"########"),
        }
    }
    let mut pending = busbar_sdk::Pending::default();
    pending.push(&bytes);
    let mut pdus = Vec::new();
    while let Some(pdu) = pdu::next(&mut pending, 0).unwrap() {
        pdus.push(pdu);
    }
    assert!(pending.rest().is_empty());
    pdus
}

/// Command, status and sequence of each.
pub fn heads(step: &Step) -> Vec<(u32, u32, u32)> {
    sent(step).iter().map(|pdu| (pdu.command, pdu.status, pdu.sequence)).collect()
}

pub fn response(command: u32, status: u32, sequence: u32, id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, id);
    pdu::encode(command | pdu::RESPONSE, status, sequence, &body)
}

/// deliver_sm.
pub fn deliver(
    sequence: u32,
    source: &str,
    esm: u8,
    coding: u8,
    message: &[u8],
    parameters: &[(u16, &[u8])],
) -> Vec<u8> {
    let mut body = vec![0, 1, 1];
    put_text(&mut body, source);
    body.extend([3, 0]);
    put_text(&mut body, "4040");
    body.extend([esm, 0, 0, 0, 0, 0, 0, coding, 0, u8::try_from(message.len()).unwrap()]);
    body.extend(message);
    parameters.iter().for_each(|(tag, value)| put_parameter(&mut body, *tag, value));
    pdu::encode(pdu::DELIVER_SM, 0, sequence, &body)
}

pub fn receipt(sequence: u32, id: &str, stat: &str) -> Vec<u8> {
    let text =
        format!("id:{id} sub:001 dlvrd:001 submit date:2611221159 done date:2611221200 stat:{stat} err:000 text:");
    deliver(sequence, "79161234567", 4, 0, text.as_bytes(), &[])
}

pub fn notification(id: &str, text: &str) -> Message {
    let data = json!({ "id": id, "channel": "sms", "recipient": { "phone": "+79161234567" }, "text": text, "account": "5001" });
    busbar_sdk::test_hub::message("/demo/crm", &format!("m-{id}"), "notification.requested.v1", data.to_string())
}

impl Far {
    pub fn new(more: Value, store: MapStore) -> Self {
        let mut settings = json!({ "system-id": "busbar", "password": "smsc", "sender": "ENERGO" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let smpp = Smpp::new(serde_json::from_value(settings.clone()).unwrap()).unwrap();
        Self { settings, smpp, store, seen: TestHub::default(), now: NOW }
    }

    pub fn bound(more: Value, store: MapStore) -> Self {
        let mut far = Self::new(more, store);
        far.connect();
        assert!(far.get(&response(pdu::BIND_TRANSCEIVER, 0, 1, "SMSC")).unwrap().ready);
        far
    }

    pub fn connect(&mut self) -> Step {
        self.smpp = Smpp::new(serde_json::from_value(self.settings.clone()).unwrap()).unwrap();
        self.smpp.connected(8, self.now, &mut self.seen, &mut Limited(&mut self.store, 0)).unwrap()
    }

    pub fn get(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        self.smpp.bytes(bytes, self.now, &mut self.seen, &mut Limited(&mut self.store, 0))
    }

    pub fn timer(&mut self, seconds: u64) -> Result<Step, Failure> {
        self.now += seconds * 1000;
        self.smpp.timer(self.now, &mut self.seen, &mut Limited(&mut self.store, 0))
    }

    pub fn give(&mut self, delivery: u64, message: &Message, maybe_sent: bool) -> Result<Step, Failure> {
        self.smpp.message(delivery, message, maybe_sent, self.now, &mut self.seen, &mut Limited(&mut self.store, 0))
    }

    pub fn refused(&mut self, bytes: &[u8]) -> String {
        code_of(&self.get(bytes).unwrap_err())
    }

    /// Nothing is remembered but how much was sent.
    pub fn is_forgotten(&self) -> bool {
        self.store.0.keys().all(|key| key.starts_with("begun"))
    }

    /// Type and data of the messages since the last look.
    pub fn said(&mut self) -> Vec<(String, Value)> {
        let drafts = std::mem::take(&mut self.seen.drafts).into_iter();
        drafts.map(|draft| (draft.type_, serde_json::from_str(&draft.data).unwrap())).collect()
    }
}

/// Code and place of a rejection, or the case.
pub fn code_of(failure: &Failure) -> String {
    match failure {
        Failure::Rejected(rejection) => format!("{} {}", rejection.code, rejection.place.clone().unwrap_or_default()),
        Failure::Transient(_) => "transient".into(),
        Failure::Unauthorized(_) => "unauthorized".into(),
        Failure::RateLimited(delay) => format!("rate-limited {}", delay.retry_after_ms.unwrap()),
        Failure::UnknownOutcome(reason) => format!("unknown-outcome: {reason}"),
        Failure::Other(_) => "other".into(),
    }
}

/// Delivery and how it ended.
pub fn settled(step: &Step) -> Vec<(u64, String)> {
    let how = |outcome: &Result<(), Failure>| outcome.as_ref().err().map_or("ok".to_owned(), code_of);
    step.settled.iter().map(|settled| (settled.delivery, how(&settled.outcome))).collect()
}

#[test]
fn bound_with_a_password_that_is_not_seen() {
    let mut far = Far::new(json!({ "system-type": "WEB" }), MapStore::default());
    let step = far.connect();
    assert!(matches!(&step.send[1], Piece::Secret(name) if name == "smsc"));
    assert_eq!(heads(&step), [(pdu::BIND_TRANSCEIVER, 0, 1)]);
    assert_eq!(sent(&step)[0].body, b"busbar\0########\0WEB\0\x34\0\0\0");
    assert_eq!((step.timer_ms, step.ready), (Some(20_000), false));
    let step = far.get(&response(pdu::BIND_TRANSCEIVER, 0, 1, "SMSC")).unwrap();
    assert_eq!((step.timer_ms, step.ready), (Some(30_000), true));
    for (status, expected) in [(0x0E, "unauthorized"), (0x05, "transient"), (0x42, "bind-refused PDU 1")] {
        far.connect();
        assert_eq!(far.refused(&response(pdu::BIND_TRANSCEIVER, status, 1, "")), expected);
    }
    far.connect();
    assert_eq!(far.refused(&pdu::encode(pdu::GENERIC_NACK, 3, 1, b"")), "bind-refused PDU 1");
    far.connect();
    assert!(far.timer(20).unwrap().close.unwrap().contains("bind_transceiver"));
}

#[test]
fn the_link_is_watched() {
    let mut far = Far::bound(json!({}), MapStore::default());
    let step = far.timer(30).unwrap();
    assert_eq!((heads(&step), step.timer_ms), (vec![(pdu::ENQUIRE_LINK, 0, 2)], Some(20_000)));
    let step = far.get(&pdu::encode(pdu::ENQUIRE_LINK | pdu::RESPONSE, 0, 2, b"")).unwrap();
    assert_eq!(step.timer_ms, Some(30_000));
    let step = far.get(&pdu::encode(pdu::ENQUIRE_LINK, 0, 77, b"")).unwrap();
    assert_eq!(heads(&step), [(pdu::ENQUIRE_LINK | pdu::RESPONSE, 0, 77)]);
    far.timer(30).unwrap();
    let step = far.timer(20).unwrap();
    assert!(step.close.unwrap().contains("enquire_link"));
    let mut far = Far::bound(json!({}), MapStore::default());
    let step = far.get(&pdu::encode(pdu::UNBIND, 0, 5, b"")).unwrap();
    assert_eq!((heads(&step), step.ready), (vec![(pdu::UNBIND | pdu::RESPONSE, 0, 5)], false));
    assert!(step.close.is_some());
}

#[test]
fn what_is_no_business_of_an_esme() {
    let mut far = Far::bound(json!({}), MapStore::default());
    let step = far.get(&pdu::encode(0x111, 0, 9, b"x")).unwrap();
    assert_eq!(heads(&step), [(pdu::GENERIC_NACK, 3, 9)]);
    // Answers to nothing: logged.
    for command in [0x8000_0111, 0x8000_0008, pdu::SUBMIT_SM | pdu::RESPONSE, pdu::GENERIC_NACK] {
        assert!(sent(&far.get(&pdu::encode(command, 0, 9, b"")).unwrap()).is_empty());
    }
    assert_eq!(far.seen.warnings.len(), 5);
    // Before the bind nothing is taken.
    let mut far = Far::new(json!({}), MapStore::default());
    far.connect();
    assert_eq!(heads(&far.get(&deliver(3, "7", 0, 0, b"hi", &[])).unwrap()), [(pdu::DELIVER_SM | pdu::RESPONSE, 4, 3)]);
    assert!(far.said().is_empty());
}

#[test]
fn more_than_can_be_said_is_no_memory() {
    let links = pdu::encode(pdu::ENQUIRE_LINK, 0, 1, b"").repeat((1 << 16) + 1);
    assert_eq!(Far::bound(json!({}), MapStore::default()).refused(&links), "too-much PDU 2");
    let mut far = Far::bound(json!({}), MapStore::default());
    links.chunks(1 << 14).for_each(|part| drop(far.get(part).unwrap()));
}

#[test]
fn lengths_that_cannot_be() {
    for bytes in [[0, 0, 0, 15], [0, 1, 0x10, 1], [0xF0, 0, 0, 0]] {
        assert_eq!(Far::bound(json!({}), MapStore::default()).refused(&bytes), "bad-length PDU 2");
    }
    // What is good before it is said.
    let mut far = Far::bound(json!({}), MapStore::default());
    let step = far.get(&[deliver(3, "79161234567", 0, 0, b"hi", &[]), vec![0; 4]].concat()).unwrap();
    assert_eq!((heads(&step), step.timer_ms), (vec![(pdu::DELIVER_SM | pdu::RESPONSE, 0, 3)], Some(1)));
    assert_eq!(far.said().len(), 1);
    assert_eq!(code_of(&far.timer(0).unwrap_err()), "bad-length PDU 3");
}

/// A day at the centre: bound, a text in two parts, receipts, one of them early, and something written back.
fn trace() -> Vec<u8> {
    [
        response(pdu::BIND_TRANSCEIVER, 0, 1, "SMSC"),
        pdu::encode(pdu::ENQUIRE_LINK, 0, 1, b""),
        receipt(2, "a1", "DELIVRD"),
        deliver(3, "79160000001", 0x40, 8, &[5, 0, 3, 9, 2, 2, 0x04, 0x30], &[]),
        deliver(4, "79160000001", 0x40, 8, &[5, 0, 3, 9, 2, 1, 0x04, 0x14], &[]),
        pdu::encode(0x111, 0, 9, b"x"),
        response(pdu::SUBMIT_SM, 0, 99, "z"),
    ]
    .concat()
}

#[test]
fn cut_anywhere_it_says_the_same() {
    let run = |parts: &[&[u8]]| {
        let mut far = Far::new(json!({}), MapStore::default());
        far.connect();
        let mut pdus = Vec::new();
        parts.iter().for_each(|part| pdus.extend(sent(&far.get(part).unwrap())));
        pdus.extend(sent(&far.timer(6).unwrap()));
        (
            far.seen.drafts.iter().map(|draft| (draft.id.clone(), draft.data.clone())).collect::<Vec<_>>(),
            pdus,
            far.store,
        )
    };
    let trace = trace();
    let whole = run(&[&trace]);
    assert_eq!((whole.0.len(), whole.1.len()), (1, 5));
    assert!(whole.0[0].1.contains("Да"));
    for at in 0..trace.len() {
        let (first, second) = trace.split_at(at);
        assert_eq!(run(&[first, second]), whole, "cut at {at}");
    }
}

#[test]
fn mutations_never_trap() {
    let bound = Far::bound(json!({}), MapStore::default()).store;
    for input in mutations::of(&trace(), 5000) {
        let mut far = Far::new(json!({}), bound.clone());
        far.connect();
        let _ = far.get(&input);
        let _ = far.give(1, &notification("n", &"я".repeat(100)), false);
        let _ = far.get(&input);
        let _ = far.timer(700);
    }
}

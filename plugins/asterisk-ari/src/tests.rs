#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use busbar_sdk::bindings::busbar::adapter::credentials::Piece;
use busbar_sdk::exchange::session::Protocol;
use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Failure, Message, Settled, Step, TestHub, mutations, test_hub};
use serde_json::{Value, json};

use crate::session::Ari;

/// 2026-11-20T14:10:12+03:00.
const NOW: u64 = 1_795_173_012_000;
/// The answer to a hash of twenty zeros.
const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
const ID: &str = "1795173010.418";

fn requested(more: Value) -> Message {
    let mut data = json!({ "id": "N-1", "channel": "call", "recipient": { "phone": "+79005550117" }, "text": "Света нет & не будет" });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    test_hub::message("/crm", "N-1", "notification.requested.v1", data.to_string())
}

/// A text in one frame.
fn frame(event: &Value) -> Vec<u8> {
    let text = event.to_string();
    let length = u16::try_from(text.len()).unwrap();
    [&[0x81, 126], &length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn channel(id: &str, name: &str, state: &str) -> Value {
    json!({ "id": id, "name": name, "state": state, "caller": { "name": "", "number": "89005550117" },
        "dialplan": { "context": "from-operator", "exten": "74955550100", "priority": 1 } })
}

/// An event of the call's channel.
fn event(kind: &str, state: &str, more: Value) -> Value {
    let mut event = json!({ "type": kind, "application": "busbar-00000000", "timestamp": "2026-11-20T14:10:14.500+0300",
        "channel": channel(ID, "PJSIP/operator-00000001", state) });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn dial(status: &str, interface: &str) -> Value {
    json!({ "type": "Dial", "dialstatus": status, "caller": channel(ID, "PJSIP/operator-00000001", "Up"),
        "peer": channel("1795173012.420", &format!("{interface}-00000002"), "Ringing") })
}

struct Pbx {
    ari: Ari,
    far: TestHub,
}

impl Pbx {
    fn new(more: Value, store: MapStore) -> Self {
        let mut settings = json!({
            "base-url": "http://pbx:8088/ari",
            "calls": { "inbound": ["from-operator"], "employees": { "PJSIP/1001": { "id": "E-1" } } },
            "notify": { "channel": "PJSIP/8{national}@operator", "context": "say", "calls-at-once": 1 },
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = Ok(json!({ "customers": [{ "customer": "C-1" }] }).to_string());
        let mut far = TestHub { now_ms: NOW, store, reply, hash: |_| vec![0; 20], ..TestHub::default() };
        let ari = Ari::new(serde_json::from_value(settings).unwrap(), &mut far).unwrap();
        Self { ari, far }
    }

    fn connect(&mut self) -> Step {
        let step = self.ari.connected(&mut self.far).unwrap();
        assert_eq!(self.far.hashed, [b"AAAAAAAAAAAAAAAAAAAAAA==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"]);
        step
    }

    fn open(more: Value) -> Self {
        let mut pbx = Self::new(more, MapStore::default());
        pbx.connect();
        assert!(pbx.get(HEAD).ready);
        pbx
    }

    fn get(&mut self, bytes: &[u8]) -> Step {
        self.ari.bytes(bytes, &mut self.far).unwrap()
    }

    fn tell(&mut self, event: &Value) -> Step {
        self.get(&frame(event))
    }

    fn later(&mut self, seconds: u64) -> Step {
        self.far.now_ms += seconds * 1000;
        self.ari.timer(&mut self.far).unwrap()
    }

    fn order(&mut self, answers: Vec<Result<u16, HttpError>>, maybe_sent: bool) -> Result<Step, Failure> {
        let answer = |answer: Result<u16, HttpError>| {
            answer.map(|status| Response { status, headers: Vec::new(), body: Vec::new() })
        };
        self.far.answers = answers.into_iter().map(answer).collect();
        self.ari.message(7, &requested(json!({})), maybe_sent, &mut self.far)
    }

    fn said(&mut self) -> Vec<(String, Value)> {
        let drafts = std::mem::take(&mut self.far.drafts).into_iter();
        drafts.map(|draft| (draft.type_, serde_json::from_str(&draft.data).unwrap())).collect()
    }
}

fn text(step: &Step) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Plain(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Piece::Secret(name) => format!("<{name}>"),
    };
    step.send.iter().map(piece).collect()
}

/// Without secrets.
fn sent(step: &Step) -> Vec<u8> {
    let plain = |piece: &Piece| if let Piece::Plain(bytes) = piece { bytes.clone() } else { Vec::new() };
    step.send.iter().flat_map(plain).collect()
}

/// How a delivery ended in this step.
fn how(step: &Step) -> String {
    match &step.settled[..] {
        [Settled { delivery: 7, outcome: Ok(()) }] => "ok".to_owned(),
        [Settled { delivery: 7, outcome: Err(failure) }] => {
            format!("{failure:?}").split(['(', ' ']).next().unwrap().to_owned()
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn opens() {
    let mut pbx = Pbx::new(json!({}), MapStore::default());
    let step = pbx.connect();
    let expected = "GET /ari/events?app=busbar-00000000&subscribeAll=true&api_key=<user> HTTP/1.1\r\nHost: pbx:8088\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert_eq!((text(&step).as_str(), step.timer_ms, step.ready), (expected, Some(10_000), false));
    assert_eq!(pbx.later(10).close.as_deref(), Some("it was not opened"));
    let more = json!({ "app": "crm", "app-for-each-hub": false, "subscribe-all": false, "credential": "c", "base-url": "https://h/x/" });
    let mut pbx = Pbx::new(more, MapStore::default());
    let step = pbx.connect();
    assert!(text(&step).starts_with("GET /x/events?app=crm&api_key=<c> HTTP/1.1\r\nHost: h\r\n"));
}

#[test]
fn a_call() {
    let mut pbx = Pbx::open(json!({}));
    pbx.tell(&event("ChannelCreated", "Ring", json!({})));
    pbx.tell(&event("StasisStart", "Ring", json!({ "args": ["instance"] })));
    assert_eq!(pbx.far.asked.len(), 1);
    pbx.tell(&event("ChannelStateChange", "Up", json!({})));
    pbx.tell(&dial("RINGING", "PJSIP/1001"));
    pbx.tell(&dial("RINGING", "PJSIP/operator"));
    pbx.tell(&dial("ANSWER", "PJSIP/1001"));
    pbx.tell(&event("ChannelVarset", "Up", json!({ "variable": "MIXMONITOR_FILENAME", "value": "rec/1.wav" })));
    let end = json!({ "cause": 16, "cause_txt": "Normal Clearing", "timestamp": "2026-11-20T14:11:14.500+0300" });
    pbx.tell(&event("ChannelDestroyed", "Up", end.clone()));
    pbx.tell(&event("ChannelDestroyed", "Up", end));
    let said = pbx.said();
    let kinds: Vec<_> = said.iter().map(|(kind, data)| format!("{kind} {}", data["state"])).collect();
    let expected =
        ["call.started.v1 null", "call.assigned.v1 \"ringing\"", "call.assigned.v1 \"answered\"", "call.ended.v1 null"];
    assert_eq!(kinds, expected);
    assert_eq!(
        said[3].1,
        json!({ "id": ID, "direction": "inbound", "caller": "+79005550117", "called": "+74955550100", "customer": "C-1",
            "startedAt": "2026-11-20T14:10:10+03:00", "answeredAt": "2026-11-20T14:10:12+03:00", "endedAt": "2026-11-20T14:11:14+03:00",
            "waitSeconds": 2, "talkSeconds": 62, "outcome": "answered", "employee": { "id": "E-1" }, "recording": "rec/1.wav" })
    );
    // A channel that is dialled is no call.
    pbx.tell(&event("ChannelCreated", "Down", json!({})));
    pbx.tell(&event("ChannelStateChange", "Ringing", json!({})));
    assert_eq!(pbx.said(), []);
}

#[test]
fn how_calls_end() {
    let transfer =
        json!({ "type": "BridgeBlindTransfer", "result": "Success", "exten": "1002", "transferee": { "id": ID } });
    let attended = json!({ "type": "BridgeAttendedTransfer", "result": "Success", "transferee": { "id": ID } });
    for (happens, cause, outcome) in [
        (vec![], 16, "abandoned"),
        (vec![dial("BUSY", "PJSIP/1")], 17, "busy"),
        (vec![dial("NOANSWER", "PJSIP/1")], 16, "no-answer"),
        (vec![dial("PROGRESS", "PJSIP/1")], 34, "failed"),
        (vec![event("ChannelStateChange", "Up", json!({}))], 16, "self-service"),
        (vec![transfer], 16, "transferred"),
        (vec![attended], 16, "transferred"),
    ] {
        let mut pbx = Pbx::open(json!({}));
        pbx.tell(&event("StasisStart", "Ring", json!({})));
        happens.iter().for_each(|event| drop(pbx.tell(event)));
        pbx.tell(&event("ChannelDestroyed", "Down", json!({ "cause": cause })));
        assert_eq!(pbx.said().last().unwrap().1["outcome"], outcome, "{happens:?}");
    }
}

#[test]
fn a_customer_is_called() {
    let mut pbx = Pbx::open(json!({}));
    let step = pbx.order(vec![Ok(200)], false).unwrap();
    assert_eq!((how(&step).as_str(), step.ready), ("ok", false));
    let request = pbx.far.requests.remove(0);
    assert_eq!(request.method, "POST");
    let key = request.url.strip_prefix("http://pbx:8088/ari/channels/").unwrap().to_owned();
    assert_eq!(
        serde_json::from_slice::<Value>(&request.body).unwrap(),
        json!({ "endpoint": "PJSIP/89005550117@operator", "context": "say", "extension": "s", "priority": 1, "timeout": 30,
            "variables": { "BUSBAR_ID": key, "BUSBAR_TEXT": "Света нет & не будет" } })
    );
    assert!(matches!(pbx.order(vec![], false), Err(Failure::RateLimited(_))));
    let of = |kind: &str, state: &str, more: Value| {
        let mut event = event(kind, state, more);
        event["channel"]["id"] = key.as_str().into();
        event
    };
    pbx.tell(&of("ChannelStateChange", "Ringing", json!({})));
    assert_eq!(pbx.said(), []);
    pbx.tell(&of("ChannelStateChange", "Up", json!({})));
    let step = pbx.tell(&of("ChannelDestroyed", "Up", json!({ "cause": 16 })));
    let said = pbx.said();
    assert!(step.ready && said.len() == 1 && said[0].0 == "notification.delivered.v1");
    for (cause, code) in
        [(17, "busy"), (19, "no-answer"), (16, "no-answer"), (0, "undeliverable"), (1, "unknown-recipient")]
    {
        pbx.order(vec![Ok(200)], false).unwrap();
        pbx.tell(&of("ChannelDestroyed", "Down", json!({ "cause": cause, "cause_txt": "why" })));
        let said = pbx.said();
        assert_eq!((said.len(), said[0].1["reason"]["code"].as_str()), (1, Some(code)));
        assert!(!pbx.far.store.0.keys().any(|key| key.starts_with("order")));
    }
    let notify = json!({ "channel": "PJSIP/{number}", "context": "say", "delivered-when": "confirmed" });
    for (result, kind) in [
        ("delivered", "notification.delivered.v1"),
        ("failed", "notification.failed.v1"),
        ("", "notification.failed.v1"),
    ] {
        let mut pbx = Pbx::open(json!({ "notify": notify }));
        pbx.order(vec![Ok(200)], false).unwrap();
        pbx.tell(&of("ChannelStateChange", "Up", json!({})));
        if !result.is_empty() {
            let said =
                json!({ "eventname": "BusbarNotification", "userevent": { "Notification": key, "Result": result } });
            pbx.tell(&of("ChannelUserevent", "Up", said));
        }
        pbx.tell(&of("ChannelDestroyed", "Up", json!({ "cause": 16 })));
        let said = pbx.said();
        assert_eq!((said.len(), said[0].0.as_str()), (1, kind));
    }
}

#[test]
fn what_comes_of_an_order() {
    let lost = || Err(HttpError::NoAnswer("reset".to_owned()));
    for (answers, maybe_sent, expected) in [
        (vec![Ok(409)], false, "ok"),
        (vec![Ok(400)], false, "Failure::Rejected"),
        (vec![Ok(401)], false, "Failure::Unauthorized"),
        (vec![Ok(500)], false, "Failure::Transient"),
        (vec![Err(HttpError::Unreachable("x".to_owned()))], false, "Failure::Transient"),
        (vec![lost(), Ok(200)], false, "ok"),
        (vec![lost(), Ok(404)], false, "Failure::UnknownOutcome"),
        (vec![lost(), lost()], false, "Failure::UnknownOutcome"),
        (vec![Ok(200)], true, "ok"),
        (vec![Ok(404)], true, "Failure::UnknownOutcome"),
    ] {
        let mut pbx = Pbx::open(json!({}));
        let step = pbx.order(answers, maybe_sent).unwrap();
        assert_eq!((how(&step).as_str(), step.ready), (expected, expected != "ok"));
    }
    // It was taken, and the hub stopped before the delivery was done.
    let mut pbx = Pbx::open(json!({}));
    pbx.order(vec![Ok(200)], false).unwrap();
    let mut pbx = Pbx::new(json!({}), pbx.far.store);
    assert_eq!(how(&pbx.order(vec![], true).unwrap()), "ok");
    // It is gone when the hub is back.
    pbx.connect();
    pbx.far.answer(&[(200, "[{\"id\":\"1.1\"}]")]);
    assert_eq!(pbx.get(HEAD).timer_ms, Some(1));
    pbx.later(0);
    assert_eq!(pbx.said()[0].1["reason"]["code"], "unknown");
    assert_eq!(how(&pbx.order(vec![Ok(404)], true).unwrap()), "Failure::UnknownOutcome");
}

#[test]
fn keeps_the_connection() {
    let mut pbx = Pbx::open(json!({}));
    assert_eq!(sent(&pbx.later(30)), b"\x89\x86\0\0\0\0busbar");
    assert_eq!(pbx.get(b"\x8a\x06busbar").timer_ms, Some(30_000));
    assert_eq!(sent(&pbx.get(b"\x89\x02hi")), b"\x8a\x82\0\0\0\0hi");
    pbx.later(30);
    assert_eq!(pbx.later(10).close.as_deref(), Some("no answer to a ping"));
    let mut pbx = Pbx::open(json!({}));
    let step = pbx.get(b"\x88\x02\x03\xe9");
    assert_eq!(sent(&step), b"\x88\x82\0\0\0\0\x03\xe9");
    assert_eq!(step.close.as_deref(), Some("Asterisk closes the connection, 1001"));
    let mut pbx = Pbx::open(json!({}));
    let step = pbx.tell(&json!({ "type": "ApplicationReplaced", "application": "busbar-00000000" }));
    assert_eq!(step.close.as_deref(), Some("another connection has taken the application over"));
    assert!(pbx.ari.bytes(b"\x81\x01{", &mut pbx.far).is_err());
}

#[test]
fn cut_or_damaged() {
    let happens = [
        event("ChannelCreated", "Ring", json!({})),
        dial("RINGING", "PJSIP/1001"),
        dial("ANSWER", "PJSIP/1001"),
        event("ChannelDestroyed", "Up", json!({ "cause": 16 })),
    ];
    let trace = [HEAD.to_vec(), happens.iter().flat_map(frame).collect(), b"\x89\0".to_vec()].concat();
    let talk = |parts: &[&[u8]]| {
        let mut pbx = Pbx::new(json!({}), MapStore::default());
        pbx.connect();
        let sent: String = parts.iter().map(|part| text(&pbx.get(part))).collect();
        (pbx.said(), sent)
    };
    let whole = talk(&[&trace]);
    assert_eq!(whole.0.len(), 4);
    for cut in 0..trace.len() {
        let (one, other) = trace.split_at(cut);
        assert_eq!(talk(&[one, other]), whole, "{cut}");
    }
    for damaged in mutations::of(&trace, 4000) {
        let mut pbx = Pbx::new(json!({}), MapStore::default());
        pbx.connect();
        if pbx.ari.bytes(&damaged, &mut pbx.far).is_ok() {
            pbx.far.now_ms += 40_000;
            let _ = pbx.ari.timer(&mut pbx.far);
        }
    }
}

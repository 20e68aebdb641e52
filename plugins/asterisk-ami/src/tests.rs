#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod orders;

use busbar_sdk::bindings::busbar::adapter::credentials::Piece;
use busbar_sdk::exchange::session::Protocol;
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Failure, Message, Step, TestHub, hex, mutations, test_hub};
use serde_json::{Value, json};

use crate::session::Ami;

/// 2026-11-20T14:10:12+03:00.
const NOW: u64 = 1_795_173_012_000;
const BANNER: &str = "Asterisk Call Manager/5.0.2\r\n";
const LOGGED_IN: &str = "Response: Success\nActionID: bb-challenge\nChallenge: 145769581\n\n\
    Response: Success\nActionID: bb-login\nMessage: Authentication accepted\n\n";
const INCOMING: &str = "Event: Newchannel\nChannel: PJSIP/operator-00000001\nChannelState: 4\nCallerIDNum: 89005550117\nContext: from-operator\n\
    Exten: 74955550100\nUniqueid: 1795173010.418\nLinkedid: 1795173010.418\n\n";

fn requested(id: &str, more: Value) -> Message {
    let mut data = json!({ "id": id, "channel": "call", "recipient": { "phone": "+79005550117" }, "text": "Света (нет), до 18:00",
        "account": "500100200300" });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    test_hub::message("/crm", id, "notification.requested.v1", data.to_string())
}

fn settings(more: Value) -> Value {
    let mut settings = json!({
        "calls": { "inbound": ["from-operator"], "queues": { "600": "outages" },
            "employees": { "PJSIP/1001": { "id": "E-0417", "name": "Ильина Ольга" } } },
        "notify": { "channel": "PJSIP/8{national}@operator", "context": "busbar-say", "caller-id": "74955550100", "calls-at-once": 2 },
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

struct Pbx {
    ami: Ami,
    far: TestHub,
}

impl Pbx {
    fn new(more: Value, store: MapStore) -> Self {
        let mut far = TestHub { now_ms: NOW, store, ..TestHub::default() };
        let ami = Ami::new(serde_json::from_value(settings(more)).unwrap(), &mut far).unwrap();
        Self { ami, far }
    }

    fn connect(&mut self) -> Step {
        self.ami.connected(&mut self.far).unwrap()
    }

    fn ready(more: Value) -> Self {
        let mut pbx = Self::new(more, MapStore::default());
        pbx.log_in();
        pbx
    }

    fn log_in(&mut self) -> Step {
        self.connect();
        assert!(text(&self.get(BANNER)).contains("AuthType: MD5"));
        let step = self.get(LOGGED_IN);
        assert!(step.ready);
        step
    }

    fn get(&mut self, blocks: &str) -> Step {
        self.try_get(blocks.as_bytes()).unwrap()
    }

    fn try_get(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        self.ami.bytes(bytes, &mut self.far).inspect(|_| self.far.commit())
    }

    fn later(&mut self, seconds: u64) -> Step {
        self.far.now_ms += seconds * 1000;
        self.ami.timer(&mut self.far).unwrap()
    }

    fn order(&mut self, delivery: u64, message: &Message, maybe_sent: bool) -> Result<Step, Failure> {
        self.ami.message(delivery, message, maybe_sent, &mut self.far)
    }

    /// Types and data of what was stated since the last time.
    fn said(&mut self) -> Vec<(String, Value)> {
        let drafts = std::mem::take(&mut self.far.drafts).into_iter();
        drafts.map(|draft| (draft.type_, serde_json::from_str(&draft.data).unwrap())).collect()
    }
}

fn text(step: &Step) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Plain(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Piece::Secret(name) => format!("<{name}>"),
    };
    step.send.iter().map(piece).collect()
}

fn key(step: &Step) -> String {
    text(step).lines().find_map(|line| line.strip_prefix("ActionID: ")).unwrap().to_owned()
}

/// The same event with the fields of the call's first channel.
fn event(name: &str, fields: &str) -> String {
    format!(
        "Event: {name}\nChannel: PJSIP/operator-00000001\nUniqueid: 1795173010.418\nLinkedid: 1795173010.418\n{fields}\n\n"
    )
}

#[test]
fn logs_in_by_challenge_or_plainly() {
    let mut pbx = Pbx::new(json!({}), MapStore::default());
    assert_eq!(pbx.connect().timer_ms, Some(10_000));
    assert_eq!(text(&pbx.get(BANNER)), "Action: Challenge\r\nActionID: bb-challenge\r\nAuthType: MD5\r\n\r\n");
    let login = "Action: Login\r\nActionID: bb-login\r\nAuthType: MD5\r\nUsername: busbar\r\nKey: KEY\r\n\
        Events: call,agent,user\r\n\r\n";
    let login = login.replace("KEY", &hex::encoded(b"145769581<secret>"));
    let step = pbx.get(LOGGED_IN);
    assert_eq!((text(&step).as_str(), step.ready, step.timer_ms), (login.as_str(), true, Some(30_000)));
    let mut pbx = Pbx::new(json!({ "login": "plain", "secret": "ami" }), MapStore::default());
    pbx.connect();
    assert!(text(&pbx.get(BANNER)).ends_with("Events: call,agent,user\r\nSecret: <ami>\r\n\r\n"));
    let refused = pbx.try_get(b"Response: Error\r\nMessage: Authentication failed\r\n\r\n");
    assert!(matches!(refused, Err(Failure::Unauthorized(_))));
}

#[test]
fn a_call_through_a_queue() {
    let mut pbx = Pbx::ready(json!({}));
    pbx.far.reply = Ok(json!({ "phone": "+79005550117", "found": true,
        "customers": [{ "customer": "C-20417", "accounts": [{ "account": "500100200300" }] }] })
    .to_string());
    pbx.get(INCOMING);
    pbx.get(INCOMING);
    assert_eq!(pbx.far.asked.len(), 1);
    let (caller, called) = ("+79005550117", "+74955550100");
    let [(kind, started)] = &pbx.said()[..] else { panic!() };
    assert_eq!(kind, "call.started.v1");
    assert_eq!(
        started,
        &json!({ "id": "1795173010.418", "direction": "inbound", "caller": caller, "called": called,
            "startedAt": "2026-11-20T14:10:10+03:00", "customer": "C-20417", "account": "500100200300" })
    );
    pbx.get(&event("Newstate", "ChannelState: 6"));
    pbx.far.now_ms += 3000;
    pbx.get(&event("QueueCallerJoin", "Queue: 600"));
    pbx.far.now_ms += 5000;
    pbx.get(&event("AgentCalled", "Queue: 600\nInterface: PJSIP/1001\nMemberName: x"));
    pbx.far.now_ms += 4000;
    pbx.get(&event("AgentConnect", "Queue: 600\nInterface: PJSIP/1001\nHoldTime: 9"));
    let said = pbx.said();
    let states: Vec<_> = said.iter().map(|(kind, data)| (kind.as_str(), &data["state"], &data["assignedAt"])).collect();
    assert_eq!(
        states,
        [
            ("call.assigned.v1", &json!("ringing"), &json!("2026-11-20T14:10:20+03:00")),
            ("call.assigned.v1", &json!("answered"), &json!("2026-11-20T14:10:24+03:00")),
        ]
    );
    assert_eq!(said[0].1["customer"], "C-20417");
    // The hub is started anew; the agent's channel hangs up first.
    let now_ms = pbx.far.now_ms + 60_000;
    let mut pbx = Pbx::new(json!({}), pbx.far.store);
    pbx.far.now_ms = now_ms;
    assert!(text(&pbx.log_in()).contains("CoreShowChannels"));
    pbx.get("Event: Hangup\nUniqueid: 1795173020.419\nLinkedid: 1795173010.418\nCause: 16\n\n");
    pbx.get(&event("VarSet", "Variable: MIXMONITOR_FILENAME\nValue: rec/418.wav"));
    assert_eq!(pbx.said(), []);
    pbx.get(&event("Hangup", "Cause: 16"));
    pbx.get(&event("Hangup", "Cause: 16"));
    let [(kind, ended)] = &pbx.said()[..] else { panic!() };
    assert_eq!(kind, "call.ended.v1");
    assert_eq!(
        ended,
        &json!({ "id": "1795173010.418", "direction": "inbound", "caller": caller, "called": called, "queue": "outages",
            "startedAt": "2026-11-20T14:10:10+03:00", "answeredAt": "2026-11-20T14:10:24+03:00", "endedAt": "2026-11-20T14:11:24+03:00",
            "waitSeconds": 9, "talkSeconds": 60, "outcome": "answered", "employee": { "id": "E-0417", "name": "Ильина Ольга" },
            "recording": "rec/418.wav", "customer": "C-20417", "account": "500100200300" })
    );
    assert_eq!(pbx.far.store.0.values().filter(|value| value.as_slice() != b"{}").count(), 0);
}

#[test]
fn how_calls_end() {
    for (events, cause, outcome) in [
        (vec![("QueueCallerJoin", "Queue: 7"), ("QueueCallerAbandon", "Queue: 7")], "0", "abandoned"),
        (vec![], "16", "abandoned"),
        (vec![], "17", "busy"),
        (vec![], "34", "failed"),
        (vec![("Newstate", "ChannelState: 6")], "16", "self-service"),
        (vec![("DialEnd", "DialStatus: BUSY\nDestChannel: PJSIP/1001-1")], "17", "busy"),
        (vec![("DialEnd", "DialStatus: NOANSWER\nDestChannel: PJSIP/1001-1")], "16", "no-answer"),
        (vec![("DialEnd", "DialStatus: CANCEL\nDestChannel: PJSIP/1001-1")], "127", "abandoned"),
        (vec![("DialEnd", "DialStatus: CHANUNAVAIL\nDestChannel: PJSIP/1001-1")], "20", "failed"),
        (vec![("DialEnd", "DialStatus: ANSWER\nDestChannel: PJSIP/77-00000009")], "16", "answered"),
        (vec![("Bridge", "Bridgestate: Link\nChannel2: SIP/77-00000009")], "16", "answered"),
        (vec![("BlindTransfer", "Result: Success\nExtension: 1002")], "16", "transferred"),
    ] {
        let mut pbx = Pbx::ready(json!({}));
        pbx.get(INCOMING);
        events.iter().for_each(|(name, fields)| drop(pbx.get(&event(name, fields))));
        pbx.get(&event("Hangup", &format!("Cause: {cause}")));
        assert_eq!(pbx.said().last().unwrap().1["outcome"], outcome, "{events:?} {cause}");
    }
}

#[test]
fn who_calls_is_not_waited_for_twice() {
    let mut pbx = Pbx::ready(json!({}));
    pbx.get(INCOMING);
    pbx.get(&INCOMING.replace(".418", ".419"));
    assert_eq!((pbx.far.asked.len(), pbx.said().len()), (1, 2));
    pbx.far.now_ms += 30_000;
    pbx.get(&INCOMING.replace(".418", ".420"));
    // Hidden, and of no context that matters.
    pbx.get(&INCOMING.replace(".418", ".421").replace("89005550117", "<unknown>"));
    pbx.get(&INCOMING.replace(".418", ".422").replace("from-operator", "internal"));
    assert_eq!((pbx.far.asked.len(), pbx.said().len(), pbx.far.warnings.len()), (2, 2, 2));
}

#[test]
fn silence_is_tested() {
    let mut pbx = Pbx::ready(json!({}));
    assert_eq!(text(&pbx.later(29)), "");
    let step = pbx.later(1);
    assert_eq!((text(&step).as_str(), step.timer_ms), ("Action: Ping\r\nActionID: bb-ping\r\n\r\n", Some(10_000)));
    assert_eq!(pbx.get("Response: Success\r\nPing: Pong\r\nActionID: bb-ping\r\n\r\n").timer_ms, Some(30_000));
    pbx.later(30);
    assert_eq!(pbx.later(10).close.as_deref(), Some("no answer to a ping"));
    let mut pbx = Pbx::new(json!({}), MapStore::default());
    pbx.connect();
    assert_eq!(pbx.later(10).close.as_deref(), Some("no answer to the login"));
}

/// A whole conversation, in parts.
fn talk(parts: &[&[u8]]) -> (Vec<(String, Value)>, String) {
    let mut pbx = Pbx::new(json!({}), MapStore::default());
    pbx.connect();
    let mut sent = String::new();
    for part in parts {
        sent += &text(&pbx.try_get(part).unwrap());
    }
    (pbx.said(), sent)
}

#[test]
fn cut_anywhere_it_is_the_same() {
    let trace = [
        BANNER,
        LOGGED_IN,
        INCOMING,
        &event("QueueCallerJoin", "Queue: 600"),
        &event("AgentCalled", "Interface: PJSIP/1001"),
        &event("AgentConnect", "Interface: PJSIP/1001"),
        &event("Hangup", "Cause: 16"),
    ];
    let trace = trace.concat().replace("\r\n", "\n").replace('\n', "\r\n");
    let whole = talk(&[trace.as_bytes()]);
    assert_eq!(whole.0.len(), 4);
    for cut in 0..trace.len() {
        let (one, other) = trace.as_bytes().split_at(cut);
        assert_eq!(talk(&[one, other]), whole, "{cut}");
    }
    for damaged in mutations::of(trace.as_bytes(), 4000) {
        let mut pbx = Pbx::new(json!({}), MapStore::default());
        pbx.connect();
        if pbx.try_get(&damaged).is_ok() {
            pbx.far.now_ms += 40_000;
            let _ = pbx.ami.timer(&mut pbx.far);
        }
    }
}

#[test]
fn a_flood_is_taken_in_turns() {
    let mut pbx = Pbx::ready(json!({ "calls": { "inbound": ["from-operator"], "lookup-ms": 0 } }));
    let calls: String = (0..1500).map(|n| INCOMING.replace(".418", &format!(".{n}"))).collect();
    let mut step = pbx.get(&calls);
    let mut turns = 1;
    while step.timer_ms == Some(1) {
        assert!(pbx.far.drafts.len() <= 300 * turns);
        step = pbx.later(0);
        turns += 1;
    }
    assert_eq!((pbx.said().len(), turns), (1500, 6));
    let more: String = (1500..2100).map(|n| INCOMING.replace(".418", &format!(".{n}"))).collect();
    while pbx.get(if turns > 0 { &more } else { "" }).timer_ms == Some(1) {
        turns = 0;
    }
    assert_eq!(pbx.said().len(), 500);
    assert!(pbx.try_get(&vec![b'x'; 5 << 20]).is_err() && pbx.far.store.0.values().all(|value| value.len() < 64 << 10));
}

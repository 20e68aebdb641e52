#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use busbar_sdk::bindings::busbar::adapter::credentials::Piece;
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Failure, Step, TestHub, mutations};
use serde_json::{Value, json};

use crate::session::Scada;

/// 2021-06-16T20:30:00+03:00.
const NOW: u64 = 1_623_864_600_000;
const STARTDT: &str = "680407000000";
const STARTED: &str = "68040b000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn hex(step: &Step) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Plain(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        Piece::Secret(name) => format!("<{name}>"),
    };
    step.send.iter().map(piece).collect()
}

/// An I frame with the ASDU, of which `send` were before it.
fn frame(send: u16, receive: u16, asdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x68, u8::try_from(asdu.len() + 4).unwrap()];
    frame.extend((send << 1).to_le_bytes());
    frame.extend((receive << 1).to_le_bytes());
    frame.extend(asdu);
    frame
}

/// A double point 128/14000 with a time so many minutes after 20:00.
fn double(position: u8, minute: u8) -> Vec<u8> {
    [&[31, 1, 3, 0, 128, 0, 0xb0, 0x36, 0, position][..], &[0xaf, 0xe1, minute, 20, 0x70, 6, 21]].concat()
}

/// The same without a time, with a cause.
fn tagless(position: u8, cause: u8) -> Vec<u8> {
    vec![3, 1, cause, 0, 128, 0, 0xb0, 0x36, 0, position]
}

fn settings(more: Value) -> Value {
    let mut settings = json!({ "points": [
        { "station": 128, "object": 14000, "id": "Q-7", "name": "ТП-7, яч. 3", "feeder": { "id": "F-7" },
          "metering-points": ["TU-1"], "addresses": [{ "text": "ул. Полевая, 1" }], "customers": 40, "notice": "Света нет" },
        { "station": 128, "object": 14001, "id": "TIE", "normal": "open" },
        { "station": 2, "object": 5, "id": "U-5", "closed-when": "off", "kind": "feeder" }],
        "counters": [{ "station": 128, "object": 300, "metering-point": "TU-9", "power-of-ten": -2, "serial-number": "0042",
          "register": "1.8.0", "tariff-zone": "total" }] });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

struct Far {
    scada: Scada,
    store: MapStore,
    seen: TestHub,
    now: u64,
}

impl Far {
    fn new(more: Value, store: MapStore) -> Self {
        let mut store = store;
        let settings = serde_json::from_value(settings(more)).unwrap();
        let scada = Scada::new(settings, &mut store).unwrap();
        Self { scada, store, seen: TestHub::default(), now: NOW }
    }

    /// Connected, and interrogated not at all.
    fn quiet() -> Self {
        Self::started(json!({ "interrogate": false }), MapStore::default())
    }

    fn started(more: Value, store: MapStore) -> Self {
        let mut far = Self::new(more, store);
        assert_eq!(hex(&far.connect()), STARTDT);
        assert!(far.get(&bytes(STARTED)).unwrap().ready);
        far
    }

    fn connect(&mut self) -> Step {
        self.scada.connected(self.now, &mut self.seen, &mut self.store).unwrap()
    }

    fn get(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        self.scada.bytes(bytes, self.now, &mut self.seen, &mut self.store)
    }

    /// After so many seconds.
    fn timer(&mut self, seconds: u64) -> Result<Step, Failure> {
        self.now += seconds * 1000;
        self.scada.timer(self.now, &mut self.seen, &mut self.store)
    }

    fn refused(&mut self, bytes: &[u8]) -> String {
        match self.get(bytes).unwrap_err() {
            Failure::Rejected(rejection) => format!("{} {}", rejection.code, rejection.place.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    /// The messages since the last look: status, revision, start, end.
    fn said(&mut self) -> Vec<String> {
        let drafts = std::mem::take(&mut self.seen.drafts);
        let said = drafts.iter().map(|draft| {
            let data: Value = serde_json::from_str(&draft.data).unwrap();
            let text = |name: &str| data[name].as_str().unwrap_or("-").trim_start_matches("2021-06-16T").to_owned();
            let fields =
                [text("id"), text("status"), data["revision"].to_string(), text("startedAt"), text("restoredAt")];
            fields.map(|field| field.trim_end_matches("+03:00").to_owned()).join(" ")
        });
        said.collect()
    }
}

#[test]
fn started_interrogated_and_acknowledged() {
    let mut far = Far::new(json!({}), MapStore::default());
    let step = far.connect();
    assert_eq!((hex(&step).as_str(), step.timer_ms, step.ready), (STARTDT, Some(15_000), false));
    let step = far.get(&bytes(STARTED)).unwrap();
    // Stations 2 and 128; N(S) 0 and 1.
    assert_eq!(hex(&step), "680e0000000064010600020000000014 680e0200000064010600800000000014".replace(' ', ""));
    assert_eq!((step.timer_ms, step.ready), (Some(15_000), true));
    // Confirmed, both acknowledged: t2 for the answer.
    let step = far.get(&bytes("680e0000040064010700020000000014")).unwrap();
    assert_eq!((hex(&step).as_str(), step.timer_ms), ("", Some(10_000)));
    let step = far.timer(10).unwrap();
    assert_eq!((hex(&step).as_str(), step.timer_ms), ("680401000200", Some(10_000)));
    // Idle for t3: a test, and its confirmation.
    let step = far.timer(10).unwrap();
    assert_eq!((hex(&step).as_str(), step.timer_ms), ("680443000000", Some(15_000)));
    assert_eq!(far.get(&bytes("680483000000")).unwrap().timer_ms, Some(20_000));
    assert_eq!(hex(&far.get(&bytes("680443000000")).unwrap()), "680483000000");
}

#[test]
fn w_frames_are_acknowledged_at_once() {
    let mut far = Far::quiet();
    for send in 0..7 {
        assert_eq!(hex(&far.get(&frame(send, 0, &tagless(2, 3))).unwrap()), "");
    }
    assert_eq!(hex(&far.get(&frame(7, 0, &tagless(2, 3))).unwrap()), "680401001000");
    // Many in one call: as if they had come one by one.
    let many: Vec<u8> = (8..28).flat_map(|send| frame(send, 0, &tagless(2, 3))).collect();
    assert_eq!(hex(&far.get(&many).unwrap()), "680401002000680401003000");
}

#[test]
fn silence_closes() {
    let mut far = Far::new(json!({}), MapStore::default());
    far.connect();
    assert!(far.timer(15).unwrap().close.unwrap().contains("STARTDT"));
    let mut far = Far::started(json!({}), MapStore::default());
    assert!(far.timer(15).unwrap().close.unwrap().contains("interrogation"));
    let mut far = Far::quiet();
    assert_eq!(far.timer(20).unwrap().close, None);
    assert!(far.timer(15).unwrap().close.unwrap().contains("TESTFR"));
}

#[test]
fn windows_bound_what_is_sent() {
    let points: Vec<Value> = (0..20).map(|n| json!({ "station": n, "object": 1, "id": "x" })).collect();
    let mut far = Far::new(json!({ "points": points, "counters": [], "k": 3 }), MapStore::default());
    far.connect();
    assert_eq!(hex(&far.get(&bytes(STARTED)).unwrap()).len(), 3 * 32);
    assert_eq!(hex(&far.get(&bytes("680401000400")).unwrap()).len(), 2 * 32);
    assert_eq!(far.refused(&bytes("680401000c00")), "bad-sequence frame 3");
    // Every second: all again.
    let mut far = Far::started(json!({ "interrogate-every-s": 600 }), MapStore::default());
    far.get(&bytes("680401000400")).unwrap();
    far.now += 600_000;
    assert_eq!(hex(&far.timer(0).unwrap()).matches("640106").count(), 2);
}

#[test]
fn what_breaks_the_protocol() {
    for (input, expected) in [
        ("68fe", "bad-length frame 2"),
        ("00", "bad-frame frame 2"),
        ("680447000000", "bad-control frame 2"),
        ("680402000000", "bad-sequence frame 2"),
        ("680401000200", "bad-sequence frame 2"),
        ("680400000000", "bad-asdu frame 2"),
        ("680e0200000064010700020000000014", "bad-sequence frame 2, type 100"),
        ("680e0000020064010700020000000014", "bad-sequence frame 2, type 100"),
        ("680d000000000301030080000100 00", "bad-asdu frame 2, type 3"),
    ] {
        let input = bytes(input);
        let input = if input.len() == 6 && input[2] == 2 { frame(1, 0, &tagless(1, 3)) } else { input };
        let found = Far::quiet().refused(&input);
        assert!(found.starts_with(expected), "{found} {expected}");
    }
    let mut far = Far::new(json!({}), MapStore::default());
    far.connect();
    assert_eq!(far.refused(&frame(0, 0, &tagless(1, 3))), "not-started frame 1, type 3");
    for wrong in [json!({ "t2-s": 15 }), json!({ "counters": [{ "station": 2, "object": 5, "metering-point": "x" }] })]
    {
        let settings = serde_json::from_value(settings(wrong)).unwrap();
        assert_eq!(Scada::new(settings, &mut MapStore::default()).err().unwrap().code, "bad-config");
    }
}

#[test]
fn what_is_good_before_a_broken_frame_is_said() {
    let mut far = Far::quiet();
    let mut input = frame(0, 0, &double(1, 10));
    input.extend([0x68, 0xff]);
    let step = far.get(&input).unwrap();
    assert_eq!((step.timer_ms, far.said().len()), (Some(1), 1));
    assert!(matches!(far.timer(0), Err(Failure::Rejected(rejection)) if rejection.code == "bad-length"));
}

#[test]
fn opened_and_closed() {
    let mut far = Far::quiet();
    far.get(&frame(0, 0, &double(1, 10))).unwrap();
    let draft = far.seen.drafts[0].clone();
    let expected = json!({ "id": "128-14000-1623863457775", "kind": "emergency", "status": "started", "revision": 1,
        "changedAt": "2021-06-16T20:10:57+03:00", "startedAt": "2021-06-16T20:10:57+03:00",
        "equipment": [{ "id": "Q-7", "name": "ТП-7, яч. 3", "kind": "breaker" }, { "id": "F-7", "kind": "feeder" }],
        "affected": { "addresses": [{ "text": "ул. Полевая, 1" }], "meteringPoints": ["TU-1"], "customers": 40 },
        "notice": "Света нет" });
    assert_eq!(serde_json::from_str::<Value>(&draft.data).unwrap(), expected);
    assert_eq!(draft.subject.as_deref(), Some("128-14000-1623863457775"));
    assert_eq!(draft.time.as_deref(), Some("2021-06-16T20:10:57+03:00"));
    far.said();
    // Resent, still moving, faulty, not vouched for, of a test: nothing. Then closed.
    for (send, position) in [(1, 1), (2, 0), (3, 3), (4, 0x82), (5, 0x42), (6, 0x22), (7, 0x12)] {
        far.get(&frame(send, 0, &double(position, if position == 1 { 10 } else { 11 }))).unwrap();
    }
    let mut test = double(2, 11);
    test[2] = 0x83;
    far.get(&frame(8, 0, &test)).unwrap();
    assert_eq!(far.said(), [""; 0]);
    far.get(&frame(9, 0, &double(2, 12))).unwrap();
    assert_eq!(far.said(), ["128-14000-1623863457775 restored 2 20:10:57 20:12:57"]);
    // Opened again: another outage. Switched by an order: nobody knows why.
    let mut ordered = double(1, 13);
    ordered[2] = 11;
    far.get(&frame(10, 0, &ordered)).unwrap();
    assert!(far.seen.drafts[0].data.contains("\"kind\":\"unknown\""));
    assert_eq!(far.said(), ["128-14000-1623863637775 started 1 20:13:57 -"]);
}

#[test]
fn an_old_tag_asks_for_the_truth() {
    let mut far = Far::started(json!({}), MapStore::default());
    far.get(&frame(0, 2, &double(1, 10))).unwrap();
    far.get(&frame(1, 2, &double(2, 12))).unwrap();
    far.get(&frame(2, 2, &[100, 1, 10, 0, 128, 0, 0, 0, 0, 20])).unwrap();
    assert_eq!(far.said().len(), 2);
    let step = far.get(&frame(3, 2, &double(1, 11))).unwrap();
    assert_eq!(hex(&step), "680e0400080064010600800000000014");
    assert_eq!((far.said().len(), far.seen.warnings.len()), (0, 1));
    // It is open; since when is not known.
    far.get(&frame(4, 3, &tagless(1, 20))).unwrap();
    assert_eq!(far.said(), ["128-14000-1623864600000 started 1 - -"]);
}

#[test]
fn what_happened_while_away() {
    let mut far = Far::quiet();
    far.get(&frame(0, 0, &double(1, 5))).unwrap();
    far.get(&frame(1, 0, &double(2, 6))).unwrap();
    far.said();
    // Away, and the hub started anew; it opens, and the interrogation tells.
    let mut far = Far::started(json!({ "interrogate": false }), far.store);
    far.get(&frame(0, 0, &tagless(1, 20))).unwrap();
    assert_eq!(far.said(), ["128-14000-1623864600000 started 1 - -"]);
    // Told again: no news. The event itself comes from the station's buffer: now it is known when.
    far.get(&frame(1, 0, &tagless(1, 20))).unwrap();
    far.get(&frame(2, 0, &double(1, 20))).unwrap();
    far.get(&frame(3, 0, &double(1, 20))).unwrap();
    assert_eq!(far.said(), ["128-14000-1623864600000 updated 2 20:20:57 -"]);
    // Restored while away; the same in the other direction.
    let mut far = Far::started(json!({ "interrogate": false }), far.store);
    far.get(&frame(0, 0, &tagless(2, 20))).unwrap();
    far.get(&frame(1, 0, &double(2, 25))).unwrap();
    assert_eq!(
        far.said(),
        ["128-14000-1623864600000 restored 3 20:20:57 -", "128-14000-1623864600000 restored 4 20:20:57 20:25:57"]
    );
    // A tag after the interrogation is no tag of what it told.
    far.get(&frame(2, 0, &double(2, 31))).unwrap();
    assert_eq!(far.said(), [""; 0]);
}

#[test]
fn other_points() {
    let mut far = Far::quiet();
    // Single with CP24 (type 2): on means open there; 20:29.
    far.get(&frame(0, 0, &[2, 1, 3, 0, 2, 0, 5, 0, 0, 1, 0, 0, 29])).unwrap();
    assert_eq!(far.said(), ["2-5-1623864540000 started 1 20:29:00 -"]);
    // In a row: 14000 open and the tie closed, then open: the tie is no outage.
    far.get(&frame(1, 0, &[1, 0x82, 20, 0, 128, 0, 0xb0, 0x36, 0, 0, 1])).unwrap();
    far.get(&frame(2, 0, &[1, 1, 3, 0, 128, 0, 0xb1, 0x36, 0, 0])).unwrap();
    assert_eq!(far.said(), ["128-14000-1623864600000 started 1 - -"]);
    // A time that is invalid, or of a clock that was never set, is none.
    far.get(&frame(3, 0, &[&[30, 1, 3, 0, 2, 0, 5, 0, 0, 0][..], &[0, 0, 0x81, 20, 16, 6, 21]].concat())).unwrap();
    far.get(&frame(4, 0, &[&[30, 1, 3, 0, 2, 0, 5, 0, 0, 1][..], &[0, 0, 1, 0, 1, 1, 0]].concat())).unwrap();
    assert_eq!(
        far.said(),
        ["2-5-1623864540000 restored 2 20:29:00 20:30:00", "2-5-1623864600000 started 1 20:30:00 -"]
    );
    assert_eq!(far.seen.warnings, [""; 0]);
    // Unknown types, commands, unknown points: acknowledged, warned of once.
    let more = [
        &[200, 1, 3, 0][..],
        &[46, 1, 6, 0, 2, 0, 5, 0, 0, 1],
        &[9, 1, 3, 0, 2, 0, 5, 0, 0, 1, 1, 0],
        &[1, 1, 3, 0, 2, 0, 6, 0, 0, 1],
    ];
    for (send, asdu) in (5..).zip(more.iter().chain(&more)) {
        let asdu = if asdu.len() == 4 { [*asdu, &[0, 0]].concat() } else { asdu.to_vec() };
        far.get(&frame(send, 0, &asdu)).unwrap();
    }
    assert_eq!((far.said().len(), far.seen.warnings.len()), (0, 3));
    far.scada.disconnected(&mut far.seen);
    let summary = "ignored in this connection: 2 commands, 2 measured or other values, 2 of an unknown type, \
                   2 of points that the settings do not name";
    assert_eq!(far.seen.warnings[3], summary);
}

#[test]
fn counters_are_readings() {
    let mut far = Far::quiet();
    let tag = [0xaf, 0xe1, 10, 20, 0x70, 6, 21];
    let counter = |count: i32, quality: u8, tag: [u8; 7]| {
        [&[37, 1, 3, 0, 128, 0, 0x2c, 1, 0][..], &count.to_le_bytes(), &[quality], &tag].concat()
    };
    far.get(&frame(0, 0, &counter(1_234_567, 0x25, tag))).unwrap();
    let draft = far.seen.drafts.remove(0);
    let expected = json!({ "meteringPoint": "TU-9", "meter": { "serialNumber": "0042" }, "takenOn": "2021-06-16",
        "takenAt": "2021-06-16T20:10:57+03:00", "origin": "ami", "registers": [{ "register": "1.8.0", "tariffZone": "total",
        "quantity": "active-energy-forward", "unit": "kWh", "value": "12345.67" }] });
    assert_eq!(serde_json::from_str::<Value>(&draft.data).unwrap(), expected);
    far.get(&frame(1, 0, &counter(1, 0x80, tag))).unwrap();
    far.get(&frame(2, 0, &counter(-1, 0, tag))).unwrap();
    far.get(&frame(3, 0, &counter(1, 0, [0, 0, 0x80, 0, 0, 0, 0]))).unwrap();
    assert_eq!((far.seen.drafts.len(), far.seen.warnings.len()), (0, 1));
}

#[test]
fn a_flood_is_said_in_parts() {
    let points: Vec<Value> = (0..4000).map(|n| json!({ "station": 1, "object": n, "id": n.to_string() })).collect();
    let mut far = Far::started(json!({ "points": points, "interrogate": false }), MapStore::default());
    let mut input = Vec::new();
    for send in 0..20_u16 {
        let [low, high] = (send * 120).to_le_bytes();
        input.extend(frame(send, 0, &[&[1, 0x80 | 120, 20, 0, 1, 0, low, high, 0][..], &[0; 120]].concat()));
    }
    let mut counts = Vec::new();
    let mut step = far.get(&input).unwrap();
    while step.timer_ms == Some(1) {
        counts.push(far.said().len());
        step = far.timer(0).unwrap();
    }
    counts.push(far.said().len());
    assert_eq!(counts, [600, 600, 600, 600, 0]);
    assert!(far.store.0.values().all(|value| value.len() < 64 << 10));
}

#[test]
fn more_than_can_be_said_is_no_memory() {
    let frames: Vec<u8> = (0..70_000_u32).flat_map(|n| frame((n % 0x8000) as u16, 0, &tagless(2, 3))).collect();
    assert_eq!(Far::quiet().refused(&frames), "too-much frame 2");
    let mut far = Far::quiet();
    // In parts it is taken, and the numbers begin anew at 0.
    frames.chunks(4096).for_each(|part| drop(far.get(part).unwrap()));
}

#[test]
fn cut_anywhere_it_says_the_same() {
    let trace: Vec<u8> = [
        bytes(STARTED),
        frame(0, 0, &[70, 1, 4, 0, 128, 0, 0, 0, 0, 0]),
        bytes("680443000000"),
        frame(1, 0, &double(1, 10)),
        bytes("680401000000"),
        frame(2, 0, &double(2, 12)),
        vec![0x68, 0],
    ]
    .concat();
    let run = |cuts: &[&[u8]]| {
        let mut far = Far::new(json!({}), MapStore::default());
        let mut sent = hex(&far.connect());
        let mut refused = String::new();
        for part in cuts {
            match far.get(part) {
                Ok(step) => sent += &hex(&step),
                Err(Failure::Rejected(rejection)) => refused = rejection.code,
                Err(other) => panic!("{other:?}"),
            }
        }
        if refused.is_empty() {
            let Err(Failure::Rejected(rejection)) = far.timer(0) else { panic!("no failure") };
            refused = rejection.code;
        }
        (far.said(), sent, refused)
    };
    let whole = run(&[&trace]);
    assert_eq!((whole.0.len(), whole.1.matches("640106").count()), (2, 3));
    for at in 0..trace.len() {
        let (first, second) = trace.split_at(at);
        assert_eq!(run(&[first, second]), whole, "cut at {at}");
    }
}

#[test]
fn mutations_never_trap() {
    let seed =
        [bytes(STARTED), frame(0, 2, &double(1, 10)), frame(1, 2, &tagless(2, 20)), frame(2, 2, &[70, 1, 4, 0, 2, 0])]
            .concat();
    for input in mutations::of(&seed, 5000) {
        let mut far = Far::new(json!({}), MapStore::default());
        far.connect();
        let _ = far.get(&input);
        let _ = far.timer(3);
    }
}

/// A station tags what an interrogation asks for with the present moment; its buffer tells afterwards when it was.
#[test]
fn only_an_event_has_the_time_of_its_tag() {
    for cause in [1_u8, 2, 5, 20, 36] {
        let mut far = Far::quiet();
        let told = [&[31, 1, cause, 0, 128, 0, 0xb0, 0x36, 0, 1][..], &[0xaf, 0xe1, 29, 20, 0x70, 6, 21]].concat();
        far.get(&frame(0, 0, &told)).unwrap();
        far.get(&frame(1, 0, &double(1, 10))).unwrap();
        far.get(&frame(2, 0, &double(2, 18))).unwrap();
        let id = format!("128-14000-{NOW}");
        assert_eq!(
            far.said(),
            [
                format!("{id} started 1 - -"),
                format!("{id} updated 2 20:10:57 -"),
                format!("{id} restored 3 20:10:57 20:18:57")
            ],
            "cause {cause}"
        );
    }
}

#[test]
fn causes_that_a_point_or_a_counter_has_not_tell_nothing() {
    for cause in 0..64_u8 {
        let mut far = Far::quiet();
        far.get(&frame(0, 0, &tagless(1, cause))).unwrap();
        let count = [&[37, 1, cause, 0, 128, 0, 44, 1, 0, 1, 0, 0, 0, 0][..], &[0xaf, 0xe1, 29, 20, 0x70, 6, 21]];
        far.get(&frame(1, 0, &count.concat())).unwrap();
        let of_a_point = matches!(cause, 1 | 2 | 3 | 5 | 11 | 12 | 20..=36);
        let of_a_counter = matches!(cause, 3 | 37..=41);
        let expected = usize::from(of_a_point) + usize::from(of_a_counter);
        assert_eq!(far.seen.drafts.len(), expected, "cause {cause}");
        assert_eq!(far.seen.warnings.len(), 2 - expected, "cause {cause}: {:?}", far.seen.warnings);
    }
}

/// 60870-5-101, 7.2.6.1 to 7.2.6.3: IV 80, NT 40, SB 20, BL 10; double points 00 between, 01 off, 10 on, 11 faulty.
#[test]
fn only_what_is_vouched_for_and_definite_is_believed() {
    for (quality, is_believed) in
        [(0x01, true), (0x81, false), (0x41, false), (0x21, false), (0x11, false), (0x00, false), (0x03, false)]
    {
        let mut far = Far::quiet();
        far.get(&frame(0, 0, &double(quality, 10))).unwrap();
        assert_eq!(far.seen.drafts.len(), usize::from(is_believed), "{quality:02x}");
        // Its tag is no more believed than it is.
        far.get(&frame(1, 0, &double(1, 9))).unwrap();
        assert_eq!(far.seen.drafts.len(), 1, "{quality:02x}");
    }
}

#[test]
fn a_station_that_begins_at_another_number() {
    let mut far = Far::quiet();
    let Failure::Rejected(refused) = far.get(&frame(1, 0, &double(1, 10))).unwrap_err() else { panic!() };
    assert_eq!(refused.code, "bad-sequence");
    assert!(refused.reason.starts_with("cannot talk to it: "), "{}", refused.reason);
    let mut far = Far::started(json!({ "interrogate": false, "any-first-number": true }), MapStore::default());
    far.get(&frame(1, 0, &double(1, 10))).unwrap();
    far.get(&frame(2, 0, &double(2, 18))).unwrap();
    assert_eq!(far.said().len(), 2);
    // N(R) is what comes next: 3.
    assert_eq!(hex(&far.timer(10).unwrap()), "680401000600");
    assert_eq!(far.refused(&frame(4, 0, &double(1, 19))), "bad-sequence frame 4, type 31");
    // The next connection counts anew.
    far.connect();
    far.get(&bytes(STARTED)).unwrap();
    far.get(&frame(0, 0, &double(1, 20))).unwrap();
}

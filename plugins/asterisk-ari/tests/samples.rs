//! The genuine events, each in a frame after an opening, cut at every byte. The samples are not part of the project; without them the test says so and
//! passes.

#![allow(clippy::unwrap_used)]

use asterisk_ari::session::Ari;
use busbar_sdk::exchange::session::Protocol;
use busbar_sdk::{Draft, TestHub};
use serde_json::{Value, json};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/contact_centre/asterisk_ari/");
/// 2016-02-04T22:25:01+03:00.
const NOW: u64 = 1_454_613_901_000;
const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";

fn said(parts: &[&[u8]]) -> Vec<(String, Value)> {
    let mut far = TestHub { now_ms: NOW, hash: |_| vec![0; 20], ..TestHub::default() };
    let settings = json!({ "calls": { "inbound": ["default"] } });
    let mut ari = Ari::new(serde_json::from_value(settings).unwrap(), &mut far).unwrap();
    ari.connected(&mut far).unwrap();
    for part in parts {
        ari.bytes(part, &mut far).unwrap();
    }
    let data = |draft: &Draft| serde_json::from_str(&draft.data).unwrap();
    far.drafts.iter().map(|draft| (draft.type_.clone(), data(draft))).collect()
}

#[test]
fn a_call_of_them() {
    let mut trace = HEAD.to_vec();
    for name in ["StasisStart", "StasisEnd", "ChannelDestroyed"] {
        let Ok(event) = std::fs::read(format!("{SAMPLES}{name}.json")) else {
            println!("skipped: no sample {name}");
            return;
        };
        trace.extend([0x81, 126]);
        trace.extend(u16::try_from(event.len()).unwrap().to_be_bytes());
        trace.extend(event);
    }
    // They are of three calls with one id; the caller's number and the extension are words.
    let started = json!({ "id": "chan-1", "direction": "inbound", "startedAt": "2016-02-04T22:25:00+03:00" });
    let ended = json!({ "id": "chan-1", "direction": "inbound", "startedAt": "2016-02-04T22:25:00+03:00",
        "endedAt": "2016-02-04T23:10:22+03:00", "waitSeconds": 2722, "outcome": "abandoned" });
    let expected = [("call.started.v1".to_owned(), started), ("call.ended.v1".to_owned(), ended)];
    assert_eq!(said(&[&trace]), expected);
    for cut in 0..trace.len() {
        let (one, other) = trace.split_at(cut);
        assert_eq!(said(&[one, other]), expected, "{cut}");
    }
}

//! The genuine events, each in a frame after an opening, cut at every byte. The samples are not part of the project; without them the test says so and
//! passes.

#![allow(clippy::unwrap_used)]

use asterisk_ari::session::{Ari, Host};
use asterisk_ari::settings::Link;
use busbar_sdk::calls::Hub;
use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Draft, Message, Seen, Sink};
use serde_json::{Value, json};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/contact_centre/asterisk_ari/");
/// 2016-02-04T22:25:01+03:00.
const NOW: u64 = 1_454_613_901_000;
const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";

#[derive(Default)]
struct Far(Seen);

impl Sink for Far {
    fn emit(&mut self, draft: Draft) {
        self.0.emit(draft);
    }

    fn warn(&mut self, text: &str) {
        self.0.warn(text);
    }

    fn leave_out(&mut self, entry: busbar_sdk::Rejection) {
        self.0.leave_out(entry);
    }
}

impl Hub for Far {
    fn ask(&mut self, _question: &Draft, _deadline_ms: u32) -> Result<Message, String> {
        Err("nobody answers".to_owned())
    }

    fn is_known(&mut self, _id: &str) -> bool {
        false
    }
}

impl Host for Far {
    fn random(&mut self, _bytes: u32) -> Vec<u8> {
        vec![0; 16]
    }

    fn sha1(&mut self, _text: &str) -> Result<Vec<u8>, String> {
        Ok(vec![0; 20])
    }

    fn request(&mut self, _link: &Link, _method: &str, _rest: &str, _body: Vec<u8>) -> Result<Response, HttpError> {
        Err(HttpError::Unreachable("nobody".to_owned()))
    }
}

fn said(parts: &[&[u8]]) -> Vec<(String, Value)> {
    let (mut far, mut store) = (Far::default(), MapStore::default());
    let settings = json!({ "calls": { "inbound": ["default"] } });
    let mut ari = Ari::new(serde_json::from_value(settings).unwrap(), &mut far, &mut store).unwrap();
    ari.connected(NOW, &mut far).unwrap();
    for part in parts {
        ari.bytes(part, NOW, &mut far, &mut store).unwrap();
    }
    let data = |draft: &Draft| serde_json::from_str(&draft.data).unwrap();
    far.0.drafts.iter().map(|draft| (draft.type_.clone(), data(draft))).collect()
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

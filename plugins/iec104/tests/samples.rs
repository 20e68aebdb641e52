//! The genuine traces: what the stations sent, connection by connection, as it came and cut in two at every byte. Numbers of
//! sequence are put in anew, as here other frames are sent than the recorded master's. The samples are not part of the project;
//! without them the test says so and passes.

#![allow(clippy::unwrap_used)]

use busbar_sdk::memory::MapStore;
use busbar_sdk::{TestHub, dates};
use iec104::asdu::{Asdu, Meaning, meaning};
use iec104::session::Scada;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/scada_outage/iec60870_5_104/");
const STARTED: [u8; 6] = [0x68, 4, 0x0b, 0, 0, 0];

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect()
}

/// The ASDUs of the far end's I frames.
fn asdus(name: &str) -> Option<Vec<Vec<u8>>> {
    let Ok(text) = std::fs::read_to_string(format!("{SAMPLES}{name}")) else {
        println!("skipped: no sample {name}");
        return None;
    };
    let mut asdus = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("master->rtu")) {
        let frame = bytes(line.split('\t').next_back().unwrap());
        if frame.len() > 6 {
            asdus.push(frame[6..].to_vec());
        }
    }
    Some(asdus)
}

fn renumbered(asdus: &[Vec<u8>]) -> Vec<u8> {
    let frame = |(send, asdu): (u16, &Vec<u8>)| {
        let mut frame = vec![0x68, u8::try_from(asdu.len() + 4).unwrap()];
        frame.extend((send << 1).to_le_bytes());
        frame.extend([0, 0]);
        frame.extend(asdu);
        frame
    };
    STARTED.into_iter().chain((0..).zip(asdus).flat_map(frame)).collect()
}

/// Every point of the traces, so that nothing is ignored.
fn points(asdus: &[Vec<u8>]) -> Vec<Value> {
    let mut found = BTreeSet::new();
    for bytes in asdus {
        let asdu = Asdu::parse(bytes, "").unwrap();
        if let Meaning::Single(size) | Meaning::Double(size) = meaning(asdu.kind) {
            found.extend(asdu.objects(size, "").unwrap().iter().map(|(address, _)| (asdu.station, *address)));
        }
    }
    found.iter().map(|(station, object)| json!({ "station": station, "object": object, "id": "x" })).collect()
}

/// The statuses of each point.
fn said(points: &[Value], now_ms: u64, parts: &[&[u8]]) -> Vec<String> {
    let settings = json!({ "points": points, "interrogate": false, "utc-offset": "+00:00" });
    let (mut seen, mut store) = (TestHub::default(), MapStore::default());
    let mut scada = Scada::new(serde_json::from_value(settings).unwrap(), &mut store).unwrap();
    scada.connected(now_ms, &mut seen, &mut store).unwrap();
    for part in parts {
        scada.bytes(part, now_ms, &mut seen, &mut store).unwrap();
    }
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for draft in seen.drafts {
        let data: Value = serde_json::from_str(&draft.data).unwrap();
        let statuses = said.entry(draft.place.unwrap().replace("point ", "")).or_default();
        *statuses += &format!(" {}", data["status"].as_str().unwrap());
        // Only what has a tag has its time.
        if let Some(at) = data["startedAt"].as_str().filter(|_| data["status"] == "started") {
            *statuses += &format!("({})", &at[..16]);
        }
    }
    said.into_iter().map(|(point, statuses)| point + &statuses).collect()
}

#[test]
fn all_of_them() {
    let javarmi: Vec<String> = (10010..=10019)
        .filter(|point| *point != 10011)
        .chain([15000])
        .map(|point| format!("37133/{point} started"))
        .collect();
    let javarmi = javarmi.join("\n");
    for (name, now, expected) in [
        // All tags are of one moment: 3/2 opens without a tag, then twice with one; 3/1 twice.
        (
            "iti_090813_diverse.apdu.hex.txt",
            "2009-08-13T17:00:00Z",
            "3/1 started(2009-08-13T16:41) restored started(2009-08-13T16:41)\n\
             3/2 started restored started(2009-08-13T16:41) restored started(2009-08-13T16:41) restored",
        ),
        // 10011 is marked invalid each time.
        ("iti_javarmi_and_iec_misc.apdu.hex.txt", "2013-08-09T20:00:00Z", &javarmi),
        // All are off by an interrogation, whose tags are no times of events.
        // Points 1 to 4 and 11 to 14 are off, of which 2, 13, 14 are switched on; double points are between their positions.
        (
            "zeek_first.apdu.hex.txt",
            "2013-07-04T09:00:00Z",
            "10/1 started\n10/11 started\n10/12 started\n10/13 started restored\n10/14 started restored\n10/2 started restored\n10/3 started\n10/4 started",
        ),
        ("tritaer_telegrams.hex.txt", "2021-06-16T21:00:00Z", "115/507 started\n115/5348 started"),
    ] {
        let Some(asdus) = asdus(name) else { return };
        let points = points(&asdus);
        let trace = renumbered(&asdus);
        let now_ms = u64::try_from(dates::unix_ms(now, dates::Offset::MOSCOW).unwrap()).unwrap();
        assert_eq!(said(&points, now_ms, &[&trace]), expected.lines().collect::<Vec<_>>(), "{name}");
        for cut in 0..trace.len() {
            let (first, second) = trace.split_at(cut);
            assert_eq!(said(&points, now_ms, &[first, second]), expected.lines().collect::<Vec<_>>(), "{name}, {cut}");
        }
    }
}

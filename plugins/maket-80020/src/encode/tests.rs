use busbar_sdk::{Draft, TestHub};
use serde_json::{Value, json};

use super::*;
use crate::mapping::tests::{decode_with, message, periods, point};

fn settings() -> Settings {
    serde_json::from_value(json!({
        "sender": {"inn": "5000000017", "name": "ООО «Заречье»"},
        "area": {"inn": "5000000100", "name": "Заречье", "timezone": "1"},
        "names": {"500001090000101": "ПС «Заречная»"},
    }))
    .unwrap()
}

fn stated(draft: &Draft) -> Message {
    Message {
        subject: draft.subject.clone(),
        time: draft.time.clone(),
        ..busbar_sdk::test_hub::message("/systems/x", &draft.id, &draft.type_, &*draft.data)
    }
}

fn measured(data: Value) -> Message {
    stated(&busbar_sdk::draft("1", "interval.consumption.measured.v1", data.to_string()))
}

fn written(settings: &Settings, messages: &[Message]) -> (String, Vec<u8>) {
    let mut file = Vec::new();
    let name = encode(settings, messages, |bytes| file.extend_from_slice(bytes)).unwrap();
    (name, file)
}

fn decoded(settings: &Settings, bytes: &[u8]) -> TestHub {
    let (result, seen) = decode_with(settings, "f", bytes);
    assert!(result.is_ok(), "{result:?}");
    seen
}

fn refused(settings: &Settings, message: Message) -> (String, String) {
    match encode(settings, &[message], |_| {}) {
        Err(Failure::Rejected(rejection)) => (rejection.code, rejection.place.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_decoded_is_written_the_same() {
    let flow = periods(60)
        .replace("<value>3</value>", "<value status=\"1\"/>")
        .replace("<value>4<", "<value status=\"1\">-4<");
    let points = point("500001090000101", "01", &periods(30))
        + &point("500001090000102", "04", &periods(60))
        + &format!("<deliverygroup name=\"ТЭЦ\" code=\"GZARECH1\">{flow}</deliverygroup>")
        + &format!("<peretok name=\"А\" codefrom=\"PZARECHE\" codeto=\"PZARECH1\">{flow}</peretok>");
    let first = decoded(&settings(), message("817", &points).as_bytes());
    let messages: Vec<_> = first.drafts.iter().map(stated).collect();
    let (name, file) = written(&settings(), &messages);
    assert_eq!(name, "80020_5000000017_20261119_817_5000000100.xml");
    let again = decoded(&settings(), &file);
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    let facts = |seen: &TestHub| {
        seen.drafts.iter().map(|draft| (draft.id.clone(), draft.time.clone(), draft.data.clone())).collect::<Vec<_>>()
    };
    assert_eq!(facts(&first), facts(&again));
    let text = Encoding::Windows1251.decode(&file).into_owned();
    assert!(text.contains("<measuringpoint code=\"500001090000101\" name=\"ПС «Заречная»\">"), "{text}");
    assert_eq!(written(&settings(), &messages), (name, file));
}

#[test]
fn several_documents_are_an_archive() {
    let settings = Settings { receipts: true, ..settings() };
    let text = message("817", &point("500001090000101", "01", &periods(30)));
    let mut drafts = decoded(&settings, text.as_bytes()).drafts;
    drafts.extend(decoded(&settings, text.replace("\"817\"", "\"818\"").as_bytes()).drafts);
    drafts.extend(decoded(&settings, b"no xml").drafts);
    let messages: Vec<_> = drafts.iter().map(stated).collect();
    let (name, file) = written(&settings, &messages);
    assert!(name.starts_with("80020_5000000017_") && name.ends_with(".zip"), "{name}");
    let mut names = Vec::new();
    let mut texts = Vec::new();
    zip::each_file(&file, |file| {
        names.push(file.name.clone());
        texts.push(Encoding::Windows1251.decode(&file.read(1 << 20)).into_owned());
        Ok(())
    })
    .unwrap();
    assert_eq!(
        names,
        [
            "60091_5000000017_80020_5000000017_20261119_817.xml",
            "60091_5000000017_80020_5000000017_20261119_818.xml",
            "60091_5000000017_f.xml",
            "80020_5000000017_20261119_817_5000000100.xml",
            "80020_5000000017_20261119_818_5000000100.xml",
        ]
    );
    assert!(texts[0].contains("<message class=\"60091\" version=\"1\" number=\"817\">"), "{}", texts[0]);
    assert!(texts[0].contains("<status code=\"0\" document=\"80020_5000000017_20261119_817\"/>"), "{}", texts[0]);
    assert!(texts[2].contains("<status code=\"4\" document=\"f\">"), "{}", texts[2]);
}

#[test]
fn codes_of_receipts() {
    for (status, reason, code) in [
        ("registered", None, "0"),
        ("registered", Some("non-commercial-data"), "1"),
        ("refused", Some("unknown-channel"), "2"),
        ("refused", Some("missing-period"), "3"),
        ("refused", Some("not-xml"), "4"),
        ("refused", Some("truncated"), "4"),
        ("refused", Some("xml-dtd"), "4"),
    ] {
        let reason = reason.map(|code| json!({"code": code}));
        let data =
            json!({"document": {"id": "d"}, "status": status, "reason": reason, "changedAt": "2026-11-20T09:00:00Z"});
        let message = Message { type_: "document.status.changed.v1".into(), ..measured(data) };
        let (name, file) = written(&settings(), &[message]);
        let text = Encoding::Windows1251.decode(&file).into_owned();
        assert!(text.contains(&format!("code=\"{code}\"")) && text.contains("20261120120000"), "{text}");
        assert_eq!(name, "60091_5000000017_d.xml");
    }
}

fn least() -> Value {
    json!({
        "meteringPoint": "TU-1", "quantity": "active-energy-forward", "unit": "kWh", "interval": "PT1H", "revision": 1,
        "values": [
            {"startAt": "2026-11-18T22:00:00Z", "value": "1.4"},
            {"startAt": "2026-11-18T23:00:00Z", "value": "1.4", "quality": "estimated"},
            {"startAt": "2026-11-19T01:00:00Z", "value": "0.2"},
        ],
    })
}

#[test]
fn gaps_are_not_measured_and_fractions_are_carried() {
    let carry = Settings { rounding: Rounding::Carry, ..settings() };
    let (name, file) = written(&carry, &[measured(least())]);
    assert_eq!(name, "80020_5000000017_20261119_1_5000000100.xml");
    let seen = decoded(&carry, &file);
    let data: Value = serde_json::from_str(&seen.drafts[0].data).unwrap();
    let shown: Vec<_> = (0..6)
        .map(|index| &data["values"][index])
        .map(|value| (value["value"].as_str().unwrap_or("-"), value["quality"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        shown,
        [("-", "missing"), ("1", ""), ("2", "non-commercial"), ("-", "missing"), ("0", ""), ("-", "missing")]
    );
    assert_eq!(data["values"].as_array().unwrap().len(), 24);
}

#[test]
fn what_cannot_be_written() {
    let with = |pointer: &str, value: Value| {
        let mut data = least();
        *data.pointer_mut(pointer).unwrap() = value;
        measured(data)
    };
    let whole = json!([{"startAt": "2026-11-18T22:00:00Z", "value": "1"}]);
    let start = |start: &str| json!([{"startAt": start, "value": "1"}]);
    let twice = json!([{"startAt": "2026-11-18T22:00:00Z"}, {"startAt": "2026-11-19T01:00:00+03:00"}]);
    for (message, code, place) in [
        (with("/quantity", json!("active-power")), "no-such-channel", "/0/data/quantity"),
        (with("/unit", json!("kvarh")), "bad-unit", "/0/data/unit"),
        (with("/revision", Value::Null), "no-revision", "/0/data/revision"),
        (with("/interval", json!("P1D")), "bad-interval", "/0/data/interval"),
        (with("/values/0/value", json!("1")), "not-whole", "/0/data/values/1/value"),
        (with("/values", start("2026-11-18T22:10:00Z")), "outside-the-day", "/0/data/values/0/startAt"),
        (with("/values", start("2026-11-18T22:00:00")), "bad-date", "/0/data/measuredOn"),
        (with("/values", twice), "repeated-period", "/0/data/values/1/startAt"),
        (Message { type_: "call.ended.v1".into(), ..with("/values", whole.clone()) }, "unexpected-type", "/0"),
        (with("/values", json!(1)), "unreadable-data", "/0/data"),
    ] {
        assert_eq!(refused(&settings(), message), (code.to_owned(), place.to_owned()));
    }
    let message = with("/values", whole);
    let twice = encode(&settings(), &[message.clone(), message.clone()], |_| {});
    assert!(matches!(twice, Err(Failure::Rejected(rejection)) if rejection.code == "repeated-channel"));
    assert_eq!(refused(&Settings::default(), message.clone()).0, "bad-config");
    assert_eq!(refused(&Settings { area: None, ..settings() }, message).1, "config, area");
    assert!(
        matches!(encode(&settings(), &[], |_| {}), Err(Failure::Rejected(rejection)) if rejection.code == "no-data")
    );
}

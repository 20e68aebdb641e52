use busbar_sdk::{Failure, Message, TestHub, mutations};

use super::*;
use crate::encode::encode;

fn decoded(bytes: &[u8]) -> Result<Vec<Draft>, Rejection> {
    let mut rest = bytes;
    let read = |max: u32| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    };
    let mut seen = TestHub::default();
    decode(&Settings::default(), read, &mut seen).map(|()| seen.drafts)
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

const UID: &str = "6f1c2a9e-0d2b-4c53-9a4e-1f0a7b5c3d21";

fn settings(address: &str) -> Settings {
    Settings {
        sender_uid: "11111111-2222-3333-4444-555555555555".into(),
        sender_name: "АО «Заречные сети»".into(),
        signatory_person: "Ильина О. С.".into(),
        envelope_address: address.into(),
        ..Settings::default()
    }
}

pub fn message(r#type: &str, data: Value) -> Message {
    Message {
        time: Some("2026-11-20T10:00:00+03:00".into()),
        ..busbar_sdk::test_hub::message("/systems/crm", "m-1", r#type, data.to_string())
    }
}

fn letter() -> Value {
    json!({
        "document": {"id": UID, "number": "11/4-118", "kind": "letter", "issuedOn": "2026-11-19"},
        "title": "О начале <отопительного> периода & плане",
        "recipient": {"name": "Администрация города Заречный"},
        "files": [{"name": "письмо.pdf"}, {"name": "план.xlsx"}],
        "inAnswerTo": {"number": "02-17", "issuedOn": "2026-11-02"},
    })
}

fn refusal() -> Value {
    json!({
        "document": {"id": UID, "number": "11/4-118", "issuedOn": "2026-11-19"}, "status": "refused",
        "reason": {"code": "not-ours", "text": "Не к нам"}, "changedAt": "2026-11-21T09:12:00+03:00",
    })
}

fn registration() -> Value {
    json!({
        "document": {"id": UID}, "status": "registered", "registration": {"number": "02-3301", "issuedOn": "2026-11-21"},
        "changedAt": "2026-11-21T09:12:00Z",
    })
}

fn encoded(settings: &Settings, messages: &[Message]) -> Result<(String, Vec<u8>), Failure> {
    let mut file = Vec::new();
    encode(settings, messages, |bytes| file.extend_from_slice(bytes)).map(|name| (name, file))
}

#[test]
fn what_is_written_is_read_again() {
    let (name, file) = encoded(&settings(""), &[message("document.issued.v1", letter())]).unwrap();
    assert_eq!(name, format!("{UID}.xml"));
    let mut expected = letter();
    expected["sender"] = json!({"name": "АО «Заречные сети»"});
    expected["files"][0]["mediaType"] = json!("application/pdf");
    let drafts = decoded(&file).unwrap();
    assert_eq!((data(&drafts[0]), drafts[0].time.as_deref()), (expected, Some("2026-11-20T10:00:00+03:00")));
    for (sent, status) in [(refusal(), "refused"), (registration(), "registered")] {
        let (_, file) = encoded(&settings(""), &[message("document.status.changed.v1", sent.clone())]).unwrap();
        let read = data(&decoded(&file).unwrap()[0]);
        assert_eq!(
            (read["status"].as_str(), &read["document"], &read["registration"]),
            (Some(status), &sent["document"], &sent["registration"])
        );
    }
}

#[test]
fn an_archive_of_several_with_envelopes() {
    let messages = [message("document.issued.v1", letter()), message("document.status.changed.v1", refusal())];
    let (name, file) = encoded(&settings("GATE~CITY"), &messages).unwrap();
    assert_eq!(name, format!("{UID}.zip"));
    let mut names = Vec::new();
    zip::each_file(&file, |file| {
        names.push(file.name.rsplit_once('/').unwrap().1.to_owned());
        if file.name.ends_with("envelope.ini") && file.name.starts_with(UID) {
            let bytes = file.read(10_000);
            let text = busbar_sdk::encoding::decode(&bytes, busbar_sdk::encoding::Encoding::Utf8).0;
            assert!(
                text.contains("0=GATE~CITY\r\n[ФАЙЛЫ]\r\n0=document.xml\r\n1=письмо.pdf\r\n2=план.xlsx\r\n"),
                "{text}"
            );
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(names, ["document.xml", "envelope.ini", "document.xml", "envelope.ini"]);
    let types: Vec<_> = decoded(&file).unwrap().into_iter().map(|draft| draft.type_).collect();
    assert_eq!(types, ["document.issued.v1", "document.status.changed.v1"]);
}

#[test]
fn files_beside_the_message_are_measured() {
    let (_, xml) = encoded(&settings(""), &[message("document.issued.v1", letter())]).unwrap();
    let mut file = Vec::new();
    let files: [(&str, &[u8]); 3] = [("a/document.xml", &xml), ("a/письмо.pdf", b"abc"), ("a/данные.xml", b"<other/>")];
    zip::write_archive(files, |bytes| file.extend_from_slice(bytes)).unwrap();
    let drafts = decoded(&file).unwrap();
    let files = &data(&drafts[0])["files"];
    // printf abc | sha256sum
    assert_eq!(files[0]["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((files[0]["size"].as_u64(), files[1].get("size")), (Some(3), None));
}

#[test]
fn the_same_uid_is_the_same_fact() {
    let (_, xml) = encoded(&settings(""), &[message("document.issued.v1", letter())]).unwrap();
    let upper = String::from_utf8_lossy(&xml).replace(UID, &UID.to_uppercase());
    let (first, second) = (decoded(&xml).unwrap(), decoded(upper.as_bytes()).unwrap());
    assert_eq!((first.len(), &first[0].id), (1, &second[0].id));
}

fn code(result: Result<(String, Vec<u8>), Failure>) -> (String, String) {
    match result {
        Err(Failure::Rejected(rejection)) => (rejection.code, rejection.place.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let without = |pointer: &str, field: &str| {
        let mut data = letter();
        data.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
        data
    };
    let mut long = letter();
    long["document"]["number"] = json!("1".repeat(32));
    let mut named = refusal();
    named["document"]["id"] = json!("b7e0");
    let mut work = refusal();
    work["status"] = json!("in-work");
    let mut unnumbered = registration();
    unnumbered.as_object_mut().unwrap().remove("registration");
    let (issued, changed) = ("document.issued.v1", "document.status.changed.v1");
    for (r#type, data, code_expected, place) in [
        (issued, without("/document", "number"), "missing-field", "/1/data/document/number"),
        (issued, without("/document", "issuedOn"), "missing-field", "/1/data/document/issuedOn"),
        (issued, without("", "recipient"), "missing-field", "/1/data/recipient/name"),
        (issued, long, "bad-value", "/1/data/document/number"),
        (changed, named, "missing-field", "/1/data/document/id"),
        (changed, work, "unsupported-status", "/1/data/status"),
        (changed, unnumbered, "missing-field", "/1/data/registration/number"),
        ("invoice.issued.v1", json!({}), "unsupported-type", "/1"),
    ] {
        let messages = [message(issued, letter()), message(r#type, data)];
        assert_eq!(code(encoded(&settings(""), &messages)), (code_expected.into(), place.into()));
    }
    let nobody = Settings::default();
    assert_eq!(code(encoded(&nobody, &[message(issued, letter())])).0, "not-configured");
}

/// Whatever the bytes: an answer.
#[test]
fn mutations_never_trap() {
    let (_, xml) = encoded(&settings(""), &[message("document.issued.v1", letter())]).unwrap();
    let (_, archive) = encoded(&settings("G~C"), &[message("document.status.changed.v1", refusal())]).unwrap();
    for seed in [&xml, &archive] {
        for end in 0..seed.len() {
            assert!(decoded(&seed[..end]).is_err() || end + 2 > seed.len());
        }
        for bytes in mutations::of(seed, 3_000) {
            let _ = decoded(&bytes);
        }
    }
}

#[test]
fn hostile_xml_is_refused() {
    let communication = |inner: &str| format!("<communication version='2.6'><header/>{inner}</communication>");
    let many = communication(&"<x/>".repeat(30_000));
    let deep = communication(&"<x>".repeat(100));
    for (text, code) in [
        ("", "not-xml"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><communication/>", "xml-dtd"),
        ("<container/>", "not-this-format"),
        ("<communication version='1.0'/>", "unsupported-version"),
        ("<communication version='2.2'/>", "missing-field"),
        ("\u{FEFF}[ПИСЬМО КП ПС СЗИ]", "envelope-alone"),
        (many.as_str(), "xml-limit"),
        (deep.as_str(), "xml-limit"),
    ] {
        assert_eq!(decoded(text.as_bytes()).unwrap_err().code, code, "{text:.80}");
    }
}

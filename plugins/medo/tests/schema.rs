//! What is written is valid by the published XSD. The schema is not part of the project, and `xmllint` may be missing: then the
//! test says so and passes.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use busbar_sdk::{Message, parse_settings};
use medo::encode::encode;
use serde_json::{Value, json};

const XSD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/docflow/medo/xsd/IEDMS.xsd");

fn written(r#type: &str, data: &Value) -> Vec<u8> {
    let settings = json!({
        "sender-uid": "11111111-2222-3333-4444-555555555555", "sender-name": "АО «Сети»",
        "signatory-person": "Ильина О. С.", "signatory-post": "Директор",
    });
    let settings = parse_settings(&settings.to_string()).unwrap();
    let message = Message {
        time: Some("2026-11-20T10:00:00+03:00".into()),
        ..busbar_sdk::test_hub::message("/systems/crm", "m-1", r#type, data.to_string())
    };
    let mut file = Vec::new();
    encode(&settings, &[message], |bytes| file.extend_from_slice(bytes)).unwrap();
    file
}

#[test]
fn valid_by_the_schema() {
    if !std::path::Path::new(XSD).exists() {
        println!("skipped: no {XSD}");
        return;
    }
    let uid = "6f1c2a9e-0d2b-4c53-9a4e-1f0a7b5c3d21";
    let (issued, changed) = ("document.issued.v1", "document.status.changed.v1");
    let refused = json!({
        "document": {"id": uid, "number": "7", "issuedOn": "2026-11-19"}, "status": "refused",
        "reason": {"code": "not-ours", "text": "Не к нам"}, "changedAt": "2026-11-21T09:12:00.5+03:00",
    });
    let registered = json!({
        "document": {"id": uid}, "status": "registered", "registration": {"number": "02-3301"},
        "changedAt": "2026-11-21T09:12:00Z",
    });
    let whole = json!({
        "document": {"id": uid, "number": "11/4-118 ₽", "kind": "letter", "issuedOn": "2026-11-19"},
        "title": "О <плане> & прочем", "recipient": {"name": "Администрация\nгорода"},
        "files": [{"name": "письмо.pdf"}, {"name": "план.xlsx"}],
        "inAnswerTo": {"id": uid, "number": "02-17", "issuedOn": "2026-11-02"},
    });
    let least = json!({"document": {"number": "1", "issuedOn": "2026-11-19"}, "recipient": {"name": "Город"}});
    for (r#type, data) in [(issued, least), (issued, whole), (changed, refused), (changed, registered)] {
        let file = written(r#type, &data);
        let lint = Command::new("xmllint")
            .args(["--noout", "--schema", XSD, "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut lint) = lint else {
            println!("skipped: no xmllint");
            return;
        };
        lint.stdin.take().unwrap().write_all(&file).unwrap();
        let output = lint.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&file)
        );
    }
}

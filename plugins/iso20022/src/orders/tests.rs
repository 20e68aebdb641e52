use super::*;
use crate::settings::RawSettings;
use serde_json::{Value, json};

const SCHEMA: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/banks/iso20022/xsd/pain.001.001.09.xsd");

fn settings(config: &Value) -> Settings {
    let raw: RawSettings = serde_json::from_value(config.clone()).unwrap();
    Settings::compiled(raw).ok().unwrap()
}

fn order(number: &str, value: &str) -> Value {
    json!({
        "number": number, "issuedOn": "2026-11-20", "executeOn": "2026-11-21",
        "amount": { "value": value, "currency": "RUB" },
        "payer": {
            "name": "АО «Заречная энергосбытовая компания»", "taxId": "5000000025", "taxRegistrationCode": "500001001",
            "account": "40702810500000000042", "bic": "044000002", "correspondentAccount": "30101810000000000002",
        },
        "payee": {
            "name": "ИП Гусев & сын <1>", "taxId": "500000000123", "account": "40802810300000000051", "bic": "044000003",
            "correspondentAccount": "30101810000000000003",
        },
        "purpose": format!("Оплата услуг по договору № 7 {}", "за октябрь 2026 г., ".repeat(8)),
        "priority": "5", "paymentCode": "0",
    })
}

fn messages(all: &[Value]) -> Vec<Message> {
    let message = |(at, data): (usize, &Value)| {
        busbar_sdk::test_hub::message("/test/accounting", &at.to_string(), "payment.order.issued.v1", data.to_string())
    };
    all.iter().enumerate().map(message).collect()
}

fn written(config: &Value, messages: &[Message]) -> String {
    let mut bytes = Vec::new();
    file(messages).ok().unwrap().write(&settings(config), |chunk| bytes.extend_from_slice(chunk));
    String::from_utf8(bytes).unwrap()
}

fn refused(messages: &[Message]) -> (String, String) {
    match file(messages).err() {
        Some(Failure::Rejected(rejection)) => (rejection.code, rejection.place.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

/// Orders of all shapes: two days, two currencies, IBAN and SWIFT, a code, the least.
fn many() -> Vec<Message> {
    let mut later = order("420", "0.0001");
    later["executeOn"] = "2026-11-23".into();
    later["paymentCode"] = "18810192085432512980".into();
    let mut abroad = order("421", "1000000.5");
    abroad["amount"]["currency"] = "EUR".into();
    abroad["payee"]["account"] = "DE75512108001245126199".into();
    abroad["payee"]["bic"] = "DEUTDEFFXXX".into();
    let least = json!({
        "number": "1", "issuedOn": "2024-02-29", "amount": { "value": "0.01", "currency": "RUB" },
        "payer": { "account": "40702810500000000042", "bic": "044000002" },
        "payee": { "account": "40817810900000000017", "bic": "044000001" },
        "purpose": "Возврат",
    });
    let mut long = order("422", "5");
    long["payee"]["name"] = "Очень ".repeat(80).into();
    messages(&[order("418", "184500.00"), order("419", "15500.00"), later, abroad, least, long])
}

#[test]
fn orders_of_one_account_and_day_are_one_group() {
    let text = written(&json!({}), &many());
    assert_eq!(text.matches("<PmtInf>").count(), 3);
    assert_eq!(text.matches("<CdtTrfTxInf>").count(), 6);
    assert!(text.contains("<NbOfTxs>6</NbOfTxs>\n      <CtrlSum>1200005.5101</CtrlSum>"), "{text}");
    assert!(text.contains("<CreDtTm>2026-11-20T00:00:00</CreDtTm>"), "{text}");
    assert!(text.contains("<Nm>ИП Гусев &amp; сын &lt;1&gt;</Nm>"), "{text}");
    assert!(
        text.contains("<IBAN>DE75512108001245126199</IBAN>") && text.contains("<BICFI>DEUTDEFFXXX</BICFI>"),
        "{text}"
    );
    assert_eq!(text.matches("<Ref>").count(), 1);
    assert!(!text.contains("PmtTpInf"));
    assert_eq!(file(&many()).ok().unwrap().warnings.len(), 1);
    // The same orders make the same file.
    assert_eq!(text, written(&json!({}), &many()));
}

#[test]
fn the_file_is_valid_against_the_schema() {
    let is_there = std::process::Command::new("xmllint").arg("--version").output().is_ok();
    if !is_there || !std::path::Path::new(SCHEMA).exists() {
        println!("skipped: no xmllint, or no schema at {SCHEMA}");
        return;
    }
    for element in [None, Some("SvcLvl"), Some("LclInstrm"), Some("CtgyPurp")] {
        let config = element.map_or(json!({}), |element| json!({ "priority-element": element }));
        let path =
            std::env::temp_dir().join(format!("busbar-pain-{}-{}.xml", std::process::id(), element.unwrap_or("no")));
        std::fs::write(&path, written(&config, &many())).unwrap();
        let run = std::process::Command::new("xmllint")
            .args(["--noout", "--nonet", "--schema", SCHEMA])
            .arg(&path)
            .output()
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn an_order_that_cannot_be_written_is_named() {
    let with = |pointer: &str, value: Value| {
        let mut data = order("1", "1");
        *data.pointer_mut(pointer).unwrap() = value;
        messages(&[order("0", "1"), data])
    };
    for (messages, code, place) in [
        (with("/amount/value", "0.00".into()), "bad-amount", "/1/data/amount"),
        (with("/number", "1".repeat(36).into()), "field-too-long", "/1/data/number"),
        (with("/issuedOn", "2026-02-30".into()), "bad-date", "/1/data/issuedOn"),
        (with("/executeOn", "tomorrow".into()), "bad-date", "/1/data/executeOn"),
        (with("/payee/bic", "04400000X".into()), "bad-bic", "/1/data/payee/bic"),
        (with("/payer/bic", "".into()), "bad-bic", "/1/data/payer/bic"),
        (with("/payer", "".into()), "unreadable-data", "/1/data"),
        (
            vec![Message { type_: "payment.received.v1".into(), ..messages(&[json!({})]).remove(0) }],
            "wrong-type",
            "/0/type",
        ),
        (Vec::new(), "no-messages", ""),
    ] {
        assert_eq!(refused(&messages), (code.to_owned(), place.to_owned()));
    }
}

use super::*;
use crate::mapping;
use crate::settings::RawSettings;
use busbar_sdk::{TestHub, mutations};
use serde_json::{Value, json};

fn settings(config: &Value) -> Settings {
    let raw: RawSettings = serde_json::from_value(config.clone()).unwrap();
    Settings::compiled(raw).ok().unwrap()
}

fn order(number: &str, value: &str) -> Value {
    json!({
        "number": number, "issuedOn": "2026-11-20", "amount": { "value": value, "currency": "RUB" },
        "payer": {
            "name": "АО «Заречная энергосбытовая компания»", "taxId": "5000000025", "taxRegistrationCode": "500001001",
            "account": "40702810500000000042", "bic": "044000002", "correspondentAccount": "30101810000000000002",
        },
        "payee": { "name": "ИП Гусев", "taxId": "500000000123", "account": "40802810300000000051", "bic": "044000003" },
        "purpose": "Оплата по договору № 7\nКонецДокумента\r\nКонецФайла", "priority": "5", "paymentCode": "0",
    })
}

fn message(at: usize, data: &Value) -> Message {
    busbar_sdk::test_hub::message("/test/accounting", &at.to_string(), "payment.order.issued.v1", data.to_string())
}

fn messages(all: &[Value]) -> Vec<Message> {
    all.iter().enumerate().map(|(at, data)| message(at, data)).collect()
}

fn many() -> Vec<Message> {
    let mut other = order("419", "0.5");
    other["payer"]["account"] = "40702810900000000011".into();
    other["issuedOn"] = "2026-11-18".into();
    messages(&[order("418", "184500.00"), other, order("1", "999999999999999.99")])
}

fn written(file: &File, settings: &Settings) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.write(settings, |chunk| bytes.extend_from_slice(chunk));
    bytes
}

/// What the adapter's own `decode` makes of it.
fn read(bytes: &[u8], control: &str) -> (Option<String>, TestHub) {
    let mut rest = bytes;
    let mut lines = busbar_sdk::Lines::new(|max| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    });
    let mut seen = TestHub::default();
    let result = mapping::decode(&settings(&json!({ "control": control })), &mut lines, &mut seen);
    (result.err().map(|rejection| rejection.code), seen)
}

/// Documents counted as not executed, by the summaries.
fn pending(seen: &TestHub) -> u64 {
    let data = seen.drafts.iter().map(|draft| serde_json::from_str::<Value>(&draft.data).unwrap());
    data.map(|data| data["documents"]["pending"].as_u64().unwrap()).sum()
}

#[test]
fn its_own_decode_reads_every_order_as_not_executed() {
    let settings = settings(&json!({}));
    let file = file(&settings, &many()).ok().unwrap();
    let bytes = written(&file, &settings);
    // No money has moved: it is no statement, and without control each order is pending.
    assert_eq!(read(&bytes, "strict").0.as_deref(), Some("not-a-statement"));
    assert_eq!(read(&bytes, "balance").0.as_deref(), Some("not-a-statement"));
    let (failure, seen) = read(&bytes, "off");
    assert_eq!(failure, None);
    assert!(seen.drafts.iter().all(|draft| draft.type_ == "statement.imported.v1"));
    let accounts: Vec<_> = seen.drafts.iter().filter_map(|draft| draft.subject.as_deref()).collect();
    assert_eq!((accounts.as_slice(), pending(&seen)), (["40702810500000000042", "40702810900000000011"].as_slice(), 3));
    // Every key is known, the encoding is the declared one.
    assert!(seen.warnings.iter().all(|warning| warning.ends_with("was not executed by the bank, ignored")), "{seen:?}");
    // The same orders make the same file.
    assert_eq!(bytes, written(&super::file(&settings, &many()).ok().unwrap(), &settings));
}

/// A statement of the bank that carries the order back, executed: what was written is what is read.
#[test]
fn an_executed_order_is_debited_as_it_was_written() {
    let settings = settings(&json!({}));
    let bytes = written(&file(&settings, &many()[..1]).ok().unwrap(), &settings);
    let text = Encoding::Windows1251.decode(&bytes).into_owned();
    let section = "СекцияРасчСчет\nРасчСчет=40702810500000000042\nНачальныйОстаток=200000\nВсегоПоступило=0\n\
                   ВсегоСписано=184500.00\nКонечныйОстаток=15500.00\nКонецРасчСчет\nСекцияДокумент=";
    let statement =
        text.replace("СекцияДокумент=", section).replace("ВидОплаты=", "ДатаСписано=20.11.2026\nВидОплаты=");
    let (failure, seen) = read(statement.as_bytes(), "strict");
    assert_eq!(failure, None);
    let data: Value = serde_json::from_str(&seen.drafts[0].data).unwrap();
    assert_eq!(data["documents"]["outgoing"], 1);
}

#[test]
fn an_order_that_cannot_be_written_is_named() {
    let with = |pointer: &str, value: Value| {
        let mut data = order("1", "1");
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        data.pointer_mut(parent).unwrap()[key] = value;
        messages(&[order("0", "1"), data])
    };
    for (messages, code, place) in [
        (with("/amount/value", "0.00".into()), "bad-amount", "/1/data/amount"),
        (with("/amount/value", "1.001".into()), "bad-amount", "/1/data/amount"),
        (with("/amount/currency", "EUR".into()), "wrong-currency", "/1/data/payer/account"),
        (with("/payee/account", "40702978300000000051".into()), "wrong-currency", "/1/data/payee/account"),
        (with("/payee/account", "DE75512108001245126199".into()), "bad-account", "/1/data/payee/account"),
        (with("/payer/correspondentAccount", "1".into()), "bad-account", "/1/data/payer/correspondentAccount"),
        (with("/payee/bic", "DEUTDEFFXXX".into()), "bad-bic", "/1/data/payee/bic"),
        (with("/payee/name", Value::Null), "missing-field", "/1/data/payee/name"),
        (with("/payer/name", " \n".into()), "missing-field", "/1/data/payer/name"),
        (with("/purpose", "\u{a0}".into()), "missing-field", "/1/data/purpose"),
        (with("/purpose", "я".repeat(211).into()), "field-too-long", "/1/data/purpose"),
        (with("/purpose", "5 ₽".into()), "bad-character", "/1/data/purpose"),
        (with("/payee/name", "Gökçe".into()), "bad-character", "/1/data/payee/name"),
        (with("/issuedOn", "2026-02-30".into()), "bad-date", "/1/data/issuedOn"),
        (with("/executeOn", "2026-11-21".into()), "execution-day", "/1/data/executeOn"),
        (with("/number", "0".into()), "repeated-order", "/1/data/number"),
        (with("/payer", "".into()), "unreadable-data", "/1/data"),
        (vec![Message { type_: "payment.received.v1".into(), ..message(0, &json!({})) }], "wrong-type", "/0/type"),
        (Vec::new(), "no-messages", ""),
    ] {
        match file(&settings(&json!({})), &messages).err() {
            Some(Failure::Rejected(found)) => {
                assert_eq!((found.code.as_str(), found.place.as_deref().unwrap_or_default()), (code, place));
            }
            other => panic!("{code}: {other:?}"),
        }
    }
    let ignoring = settings(&json!({ "execution-day": "ignore" }));
    assert!(file(&ignoring, &with("/executeOn", "2026-11-21".into())).is_ok());
    assert!(file(&settings(&json!({})), &with("/executeOn", "2026-11-20".into())).is_ok());
    assert!(file(&settings(&json!({ "sender": "₽" })), &many()).is_err());
}

#[test]
fn long_names_are_cut_and_logged() {
    let mut long = order("1", "1");
    long["payee"]["name"] = "Ю".repeat(161).into();
    let settings = settings(&json!({}));
    let file = file(&settings, &messages(&[long])).ok().unwrap();
    assert_eq!(file.warnings, ["order 1: the name of the payee is cut to 160 characters"]);
    let text = Encoding::Windows1251.decode(&written(&file, &settings)).into_owned();
    assert!(text.contains(&format!("\r\nПолучатель1={}\r\n", "Ю".repeat(160))), "{text}");
}

/// Whatever stands in an order, it stays one document of the file, or is refused.
#[test]
fn damaged_orders_are_refused_or_written_but_never_a_panic() {
    let settings = settings(&json!({}));
    let seed = order("418", "184500.00").to_string();
    let mut count = 0;
    for bytes in mutations::of(seed.as_bytes(), 5_000) {
        let broken = Message { data: String::from_utf8_lossy(&bytes).into_owned(), ..message(7, &json!({})) };
        if let Ok(file) = file(&settings, &[broken]) {
            let (failure, seen) = read(&written(&file, &settings), "off");
            assert_eq!((failure, pending(&seen)), (None, 1));
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

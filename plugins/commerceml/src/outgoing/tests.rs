use super::*;
use crate::{mapping, waiting, writing};
use busbar_sdk::encoding::Encoding;
use busbar_sdk::memory::MapStore;
use busbar_sdk::xml::{Limits, Xml, XmlWriter};
use busbar_sdk::{TestHub, mutations};
use serde_json::{Value, json};

fn message(kind: &str, data: &Value) -> Message {
    busbar_sdk::test_hub::message("/case", "i", kind, data.to_string())
}

fn invoice(tax_id: &str, number: &str) -> Message {
    let rub = |value: &str| json!({"value": value, "currency": "RUB"});
    let line = json!({"service": "Электроэнергия", "quantity": "100", "unit": "kWh", "price": rub("12.345"),
                      "amount": rub("1234.50")});
    message(
        "invoice.issued.v1",
        &json!({
            "account": "500100200300", "number": number, "issuedOn": "2026-11-20", "dueOn": "2026-12-10",
            "amount": rub("1234.50"), "lines": [line],
            "customer": {"name": "Ильина Ольга", "taxId": tax_id, "address": "г. Тверь"}
        }),
    )
}

fn order() -> Value {
    json!({
        "id": "SR-17", "kind": "meter-replacement", "requestedOn": "2026-11-20",
        "requestedAt": "2026-11-20T10:15:00+03:00", "channel": "portal", "account": "500100200300",
        "meteringPoint": "TU-451", "address": {"text": "г. Заречный, ул. Липовая, д. 4"},
        "customer": {"customer": "C-1", "name": "Соколова Мария", "phone": "+79005550117", "email": "m@example.org"},
        "product": "PR-METER-3F", "quantity": "2", "price": {"value": "9800.00", "currency": "RUB"},
        "wantedOn": "2026-11-27", "text": "После 18:00"
    })
}

fn document() -> Value {
    json!({
        "document": {"id": "b7e0", "number": "УПД-118", "kind": "transfer-document", "issuedOn": "2026-11-20"},
        "title": "УПД за октябрь", "account": "0004217",
        "sender": {"name": "АО «Заречная энергосбытовая компания»", "taxId": "5000000025"},
        "recipient": {"name": "ООО «Заречный хлеб»", "taxId": "5000000017", "taxRegistrationCode": "500001001",
                      "address": "г. Заречный, ул. Хлебная, д. 1"},
        "amount": {"value": "118340.00", "currency": "RUB"}, "tax": {"value": "21338.36", "currency": "RUB"},
        "inAnswerTo": {"number": "17"}
    })
}

fn all() -> Vec<Message> {
    let mut refund = document();
    refund["document"] = json!({"number": "В-1", "kind": "act", "issuedOn": "2026-11-19"});
    let least = json!({
        "document": {"number": "1", "issuedOn": "2024-02-29"}, "account": "1",
        "amount": {"value": "-1", "currency": "RUB"}
    });
    vec![
        invoice("770100000012", "С-17"),
        invoice("7701000001", "С-18"),
        message("service.requested.v1", &order()),
        message("document.issued.v1", &document()),
        message("document.issued.v1", &refund),
        message("document.issued.v1", &least),
    ]
}

fn settings() -> Settings {
    let seller = crate::settings::Seller { name: "АО \"Энергосбыт\"".into(), tax_id: "5000000025".into() };
    Settings { seller, ..Settings::default() }
}

fn written(settings: &Settings, messages: &[Message]) -> (String, Vec<u8>) {
    let mut file = Vec::new();
    let documents = writing::documents(settings, messages).unwrap();
    let name = writing::write(&documents, XmlWriter::new(Encoding::Utf8, |bytes| file.extend_from_slice(bytes)));
    (name, file)
}

fn read(file: &[u8]) -> Vec<Value> {
    let mut rest = file;
    let source = |max: u32| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    };
    let mut seen = TestHub::default();
    mapping::decode(&Settings::default(), &mut Xml::new(source, Limits::default()), &mut seen).unwrap();
    seen.drafts.iter().map(|draft| serde_json::from_str(&draft.data).unwrap()).collect()
}

#[test]
fn what_is_written_can_be_read() {
    let (name, file) = written(&settings(), &all());
    assert!(name.starts_with("documents_2026-11-20_") && name.ends_with(".xml"), "{name}");
    let read = read(&file);
    assert_eq!(read.len(), 6);
    let kinds: Vec<_> = read.iter().map(|data| data["document"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["invoice", "invoice", "order", "transfer-document", "other", "other"]);
    assert_eq!(read[0]["document"]["number"], "С-17");
    assert_eq!(read[0]["amount"], json!({"value": "1234.50", "currency": "RUB"}));
    assert_eq!(read[0]["recipient"]["name"], "Ильина Ольга");
    assert_eq!(
        read[2]["document"],
        json!({"id": "SR-17", "number": "SR-17", "kind": "order", "issuedOn": "2026-11-20"})
    );
    // All that the format has of a document comes back as it was.
    for field in ["document", "sender", "recipient", "amount", "tax"] {
        assert_eq!(read[3][field], document()[field], "{field}");
    }
}

#[test]
fn what_is_written_is_valid() {
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/accounting_1c/commerceml/xsd");
    for (at, settings) in [settings(), Settings::default()].into_iter().enumerate() {
        let (_, file) = written(&settings, &all());
        let place = std::env::temp_dir().join(format!("busbar-commerceml-{}-{at}", std::process::id()));
        std::fs::write(&place, file).unwrap();
        let checked = valid(schemas, &place);
        std::fs::remove_file(&place).unwrap();
        checked.unwrap();
    }
}

/// By every version's schema.
fn valid(schemas: &str, path: &std::path::Path) -> Result<(), String> {
    for version in ["2.08", "2.10"] {
        let schema = format!("{schemas}/commerceml-{version}.xsd");
        let mut lint = std::process::Command::new("xmllint");
        if !std::path::Path::new(&schema).exists() || lint.arg("--version").output().is_err() {
            eprintln!("skipped: no schema {schema}, or no xmllint");
            return Ok(());
        }
        let mut lint = std::process::Command::new("xmllint");
        let output = lint.args(["--noout", "--schema", &schema]).arg(path).output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(format!("{version}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

#[test]
fn an_order_has_its_price_and_time_where_they_are_exact() {
    let of = |field: &str, value: Value| {
        let mut data = order();
        data[field] = value;
        super::document(&settings(), &message("service.requested.v1", &data), "").unwrap()
    };
    let whole = of("kind", "repair".into());
    assert_eq!((whole.time.as_deref(), whole.goods[0].price.as_deref()), (Some("10:15:00"), Some("4900.00")));
    assert_eq!(of("quantity", "3".into()).goods[0].price, None);
    assert_eq!(of("quantity", "0.5".into()).goods[0].price, None);
    assert_eq!(of("quantity", "0".into()).goods[0].price, None);
    // In the zone of the settings; on another day there it would contradict the day.
    assert_eq!(of("requestedAt", "2026-11-20T10:15:00+07:00".into()).time.as_deref(), Some("06:15:00"));
    assert_eq!(of("requestedAt", "2026-11-20T23:15:00Z".into()).time, None);
    assert_eq!(of("id", "1".repeat(41).into()).id.len(), 32);
}

#[test]
fn what_cannot_be_written_is_named() {
    let with = |kind: &str, mut data: Value, pointer: &str, value: Value| {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        data.pointer_mut(parent).unwrap()[key] = value;
        message(kind, &data)
    };
    let of_order = |pointer: &str, value: Value| with("service.requested.v1", order(), pointer, value);
    let of_document = |pointer: &str, value: Value| with("document.issued.v1", document(), pointer, value);
    let nobody = {
        let mut data = document();
        for field in ["sender", "recipient", "account"] {
            data[field] = Value::Null;
        }
        message("document.issued.v1", &data)
    };
    let anonymous = with(
        "service.requested.v1",
        json!({"id": "1", "kind": "repair", "requestedOn": "2026-11-20",
        "product": "p", "price": {"value": "1", "currency": "RUB"}}),
        "/text",
        "".into(),
    );
    for (message, code, place) in [
        (of_order("/product", Value::Null), "missing-field", "/3/data/product"),
        (of_order("/price", Value::Null), "missing-field", "/3/data/price"),
        (of_order("/price/value", "0.001".into()), "bad-amount", "/3/data/price"),
        (of_order("/requestedOn", "2026-02-30".into()), "bad-date", "/3/data/requestedOn"),
        (anonymous, "missing-field", "/3/data/customer"),
        (of_document("/amount", Value::Null), "missing-field", "/3/data/amount"),
        (of_document("/tax/currency", "EUR".into()), "bad-amount", "/3/data/tax"),
        (of_document("/document/issuedOn", Value::Null), "missing-field", "/3/data/document/issuedOn"),
        (of_document("/document", json!({"kind": "act"})), "missing-field", "/3/data/document/number"),
        (of_document("/document", "".into()), "unreadable-data", "/3/data"),
        (nobody, "missing-field", "/3/data/recipient"),
        (message("payment.received.v1", &json!({})), "unmapped-type", "/3/type"),
    ] {
        let found = super::document(&settings(), &message, "/3").unwrap_err();
        assert_eq!((found.code.as_str(), found.place.as_deref()), (code, Some(place)));
    }
}

#[test]
fn damaged_messages_are_refused_or_written_and_read() {
    for (kind, seed) in [("service.requested.v1", order()), ("document.issued.v1", document())] {
        let mut count = 0;
        for bytes in mutations::of(seed.to_string().as_bytes(), 2_000) {
            let broken = Message { data: String::from_utf8_lossy(&bytes).into_owned(), ..message(kind, &json!({})) };
            if let Ok(documents) = writing::documents(&settings(), &[broken]) {
                let mut file = Vec::new();
                writing::write(&documents, XmlWriter::new(Encoding::Utf8, |bytes| file.extend_from_slice(bytes)));
                count += usize::from(!file.is_empty());
            }
        }
        assert!(count > 100, "{count}");
    }
}

fn kept(store: &mut MapStore, id: &str, text: &str) -> Result<(), Failure> {
    let mut data = order();
    (data["id"], data["text"]) = (id.into(), text.into());
    let document = super::document(&settings(), &message("service.requested.v1", &data), "").unwrap();
    waiting::keep(&Settings { keep_for_query: true, ..settings() }, store, &document)
}

fn numbers(file: &[u8]) -> Vec<String> {
    read(file).iter().map(|data| data["document"]["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn documents_wait_until_they_are_fetched() {
    let mut store = MapStore::default();
    for at in 0..100 {
        kept(&mut store, &format!("SR-{at}"), "").unwrap();
    }
    let (file, given) = waiting::file(&mut store);
    assert_eq!((numbers(&file).len(), given), (60, 60));
    // Not fetched, it is given again, byte for byte; also when something came meanwhile.
    kept(&mut store, "SR-3", "Нет, в субботу").unwrap();
    assert_eq!(waiting::file(&mut store), (file, given));
    waiting::fetched(&mut store, given);
    let (file, given) = waiting::file(&mut store);
    // What was corrected meanwhile comes once more, last.
    assert_eq!((numbers(&file).len(), numbers(&file)[0].as_str(), numbers(&file)[40].as_str()), (41, "SR-60", "SR-3"));
    waiting::fetched(&mut store, given);
    waiting::fetched(&mut store, given);
    waiting::fetched(&mut store, 7);
    assert_eq!(store.0.keys().collect::<Vec<_>>(), ["documents-first", "documents-next"]);
    assert_eq!(numbers(&waiting::file(&mut store).0), [""; 0]);
}

#[test]
fn too_many_too_large_and_not_configured() {
    let mut store = MapStore::default();
    store.0.insert("documents-next".into(), b"10002".to_vec());
    store.0.insert("documents-first".into(), b"2".to_vec());
    assert!(matches!(kept(&mut store, "SR-1", ""), Err(Failure::Transient(_))));
    store.0.insert("documents-first".into(), b"3".to_vec());
    assert!(kept(&mut store, "SR-1", "").is_ok());
    let large = kept(&mut MapStore::default(), "SR-2", &"ю".repeat(40_000));
    assert!(matches!(large, Err(Failure::Rejected(found)) if found.code == "document-too-large"));
    let without = waiting::keep(&settings(), &mut MapStore::default(), &Document::default());
    assert!(matches!(without, Err(Failure::Rejected(found)) if found.code == "not-configured"));
    // An answer has a bound of bytes as well, and always one document.
    let mut store = MapStore::default();
    for at in 0..40 {
        kept(&mut store, &at.to_string(), &"ю".repeat(25_000)).unwrap();
    }
    assert_eq!(waiting::file(&mut store).1, 20);
}

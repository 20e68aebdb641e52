use busbar_sdk::{Failure, Message, mutations};

use super::*;
use crate::encode::encode;

fn decoded(text: &[u8]) -> Result<Draft, Rejection> {
    let settings = Settings { account_field: "ЛС".into(), ..Settings::default() };
    let mut rest = text;
    let read = |max: u32| {
        let (now, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        now.to_vec()
    };
    decode(&settings, read, &mut |_| {})
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

const SETTINGS: &str = r#"{
    "account-field": "ЛС", "tax-rate": "22%", "receiver-ids": {"5000000017": "2BM-5000000017", "500000000001": "2LT-1"},
    "seller": {"id": "2BM-5000000025", "name": "АО «Заречная энергосбытовая компания»", "tax-id": "5000000025",
        "tax-registration-code": "500001001", "address": "г. Заречный, ул. Садовая, д. 2"},
    "signer": {"last-name": "Ильина", "first-name": "Ольга", "post": "Директор"}
}"#;

fn message(r#type: &str, data: Value) -> Message {
    Message {
        time: Some("2026-11-20T10:11:12+03:00".into()),
        ..busbar_sdk::test_hub::message("/systems/billing", "m-1", r#type, data.to_string())
    }
}

fn invoice() -> Value {
    json!({
        "account": "0004217", "number": "17", "issuedOn": "2026-11-01", "amount": {"value": "1220.00", "currency": "RUB"},
        "period": {"start": "2026-10-01", "end": "2026-10-31"},
        "lines": [
            {"service": "Электроэнергия, день", "quantity": "200", "unit": "kWh", "amount": {"value": "1000.00", "currency": "RUB"}},
            {"service": "Пени", "amount": {"value": "220.00", "currency": "RUB"}},
        ],
        "customer": {"name": "ООО «Заречный хлеб» & К", "taxId": "5000000017", "address": "г. Заречный, ул. Хлебная, д. 1"},
    })
}

fn document() -> Value {
    json!({
        "document": {"id": "6f1c2a9e-0d2b-4c53-9a4e-1f0a7b5c3d21", "number": "118", "issuedOn": "2026-11-20"},
        "title": "Передача электроэнергии", "account": "0004217",
        "recipient": {"name": "ИП Громов Андрей", "taxId": "500000000001", "address": "г. Заречный"},
        "amount": {"value": "122.00", "currency": "RUB"}, "tax": {"value": "22.00", "currency": "RUB"},
    })
}

fn encoded(settings: &str, messages: &[Message]) -> Result<(String, Vec<u8>), Failure> {
    let settings: Settings = busbar_sdk::parse_settings(settings).unwrap();
    let mut file = Vec::new();
    encode(&settings, messages, |bytes| file.extend_from_slice(bytes)).map(|name| (name, file))
}

#[test]
fn what_is_written_is_read_again() {
    let (name, file) = encoded(SETTINGS, &[message("invoice.issued.v1", invoice())]).unwrap();
    let draft = decoded(&file).unwrap();
    assert!(name.starts_with("ON_NSCHFDOPPR_2BM-5000000017_2BM-5000000025_20261101_"), "{name}");
    assert_eq!(draft.time.as_deref(), Some("2026-11-20T10:11:12+03:00"));
    let read = data(&draft);
    assert_eq!(read["document"]["number"], "17");
    assert_eq!(read["document"]["issuedOn"], "2026-11-01");
    assert_eq!((read["account"].as_str(), read["amount"]["value"].as_str()), (Some("0004217"), Some("1220.00")));
    // 1000.00 * 22 / 122 = 180.327…, 220.00 * 22 / 122 = 39.672…
    assert_eq!(read["tax"]["value"], "220.00");
    assert_eq!(read["recipient"], invoice()["customer"]);
    let (_, file) = encoded(SETTINGS, &[message("document.issued.v1", document())]).unwrap();
    let read = data(&decoded(&file).unwrap());
    let id = document()["document"]["id"].clone();
    let expected = json!({"name": "Громов Андрей", "taxId": "500000000001", "address": "г. Заречный"});
    assert_eq!((&read["document"]["id"], &read["tax"], &read["recipient"]), (&id, &document()["tax"], &expected));
}

#[test]
fn several_make_an_archive() {
    let messages = [message("invoice.issued.v1", invoice()), message("document.issued.v1", document())];
    let (name, file) = encoded(SETTINGS, &messages).unwrap();
    let mut names = Vec::new();
    busbar_sdk::zip::each_file(&file, |file| {
        names.push(file.name.clone());
        Ok(())
    })
    .unwrap();
    assert_eq!((names.len(), name), (2, names[0].replace(".xml", ".zip")));
}

#[test]
fn what_cannot_be_written_is_named() {
    let with = |mut data: Value, pointer: &str, value: Value| {
        *data.pointer_mut(pointer).unwrap() = value;
        data
    };
    let without = |mut data: Value, pointer: &str, field: &str| {
        data.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
        data
    };
    let (invoice_type, document_type) = ("invoice.issued.v1", "document.issued.v1");
    for (r#type, data, code, place) in [
        (invoice_type, without(invoice(), "", "customer"), "missing-field", "/0/data/customer/taxId"),
        (invoice_type, without(invoice(), "/customer", "address"), "missing-field", "/0/data/customer/address"),
        (
            invoice_type,
            with(invoice(), "/customer/taxId", json!("5000000033")),
            "unknown-receiver",
            "/0/data/customer/taxId",
        ),
        (invoice_type, with(invoice(), "/lines/1/amount/value", json!("-1.00")), "bad-value", "/0/data/lines/1/amount"),
        (
            invoice_type,
            with(invoice(), "/lines/1/amount/currency", json!("USD")),
            "bad-value",
            "/0/data/lines/1/amount",
        ),
        (document_type, without(document(), "/document", "number"), "missing-field", "/0/data/document/number"),
        (document_type, without(document(), "", "amount"), "missing-field", "/0/data/amount"),
        (document_type, with(document(), "/tax/value", json!("5.00")), "bad-value", "/0/data/tax"),
        ("payment.received.v1", json!({}), "unsupported-type", "/0"),
    ] {
        let Err(Failure::Rejected(rejection)) = encoded(SETTINGS, &[message(r#type, data)]) else { panic!("{code}") };
        assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), (code, Some(place)));
    }
    let Err(Failure::Rejected(rejection)) = encoded("{}", &[]) else { panic!() };
    assert_eq!(rejection.code, "not-configured");
}

#[test]
fn kinds_that_nobody_knows_are_refused() {
    let invoice = "<СвСчФакт НомерСчФ='1' ДатаСчФ='01.11.2026' КодОКВ='643'/>";
    let correction = "<СвКСчФ НомерКСчФ='1' ДатаКСчФ='01.11.2026' КодОКВ='643'/>";
    for (head, content, wanted) in [
        ("КНД='1115131' Функция='СЧФ'", invoice, "tax-invoice"),
        ("КНД='1115131' Функция='СЧФДОП'", invoice, "transfer-document"),
        ("КНД='1115125' Функция='ДОП'", invoice, "transfer-document"),
        ("КНД='1115131' Функция='СвРК'", invoice, "commission-report"),
        ("КНД='1115101'", invoice, "tax-invoice"),
        ("КНД='1115101' Функция='СЧФ'", invoice, "tax-invoice"),
        ("КНД='1115101' Функция='ДОП'", invoice, "unknown-document"),
        ("КНД='1115131'", invoice, "unknown-document"),
        ("КНД='1115131' Функция='сЧФ'", invoice, "unknown-document"),
        ("КНД='1115131' Функция='КСЧФ'", invoice, "unknown-document"),
        ("КНД='1115199' Функция='СЧФ'", invoice, "unknown-document"),
        ("Функция='СЧФ'", invoice, "unknown-document"),
        ("КНД='1115127' Функция='КСЧФ'", correction, "correction-document"),
        ("КНД='1115108'", correction, "correction-document"),
        ("КНД='1115127' Функция='СЧФ'", correction, "unknown-document"),
    ] {
        let file = format!("<Файл ИдФайл='x' ВерсФорм='5.01'><Документ {head}>{content}</Документ></Файл>");
        let came = match decoded(file.as_bytes()) {
            Ok(draft) => data(&draft)["document"]["kind"].as_str().unwrap_or_default().to_owned(),
            Err(rejection) => rejection.code,
        };
        assert_eq!(came, wanted, "{head}");
    }
}

#[test]
fn currencies_are_those_of_the_standard() {
    for (number, wanted) in [
        ("643", "RUB"),
        ("784", "AED"),
        ("860", "UZS"),
        ("949", "TRY"),
        ("036", "AUD"),
        ("000", "unknown-currency"),
        ("123", "unknown-currency"),
        ("RUB", "unknown-currency"),
        ("", "missing-field"),
    ] {
        let file = format!(
            "<Файл ИдФайл='x' ВерсФорм='5.01'><Документ КНД='1115131' Функция='СЧФ'>\
             <СвСчФакт НомерСчФ='1' ДатаСчФ='01.11.2026' КодОКВ='{number}'/><ТаблСчФакт><ВсегоОпл СтТовУчНалВсего='1.5'/></ТаблСчФакт>\
             </Документ></Файл>"
        );
        let came = match decoded(file.as_bytes()) {
            Ok(draft) => data(&draft)["amount"]["currency"].as_str().unwrap_or_default().to_owned(),
            Err(rejection) => rejection.code,
        };
        assert_eq!(came, wanted, "{number}");
    }
}

#[test]
fn a_table_of_any_length_is_passed_by() {
    let mut chunks = 0_u32;
    let head = "<Файл ИдФайл='x' ВерсФорм='5.01'><Документ КНД='1115131' Функция='СЧФ'>\
        <СвСчФакт НомерСчФ='1' ДатаСчФ='01.11.2026' КодОКВ='643'/><ТаблСчФакт>";
    let row = "<СведТов НомСтр='1' НаимТов='Товар'><СумНал><БезНДС>без НДС</БезНДС></СумНал></СведТов>".repeat(500);
    let tail = "<ВсегоОпл СтТовУчНалВсего='1.5'><СумНалВсего><ДефНДС>-</ДефНДС></СумНалВсего></ВсегоОпл></ТаблСчФакт></Документ></Файл>";
    let read = |_| {
        chunks += 1;
        match chunks {
            1 => head.as_bytes().to_vec(),
            2..=200 => row.as_bytes().to_vec(),
            201 => tail.as_bytes().to_vec(),
            _ => Vec::new(),
        }
    };
    let draft = decode(&Settings::default(), read, &mut |_| {}).unwrap();
    assert_eq!((data(&draft)["amount"]["value"].as_str(), data(&draft).get("tax")), (Some("1.50"), None));
}

/// Whatever the bytes: an answer.
#[test]
fn mutations_never_trap() {
    let (_, file) = encoded(SETTINGS, &[message("invoice.issued.v1", invoice())]).unwrap();
    for end in 0..file.len() {
        assert!(decoded(&file[..end]).is_err() || end + 2 > file.len());
    }
    for bytes in mutations::of(&file, 4_000) {
        let _ = decoded(&bytes);
    }
}

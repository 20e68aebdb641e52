use std::collections::VecDeque;

use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Failure, Message, parse_settings};
use serde_json::{Value, json};

use crate::poll::{Cursor, Page, poll};
use crate::settings::Settings;
use crate::{answer, deliver};

/// 1C's answers in their order, and what it was asked.
#[derive(Default)]
struct OneC {
    answers: VecDeque<(u16, String)>,
    asked: Vec<(String, String, Value)>,
    store: MapStore,
    left_out: Vec<String>,
}

impl OneC {
    fn says(&mut self, status: u16, body: Value) {
        self.answers.push_back((status, body.to_string()));
    }

    fn poll(&mut self, settings: &Value, cursor: Option<&Cursor>) -> Result<Page, Failure> {
        let settings: Settings = parse_settings(&settings.to_string())?;
        let cursor = cursor.map(|cursor| serde_json::to_vec(cursor).unwrap());
        let (answers, asked) = (&mut self.answers, &mut self.asked);
        let page = poll(
            &settings,
            cursor,
            &|| 1_795_330_800_000,
            &mut |request| reply(answers, asked, request),
            &mut self.store,
        )?;
        self.left_out.extend(page.left_out.iter().map(|entry| entry.code.clone()));
        Ok(page)
    }

    fn deliver(&mut self, settings: &Value, r#type: &str, data: Value) -> Result<(), Failure> {
        let settings: Settings = parse_settings(&settings.to_string())?;
        let (answers, asked) = (&mut self.answers, &mut self.asked);
        deliver::deliver(&settings, &message(r#type, data), &mut |request| reply(answers, asked, request))
    }

    fn answer(&mut self, settings: &Value, r#type: &str, data: Value) -> Result<Value, Failure> {
        let settings: Settings = parse_settings(&settings.to_string())?;
        let (answers, asked) = (&mut self.answers, &mut self.asked);
        let send = &mut |request: &Request| reply(answers, asked, request);
        let answer = answer::answer(&settings, &message(r#type, data), &|| 0, send)?;
        Ok(serde_json::from_str(&answer.data).unwrap())
    }
}

fn reply(
    answers: &mut VecDeque<(u16, String)>,
    asked: &mut Vec<(String, String, Value)>,
    request: &Request,
) -> Result<Response, HttpError> {
    asked.push((
        request.method.clone(),
        percent_encoding::percent_decode_str(&request.url).decode_utf8_lossy().into_owned(),
        serde_json::from_slice(&request.body).unwrap_or_default(),
    ));
    let (status, body) = answers.pop_front().ok_or_else(|| HttpError::NoAnswer("silence".into()))?;
    Ok(Response { status, headers: vec![], body: body.into_bytes() })
}

fn message(r#type: &str, data: Value) -> Message {
    busbar_sdk::test_hub::message("/crm", "m-1", r#type, data.to_string())
}

fn code(failure: Failure) -> String {
    match failure {
        Failure::Rejected(rejection) => rejection.code,
        other => format!("{other:?}"),
    }
}

const NO_OBJECT: &str = r#"{"odata.error":{"code":"9","message":{"lang":"ru","value":"Не найден"}}}"#;
const IVANOV: &str = "6b1c1d1e-0000-11f0-8000-00155d012a01";

fn customers() -> Value {
    json!({"base-url": "http://h/b/odata/standard.odata", "preset": "bp-3", "preset-entries": ["customers"], "page-size": 2})
}

fn customer(reference: &str, name: &str) -> Value {
    json!({
        "Ref_Key": reference, "DataVersion": "AAAA", "DeletionMark": false, "НаименованиеПолное": "", "Description": name,
        "ЮридическоеФизическоеЛицо": "ФизическоеЛицо", "ИНН": "",
        "КонтактнаяИнформация": [
            {"LineNumber": "1", "Тип": "Адрес", "Представление": "Тверь"},
            {"LineNumber": "2", "Тип": "Телефон", "НомерТелефона": "", "Представление": "8 4955550101"},
            {"LineNumber": "3", "Тип": "Телефон", "НомерТелефона": "", "Представление": "+7 495 555-01-01"}
        ]
    })
}

#[test]
fn rounds_of_pages_state_only_what_changed() {
    let mut one_c = OneC::default();
    let (a, b, c) = (customer(IVANOV, "Иванов"), customer("b", "Петров"), customer("c", "Сидоров"));
    one_c.says(200, json!({"value": [a, b]}));
    one_c.says(200, json!({"value": [c]}));
    let first = one_c.poll(&customers(), None).unwrap();
    assert_eq!((first.drafts.len(), first.more), (2, true));
    let data: Value = serde_json::from_str(&first.drafts[0].data).unwrap();
    let expected =
        json!({"customer": IVANOV, "name": "Иванов", "kind": "person", "status": "active", "phones": ["+74955550101"]});
    assert_eq!(data, expected);
    assert_eq!(first.drafts[0].subject.as_deref(), Some(IVANOV));
    let place = format!("Catalog_Контрагенты(guid'{IVANOV}')");
    assert_eq!(first.drafts[0].place.as_deref(), Some(place.as_str()));
    let second = one_c.poll(&customers(), Some(&first.cursor)).unwrap();
    assert_eq!((second.drafts.len(), second.more), (1, false));
    assert!(
        one_c.asked[1].1.ends_with("&$filter=IsFolder eq false&$orderby=Ref_Key&$top=2&$skip=2"),
        "{:?}",
        one_c.asked
    );

    // The next round: another DataVersion says nothing by itself; a deletion mark does.
    let mut again = customer(IVANOV, "Иванов");
    again["DataVersion"] = json!("BBBB");
    let mut gone = customer("b", "Петров");
    gone["DeletionMark"] = json!(true);
    one_c.says(200, json!({"value": [again, gone]}));
    let third = one_c.poll(&customers(), Some(&second.cursor)).unwrap();
    assert_eq!(third.drafts.len(), 1);
    assert!(third.drafts[0].data.contains("closed"));
    // And back: said again under another id.
    one_c.says(200, json!({"value": [customer("b", "Петров")]}));
    let fourth = one_c.poll(&customers(), Some(&second.cursor)).unwrap();
    assert_eq!(fourth.drafts.len(), 1);
    assert_ne!(fourth.drafts[0].id, first.drafts[1].id);
}

#[test]
fn more_news_than_writes_goes_on_within_the_page() {
    let mut settings = customers();
    settings["page-size"] = json!(100);
    let page: Vec<Value> = (0..100).map(|n| customer(&format!("id-{n}"), "x")).collect();
    let mut one_c = OneC::default();
    one_c.says(200, json!({"value": page}));
    let first = one_c.poll(&settings, None).unwrap();
    assert_eq!((first.drafts.len(), first.more), (60, true));
    one_c.says(200, json!({"value": page[60..]}));
    let second = one_c.poll(&settings, Some(&first.cursor)).unwrap();
    assert_eq!((second.drafts.len(), second.more), (40, false));
    assert!(one_c.asked[1].1.ends_with("$skip=60"));
}

#[test]
fn facts_are_stated_once() {
    let settings = json!({"base-url": "http://h", "poll": {"charges": {
        "entity": "Document_Начисление", "type": "charge.made.v1", "changed": "Изменен", "filter": "Posted eq true",
        "fields": {"id": "Ref_Key", "account": "ЛицевойСчет.Code", "chargedOn": {"from": "Date", "as": "date"},
                   "amount": {"from": "Сумма", "as": "money", "required": true}}}}});
    let charge = |sum: Value| {
        json!({"value": [{"Ref_Key": "d", "ЛицевойСчет": {"Code": "0042"}, "Date": "2026-11-20T10:00:00",
        "Сумма": sum, "Изменен": "2026-11-21T10:00:00"}]})
    };
    let mut one_c = OneC::default();
    one_c.says(200, charge(json!(10.5)));
    let first = one_c.poll(&settings, None).unwrap();
    assert_eq!(first.drafts[0].subject.as_deref(), Some("0042"));
    one_c.says(200, charge(json!("11.5")));
    let second = one_c.poll(&settings, Some(&first.cursor)).unwrap();
    assert!(second.drafts.is_empty());
    assert_eq!(one_c.left_out, ["changed-after-stated"]);
    one_c.says(200, charge(json!("11.5")));
    one_c.poll(&settings, Some(&second.cursor)).unwrap();
    assert!(one_c.asked[2].1.contains("(Posted eq true) and Изменен ge datetime'2026-11-21T10:00:00'"));
    one_c.says(200, charge(json!("")));
    assert_eq!(one_c.poll(&settings, None).err().map(code).as_deref(), Some("missing-field"));
    let mut lenient = settings.clone();
    lenient["bad-objects"] = json!("log");
    one_c.says(200, charge(json!("много")));
    assert!(one_c.poll(&lenient, None).unwrap().drafts.is_empty());
    assert_eq!(one_c.left_out.len(), 2);
}

fn payments() -> Value {
    json!({"base-url": "http://h", "deliver": {"payment.received.v1": {
    "entity": "Document_Оплата", "post": true,
    "fields": {
        "Date": {"from": "paidOn", "as": "date"}, "Сумма": {"from": "amount.value", "as": "decimal"}, "Номер": "@id",
        "ЛицевойСчет_Key": {"from": "account", "find": {"entity": "Catalog_ЛицевыеСчета", "by": "Code"}},
        "Строки": {"rows": "lines", "fields": {"Содержание": "service"}}
    }}}})
}

fn payment() -> Value {
    json!({"account": "O'42", "paidOn": "2026-11-22", "amount": {"value": "1052.98", "currency": "RUB"},
           "lines": [{"service": "a"}, {"service": "b"}]})
}

#[test]
fn a_document_is_made_and_posted_once() {
    let mut one_c = OneC::default();
    one_c.answers.push_back((404, NO_OBJECT.into()));
    one_c.says(200, json!({"value": [{"Ref_Key": IVANOV}]}));
    one_c.says(201, json!({"Ref_Key": "x"}));
    one_c.answers.push_back((200, String::new()));
    one_c.deliver(&payments(), "payment.received.v1", payment()).unwrap();
    assert!(one_c.asked[1].1.contains("$filter=Code eq 'O''42'"), "{:?}", one_c.asked[1]);
    let (method, url, body) = &one_c.asked[2];
    assert_eq!((method.as_str(), url.as_str()), ("POST", "http://h/Document_Оплата?$format=json"));
    let reference = body["Ref_Key"].as_str().unwrap();
    assert!(crate::client::is_guid(reference), "{reference}");
    assert_eq!(body["Сумма"], json!(1052.98));
    assert_eq!(body["ЛицевойСчет_Key"], json!(IVANOV));
    assert_eq!(body["Строки"][1], json!({"LineNumber": "2", "Содержание": "b"}));
    assert!(one_c.asked[3].1.contains(&format!("(guid'{reference}')/Post?")), "{:?}", one_c.asked[3]);

    // Again: it is there and posted.
    let mut again = OneC::default();
    again.says(200, json!({"Ref_Key": reference, "Posted": true}));
    again.deliver(&payments(), "payment.received.v1", payment()).unwrap();
    assert_eq!(again.asked.len(), 1);
    assert!(again.asked[0].1.contains(reference));
}

#[test]
fn references_that_cannot_be_found() {
    let mut one_c = OneC::default();
    one_c.answers.push_back((404, NO_OBJECT.into()));
    one_c.says(200, json!({"value": []}));
    let failure = one_c.deliver(&payments(), "payment.received.v1", payment()).unwrap_err();
    assert_eq!(code(failure), "not-found");
    one_c.answers.push_back((404, NO_OBJECT.into()));
    one_c.says(200, json!({"value": [{"Ref_Key": "a"}, {"Ref_Key": "b"}]}));
    let failure = one_c.deliver(&payments(), "payment.received.v1", payment()).unwrap_err();
    assert_eq!(code(failure), "ambiguous");
    // 404 with another code: there is no such entity.
    one_c.says(404, json!({"odata.error": {"code": "8", "message": {"value": "Тип не найден"}}}));
    let Failure::Rejected(refusal) = one_c.deliver(&payments(), "payment.received.v1", payment()).unwrap_err() else {
        panic!()
    };
    assert_eq!(refusal.code, "refused");
    assert!(refusal.reason.ends_with("answered 404: code 8, Тип не найден"), "{}", refusal.reason);
}

#[test]
fn a_balance_of_nothing_is_zero() {
    let settings = json!({"base-url": "http://h", "answer": {"account.balance.lookup.v1": {"steps": [
        {"entity": "Catalog_ЛС", "filter": "Code eq {account}"},
        {"entity": "AccumulationRegister_Долги/Balance(Condition='ЛС_Key eq {Ref_Key}')",
         "fields": {"amountDue": {"from": "СуммаBalance", "as": "money", "default": {"value": "0.00", "currency": "RUB"}},
                    "asOfOn": {"from": "@now", "as": "date"}}}]}}});
    let mut one_c = OneC::default();
    one_c.says(200, json!({"value": [{"Ref_Key": IVANOV}]}));
    one_c.says(200, json!({"value": []}));
    let answer = one_c.answer(&settings, "account.balance.lookup.v1", json!({"account": "1"})).unwrap();
    let zero = json!({"value": "0.00", "currency": "RUB"});
    assert_eq!(answer, json!({"account": "1", "found": true, "amountDue": zero, "asOfOn": "1970-01-01"}));
    assert!(one_c.asked[1].1.contains(&format!("Condition='ЛС_Key eq guid''{IVANOV}'''")), "{:?}", one_c.asked[1]);
    one_c.says(200, json!({"value": []}));
    let answer = one_c.answer(&settings, "account.balance.lookup.v1", json!({"account": "1"})).unwrap();
    assert_eq!(answer, json!({"account": "1", "found": false}));
}

#[test]
fn mutated_answers_never_trap() {
    let seed = json!({"value": [customer(IVANOV, "Иванов")]}).to_string().into_bytes();
    let mut settings = customers();
    settings["preset-entries"] = json!([]);
    for end in 0..seed.len() {
        let mut one_c = OneC::default();
        one_c.answers.push_back((200, String::from_utf8_lossy(&seed[..end]).into_owned()));
        assert!(one_c.poll(&settings, None).is_err());
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..3_000 {
        let mut bytes = seed.clone();
        for _ in 0..2 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % bytes.len();
            bytes[at] = b"\"{}[],:0\xFFx"[(random >> 60) as usize % 10];
        }
        let mut one_c = OneC::default();
        one_c.answers.push_back((200, String::from_utf8_lossy(&bytes).into_owned()));
        drop(one_c.poll(&settings, None));
    }
}

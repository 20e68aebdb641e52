use busbar_sdk::memory::MapStore;
use busbar_sdk::xml::Xml;
use busbar_sdk::{Draft, Header, HookRequest, Rejection, TestHub};
use serde_json::{Value, json};

use crate::settings::Settings;
use crate::{exchange, mapping, outgoing, waiting};

const FILE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<КоммерческаяИнформация ВерсияСхемы="2.10" ДатаФормирования="2026-11-20T10:00:00">
<Классификатор><Ид>k</Ид><Группы><Группа><Ид>g1</Ид><Наименование>Учёт</Наименование>
<Группы><Группа><Ид>g2</Ид><Наименование>Счётчики</Наименование></Группа></Группы></Группа></Группы></Классификатор>
<Каталог><Товары><Товар><Ид>p1</Ид><Артикул>СЭ-1</Артикул><Наименование>Счётчик</Наименование>
<БазоваяЕдиница Код="796">шт</БазоваяЕдиница><Группы><Ид>g2</Ид></Группы>
<СтавкиНалогов><СтавкаНалога><Наименование>НДС</Наименование><Ставка>20</Ставка></СтавкаНалога></СтавкиНалогов>
<ЗначенияРеквизитов><ЗначениеРеквизита><Наименование>ТипНоменклатуры</Наименование><Значение>Товар</Значение></ЗначениеРеквизита></ЗначенияРеквизитов>
</Товар></Товары></Каталог>
<ПакетПредложений><ТипыЦен><ТипЦены><Ид>t1</Ид><Наименование>Розничная</Наименование><Валюта>руб</Валюта></ТипЦены></ТипыЦен>
<Предложения><Предложение><Ид>p1#c1</Ид><Наименование>Счётчик (серый)</Наименование>
<Цены><Цена><ИдТипаЦены>t1</ИдТипаЦены><ЦенаЗаЕдиницу>1 999,5</ЦенаЗаЕдиницу></Цена></Цены>
<Количество>7</Количество><Склад ИдСклада="w1" КоличествоНаСкладе="3"/><Склад ИдСклада="w2" КоличествоНаСкладе="4"/>
</Предложение></Предложения></ПакетПредложений>
<Контрагенты><Контрагент><Ид>c1</Ид><Наименование>Ромашка</Наименование><ОфициальноеНаименование>ООО "Ромашка"</ОфициальноеНаименование>
<Роль>Покупатель</Роль><ИНН>7701000001</ИНН><КПП/></Контрагент></Контрагенты>
<Документ><Ид>d1</Ид><Номер>17</Номер><Дата>2026-11-19</Дата><ХозОперация>Заказ товара</ХозОперация><Валюта>RUB</Валюта><Сумма>100</Сумма>
<Налоги><Налог><Наименование>НДС</Наименование><Сумма>16.67</Сумма></Налог></Налоги></Документ>
</КоммерческаяИнформация>"#;

fn decode(bytes: &[u8]) -> Result<TestHub, Rejection> {
    let mut seen = TestHub::default();
    mapping::decode(&Settings::default(), &mut Xml::of_bytes(bytes), &mut seen)?;
    Ok(seen)
}

fn data(draft: &Draft) -> Value {
    serde_json::from_str(&draft.data).unwrap()
}

#[test]
fn everything_a_file_may_hold() {
    let drafts = decode(FILE.as_bytes()).unwrap().drafts;
    let types: Vec<&str> = drafts.iter().map(|draft| draft.type_.as_str()).collect();
    assert_eq!(
        types,
        [
            "product.changed.v1",
            "product.changed.v1",
            "stock.changed.v1",
            "stock.changed.v1",
            "customer.changed.v1",
            "document.issued.v1"
        ]
    );
    assert_eq!(
        data(&drafts[0]),
        json!({"product": "p1", "article": "СЭ-1", "name": "Счётчик", "status": "on-sale", "kind": "goods",
               "category": "Счётчики", "unit": "шт", "taxRate": "20"})
    );
    assert_eq!(data(&drafts[1])["price"], json!({"value": "1999.50", "currency": "RUB"}));
    let stock = json!({"product": "p1#c1", "warehouse": "w2", "quantity": "4", "asOfAt": "2026-11-20T10:00:00+03:00"});
    assert_eq!(data(&drafts[3]), stock);
    assert_eq!(data(&drafts[4])["kind"], "organisation");
    assert_eq!(data(&drafts[5])["tax"], json!({"value": "16.67", "currency": "RUB"}));
    // A later file states things anew, and the unchanged document as the same message.
    let later = decode(FILE.replace("2026-11-20T10", "2026-11-21T10").as_bytes()).unwrap().drafts;
    assert!(drafts[0].id != later[0].id && drafts[5].id == later[5].id);
}

#[test]
fn mutations_never_trap() {
    let seed = FILE.as_bytes();
    for end in 0..seed.len() {
        assert!(decode(&seed[..end]).is_err());
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..3_000 {
        let mut bytes = seed.to_vec();
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % bytes.len();
            bytes[at] = b"<>/\"&= \xFF0"[(random >> 60) as usize % 9];
        }
        let _ = decode(&bytes);
    }
}

#[test]
fn hostile_files() {
    let head = r#"<КоммерческаяИнформация ДатаФормирования="2026-11-20T10:00:00">"#;
    let end = "</КоммерческаяИнформация>";
    for (inner, code) in [
        (format!("<Каталог>{}", "<Товары>".repeat(100)), "xml-limit"),
        (format!("<Документ>{}</Документ>", "<a/>".repeat(20_000)), "xml-limit"),
        ("<Каталог><Товары><Товар><Ид>1</Ид></Товар></Товары></Каталог>".to_owned(), "missing-field"),
    ] {
        assert_eq!(decode(format!("{head}{inner}{end}").as_bytes()).unwrap_err().code, code);
    }
    let bomb = format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{head}{end}");
    assert_eq!(decode(bomb.as_bytes()).unwrap_err().code, "xml-dtd");
}

struct Site {
    store: MapStore,
    cookie: String,
}

impl Site {
    fn call(&mut self, query: &str, body: &[u8]) -> (String, Vec<Draft>) {
        let request = HookRequest {
            method: "POST".into(),
            path: "/".into(),
            query: query.into(),
            headers: vec![Header { name: "Cookie".into(), value: self.cookie.clone() }],
            body: body.to_vec(),
        };
        let mut drafts = Vec::new();
        let settings = Settings { file_limit_bytes: 200_000, file_max_bytes: 1_000_000, ..Settings::default() };
        let response = exchange::handle(&settings, &request, &mut self.store, &|| vec![0xAB; 16], &mut drafts);
        assert_eq!(response.status, 200);
        (String::from_utf8(response.body).unwrap(), drafts)
    }
}

#[test]
fn an_exchange_in_parts() {
    let mut site = Site { store: MapStore::default(), cookie: String::new() };
    assert!(site.call("type=catalog&mode=init", b"").0.starts_with("failure"));
    let (reply, _) = site.call("type=catalog&mode=checkauth", b"");
    assert_eq!(reply, format!("success\nbusbar\n{}", "ab".repeat(16)));
    site.cookie = format!("x=y; busbar={}", "ab".repeat(16));
    assert_eq!(site.call("type=catalog&mode=init", b"").0, "zip=no\nfile_limit=200000");
    // 2000 products in parts that cut characters.
    let product = |n: usize| format!("<Товар><Ид>p{n}</Ид><Наименование>Счётчик {n}</Наименование></Товар>");
    let products: String = (0..2000).map(product).collect();
    let file = format!(
        "<КоммерческаяИнформация ДатаФормирования=\"2026-11-20T10:00:00\"><Каталог><Товары>{products}</Товары></Каталог>\
         </КоммерческаяИнформация>"
    );
    for part in file.as_bytes().chunks(99_999) {
        assert_eq!(site.call("type=catalog&mode=file&filename=import.xml", part).0, "success");
    }
    assert_eq!(site.call("type=catalog&mode=file&filename=a/b.jpg", &[0; 10]).0, "success");
    let mut stated = Vec::new();
    for expected in ["progress\n900 of 2000 messages", "progress\n1800 of 2000 messages", "success", "success"] {
        let (reply, drafts) = site.call("type=catalog&mode=import&filename=import.xml", b"");
        assert_eq!(reply, expected);
        stated.extend(drafts.into_iter().map(|draft| draft.id));
    }
    assert_eq!(stated.len(), 2000);
    stated.sort();
    stated.dedup();
    assert_eq!(stated.len(), 2000);
    assert!(site.call("type=catalog&mode=file&filename=big.xml", &vec![b' '; 200_001]).0.starts_with("failure"));
    site.call("type=catalog&mode=file&filename=bad.xml", b"<a/>");
    let (reply, drafts) = site.call("type=catalog&mode=import&filename=bad.xml", b"");
    assert!(reply.starts_with("failure\nnot-commerceml") && drafts.is_empty(), "{reply}");
    assert!(site.call("type=sale&mode=query", b"").0.contains("<КоммерческаяИнформация"));
}

#[test]
fn orders_are_stated_when_their_last_part_has_come() {
    let requisite = "<ЗначенияРеквизитов><ЗначениеРеквизита><Наименование>Отменен</Наименование><Значение>true</Значение>\
        </ЗначениеРеквизита></ЗначенияРеквизитов></Документ>";
    let start = FILE.find("<Документ>").unwrap();
    let document = FILE.get(start..).unwrap().replace("</Документ>", requisite);
    let file = format!("<КоммерческаяИнформация ДатаФормирования=\"2026-11-20T10:00:00\">{document}");
    for cut in 1..file.len() {
        let mut site = Site { store: MapStore::default(), cookie: format!("busbar={}", "ab".repeat(16)) };
        site.call("type=sale&mode=checkauth", b"");
        let (one, other) = file.as_bytes().split_at(cut);
        let (reply, drafts) = site.call("type=sale&mode=file&filename=o.xml", one);
        assert_eq!((reply.as_str(), drafts.len()), ("success", 0), "{cut}");
        let (reply, drafts) = site.call("type=sale&mode=file&filename=o.xml", other);
        assert_eq!((reply.as_str(), drafts.len()), ("success", 2), "{cut}");
        let (reply, drafts) = site.call("type=sale&mode=import&filename=o.xml", b"");
        assert_eq!((reply.as_str(), drafts.len()), ("success", 0), "{cut}");
    }
}

#[test]
fn words_that_nobody_knows() {
    let document = |operation: &str, currency: &str| {
        let file = FILE.replace("Заказ товара", operation).replace("<Валюта>RUB<", &format!("<Валюта>{currency}<"));
        decode(file.as_bytes()).map(|seen| data(&seen.drafts[5])).map_err(|rejection| rejection.code)
    };
    for (operation, kind) in
        [("Заказ товара", "order"), ("Прочие", "other"), ("Переоценка товара", "other"), ("Заказ товаров", "unknown")]
    {
        assert_eq!(document(operation, "RUB").unwrap()["document"]["kind"], kind, "{operation}");
    }
    for (currency, code) in [("руб", "RUB"), ("грн.", "UAH"), ("860", "UZS"), ("$", "USD")] {
        assert_eq!(document("Прочие", currency).unwrap()["amount"]["currency"], code);
    }
    for currency in ["крона", "ZZZ", "000", "у.е.", "1.0"] {
        assert_eq!(document("Прочие", currency).unwrap_err(), "unknown-currency", "{currency}");
    }
}

#[test]
fn orders_are_fetched_in_the_exchange() {
    let mut site = Site { store: MapStore::default(), cookie: format!("busbar={}", "ab".repeat(16)) };
    site.call("type=sale&mode=checkauth", b"");
    assert!(site.call("type=catalog&mode=query", b"").0.starts_with("failure"));
    let document = outgoing::Document { id: "SR-1".into(), issued_on: "2026-11-20".into(), ..Default::default() };
    let keeping = Settings { keep_for_query: true, ..Settings::default() };
    waiting::keep(&keeping, &mut site.store, &document).unwrap();
    // A success of something else, or of a session that has asked for nothing, takes nothing away.
    site.call("type=sale&mode=success", b"");
    site.call("type=catalog&mode=success", b"");
    let (reply, _) = site.call("type=sale&mode=query", b"");
    assert!(reply.contains("<Ид>SR-1</Ид>"), "{reply}");
    site.call("type=sale&mode=checkauth", b"");
    site.call("type=sale&mode=success", b"");
    assert_eq!(site.call("type=sale&mode=query", b"").0, reply);
    site.call("type=sale&mode=success", b"");
    assert!(!site.call("type=sale&mode=query", b"").0.contains("SR-1"));
}

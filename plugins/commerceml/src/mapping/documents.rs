//! Documents: orders, invoices, deliveries, payments.

use busbar_sdk::xml::Tree;
use busbar_sdk::{Draft, Rejection, Sink, dates, draft, ids, rejection};
use serde_json::{Map, Value, json};

use super::{Known, currency, id, is_deleted, is_yes, moment, money, number, requisite, set, text};
use crate::settings::Settings;

/// `Документ`, and what hangs below it: deliveries and payments of an order. `above`: the document it belongs to.
pub fn document(
    settings: &Settings,
    tree: &Tree,
    above: Option<&Value>,
    known: &Known,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let id = id(tree, 64)?;
    let mut reference = Map::new();
    reference.insert("id".into(), json!(id));
    set(&mut reference, "number", text(tree, &["Номер"], 64)?);
    reference.insert("kind".into(), json!(kind(tree.text_at("ХозОперация").unwrap_or_default())));
    if let Some(day) = tree.text_at("Дата") {
        let bad = || rejection("bad-date", format!("Дата: `{day}` is no date"), tree.place.clone());
        reference.insert("issuedOn".into(), json!(dates::iso_date(dates::parse_iso_date(day).ok_or_else(bad)?)));
    }
    let reference = Value::Object(reference);
    let mut data = Map::new();
    data.insert("document".into(), reference.clone());
    set(&mut data, "inAnswerTo", above.cloned());
    let code = currency(settings, tree.text_at("Валюта"), &tree.place)?;
    if let Some(sum) = tree.text_at("Сумма") {
        data.insert("amount".into(), money(tree, "Сумма", sum, code.clone())?);
    }
    set(&mut data, "tax", tax(tree, &code)?);
    for contractor in tree.at("Контрагенты").into_iter().flat_map(|list| list.all("Контрагент")) {
        let side = match contractor.text_at("Роль") {
            Some("Продавец" | "Комитент" | "Лицензиар") => "sender",
            None | Some("Покупатель" | "Плательщик" | "Получатель" | "Комиссионер" | "Лицензиат") => {
                "recipient"
            }
            Some(role) => {
                sink.warn(&format!("{}: a contractor that is {role} is no side of a document", contractor.place));
                continue;
            }
        };
        let party = party(contractor)?;
        if !party.is_empty() && !data.contains_key(side) {
            data.insert(side.into(), Value::Object(party));
        }
    }
    sink.emit(fact("document.issued.v1", &id, data, known, tree));
    for (status, at) in statuses(settings, tree)? {
        let mut data = Map::new();
        data.insert("document".into(), reference.clone());
        data.insert("status".into(), json!(status));
        // The moment of a cancellation is that of the file, which the next file has another of.
        let id_of_it = match &at {
            None => ids::derived(&["commerceml", "document.status.changed.v1", &id, status]),
            Some(at) => ids::derived(&["commerceml", "document.status.changed.v1", &id, status, at]),
        };
        data.insert("changedAt".into(), json!(at.as_ref().unwrap_or(&known.made_at)));
        let draft = fact("document.status.changed.v1", &id, data, known, tree);
        sink.emit(Draft { id: id_of_it, ..draft });
    }
    for below in tree.at("ПодчиненныеДокументы").into_iter().flat_map(|list| list.all("ПодчиненныйДокумент"))
    {
        document(settings, below, Some(&reference), known, sink)?;
    }
    Ok(())
}

/// What became of it by its requisites: cancelled, paid, shipped. The last two with their own moment.
fn statuses(settings: &Settings, tree: &Tree) -> Result<Vec<(&'static str, Option<String>)>, Rejection> {
    let says_yes = |name: &str| requisite(tree, name).is_some_and(is_yes);
    let mut statuses = Vec::new();
    if is_deleted(tree) == Some(true) || ["Отменен", "Отменён", "ПометкаУдаления"].iter().any(|name| says_yes(name))
    {
        statuses.push(("cancelled", None));
    }
    for (status, days, flags) in [
        ("paid", ["Дата оплаты по 1С", "Дата оплаты"], ["Оплачен", "Заказ оплачен"]),
        ("shipped", ["Дата отгрузки по 1С", "Дата отгрузки"], ["Отгружен", "Заказ отгружен"]),
    ] {
        let stated = days.iter().find_map(|name| requisite(tree, name)).filter(|text| !is_no_day(text));
        if let Some(text) = stated {
            let bad = || {
                rejection("bad-date", format!("a day of what became of it: `{text}` is no date"), tree.place.clone())
            };
            statuses.push((status, Some(requisite_moment(settings, text).ok_or_else(bad)?)));
        } else if flags.iter().any(|name| says_yes(name)) {
            statuses.push((status, None));
        }
    }
    Ok(statuses)
}

/// 1C's empty date.
fn is_no_day(text: &str) -> bool {
    text.starts_with("0001-01-01") || text.starts_with("01.01.0001")
}

/// A requisite is a text: its day is written as a file has it, or as people do.
fn requisite_moment(settings: &Settings, text: &str) -> Option<String> {
    let russian = || {
        let moment = dates::parse_russian_date_time(text, ' ');
        let moment = moment.or_else(|| dates::parse_russian_date(text).map(dates::start_of_day))?;
        Some(dates::rfc3339(moment, settings.utc_offset))
    };
    moment(settings, &text.replacen(' ', "T", 1)).or_else(russian)
}

/// The same in whatever file: a document that comes again unchanged is the same message.
fn fact(r#type: &str, id: &str, data: Map<String, Value>, known: &Known, tree: &Tree) -> Draft {
    let data = Value::Object(data).to_string();
    Draft {
        subject: Some(id.to_owned()),
        time: Some(known.made_at.clone()),
        place: Some(tree.place.clone()),
        ..draft(ids::derived(&["commerceml", r#type, id, &data]), r#type, data)
    }
}

/// The operations of the schemas 2.03 to 2.10. Another one has no word here.
fn kind(operation: &str) -> &'static str {
    match operation {
        "Заказ товара" => "order",
        "Счет на оплату" => "invoice",
        "Счет-фактура" => "tax-invoice",
        "Отпуск товара" | "Передача прав" => "transfer-document",
        "Возврат товара" => "return",
        "Выплата наличных денег" | "Выплата безналичных денег" | "Эквайринговая операция" => {
            "payment"
        }
        "Возврат наличных денег" | "Возврат безналичных денег" => "refund",
        "" | "Прочие" => "other",
        "Передача товара на комиссию"
        | "Возврат комиссионного товара"
        | "Отчет о продажах комиссионного товара"
        | "Переоценка товара" => "other",
        _ => "unknown",
    }
}

/// All taxes of the document together.
fn tax(tree: &Tree, code: &str) -> Result<Option<Value>, Rejection> {
    let Some(taxes) = tree.at("Налоги") else { return Ok(None) };
    let mut sum = 0_i128;
    let mut found = false;
    for tax in taxes.all("Налог") {
        let Some(text) = tax.text_at("Сумма") else { continue };
        let bad = || rejection("bad-number", format!("Сумма: `{text}` is no amount"), tax.place.clone());
        let units = number(tax, "Сумма", text)?.units(4).ok_or_else(bad)?;
        sum = sum.checked_add(units).ok_or_else(bad)?;
        found = true;
    }
    let sum =
        format!("{}{}.{:04}", if sum < 0 { "-" } else { "" }, sum.unsigned_abs() / 10_000, sum.unsigned_abs() % 10_000);
    if found { money(taxes, "Сумма", &sum, code.to_owned()).map(Some) } else { Ok(None) }
}

fn party(tree: &Tree) -> Result<Map<String, Value>, Rejection> {
    let mut party = Map::new();
    let name = text(tree, &["ПолноеНаименование", "ОфициальноеНаименование", "Наименование"], 500)?;
    set(&mut party, "name", name);
    let is_digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    set(&mut party, "taxId", tree.text_at("ИНН").filter(|text| matches!(text.len(), 10 | 12)).filter(is_digits));
    set(&mut party, "taxRegistrationCode", tree.text_at("КПП").filter(|text| text.len() == 9).filter(is_digits));
    let address = ["Адрес/Представление", "ЮридическийАдрес/Представление", "АдресРегистрации/Представление"];
    set(&mut party, "address", text(tree, &address, 500)?);
    Ok(party)
}

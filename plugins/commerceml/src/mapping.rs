//! A file of CommerceML 2 -> messages, element by element. Pure.

mod documents;
mod goods;

use std::collections::BTreeMap;

use busbar_sdk::texts::is_plain;
use busbar_sdk::xml::{Element, Tree, Xml};
use busbar_sdk::{Draft, Rejection, Sink, dates, draft, ids, phones, rejection};
use serde_json::{Map, Value, json};

use crate::settings::Settings;

const ROOT: &str = "КоммерческаяИнформация";
/// Memory that one record may take, roughly.
const RECORD_BYTES_MAX: usize = 2 << 20;
/// The same for all groups, all types of prices.
const LISTS_BYTES_MAX: usize = 16 << 20;

/// What the records of a file refer to.
#[derive(Default)]
struct Known {
    /// When the file was made: RFC 3339.
    made_at: String,
    groups: BTreeMap<String, String>,
    /// By id: name and currency.
    price_types: BTreeMap<String, (String, String)>,
    lists_left: usize,
    /// Offers that could not be stated as products, having no name.
    nameless: usize,
}

/// # Errors
/// `not-commerceml`, `bad-date`, `bad-number`, `missing-field`, `field-too-long`; what [`busbar_sdk::xml`] refuses.
pub fn decode<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let root = xml.root()?;
    if root.name != ROOT {
        return Err(xml.rejection("not-commerceml", format!("the root is {}, not {ROOT}", root.name)));
    }
    let made = root.attribute("ДатаФормирования").unwrap_or_default();
    let mut known = Known { lists_left: LISTS_BYTES_MAX, ..Known::default() };
    known.made_at = moment(settings, made)
        .ok_or_else(|| xml.rejection("bad-date", format!("attribute ДатаФормирования: `{made}` is no date")))?;
    while let Some(element) = xml.child()? {
        section(settings, xml, element, &mut known, sink, 0)?;
    }
    xml.finish()?;
    if known.nameless > 0 {
        let count = known.nameless;
        sink.warn(&format!("{count} offers have prices but no names: their prices are not stated, their stock is"));
    }
    Ok(())
}

/// A part of the file: a list of records, or something around lists.
fn section<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    element: Element,
    known: &mut Known,
    sink: &mut impl Sink,
    depth: usize,
) -> Result<(), Rejection> {
    match element.name.as_str() {
        "Группы" if depth > 0 => {
            let groups = Tree::read(xml, element, &mut known.lists_left)?;
            goods::name_groups(&groups, known);
        }
        "ТипыЦен" => {
            let types = Tree::read(xml, element, &mut known.lists_left)?;
            goods::name_price_types(&types, known);
        }
        "Товар" => goods::product(&record(xml, element)?, known, sink)?,
        "Предложение" => goods::offer(settings, &record(xml, element)?, known, sink)?,
        "Контрагент" => customer(settings, &record(xml, element)?, known, sink)?,
        "Документ" => documents::document(settings, &record(xml, element)?, None, known, sink)?,
        "Классификатор"
        | "Каталог"
        | "Товары"
        | "ПакетПредложений"
        | "ИзмененияПакетаПредложений"
        | "Предложения"
        | "Контрагенты"
        | "Контейнер"
            if depth < 4 =>
        {
            while let Some(inner) = xml.child()? {
                section(settings, xml, inner, known, sink, depth + 1)?;
            }
        }
        // What describes the catalogue: properties, warehouses, units.
        _ if depth > 0 => xml.skip()?,
        _ => {
            sink.warn(&format!("{}: {} is not known and passed by", xml.place(), element.name));
            xml.skip()?;
        }
    }
    Ok(())
}

fn record<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, element: Element) -> Result<Tree, Rejection> {
    Tree::read(xml, element, &mut RECORD_BYTES_MAX.clone())
}

/// A contractor that buys.
fn customer(settings: &Settings, tree: &Tree, known: &Known, sink: &mut impl Sink) -> Result<(), Rejection> {
    if let Some(role) = tree.text_at("Роль").filter(|role| *role != "Покупатель") {
        sink.warn(&format!("{}: a contractor that is {role} is no customer", tree.place));
        return Ok(());
    }
    let id = id(tree, 64)?;
    let is_person = ["ПолноеНаименование", "Фамилия"].iter().any(|name| tree.at(name).is_some());
    let mut data = Map::new();
    data.insert("customer".into(), json!(id));
    data.insert("kind".into(), json!(if is_person { "person" } else { "organisation" }));
    data.insert("status".into(), json!(status(tree, "closed", "active")));
    let name = text(tree, &["ПолноеНаименование", "ОфициальноеНаименование", "Наименование"], 500)?;
    set(&mut data, "name", name);
    let is_digits = |text: &&str, lengths: [usize; 2]| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    set(&mut data, "taxId", tree.text_at("ИНН").filter(|text| is_digits(text, [10, 12])));
    set(&mut data, "taxRegistrationCode", tree.text_at("КПП").filter(|text| is_digits(text, [9, 9])));
    let address = ["Адрес", "ЮридическийАдрес", "АдресРегистрации"];
    let address = address.iter().find_map(|name| tree.text_at(&format!("{name}/Представление")));
    if let Some(address) = address.filter(|text| text.chars().count() <= 500) {
        data.insert("address".into(), json!({"text": address}));
    }
    let (mut found_phones, mut emails) = (Vec::new(), Vec::new());
    for contact in tree.at("Контакты").into_iter().flat_map(|contacts| &contacts.children).take(50) {
        let value = contact.text_at("Значение").unwrap_or_default();
        // A fax, a pager, an ICQ have numbers as well.
        let kind = contact.text_at("Тип").unwrap_or("Телефон").to_lowercase();
        let is_phone = kind.starts_with("телефон") || kind.starts_with("мобильн");
        match value.contains('@') {
            true if is_email(value) => emails.push(json!(value)),
            true => {}
            false if !is_phone => {}
            false => found_phones.extend(phones::parse(value, &settings.country_code).number.map(Value::from)),
        }
    }
    for (name, values) in [("phones", found_phones), ("emails", emails)] {
        if !values.is_empty() {
            data.insert(name.into(), Value::Array(values));
        }
    }
    sink.emit(state(known, "customer.changed.v1", &id, data, tree));
    Ok(())
}

fn is_email(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.contains('@') && !part.contains(char::is_whitespace);
    text.len() <= 254 && text.split_once('@').is_some_and(|(name, host)| is_part(name) && is_part(host))
}

/// How a thing is at the moment of the file: the same file again states the same message, a later file another.
fn state(known: &Known, r#type: &str, subject: &str, data: Map<String, Value>, tree: &Tree) -> Draft {
    let data = Value::Object(data).to_string();
    Draft {
        subject: Some(subject.to_owned()),
        time: Some(known.made_at.clone()),
        place: Some(tree.place.clone()),
        ..draft(ids::derived(&["commerceml", r#type, subject, &known.made_at, &data]), r#type, data)
    }
}

/// Whether a record is marked as deleted; nothing for a mark that is neither. The words of `Статус` are those of the schemas.
fn is_deleted(tree: &Tree) -> Option<bool> {
    let marked = tree
        .text_at("ПометкаУдаления")
        .map_or(Some(false), |text| if is_no(text) { Some(false) } else { is_yes(text).then_some(true) });
    let status = match tree.attribute("Статус") {
        None | Some("" | "Новый" | "Изменен" | "НеИзменен") => Some(false),
        Some("Удален") => Some(true),
        Some(_) => None,
    };
    match (marked, status) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// The word for what is deleted, for what is not, or `unknown`.
fn status(tree: &Tree, deleted: &'static str, usual: &'static str) -> &'static str {
    match is_deleted(tree) {
        Some(true) => deleted,
        Some(false) => usual,
        None => "unknown",
    }
}

/// The value of a `ЗначениеРеквизита`.
fn requisite<'a>(tree: &'a Tree, name: &'a str) -> Option<&'a str> {
    let all = tree.at("ЗначенияРеквизитов")?;
    all.all("ЗначениеРеквизита").find(|one| one.text_at("Наименование") == Some(name))?.text_at("Значение")
}

/// The first text that is there, at most `chars_max` long.
fn text<'a>(tree: &'a Tree, names: &[&str], chars_max: usize) -> Result<Option<&'a str>, Rejection> {
    for name in names {
        if let Some(text) = tree.text_at(name) {
            return match text.chars().count() > chars_max {
                true => Err(rejection(
                    "field-too-long",
                    format!("{name} is over {chars_max} characters"),
                    tree.place.clone(),
                )),
                false => Ok(Some(text)),
            };
        }
    }
    Ok(None)
}

fn required(tree: &Tree, name: &str, chars_max: usize) -> Result<String, Rejection> {
    let text = text(tree, &[name], chars_max)?;
    text.map(str::to_owned).ok_or_else(|| rejection("missing-field", format!("{name} is missing"), tree.place.clone()))
}

/// `Ид`, which messages are about.
fn id(tree: &Tree, chars_max: usize) -> Result<String, Rejection> {
    let id = required(tree, "Ид", chars_max)?;
    match is_plain(&id) {
        true => Ok(id),
        false => Err(rejection("bad-character", "Ид has control characters", tree.place.clone())),
    }
}

fn set(data: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        data.insert(name.to_owned(), value.into());
    }
}

/// A moment, or a day's first one, with the offset of the settings.
fn moment(settings: &Settings, text: &str) -> Option<String> {
    let (moment, offset) = match dates::parse_date_time(text) {
        Some((moment, offset)) => (moment, offset),
        None => (dates::start_of_day(dates::parse_iso_date(text)?), None),
    };
    Some(dates::rfc3339(moment, offset.unwrap_or(settings.utc_offset)))
}

/// ISO 4217 of what stands as a currency: a code, its number, a name, a sign. What names none is in that of the settings; what nobody
/// knows is in none.
fn currency(settings: &Settings, text: Option<&str>, place: &str) -> Result<String, Rejection> {
    let Some(text) = text else { return Ok(settings.currency.clone()) };
    let code = busbar_sdk::money::currency_of(text).map(str::to_owned);
    code.ok_or_else(|| {
        let text: String = text.chars().take(50).collect();
        rejection("unknown-currency", format!("Валюта: nobody knows `{text}`, or several countries have it"), place)
    })
}

/// Whether a requisite says yes, as different releases write it.
fn is_yes(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "true" | "1" | "да" | "истина" | "y" | "yes")
}

fn is_no(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "" | "false" | "0" | "нет" | "ложь" | "n" | "no")
}

/// A number as people write it: blanks between thousands, a comma.
fn number(tree: &Tree, name: &str, text: &str) -> Result<busbar_sdk::decimal::Decimal, Rejection> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    busbar_sdk::decimal::Decimal::parse(&plain)
        .ok_or_else(|| rejection("bad-number", format!("{name}: `{text}` is no number"), tree.place.clone()))
}

/// An amount with at least two digits after the point and at most four.
fn money(tree: &Tree, name: &str, text: &str, currency: String) -> Result<Value, Rejection> {
    let value = number(tree, name, text)?;
    let bad = || rejection("bad-number", format!("{name}: `{text}` is no amount"), tree.place.clone());
    let plain = value.canonical().filter(|_| value.units(4).is_some()).ok_or_else(bad)?;
    let minor = busbar_sdk::money::parse_minor(&plain).map(busbar_sdk::money::format_minor);
    Ok(json!({"value": minor.unwrap_or(plain), "currency": currency}))
}

//! Sellers and buyers (`УчастникТип`).

use busbar_sdk::xml::Tree;
use serde_json::{Map, Value, json};

/// Parts of an address in the order they are written.
const ADDRESS: [&str; 10] =
    ["Индекс", "НаимРегион", "Район", "Город", "НаселПункт", "Улица", "Дом", "Корпус", "Кварт", "ИныеСвед"];

/// A party as messages carry it; a number that is none is left out, with a warning.
pub fn read(party: &Tree, warn: &mut dyn FnMut(&str)) -> Map<String, Value> {
    let mut data = Map::new();
    let Some(who) = party.at("ИдСв").and_then(|named| named.children.first()) else { return data };
    let name = who.attribute("НаимОрг").or_else(|| who.attribute("Наим")).or_else(|| who.attribute("НаимИП"));
    let name = name.map(str::to_owned).or_else(|| who.at("ФИО").map(full_name));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        data.insert("name".to_owned(), json!(name.chars().take(500).collect::<String>()));
    }
    let mut put = |field: &str, value: Option<&str>, fits: fn(&str) -> bool| match value {
        Some(value) if fits(value) => {
            data.insert(field.to_owned(), json!(value));
        }
        Some(_) => warn(&format!("{}: a malformed {field} is left out", who.place)),
        None => {}
    };
    put("taxId", who.attribute("ИННЮЛ").or_else(|| who.attribute("ИННФЛ")), is_tax_id);
    put("taxRegistrationCode", who.attribute("КПП"), is_registration_code);
    if let Some(address) = party.at("Адрес").and_then(address).filter(|address| !address.is_empty()) {
        data.insert("address".to_owned(), json!(address.chars().take(500).collect::<String>()));
    }
    data
}

fn full_name(name: &Tree) -> String {
    let parts = ["Фамилия", "Имя", "Отчество"].map(|part| name.attribute(part));
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn address(address: &Tree) -> Option<String> {
    if let Some(free) = address.at("АдрИнф").and_then(|free| free.attribute("АдрТекст")) {
        return Some(free.to_owned());
    }
    let parts = address.at("АдрРФ")?;
    Some(ADDRESS.iter().filter_map(|part| parts.attribute(part)).collect::<Vec<_>>().join(", "))
}

/// 10 digits of an organisation, 12 of a person; no region is 00 (XSD of ФНС, `ИННЮЛТип`, `ИННФЛТип`).
pub fn is_tax_id(text: &str) -> bool {
    matches!(text.len(), 10 | 12) && !text.starts_with("00") && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub fn is_registration_code(text: &str) -> bool {
    text.len() == 9
        && !text.starts_with("00")
        && text
            .bytes()
            .enumerate()
            .all(|(index, byte)| byte.is_ascii_digit() || (matches!(index, 4 | 5) && byte.is_ascii_uppercase()))
}

/// The element that a person stands in, and the name in its parts: family name, first name, all others.
pub fn person(name: &str) -> (&'static str, [String; 3]) {
    let trading = ["ИП ", "Индивидуальный предприниматель "].iter().find_map(|form| name.strip_prefix(form));
    let mut words = trading.unwrap_or(name).split_whitespace();
    let mut next = || words.next().unwrap_or("-").to_owned();
    let (last, first) = (next(), next());
    let tag = if trading.is_some() { "СвИП" } else { "СвФЛУч" };
    (tag, [last, first, words.collect::<Vec<_>>().join(" ")])
}

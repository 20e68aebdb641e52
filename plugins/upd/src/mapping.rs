//! УПД, УКД and buyers' titles -> `document.issued.v1`, `document.status.changed.v1`. Told apart by structure.
//!
//! The table of goods may be long and is passed by; only its total is held.

use busbar_sdk::xml::{Tree, Xml};
use busbar_sdk::{Draft, Rejection, dates, draft, ids, money, rejection};
use serde_json::{Map, Value, json};

use crate::kinds::{self, Structure};
use crate::party;
use crate::settings::Settings;

#[cfg(test)]
mod tests;

/// Bytes held of one document, its table aside.
const HELD_BYTES_MAX: usize = 8 << 20;

/// The parts of a file that matter.
#[derive(Default)]
struct Parts {
    file_id: String,
    version: String,
    /// Attributes of `Документ`.
    head: Option<Tree>,
    /// `СвСчФакт`.
    invoice: Option<Tree>,
    /// `СвКСчФ`.
    correction: Option<Tree>,
    /// `ИдИнфПрод`: this is the buyer's title.
    seller_file: Option<Tree>,
    /// `СодФХЖ4`.
    acceptance: Option<Tree>,
    /// `ВсегоОпл`, `ВсегоУвел`, `ВсегоУм`.
    totals: Vec<Tree>,
    has_table: bool,
}

impl Parts {
    fn structure(&self) -> Option<Structure> {
        match (&self.seller_file, &self.correction, &self.invoice) {
            (Some(_), _, _) => Some(Structure::Buyer),
            (_, Some(_), _) => Some(Structure::Correction),
            (_, _, Some(_)) => Some(Structure::Invoice),
            _ => None,
        }
    }
}

/// Decodes a file.
///
/// # Errors
/// The first thing that makes the file unfit, with its place; the README lists the codes.
pub fn decode(
    settings: &Settings,
    read: impl FnMut(u32) -> Vec<u8>,
    warn: &mut dyn FnMut(&str),
) -> Result<Draft, Rejection> {
    let mut xml = Xml::new(read, busbar_sdk::xml::Limits::default());
    let parts = parts(&mut xml)?;
    let head = parts.head.as_ref().ok_or_else(|| rejection("missing-field", "Файл without Документ", "line 1"))?;
    kinds::must_fit(head, parts.structure(), warn)?;
    let (r#type, data) = if let Some(seller_file) = &parts.seller_file {
        ("document.status.changed.v1", accepted(settings, &parts, head, seller_file)?)
    } else if let Some(correction) = &parts.correction {
        ("document.issued.v1", corrected(settings, &parts, head, correction, warn)?)
    } else if let Some(invoice) = &parts.invoice {
        ("document.issued.v1", issued(settings, &parts, head, invoice, warn)?)
    } else {
        let reason = "Документ has neither СвСчФакт nor СвКСчФ nor ИдИнфПрод";
        return Err(rejection("not-this-format", reason, &*head.place));
    };
    let subject = data.get("document").and_then(|document| document.get("id")).and_then(Value::as_str);
    let time = match data.get("changedAt").and_then(Value::as_str) {
        Some(at) => Some(at.to_owned()),
        None => made_at(settings, head, "ДатаИнфПр", "ВремИнфПр"),
    };
    Ok(Draft {
        subject: subject.map(str::to_owned),
        time,
        place: Some(head.place.clone()),
        ..draft(ids::derived(&["upd", &parts.file_id]), r#type, Value::Object(data).to_string())
    })
}

fn parts<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>) -> Result<Parts, Rejection> {
    let root = xml.root()?;
    if root.name != "Файл" {
        return Err(xml.rejection("not-this-format", format!("the root is `{}`, not `Файл`", root.name)));
    }
    let text = |name: &str| root.attribute(name).map(str::trim).unwrap_or_default().to_owned();
    let mut parts = Parts { file_id: text("ИдФайл"), version: text("ВерсФорм"), ..Parts::default() };
    if parts.file_id.is_empty() {
        return Err(xml.rejection("missing-field", "Файл without ИдФайл"));
    }
    if !matches!(parts.version.as_str(), "5.01" | "5.02" | "5.03") {
        return Err(xml.rejection("unsupported-version", format!("version `{}`, not 5.01 to 5.03", parts.version)));
    }
    let mut left = HELD_BYTES_MAX;
    while let Some(element) = xml.child()? {
        if element.name != "Документ" {
            xml.skip()?;
            continue;
        }
        if parts.head.is_some() {
            return Err(xml.rejection("not-this-format", "a second Документ"));
        }
        parts.head = Some(Tree { element, text: String::new(), children: Vec::new(), place: xml.place() });
        while let Some(child) = xml.child()? {
            match child.name.as_str() {
                "ТаблСчФакт" | "ТаблКСчФ" => {
                    parts.has_table = true;
                    table(xml, &mut parts.totals, &mut left)?;
                }
                "СвСчФакт" => parts.invoice = Some(Tree::read(xml, child, &mut left)?),
                "СвКСчФ" => parts.correction = Some(Tree::read(xml, child, &mut left)?),
                "ИдИнфПрод" => {
                    // Its signature may be large.
                    let place = xml.place();
                    parts.seller_file = Some(Tree { element: child, text: String::new(), children: Vec::new(), place });
                    xml.skip()?;
                }
                "СодФХЖ4" => parts.acceptance = Some(Tree::read(xml, child, &mut left)?),
                _ => xml.skip()?,
            }
        }
    }
    xml.finish()?;
    Ok(parts)
}

fn table<R: FnMut(u32) -> Vec<u8>>(
    xml: &mut Xml<R>,
    totals: &mut Vec<Tree>,
    left: &mut usize,
) -> Result<(), Rejection> {
    while let Some(child) = xml.child()? {
        match child.name.as_str() {
            "ВсегоОпл" | "ВсегоУвел" | "ВсегоУм" => totals.push(Tree::read(xml, child, left)?),
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn issued(
    settings: &Settings,
    parts: &Parts,
    head: &Tree,
    invoice: &Tree,
    warn: &mut dyn FnMut(&str),
) -> Result<Map<String, Value>, Rejection> {
    let kind = kinds::of_invoice(head)?;
    let number = attribute(invoice, &["НомерДок", "НомерСчФ"])?;
    let day = day(invoice, &["ДатаДок", "ДатаСчФ"])?;
    let mut data = document(parts, kind, number, &day);
    common(settings, &mut data, head, invoice, warn);
    if invoice.at("ИспрДок").or_else(|| invoice.at("ИспрСчФ")).and_then(revision).is_some() {
        data.insert("inAnswerTo".to_owned(), json!({ "number": first(number, 64), "kind": kind, "issuedOn": day }));
    }
    let Some(total) = parts.totals.iter().find(|total| total.name() == "ВсегоОпл") else {
        // ДОП may have no table, and a table of it no total.
        return match parts.has_table && kind == "tax-invoice" {
            true => Err(rejection("missing-field", "ТаблСчФакт without ВсегоОпл", &*invoice.place)),
            false => Ok(data),
        };
    };
    let currency = currency(invoice)?;
    let mut put = |field: &str, minor: Option<i128>| {
        minor.map(|minor| data.insert(field.to_owned(), json!(money::Money::of_minor(minor, currency))))
    };
    put("amount", sum(total.attribute("СтТовУчНалВсего"), total)?);
    put("tax", tax(total)?);
    Ok(data)
}

/// The number of a correction; a dash stands for none.
fn revision(revision: &Tree) -> Option<&str> {
    revision.attribute("НомИспр").or_else(|| revision.attribute("НомИспрСчФ")).filter(|number| *number != "-")
}

fn corrected(
    settings: &Settings,
    parts: &Parts,
    head: &Tree,
    correction: &Tree,
    warn: &mut dyn FnMut(&str),
) -> Result<Map<String, Value>, Rejection> {
    let number = attribute(correction, &["НомерДок", "НомерКСчФ"])?;
    let day_made = day(correction, &["ДатаДок", "ДатаКСчФ"])?;
    let mut data = document(parts, kinds::of_correction(head)?, number, &day_made);
    common(settings, &mut data, head, correction, warn);
    if let Some(corrected) = correction.at("СчФ").or_else(|| correction.at("ДокКор")) {
        let number = attribute(corrected, &["НомерДок", "НомерСчФ"])?;
        let issued = day(corrected, &["ДатаДок", "ДатаСчФ"])?;
        data.insert("inAnswerTo".to_owned(), json!({ "number": first(number, 64), "issuedOn": issued }));
    }
    let (mut amount, mut tax_amount, mut has_tax) = (0_i128, 0_i128, false);
    for total in &parts.totals {
        let sign = if total.name() == "ВсегоУм" { -1 } else { 1 };
        amount += sign * sum(total.attribute("СтТовУчНалВсего"), total)?.unwrap_or(0);
        let found = tax(total)?;
        has_tax |= found.is_some();
        tax_amount += sign * found.unwrap_or(0);
    }
    if !parts.totals.is_empty() {
        let currency = currency(correction)?;
        data.insert("amount".to_owned(), json!(money::Money::of_minor(amount, currency)));
        if has_tax {
            data.insert("tax".to_owned(), json!(money::Money::of_minor(tax_amount, currency)));
        }
    }
    Ok(data)
}

fn accepted(settings: &Settings, parts: &Parts, head: &Tree, seller: &Tree) -> Result<Map<String, Value>, Rejection> {
    let seller_file = attribute(seller, &["ИдФайлИнфПр"])?;
    let content = parts.acceptance.as_ref().ok_or_else(|| rejection("missing-field", "no СодФХЖ4", &*head.place))?;
    let number = attribute(content, &["НомДокИнфПр", "ПорНомДокИнфПр", "НомСчФИнфПр"])?;
    let mut document = json!({ "id": document_id(seller_file), "number": first(number, 64) });
    if let (Ok(day), Some(document)) = (day(content, &["ДатаДокИнфПр", "ДатаСчФИнфПр"]), document.as_object_mut())
    {
        document.insert("issuedOn".to_owned(), json!(day));
    }
    let changed_at = made_at(settings, head, "ДатаИнфПок", "ВремИнфПок")
        .ok_or_else(|| rejection("bad-date", "ДатаИнфПок and ВремИнфПок are no time", &*head.place))?;
    let outcome = content.at("СвПрин/КодСодОпер");
    let (status, code) = match outcome.and_then(|outcome| outcome.attribute("КодИтога")) {
        None | Some("1") => ("signed", None),
        Some("2") => ("signed", Some("discrepancy")),
        Some("3") => ("refused", Some("other")),
        Some(other) => {
            let other: String = other.chars().take(10).collect();
            return Err(rejection("bad-value", format!("КодИтога `{other}`, not 1 to 3"), &*content.place));
        }
    };
    let mut data = Map::new();
    data.insert("document".to_owned(), document);
    data.insert("status".to_owned(), json!(status));
    data.insert("changedAt".to_owned(), json!(changed_at));
    if let Some(code) = code {
        let text = content.at("СвПрин").and_then(|accepted| accepted.attribute("СодОпер"));
        let reason = match text {
            Some(text) => json!({ "code": code, "text": first(text, 500) }),
            None => json!({ "code": code }),
        };
        data.insert("reason".to_owned(), reason);
    }
    if let Some(name) = head.attribute("НаимЭконСубСост") {
        data.insert("by".to_owned(), json!({ "name": first(name, 500) }));
    }
    Ok(data)
}

fn document(parts: &Parts, kind: &str, number: &str, day: &str) -> Map<String, Value> {
    let document =
        json!({ "id": document_id(&parts.file_id), "number": first(number, 64), "kind": kind, "issuedOn": day });
    [("document".to_owned(), document)].into_iter().collect()
}

fn common(settings: &Settings, data: &mut Map<String, Value>, head: &Tree, facts: &Tree, warn: &mut dyn FnMut(&str)) {
    if let Some(title) = head.attribute("НаимДокОпр") {
        data.insert("title".to_owned(), json!(first(title, 500)));
    }
    for (field, name) in [("sender", "СвПрод"), ("recipient", "СвПокуп")] {
        let party = facts.at(name).map(|party| party::read(party, warn)).filter(|party| !party.is_empty());
        data.extend(party.map(|party| (field.to_owned(), Value::Object(party))));
    }
    let fields = facts.at("ИнфПолФХЖ1").into_iter().flat_map(|fields| fields.all("ТекстИнф"));
    let mut fields = fields.filter(|field| field.attribute("Идентиф") == Some(settings.account_field.as_str()));
    let account = fields.next().and_then(|field| field.attribute("Значен"));
    let fits = |account: &&str| account.chars().count() <= 64 && !account.contains(char::is_whitespace);
    data.extend(account.filter(fits).map(|account| ("account".to_owned(), json!(account))));
}

/// The GUID in a file's name, which both titles of a document share; otherwise a digest.
pub fn document_id(file_id: &str) -> String {
    let is_guid = |part: &&str| {
        let lengths = part.split('-').map(str::len);
        lengths.eq([8, 4, 4, 4, 12]) && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    };
    match file_id.split('_').find(is_guid) {
        Some(guid) => guid.to_ascii_lowercase(),
        None => ids::derived(&["upd-document", file_id]),
    }
}

fn made_at(settings: &Settings, head: &Tree, day: &str, clock: &str) -> Option<String> {
    let text = format!("{}_{}", head.attribute(day)?, head.attribute(clock)?.replace('.', ":"));
    Some(dates::rfc3339(dates::parse_russian_date_time(&text, '_')?, settings.utc_offset))
}

/// The first of these attributes that is there.
fn attribute<'a>(tree: &'a Tree, names: &[&str]) -> Result<&'a str, Rejection> {
    names.iter().find_map(|name| tree.attribute(name)).ok_or_else(|| {
        rejection("missing-field", format!("{} without {}", tree.name(), names.join(" or ")), &*tree.place)
    })
}

fn day(tree: &Tree, names: &[&str]) -> Result<String, Rejection> {
    let text = attribute(tree, names)?;
    dates::parse_russian_date(text).map(dates::iso_date).ok_or_else(|| {
        let text: String = text.chars().take(50).collect();
        rejection("bad-date", format!("`{text}` is no existing day written ДД.ММ.ГГГГ"), &*tree.place)
    })
}

fn currency(facts: &Tree) -> Result<&'static str, Rejection> {
    let number = facts.attribute("КодОКВ").or_else(|| facts.at("ДенИзм").and_then(|money| money.attribute("КодОКВ")));
    let number = number.ok_or_else(|| rejection("missing-field", "no КодОКВ", &*facts.place))?;
    money::currency_of_number(number).ok_or_else(|| {
        let number: String = number.chars().take(10).collect();
        rejection("unknown-currency", format!("КодОКВ {number}"), &*facts.place)
    })
}

/// Kopecks; nothing for an absent amount or the dash that stands for one.
fn sum(text: Option<&str>, tree: &Tree) -> Result<Option<i128>, Rejection> {
    match text {
        None | Some("-") => Ok(None),
        Some(text) => money::parse_minor(text).filter(|_| !text.contains(',')).map(Some).ok_or_else(|| {
            let text: String = text.chars().take(50).collect();
            rejection("bad-amount", format!("`{text}` is no sum in roubles and kopecks"), &*tree.place)
        }),
    }
}

/// `СумНалВсего` or `СумНал` with a number in it; nothing for `БезНДС` and `ДефНДС`.
fn tax(total: &Tree) -> Result<Option<i128>, Rejection> {
    let Some(tax) = total.at("СумНалВсего").or_else(|| total.at("СумНал")) else { return Ok(None) };
    let number = tax.at("СумНал").or_else(|| tax.at("СумНДС"));
    sum(number.map(|number| number.text.as_str()).filter(|text| !text.is_empty()), number.unwrap_or(tax))
}

fn first(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

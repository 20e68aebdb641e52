//! `invoice.issued.v1` and `document.issued.v1` -> УПД 5.03 (ФНС ЕД-7-26/970@), the seller's title.
//!
//! A file is one document; several make an archive.

use busbar_sdk::documents::Reference;
use busbar_sdk::encoding::Encoding;
use busbar_sdk::money::Money;
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, Message, data_of, dates, ids, rejected, zip};
use serde::Deserialize;

use crate::amounts::{Rate, kopecks, price};
use crate::party::{is_registration_code, is_tax_id, person};
use crate::settings::{Seller, Settings, Signer};

/// Characters of each part of a person's name (XSD of ФНС, `ФИОТип`).
const NAME_PART_CHARS: usize = 60;
const FACT: &str =
    "Документ об отгрузке товаров (выполнении работ), передаче имущественных прав (документ об оказании услуг)";
const INVOICE_AND_FACT: &str = "Счет-фактура и документ об отгрузке товаров (выполнении работ), передаче имущественных прав (документ об оказании услуг)";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invoice {
    account: String,
    number: String,
    issued_on: String,
    period: Option<Period>,
    amount: Money,
    #[serde(default)]
    lines: Vec<InvoiceLine>,
    customer: Option<Party>,
}

#[derive(Deserialize)]
struct Period {
    start: String,
    end: String,
}

#[derive(Deserialize)]
struct InvoiceLine {
    service: String,
    quantity: Option<String>,
    unit: Option<String>,
    amount: Money,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Party {
    name: Option<String>,
    tax_id: Option<String>,
    tax_registration_code: Option<String>,
    address: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    document: Reference,
    title: Option<String>,
    recipient: Option<Party>,
    account: Option<String>,
    amount: Option<Money>,
    tax: Option<Money>,
}

/// What is written, whatever message it comes from.
struct Document {
    guid: String,
    number: String,
    /// `2026-11-01`.
    day: String,
    period: Option<Period>,
    account: Option<String>,
    buyer: Party,
    /// Where the buyer stands in the data.
    buyer_field: &'static str,
    currency: String,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    /// Millionths, with its unit.
    quantity: Option<(i128, String)>,
    gross: i128,
    tax: i128,
}

/// What the settings must have to write anything.
struct Setup<'a> {
    settings: &'a Settings,
    seller: &'a Seller,
    signer: &'a Signer,
    rate: Rate,
    rate_text: &'a str,
}

/// Writes the messages; gives the file's name.
///
/// # Errors
/// `not-configured`; at `/<index>…` `unsupported-type`, `missing-field`, `bad-value`, `unknown-receiver`, `unknown-currency`.
pub fn encode(settings: &Settings, messages: &[Message], mut write: impl FnMut(&[u8])) -> Result<String, Failure> {
    let missing = |what: &str| rejected("not-configured", format!("the settings have no `{what}`"), "config");
    let rate_text = settings.tax_rate.as_deref().ok_or_else(|| missing("tax-rate"))?;
    let setup = Setup {
        settings,
        seller: settings.seller.as_ref().ok_or_else(|| missing("seller"))?,
        signer: settings.signer.as_ref().ok_or_else(|| missing("signer"))?,
        rate: Rate::parse(rate_text).ok_or_else(|| missing("tax-rate"))?,
        rate_text,
    };
    let written = messages.iter().enumerate().map(|(index, message)| one(&setup, message, &format!("/{index}")));
    let written: Vec<(String, Vec<u8>)> = written.collect::<Result<_, _>>()?;
    match written.as_slice() {
        [(name, content)] => {
            write(content);
            Ok(name.clone())
        }
        _ => {
            let name = written.first().map(|(name, _)| name.trim_end_matches(".xml").to_owned()).unwrap_or_default();
            let files = written.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
            zip::write_archive(files, write).map_err(Failure::Other)?;
            Ok(format!("{name}.zip"))
        }
    }
}

fn one(setup: &Setup<'_>, message: &Message, place: &str) -> Result<(String, Vec<u8>), Failure> {
    let document = match message.type_.as_str() {
        "invoice.issued.v1" => of_invoice(setup, message, place)?,
        "document.issued.v1" => of_document(setup, message, place)?,
        other => return Err(rejected("unsupported-type", format!("{other} is no document"), place)),
    };
    write(setup, message, &document, place)
}

fn of_invoice(setup: &Setup<'_>, message: &Message, place: &str) -> Result<Document, Failure> {
    let invoice: Invoice = data_of(message)?;
    let mut lines = Vec::new();
    for (index, line) in invoice.lines.iter().enumerate() {
        let at = format!("{place}/data/lines/{index}/amount");
        same_currency(&line.amount, &invoice.amount, &at)?;
        let gross = kopecks(&line.amount.value, &at)?;
        let quantity = line.quantity.as_deref().and_then(|text| busbar_sdk::decimal::Decimal::parse(text)?.units(6));
        let unit = line.unit.clone().unwrap_or_default();
        lines.push(Line {
            name: line.service.clone(),
            quantity: quantity.filter(|quantity| *quantity > 0).map(|quantity| (quantity, unit)),
            gross,
            tax: setup.rate.tax_in(gross),
        });
    }
    if lines.is_empty() {
        let gross = kopecks(&invoice.amount.value, &format!("{place}/data/amount"))?;
        let tax = setup.rate.tax_in(gross);
        lines.push(Line { name: setup.settings.service.clone(), quantity: None, gross, tax });
    }
    Ok(Document {
        guid: guid(&["upd-invoice", &message.source, &invoice.number]),
        number: invoice.number,
        day: invoice.issued_on,
        period: invoice.period,
        account: Some(invoice.account),
        buyer: invoice.customer.unwrap_or_default(),
        buyer_field: "customer",
        currency: invoice.amount.currency,
        lines,
    })
}

fn of_document(setup: &Setup<'_>, message: &Message, place: &str) -> Result<Document, Failure> {
    let issued: Issued = data_of(message)?;
    let missing = |what: &str| rejected("missing-field", format!("УПД needs {what}"), format!("{place}/data/{what}"));
    let number = issued.document.number.ok_or_else(|| missing("document/number"))?;
    let day = issued.document.issued_on.ok_or_else(|| missing("document/issuedOn"))?;
    let amount = issued.amount.ok_or_else(|| missing("amount"))?;
    let gross = kopecks(&amount.value, &format!("{place}/data/amount"))?;
    let tax = match &issued.tax {
        Some(tax) => {
            let at = format!("{place}/data/tax");
            same_currency(tax, &amount, &at)?;
            let minor = kopecks(&tax.value, &at)?;
            // The stated tax may be the sum of rounded lines; another rate it is not.
            if (minor - setup.rate.tax_in(gross)).abs() > gross / 1000 + 100 {
                return Err(rejected("bad-value", format!("the tax is not that of {}", setup.rate_text), at));
            }
            minor
        }
        None => setup.rate.tax_in(gross),
    };
    let named = issued.document.id.unwrap_or_else(|| number.clone());
    let is_guid = named.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && named.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    Ok(Document {
        guid: if is_guid { named.to_ascii_lowercase() } else { guid(&["upd-document", &message.source, &named]) },
        number,
        day,
        period: None,
        account: issued.account,
        buyer: issued.recipient.unwrap_or_default(),
        buyer_field: "recipient",
        currency: amount.currency,
        lines: vec![Line {
            name: issued.title.unwrap_or_else(|| setup.settings.service.clone()),
            quantity: None,
            gross,
            tax,
        }],
    })
}

fn same_currency(money: &Money, other: &Money, place: &str) -> Result<(), Failure> {
    if money.currency == other.currency {
        return Ok(());
    }
    Err(rejected("bad-value", "amounts in two currencies", place))
}

/// A GUID that is the same for the same parts.
fn guid(parts: &[&str]) -> String {
    let digits = ids::derived(parts);
    let group = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32))
}

fn write(setup: &Setup<'_>, message: &Message, document: &Document, place: &str) -> Result<(String, Vec<u8>), Failure> {
    if document.currency != "RUB" {
        return Err(rejected("unknown-currency", "УПД is written in roubles", format!("{place}/data/amount/currency")));
    }
    let day =
        dates::parse_iso_date(&document.day).ok_or_else(|| rejected("bad-value", "no day", format!("{place}/data")))?;
    let buyer_place = format!("{place}/data/{}", document.buyer_field);
    let missing = |what: &str| {
        rejected("missing-field", format!("УПД needs the buyer's {what}"), format!("{buyer_place}/{what}"))
    };
    let tax_id = document.buyer.tax_id.as_deref().filter(|id| is_tax_id(id)).ok_or_else(|| missing("taxId"))?;
    let name = document.buyer.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| missing("name"))?;
    if tax_id.len() == 12 && person(name).1.iter().any(|part| part.chars().count() > NAME_PART_CHARS) {
        let reason = format!("a part of a person's name has at most {NAME_PART_CHARS} characters");
        return Err(rejected("bad-value", reason, format!("{buyer_place}/name")));
    }
    let address = document.buyer.address.as_deref();
    if address.is_none() && setup.settings.function == "СЧФДОП" {
        return Err(missing("address"));
    }
    let receiver = setup.settings.receiver_ids.get(tax_id).ok_or_else(|| {
        rejected(
            "unknown-receiver",
            "`receiver-ids` does not name the buyer's operator",
            format!("{buyer_place}/taxId"),
        )
    })?;
    let compact = dates::compact_date(day);
    let file_id = format!("ON_NSCHFDOPPR_{receiver}_{}_{compact}_{}_0_0_0_0_0_00", setup.seller.id, document.guid);
    let made = message.time.as_deref().and_then(dates::parse_date_time).map(|(local, _)| local);
    let made = made.unwrap_or_else(|| dates::start_of_day(day));
    let clock = format!("{:02}.{:02}.{:02}", made.hour(), made.minute(), made.second());
    let mut content = Vec::new();
    let mut xml = XmlWriter::new(Encoding::Windows1251, |bytes| content.extend_from_slice(bytes));
    xml.start("Файл", &[("ИдФайл", &file_id), ("ВерсФорм", "5.03"), ("ВерсПрог", "busbar")]);
    let (function, title) = match setup.settings.function.as_str() {
        "ДОП" => ("ДОП", FACT),
        _ => ("СЧФДОП", INVOICE_AND_FACT),
    };
    xml.start(
        "Документ",
        &[
            ("КНД", "1115131"),
            ("Функция", function),
            ("ПоФактХЖ", FACT),
            ("НаимДокОпр", title),
            ("ДатаИнфПр", &dates::russian_date(made.date())),
            ("ВремИнфПр", &clock),
            ("НаимЭконСубСост", &setup.seller.name),
        ],
    );
    xml.start("СвСчФакт", &[("НомерДок", &document.number), ("ДатаДок", &dates::russian_date(day))]);
    write_facts(&mut xml, setup, document, (name, tax_id));
    xml.end();
    write_table(&mut xml, setup, &document.lines);
    write_transfer(&mut xml, setup, document, day);
    write_signer(&mut xml, setup.signer);
    xml.finish();
    Ok((format!("{file_id}.xml"), content))
}

fn write_facts<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, setup: &Setup<'_>, document: &Document, buyer: (&str, &str)) {
    let seller = setup.seller;
    let code = seller.tax_registration_code.as_deref();
    write_party(xml, "СвПрод", &seller.name, &seller.tax_id, code, Some(&seller.address));
    let code = document.buyer.tax_registration_code.as_deref().filter(|code| is_registration_code(code));
    write_party(xml, "СвПокуп", buyer.0, buyer.1, code, document.buyer.address.as_deref());
    xml.leaf("ДенИзм", &[("КодОКВ", "643"), ("НаимОКВ", "Российский рубль")], "");
    if let (Some(account), false) = (&document.account, setup.settings.account_field.is_empty()) {
        xml.start("ИнфПолФХЖ1", &[]);
        xml.leaf("ТекстИнф", &[("Идентиф", &setup.settings.account_field), ("Значен", account)], "");
        xml.end();
    }
}

fn write_party<W: FnMut(&[u8])>(
    xml: &mut XmlWriter<W>,
    tag: &str,
    name: &str,
    tax_id: &str,
    code: Option<&str>,
    address: Option<&str>,
) {
    xml.start(tag, &[]);
    xml.start("ИдСв", &[]);
    if tax_id.len() == 12 {
        let (tag, [last, first, middle]) = person(name);
        let mut attributes = vec![("Фамилия", last.as_str()), ("Имя", &first)];
        if !middle.is_empty() {
            attributes.push(("Отчество", &middle));
        }
        xml.start(tag, &[("ИННФЛ", tax_id)]);
        xml.leaf("ФИО", &attributes, "");
        xml.end();
    } else {
        let mut attributes = vec![("НаимОрг", name), ("ИННЮЛ", tax_id)];
        attributes.extend(code.map(|code| ("КПП", code)));
        xml.leaf("СвЮЛУч", &attributes, "");
    }
    xml.end();
    if let Some(address) = address {
        xml.start("Адрес", &[]);
        xml.leaf("АдрИнф", &[("КодСтр", "643"), ("НаимСтран", "Россия"), ("АдрТекст", address)], "");
        xml.end();
    }
    xml.end();
}

fn write_table<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, setup: &Setup<'_>, lines: &[Line]) {
    xml.start("ТаблСчФакт", &[]);
    let (mut gross, mut tax) = (0_i128, 0_i128);
    for (line, number) in lines.iter().zip(1..) {
        gross += line.gross;
        tax += line.tax;
        let net = line.gross - line.tax;
        let [number, net_text, gross_text] = [number.to_string(), roubles(net), roubles(line.gross)];
        let quantity = line.quantity.as_ref().and_then(|(quantity, unit)| {
            let code = setup.settings.units.get(unit)?;
            Some((decimal(*quantity), price(net, *quantity)?, code.as_str(), unit_name(code, unit)))
        });
        let mut attributes = vec![("НомСтр", number.as_str()), ("НаимТов", line.name.as_str())];
        if let Some((quantity, price, code, unit)) = &quantity {
            attributes.extend([("ОКЕИ_Тов", *code), ("НаимЕдИзм", *unit), ("КолТов", quantity), ("ЦенаТов", price)]);
        }
        attributes.extend([
            ("СтТовБезНДС", net_text.as_str()),
            ("НалСт", setup.rate_text),
            ("СтТовУчНал", gross_text.as_str()),
        ]);
        xml.start("СведТов", &attributes);
        write_tax(xml, "СумНал", setup.rate, line.tax);
        xml.end();
    }
    xml.start("ВсегоОпл", &[("СтТовБезНДСВсего", &roubles(gross - tax)), ("СтТовУчНалВсего", &roubles(gross))]);
    write_tax(xml, "СумНалВсего", setup.rate, tax);
    xml.end();
    xml.end();
}

fn write_tax<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, tag: &str, rate: Rate, tax: i128) {
    xml.start(tag, &[]);
    match rate {
        Rate::Percent(_) => xml.leaf("СумНал", &[], &roubles(tax)),
        Rate::WithoutTax => xml.leaf("БезНДС", &[], "без НДС"),
    }
    xml.end();
}

fn write_transfer<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, setup: &Setup<'_>, document: &Document, day: time::Date) {
    let [start, end] = match &document.period {
        Some(Period { start, end }) => [start, end].map(|day| dates::parse_iso_date(day).map(dates::russian_date)),
        None => [None, None],
    };
    let day = dates::russian_date(day);
    let mut attributes = vec![("СодОпер", setup.settings.operation.as_str())];
    match (&start, &end) {
        (Some(start), Some(end)) => attributes.extend([("ДатаНачПер", start.as_str()), ("ДатаОконПер", end.as_str())]),
        _ => attributes.push(("ДатаПер", &day)),
    }
    xml.start("СвПродПер", &[]);
    xml.start("СвПер", &attributes);
    xml.leaf("БезДокОснПер", &[], "1");
    xml.end();
    xml.end();
}

fn write_signer<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, signer: &Signer) {
    xml.start("Подписант", &[("Должн", &signer.post), ("СпосПодтПолном", &signer.authority)]);
    let mut attributes = vec![("Фамилия", signer.last_name.as_str()), ("Имя", signer.first_name.as_str())];
    attributes.extend(signer.middle_name.as_deref().map(|name| ("Отчество", name)));
    xml.leaf("ФИО", &attributes, "");
    xml.end();
}

/// The national sign of a unit of ОКЕИ.
fn unit_name<'a>(code: &str, unit: &'a str) -> &'a str {
    match code {
        "245" => "кВт·ч",
        "246" => "МВт·ч",
        _ => unit,
    }
}

fn roubles(minor: i128) -> String {
    busbar_sdk::money::format_minor(minor)
}

/// Millionths as a decimal.
fn decimal(millionths: i128) -> String {
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

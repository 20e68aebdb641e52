//! Bills -> a file of documents `Счет на оплату`, by the schema 2.10. Pure.

use busbar_sdk::money::Money;
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, Message, data_of, ids, rejected};
use serde::Deserialize;

use crate::settings::Settings;

/// Documents of one file.
const DOCUMENTS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    account: String,
    number: String,
    issued_on: String,
    due_on: Option<String>,
    amount: Money,
    #[serde(default)]
    lines: Vec<Line>,
    #[serde(default)]
    customer: Customer,
}

#[derive(Debug, Deserialize)]
struct Line {
    service: String,
    quantity: Option<String>,
    price: Option<Money>,
    amount: Money,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Customer {
    name: Option<String>,
    tax_id: Option<String>,
    address: Option<String>,
}

/// The bills of the messages.
///
/// # Errors
/// `unmapped-type`, `bad-amount`, `too-many-documents`; the place `/<index>…` names the message.
pub fn documents(messages: &[Message]) -> Result<Vec<Invoice>, Failure> {
    if messages.is_empty() || messages.len() > DOCUMENTS_MAX {
        return Err(rejected("too-many-documents", format!("a file has 1 to {DOCUMENTS_MAX} documents"), ""));
    }
    let mut invoices = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if message.type_ != "invoice.issued.v1" {
            let reason = format!("{} is no document of this format", message.type_);
            return Err(rejected("unmapped-type", reason, format!("/{index}/type")));
        }
        let invoice: Invoice = data_of(message)?;
        let lines = invoice.lines.iter().map(|line| &line.amount);
        if lines
            .chain([&invoice.amount])
            .any(|amount| amount.minor().is_none() || amount.currency != invoice.amount.currency)
        {
            let reason = "amounts have at most two digits after the point, and one currency";
            return Err(rejected("bad-amount", reason, format!("/{index}/data/amount")));
        }
        invoices.push(invoice);
    }
    Ok(invoices)
}

/// Writes the file; its name.
pub fn write<W: FnMut(&[u8])>(settings: &Settings, invoices: &[Invoice], mut xml: XmlWriter<W>) -> String {
    let latest = invoices.iter().map(|invoice| invoice.issued_on.as_str()).max().unwrap_or_default();
    let made = format!("{latest}T00:00:00");
    let root = [("xmlns", "urn:1C.ru:commerceml_2"), ("ВерсияСхемы", "2.10"), ("ДатаФормирования", made.as_str())];
    xml.start("КоммерческаяИнформация", &root);
    let mut parts = Vec::new();
    for invoice in invoices {
        document(settings, invoice, &mut xml);
        parts.extend([invoice.account.as_str(), invoice.number.as_str()]);
    }
    xml.end();
    xml.finish();
    format!("invoices_{latest}_{}.xml", ids::derived(&parts).get(..12).unwrap_or_default())
}

fn document<W: FnMut(&[u8])>(settings: &Settings, invoice: &Invoice, xml: &mut XmlWriter<W>) {
    xml.start("Документ", &[]);
    // At most 40 characters; the number is unique within the utility.
    xml.leaf("Ид", &[], &ids::derived(&["commerceml", &invoice.number]));
    xml.leaf("Номер", &[], &invoice.number);
    xml.leaf("Дата", &[], &invoice.issued_on);
    xml.leaf("ХозОперация", &[], "Счет на оплату");
    xml.leaf("Роль", &[], "Продавец");
    xml.leaf("Валюта", &[], &invoice.amount.currency);
    xml.leaf("Курс", &[], "1");
    xml.leaf("Сумма", &[], &invoice.amount.value);
    xml.start("Контрагенты", &[]);
    if !settings.seller.name.is_empty() {
        xml.start("Контрагент", &[]);
        xml.leaf("Наименование", &[], &settings.seller.name);
        xml.leaf("ОфициальноеНаименование", &[], &settings.seller.name);
        if !settings.seller.tax_id.is_empty() {
            xml.leaf("ИНН", &[], &settings.seller.tax_id);
        }
        xml.leaf("Роль", &[], "Продавец");
        xml.end();
    }
    buyer(invoice, xml);
    xml.end();
    if let Some(due) = &invoice.due_on {
        xml.leaf("СрокПлатежа", &[], due);
    }
    xml.leaf("Комментарий", &[], &format!("ЛС: {}", invoice.account));
    if !invoice.lines.is_empty() {
        xml.start("Товары", &[]);
        for line in &invoice.lines {
            goods(line, xml);
        }
        xml.end();
    }
    xml.end();
}

fn buyer<W: FnMut(&[u8])>(invoice: &Invoice, xml: &mut XmlWriter<W>) {
    let tax_id = invoice.customer.tax_id.as_deref();
    let name = invoice.customer.name.as_deref().unwrap_or(&invoice.account);
    let short = short(name, 255);
    // Ten digits are an organisation's.
    let is_organisation = tax_id.is_some_and(|tax_id| tax_id.len() == 10);
    let (full, address) = match is_organisation {
        true => ("ОфициальноеНаименование", "ЮридическийАдрес"),
        false => ("ПолноеНаименование", "АдресРегистрации"),
    };
    xml.start("Контрагент", &[]);
    xml.leaf("Ид", &[], &ids::derived(&["commerceml", &invoice.account]));
    xml.leaf("Наименование", &[], short);
    xml.leaf(full, &[], short);
    let write_address = |xml: &mut XmlWriter<W>| {
        if let Some(text) = &invoice.customer.address {
            xml.start(address, &[]);
            xml.leaf("Представление", &[], self::short(text, 255));
            xml.end();
        }
    };
    if is_organisation {
        write_address(xml);
    }
    if let Some(tax_id) = tax_id {
        xml.leaf("ИНН", &[], tax_id);
    }
    if !is_organisation {
        write_address(xml);
    }
    xml.leaf("Роль", &[], "Покупатель");
    xml.end();
}

fn goods<W: FnMut(&[u8])>(line: &Line, xml: &mut XmlWriter<W>) {
    xml.start("Товар", &[]);
    xml.leaf("Наименование", &[], &line.service);
    xml.leaf("БазоваяЕдиница", &[], "");
    if let Some(price) = line.price.as_ref().filter(|price| price.minor().is_some()) {
        xml.leaf("ЦенаЗаЕдиницу", &[], &price.value);
    }
    if let Some(quantity) = &line.quantity {
        xml.leaf("Количество", &[], quantity);
    }
    xml.leaf("Сумма", &[], &line.amount.value);
    xml.end();
}

fn short(text: &str, chars_max: usize) -> &str {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

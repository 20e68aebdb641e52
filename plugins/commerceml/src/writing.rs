//! Documents -> a file by the schema 2.10. Pure.

use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, Message, ids, rejected, texts};

use crate::outgoing::{self, Document, Goods, Party};
use crate::settings::Settings;

/// Documents of one file.
const DOCUMENTS_MAX: usize = 10_000;
/// Characters of names and addresses, and of comments.
const NAME_CHARS: usize = 255;
const COMMENT_CHARS: usize = 3000;

/// The documents of the messages.
///
/// # Errors
/// Those of [`outgoing::document`], the place `/<index>…` names the message; `too-many-documents`.
pub fn documents(settings: &Settings, messages: &[Message]) -> Result<Vec<Document>, Failure> {
    if messages.is_empty() || messages.len() > DOCUMENTS_MAX {
        return Err(rejected("too-many-documents", format!("a file has 1 to {DOCUMENTS_MAX} documents"), ""));
    }
    let each = messages.iter().enumerate();
    Ok(each.map(|(at, message)| outgoing::document(settings, message, &format!("/{at}"))).collect::<Result<_, _>>()?)
}

/// Writes the file; its name.
pub fn write<W: FnMut(&[u8])>(documents: &[Document], mut xml: XmlWriter<W>) -> String {
    let latest = documents.iter().map(|document| document.issued_on.as_str()).max().unwrap_or("2000-01-01");
    let made = format!("{latest}T00:00:00");
    let root = [("xmlns", "urn:1C.ru:commerceml_2"), ("ВерсияСхемы", "2.10"), ("ДатаФормирования", made.as_str())];
    xml.start("КоммерческаяИнформация", &root);
    let mut parts = Vec::new();
    for document in documents {
        write_document(document, &mut xml);
        parts.extend([document.id.as_str(), document.number.as_str(), document.amount.as_str()]);
    }
    xml.end();
    xml.finish();
    format!("documents_{latest}_{}.xml", ids::derived(&parts).get(..12).unwrap_or_default())
}

fn write_document<W: FnMut(&[u8])>(document: &Document, xml: &mut XmlWriter<W>) {
    xml.start("Документ", &[]);
    xml.leaf("Ид", &[], &document.id);
    xml.leaf("Номер", &[], &document.number);
    xml.leaf("Дата", &[], &document.issued_on);
    xml.leaf("ХозОперация", &[], &document.operation);
    xml.leaf("Роль", &[], &document.role);
    xml.leaf("Валюта", &[], &document.currency);
    xml.leaf("Курс", &[], "1");
    xml.leaf("Сумма", &[], &document.amount);
    xml.start("Контрагенты", &[]);
    for party in &document.parties {
        write_party(party, xml);
    }
    xml.end();
    optional(xml, "Время", document.time.as_deref());
    optional(xml, "СрокПлатежа", document.due_on.as_deref());
    if !document.comment.is_empty() {
        xml.leaf("Комментарий", &[], &texts::shortened(&document.comment, COMMENT_CHARS));
    }
    if let Some(tax) = &document.tax {
        xml.start("Налоги", &[]);
        xml.start("Налог", &[]);
        xml.leaf("Наименование", &[], "НДС");
        xml.leaf("УчтеноВСумме", &[], "true");
        xml.leaf("Сумма", &[], tax);
        xml.end();
        xml.end();
    }
    if !document.goods.is_empty() {
        xml.start("Товары", &[]);
        for goods in &document.goods {
            write_goods(goods, xml);
        }
        xml.end();
    }
    if let Some(address) = &document.delivery_address {
        xml.start("ЗначенияРеквизитов", &[]);
        xml.start("ЗначениеРеквизита", &[]);
        xml.leaf("Наименование", &[], "Адрес доставки");
        xml.leaf("Значение", &[], address);
        xml.end();
        xml.end();
    }
    xml.end();
}

fn write_party<W: FnMut(&[u8])>(party: &Party, xml: &mut XmlWriter<W>) {
    let name = short(&party.name, NAME_CHARS);
    // An ИНН of ten digits and a КПП are an organisation's; the utility is one.
    let is_organisation = party.tax_id.as_ref().is_some_and(|tax_id| tax_id.len() == 10)
        || party.tax_registration_code.is_some()
        || party.role == "Продавец" && party.tax_id.is_none();
    let address = |xml: &mut XmlWriter<W>, element: &str| {
        if let Some(text) = &party.address {
            xml.start(element, &[]);
            xml.leaf("Представление", &[], short(text, NAME_CHARS));
            xml.end();
        }
    };
    xml.start("Контрагент", &[]);
    optional(xml, "Ид", party.id.as_deref());
    xml.leaf("Наименование", &[], name);
    xml.leaf(
        if is_organisation {
            "ОфициальноеНаименование"
        } else {
            "ПолноеНаименование"
        },
        &[],
        name,
    );
    if is_organisation {
        address(xml, "ЮридическийАдрес");
    }
    optional(xml, "ИНН", party.tax_id.as_deref());
    optional(xml, "КПП", party.tax_registration_code.as_deref());
    if !is_organisation {
        address(xml, "АдресРегистрации");
    }
    // The kinds of contacts are a list of the schema; what is called is any phone.
    let contacts = [("Телефон рабочий", &party.phone), ("Почта", &party.email)];
    let contacts: Vec<_> = contacts.into_iter().filter_map(|(kind, text)| Some((kind, text.as_ref()?))).collect();
    if !contacts.is_empty() {
        xml.start("Контакты", &[]);
        for (kind, text) in contacts {
            xml.start("Контакт", &[]);
            xml.leaf("Тип", &[], kind);
            xml.leaf("Значение", &[], text);
            xml.end();
        }
        xml.end();
    }
    xml.leaf("Роль", &[], &party.role);
    xml.end();
}

fn write_goods<W: FnMut(&[u8])>(goods: &Goods, xml: &mut XmlWriter<W>) {
    xml.start("Товар", &[]);
    optional(xml, "Ид", goods.id.as_deref());
    xml.leaf("Наименование", &[], short(&goods.name, NAME_CHARS));
    xml.leaf("БазоваяЕдиница", &[], "");
    optional(xml, "ЦенаЗаЕдиницу", goods.price.as_deref());
    optional(xml, "Количество", goods.quantity.as_deref());
    xml.leaf("Сумма", &[], &goods.amount);
    xml.end();
}

fn optional<W: FnMut(&[u8])>(xml: &mut XmlWriter<W>, element: &str, text: Option<&str>) {
    if let Some(text) = text {
        xml.leaf(element, &[], text);
    }
}

fn short(text: &str, chars_max: usize) -> &str {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

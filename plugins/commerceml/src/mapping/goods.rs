//! Goods of a catalogue, offers with prices, and what is in stock.

use busbar_sdk::xml::Tree;
use busbar_sdk::{Rejection, Sink, rejection};
use serde_json::{Map, Value, json};

use super::{Known, currency, id, money, number, required, requisite, set, state, status, text};
use crate::settings::Settings;

/// Groups within groups.
const GROUPS_DEPTH_MAX: usize = 32;

pub fn name_groups(groups: &Tree, known: &mut Known) {
    let mut open: Vec<(&Tree, usize)> = vec![(groups, 0)];
    while let Some((list, depth)) = open.pop() {
        for group in list.all("Группа") {
            if let (Some(id), Some(name)) = (group.text_at("Ид"), group.text_at("Наименование")) {
                known.groups.insert(id.to_owned(), name.chars().take(200).collect());
            }
            if let Some(inner) = group.at("Группы").filter(|_| depth < GROUPS_DEPTH_MAX) {
                open.push((inner, depth + 1));
            }
        }
    }
}

pub fn name_price_types(types: &Tree, known: &mut Known) {
    for one in types.all("ТипЦены") {
        let text = |name| one.text_at(name).unwrap_or_default().to_owned();
        known.price_types.insert(text("Ид"), (text("Наименование"), text("Валюта")));
    }
}

/// `Товар`: a product as the catalogue describes it.
pub fn product(tree: &Tree, known: &Known, sink: &mut impl Sink) -> Result<(), Rejection> {
    let id = id(tree, 128)?;
    let data = described(tree, &id, required(tree, "Наименование", 500)?, known)?;
    sink.emit(state(known, "product.changed.v1", &id, data, tree));
    Ok(())
}

fn described(tree: &Tree, id: &str, name: String, known: &Known) -> Result<Map<String, Value>, Rejection> {
    let mut data = Map::new();
    data.insert("product".into(), json!(id));
    data.insert("name".into(), json!(name));
    data.insert("status".into(), json!(status(tree, "withdrawn", "on-sale")));
    set(&mut data, "article", text(tree, &["Артикул"], 64)?);
    set(&mut data, "description", text(tree, &["Описание"], 10_000)?);
    let kind = match requisite(tree, "ТипНоменклатуры") {
        Some("Услуга") => Some("service"),
        Some("Товар") => Some("goods"),
        _ => None,
    };
    set(&mut data, "kind", kind);
    let group = tree.text_at("Группы/Ид").and_then(|id| known.groups.get(id));
    set(&mut data, "category", group.cloned());
    set(&mut data, "unit", unit(tree));
    let rates = tree.at("СтавкиНалогов").into_iter().flat_map(|rates| rates.all("СтавкаНалога"));
    let rate = rates.filter(|rate| rate.text_at("Наименование") == Some("НДС")).find_map(|rate| rate.text_at("Ставка"));
    // A word instead of a rate says that there is no tax.
    let rate = rate.and_then(|rate| busbar_sdk::decimal::Decimal::parse(rate.trim_end_matches('%')));
    set(&mut data, "taxRate", rate.filter(|rate| !rate.is_negative()).and_then(|rate| rate.canonical()));
    Ok(data)
}

/// The unit's short name; its code or full name where there is none.
fn unit(tree: &Tree) -> Option<&str> {
    let unit = tree.at("БазоваяЕдиница").or_else(|| tree.at("Единица"))?;
    let named = Some(unit.text.as_str()).filter(|text| !text.is_empty());
    let named = named.or_else(|| unit.text_at("НаименованиеКраткое")).or_else(|| unit.attribute("НаименованиеКраткое"));
    let named =
        named.or_else(|| unit.attribute("МеждународноеСокращение")).or_else(|| unit.attribute("НаименованиеПолное"));
    named.or_else(|| unit.attribute("Код")).filter(|name| name.chars().count() <= 20)
}

/// `Предложение`: a product with its price, where it is named, and what there is of it.
pub fn offer(settings: &Settings, tree: &Tree, known: &mut Known, sink: &mut impl Sink) -> Result<(), Rejection> {
    let id = id(tree, 128)?;
    let price = price(settings, tree, known)?;
    match text(tree, &["Наименование"], 500)? {
        Some(name) => {
            let mut data = described(tree, &id, name.to_owned(), known)?;
            set(&mut data, "price", price);
            sink.emit(state(known, "product.changed.v1", &id, data, tree));
        }
        None => known.nameless += usize::from(price.is_some()),
    }
    let mut stated = false;
    for warehouse in tree.all("Склад") {
        if let (Some(place), Some(quantity)) =
            (warehouse.attribute("ИдСклада"), warehouse.attribute("КоличествоНаСкладе"))
        {
            stock(tree, &id, Some(place), quantity, known, sink)?;
            stated = true;
        }
    }
    for rest in tree.at("Остатки").into_iter().flat_map(|rests| rests.all("Остаток")) {
        if let Some(quantity) = rest.text_at("Склад/Количество").or_else(|| rest.text_at("Количество"))
        {
            stock(tree, &id, rest.text_at("Склад/Ид"), quantity, known, sink)?;
            stated = true;
        }
    }
    if let Some(quantity) = tree.text_at("Количество").filter(|_| !stated) {
        stock(tree, &id, None, quantity, known, sink)?;
    }
    Ok(())
}

fn stock(
    tree: &Tree,
    product: &str,
    warehouse: Option<&str>,
    quantity: &str,
    known: &Known,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let value = number(tree, "Количество", quantity)?.canonical();
    let bad = || rejection("bad-number", format!("Количество: `{quantity}` does not fit"), tree.place.clone());
    let mut data = Map::new();
    data.insert("product".into(), json!(product));
    data.insert("quantity".into(), json!(value.ok_or_else(bad)?));
    data.insert("asOfAt".into(), json!(known.made_at));
    if let Some(warehouse) = warehouse {
        if warehouse.chars().count() > 64 {
            return Err(rejection("field-too-long", "the id of a warehouse is over 64 characters", tree.place.clone()));
        }
        data.insert("warehouse".into(), json!(warehouse));
    }
    set(&mut data, "unit", unit(tree));
    sink.emit(state(known, "stock.changed.v1", product, data, tree));
    Ok(())
}

/// The price of the type that the settings name, else the first.
fn price(settings: &Settings, tree: &Tree, known: &Known) -> Result<Option<Value>, Rejection> {
    let Some(prices) = tree.at("Цены") else { return Ok(None) };
    let type_of = |price: &Tree| price.text_at("ИдТипаЦены").and_then(|id| known.price_types.get(id));
    let wanted = settings.price_type.as_str();
    let fits = |price: &&Tree| {
        wanted.is_empty()
            || price.text_at("ИдТипаЦены") == Some(wanted)
            || type_of(price).is_some_and(|(name, _)| name == wanted)
    };
    let Some(price) = prices.all("Цена").find(fits) else { return Ok(None) };
    let Some(value) = price.text_at("ЦенаЗаЕдиницу") else { return Ok(None) };
    let code = price.text_at("Валюта").or_else(|| type_of(price).map(|(_, code)| code.as_str()));
    let code = currency(settings, code.filter(|code| !code.is_empty()), &price.place)?;
    let value = money(price, "ЦенаЗаЕдиницу", value, code)?;
    // A price below nothing is none.
    Ok(Some(value).filter(|value| !value["value"].as_str().unwrap_or_default().starts_with('-')))
}

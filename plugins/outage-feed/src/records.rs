//! A body -> its items, one at a time: JSON values with a place, whatever the format.

use std::fmt;

use busbar_sdk::encoding::{self, Encoding};
use busbar_sdk::xml::{Event, Tree, Xml};
use busbar_sdk::{Rejection, rejection};
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::labels;

/// What the data of one item may take.
const ITEM_BYTES_MAX: usize = 1 << 20;

/// Takes an item and its place.
pub trait Take: FnMut(Value, String) -> Result<(), Rejection> {}

impl<F: FnMut(Value, String) -> Result<(), Rejection>> Take for F {}

/// The elements of the array at `pointer`.
///
/// # Errors
/// `not-json`, `not-this-shape` where there is no such array, and what `take` refuses.
pub fn json(body: &[u8], pointer: &str, take: &mut impl Take) -> Result<(), Rejection> {
    let mut has_array = false;
    find(body, pointer, &mut |found| match found {
        Found::Element(element, place) => take(element, place),
        Found::Array => {
            has_array = true;
            Ok(())
        }
        Found::Number(_) => Ok(()),
    })?;
    if has_array { Ok(()) } else { Err(rejection("not-this-shape", "no array where the shape has its items", pointer)) }
}

/// The number at `pointer`.
///
/// # Errors
/// `not-json`.
pub fn number(body: &[u8], pointer: &str) -> Result<Option<u64>, Rejection> {
    let mut number = None;
    find(body, pointer, &mut |found| {
        if let Found::Number(found) = found {
            number = Some(found);
        }
        Ok(())
    })?;
    Ok(number)
}

/// What an answer says of being cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The server gave no more than it may (ArcGIS: `exceededTransferLimit`).
    pub is_cut: bool,
    /// How many there are altogether (OGC API Features: `numberMatched`, GeoServer: `totalFeatures`).
    pub total: Option<u64>,
}

/// What a JSON feed says of itself, beside its items.
pub fn extent(body: &[u8]) -> Extent {
    let (text, _) = encoding::decode(encoding::without_bom(body), Encoding::Utf8);
    let Ok(root) = serde_json::from_str::<Root>(&text) else { return Extent::default() };
    let is_cut = |value: Option<&Value>| matches!(value, Some(Value::Bool(true)));
    let within = root.properties.as_ref().and_then(|properties| properties.get("exceededTransferLimit"));
    let total = [root.number_matched, root.total_features].into_iter().flatten().find_map(|number| number.as_u64());
    Extent { is_cut: is_cut(root.exceeded_transfer_limit.as_ref()) || is_cut(within), total }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Root {
    exceeded_transfer_limit: Option<Value>,
    /// Where ArcGIS has it in GeoJSON.
    properties: Option<Value>,
    number_matched: Option<Value>,
    total_features: Option<Value>,
}

enum Found {
    Array,
    Element(Value, String),
    Number(u64),
}

/// Reads the body once, keeping no more of it than one element.
fn find(body: &[u8], pointer: &str, give: &mut dyn FnMut(Found) -> Result<(), Rejection>) -> Result<(), Rejection> {
    let (text, _) = encoding::decode(encoding::without_bom(body), Encoding::Utf8);
    let names: Vec<String> =
        pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect();
    let mut refused = None;
    let mut json = serde_json::Deserializer::from_str(&text);
    let result = At { names: &names, pointer, give, refused: &mut refused }.deserialize(&mut json);
    match (refused, result.and_then(|()| json.end())) {
        (Some(rejection), _) => Err(rejection),
        (None, Err(error)) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            Err(rejection("not-json", format!("no whole JSON: {error}"), place))
        }
        (None, Ok(())) => Ok(()),
    }
}

struct At<'a> {
    /// What is left of the way.
    names: &'a [String],
    pointer: &'a str,
    give: &'a mut dyn FnMut(Found) -> Result<(), Rejection>,
    refused: &'a mut Option<Rejection>,
}

impl At<'_> {
    fn found<E: serde::de::Error>(&mut self, found: Found) -> Result<(), E> {
        (self.give)(found).map_err(|rejection| {
            *self.refused = Some(rejection);
            E::custom("refused")
        })
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match self.names.split_first() {
                Some((name, names)) if *name == key => {
                    let inner = At { names, pointer: self.pointer, give: &mut *self.give, refused: &mut *self.refused };
                    map.next_value_seed(inner)?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        if !self.names.is_empty() {
            while array.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        self.found(Found::Array)?;
        let mut index = 0_usize;
        while let Some(element) = array.next_element::<Value>()? {
            let place = format!("{}/{index}", self.pointer);
            self.found(Found::Element(element, place))?;
            index += 1;
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(mut self, number: u64) -> Result<(), E> {
        if self.names.is_empty() { self.found(Found::Number(number)) } else { Ok(()) }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The items of RSS 2.0: an object of their texts, with the labels of the description.
///
/// # Errors
/// Of [`busbar_sdk::xml`], `not-this-shape` for another document, and what `take` refuses.
pub fn rss(body: &[u8], take: &mut impl Take) -> Result<(), Rejection> {
    let mut xml = Xml::of_bytes(body);
    let root = xml.root()?;
    let mut has_channel = false;
    while let Some(channel) = xml.child()? {
        if root.name != "rss" || channel.name != "channel" {
            xml.skip()?;
            continue;
        }
        has_channel = true;
        while let Some(element) = xml.child()? {
            if element.name == "item" {
                let place = xml.place();
                take(fields(&mut xml, Map::new())?, place)?;
            } else {
                xml.skip()?;
            }
        }
    }
    let place = xml.place();
    xml.finish()?;
    if has_channel { Ok(()) } else { Err(rejection("not-this-shape", "no channel of RSS 2.0", place)) }
}

/// The placemarks of KML in whatever folders: an object of their texts and their `data`.
///
/// # Errors
/// Of [`busbar_sdk::xml`], `not-this-shape` for another document, and what `take` refuses.
pub fn kml(body: &[u8], take: &mut impl Take) -> Result<(), Rejection> {
    let mut xml = Xml::of_bytes(body);
    let root = xml.root()?;
    if root.name != "kml" {
        return Err(xml.rejection("not-this-shape", "no KML"));
    }
    loop {
        match xml.next_event()? {
            Event::Start(element) => match element.name.as_str() {
                "Document" | "Folder" => {}
                "Placemark" => {
                    let place = xml.place();
                    let id = element.attribute("id").unwrap_or_default();
                    take(fields(&mut xml, Map::from_iter([("id".to_owned(), id.into())]))?, place)?;
                }
                _ => xml.skip()?,
            },
            Event::End | Event::Text(_) => {}
            Event::Eof => return Ok(()),
        }
    }
}

fn fields<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, mut item: Map<String, Value>) -> Result<Value, Rejection> {
    let mut left = ITEM_BYTES_MAX;
    while let Some(element) = xml.child()? {
        let name = element.name.clone();
        match name.as_str() {
            "description" => {
                let (text, labels) = labels::read(&xml.text()?);
                item.insert(name, text.into());
                item.insert("labels".to_owned(), labels.into());
            }
            "title" | "link" | "guid" | "pubDate" | "category" | "name" | "styleUrl" | "address" => {
                item.insert(name, xml.text()?.into());
            }
            "ExtendedData" => {
                let data = Tree::read(xml, element, &mut left)?;
                let mut values = Map::new();
                extended(&data, &mut values);
                item.insert("data".to_owned(), values.into());
            }
            _ => xml.skip()?,
        }
    }
    Ok(Value::Object(item))
}

/// `<Data name="…"><value>…` and `<SimpleData name="…">…`.
fn extended(tree: &Tree, values: &mut Map<String, Value>) {
    for child in &tree.children {
        match child.attribute("name") {
            Some(name) => {
                let value = child.text_at("value").unwrap_or(&child.text);
                values.insert(name.to_owned(), value.into());
            }
            None => extended(child, values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(read: impl Fn(&mut dyn FnMut(Value, String)) -> Result<(), Rejection>) -> Vec<(Value, String)> {
        let mut all = Vec::new();
        read(&mut |value, place| all.push((value, place))).unwrap();
        all
    }

    #[test]
    fn elements_of_an_array_within() {
        let body = br#"{"a":{"n":1},"b/c":{"x":[[9]],"d":[{"id":1},2]},"meta":{"pages":7}}"#;
        let seen = all(|take| {
            json(body, "/b~1c/d", &mut |value, place| {
                take(value, place);
                Ok(())
            })
        });
        assert_eq!(seen, [(serde_json::json!({"id": 1}), "/b~1c/d/0".to_owned()), (2.into(), "/b~1c/d/1".to_owned())]);
        assert_eq!(number(body, "/meta/pages").unwrap(), Some(7));
        assert_eq!(number(body, "/meta/other").unwrap(), None);
        for pointer in ["/a", "/b~1c", "/x", "", "/a/n"] {
            let refused = json(body, pointer, &mut |_, _| Ok(())).unwrap_err();
            assert_eq!(
                (refused.code.as_str(), refused.place.unwrap_or_default().as_str()),
                ("not-this-shape", pointer)
            );
        }
        let refused = json(b"[1,2", "", &mut |_, _| Ok(())).unwrap_err();
        assert_eq!((refused.code.as_str(), refused.place.as_deref()), ("not-json", Some("line 1, column 4")));
    }

    #[test]
    fn placemarks_in_folders_with_data() {
        let body = b"<kml><Document><name>d</name><Folder><name>f</name><Placemark id='p1'><name>A &amp; B</name>            <ExtendedData><Data name='etr'><value>soon</value></Data><SchemaData><SimpleData name='n'>7</SimpleData>            </SchemaData></ExtendedData><Point><coordinates>1,2</coordinates></Point></Placemark></Folder></Document></kml>";
        let seen = all(|take| {
            kml(body, &mut |value, place| {
                take(value, place);
                Ok(())
            })
        });
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].0, serde_json::json!({"id": "p1", "name": "A & B", "data": {"etr": "soon", "n": "7"}}));
        assert_eq!(seen[0].1, "line 1, element kml/Document/Folder/Placemark");
    }
}

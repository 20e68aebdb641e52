//! `busbar.toml` as JSON, with the place of every key and value.

use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Bytes in the source.
pub type Span = Range<usize>;

/// The parsed document and where each JSON Pointer stands in it.
pub struct Source {
    pub text: String,
    pub value: Value,
    keys: HashMap<String, Span>,
    values: HashMap<String, Span>,
}

impl Source {
    /// # Errors
    /// Syntax mistakes with their places; the source is what could be read all the same.
    pub fn parse(text: String) -> (Self, Vec<(String, Span)>) {
        let (table, errors) = DeTable::parse_recoverable(&text);
        let errors = errors.into_iter().map(|e| (e.message().to_string(), e.span().unwrap_or(0..0))).collect();
        let mut source = Self { text: String::new(), value: Value::Null, keys: HashMap::new(), values: HashMap::new() };
        source.value = source.table("", table.get_ref());
        source.text = text;
        (source, errors)
    }

    fn table(&mut self, pointer: &str, table: &DeTable<'_>) -> Value {
        let mut map = Map::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().to_string();
            let pointer = format!("{pointer}/{}", escape(&name));
            self.keys.insert(pointer.clone(), key.span());
            map.insert(name, self.convert(&pointer, value));
        }
        Value::Object(map)
    }

    fn convert(&mut self, pointer: &str, value: &Spanned<DeValue<'_>>) -> Value {
        self.values.insert(pointer.to_string(), value.span());
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
            }
            DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
            DeValue::Boolean(yes) => Value::Bool(*yes),
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(items.map(|(i, item)| self.convert(&format!("{pointer}/{i}"), item)).collect())
            }
            DeValue::Table(table) => self.table(pointer, table),
        }
    }

    /// The same places with another value.
    pub fn with(&self, value: Value) -> Self {
        Self { text: self.text.clone(), value, keys: self.keys.clone(), values: self.values.clone() }
    }

    /// Whether the file says something at `pointer`.
    pub fn says(&self, pointer: &str) -> bool {
        self.values.contains_key(pointer)
    }

    /// Where the key of `pointer` stands, or the nearest thing around it.
    pub fn key(&self, pointer: &str) -> Span {
        self.keys.get(pointer).cloned().unwrap_or_else(|| self.value_span(pointer))
    }

    /// Where the value of `pointer` stands, or the nearest thing around it.
    pub fn value_span(&self, pointer: &str) -> Span {
        let mut at = pointer;
        loop {
            if let Some(span) = self.values.get(at) {
                // A table of its own spans all its lines: its header is enough.
                let multi = self.text.get(span.clone()).is_some_and(|t| t.contains('\n'));
                return if multi { self.keys.get(at).cloned().unwrap_or(span.clone()) } else { span.clone() };
            }
            match at.rfind('/') {
                Some(cut) => at = at.get(..cut).unwrap_or_default(),
                None => return 0..0,
            }
        }
    }

    /// Removes what stands at `pointer`, so that the rest can be looked at.
    pub fn remove(&mut self, pointer: &str) {
        let Some((parent, name)) = pointer.rsplit_once('/') else { return };
        match self.value.pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.remove(&unescape(name))),
            // Without one of its items the others would stand at the wrong places.
            Some(Value::Array(_)) => self.remove(parent),
            _ => {}
        }
    }
}

/// RFC 6901, section 3.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

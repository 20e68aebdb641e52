//! Tables of fields: an object of 1C -> the data of a message, and a message -> an object of 1C. Pure.

use busbar_sdk::{Rejection, rejection};
use serde_json::{Map, Value, json};

use crate::settings::{Fields, Find, Full, Rule, Settings};
use crate::value;

/// Rows of one tabular section.
const ROWS_MAX: usize = 5_000;

/// Which way values go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    FromOneC,
    ToOneC,
}

/// What `@name` stands for: the question's data, attributes of a message, the present.
pub type Named<'a> = &'a dyn Fn(&str) -> Option<Value>;
/// The reference of the object that has a value.
pub type Finder<'a> = &'a mut dyn FnMut(&Find, &str) -> Result<Option<String>, busbar_sdk::Failure>;

/// A table of fields being followed.
pub struct Table<'a> {
    pub settings: &'a Settings,
    pub way: Way,
    pub named: Named<'a>,
    /// The object of 1C, or `/data` of a message.
    pub place: &'a str,
}

impl Table<'_> {
    /// The object that the fields make of `source`.
    ///
    /// # Errors
    /// `missing-field`, `bad-value`, `too-many-rows`; what `find` says of references.
    pub fn fill(
        &self,
        fields: &Fields,
        source: &Value,
        find: Finder,
    ) -> Result<Map<String, Value>, busbar_sdk::Failure> {
        let mut object = Map::new();
        for (target, rule) in fields {
            if let Some(value) = self.value(rule, target, source, find)? {
                put(&mut object, target, value);
            }
        }
        Ok(object)
    }

    fn value(
        &self,
        rule: &Rule,
        target: &str,
        source: &Value,
        find: Finder,
    ) -> Result<Option<Value>, busbar_sdk::Failure> {
        let short;
        let full = match rule {
            Rule::Full(full) => full.as_ref(),
            Rule::From(from) => {
                short = Full { from: crate::settings::Sources(vec![from.clone()]), ..Full::default() };
                &short
            }
        };
        let found = match full.rows.is_empty() {
            true => self.single(full, target, source, find)?,
            false => self.rows(full, target, source, find)?,
        };
        let found = found.or_else(|| full.default.clone());
        if found.is_none() && full.required {
            return Err(self.rejection("missing-field", "it is empty", target, full).into());
        }
        Ok(found)
    }

    fn single(
        &self,
        rule: &Full,
        target: &str,
        source: &Value,
        find: Finder,
    ) -> Result<Option<Value>, busbar_sdk::Failure> {
        if let Some(value) = &rule.r#const {
            return Ok(Some(value.clone()));
        }
        let bad = |reason: String| self.rejection("bad-value", &reason, target, rule);
        let mut found = None;
        for from in &rule.from.0 {
            found = self.text(source, from).map_err(bad)?;
            if found.is_some() {
                break;
            }
        }
        let Some(text) = found else { return Ok(None) };
        if let Some(by) = &rule.find {
            return Ok(find(by, &text)?.map(Value::from));
        }
        if !rule.map.is_empty() {
            return Ok(rule.map.get(&text).or_else(|| rule.map.get("*")).cloned());
        }
        match self.way {
            Way::FromOneC => Ok(value::canonical(self.settings, rule.r#as, text).map_err(bad)?),
            Way::ToOneC => Ok(Some(value::foreign(self.settings, rule.r#as, text).map_err(bad)?)),
        }
    }

    fn rows(
        &self,
        rule: &Full,
        target: &str,
        source: &Value,
        find: Finder,
    ) -> Result<Option<Value>, busbar_sdk::Failure> {
        let rows = at(source, &rule.rows).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if rows.len() > ROWS_MAX {
            return Err(self.rejection("too-many-rows", &format!("over {ROWS_MAX} rows"), target, rule).into());
        }
        let mut values = Vec::new();
        for row in rows {
            let fits =
                |(name, wanted): (&String, &String)| self.text(row, name).ok().flatten().unwrap_or_default() == *wanted;
            if !rule.r#where.iter().all(fits) {
                continue;
            }
            let value = match rule.fields.is_empty() {
                true => self.single(rule, target, row, find)?,
                false => {
                    let mut object = self.fill(&rule.fields, row, find)?;
                    if self.way == Way::ToOneC {
                        // 1C refuses rows without their number.
                        object.insert("LineNumber".to_owned(), json!((values.len() + 1).to_string()));
                    }
                    Some(Value::Object(object))
                }
            };
            values.extend(value.filter(|value| !rule.fields.is_empty() || !values.contains(value)));
        }
        Ok((!values.is_empty()).then_some(Value::Array(values)))
    }

    fn text(&self, source: &Value, from: &str) -> Result<Option<String>, String> {
        match from.strip_prefix('@') {
            Some(name) => value::text(&(self.named)(name).unwrap_or_default()),
            None => at(source, from).map_or(Ok(None), value::text),
        }
    }

    fn rejection(&self, code: &str, reason: &str, target: &str, rule: &Full) -> Rejection {
        let from = if rule.rows.is_empty() { rule.from.0.join(" or ") } else { rule.rows.clone() };
        let place = match self.way {
            Way::FromOneC => format!("{}, field {from}", self.place),
            Way::ToOneC => format!("{}/{}", self.place, from.replace('.', "/")),
        };
        rejection(code, format!("for {target}: {reason}"), place)
    }
}

/// The value at a path of names joined by `.`.
pub fn at<'a>(source: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(source, |value, name| value.get(name))
}

/// Sets the value at a path of names joined by `.`.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(object.insert(path.to_owned(), value)),
        Some((name, rest)) => {
            let inner = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// Where the subject of a message of a type stands in its data.
pub fn subject_path(r#type: &str) -> &'static str {
    match r#type.split('.').next().unwrap_or_default() {
        "customer" => "customer",
        "contract" => "contract",
        "metering-point" => "meteringPoint",
        "meter" => "meter.id",
        "product" | "stock" => "product",
        "employee" => "employee",
        "unit" => "unit",
        "document" => "document.id",
        _ => "account",
    }
}

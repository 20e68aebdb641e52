//! The canonical schemas: JSON Schema 2020-12, one per type.

use crate::error::{Code, Problem};
use crate::message::valid_type;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use std::collections::BTreeMap;

const ERRORS_SHOWN_MAX: usize = 5;

/// Compiled schemas by message type.
#[derive(Default)]
pub struct Catalog {
    types: BTreeMap<String, TypeSchema>,
}

struct TypeSchema {
    schema: Value,
    validator: Validator,
    answer: Option<String>,
}

impl Catalog {
    /// `schemas`: (type, JSON Schema). The keyword `x-answer` at the root makes the type a question.
    ///
    /// # Errors
    /// (type, reason) of every schema that does not compile.
    pub fn compile(schemas: Vec<(String, Value)>) -> Result<Self, Vec<(String, String)>> {
        let mut catalog = Self::default();
        let mut errors = Vec::new();
        for (name, schema) in schemas {
            if !valid_type(&name) {
                errors.push((name, "not a valid type name".to_string()));
                continue;
            }
            match validator(&schema) {
                Ok(validator) => {
                    let answer = schema.get("x-answer").and_then(Value::as_str).map(str::to_string);
                    catalog.types.insert(name, TypeSchema { schema, validator, answer });
                }
                Err(reason) => errors.push((name, reason)),
            }
        }
        if errors.is_empty() { Ok(catalog) } else { Err(errors) }
    }

    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    pub fn schema(&self, name: &str) -> Option<&Value> {
        self.types.get(name).map(|e| &e.schema)
    }

    /// The answer's type, where `name` is a question.
    pub fn answer_type(&self, name: &str) -> Option<&str> {
        self.types.get(name).and_then(|e| e.answer.as_deref())
    }

    /// # Errors
    /// `unknown-type`; `invalid-data` with the JSON Pointer of the first mistake and up to five in
    /// the detail.
    pub fn validate(&self, name: &str, data: &Value) -> Result<(), Problem> {
        let entry = self
            .types
            .get(name)
            .ok_or_else(|| Problem::new(Code::UnknownType, format!("no schema for type `{name}`")).at("type"))?;
        if entry.validator.is_valid(data) {
            return Ok(());
        }
        let mut place = None;
        let mut details = Vec::new();
        for error in entry.validator.iter_errors(data).take(ERRORS_SHOWN_MAX) {
            let pointer = error.instance_path().to_string();
            // The masked form keeps values, which may be personal, out of errors and logs.
            details.push(format!("{}: {}", if pointer.is_empty() { "/" } else { &pointer }, error.masked()));
            place.get_or_insert(format!("/data{pointer}"));
        }
        Err(Problem { place, ..Problem::new(Code::InvalidData, details.join("; ")) })
    }

    /// A copy of `data` in which every field marked `x-personal-data` reads `***`.
    pub fn mask(&self, name: &str, data: &Value) -> Value {
        let mut copy = data.clone();
        match self.types.get(name) {
            Some(entry) => mask(&entry.schema, &entry.schema, &mut copy, 0),
            None => copy = Value::String("***".into()),
        }
        copy
    }
}

/// Compiles one JSON Schema the way the hub does everywhere: 2020-12, formats asserted,
/// linear-time patterns, no remote references.
///
/// # Errors
/// What is wrong with the schema, for a person.
pub(crate) fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|e| e.to_string())
}

fn mask(root: &Value, schema: &Value, data: &mut Value, depth: usize) {
    if depth > 16 {
        return;
    }
    if schema.get("x-personal-data") == Some(&Value::Bool(true)) {
        *data = Value::String("***".into());
        return;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'))
        && let Some(found) = root.pointer(target)
    {
        mask(root, found, data, depth + 1);
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for part in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
            mask(root, part, data, depth + 1);
        }
    }
    match data {
        Value::Object(fields) => {
            for (name, part) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if let Some(value) = fields.get_mut(name) {
                    mask(root, part, value, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(part) = schema.get("items") {
                items.iter_mut().for_each(|item| mask(root, part, item, depth + 1));
            }
        }
        _ => {}
    }
}

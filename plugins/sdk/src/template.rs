//! JSON made by a template, for adapters that are configured rather than written.

use serde_json::Value;

/// The template with its pointers replaced: a text that begins with `/` is a JSON Pointer (RFC 6901) into `data`,
/// everything else stands for itself. What a pointer does not find is left out; `None` when that is all of it.
pub fn fill(template: &Value, data: &Value) -> Option<Value> {
    match template {
        Value::String(pointer) if pointer.starts_with('/') => data.pointer(pointer).cloned(),
        Value::Object(fields) => {
            Some(fields.iter().filter_map(|(name, value)| Some((name.clone(), fill(value, data)?))).collect())
        }
        Value::Array(items) => Some(items.iter().filter_map(|item| fill(item, data)).collect()),
        other => Some(other.clone()),
    }
}

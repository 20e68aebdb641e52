//! JSON made by a template, for adapters that are configured rather than written.

use serde_json::Value;

/// Before a pointer: what it finds is written as a text where it is a number or a boolean. Identifiers are texts.
const AS_TEXT: &str = "text:";

/// The template with its pointers replaced: a text that begins with `/` is a JSON Pointer (RFC 6901) into `data`, and so is
/// one that begins with `text:/`; everything else stands for itself. What a pointer does not find is left out; `None` when
/// that is all of it.
pub fn fill(template: &Value, data: &Value) -> Option<Value> {
    match template {
        Value::String(pointer) if pointer.starts_with('/') => data.pointer(pointer).cloned(),
        Value::String(text) if text.strip_prefix(AS_TEXT).is_some_and(|pointer| pointer.starts_with('/')) => {
            match data.pointer(text.strip_prefix(AS_TEXT)?)? {
                found @ (Value::Number(_) | Value::Bool(_)) => Some(Value::String(found.to_string())),
                found => Some(found.clone()),
            }
        }
        Value::Object(fields) => {
            Some(fields.iter().filter_map(|(name, value)| Some((name.clone(), fill(value, data)?))).collect())
        }
        Value::Array(items) => Some(items.iter().filter_map(|item| fill(item, data)).collect()),
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_are_replaced_and_numbers_made_text() {
        let data = json!({"id": 7, "name": "А", "on": true, "list": [1], "none": null});
        let template = json!({"a": "/id", "b": "text:/id", "c": "text:/name", "d": "text:/on", "e": "text:/gone", "f": "text:",
            "g": ["text:/list/0", "/list/1"], "h": "text:/list"});
        let filled = json!({"a": 7, "b": "7", "c": "А", "d": "true", "f": "text:", "g": ["1"], "h": [1]});
        assert_eq!(fill(&template, &data), Some(filled));
        assert_eq!(fill(&json!("text:/gone"), &data), None);
    }
}

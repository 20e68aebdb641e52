//! Values that a JSON interface writes now as a number, now as a text.

use serde::Deserialize;
use serde_json::{Number, Value};

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Loose {
    Text(String),
    Number(Number),
}

impl Loose {
    /// Of the field `name`; nothing where it is absent, `null`, or neither.
    pub fn at(object: &Value, name: &str) -> Option<Self> {
        match object.get(name)? {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => Some(Self::Number(number.clone())),
            _ => None,
        }
    }

    /// Without blanks around it.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.trim().to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }

    /// Nothing for what is no whole number.
    pub fn number(&self) -> Option<i64> {
        self.text().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_way() {
        let object = serde_json::json!({ "a": 7, "b": " 7 ", "c": null, "d": [7], "e": 7.5 });
        let at = |name| Loose::at(&object, name);
        assert_eq!((at("a").and_then(|a| a.number()), at("b").and_then(|b| b.number())), (Some(7), Some(7)));
        assert_eq!((at("c"), at("d"), at("f")), (None, None, None));
        assert_eq!(at("e").map(|e| (e.text(), e.number())), Some(("7.5".to_owned(), None)));
    }
}

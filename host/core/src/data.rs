//! A message's data with its JSON text, which is written once however many ask for it.

use serde_json::Value;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// JSON that does not change any more.
#[derive(Clone, Default)]
pub struct Data {
    value: Value,
    text: OnceLock<Arc<str>>,
}

impl Data {
    /// Compact JSON, fields in the order of the source.
    pub fn text(&self) -> &str {
        let write = || serde_json::to_string(&self.value).unwrap_or_else(|_| self.value.to_string()).into();
        self.text.get_or_init(write)
    }

    pub fn into_value(self) -> Value {
        self.value
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl Deref for Data {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl From<Value> for Data {
    fn from(value: Value) -> Self {
        Self { value, text: OnceLock::new() }
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq<Value> for Data {
    fn eq(&self, other: &Value) -> bool {
        self.value == *other
    }
}

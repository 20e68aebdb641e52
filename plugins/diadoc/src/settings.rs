//! The system's settings, as in `config.schema.json`.

use std::collections::BTreeMap;

use busbar_sdk::dates::Offset;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    base_url: Option<String>,
    pub box_id: String,
    pub access_token: String,
    pub since: Option<String>,
    page_events: Option<usize>,
    #[serde(default)]
    pub accept_test: bool,
    pub files: Option<Files>,
    #[serde(default)]
    pub types: BTreeMap<String, Type>,
    utc_offset: Option<Offset>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Files {
    pub url: String,
    pub credential: Option<String>,
}

/// What a document is at Диадок.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Type {
    pub r#type: String,
    pub function: Option<String>,
    pub version: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, Field>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    FileName,
    Number,
    Date,
    Amount,
    Tax,
    Title,
}

impl Settings {
    pub fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or("https://diadoc-api.kontur.ru")
    }

    pub fn page_events(&self) -> usize {
        self.page_events.unwrap_or(100)
    }

    pub fn offset(&self) -> Offset {
        self.utc_offset.unwrap_or(Offset::MOSCOW)
    }

    /// A file of any kind: no more is known of it than its name, number and day.
    pub fn type_of(&self, kind: Option<&str>) -> Type {
        let metadata =
            [("FileName", Field::FileName), ("DocumentNumber", Field::Number), ("DocumentDate", Field::Date)];
        kind.and_then(|kind| self.types.get(kind)).cloned().unwrap_or_else(|| Type {
            r#type: "Nonformalized".to_owned(),
            function: None,
            version: None,
            metadata: metadata.into_iter().map(|(name, field)| (name.to_owned(), field)).collect(),
        })
    }
}

//! The system's settings, as in `config.schema.json`, and the tables of fields that are shipped.

use busbar_sdk::dates::Offset;
use busbar_sdk::{Failure, parse_settings, rejected};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub urls: Vec<String>,
    pub bearer: String,
    pub basic: String,
    pub shape: String,
    pub table: Option<Table>,
    pub utc_offset: Offset,
    pub status: String,
    pub vanished: Vanished,
    pub vanished_after: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            bearer: String::new(),
            basic: String::new(),
            shape: "table".to_owned(),
            table: None,
            utc_offset: Offset::MOSCOW,
            status: String::new(),
            vanished: Vanished::Ignore,
            vanished_after: 2,
        }
    }
}

impl Settings {
    /// The table of the shape, or the settings' own.
    ///
    /// # Errors
    /// `not-configured` without one.
    pub fn take_table(&mut self) -> Result<Table, Failure> {
        let shipped = match self.shape.as_str() {
            "strapi-fias" => include_str!("shapes/strapi-fias.json"),
            "energyq-geojson" => include_str!("shapes/energyq-geojson.json"),
            "alerts-json" => include_str!("shapes/alerts-json.json"),
            "planned-rss" => include_str!("shapes/planned-rss.json"),
            "regions-kml" => include_str!("shapes/regions-kml.json"),
            "oms-geojson" => include_str!("shapes/oms-geojson.json"),
            _ => {
                let missing =
                    || rejected("not-configured", "the settings have neither a `shape` nor a `table`", "config");
                return self.table.take().ok_or_else(missing);
            }
        };
        parse_settings(shipped)
    }
}

/// What is said of an outage that is no longer in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vanished {
    Ignore,
    Restored,
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    #[default]
    Json,
    Rss,
    Kml,
}

/// Where the fields of an outage are. Places are JSON pointers (RFC 6901) within an item.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Table {
    pub format: Format,
    /// The array of items.
    pub items: String,
    pub pages: Option<Pages>,
    pub skip: Option<Skip>,
    /// The only one is the id; several together make one.
    pub id: Vec<String>,
    pub kind: Choice,
    pub status: Choice,
    pub start: Moment,
    pub end: Moment,
    pub changed: Moment,
    /// Words in the place of a time that say that none is known.
    pub no_time: Vec<String>,
    pub cause: Choice,
    pub customers: Vec<String>,
    pub equipment: Vec<Equipment>,
    pub addresses: Option<Addresses>,
    pub notice: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pages {
    pub parameter: String,
    pub count: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Skip {
    pub at: Vec<String>,
    pub words: Vec<String>,
}

/// The first place whose text contains one of the words, in any case, decides; in each the first such word.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Choice {
    pub at: Vec<String>,
    pub words: Vec<Word>,
    /// Of a status: words of texts by which it is the usual one; an empty text is in every text.
    pub usual: Vec<String>,
    pub otherwise: Option<String>,
}

impl Choice {
    /// By whole words: what is inactive is not active.
    pub fn has_usual(&self, text: &str) -> bool {
        let words = |text: &str| -> String {
            let lower = text.to_lowercase();
            lower.split(|c: char| !c.is_alphanumeric()).map(|word| format!(" {word}")).collect()
        };
        let text = words(text) + " ";
        self.usual.iter().any(|usual| usual.is_empty() || text.contains(&(words(usual) + " ")))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Word {
    pub word: String,
    pub means: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Moment {
    pub at: Vec<String>,
    pub formats: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Equipment {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Addresses {
    /// An array whose elements are addresses; the item itself where absent.
    pub list: Option<String>,
    pub text: Vec<String>,
    /// Every text is an address, not only the first one there is.
    pub all: bool,
    /// Parts a text into several.
    pub split: String,
    /// Stands after each text in brackets.
    pub within: String,
    /// Houses, after a comma.
    pub detail: String,
    pub fias: Vec<String>,
}

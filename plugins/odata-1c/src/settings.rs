//! The system's settings, as in `config.schema.json`.

use std::collections::BTreeMap;

use busbar_sdk::Rejection;
use busbar_sdk::dates::Offset;
use busbar_sdk::rejection;
use serde::Deserialize;
use serde_json::Value;

/// Objects of 1C's own «Бухгалтерия предприятия» 3.0.
const BP_3: &str = include_str!("bp-3.json");

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub base_url: String,
    pub basic: String,
    pub utc_offset: Offset,
    pub currency: String,
    pub country_code: String,
    pub page_size: usize,
    pub allowed_only: bool,
    pub bad_objects: BadObjects,
    pub preset: Preset,
    pub preset_entries: Vec<String>,
    pub poll: BTreeMap<String, Reading>,
    pub deliver: BTreeMap<String, Writing>,
    pub answer: BTreeMap<String, Asking>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            basic: String::new(),
            utc_offset: Offset::MOSCOW,
            currency: "RUB".to_owned(),
            country_code: "7".to_owned(),
            page_size: 50,
            allowed_only: false,
            bad_objects: BadObjects::Refuse,
            preset: Preset::None,
            preset_entries: Vec::new(),
            poll: BTreeMap::new(),
            deliver: BTreeMap::new(),
            answer: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// What is polled: the preset's entries, replaced and completed by the system's own.
    ///
    /// # Errors
    /// `not-configured` where nothing is.
    pub fn readings(&self) -> Result<BTreeMap<String, Reading>, Rejection> {
        let mut readings: BTreeMap<String, Reading> = match self.preset {
            Preset::None => BTreeMap::new(),
            Preset::Bp3 => serde_json::from_str(BP_3)
                .map_err(|error| rejection("bad-config", format!("the preset: {error}"), "config, preset"))?,
        };
        if !self.preset_entries.is_empty() {
            readings.retain(|name, _| self.preset_entries.contains(name));
        }
        readings.extend(self.poll.iter().map(|(name, reading)| (name.clone(), reading.clone())));
        match readings.is_empty() {
            true => Err(rejection("not-configured", "the settings say nothing to poll", "config, poll")),
            false => Ok(readings),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadObjects {
    Refuse,
    Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Preset {
    #[serde(rename = "")]
    None,
    #[serde(rename = "bp-3")]
    Bp3,
}

/// Objects that become messages.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reading {
    pub entity: String,
    pub r#type: String,
    #[serde(default = "ref_key")]
    pub key: Vec<String>,
    #[serde(default)]
    pub subject: String,
    #[serde(default)]
    pub filter: String,
    #[serde(default)]
    pub select: String,
    #[serde(default)]
    pub expand: String,
    #[serde(default)]
    pub changed: String,
    #[serde(default = "yes")]
    pub pages: bool,
    pub restate: Option<bool>,
    pub fields: Fields,
}

fn ref_key() -> Vec<String> {
    vec!["Ref_Key".to_owned()]
}

fn yes() -> bool {
    true
}

/// A message that becomes an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Writing {
    pub entity: String,
    /// What makes the object itself: fields of the message's data, by which its `Ref_Key` is derived.
    #[serde(default)]
    pub key: Vec<String>,
    pub find: Option<Find>,
    pub update: Option<bool>,
    #[serde(default)]
    pub post: bool,
    pub fields: Fields,
}

/// An object of 1C found by a value of the message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Find {
    /// The field of 1C that has the value.
    pub by: String,
    /// The field of the message's data; of a reference, the rule's own `from` where absent.
    #[serde(default)]
    pub from: String,
    /// Of a reference: where it is looked for.
    #[serde(default)]
    pub entity: String,
    /// Of a reference: whether nothing found is an empty reference rather than a refusal.
    #[serde(default)]
    pub optional: bool,
}

/// A question that 1C answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Asking {
    pub steps: Vec<Step>,
}

/// One request of an answer; the first must find an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    pub entity: String,
    #[serde(default)]
    pub filter: String,
    #[serde(default)]
    pub select: String,
    #[serde(default)]
    pub expand: String,
    #[serde(default)]
    pub fields: Fields,
}

/// Target field, with `.` between parts -> where its value comes from.
pub type Fields = BTreeMap<String, Rule>;

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Rule {
    From(String),
    Full(Box<Full>),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Full {
    pub from: Sources,
    pub r#as: As,
    pub map: BTreeMap<String, Value>,
    pub r#const: Option<Value>,
    pub default: Option<Value>,
    pub required: bool,
    pub rows: String,
    pub r#where: BTreeMap<String, String>,
    pub fields: Fields,
    pub find: Option<Find>,
}

/// One field, or several of which the first that is not empty counts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Sources(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Sources {
    fn from(sources: OneOrMany) -> Self {
        match sources {
            OneOrMany::One(source) => Sources(vec![source]),
            OneOrMany::Many(sources) => Sources(sources),
        }
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum As {
    #[default]
    Text,
    Decimal,
    Money,
    Integer,
    Boolean,
    Date,
    Moment,
    Phone,
    Email,
    TaxId,
    TaxRegistration,
    RegistrationNumber,
}

/// Whether messages of a type state a thing as it now is, so that a change is stated again; others state what happened once.
pub fn is_state(r#type: &str) -> bool {
    r#type.contains(".changed.v") || r#type.starts_with("account.balance.v")
}

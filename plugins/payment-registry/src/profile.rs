//! A profile: how the registries of one contract are written. A new bank is a profile in the settings.

use busbar_sdk::encoding::Encoding;
use busbar_sdk::{Failure, rejected};
use serde::Deserialize;
use serde_json::Value;

use crate::day::Pattern;
use crate::record::TOTALS;
use crate::template::Template;

/// The profiles that come with the adapter, by name.
const SHIPPED: [(&str, &str); 4] = [
    ("gorod-saldo", include_str!("../profiles/gorod-saldo.json")),
    ("pipe", include_str!("../profiles/pipe.json")),
    ("sber-debt", include_str!("../profiles/sber-debt.json")),
    ("sber-payments", include_str!("../profiles/sber-payments.json")),
];
/// Columns of a line, and lines of a header.
const TEMPLATES_MAX: usize = 100;
/// Values of a line that come to mean something. Other names are constants of the settings.
pub const LINE_VALUES: [&str; 16] = [
    "account",
    "address",
    "amount",
    "as-of-on",
    "fee",
    "invoice",
    "month-end",
    "month-start",
    "name",
    "net",
    "operation",
    "paid-on",
    "paid-time",
    "purpose",
    "reading",
    "register",
];

/// The register that a value shows: `{reading}` is the meter's only one, `{reading-2}` its second.
pub fn register_of(name: &str) -> Option<&str> {
    if name == "reading" { Some("1") } else { name.strip_prefix("reading-").filter(|register| !register.is_empty()) }
}

/// What a registry lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Records {
    Payments,
    Balances,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    records: Records,
    encoding: String,
    delimiter: String,
    #[serde(default)]
    title_lines: u64,
    #[serde(default)]
    header: Vec<String>,
    columns: Vec<String>,
    #[serde(default)]
    keyed: Vec<String>,
    #[serde(default)]
    footer: Vec<String>,
    #[serde(default)]
    find_date: bool,
    #[serde(default)]
    date: Option<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    decimal: Option<String>,
    #[serde(default)]
    file_name: Option<String>,
}

pub struct Profile {
    pub records: Records,
    pub encoding: Encoding,
    pub delimiter: char,
    pub title_lines: u64,
    pub header: Vec<Template>,
    pub columns: Vec<Template>,
    pub keyed: Vec<Template>,
    pub footer: Vec<Template>,
    pub find_date: bool,
    pub date: Pattern,
    pub time: Pattern,
    pub decimal: char,
    pub file_name: Template,
}

impl Profile {
    /// From the setting `profile`: the name of a shipped one; an object; or an object with `like`, which changes
    /// what it names of a shipped one.
    ///
    /// # Errors
    /// `rejected(bad-config)` naming what is wrong.
    pub fn of_setting(setting: &Value) -> Result<Self, Failure> {
        let merged = match setting {
            Value::String(name) => shipped(name)?,
            Value::Object(own) => {
                let mut merged = match own.get("like").and_then(Value::as_str) {
                    Some(name) => shipped(name)?,
                    None => Value::Object(serde_json::Map::new()),
                };
                if let Some(merged) = merged.as_object_mut() {
                    merged.extend(own.iter().filter(|(key, _)| *key != "like").map(|(k, v)| (k.clone(), v.clone())));
                }
                merged
            }
            _ => return Err(bad("", "is neither a name nor an object")),
        };
        let raw: Raw = serde_json::from_value(merged).map_err(|error| bad("", error.to_string()))?;
        Self::compiled(raw)
    }

    fn compiled(raw: Raw) -> Result<Self, Failure> {
        let encoding = Encoding::named(&raw.encoding).ok_or_else(|| bad("encoding", "is not known"))?;
        let delimiter = one_char(&raw.delimiter).ok_or_else(|| bad("delimiter", "is not one character"))?;
        let decimal = raw.decimal.as_deref().unwrap_or(".");
        let decimal = one_char(decimal).filter(|c| ['.', ','].contains(c));
        let date = raw.date.as_deref().unwrap_or("dd.mm.yyyy");
        let time = raw.time.as_deref().unwrap_or("hh:mi:ss");
        let profile = Self {
            records: raw.records,
            encoding,
            delimiter,
            title_lines: raw.title_lines,
            header: templates(&raw.header, "header")?,
            columns: templates(&raw.columns, "columns")?,
            keyed: templates(&raw.keyed, "keyed")?,
            footer: templates(&raw.footer, "footer")?,
            find_date: raw.find_date,
            date: Pattern::new(date, &["dd", "mm", "yy"]).ok_or_else(|| bad("date", "needs dd, mm and yyyy or yy"))?,
            time: Pattern::new(time, &["hh", "mi"]).ok_or_else(|| bad("time", "needs hh and mi"))?,
            decimal: decimal.ok_or_else(|| bad("decimal", "is neither `.` nor `,`"))?,
            file_name: Template::parse(raw.file_name.as_deref().unwrap_or("registry_{day}_{id}.txt"))
                .map_err(|why| bad("file-name", why))?,
        };
        profile.checked()
    }

    fn checked(self) -> Result<Self, Failure> {
        for (key, lines) in [("header", &self.header), ("footer", &self.footer)] {
            if lines.iter().any(|line| line.key(self.delimiter).is_empty()) {
                return Err(bad(key, "has a line that does not begin with fixed text, so it cannot be recognised"));
            }
        }
        if self.keyed.iter().any(|field| field.prefix().is_empty()) {
            return Err(bad("keyed", "has a field that does not begin with its key"));
        }
        for needed in ["account", "amount"] {
            if !self.reads(needed) {
                return Err(bad("columns", format!("no {{{needed}}} in a column or a key")));
            }
        }
        Ok(self)
    }

    /// Whether a line states the value, or the header does for all of them.
    pub fn reads(&self, name: &str) -> bool {
        let lines = self.columns.iter().chain(&self.keyed).chain(&self.header);
        lines.flat_map(Template::names).any(|known| known == name)
    }

    /// Whether a file says what its lines make in all.
    pub fn states_totals(&self) -> bool {
        let shell = self.header.iter().chain(&self.footer);
        shell.flat_map(Template::names).any(|name| TOTALS.contains(&name))
    }

    /// Whether a file of this profile states the day of each record.
    pub fn states_days(&self) -> bool {
        match self.records {
            Records::Payments => self.find_date || self.reads("paid-on"),
            Records::Balances => self.reads("as-of-on"),
        }
    }
}

fn shipped(name: &str) -> Result<Value, Failure> {
    let text = SHIPPED.iter().find(|profile| profile.0 == name).map(|profile| profile.1);
    text.and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| bad("", format!("`{name}` is not shipped with the adapter")))
}

fn templates(texts: &[String], key: &str) -> Result<Vec<Template>, Failure> {
    if texts.len() > TEMPLATES_MAX {
        return Err(bad(key, format!("has more than {TEMPLATES_MAX} entries")));
    }
    texts.iter().map(|text| Template::parse(text).map_err(|why| bad(key, format!("`{text}` {why}")))).collect()
}

fn one_char(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn bad(key: &str, why: impl std::fmt::Display) -> Failure {
    let place = if key.is_empty() { "config, profile".to_owned() } else { format!("config, profile, {key}") };
    rejected("bad-config", format!("the profile {why}"), place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(setting: Value) -> String {
        match Profile::of_setting(&setting) {
            Err(Failure::Rejected(rejection)) => rejection.place.unwrap(),
            _ => "good".to_owned(),
        }
    }

    #[test]
    fn the_shipped_ones_are_good() {
        for (name, _) in SHIPPED {
            assert_eq!(place(json!(name)), "good", "{name}");
            assert_eq!(place(json!({ "like": name })), "good", "{name}");
        }
    }

    #[test]
    fn a_part_of_a_shipped_one_may_be_changed() {
        let profile = Profile::of_setting(&json!({"like": "gorod-saldo", "delimiter": "|"})).ok().unwrap();
        assert_eq!((profile.delimiter, profile.header.len()), ('|', 3));
    }

    #[test]
    fn mistakes_are_named() {
        for (setting, wanted) in [
            (json!("gorod"), "config, profile"),
            (json!(1), "config, profile"),
            (json!({"like": "pipe", "colour": 1}), "config, profile"),
            (json!({"like": "pipe", "encoding": "ebcdic"}), "config, profile, encoding"),
            (json!({"like": "pipe", "delimiter": ""}), "config, profile, delimiter"),
            (json!({"like": "pipe", "delimiter": ";;"}), "config, profile, delimiter"),
            (json!({"like": "pipe", "columns": ["{account}"]}), "config, profile, columns"),
            (json!({"like": "pipe", "columns": ["{account", "{amount}"]}), "config, profile, columns"),
            (json!({"like": "pipe", "footer": ["{count}"]}), "config, profile, footer"),
            (json!({"like": "pipe", "keyed": ["{x}"]}), "config, profile, keyed"),
            (json!({"like": "pipe", "date": "dd/mm"}), "config, profile, date"),
            (json!({"like": "pipe", "time": "hh"}), "config, profile, time"),
            (json!({"like": "pipe", "decimal": "-"}), "config, profile, decimal"),
            (json!({"like": "pipe", "file-name": "{"}), "config, profile, file-name"),
        ] {
            assert_eq!(place(setting.clone()), wanted, "{setting}");
        }
    }
}

//! The settings of a system that exchanges registries.

use std::collections::BTreeMap;

use busbar_sdk::dates::Offset;
use busbar_sdk::money::{NegativeSums, ZeroSums};
use busbar_sdk::{Failure, rejected};
use serde::Deserialize;

use crate::profile::{LINE_VALUES, Profile};
use crate::template::Template;

/// What tells payments apart whose lines are the same and carry no number of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SameLine {
    /// The same line in another file is the same payment.
    #[default]
    SamePayment,
    /// The same line in a file of another name is another payment.
    NewInEachFile,
}

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawSettings {
    profile: serde_json::Value,
    #[serde(default)]
    utc_offset: Option<Offset>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(default)]
    zones: BTreeMap<String, String>,
    #[serde(default)]
    same_line: SameLine,
    #[serde(default)]
    zero_sums: ZeroSums,
    #[serde(default)]
    negative_sums: NegativeSums,
}

pub struct Settings {
    pub profile: Profile,
    pub offset: Offset,
    pub currency: String,
    /// Constants of the utility, by the name a profile gives them.
    pub values: BTreeMap<String, String>,
    /// Tariff zones by the register's number.
    pub zones: BTreeMap<String, String>,
    pub same_line: SameLine,
    pub zero_sums: ZeroSums,
    pub negative_sums: NegativeSums,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming what is wrong.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        if let Some(name) = raw.values.keys().find(|name| LINE_VALUES.contains(&name.as_str())) {
            let reason = format!("{{{name}}} is a value of each line, not a constant");
            return Err(rejected("bad-config", reason, "config, values"));
        }
        Ok(Self {
            profile: Profile::of_setting(&raw.profile)?,
            offset: raw.utc_offset.unwrap_or(Offset::MOSCOW),
            currency: raw.currency.unwrap_or_else(|| "RUB".to_owned()),
            values: raw.values,
            zones: raw.zones,
            same_line: raw.same_line,
            zero_sums: raw.zero_sums,
            negative_sums: raw.negative_sums,
        })
    }

    /// Whether files out are numbered.
    pub fn numbers_files(&self) -> bool {
        let lines = self.profile.header.iter().chain(&self.profile.footer);
        lines.chain([&self.profile.file_name]).flat_map(Template::names).any(|name| name == "number")
    }
}

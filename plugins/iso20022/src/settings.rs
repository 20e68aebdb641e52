//! The settings of a system that speaks ISO 20022.

use busbar_sdk::dates::Offset;
use busbar_sdk::purpose::Patterns;
use busbar_sdk::{Control, Failure};
use serde::Deserialize;

/// What an entry is that books many payments and does not list them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batches {
    #[default]
    Rejected,
    Elsewhere,
}

/// What the bank's references (`AcctSvcrRef`) are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum References {
    #[default]
    Unique,
    Ignored,
}

/// What side an entry is stated with that is a reversal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reversals {
    #[default]
    OwnSide,
    OriginalSide,
}

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawSettings {
    control: Control,
    batches: Batches,
    entry_reference: References,
    reversals: Reversals,
    own_accounts: Vec<String>,
    utc_offset: Option<Offset>,
    purpose_patterns: Option<Vec<String>>,
    code_patterns: Option<Vec<String>>,
    priority_element: Option<String>,
    file_prefix: Option<String>,
}

pub struct Settings {
    pub control: Control,
    pub batches: Batches,
    /// Whether the bank's reference names a booking.
    pub trusts_references: bool,
    pub reversals: Reversals,
    pub own_accounts: Vec<String>,
    pub offset: Offset,
    pub patterns: Patterns,
    pub priority_element: Option<String>,
    pub file_prefix: String,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        Ok(Self {
            control: raw.control,
            batches: raw.batches,
            trusts_references: raw.entry_reference == References::Unique,
            reversals: raw.reversals,
            own_accounts: raw.own_accounts,
            offset: raw.utc_offset.unwrap_or(Offset::MOSCOW),
            patterns: Patterns::new(raw.purpose_patterns.as_deref(), raw.code_patterns.as_deref())?,
            priority_element: raw.priority_element,
            file_prefix: raw.file_prefix.unwrap_or_else(|| "pain.001_".to_owned()),
        })
    }
}

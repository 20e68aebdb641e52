//! The settings of a system that exchanges files with a bank.

use busbar_sdk::dates::Offset;
use busbar_sdk::money::{self, NegativeSums, ZeroSums};
use busbar_sdk::purpose::Patterns;
use busbar_sdk::{Control, Failure};
use serde::Deserialize;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawSettings {
    control: Control,
    utc_offset: Offset,
    currency: Option<String>,
    purpose_patterns: Option<Vec<String>>,
    code_patterns: Option<Vec<String>>,
    sender: String,
    recipient: String,
    execution_day: ExecutionDay,
    zero_sums: ZeroSums,
    negative_sums: NegativeSums,
    file_prefix: String,
}

/// What becomes of an order that is not to be executed before a later day.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ExecutionDay {
    #[default]
    Refuse,
    Ignore,
}

impl Default for RawSettings {
    fn default() -> Self {
        Self {
            control: Control::Strict,
            utc_offset: Offset::MOSCOW,
            currency: None,
            purpose_patterns: None,
            code_patterns: None,
            sender: "busbar".to_owned(),
            recipient: String::new(),
            execution_day: ExecutionDay::Refuse,
            zero_sums: ZeroSums::LeftOut,
            negative_sums: NegativeSums::Refunded,
            file_prefix: "1c_to_kl_".to_owned(),
        }
    }
}

pub struct Settings {
    pub control: Control,
    pub offset: Offset,
    currency: Option<String>,
    pub patterns: Patterns,
    pub zero_sums: ZeroSums,
    pub negative_sums: NegativeSums,
    pub sender: String,
    pub recipient: String,
    pub ignore_execution_day: bool,
    pub file_prefix: String,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        let patterns = Patterns::new(raw.purpose_patterns.as_deref(), raw.code_patterns.as_deref())?;
        Ok(Self {
            control: raw.control,
            offset: raw.utc_offset,
            currency: raw.currency,
            patterns,
            zero_sums: raw.zero_sums,
            negative_sums: raw.negative_sums,
            sender: raw.sender,
            recipient: raw.recipient,
            ignore_execution_day: raw.execution_day == ExecutionDay::Ignore,
            file_prefix: raw.file_prefix,
        })
    }

    /// That of the account's number, or else that of the settings. Nothing is taken for the usual one.
    pub fn currency<'a>(&'a self, account: &str) -> Option<&'a str> {
        money::currency_of_account(account).or(self.currency.as_deref())
    }
}

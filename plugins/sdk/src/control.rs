use serde::Deserialize;

/// What must agree before a bank statement is imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// The balances, and the totals with what they sum up.
    #[default]
    Strict,
    /// The balances only.
    Balance,
    Off,
}

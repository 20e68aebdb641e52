//! The system's settings, as in `config.schema.json`.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub base_url: String,
    pub bearer: String,
    pub basic: String,
    pub page_size: u32,
    pub filter: bool,
    pub groups: bool,
    pub unit: Unit,
    pub disabled: String,
    pub country_code: String,
    pub public_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            bearer: String::new(),
            basic: String::new(),
            page_size: 50,
            filter: true,
            groups: true,
            unit: Unit::Group,
            disabled: "suspended".to_owned(),
            country_code: "7".to_owned(),
            public_url: String::new(),
        }
    }
}

/// Where the id of an employee's unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// The only group that the user is directly in.
    Group,
    Department,
    Division,
    Organization,
    CostCenter,
    None,
}

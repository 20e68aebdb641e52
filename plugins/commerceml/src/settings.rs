//! The system's settings, as in `config.schema.json`.

use busbar_sdk::dates::Offset;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub utc_offset: Offset,
    pub currency: String,
    pub country_code: String,
    pub price_type: String,
    pub seller: Seller,
    pub file_limit_bytes: usize,
    pub file_max_bytes: usize,
    pub keep_for_query: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            utc_offset: Offset::MOSCOW,
            currency: "RUB".to_owned(),
            country_code: "7".to_owned(),
            price_type: String::new(),
            seller: Seller::default(),
            file_limit_bytes: 500_000,
            file_max_bytes: 16 << 20,
            keep_for_query: false,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Seller {
    pub name: String,
    pub tax_id: String,
}

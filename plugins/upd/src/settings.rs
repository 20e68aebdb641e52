//! The system's settings, as in `config.schema.json`.

use std::collections::BTreeMap;

use busbar_sdk::dates::Offset;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub utc_offset: Offset,
    pub account_field: String,
    pub function: String,
    pub seller: Option<Seller>,
    pub signer: Option<Signer>,
    pub receiver_ids: BTreeMap<String, String>,
    pub tax_rate: Option<String>,
    pub service: String,
    pub operation: String,
    pub units: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Seller {
    pub id: String,
    pub name: String,
    pub tax_id: String,
    pub tax_registration_code: Option<String>,
    pub address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Signer {
    pub last_name: String,
    pub first_name: String,
    pub middle_name: Option<String>,
    pub post: String,
    #[serde(default = "by_the_signature")]
    pub authority: String,
}

fn by_the_signature() -> String {
    "1".to_owned()
}

impl Default for Settings {
    fn default() -> Self {
        let units = [("kWh", "245"), ("MWh", "246"), ("кВт·ч", "245")];
        Self {
            utc_offset: Offset::MOSCOW,
            account_field: String::new(),
            function: "СЧФДОП".to_owned(),
            seller: None,
            signer: None,
            receiver_ids: BTreeMap::new(),
            tax_rate: None,
            service: "Электрическая энергия".to_owned(),
            operation: "Услуги оказаны".to_owned(),
            units: units.map(|(unit, code)| (unit.to_owned(), code.to_owned())).into(),
        }
    }
}

//! The system's settings, as in `config.schema.json`.

use busbar_sdk::dates::Offset;
use busbar_sdk::{Rejection, rejection};
use serde::Deserialize;

use crate::text::{Alphabets, Coding1, DefaultAlphabet};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub system_id: String,
    pub password: String,
    pub system_type: String,
    pub address_range: String,
    pub sender: String,
    pub source_ton: Option<u8>,
    pub source_npi: Option<u8>,
    pub service_type: String,
    pub long: Long,
    pub max_parts: usize,
    pub default_alphabet: DefaultAlphabet,
    pub coding_1: Coding1,
    pub receipts: bool,
    pub one_receipt: bool,
    pub outcome_wait_s: u32,
    pub window: usize,
    pub per_second: u32,
    pub response_s: u32,
    pub enquire_s: u32,
    pub parts_wait_s: u32,
    pub repeat_s: u32,
    pub country: String,
    pub utc_offset: Offset,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            system_id: String::new(),
            password: String::new(),
            system_type: String::new(),
            address_range: String::new(),
            sender: String::new(),
            source_ton: None,
            source_npi: None,
            service_type: String::new(),
            long: Long::Parts,
            max_parts: 6,
            default_alphabet: DefaultAlphabet::Gsm7,
            coding_1: Coding1::Either,
            receipts: true,
            one_receipt: false,
            outcome_wait_s: 3 * 24 * 3600,
            window: 10,
            per_second: 0,
            response_s: 20,
            enquire_s: 30,
            parts_wait_s: 600,
            repeat_s: 600,
            country: "7".to_owned(),
            utc_offset: Offset::MOSCOW,
        }
    }
}

/// How a text goes that does not fit one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Long {
    /// Each part by itself, joined by a header.
    Parts,
    /// Whole, in `message_payload`.
    Payload,
}

impl Settings {
    pub fn alphabets(&self) -> Alphabets {
        Alphabets { default: self.default_alphabet, coding_1: self.coding_1 }
    }

    /// # Errors
    /// `not-configured`: who logs in is not said.
    pub fn check(&self) -> Result<(), Rejection> {
        if self.system_id.is_empty() || self.password.is_empty() {
            return Err(rejection("not-configured", "the settings have no `system-id` or no `password`", "config"));
        }
        Ok(())
    }
}

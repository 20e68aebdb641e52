//! The system's settings.

use busbar_sdk::acquiring::Pattern;
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::{Failure, rejected};
use serde::Deserialize;

/// As in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawSettings {
    credential: String,
    base_url: Option<String>,
    user_credential: Option<String>,
    password_credential: Option<String>,
    return_url: Option<String>,
    description: Option<String>,
    link_days: Option<u32>,
    account_parameter: Option<String>,
    account_pattern: Option<String>,
    invoice_pattern: Option<String>,
    currency: Option<String>,
    utc_offset: Option<Offset>,
}

pub struct Settings {
    pub credential: String,
    pub base_url: String,
    user_credential: Option<String>,
    password_credential: Option<String>,
    return_url: Option<String>,
    pub description: String,
    pub link_days: u32,
    pub account_parameter: String,
    pub account: Option<Pattern>,
    pub invoice: Option<Pattern>,
    pub currency: String,
    pub offset: Offset,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile or has no group.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        let pattern = |text: Option<String>, setting| text.map(|text| Pattern::new(&text, setting)).transpose();
        Ok(Self {
            credential: raw.credential,
            base_url: raw.base_url.unwrap_or_else(|| "https://securepayments.sberbank.ru/payment/rest".to_owned()),
            user_credential: raw.user_credential,
            password_credential: raw.password_credential,
            return_url: raw.return_url,
            description: raw.description.unwrap_or_else(|| "Счёт {invoice}, ЛС {account}".to_owned()),
            link_days: raw.link_days.unwrap_or(30),
            account_parameter: raw.account_parameter.unwrap_or_else(|| "orderNumber".to_owned()),
            account: pattern(raw.account_pattern, "account-pattern")?,
            invoice: pattern(raw.invoice_pattern, "invoice-pattern")?,
            currency: raw.currency.unwrap_or_else(|| "RUB".to_owned()),
            offset: raw.utc_offset.unwrap_or(Offset::MOSCOW),
        })
    }

    /// Names of the credentials with login and password.
    ///
    /// # Errors
    /// `bad-config`: callbacks need neither.
    pub fn login(&self) -> Result<[(String, String); 2], Failure> {
        let named = |name: &Option<String>, setting| name.clone().ok_or_else(|| unset(setting));
        Ok([
            ("userName".to_owned(), named(&self.user_credential, "user-credential")?),
            ("password".to_owned(), named(&self.password_credential, "password-credential")?),
        ])
    }

    /// # Errors
    /// `bad-config`: only delivering needs it.
    pub fn return_url(&self) -> Result<&str, Failure> {
        self.return_url.as_deref().ok_or_else(|| unset("return-url"))
    }

    /// RFC 3339, local, of seconds since 1970.
    pub fn local(&self, seconds: i64) -> Option<String> {
        dates::local_of_unix_seconds(seconds, self.offset).map(|local| dates::rfc3339(local, self.offset))
    }
}

fn unset(setting: &str) -> Failure {
    rejected("bad-config", format!("no {setting} is set"), format!("config, {setting}"))
}

//! The system's settings, as in `config.schema.json`.

use busbar_sdk::{Rejection, rejection};
use serde::Deserialize;

/// How the connection is made.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Link {
    pub username: String,
    /// Name of the credential.
    pub secret: String,
    pub login: Login,
    pub events: String,
    pub list_channels: bool,
    pub ping_s: u32,
    pub timeout_s: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    Md5,
    Plain,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            username: "busbar".to_owned(),
            secret: "secret".to_owned(),
            login: Login::Md5,
            events: "call,agent,user".to_owned(),
            list_channels: true,
            ping_s: 30,
            timeout_s: 10,
        }
    }
}

impl Link {
    /// # Errors
    /// `bad-config`.
    pub fn check(&self) -> Result<(), Rejection> {
        if [&self.username, &self.events].iter().any(|text| text.chars().any(char::is_control)) {
            return Err(rejection("bad-config", "there is a control character", "config"));
        }
        Ok(())
    }
}

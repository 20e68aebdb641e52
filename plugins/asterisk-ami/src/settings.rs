//! The system's settings, as in `config.schema.json`.

use busbar_sdk::{Rejection, calls, dialling, rejection};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub username: String,
    /// Name of the credential.
    pub secret: String,
    pub login: Login,
    pub events: String,
    pub list_channels: bool,
    pub ping_s: u32,
    pub timeout_s: u32,
    pub calls: calls::Settings,
    pub notify: dialling::Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    Md5,
    Plain,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            username: "busbar".to_owned(),
            secret: "secret".to_owned(),
            login: Login::Md5,
            events: "call,agent,user".to_owned(),
            list_channels: true,
            ping_s: 30,
            timeout_s: 10,
            calls: calls::Settings::default(),
            notify: dialling::Settings::default(),
        }
    }
}

impl Settings {
    /// # Errors
    /// `bad-config`.
    pub fn check(&self) -> Result<(), Rejection> {
        let texts = [&self.username, &self.events, &self.notify.channel, &self.notify.context, &self.notify.exten];
        let more = [&self.notify.application, &self.notify.data, &self.notify.caller_id];
        if texts.into_iter().chain(more).any(|text| text.chars().any(char::is_control)) {
            return Err(rejection("bad-config", "there is a control character", "config"));
        }
        self.notify.check()
    }
}

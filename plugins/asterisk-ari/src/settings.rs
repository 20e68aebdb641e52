//! The system's settings, as in `config.schema.json`.

use serde::Deserialize;

/// How the connection is made.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Link {
    pub base_url: String,
    /// Name of the credential `user:password`.
    pub credential: String,
    pub app: String,
    pub app_for_each_hub: bool,
    pub subscribe_all: bool,
    pub list_channels: bool,
    pub ping_s: u32,
    pub timeout_s: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            base_url: "http://localhost:8088/ari".to_owned(),
            credential: "user".to_owned(),
            app: "busbar".to_owned(),
            app_for_each_hub: true,
            subscribe_all: true,
            list_channels: true,
            ping_s: 30,
            timeout_s: 10,
        }
    }
}

impl Link {
    /// Host and path of the address.
    pub fn parts(&self) -> (&str, &str) {
        let rest = self.base_url.split_once("://").map_or(self.base_url.as_str(), |(_, rest)| rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        (host, path.trim_end_matches('/'))
    }
}

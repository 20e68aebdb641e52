use serde::de::DeserializeOwned;

use crate::{Failure, config, rejected};

/// The system's own settings (`[systems.<name>.config]`) as a struct.
///
/// # Errors
/// See [`parse_settings`].
pub fn settings<T: DeserializeOwned>() -> Result<T, Failure> {
    parse_settings(&config::get())
}

/// Settings from their JSON text. The host checks them against `config.schema.json` before the hub
/// starts, so a failure here means that the schema and the struct disagree.
///
/// # Errors
/// `rejected(bad-config)` with the reason, at the place `config`.
pub fn parse_settings<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|error| rejected("bad-config", format!("settings of the system: {error}"), "config"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Settings {
        #[allow(dead_code)]
        deadline_ms: u32,
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let failure = parse_settings::<Settings>(r#"{"deadline":1}"#).unwrap_err();
        let Failure::Rejected(rejection) = failure else { panic!("{failure:?}") };
        assert_eq!(rejection.code, "bad-config");
        assert!(rejection.reason.contains("deadline"), "{}", rejection.reason);
    }
}

//! A system's credentials: secrets, and tokens that the hub asks an authorization server for.

use super::model::{Reference, TextOrReference};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use std::path::PathBuf;

/// Where a secret is kept, or how a token is got with it. Secrets never stand in `busbar.toml` itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum CredentialConfig {
    /// Name of an environment variable.
    Env(String),
    /// File, relative to the deployment's folder; a trailing line break is left out.
    File(String),
    /// A bearer token that the hub gets and renews itself; neither the adapter nor the journal sees it.
    Oauth2(OAuth2Config),
}

/// A client of an authorization server (OAuth 2.0, RFC 6749): by its own credentials (section 4.4), or by a refresh token
/// (section 6).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OAuth2Config {
    /// Where tokens are given. Needs no grant, and may be in a private network: the hub alone asks there.
    pub token_url: String,
    pub client_id: TextOrReference,
    pub client_secret: Reference,
    #[serde(default)]
    pub scopes: Vec<String>,
    /// A file is written anew when the server gives another refresh token with an answer.
    #[serde(default)]
    pub refresh_token: Option<Reference>,
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
}

/// How the client shows who it is (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuthentication {
    /// HTTP basic authentication, which every server takes.
    #[default]
    Basic,
    /// `client_id` and `client_secret` in the form.
    Form,
}

/// A credential that was read.
#[derive(Clone, Debug)]
pub enum Credential {
    Secret(SecretString),
    OAuth2(OAuth2),
}

/// See [`OAuth2Config`].
#[derive(Clone, Debug)]
pub struct OAuth2 {
    pub config: OAuth2Config,
    pub client_id: SecretString,
    pub client_secret: SecretString,
    pub refresh_token: Option<SecretString>,
    /// Where the next refresh token is written.
    pub refresh_file: Option<PathBuf>,
}

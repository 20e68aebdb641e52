//! The system's settings, as in `config.schema.json`.

use std::collections::BTreeMap;

use busbar_sdk::http;
use busbar_sdk::replies::Outcome;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Without a `/` at the end; operations add their path to it.
    pub base_url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub authorization: Option<Authorization>,
    pub timeout_ms: Option<u32>,
    #[serde(default = "idempotency_header")]
    pub idempotency_header: String,
    /// By message type.
    #[serde(default)]
    pub deliver: BTreeMap<String, Operation>,
    /// By question type.
    #[serde(default)]
    pub answer: BTreeMap<String, Question>,
    pub poll: Option<Poll>,
}

fn idempotency_header() -> String {
    "Idempotency-Key".to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "kind")]
pub enum Authorization {
    Basic { credential: String },
    Bearer { credential: String },
    Header { header: String, credential: String },
}

impl Authorization {
    pub fn to_host(&self) -> http::Authorization {
        match self {
            Self::Basic { credential } => http::Authorization::Basic(credential.clone()),
            Self::Bearer { credential } => http::Authorization::Bearer(credential.clone()),
            Self::Header { header, credential } => {
                http::Authorization::Header((header.to_ascii_lowercase(), credential.clone()))
            }
        }
    }
}

/// One request.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Operation {
    pub method: Option<String>,
    /// `{…}` holds a jq expression over the message.
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A jq expression over the message.
    pub body: Option<String>,
    pub idempotency_header: Option<String>,
    /// Other meanings of statuses.
    #[serde(default)]
    pub statuses: BTreeMap<u16, Outcome>,
    /// Asked when nobody knows what came of the request.
    pub status: Option<Box<Status>>,
}

/// Asks what came of a request.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Status {
    /// As of an operation; GET.
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A jq expression over the reply: `true` when it was done, `"absent"` when it surely was not.
    #[serde(default = "done")]
    pub done: String,
    /// The status that says that it surely was not done.
    pub absent_status: Option<u16>,
}

fn done() -> String {
    "true".to_owned()
}

/// A request for what is new.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Poll {
    /// Its expressions see `{cursor}`.
    pub request: Operation,
    /// A jq expression over `{status, headers, body, cursor}`: the messages, or what `each` makes them of.
    pub items: String,
    /// A jq expression over `{item, status, headers, body, cursor}`: the message of one item.
    pub each: Option<String>,
    /// The same: whether an item is one for us.
    pub only: Option<String>,
    /// The next cursor; null leaves it as it is.
    pub cursor: String,
    /// Whether there is more at once.
    pub more: Option<String>,
}

/// A request and what its reply says.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Question {
    pub request: Operation,
    /// Type of the answer.
    pub r#type: String,
    /// A jq expression over `{status, headers, body, question}`: the answer's data.
    pub data: String,
}

//! The system's settings, as in `config.schema.json`.

use std::collections::BTreeMap;

use busbar_sdk::replies::Outcome;
use busbar_sdk::{Rejection, http};
use serde::Deserialize;

use crate::{jq, mapping};

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

impl Settings {
    /// Each expression with its place in the settings.
    fn expressions(&self) -> Vec<(String, &str)> {
        let mut found = Vec::new();
        for (r#type, operation) in &self.deliver {
            operation.expressions(&format!("config, deliver.\"{type}\""), &mut found);
        }
        for (r#type, question) in &self.answer {
            let place = format!("config, answer.\"{type}\"");
            question.request.expressions(&format!("{place}.request"), &mut found);
            found.push((format!("{place}.data"), &question.data));
        }
        if let Some(poll) = &self.poll {
            poll.request.expressions("config, poll.request", &mut found);
            let named = [("items", Some(&poll.items)), ("cursor", Some(&poll.cursor))];
            let further = [("each", poll.each.as_ref()), ("only", poll.only.as_ref()), ("more", poll.more.as_ref())];
            for (name, code) in named.into_iter().chain(further) {
                found.extend(code.map(|code| (format!("config, poll.{name}"), code.as_str())));
            }
        }
        found
    }

    /// Compiles every expression. It takes a while, so a call that has its work to do compiles only what it needs.
    ///
    /// # Errors
    /// `bad-mapping` of the first one that does not compile, with its place.
    pub fn check(&self) -> Result<(), Rejection> {
        self.expressions().into_iter().try_for_each(|(place, text)| {
            let is_template = place.ends_with(".path") || place.contains(".headers.");
            match is_template {
                true => mapping::parts(text, &place)?.into_iter().try_for_each(|code| jq::check(code, &place)),
                false => jq::check(text, &place),
            }
        })
    }
}

impl Operation {
    fn expressions<'a>(&'a self, place: &str, found: &mut Vec<(String, &'a str)>) {
        found.push((format!("{place}.path"), &self.path));
        found.extend(self.headers.iter().map(|(name, text)| (format!("{place}.headers.{name}"), text.as_str())));
        found.extend(self.body.as_deref().map(|body| (format!("{place}.body"), body)));
        if let Some(status) = &self.status {
            found.push((format!("{place}.status.path"), &status.path));
            let headers = status.headers.iter();
            found.extend(headers.map(|(name, text)| (format!("{place}.status.headers.{name}"), text.as_str())));
            found.push((format!("{place}.status.done"), &status.done));
        }
    }
}

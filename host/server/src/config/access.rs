//! Who may do what: keys over REST, publishers over AMQP.

use super::finding::Report;
use super::model::{CertificateName, Config};
use super::source::Source;
use busbar_core::{Catalog, StatedBy, Stater, covers};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Who may call the REST interface: whoever holds an API key (`busbar key new` makes one), or shows a certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyConfig {
    /// Who holds it; appears in the journal.
    pub name: String,
    /// SHA-256 of the key, hex. Either this, or `certificate`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// What the certificate of a client says, or is, for requests without a key (`http.tls.client-ca`): `cn:` (the
    /// subject's common name), `dns:`, `uri:` or `email:` (one of its alternative names), e.g. `dns:crm.example`, or
    /// `sha256:` (the certificate's digest). Names are compared as a whole.
    #[serde(default)]
    #[schemars(with = "Option<String>", regex(pattern = r"^((cn|dns|uri|email):.+|sha256:([0-9A-Fa-f]{2}:?){32})$"))]
    pub certificate: Option<CertificateName>,
    pub rights: Vec<Right>,
    /// Sources that its messages and questions may have, as patterns: `*` at the end stands for anything, but for the
    /// sources `/<deployment>/…`, which are the systems' own: one of those is named in full.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Types of the messages that it may send (right `publish`), as patterns.
    #[serde(default)]
    pub types: Vec<String>,
    /// Types of the questions that it may ask, as patterns.
    #[serde(default)]
    pub questions: Vec<String>,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Send messages of its `sources` and `types`.
    Publish,
    /// Ask questions of its `sources` and `questions`.
    Ask,
    /// Read the journal; personal data is masked.
    Read,
    /// Read personal data as well.
    ReadPersonal,
    /// Retry, edit and skip deliveries; pause and resume systems.
    Operate,
}

impl Right {
    pub const ALL: [Self; 5] = [Self::Publish, Self::Ask, Self::Read, Self::ReadPersonal, Self::Operate];

    /// As it is written in `busbar.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Ask => "ask",
            Self::Read => "read",
            Self::ReadPersonal => "read-personal",
            Self::Operate => "operate",
        }
    }
}

/// Who publishes over AMQP.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PublisherConfig {
    /// With `user-id` its user in RabbitMQ, or `*` for whoever may write to the exchange; appears in the journal.
    pub name: String,
    #[serde(default)]
    pub known_by: KnownBy,
    /// As those of a key.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Types of the messages that it may send, as patterns.
    #[serde(default)]
    pub types: Vec<String>,
    /// Types of the questions that it may ask, as patterns.
    #[serde(default)]
    pub questions: Vec<String>,
}

/// How the hub knows who publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    /// By the property `user-id`, which RabbitMQ holds against the user of the connection.
    #[default]
    UserId,
    /// By the exchange `<prefix>.in.<name>`, which the hub declares: RabbitMQ's permissions say who may write to it.
    Exchange,
}

impl KeyConfig {
    pub fn stater(&self, deployment: &str) -> Stater {
        stater(StatedBy::Key(self.name.clone()), [&self.sources, &self.types, &self.questions], deployment)
    }
}

impl PublisherConfig {
    pub fn stater(&self, deployment: &str) -> Stater {
        stater(StatedBy::Publisher(self.name.clone()), [&self.sources, &self.types, &self.questions], deployment)
    }
}

fn stater(by: StatedBy, patterns: [&Vec<String>; 3], deployment: &str) -> Stater {
    let [sources, types, questions] = patterns.map(Clone::clone);
    Stater { by, sources, types, questions, reserved: reserved(deployment) }
}

/// What the systems' own sources begin with.
fn reserved(deployment: &str) -> String {
    format!("/{deployment}/")
}

/// Who may say what: each key and publisher by itself.
pub fn check(config: &Config, catalog: &Catalog, source: &Source, report: &mut Report) {
    let mut check = AccessCheck { config, catalog, source, report };
    for (i, key) in config.http.keys.iter().enumerate() {
        let at = format!("/http/keys/{i}");
        let says = |right: Right| key.rights.contains(&right);
        check.names(&at, says(Right::Publish), &key.types, "types", "publish");
        check.names(&at, says(Right::Ask), &key.questions, "questions", "ask");
        check.patterns(&at, says(Right::Publish) || says(Right::Ask), &key.sources, &key.types, &key.questions);
    }
    let mut names = BTreeSet::new();
    for (i, publisher) in config.amqp.iter().flat_map(|amqp| &amqp.publishers).enumerate() {
        let at = format!("/amqp/publishers/{i}");
        let speaks = !publisher.types.is_empty() || !publisher.questions.is_empty();
        check.patterns(&at, speaks, &publisher.sources, &publisher.types, &publisher.questions);
        if !speaks {
            let text = format!("publisher `{}` may say nothing", publisher.name);
            check.error("says-nothing", &format!("{at}/name"), text, "name its `types` or `questions`, or remove it");
        }
        if !names.insert(&publisher.name) {
            let text = format!("publisher `{}` is there twice", publisher.name);
            check.error("duplicate-key", &format!("{at}/name"), text, "put what it may say together");
        }
        if publisher.known_by == KnownBy::Exchange && !is_word(&publisher.name) {
            let text = format!("`{}` is no part of an exchange's name", publisher.name);
            check.error("wrong-value", &format!("{at}/name"), text, "use lower-case letters, digits and `-`");
        }
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

struct AccessCheck<'a> {
    config: &'a Config,
    catalog: &'a Catalog,
    source: &'a Source,
    report: &'a mut Report,
}

impl AccessCheck<'_> {
    fn error(&mut self, kind: &'static str, at: &str, message: String, remedy: &str) {
        self.report.error(kind, self.source.value_span(at), message, remedy);
    }

    /// A right without what it is for, or the other way round.
    fn names(&mut self, at: &str, has: bool, patterns: &[String], list: &str, right: &str) {
        if has && patterns.is_empty() && !self.source.says(&format!("{at}/{list}")) {
            let text = format!("the right `{right}` without `{list}`: the key may {right} nothing");
            self.error("says-nothing", &format!("{at}/rights"), text, &format!("add `{list} = [\"…\"]`"));
        } else if !has && !patterns.is_empty() {
            let text = format!("`{list}` without the right `{right}`");
            self.error(
                "unused-patterns",
                &format!("{at}/{list}"),
                text,
                &format!("add `{right}` to `rights`, or remove it"),
            );
        }
    }

    fn patterns(&mut self, at: &str, speaks: bool, sources: &[String], types: &[String], questions: &[String]) {
        if speaks && sources.is_empty() && !self.source.says(&format!("{at}/sources")) {
            let text = "it may speak, but for no source".to_string();
            self.error("says-nothing", &format!("{at}/name"), text, "add `sources = [\"/…\"]`");
        }
        for (i, pattern) in sources.iter().enumerate() {
            let reserved = pattern.strip_prefix(&reserved(&self.config.name));
            if reserved.is_some_and(|name| self.config.systems.get(name).is_some_and(|s| s.adapter.is_some())) {
                let text = format!("`{pattern}` is the source of what that system's adapter states");
                self.error("reserved-source", &format!("{at}/sources/{i}"), text, "give it a source of its own");
            } else if reserved.is_some() && pattern.ends_with('*') {
                let text = format!("`{pattern}`: the systems' own sources are named in full");
                self.error(
                    "reserved-source",
                    &format!("{at}/sources/{i}"),
                    text,
                    "name one source, or another beginning",
                );
            }
        }
        for (list, patterns, asks) in [("types", types, false), ("questions", questions, true)] {
            for (i, pattern) in patterns.iter().enumerate() {
                let mut known = self.catalog.types().filter(|t| self.catalog.answer_type(t).is_some() == asks);
                if !known.any(|t| covers(pattern, t)) {
                    let what = if asks { "question" } else { "message" };
                    let text = format!("no {what} type is `{pattern}`");
                    self.error(
                        "unknown-type",
                        &format!("{at}/{list}/{i}"),
                        text,
                        "see the schemas' folder for the types",
                    );
                }
            }
        }
    }
}

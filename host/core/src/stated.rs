//! Who stated a message, and what it may state.

use crate::error::{Code, Problem};
use crate::message::Message;
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};

/// Who stated a message or asked a question. Written `system:billing`, `key:crm`, `publisher:crm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StatedBy {
    /// A system of the deployment, by its adapter.
    System(String),
    /// Over REST, by the name of its API key.
    Key(String),
    /// Over AMQP, by its name in `amqp.publishers`.
    Publisher(String),
}

impl StatedBy {
    pub fn name(&self) -> &str {
        match self {
            Self::System(name) | Self::Key(name) | Self::Publisher(name) => name,
        }
    }

    /// From its text; nothing where that is of none of these forms.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let name = name.to_string();
        match kind {
            "system" => Some(Self::System(name)),
            "key" => Some(Self::Key(name)),
            "publisher" => Some(Self::Publisher(name)),
            _ => None,
        }
    }
}

impl Display for StatedBy {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::System(_) => "system",
            Self::Key(_) => "key",
            Self::Publisher(_) => "publisher",
        };
        write!(f, "{kind}:{}", self.name())
    }
}

impl From<StatedBy> for String {
    fn from(by: StatedBy) -> Self {
        by.to_string()
    }
}

impl TryFrom<String> for StatedBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is neither a system, a key nor a publisher"))
    }
}

/// Whether a text is meant by a pattern: `*` at its end stands for anything.
pub fn covers(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    }
}

/// Somebody outside who states messages and asks questions, and which: as patterns, see [`covers`].
#[derive(Clone, Debug)]
pub struct Stater {
    pub by: StatedBy,
    pub sources: Vec<String>,
    /// Types of messages.
    pub types: Vec<String>,
    /// Types of questions.
    pub questions: Vec<String>,
    /// What the systems' own sources begin with, `/<deployment>/`: such a source is nobody else's unless it is named
    /// in full.
    pub reserved: String,
}

impl Stater {
    /// # Errors
    /// `forbidden`, with the attribute.
    pub fn may_state(&self, message: &Message) -> Result<(), Problem> {
        self.source(message)?;
        self.kind(&self.types, "state messages of type", message)
    }

    /// # Errors
    /// `forbidden`, with the attribute.
    pub fn may_ask(&self, question: &Message) -> Result<(), Problem> {
        self.source(question)?;
        self.kind(&self.questions, "ask questions of type", question)
    }

    fn source(&self, message: &Message) -> Result<(), Problem> {
        let is_reserved = message.source.starts_with(&self.reserved);
        let means = |pattern: &&String| match is_reserved {
            true => **pattern == message.source && !pattern.ends_with('*'),
            false => covers(pattern, &message.source),
        };
        if self.sources.iter().any(|pattern| means(&pattern)) {
            return Ok(());
        }
        let why = if is_reserved { ", which is a system's own" } else { "" };
        let text = format!("{} may not state the source `{}`{why}; {}", self.by, message.source, only(&self.sources));
        Err(Problem::new(Code::Forbidden, text).at("source"))
    }

    fn kind(&self, patterns: &[String], act: &str, message: &Message) -> Result<(), Problem> {
        if patterns.iter().any(|pattern| covers(pattern, &message.r#type)) {
            return Ok(());
        }
        let text = format!("{} may not {act} `{}`; {}", self.by, message.r#type, only(patterns));
        Err(Problem::new(Code::Forbidden, text).at("type"))
    }
}

fn only(patterns: &[String]) -> String {
    match patterns {
        [] => "it may none".to_string(),
        patterns => format!("only: {}", patterns.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stater(sources: &[&str], types: &[&str]) -> Stater {
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        Stater {
            by: StatedBy::Key("crm".into()),
            sources: texts(sources),
            types: texts(types),
            questions: texts(&["account.*"]),
            reserved: "/demo/".into(),
        }
    }

    fn message(source: &str, r#type: &str) -> Message {
        let event = json!({ "specversion": "1.0", "id": "1", "source": source, "type": r#type, "data": {} });
        Message::from_structured(event).unwrap()
    }

    #[test]
    fn a_stater_states_only_its_own() {
        let may = |sources: &[&str], types: &[&str], source: &str, kind: &str| {
            stater(sources, types).may_state(&message(source, kind)).map_err(|p| p.place.unwrap_or_default())
        };
        assert_eq!(may(&["/crm"], &["appeal.*"], "/crm", "appeal.created.v1"), Ok(()));
        assert_eq!(may(&["/crm"], &["appeal.*"], "/crm/2", "appeal.created.v1"), Err("source".into()));
        assert_eq!(may(&["/crm/*"], &["appeal.*"], "/crm/2", "payment.received.v1"), Err("type".into()));
        assert_eq!(may(&["*"], &["*"], "https://bank.example", "payment.received.v1"), Ok(()));
        assert_eq!(may(&[], &["*"], "/crm", "appeal.created.v1"), Err("source".into()));
    }

    #[test]
    fn a_systems_source_is_its_own() {
        let may = |sources: &[&str]| stater(sources, &["*"]).may_state(&message("/demo/bank", "payment.received.v1"));
        for sources in [&["*"][..], &["/demo/*"], &["/demo/bank*"], &["/demo/ban"]] {
            assert!(may(sources).is_err(), "{sources:?}");
        }
        assert_eq!(may(&["/demo/bank"]), Ok(()), "one that speaks for itself is named in full");
    }

    #[test]
    fn questions_have_types_of_their_own() {
        let stater = stater(&["*"], &["*"]);
        assert!(stater.may_ask(&message("/crm", "account.lookup.v1")).is_ok());
        assert!(stater.may_ask(&message("/crm", "person.lookup.v1")).is_err());
    }

    #[test]
    fn its_text_is_read_again() {
        for by in [StatedBy::System("a".into()), StatedBy::Key("b:c".into()), StatedBy::Publisher(String::new())] {
            assert_eq!(StatedBy::parse(&by.to_string()), Some(by));
        }
        assert_eq!(StatedBy::parse("crm"), None);
    }
}

//! What persons decide, kept in a chain: each entry carries a hash over itself and the one before it, so that nothing in
//! between can be changed or taken out unnoticed. Whoever keeps the last hash elsewhere notices a cut end as well.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Of a person's words about a decision.
pub const COMMENT_BYTES_MAX: usize = 1_000;

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    Retry,
    Edit,
    Skip,
    /// Of an entry of an input.
    Accept,
    Dismiss,
    Pause,
    Resume,
}

impl Deed {
    pub const ALL: [Self; 7] =
        [Self::Retry, Self::Edit, Self::Skip, Self::Accept, Self::Dismiss, Self::Pause, Self::Resume];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Edit => "edit",
            Self::Skip => "skip",
            Self::Accept => "accept",
            Self::Dismiss => "dismiss",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.as_str() == text)
    }
}

/// Who decided, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decider {
    /// Name of the key or person.
    pub by: String,
    pub comment: Option<String>,
}

impl Decider {
    pub fn new(by: impl Into<String>) -> Self {
        Self { by: by.into(), comment: None }
    }
}

/// One decision, as it is chained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditRecord {
    /// From 1, without gaps.
    pub seq: i64,
    pub at_ms: i64,
    pub by: String,
    pub deed: Deed,
    /// Empty where the decision is about an entry of an input.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intake: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A decision in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub record: AuditRecord,
    /// SHA-256 over the hash before it and [`AuditRecord::text`], in lower-case hexadecimal.
    pub hash: String,
}

impl AuditRecord {
    /// The text that is hashed and kept: JSON with its members in this order.
    pub fn text(&self) -> String {
        // A record has only strings and numbers in it, which always can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What stands before the first entry.
pub const BEGINNING: &str = "";

/// The hash of an entry's text behind another one.
pub fn chained(before: &str, text: &str) -> String {
    let digest =
        Sha256::new().chain_update(before.as_bytes()).chain_update(b"\n").chain_update(text.as_bytes()).finalize();
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing into a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Reads a chain on from `(seq, hash)` of the entry before it.
///
/// # Errors
/// What is wrong, in words, with the number of the entry.
pub fn follow(before: &mut (i64, String), text: &str, hash: &str) -> Result<AuditRecord, String> {
    let next = before.0 + 1;
    let record: AuditRecord =
        serde_json::from_str(text).map_err(|error| format!("entry {next} cannot be read: {error}"))?;
    if record.seq != next {
        return Err(format!(
            "entry {next} is missing: the one behind entry {} says that it is {}",
            before.0, record.seq
        ));
    }
    if chained(&before.1, text) != hash {
        return Err(format!("entry {next} was changed, or what stood before it"));
    }
    *before = (next, hash.to_string());
    Ok(record)
}

/// Which decisions to show, newest first. All given conditions hold together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditFilter {
    pub system: Option<String>,
    pub delivery: Option<i64>,
    pub by: Option<String>,
    pub deed: Option<Deed>,
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Only those with a smaller number.
    pub before: Option<i64>,
    pub limit: u32,
}

/// A person holds a system's deliveries up, or lets them go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    pub system: String,
    pub paused: bool,
    pub decider: Decider,
}

/// A system whose deliveries a person holds up: at every hub, until somebody resumes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pause {
    pub system: String,
    pub by: String,
    pub at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: i64) -> AuditRecord {
        AuditRecord {
            seq,
            at_ms: 5,
            by: "Оператор".into(),
            deed: Deed::Skip,
            system: "billing".into(),
            delivery: Some(7),
            intake: None,
            comment: Some("a double".into()),
        }
    }

    #[test]
    fn a_chain_tells_what_was_changed_or_taken_out() {
        let mut hash = BEGINNING.to_string();
        let mut chain = Vec::new();
        for seq in 1..=4 {
            let text = record(seq).text();
            hash = chained(&hash, &text);
            chain.push((text, hash.clone()));
        }
        let read = |chain: &[(String, String)]| {
            let mut before = (0, BEGINNING.to_string());
            chain.iter().try_for_each(|(text, hash)| follow(&mut before, text, hash).map(drop))
        };
        assert_eq!(read(&chain), Ok(()));
        let mut gone = chain.clone();
        gone.remove(1);
        assert!(read(&gone).is_err_and(|error| error.contains("entry 2 is missing")));
        let mut changed = chain.clone();
        changed[2].0 = changed[2].0.replace("double", "triple");
        assert!(read(&changed).is_err_and(|error| error.contains("entry 3 was changed")));
        let mut exchanged = chain.clone();
        exchanged[3].1 = chained(&exchanged[1].1, &exchanged[3].0);
        assert!(read(&exchanged).is_err_and(|error| error.contains("entry 4 was changed")));
    }

    #[test]
    fn its_first_hash_is_that_of_other_programs() {
        // printf '\n{"seq":1,"at-ms":5,"by":"a","deed":"pause","system":"s"}' | sha256sum
        let text = r#"{"seq":1,"at-ms":5,"by":"a","deed":"pause","system":"s"}"#;
        let record: AuditRecord = serde_json::from_str(text).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(record.text(), text);
        assert_eq!(chained(BEGINNING, text), "e67b5b270cf3c15bad664815459c1671a079cd85be10cadcaf5b2977fc2fd2a7");
    }
}

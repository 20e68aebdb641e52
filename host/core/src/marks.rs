//! The hashes of a message: what tells it from another one, and a repeat from a reused id.

use crate::commit::{Pair, short_hash};
use crate::journal::NewMessage;
use crate::message::Message;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

/// Each is worked out once, and only where somebody asks: what is relayed without a record needs none of them.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    digest: OnceLock<String>,
    pair: OnceLock<Pair>,
    content: OnceLock<i64>,
}

/// Of a message whose digest is known.
impl From<String> for Marks {
    fn from(digest: String) -> Self {
        Self { digest: digest.into(), ..Self::default() }
    }
}

/// They follow from the message; only two digests that are both there can say something else.
impl PartialEq for Marks {
    fn eq(&self, other: &Self) -> bool {
        self.digest.get().zip(other.digest.get()).is_none_or(|(one, other)| one == other)
    }
}

impl NewMessage {
    /// Hex SHA-256 of type and data; tells a repeat from a reused id.
    pub fn digest(&self) -> &str {
        self.marks.digest.get_or_init(|| digest(&self.message))
    }

    /// What tells it from other messages.
    pub fn pair(&self) -> Pair {
        *self.marks.pair.get_or_init(|| Pair::of(&self.message))
    }

    /// The digest, as a store keeps it.
    pub fn content(&self) -> i64 {
        *self.marks.content.get_or_init(|| short_hash(&[self.digest()]).0)
    }
}

fn digest(message: &Message) -> String {
    let mut hash = Sha256::new();
    hash.update(message.r#type.as_bytes());
    hash.update([0]);
    hash.update(message.data.text().as_bytes());
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        text.extend([byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or_default()));
    }
    text
}

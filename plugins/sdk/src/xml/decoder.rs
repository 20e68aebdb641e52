use std::borrow::Cow;

use super::{Problem, checked};
use crate::encoding::Encoding;

/// Bytes of a document -> text, in the encoding that its bytes show rather than the one declared.
pub struct Decoder {
    declared: Option<Encoding>,
    declared_name: String,
    found: Option<Encoding>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { declared: Some(Encoding::Utf8), declared_name: "UTF-8".to_owned(), found: None }
    }
}

impl Decoder {
    pub fn declare(&mut self, name: &[u8]) {
        self.declared_name = String::from_utf8_lossy(name.get(..40).unwrap_or(name)).into_owned();
        self.declared = Encoding::named(&self.declared_name);
    }

    pub fn declared(&self) -> &str {
        &self.declared_name
    }

    pub fn found(&self) -> Option<Encoding> {
        self.found
    }

    /// # Errors
    /// `xml-encoding` where the bytes are not what earlier ones were, or the declared encoding is unknown; `not-xml`
    /// at control characters.
    pub fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, str>, Problem> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => Cow::Borrowed(text),
            Ok(text) => self.utf8(text)?,
            Err(_) => self.one_byte(bytes)?,
        };
        checked(&text)?;
        Ok(text)
    }

    // A capital letter and a sign of windows-1251, as in `Ф№1`, look like one character of UTF-8, but not two of them.
    fn utf8<'a>(&mut self, text: &'a str) -> Result<Cow<'a, str>, Problem> {
        let is_sure = text.chars().filter(|c| !c.is_ascii()).nth(1).is_some();
        match self.found.or(if is_sure { Some(Encoding::Utf8) } else { self.declared }) {
            Some(Encoding::Utf8) | None => {
                self.found = self.found.or(is_sure.then_some(Encoding::Utf8));
                Ok(Cow::Borrowed(text))
            }
            Some(_) if is_sure => Err(mixed()),
            Some(other) => Ok(other.decode(text.as_bytes())),
        }
    }

    fn one_byte<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, str>, Problem> {
        let encoding = match (self.found, self.declared) {
            (Some(Encoding::Utf8), _) => return Err(mixed()),
            (Some(found), _) => found,
            (None, Some(Encoding::Ibm866)) => Encoding::Ibm866,
            (None, Some(_)) => Encoding::Windows1251,
            (None, None) => {
                let reason =
                    format!("the declared encoding {} is none of UTF-8, windows-1251 and cp866", self.declared_name);
                return Err(("xml-encoding", reason));
            }
        };
        self.found = Some(encoding);
        Ok(encoding.decode(bytes))
    }
}

fn mixed() -> Problem {
    ("xml-encoding", "one part of the document is UTF-8 and another is not".to_owned())
}

//! Which lines of a document are fields, and which go on with the text before them.

use busbar_sdk::{Rejection, Sink};

use super::{Decoder, unreadable};
use crate::document::{Key, is_known_elsewhere};

/// What a line may continue that begins with no known key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    None,
    Text(Key),
    /// A field that is not looked at.
    Elsewhere,
}

impl<O: Sink> Decoder<'_, O> {
    /// A line within a document: a field, known or not; nothing where it continues the field before, as banks break purposes and names
    /// over lines wherever they please. `is_field`: the line has a `=`.
    pub(super) fn document_field(
        &mut self,
        line: u64,
        name: &str,
        value: &str,
        text: &str,
        is_field: bool,
    ) -> Result<Option<bool>, Rejection> {
        if let Some(key) = Key::named(name).filter(|_| is_field) {
            // `Сумма=700 руб` in a purpose is no sum.
            if let Last::Text(last) = self.last
                && last.is_purpose()
                && !key.fits(value)
            {
                self.document.append(last, text);
                return Ok(None);
            }
            self.document.set(key, line, value)?;
            self.last = if key.is_text() { Last::Text(key) } else { Last::None };
            return Ok(Some(true));
        }
        if is_field && is_known_elsewhere(name) {
            self.last = Last::Elsewhere;
            return Ok(Some(true));
        }
        match self.last {
            Last::Text(key) if !is_field || key.is_purpose() || !looks_like_key(name) => {
                self.document.append(key, text);
                Ok(None)
            }
            Last::Elsewhere if !is_field => Ok(None),
            _ if is_field => Ok(Some(false)),
            _ => Err(unreadable(line)),
        }
    }
}

/// Whether it has the form of a key, such as one that later versions may bring.
fn looks_like_key(name: &str) -> bool {
    name.starts_with(char::is_alphabetic) && name.chars().all(char::is_alphanumeric)
}

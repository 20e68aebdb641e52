//! Text as it is stored. PostgreSQL's TEXT and its JSON functions refuse NUL, and keys, places and
//! file names may hold one; so it is stored as U+001A `0`, and U+001A itself as U+001A `1`. Lossless.

use std::borrow::Cow;

const MARK: char = '\u{1A}';

pub fn stored(text: &str) -> Cow<'_, str> {
    // Byte by byte: both are ASCII, and this is done for every value.
    if text.as_bytes().contains(&0) || text.as_bytes().contains(&(MARK as u8)) {
        Cow::Owned(text.replace(MARK, "\u{1A}1").replace('\0', "\u{1A}0"))
    } else {
        Cow::Borrowed(text)
    }
}

pub fn read(text: String) -> String {
    if text.contains(MARK) { text.replace("\u{1A}0", "\0").replace("\u{1A}1", "\u{1A}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::{read, stored};

    #[test]
    fn any_text_comes_back_and_none_holds_nul() {
        for text in ["", "plain", "\0", "\u{1A}", "\u{1A}0", "\u{1A}1", "a\0\u{1A}\0b", "\u{1A}\u{1A}00\0"] {
            assert!(!stored(text).contains('\0'));
            assert_eq!(read(stored(text).into_owned()), text);
        }
    }
}

//! How records look on a page: moments, and texts cut so that no page grows beyond its bound.

use crate::rest::views::{Error, time};
use serde_json::Value;
use std::fmt;

/// A moment as RFC 3339 in UTC, the one zone of all pages.
pub struct Moment(String);

impl Moment {
    pub fn of(rfc3339: String) -> Self {
        Self(rfc3339)
    }

    pub fn ms(ms: i64) -> Self {
        Self(time(ms))
    }
}

/// An element whose text says the day, the second and the offset.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, rest) = self.0.split_once('T').unwrap_or((&self.0, ""));
        write!(f, "<time datetime=\"{}\">{day} {} +00:00</time>", self.0, rest.get(..8).unwrap_or(rest))
    }
}

// Digits, colons and dashes of our own formatting.
impl askama::filters::HtmlSafe for Moment {}

/// So many bytes a text may take on a page, once quotes and brackets stand as HTML wants them.
fn weight(c: char) -> usize {
    if matches!(c, '<' | '>' | '&' | '"' | '\'') { 5 } else { c.len_utf8() }
}

/// At most so many bytes of a text as HTML; whether something was cut.
pub fn cut(text: &str, most: usize) -> (String, bool) {
    let mut left = most;
    for (at, c) in text.char_indices() {
        match left.checked_sub(weight(c)) {
            Some(less) => left = less,
            None => return (format!("{}…", text.get(..at).unwrap_or_default()), true),
        }
    }
    (text.to_string(), false)
}

/// For lists: a line at most.
pub fn line(text: &str) -> String {
    cut(text, 160).0
}

/// What all texts of a page may take together.
pub struct Room(pub usize);

/// A text as far as there is room for it.
pub struct CutText {
    pub text: String,
    pub is_cut: bool,
}

impl Room {
    /// JSON with a field a line, at most `most` bytes of it.
    pub fn json(&mut self, value: &Value, most: usize) -> CutText {
        let whole = serde_json::to_string_pretty(value).unwrap_or_default();
        let (text, is_cut) = cut(&whole, most.min(self.0));
        self.0 = self.0.saturating_sub(text.chars().map(weight).sum());
        CutText { text, is_cut }
    }
}

/// An error as the journal has it, with what to do about it where the code is the hub's.
pub struct ErrorShown {
    pub code: String,
    pub detail: String,
    pub place: Option<String>,
    pub remedy: Option<&'static str>,
}

impl ErrorShown {
    /// `most`: bytes of its text.
    pub fn new(error: Error, most: usize) -> Self {
        let known = busbar_core::ALL_CODES.iter().find(|code| code.as_str() == error.code);
        Self {
            remedy: known.map(|code| code.remedy()),
            detail: cut(&error.detail, most).0,
            place: error.place.map(|place| cut(&place, most).0),
            code: line(&error.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_moment_says_its_offset() {
        let at = Moment::ms(1_790_000_000_123);
        let text = "<time datetime=\"2026-09-21T14:13:20.123Z\">2026-09-21 14:13:20 +00:00</time>";
        assert_eq!(at.to_string(), text);
    }

    #[test]
    fn what_is_cut_is_small_as_html_too() {
        let quotes = "\"".repeat(1000);
        let (text, is_cut) = cut(&quotes, 100);
        assert!(is_cut && text.chars().count() == 21, "{text}");
        assert_eq!(cut("Пелагея", 14), ("Пелагея".into(), false));
        assert_eq!(cut("Пелагея", 13).0, "Пелаге…");
        let mut room = Room(60);
        assert!(room.json(&json!({ "a": "x".repeat(500) }), 50).is_cut);
        assert!(room.json(&json!("yyyyyyyyyyyyyyyyyyyy"), 50).text.chars().map(weight).sum::<usize>() <= 13);
    }
}

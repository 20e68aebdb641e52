//! Days and times by a pattern such as `dd/mm/yyyy`: each bank writes them in its own way.

use busbar_sdk::dates;
use time::{Date, PrimitiveDateTime, Time};

/// A pattern of `dd`, `mm`, `yyyy`, `yy`, `hh`, `mi`, `ss` and other characters.
#[derive(Clone, Debug)]
pub struct Pattern(String);

const TOKENS: [&str; 7] = ["yyyy", "yy", "dd", "mm", "hh", "mi", "ss"];

impl Pattern {
    /// Nothing for a pattern without one of `needed`.
    pub fn new(text: &str, needed: &[&str]) -> Option<Self> {
        needed.iter().all(|token| text.contains(token)).then(|| Self(text.to_owned()))
    }

    /// The day that `text` names; nothing for another shape or a day that does not exist.
    pub fn day(&self, text: &str) -> Option<Date> {
        let found = self.read(text)?;
        let year = found("yyyy").or_else(|| found("yy").map(|year| format!("20{year}")))?;
        dates::parse_russian_date(&format!("{}.{}.{year}", found("dd")?, found("mm")?))
    }

    /// `day` at the time that `text` names; seconds may be left out.
    pub fn time(&self, day: Date, text: &str) -> Option<PrimitiveDateTime> {
        let found = self.read(text)?;
        let part = |token: &str| found(token).unwrap_or_else(|| "00".to_owned()).parse().ok();
        Some(PrimitiveDateTime::new(day, Time::from_hms(part("hh")?, part("mi")?, part("ss")?).ok()?))
    }

    pub fn write(&self, moment: PrimitiveDateTime) -> String {
        let mut text = String::new();
        let mut rest = self.0.as_str();
        while let Some(first) = rest.chars().next() {
            let token = TOKENS.iter().find(|token| rest.starts_with(**token));
            match token.copied() {
                Some("yyyy") => text.push_str(&format!("{:04}", moment.year())),
                Some("yy") => text.push_str(&format!("{:02}", moment.year().rem_euclid(100))),
                Some("dd") => text.push_str(&format!("{:02}", moment.day())),
                Some("mm") => text.push_str(&format!("{:02}", u8::from(moment.month()))),
                Some("hh") => text.push_str(&format!("{:02}", moment.hour())),
                Some("mi") => text.push_str(&format!("{:02}", moment.minute())),
                Some("ss") => text.push_str(&format!("{:02}", moment.second())),
                _ => text.push(first),
            }
            rest = rest.get(token.map_or(first.len_utf8(), |token| token.len())..).unwrap_or_default();
        }
        text
    }

    // Digits by their token; the other characters must be the same.
    fn read<'t>(&self, text: &'t str) -> Option<impl Fn(&str) -> Option<String> + use<'t>> {
        let mut found: Vec<(&'static str, &'t str)> = Vec::new();
        let (mut pattern, mut rest) = (self.0.as_str(), text);
        while let Some(first) = pattern.chars().next() {
            let token = TOKENS.iter().find(|token| pattern.starts_with(**token));
            let length = token.map_or(first.len_utf8(), |token| token.len());
            let piece = rest.get(..length)?;
            match token {
                Some(token) if piece.bytes().all(|byte| byte.is_ascii_digit()) => found.push((*token, piece)),
                None if pattern.starts_with(piece) => {}
                _ => return None,
            }
            pattern = pattern.get(length..)?;
            rest = rest.get(length..)?;
        }
        let of = move |token: &str| found.iter().find(|part| part.0 == token).map(|part| part.1.to_owned());
        rest.is_empty().then_some(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_in_many_shapes() {
        for (pattern, text) in [
            ("dd/mm/yyyy", "05/09/2026"),
            ("dd.mm.yyyy", "05.09.2026"),
            ("yyyy-mm-dd", "2026-09-05"),
            ("ddmmyy", "050926"),
            ("dd-mm-yyyy", "05-09-2026"),
        ] {
            let pattern = Pattern::new(pattern, &["dd", "mm", "yy"]).unwrap();
            let day = pattern.day(text).unwrap();
            assert_eq!(dates::iso_date(day), "2026-09-05");
            assert_eq!(pattern.write(dates::start_of_day(day)), text);
        }
        let pattern = Pattern::new("dd/mm/yyyy", &["dd"]).unwrap();
        for text in ["", "5/9/2026", "31/02/2026", "05.09.2026", "05/09/2026 ", "05/09/20я6", "+5/09/2026"] {
            assert_eq!(pattern.day(text), None, "{text}");
        }
        assert!(Pattern::new("dd/mm", &["yy"]).is_none());
    }

    #[test]
    fn times() {
        let day = dates::parse_russian_date("05.09.2026").unwrap();
        let pattern = Pattern::new("hh-mi-ss", &["hh", "mi"]).unwrap();
        let moment = pattern.time(day, "23-59-01").unwrap();
        assert_eq!(pattern.write(moment), "23-59-01");
        assert_eq!(pattern.time(day, "24-00-00"), None);
        assert!(Pattern::new("hh:mi", &["hh", "mi"]).unwrap().time(day, "10:30").is_some());
    }
}

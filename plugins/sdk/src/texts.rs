//! Texts that must fit a field.

/// At most so many characters; what was longer ends in `…`.
pub fn shortened(text: &str, chars: usize) -> String {
    if first_chars(text, chars).len() == text.len() {
        return text.to_owned();
    }
    format!("{}…", first_chars(text, chars.saturating_sub(1)))
}

/// At most so many of its characters.
pub fn first_chars(text: &str, chars: usize) -> &str {
    // No text has more characters than bytes, and most are short.
    let end = if text.len() <= chars { None } else { text.char_indices().nth(chars) };
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Whether it can name something: no attribute of an event, such as the subject, may have control characters.
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Without blanks and case: banks break a text over lines in one file, and not in another.
pub fn squeezed(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | '0'..='9' | 'а'..='я' => squeezed.push(c),
            c if c.is_whitespace() => {}
            c => squeezed.extend(c.to_lowercase()),
        }
    }
    squeezed
}

/// A UUID in its usual form, such as an id of ФИАС.
pub fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.splitn(6, '-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_longer_than_allowed() {
        assert_eq!((shortened("ёлка", 4), shortened("ёлка", 3)), ("ёлка".into(), "ёл…".into()));
        assert_eq!([4, 3, 0].map(|chars| first_chars("ёлка", chars)), ["ёлка", "ёлк", ""]);
        assert_eq!([9, 2].map(|chars| first_chars("elk", chars)), ["elk", "el"]);
    }

    #[test]
    fn the_same_however_it_is_broken() {
        assert_eq!(squeezed("За свет,\n ЛС:\u{a0}500100 Ёлка"), squeezed("за СВЕТ, лс: 500100 ёЛКА"));
        assert_eq!(squeezed("İ ẞ"), "i̇ß");
    }

    #[test]
    fn uuids() {
        assert!(is_uuid("3f1c7a52-0b6e-4d19-9a84-5C2E7d90ab11"));
        for text in ["3f1c7a52-0b6e-4d19-9a84-5c2e7d90ab1g", "3f1c7a520b6e4d199a845c2e7d90ab11", "", "---------"] {
            assert!(!is_uuid(text), "{text}");
        }
    }
}

//! Telephone numbers as people write them -> E.164, which is what canonical messages carry.

/// Words that begin an extension, in lower case.
const EXTENSION_WORDS: [&str; 8] = [";ext=", "доб.", "доб", "вн.", "ext.", "ext", "#", "x"];

/// What a written number says; either part may be all there is: offices write a bare extension as a phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phone {
    /// `+74955550101`.
    pub number: Option<String>,
    /// 1 to 10 digits.
    pub extension: Option<String>,
}

/// Reads `+7 (495) 555-01-01 доб. 1417`, `8 495 5550101`, `tel:+7-495-5550101;ext=17`, `1417`.
///
/// `country`: digits of the calling code that a number without `+` belongs to, e.g. `7`; for `7` the trunk prefix
/// `8` is known too. A number that stays doubtful is left out rather than guessed.
pub fn parse(text: &str, country: &str) -> Phone {
    let lower = text.trim().to_lowercase();
    let lower = lower.strip_prefix("tel:").unwrap_or(&lower);
    let cut = EXTENSION_WORDS.iter().filter_map(|word| Some((lower.find(word)?, word.len()))).min();
    let (main, extension) = match cut {
        Some((at, length)) => (lower.get(..at).unwrap_or(""), lower.get(at + length..)),
        None => (lower, None),
    };
    let Some((international, main)) = digits(main) else { return Phone::default() };
    let extension = match extension {
        Some(text) => match digits(text) {
            Some((false, digits)) if (1..=10).contains(&digits.len()) => Some(digits),
            _ => return Phone::default(),
        },
        None => None,
    };
    let full = |digits: String| (7..=15).contains(&digits.len()) && !digits.starts_with('0');
    let number = if international {
        Some(main.clone())
    } else if country == "7" && main.len() == 11 && main.starts_with(['7', '8']) {
        main.get(1..).map(|rest| format!("7{rest}"))
    } else if main.len() == 10 && !country.is_empty() {
        Some(format!("{country}{main}"))
    } else {
        None
    };
    match number.filter(|digits| full(digits.clone())) {
        Some(digits) => Phone { number: Some(format!("+{digits}")), extension },
        None if !international && extension.is_none() && (1..=6).contains(&main.len()) => {
            Phone { number: None, extension: Some(main) }
        }
        None => Phone::default(),
    }
}

/// The digits without what people put between them, and whether a plus sign led.
fn digits(text: &str) -> Option<(bool, String)> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == ',' || c == ':');
    let (plus, text) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut digits = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' => digits.push(c),
            '(' | ')' | '-' | '.' | '\u{2010}'..='\u{2014}' => {}
            c if c.is_whitespace() => {}
            _ => return None,
        }
    }
    Some((plus, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, number, extension) in [
            ("+7 (495) 555-01-01", Some("+74955550101"), None),
            ("+7 (495) 555-01-01 доб. 1417", Some("+74955550101"), Some("1417")),
            ("8 (495) 555-01-01, доб 17", Some("+74955550101"), Some("17")),
            ("tel:+7-495-555-01-01;ext=17", Some("+74955550101"), Some("17")),
            ("4955550101 x5", Some("+74955550101"), Some("5")),
            ("+1 555 0100100", Some("+15550100100"), None),
            ("1417", None, Some("1417")),
            ("14-17", None, Some("1417")),
        ] {
            let phone = parse(text, "7");
            assert_eq!((phone.number.as_deref(), phone.extension.as_deref()), (number, extension), "{text}");
        }
    }

    #[test]
    fn what_stays_doubtful_is_left_out() {
        for text in ["", "нет", "+0123456789", "555-01-01", "+7 495", "1-800-FLOWERS", "+", "x", "17 x"] {
            assert_eq!(parse(text, "7"), Phone::default(), "{text}");
        }
        assert_eq!(parse("8 495 555 01 01", "1"), Phone::default());
        assert_eq!(parse("4955550101", ""), Phone::default());
    }
}

//! Money: exact minor units inside, decimal strings outside. Never a float.

use serde::{Deserialize, Serialize};

/// An amount as canonical messages carry it: `{"value":"1234.50","currency":"RUB"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// A decimal number with a point.
    pub value: String,
    /// ISO 4217, e.g. `RUB`.
    pub currency: String,
}

impl Money {
    /// An amount of `minor` hundredths (kopecks).
    pub fn of_minor(minor: i128, currency: &str) -> Self {
        Self { value: format_minor(minor), currency: currency.to_owned() }
    }

    /// Hundredths, or nothing when the value is no decimal with at most two digits after the point.
    pub fn minor(&self) -> Option<i128> {
        parse_minor(&self.value)
    }
}

/// Hundredths of a decimal such as `700`, `1052.98`, `-0.5` or, as some banks write it, `1052,98`.
/// At most 15 digits before the point and 2 after it; no blanks, no exponent, no `+`.
pub fn parse_minor(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once(['.', ',']) {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (digits, ""),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 15 || fraction.len() > 2 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction_minor = match fraction.len() {
        0 => 0,
        1 => fraction.parse::<i128>().ok()? * 10,
        _ => fraction.parse::<i128>().ok()?,
    };
    let minor = whole.parse::<i128>().ok()? * 100 + fraction_minor;
    Some(if negative { -minor } else { minor })
}

/// The decimal of `minor` hundredths, always with two digits after the point.
pub fn format_minor(minor: i128) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}

/// The currency of a Russian 20-digit bank account, from its digits 6 to 8 (Bank of Russia 809-P, the
/// account plan: 810 is the rouble), for the currencies a utility meets; nothing for others.
pub fn currency_of_account(account: &str) -> Option<&'static str> {
    if account.len() != 20 {
        return None;
    }
    match account.get(5..8)? {
        "810" => Some("RUB"),
        number => currency_of_number(number),
    }
}

/// The currency of a number of ISO 4217 (ОКВ), for the currencies a utility meets; nothing for others.
pub fn currency_of_number(number: &str) -> Option<&'static str> {
    match number {
        "643" => Some("RUB"),
        "840" => Some("USD"),
        "978" => Some("EUR"),
        "156" => Some("CNY"),
        "933" => Some("BYN"),
        "398" => Some("KZT"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_banks_write() {
        for (text, minor) in [
            ("700", 70_000),
            ("1052.98", 105_298),
            ("1052,98", 105_298),
            ("0.5", 50),
            ("-0.05", -5),
            ("0", 0),
            ("999999999999999.99", 99_999_999_999_999_999),
        ] {
            assert_eq!(parse_minor(text), Some(minor), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in
            ["", "-", ".", "1.", ".5", "1.234", "1e3", "+1", " 1", "1 000", "1.2.3", "1000000000000000", "--1", "١"]
        {
            assert_eq!(parse_minor(text), None, "{text}");
        }
    }

    #[test]
    fn formats_with_two_digits() {
        assert_eq!(format_minor(5), "0.05");
        assert_eq!(format_minor(-105_298), "-1052.98");
        assert_eq!(format_minor(70_000), "700.00");
    }

    #[test]
    fn knows_the_currency_of_an_account() {
        assert_eq!(currency_of_account("40702810000000000001"), Some("RUB"));
        assert_eq!(currency_of_account("40702840000000000001"), Some("USD"));
        assert_eq!(currency_of_account("407028100"), None);
        assert_eq!(currency_of_account("40702я10000000000001"), None);
    }
}

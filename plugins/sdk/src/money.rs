//! Money: exact minor units inside, decimal strings outside. Never a float.

mod names;

use crate::decimal::Decimal;
use iso_currency::Currency;
use serde::{Deserialize, Serialize};

/// The rouble's number before 1998, which account numbers have to this day.
const OLD_ROUBLE: &str = "810";

/// What becomes of a payment of nothing, as settings of files of a bank say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroSums {
    #[default]
    LeftOut,
    Refused,
}

/// What a payment of a negative sum is, by which a bank takes back one that it has told of (сторно).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NegativeSums {
    #[default]
    Refunded,
    LeftOut,
    Refused,
}

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

    /// An amount of `units` of the currency's smallest unit, e.g. kopecks, whole yens, fils; nothing where ISO 4217 has none.
    pub fn of_smallest(units: i128, currency: &str) -> Option<Self> {
        let exponent = exponent_of(currency)?;
        let one = 10_u128.pow(exponent);
        let (sign, size) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
        let value = match exponent {
            0 => format!("{sign}{size}"),
            _ => format!("{sign}{}.{:0width$}", size / one, size % one, width = exponent as usize),
        };
        Some(Self { value, currency: currency.to_owned() })
    }

    /// The other way round; nothing where the value has parts of the smallest unit.
    pub fn smallest(&self) -> Option<i128> {
        Decimal::parse(&self.value)?.units(exponent_of(&self.currency)?)
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

/// Hundredths of a sum as people and older programs write it: besides what [`parse_minor`] takes, with blanks, apostrophes or the
/// other mark between thousands (`1 700.00`, `1.700,00`), with kopecks after a dash or `=` (`700-50`, `700=`). Nothing where it could
/// be another sum, e.g. `1,700`.
pub fn parse_minor_written(text: &str) -> Option<i128> {
    if let Some(minor) = parse_minor(text) {
        return Some(minor);
    }
    let text = text.trim();
    let (sign, size) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(size) => ("-", size.trim_start()),
        None => ("", text),
    };
    let (whole, mark, kopecks) = match size.rfind(['.', ',', '-', '=']) {
        Some(at) => (size.get(..at)?, size.get(at..=at)?, size.get(at + 1..)?),
        None => (size, "", ""),
    };
    match (mark, kopecks.len()) {
        ("" | "=", 0) | ("." | ",", 1 | 2) | ("-" | "=", 2) => {}
        _ => return None,
    }
    let thousands = whole.chars().find(|c| !c.is_ascii_digit());
    if let Some(between) = thousands {
        let may_stand = between.is_whitespace() || matches!(between, '\'' | '’' | '.' | ',');
        let mut groups = whole.split(between);
        let is_first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()));
        if !may_stand || mark.starts_with(between) || !is_first || !groups.all(|group| group.len() == 3) {
            return None;
        }
    }
    let digits: String = whole.chars().filter(|c| Some(*c) != thousands).collect();
    let kopecks = if kopecks.is_empty() { "0" } else { kopecks };
    parse_minor(&format!("{sign}{digits}.{kopecks}"))
}

/// The decimal of `minor` hundredths, always with two digits after the point.
pub fn format_minor(minor: i128) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}

/// The currency of a Russian 20-digit bank account, from its digits 6 to 8 (Bank of Russia 809-P, the
/// account plan: 810 is the rouble); nothing for what is no currency there, such as metals.
pub fn currency_of_account(account: &str) -> Option<&'static str> {
    if account.len() != 20 {
        return None;
    }
    match account.get(5..8)? {
        OLD_ROUBLE => Some("RUB"),
        number => currency_of_number(number),
    }
}

/// The currency of a number of ISO 4217 (ОКВ), three digits.
pub fn currency_of_number(number: &str) -> Option<&'static str> {
    let is_number = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().ok()).flatten().and_then(Currency::from_numeric).and_then(code)
}

/// The code itself where ISO 4217 has it, in capitals as the standard has them. `RUR`, which some still write, is `RUB`.
pub fn currency_of_code(text: &str) -> Option<&'static str> {
    match text {
        "RUR" => Some("RUB"),
        _ => Currency::from_code(text).and_then(code),
    }
}

/// The currency of whatever people write for it: a code, a number, a Russian name, an abbreviation, a sign. Nothing for
/// what is unknown, or called so in several countries: the caller refuses it, and takes no usual one.
pub fn currency_of(text: &str) -> Option<&'static str> {
    let plain = text.to_lowercase().replace('ё', "е").replace(['.', '(', ')', '"', '«', '»'], " ");
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if plain == OLD_ROUBLE {
        return Some("RUB");
    }
    let named = |&(code, names): &(&'static str, &str)| names.split('|').any(|name| name == plain).then_some(code);
    currency_of_number(&plain)
        .or_else(|| currency_of_code(&plain.to_ascii_uppercase()))
        .or_else(|| names::NAMES.iter().find_map(named))
}

/// Digits after the point of the currency's smallest unit: 2 of a rouble, 0 of a yen, 3 of a dinar of Kuwait. Nothing
/// where ISO 4217 has none, such as gold.
pub fn exponent_of(currency: &str) -> Option<u32> {
    Currency::from_code(currency)?.exponent().map(u32::from)
}

/// Where the standard says "no currency" or "for testing", there is none.
fn code(currency: Currency) -> Option<&'static str> {
    (!matches!(currency, Currency::XXX | Currency::XTS)).then(|| currency.code())
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
    fn parses_what_people_write_where_it_is_one_sum() {
        for (text, minor) in [
            ("700.5", 70_050),
            ("1 700.00", 170_000),
            ("1\u{a0}700,00", 170_000),
            ("12\u{202f}345\u{202f}678", 1_234_567_800),
            ("1'700.00", 170_000),
            ("1,700.00", 170_000),
            ("1.700,00", 170_000),
            ("700-50", 70_050),
            ("1 700-50", 170_050),
            ("-700-50", -70_050),
            ("\u{2212}700.50", -70_050),
            ("700=", 70_000),
            ("700=50", 70_050),
            (" 700.50 ", 70_050),
        ] {
            assert_eq!(parse_minor_written(text), Some(minor), "{text}");
        }
        for text in [
            "",
            "1,700",
            "1.700",
            "1 70.00",
            "17 00.00",
            "1 7000.00",
            "700-5",
            "700-",
            "7-00-50",
            "1 700'000.00",
            "1.234.567",
            "1.700.00",
            "700.505",
            "р. 700",
            "1e3",
            "- -5",
            "=50",
            " 700-500",
        ] {
            assert_eq!(parse_minor_written(text), None, "{text}");
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

    #[test]
    fn knows_all_currencies_by_number_code_and_name() {
        // ISO 4217 list one, and the notation of users of 1C.
        for (text, code) in [
            ("784", "AED"),
            ("036", "AUD"),
            ("392", "JPY"),
            ("860", "UZS"),
            ("810", "RUB"),
            ("RUR", "RUB"),
            ("usd", "USD"),
            (" руб. ", "RUB"),
            ("р.", "RUB"),
            ("Российский рубль", "RUB"),
            ("Рублей", "RUB"),
            ("₽", "RUB"),
            ("грн.", "UAH"),
            ("Тенге", "KZT"),
            ("Дирхам (ОАЭ)", "AED"),
            ("Узбекский сум", "UZS"),
            ("сум", "UZS"),
            ("Бел. руб.", "BYN"),
            ("Доллар\u{a0}США", "USD"),
            ("долл.", "USD"),
            ("$", "USD"),
            ("€", "EUR"),
            ("Юань", "CNY"),
            ("Фунт стерлингов", "GBP"),
            ("Южнокорейская вона", "KRW"),
        ] {
            assert_eq!(currency_of(text), Some(code), "{text}");
        }
        for text in
            ["", "999", "963", "000", "36", "крона", "манат", "тыс. руб.", "XXX", "XTS", "ABC", "¥", "шт", "A98"]
        {
            assert_eq!(currency_of(text), None, "{text}");
        }
        assert_eq!(
            (currency_of_code("rub"), currency_of_code("GEL"), currency_of_number("810")),
            (None, Some("GEL"), None)
        );
        assert_eq!(currency_of_account("40702392200000000044"), Some("JPY"));
        assert_eq!(currency_of_account("20309A98000000000001"), None);
    }

    #[test]
    fn each_name_is_of_one_existing_currency() {
        let mut names: Vec<&str> = Vec::new();
        for (code, of_code) in names::NAMES {
            assert_eq!(currency_of_code(code), Some(*code));
            for name in of_code.split('|') {
                assert_eq!(currency_of(name), Some(*code), "{name}");
                assert!(!names.contains(&name), "{name}");
                names.push(name);
            }
        }
    }

    #[test]
    fn smallest_units_are_of_the_currency() {
        for (units, currency, value) in
            [(70_050, "RUB", "700.50"), (700, "JPY", "700"), (-1_005, "KWD", "-1.005"), (5, "CLF", "0.0005")]
        {
            let money = Money::of_smallest(units, currency).unwrap();
            assert_eq!((money.value.as_str(), money.smallest()), (value, Some(units)));
        }
        assert_eq!((Money::of_smallest(1, "XAU"), Money::of_smallest(1, "XYZ")), (None, None));
        let money = |value: &str, currency: &str| Money { value: value.into(), currency: currency.into() };
        assert_eq!((money("1.5", "JPY").smallest(), money("1.00", "JPY").smallest()), (None, Some(1)));
    }
}

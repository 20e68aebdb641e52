//! Single values: of 1C as JSON -> of canonical messages, and back.

use busbar_sdk::decimal::Decimal;
use busbar_sdk::money::{Money, format_minor, parse_minor};
use busbar_sdk::{dates, phones};
use serde_json::{Value, json};

use crate::settings::{As, Settings};

/// An empty reference and an empty date of 1C.
const EMPTY_REFERENCE: &str = "00000000-0000-0000-0000-000000000000";
const EMPTY_DATE: &str = "0001-01-01T00:00:00";
/// What a JSON number, a binary fraction once it is read, holds exactly.
const NUMBER_DIGITS_MAX: usize = 15;

/// The text of a scalar; nothing for an empty one: null, blanks, an empty reference, an empty date.
///
/// # Errors
/// A reason: a number too long to be exact.
pub fn text(value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => {
            let text = number.to_string();
            let digits = text.trim_end_matches(".0").bytes().filter(u8::is_ascii_digit).count();
            if number.is_f64() && digits > NUMBER_DIGITS_MAX || text.contains('e') {
                return Err(format!("the number {text} is not exact"));
            }
            text.trim_end_matches(".0").to_owned()
        }
        Value::Null | Value::Array(_) | Value::Object(_) => return Ok(None),
    };
    Ok(Some(text).filter(|text| !matches!(text.as_str(), "" | EMPTY_REFERENCE | EMPTY_DATE)))
}

/// A value of 1C as a canonical one. Nothing where it says nothing: a phone, a mail address or a number of the tax office
/// that is none is left out, since people type what they like into such fields.
///
/// # Errors
/// A reason: no number, no date and so on.
pub fn canonical(settings: &Settings, r#as: As, text: String) -> Result<Option<Value>, String> {
    let digits = |lengths: &[usize]| lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    Ok(Some(match r#as {
        As::Text => json!(text),
        As::Decimal => json!(decimal(&text)?.canonical().ok_or_else(|| format!("`{text}` is no number that fits"))?),
        As::Money => return money(settings, &text).map(Some),
        As::Integer => json!(
            decimal(&text)?
                .units(0)
                .and_then(|units| i64::try_from(units).ok())
                .ok_or_else(|| { format!("`{text}` is no whole number") })?
        ),
        As::Boolean => json!(boolean(&text)?),
        As::Date => json!(day(&text)?),
        As::Moment => {
            let (moment, offset) = dates::parse_date_time(&text).ok_or_else(|| format!("`{text}` is no moment"))?;
            json!(dates::rfc3339(moment, offset.unwrap_or(settings.utc_offset)))
        }
        As::Phone => return Ok(phones::parse(&text, &settings.country_code).number.map(Value::from)),
        As::Email => return Ok(is_email(&text).then(|| json!(text))),
        As::TaxId => return Ok(digits(&[10, 12]).then(|| json!(text))),
        As::RegistrationNumber => return Ok(digits(&[13, 15]).then(|| json!(text))),
        As::TaxRegistration => return Ok(is_tax_registration(&text).then(|| json!(text))),
    }))
}

/// A value of a message as 1C takes it.
///
/// # Errors
/// A reason: no number, no date and so on.
pub fn foreign(settings: &Settings, r#as: As, text: String) -> Result<Value, String> {
    Ok(match r#as {
        As::Decimal | As::Money | As::Integer => {
            let text = decimal(&text)?.to_string();
            if text.bytes().filter(u8::is_ascii_digit).count() > NUMBER_DIGITS_MAX {
                return Err(format!("the number {text} would not be exact"));
            }
            serde_json::from_str(&text).map_err(|_| format!("`{text}` is no number"))?
        }
        As::Boolean => json!(boolean(&text)?),
        As::Date => json!(format!("{}T00:00:00", day(&text)?)),
        As::Moment => {
            let (moment, offset) = dates::parse_date_time(&text).ok_or_else(|| format!("`{text}` is no moment"))?;
            let seconds = dates::unix_seconds(moment, offset.unwrap_or(settings.utc_offset));
            let local = dates::local_of_unix_seconds(seconds, settings.utc_offset);
            let local = local.ok_or_else(|| format!("`{text}` is no moment"))?;
            json!(dates::rfc3339(local, settings.utc_offset).get(..19))
        }
        _ => json!(text),
    })
}

fn decimal(text: &str) -> Result<Decimal, String> {
    Decimal::parse(text).ok_or_else(|| format!("`{text}` is no number"))
}

fn money(settings: &Settings, text: &str) -> Result<Value, String> {
    let value = match parse_minor(text) {
        Some(minor) => Some(format_minor(minor)),
        None => decimal(text)?.canonical().filter(|_| decimal(text).is_ok_and(|value| value.units(4).is_some())),
    };
    let value = value.ok_or_else(|| format!("`{text}` is no amount"))?;
    Ok(json!(Money { value, currency: settings.currency.clone() }))
}

fn boolean(text: &str) -> Result<bool, String> {
    text.to_lowercase().parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

fn day(text: &str) -> Result<String, String> {
    let day = match dates::parse_date_time(text) {
        Some((moment, _)) => Some(moment.date()),
        None => dates::parse_iso_date(text),
    };
    day.map(dates::iso_date).ok_or_else(|| format!("`{text}` is no date"))
}

fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    let is_part = |part: &str| !part.is_empty() && !part.contains('@') && !part.contains(char::is_whitespace);
    text.len() <= 254 && parts.is_some_and(|(name, host)| is_part(name) && is_part(host))
}

/// КПП: four digits, two digits or Latin capitals, three digits.
fn is_tax_registration(text: &str) -> bool {
    text.len() == 9
        && text
            .bytes()
            .enumerate()
            .all(|(index, byte)| byte.is_ascii_digit() || matches!(index, 4 | 5) && byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(r#as: As, value: Value) -> Result<Option<Value>, String> {
        text(&value)?.map_or(Ok(None), |text| canonical(&Settings::default(), r#as, text))
    }

    #[test]
    fn what_is_empty() {
        for value in [json!(null), json!("  "), json!(EMPTY_REFERENCE), json!(EMPTY_DATE), json!([]), json!({})] {
            assert_eq!(text(&value), Ok(None), "{value}");
        }
    }

    #[test]
    fn canonical_values() {
        for (kind, value, expected) in [
            (As::Text, json!(412), json!("412")),
            (As::Decimal, json!("10"), json!("10")),
            (As::Decimal, json!(10.50), json!("10.5")),
            (As::Decimal, json!(20.0), json!("20")),
            (As::Money, json!("1052.9"), json!({"value": "1052.90", "currency": "RUB"})),
            (As::Money, json!(-7), json!({"value": "-7.00", "currency": "RUB"})),
            (As::Money, json!("4.1234"), json!({"value": "4.1234", "currency": "RUB"})),
            (As::Integer, json!("3"), json!(3)),
            (As::Boolean, json!("true"), json!(true)),
            (As::Date, json!("2026-11-20T14:37:27"), json!("2026-11-20")),
            (As::Moment, json!("2026-11-20T14:37:27"), json!("2026-11-20T14:37:27+03:00")),
            (As::Phone, json!("8 (495) 555-01-01"), json!("+74955550101")),
            (As::Email, json!("a@example.org"), json!("a@example.org")),
            (As::TaxId, json!("7701000001"), json!("7701000001")),
            (As::TaxRegistration, json!("7701AB001"), json!("7701AB001")),
        ] {
            assert_eq!(said(kind, value.clone()), Ok(Some(expected)), "{value}");
        }
        for (kind, value) in [
            (As::TaxId, json!("нет")),
            (As::Email, json!("a b@c")),
            (As::Phone, json!("звонить вечером")),
            (As::TaxRegistration, json!("770")),
        ] {
            assert_eq!(said(kind, value), Ok(None));
        }
        for (kind, value) in [
            (As::Decimal, json!("1 000")),
            (As::Decimal, json!(1e300)),
            (As::Money, json!(12345678901234.567_f64)),
            (As::Money, json!("0.00001")),
            (As::Integer, json!("1.5")),
            (As::Boolean, json!("да")),
            (As::Date, json!("2026-02-30T00:00:00")),
            (As::Moment, json!("вчера")),
        ] {
            assert!(said(kind, value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn foreign_values() {
        let foreign = |kind, text: &str| foreign(&Settings::default(), kind, text.to_owned());
        assert_eq!(foreign(As::Decimal, "1052.90"), Ok(json!(1052.9)));
        assert_eq!(foreign(As::Date, "2026-11-20"), Ok(json!("2026-11-20T00:00:00")));
        assert_eq!(foreign(As::Moment, "2026-11-20T20:00:00Z"), Ok(json!("2026-11-20T23:00:00")));
        assert_eq!(foreign(As::Text, "007"), Ok(json!("007")));
        assert!(foreign(As::Decimal, "123456789012345.67").is_err());
    }
}

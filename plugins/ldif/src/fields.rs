//! Values of attributes -> fields of `employee.changed.v1` and `unit.changed.v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use busbar_sdk::texts::is_plain;
use busbar_sdk::{dates, phones};
use serde_json::{Map, Value as Json, json};

use crate::ldif::Value;
use crate::memory::Kind;
use crate::settings::{ACCOUNT_ATTRIBUTES, Settings};

/// What a field's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// At most so many characters.
    Text(usize),
    Phone,
    Extension,
    Email,
    Day,
    Moment,
    Address,
    /// Name of another entry, of this kind.
    Reference(Kind),
    /// An id as it stands.
    Id,
}

/// A field, the attributes it comes from, and its form.
pub struct Field<'a> {
    pub name: &'static str,
    pub attributes: &'a [String],
    pub form: Form,
}

/// The fields of a kind that are taken from attributes; the id, the status and the place in the tree are not.
pub fn fields(settings: &Settings, kind: Kind) -> Vec<Field<'_>> {
    let field = |name, attributes, form| Field { name, attributes, form };
    let (e, u) = (&settings.employee, &settings.unit);
    match kind {
        Kind::Employee => vec![
            field("personnelNumber", &e.personnel_number, Form::Text(64)),
            field("name", &e.name, Form::Text(200)),
            field("login", &e.login, Form::Text(128)),
            field("unit", &e.unit, Form::Id),
            field("position", &e.position, Form::Text(300)),
            field("manager", &e.manager, Form::Reference(Kind::Employee)),
            field("phone", &e.phone, Form::Phone),
            field("extension", &e.extension, Form::Extension),
            field("email", &e.email, Form::Email),
            field("hiredOn", &e.hired_on, Form::Day),
            field("leftOn", &e.left_on, Form::Day),
            field("changedAt", &e.changed_at, Form::Moment),
        ],
        Kind::Unit => vec![
            field("name", &u.name, Form::Text(300)),
            field("head", &u.head, Form::Reference(Kind::Employee)),
            field("code", &u.code, Form::Text(64)),
            field("address", &u.address, Form::Address),
            field("phone", &u.phone, Form::Phone),
            field("changedAt", &u.changed_at, Form::Moment),
        ],
    }
}

/// The first value of the first of these attributes that has one.
pub fn first<'a>(values: &'a [Value], attributes: &[String]) -> Option<&'a Value> {
    let of = |name: &String| values.iter().find(|value| value.attribute == *name && !value.bytes.is_empty());
    attributes.iter().find_map(of)
}

/// Puts a value where its field is; `false` where it has not the field's form. References are the caller's.
pub fn set(data: &mut Map<String, Json>, field: &Field<'_>, value: &Value, country: &str) -> bool {
    let text = value.text();
    let fitting = match field.form {
        Form::Text(chars) => fits(&text, chars).then(|| json!(text)),
        Form::Id | Form::Reference(_) => fits(&text, 64).then(|| json!(text)),
        Form::Phone => {
            let phone = phones::parse(&text, country);
            if let (Some(extension), None, Kind::Employee) = (&phone.extension, data.get("extension"), kind_of(data)) {
                data.insert("extension".to_owned(), json!(extension));
                if phone.number.is_none() {
                    return true;
                }
            }
            phone.number.map(|number| json!(number))
        }
        Form::Extension => {
            let digits = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| json!(text))
        }
        Form::Email => is_email(&text).then(|| json!(text)),
        Form::Day => day(&text).map(|day| json!(day)),
        Form::Moment => moment(&text).map(|moment| json!(moment)),
        Form::Address => fits(&text, 500).then(|| json!({ "text": text.replace('$', ", ") })),
    };
    let found = fitting.is_some();
    if let Some(fitting) = fitting {
        data.insert(field.name.to_owned(), fitting);
    }
    found
}

fn kind_of(data: &Map<String, Json>) -> Kind {
    if data.contains_key("employee") { Kind::Employee } else { Kind::Unit }
}

/// An id as text: octets of Active Directory's own ids are written in hexadecimal.
pub fn id_text(value: &Value) -> Option<String> {
    let text = match value.attribute.as_str() {
        "objectguid" | "objectsid" => octets(value).iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => value.text(),
    };
    is_id(&text).then_some(text)
}

pub fn is_id(text: &str) -> bool {
    fits(text, 64) && is_plain(text)
}

// Given as base64 by every exporter; a text that is base64 again came from a tool that printed it so.
fn octets(value: &Value) -> Vec<u8> {
    if value.bytes.len() == 24 {
        STANDARD.decode(&value.bytes).unwrap_or_else(|_| value.bytes.clone())
    } else {
        value.bytes.clone()
    }
}

/// `suspended` or what the settings say for a switched-off account; nothing where it is not said.
pub fn is_disabled(values: &[Value]) -> Option<bool> {
    let value = values.iter().find(|value| ACCOUNT_ATTRIBUTES.contains(&value.attribute.as_str()))?;
    let text = value.text();
    if value.attribute == "nsaccountlock" {
        return Some(text.eq_ignore_ascii_case("true"));
    }
    // ADS_UF_ACCOUNTDISABLE
    text.parse::<i64>().ok().map(|flags| flags & 2 != 0)
}

fn fits(text: &str, chars: usize) -> bool {
    !text.is_empty() && text.chars().count() <= chars
}

fn is_email(text: &str) -> bool {
    let whole = text.chars().count() <= 254 && !text.contains(char::is_whitespace);
    whole
        && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

/// `2026-11-22`, `22.11.2026` or the day of `20261122…`.
fn day(text: &str) -> Option<String> {
    let compact = || dates::parse_compact_date(text.get(..8)?);
    let day = dates::parse_iso_date(text).or_else(|| dates::parse_russian_date(text)).or_else(compact)?;
    Some(dates::iso_date(day))
}

/// Generalized time (RFC 4517, 3.3.13) with seconds: `20261122101112Z`, `20261122101112.0Z`, `20261122101112+0300`.
fn moment(text: &str) -> Option<String> {
    let local = dates::parse_compact_date_time(text.get(..14)?)?;
    let zone = text.get(14..)?.trim_start_matches(|c: char| c == '.' || c == ',' || c.is_ascii_digit());
    let offset = match zone {
        "Z" => "+00:00".to_owned(),
        _ => format!("{}:{}", zone.get(..3)?, zone.get(3..).filter(|minutes| !minutes.is_empty()).unwrap_or("00")),
    };
    Some(dates::rfc3339(local, dates::Offset::parse(&offset)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_days() {
        for (text, expected) in [
            ("20261122101112Z", Some("2026-11-22T10:11:12+00:00")),
            ("20261122101112.0Z", Some("2026-11-22T10:11:12+00:00")),
            ("20261122101112.123+0300", Some("2026-11-22T10:11:12+03:00")),
            ("20261122101112-09", Some("2026-11-22T10:11:12-09:00")),
            ("20261122101112", None),
            ("20261322101112Z", None),
            ("2026112210Z", None),
            ("", None),
        ] {
            assert_eq!(moment(text).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("2026-11-22", Some("2026-11-22")),
            ("22.11.2026", Some("2026-11-22")),
            ("20261122000000.0Z", Some("2026-11-22")),
            ("2026-11-31", None),
            ("завтра", None),
        ] {
            assert_eq!(day(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn accounts() {
        let value = |name: &str, text: &str| Value { line: 1, attribute: name.into(), bytes: text.into() };
        assert_eq!(is_disabled(&[value("useraccountcontrol", "514")]), Some(true));
        assert_eq!(is_disabled(&[value("useraccountcontrol", "512")]), Some(false));
        assert_eq!(is_disabled(&[value("nsaccountlock", "TRUE")]), Some(true));
        assert_eq!(is_disabled(&[value("cn", "x")]), None);
        let guid = Value { line: 1, attribute: "objectguid".into(), bytes: vec![0xAB; 16] };
        assert_eq!(id_text(&guid).as_deref(), Some("abababababababababababababababab"));
    }
}

//! Values of attributes -> fields of `employee.changed.v1` and `unit.changed.v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use busbar_sdk::texts::is_plain;
use busbar_sdk::{dates, hex, phones};
use serde_json::{Map, Value as Json, json};

use crate::ldif::Value;
use crate::memory::Kind;
use crate::settings::Settings;

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

/// The values of these attributes, those of the first attribute first; the first one counts.
pub fn candidates<'a>(values: &'a [Value], attributes: &'a [String]) -> impl Iterator<Item = &'a Value> {
    let of = |name: &'a String| values.iter().filter(move |value| value.attribute == *name && !value.bytes.is_empty());
    attributes.iter().flat_map(of)
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
        Form::Address => {
            let address = address(&text);
            fits(&address, 500).then(|| json!({ "text": address }))
        }
    };
    let found = fitting.is_some();
    if let Some(fitting) = fitting {
        data.insert(field.name.to_owned(), fitting);
    }
    found
}

/// Lines with a dollar sign between them, which is `\24` in a line, and the backslash `\5C` (RFC 4517, 3.3.28).
fn address(text: &str) -> String {
    let lines = text.replace('$', ", ").replace("\\24", "$");
    lines.replace("\\5C", "\\").replace("\\5c", "\\")
}

fn kind_of(data: &Map<String, Json>) -> Kind {
    if data.contains_key("employee") { Kind::Employee } else { Kind::Unit }
}

/// An id as text. Ids that are octets are written in hexadecimal, also where a tool printed them as text.
pub fn id_text(value: &Value) -> Option<String> {
    let octets = match value.attribute.as_str() {
        "objectguid" => guid_octets(value),
        "objectsid" => sid_octets(value),
        // Of these no tool is known that prints them otherwise.
        "guid" | "ms-ds-consistencyguid" => Some(value.bytes.clone()).filter(|octets| octets.len() == GUID_BYTES),
        _ => return Some(value.text()).filter(|text| is_id(text)),
    };
    octets.map(|octets| octets.iter().map(|byte| format!("{byte:02x}")).collect()).filter(|text: &String| is_id(text))
}

pub fn is_id(text: &str) -> bool {
    fits(text, 64) && is_plain(text)
}

const GUID_BYTES: usize = 16;

/// Octets; base64 of them that a tool printed as text; or the text of a GUID, whose first three parts are written with
/// their highest byte first and kept with it last ([MS-DTYP] 2.3.4).
fn guid_octets(value: &Value) -> Option<Vec<u8>> {
    if value.bytes.len() == GUID_BYTES {
        return Some(value.bytes.clone());
    }
    if let Some(octets) = STANDARD.decode(&value.bytes).ok().filter(|octets| octets.len() == GUID_BYTES) {
        return Some(octets);
    }
    let text = value.text();
    let parts: Vec<&str> = text.trim_start_matches('{').trim_end_matches('}').split('-').collect();
    if parts.iter().map(|part| part.len()).ne([8, 4, 4, 4, 12]) {
        return None;
    }
    let mut octets = Vec::with_capacity(GUID_BYTES);
    for (index, part) in parts.iter().enumerate() {
        let mut bytes = hex::decoded(part)?;
        if index < 3 {
            bytes.reverse();
        }
        octets.extend(bytes);
    }
    Some(octets)
}

/// Octets of a SID ([MS-DTYP] 2.4.2.2), base64 of them, or its text `S-1-5-21-…` (2.4.2.1).
fn sid_octets(value: &Value) -> Option<Vec<u8>> {
    let whole = |octets: &Vec<u8>| {
        octets.first() == Some(&1) && octets.get(1).is_some_and(|parts| octets.len() == 8 + 4 * usize::from(*parts))
    };
    if whole(&value.bytes) {
        return Some(value.bytes.clone());
    }
    if let Some(octets) = STANDARD.decode(&value.bytes).ok().filter(whole) {
        return Some(octets);
    }
    let text = value.text();
    let mut parts = text.strip_prefix("S-1-")?.split('-');
    let authority = parts.next()?;
    let authority = match authority.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => authority.parse().ok()?,
    };
    let parts: Vec<u32> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let count = u8::try_from(parts.len()).ok()?;
    let mut octets = vec![1, count];
    octets.extend(authority.to_be_bytes().get(2..)?);
    parts.iter().for_each(|part| octets.extend(part.to_le_bytes()));
    Some(octets)
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

/// [`moment`] in milliseconds since 1970.
pub fn moment_ms(text: &str) -> Option<i64> {
    dates::unix_ms(&moment(text)?, dates::Offset::of_minutes(0)?)
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

    // The GUID of Microsoft's own example in [MS-DTYP] 2.3.4.2's layout: {00010203-0405-4607-8809-0a0b0c0d0e0f}.
    #[test]
    fn octets_and_their_texts_are_one_id() {
        let id = |name: &str, bytes: &[u8]| id_text(&Value { line: 1, attribute: name.into(), bytes: bytes.to_vec() });
        let guid = b"\x03\x02\x01\x00\x05\x04\x07\x46\x88\x09\x0a\x0b\x0c\x0d\x0e\x0f";
        let expected = Some("030201000504074688090a0b0c0d0e0f".to_owned());
        assert_eq!(id("objectguid", guid), expected);
        for text in [
            "00010203-0405-4607-8809-0a0b0c0d0e0f",
            "{00010203-0405-4607-8809-0A0B0C0D0E0F}",
            "AwIBAAUEB0aICQoLDA0ODw==",
        ] {
            assert_eq!(id("objectguid", text.as_bytes()), expected, "{text}");
        }
        let sid = [
            1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 0xC7, 0x35, 0x3A, 0x42, 0x8E, 0x6B, 0x74, 0x84, 0x55, 0xA1, 0xAE,
            0xC6, 0x51, 4, 0, 0,
        ];
        let text = "S-1-5-21-1111111111-2222222222-3333333333-1105";
        assert_eq!(id("objectsid", text.as_bytes()), id("objectsid", &sid));
        assert_eq!(id("objectsid", &sid).map(|id| id.len()), Some(56));
        for (name, bad) in [
            ("objectguid", "00010203-0405-4607-8809"),
            ("objectguid", "000102030405460788090a0b0c0d0e0f"),
            ("objectguid", "0001020g-0405-4607-8809-0a0b0c0d0e0f"),
            ("objectsid", "S-1-5-x"),
            ("objectsid", "S-2-5-21"),
            ("guid", "text"),
        ] {
            assert_eq!(id(name, bad.as_bytes()), None, "{bad}");
        }
    }
}

//! CloudEvents attributes in AMQP headers, as the field's clients write them: three prefixes, and AMQP's own types.

use busbar_core::Problem;
use busbar_core::{Code, Payload};
use lapin::types::{AMQPValue, FieldTable};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Prefix of what the hub publishes (CloudEvents AMQP binding 1.0.2, section 3.1.3.1).
pub const PREFIX: &str = "cloudEvents:";
/// Those that are read: the binding's; its form for brokers and libraries that do not take a colon; and the one that
/// bindings for RabbitMQ in several SDKs took over from HTTP.
const PREFIXES: [&str; 3] = [PREFIX, "cloudEvents_", "ce-"];
/// The greatest time of RFC 3339, 9999-12-31T23:59:59Z, in seconds.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Integers below it are seconds or nothing: as milliseconds they would lie in the first months of 1973 and before.
const MILLIS_MIN: i64 = 100_000_000_000;

/// Attributes as AMQP headers.
pub fn fields(payload: &Payload) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in &payload.attributes {
        table.insert(format!("{PREFIX}{name}").into(), AMQPValue::LongString(value.as_str().into()));
    }
    table
}

/// Attributes from headers. `bare`: names that a publisher writes without a prefix.
///
/// # Errors
/// `invalid-event` naming the attribute whose value has no form in CloudEvents, or that stands there twice.
pub fn attributes(headers: Option<&FieldTable>, bare: &[String]) -> Result<Vec<(String, String)>, Problem> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (header, value) in headers.iter().flat_map(|table| table.inner()) {
        let header = header.as_str();
        let prefixed = PREFIXES.iter().find_map(|prefix| header.strip_prefix(prefix));
        let Some(name) = prefixed.or_else(|| bare.iter().any(|name| name == header).then_some(header)) else {
            continue;
        };
        let Some(text) = text(name, value)? else { continue };
        match found.iter().find(|(known, _)| known == name) {
            Some((_, known)) if *known == text => {}
            Some(_) => return Err(bad(name, "stands there twice, under two prefixes and with two values")),
            None => found.push((name.to_string(), text)),
        }
    }
    Ok(found)
}

/// The canonical text of a value (CloudEvents 1.0.2, type system), as the AMQP binding 1.0.2, section 3.1.3.2, maps
/// AMQP's types to it. Nothing: the attribute is not set.
fn text(name: &str, value: &AMQPValue) -> Result<Option<String>, Problem> {
    let integer: i128 = match value {
        AMQPValue::LongString(text) => {
            let text = std::str::from_utf8(text.as_bytes()).map_err(|_| bad(name, "is no UTF-8"))?;
            return Ok(Some(text.to_string()));
        }
        AMQPValue::ShortString(text) => return Ok(Some(text.to_string())),
        AMQPValue::Boolean(yes) if name != "time" => return Ok(Some(yes.to_string())),
        AMQPValue::Timestamp(seconds) => return timestamp(name, *seconds).map(Some),
        AMQPValue::Void => return Ok(None),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortShortUInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortUInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::Boolean(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_) => {
            return Err(bad(name, "has an AMQP type without a form in CloudEvents: write it as text"));
        }
    };
    if name == "time" { milliseconds(integer).map(Some) } else { Ok(Some(integer.to_string())) }
}

/// AMQP 0-9-1, section 4.2.5.4: seconds since 1970, in UTC.
fn timestamp(name: &str, seconds: u64) -> Result<String, Problem> {
    let too_late = || bad(name, format!("the timestamp {seconds} is after the year 9999: AMQP 0-9-1 counts seconds"));
    let seconds = i64::try_from(seconds).ok().filter(|s| s.unsigned_abs() <= SECONDS_MAX).ok_or_else(too_late)?;
    rfc3339(i128::from(seconds) * 1_000_000_000).ok_or_else(too_late)
}

/// AMQP 1.0 counts milliseconds, and comes as a plain integer where a client has no timestamp of its own.
fn milliseconds(number: i128) -> Result<String, Problem> {
    let plausible = number >= i128::from(MILLIS_MIN) && number <= i128::from(SECONDS_MAX) * 1_000 + 999;
    let text = if plausible { rfc3339(number * 1_000_000) } else { None };
    text.ok_or_else(|| bad("time", format!("`{number}` is no time in milliseconds since 1970: write RFC 3339")))
}

pub(super) fn rfc3339(nanoseconds: i128) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&Rfc3339).ok()
}

fn bad(name: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::InvalidEvent, format!("attribute `{name}`: {why}")).at(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_their_forms() {
        // 2026-11-28T07:00:00Z is 1795849200 s (date -u -d @1795849200).
        for (value, expected) in [
            (AMQPValue::Timestamp(1_795_849_200), Some("2026-11-28T07:00:00Z")),
            (AMQPValue::LongLongInt(1_795_849_200_123), Some("2026-11-28T07:00:00.123Z")),
            (AMQPValue::LongString("2026-11-28T10:00:00+03:00".into()), Some("2026-11-28T10:00:00+03:00")),
            (AMQPValue::Timestamp(1_795_849_200_123), None),
            (AMQPValue::LongInt(1_795_849_200), None),
            (AMQPValue::Boolean(true), None),
            (AMQPValue::Double(1.8e12), None),
        ] {
            assert_eq!(text("time", &value).ok().flatten().as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn one_attribute_under_two_prefixes() {
        let table = |second: &str| {
            let mut table = FieldTable::default();
            table.insert("cloudEvents:id".into(), AMQPValue::LongString("1".into()));
            table.insert("ce-id".into(), AMQPValue::LongString(second.into()));
            table.insert("region".into(), AMQPValue::LongInt(66));
            table
        };
        let one = |value: &str| vec![("id".to_string(), value.to_string())];
        assert_eq!(attributes(Some(&table("1")), &[]).ok(), Some(one("1")));
        assert_eq!(attributes(Some(&table("2")), &[]).err().and_then(|p| p.place), Some("id".into()));
        let bare = attributes(Some(&table("1")), &["region".into()]).unwrap_or_default();
        assert!(bare.contains(&("region".into(), "66".into())));
    }
}

//! Dates and times of Russian formats, checked against the calendar.

use serde::{Deserialize, Deserializer, de::Error};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// A fixed offset from UTC such as `+03:00`, as settings name it: the formats carry local times
/// without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(UtcOffset);

impl Offset {
    /// Moscow.
    pub const MOSCOW: Offset = Offset(match UtcOffset::from_hms(3, 0, 0) {
        Ok(offset) => offset,
        Err(_) => UtcOffset::UTC,
    });

    /// From `+hh:mm` or `-hh:mm`, at most 18 hours.
    pub fn parse(text: &str) -> Option<Self> {
        let sign = match text.get(..1)? {
            "+" => 1,
            "-" => -1,
            _ => return None,
        };
        let (hours, minutes) = text.get(1..)?.split_once(':')?;
        if hours.len() != 2 || minutes.len() != 2 {
            return None;
        }
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        if hours > 18 || minutes > 59 {
            return None;
        }
        let (hours, minutes) = (i8::try_from(hours).ok()?, i8::try_from(minutes).ok()?);
        UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok().map(Self)
    }

    /// So many minutes east of UTC, at most 18 hours either way.
    pub fn of_minutes(minutes: i32) -> Option<Self> {
        let (hours, rest) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
        if minutes.abs() > 18 * 60 { None } else { UtcOffset::from_hms(hours, rest, 0).ok().map(Self) }
    }

    /// Minutes east of UTC.
    pub fn minutes(self) -> i32 {
        i32::from(self.0.whole_minutes())
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no offset such as +03:00")))
    }
}

/// `31.12.2026`; nothing for another shape or a day that does not exist.
pub fn parse_russian_date(text: &str) -> Option<Date> {
    let mut parts = text.split('.');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || day.len() != 2 || month.len() != 2 || year.len() != 4 {
        return None;
    }
    date(year, month, day)
}

/// `20261231235959`; nothing for another shape or a moment that does not exist.
pub fn parse_compact_date_time(text: &str) -> Option<PrimitiveDateTime> {
    if text.len() != 14 {
        return None;
    }
    let date = date(text.get(..4)?, text.get(4..6)?, text.get(6..8)?)?;
    Some(PrimitiveDateTime::new(date, time(text.get(8..10)?, text.get(10..12)?, text.get(12..14)?)?))
}

/// `20261231`.
pub fn parse_compact_date(text: &str) -> Option<Date> {
    if text.len() != 8 {
        return None;
    }
    date(text.get(..4)?, text.get(4..6)?, text.get(6..8)?)
}

/// `2026-12-31T23:59:59`, a fraction of the second (left out of the result) and an offset (`Z`, `+03:00`) allowed:
/// RFC 3339, and XML Schema's `dateTime`, whose offset may be missing. `24:00:00` is the next day's first moment.
pub fn parse_date_time(text: &str) -> Option<(PrimitiveDateTime, Option<Offset>)> {
    let (day, rest) = text.split_once('T')?;
    let (clock, rest) = (rest.get(..8)?, rest.get(8..)?);
    let fraction = rest.strip_prefix('.').map_or(0, |digits| digits.bytes().take_while(u8::is_ascii_digit).count() + 1);
    let offset = match rest.get(fraction..)? {
        _ if fraction == 1 => return None,
        "" => None,
        "Z" => Some(Offset(UtcOffset::UTC)),
        offset => Some(Offset::parse(offset)?),
    };
    let day = parse_iso_date(day)?;
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    if clock == "24:00:00" {
        return Some((start_of_day(day.next_day()?), offset));
    }
    Some((PrimitiveDateTime::new(day, time(hour, minute, second)?), offset))
}

/// Milliseconds after 1970 of such a text, which tell apart what happened in one second; `zone` where it has no offset.
pub fn unix_ms(text: &str, zone: Offset) -> Option<i64> {
    let (moment, offset) = parse_date_time(text)?;
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).take(3).count();
    let fraction: i64 = format!("{:0<3}", fraction.get(..digits)?).parse().ok()?;
    Some(unix_seconds(moment, offset.unwrap_or(zone)) * 1000 + fraction)
}

/// `2026-12-31`.
pub fn parse_iso_date(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    date(year, month, day)
}

/// `31.12.2026_23:59:59`, with `separator` between the date and the time.
pub fn parse_russian_date_time(text: &str, separator: char) -> Option<PrimitiveDateTime> {
    let (day, clock) = text.split_once(separator)?;
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || [hour, minute, second].iter().any(|part| part.len() != 2) {
        return None;
    }
    Some(PrimitiveDateTime::new(parse_russian_date(day)?, time(hour, minute, second)?))
}

/// `2026-12-31`.
pub fn iso_date(date: Date) -> String {
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    // Several in each document of a statement, of whose time the formatter would take a twentieth.
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(year * 10_000 + i32::from(month) * 100 + i32::from(day));
    match (digits.get(..4), digits.get(4..6), digits.get(6..)) {
        (Some(year), Some(month), Some(day)) if digits.len() == 8 && !digits.starts_with('-') => {
            [year, "-", month, "-", day].concat()
        }
        _ => format!("{year:04}-{month:02}-{day:02}"),
    }
}

/// `31.12.2026`.
pub fn russian_date(date: Date) -> String {
    format!("{:02}.{:02}.{:04}", date.day(), u8::from(date.month()), date.year())
}

/// `20261231`.
pub fn compact_date(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day())
}

/// `20261231235959`.
pub fn compact_date_time(moment: PrimitiveDateTime) -> String {
    format!("{}{:02}{:02}{:02}", compact_date(moment.date()), moment.hour(), moment.minute(), moment.second())
}

/// Seconds after 1970-01-01T00:00:00Z.
pub fn unix_seconds(moment: PrimitiveDateTime, offset: Offset) -> i64 {
    moment.assume_offset(offset.0).unix_timestamp()
}

/// The moment so many seconds after 1970 as local time at `offset`.
pub fn local_of_unix_seconds(seconds: i64, offset: Offset) -> Option<PrimitiveDateTime> {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok()?.checked_to_offset(offset.0)?;
    Some(PrimitiveDateTime::new(moment.date(), moment.time()))
}

/// RFC 3339 with the offset, to the second: `2026-12-31T23:59:59+03:00`.
pub fn rfc3339(moment: PrimitiveDateTime, offset: Offset) -> String {
    let (hours, minutes, _) = offset.0.as_hms();
    let sign = if offset.0.is_negative() { '-' } else { '+' };
    format!(
        "{}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
        iso_date(moment.date()),
        moment.hour(),
        moment.minute(),
        moment.second(),
        hours.unsigned_abs(),
        minutes.unsigned_abs()
    )
}

/// The day's first moment: for facts of which only the day is known.
pub fn start_of_day(date: Date) -> PrimitiveDateTime {
    PrimitiveDateTime::new(date, Time::MIDNIGHT)
}

/// The moment `ms` milliseconds after 1970 as local time at `offset`.
pub fn local_of_unix_ms(ms: u64, offset: Offset) -> Option<PrimitiveDateTime> {
    local_of_unix_seconds(i64::try_from(ms / 1000).ok()?, offset)
}

fn date(year: &str, month: &str, day: &str) -> Option<Date> {
    let month = Month::try_from(u8::try_from(number(month)?).ok()?).ok()?;
    Date::from_calendar_date(i32::from(number(year)?), month, u8::try_from(number(day)?).ok()?).ok()
}

fn time(hour: &str, minute: &str, second: &str) -> Option<Time> {
    let part = |text: &str| u8::try_from(number(text)?).ok();
    Time::from_hms(part(hour)?, part(minute)?, part(second)?).ok()
}

// `parse` alone would take a leading `+`.
fn number(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_must_exist() {
        assert_eq!(parse_russian_date("29.02.2024").map(iso_date).as_deref(), Some("2024-02-29"));
        for text in [
            "29.02.2023",
            "31.04.2026",
            "00.01.2026",
            "01.13.2026",
            "1.1.2026",
            "01.01.26",
            "01-01-2026",
            "",
            "+1.01.2026",
        ] {
            assert_eq!(parse_russian_date(text), None, "{text}");
        }
    }

    #[test]
    fn iso_dates_come_back() {
        for text in ["2024-02-29", "0999-12-31", "0000-01-01", "9999-12-31"] {
            assert_eq!(parse_iso_date(text).map(iso_date).as_deref(), Some(text));
        }
        let before_christ = [-5, -1234].map(|year| Date::from_calendar_date(year, Month::May, 1).map(iso_date));
        assert_eq!(before_christ, [Ok("-005-05-01".to_owned()), Ok("-1234-05-01".to_owned())]);
        for text in ["2023-02-29", "2026-1-1", "2026-01-01Z", "26-01-01", ""] {
            assert_eq!(parse_iso_date(text), None, "{text}");
        }
    }

    #[test]
    fn moments_carry_the_offset() {
        let moment = parse_compact_date_time("20090815120133").unwrap();
        assert_eq!(rfc3339(moment, Offset::MOSCOW), "2009-08-15T12:01:33+03:00");
        assert_eq!(rfc3339(moment, Offset::parse("-09:30").unwrap()), "2009-08-15T12:01:33-09:30");
        let moment = parse_russian_date_time("05.09.2026_00:00:59", '_').unwrap();
        assert_eq!(rfc3339(moment, Offset::MOSCOW), "2026-09-05T00:00:59+03:00");
        for text in ["20090815240000", "20090230120000", "2009081512013", "2009081512013я"] {
            assert_eq!(parse_compact_date_time(text), None, "{text}");
        }
        assert_eq!(parse_russian_date_time("05.09.2026 00:00:59", '_'), None);
    }

    #[test]
    fn offsets() {
        assert_eq!(Offset::parse("+03:00"), Some(Offset::MOSCOW));
        for text in ["03:00", "+3:00", "+03", "+19:00", "+03:60", "Z", ""] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
    }

    #[test]
    fn local_time_of_the_clock() {
        let moment = local_of_unix_ms(1_795_330_800_000, Offset::MOSCOW).unwrap();
        assert_eq!(rfc3339(moment, Offset::MOSCOW), "2026-11-22T10:00:00+03:00");
    }

    #[test]
    fn iso_moments() {
        let parse = |text: &str| parse_date_time(text).map(|(moment, offset)| (compact_date_time(moment), offset));
        let utc = Offset::of_minutes(0);
        assert_eq!(parse("2026-12-31T23:59:59Z"), Some(("20261231235959".into(), utc)));
        assert_eq!(parse("2026-12-31T23:59:59.999+03:00"), Some(("20261231235959".into(), Some(Offset::MOSCOW))));
        assert_eq!(parse("2026-12-31T24:00:00"), Some(("20270101000000".into(), None)));
        for text in [
            "2026-12-31",
            "2026-12-31 23:59:59",
            "2026-12-31T23:59",
            "2026-12-31T23:59:59.",
            "2026-12-31T23:59:59.Z",
            "2026-12-31T23:59:59z",
            "2026-12-31T23:59:59+3",
            "2026-02-29T00:00:00Z",
            "9999-12-31T24:00:00Z",
            "2026-12-31T24:00:01",
            "2026-12-31T2я:00:01",
            "20261231T235959Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse_compact_date("20240229").map(compact_date).as_deref(), Some("20240229"));
        assert_eq!(parse_compact_date("20230229"), None);
    }

    #[test]
    fn moments_and_seconds() {
        let (moment, offset) = parse_date_time("2026-11-22T10:00:00+03:00").unwrap();
        assert_eq!(unix_seconds(moment, offset.unwrap()), 1_795_330_800);
        assert_eq!(local_of_unix_seconds(1_795_330_800, Offset::MOSCOW), Some(moment));
        assert_eq!(unix_ms("2026-11-22T10:00:00.25", Offset::MOSCOW), Some(1_795_330_800_250));
        assert_eq!(unix_ms("2026-11-22T07:00:00.1239Z", Offset::MOSCOW), Some(1_795_330_800_123));
        assert_eq!(local_of_unix_seconds(i64::MAX, Offset::MOSCOW), None);
        assert_eq!(Offset::of_minutes(-570), Offset::parse("-09:30"));
        assert_eq!((Offset::MOSCOW.minutes(), Offset::of_minutes(18 * 60 + 1)), (180, None));
    }
}

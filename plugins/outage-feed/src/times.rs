//! Times as feeds write them, by a format of the settings.

use busbar_sdk::dates::{self, Offset};

/// The first three letters of the months, English and Russian (January is 0).
const MONTHS: [[&str; 12]; 3] = [
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    ["янв", "фев", "мар", "апр", "май", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"],
    ["янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"],
];

/// No moment is longer; `%*` tries each place of a text.
const TEXT_BYTES_MAX: usize = 500;

/// Seconds after 1970 of a moment in RFC 3339 or XML Schema's form, or in one of `formats`; `zone` where it has no offset.
/// A bare number of 10 digits is seconds after 1970, one of 13 milliseconds: 2001 to 2286 in both.
pub fn seconds(text: &str, formats: &[String], zone: Offset) -> Option<i64> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (moment, offset) = match dates::parse_date_time(text) {
        Some(moment) => moment,
        None => {
            let Some(parts) = formats.iter().find_map(|format| matched(text, format, Parts::default())) else {
                return epoch(text);
            };
            if let Some(seconds) = parts.seconds {
                return Some(seconds);
            }
            (dates::parse_date_time(&parts.iso())?.0, parts.offset)
        }
    };
    Some(dates::unix_seconds(moment, offset.unwrap_or(zone)))
}

fn epoch(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    match whole.len() {
        10 => Some(number),
        13 => Some(number / 1000),
        _ => None,
    }
}

#[derive(Clone, Copy, Default)]
struct Parts {
    /// The whole moment, after 1970.
    seconds: Option<i64>,
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    is_pm: Option<bool>,
    offset: Option<Offset>,
}

impl Parts {
    fn iso(&self) -> String {
        let hour = match self.is_pm {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let Self { year, month, day, minute, second, .. } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// `%Y %y %m %b %d %H %I %M %S %p %z`, `%s` and `%Q` for seconds and milliseconds after 1970, `%*` for anything, a blank for any number of blanks; other characters for themselves.
fn matched(text: &str, format: &str, mut parts: Parts) -> Option<Parts> {
    let mut marks = format.chars();
    let Some(mark) = marks.next() else { return text.is_empty().then_some(parts) };
    if mark == ' ' {
        return matched(text.trim_start(), marks.as_str(), parts);
    }
    if mark != '%' {
        let first = text.chars().next()?;
        let is_same = first == mark || first.eq_ignore_ascii_case(&mark);
        return if is_same { matched(text.get(first.len_utf8()..)?, marks.as_str(), parts) } else { None };
    }
    let directive = marks.next()?;
    let rest = match directive {
        '*' => {
            let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            return starts.filter_map(|at| text.get(at..)).find_map(|later| matched(later, marks.as_str(), parts));
        }
        'Y' => number(text, 4, 4, &mut parts.year)?,
        'y' => {
            let rest = number(text, 2, 2, &mut parts.year)?;
            parts.year += 2000;
            rest
        }
        'm' => number(text, 1, 2, &mut parts.month)?,
        'b' => month(text, &mut parts.month)?,
        'd' => number(text, 1, 2, &mut parts.day)?,
        'H' | 'I' => number(text, 1, 2, &mut parts.hour)?,
        'M' => number(text, 2, 2, &mut parts.minute)?,
        'S' => number(text, 2, 2, &mut parts.second)?,
        'p' => {
            parts.is_pm = Some(match text.get(..2)?.to_ascii_lowercase().as_str() {
                "am" => false,
                "pm" => true,
                _ => return None,
            });
            text.get(2..)?
        }
        's' | 'Q' => {
            let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
            let number: i64 = text.get(..end)?.parse().ok()?;
            parts.seconds = Some(if directive == 'Q' { number / 1000 } else { number });
            text.get(end..)?
        }
        'z' => zone(text, &mut parts.offset)?,
        _ => return None,
    };
    matched(rest, marks.as_str(), parts)
}

fn number<'a>(text: &'a str, least: usize, most: usize, number: &mut u32) -> Option<&'a str> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    *number = text.get(..digits)?.parse().ok()?;
    text.get(digits..)
}

fn month<'a>(text: &'a str, number: &mut u32) -> Option<&'a str> {
    let end = text.find(|letter: char| !letter.is_alphabetic()).unwrap_or(text.len());
    let name: String = text.get(..end)?.to_lowercase().chars().take(3).collect();
    let found = MONTHS.iter().find_map(|months| months.iter().position(|month| *month == name))?;
    *number = u32::try_from(found).ok()? + 1;
    // `янв.`
    text.get(end..).map(|rest| rest.strip_prefix('.').unwrap_or(rest))
}

fn zone<'a>(text: &'a str, offset: &mut Option<Offset>) -> Option<&'a str> {
    for utc in ["GMT", "UTC", "UT", "Z"] {
        if let Some(rest) = text.strip_prefix(utc) {
            *offset = Offset::of_minutes(0);
            return Some(rest);
        }
    }
    let (hours, rest) = (text.get(..3)?, text.get(3..)?);
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    *offset = Some(Offset::parse(&format!("{hours}:{}", rest.get(..2)?))?);
    rest.get(2..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str, format: &str) -> Option<String> {
        let seconds = seconds(text, &[format.to_owned()], Offset::MOSCOW)?;
        dates::local_of_unix_seconds(seconds, Offset::MOSCOW).map(|moment| dates::rfc3339(moment, Offset::MOSCOW))
    }

    #[test]
    fn formats_of_real_feeds() {
        let range = "July 5, 2026 from 12:30 AM to 12:00 PM";
        for (text, format, expected) in [
            ("8:05PM 10 Mar 2026", "%I:%M%p %d %b %Y", "2026-03-10T20:05:00+03:00"),
            (range, "%b %d, %Y from %I:%M %p to %*", "2026-07-05T00:30:00+03:00"),
            (range, "%b %d, %Y from %* to %I:%M %p", "2026-07-05T12:00:00+03:00"),
            ("Tue, 21 Jul 2026 15:14:03 GMT", "%*, %d %b %Y %H:%M:%S %z", "2026-07-21T18:14:03+03:00"),
            ("Tue, 21 Jul 2026 15:14:03 +0500", "%*, %d %b %Y %H:%M:%S %z", "2026-07-21T13:14:03+03:00"),
            ("5 мая 2026 г. 9:00", "%d %b %Y г. %H:%M", "2026-05-05T09:00:00+03:00"),
            ("05.02.26  09:00", "%d.%m.%y %H:%M", "2026-02-05T09:00:00+03:00"),
            // Somebody wrote 16:00pm.
            ("16:00pm 1 Jan 2026", "%I:%M%p %d %b %Y", "2026-01-01T16:00:00+03:00"),
            ("2026-01-01T06:00:00.000Z", "", "2026-01-01T09:00:00+03:00"),
            ("2026-01-01T06:00:00", "", "2026-01-01T06:00:00+03:00"),
            // date -d 2026-11-22T10:00:00+03:00 +%s
            ("1795330800", "", "2026-11-22T10:00:00+03:00"),
            ("1795330800123", "", "2026-11-22T10:00:00+03:00"),
            ("1795330800000.0", "%d.%m.%Y", "2026-11-22T10:00:00+03:00"),
            ("/Date(1795330800000)/", "/Date(%Q)/", "2026-11-22T10:00:00+03:00"),
            ("/Date(1795330800000+0500)/", "/Date(%Q%z)/", "2026-11-22T10:00:00+03:00"),
            ("795330800", "%s", "1995-03-16T08:13:20+03:00"),
            ("20261122", "%Y%m%d", "2026-11-22T00:00:00+03:00"),
        ] {
            assert_eq!(local(text, format).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment() {
        for (text, format) in [
            ("Under Investigation", "%I:%M%p %d %b %Y"),
            ("8:05PM 30 Feb 2026", "%I:%M%p %d %b %Y"),
            ("8:05PM 10 Mar 2026 or so", "%I:%M%p %d %b %Y"),
            ("8:05XM 10 Mar 2026", "%I:%M%p %d %b %Y"),
            ("8:05я", "%I:%M%p"),
            ("25:00 10.03.2026", "%H:%M %d.%m.%Y"),
            ("10.03.2026", "%d.%m"),
            ("", ""),
            ("x", "%"),
            ("x", "%q"),
            ("20261122", ""),
            ("202611221000", ""),
            ("20261122100000", ""),
            ("-179533080", ""),
            ("1795330800,5", ""),
            ("17953308001795330800179533", "%s"),
        ] {
            assert_eq!(local(text, format), None, "{text}");
        }
    }
}

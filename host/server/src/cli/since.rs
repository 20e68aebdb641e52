//! Times as a person gives them on the command line.

use std::str::FromStr;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time with its offset (RFC 3339), or so long ago: `90s`, `30m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since(OffsetDateTime);

impl Since {
    /// RFC 3339, as REST takes it.
    pub fn text(&self) -> String {
        self.0.format(&Rfc3339).unwrap_or_default()
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self(time));
        }
        let wrong =
            || format!("`{text}` is neither a time with its offset (2026-11-29T18:00:00+03:00) nor 90s, 30m, 12h, 7d");
        let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
        let unit = units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
        let (count, seconds) = unit.ok_or_else(wrong)?;
        let count: u32 = count.parse().map_err(|_| wrong())?;
        let ago = Duration::from_secs(u64::from(count) * seconds);
        OffsetDateTime::now_utc().checked_sub(ago.try_into().map_err(|_| wrong())?).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_how_long_ago() {
        let parsed: Since = "2026-11-29T18:00:00+03:00".parse().unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(parsed.text(), "2026-11-29T18:00:00+03:00");
        let ago = |text: &str| text.parse::<Since>().map(|since| (OffsetDateTime::now_utc() - since.0).whole_minutes());
        assert_eq!(ago("90s"), Ok(1));
        assert_eq!(ago("30m"), Ok(30));
        assert_eq!(ago("12h"), Ok(720));
        assert_eq!(ago("7d"), Ok(10_080));
        for text in ["", "h", "-1h", "1w", "1.5h", "2026-11-29", "18:00", "4294967296d", "4294967295d"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}

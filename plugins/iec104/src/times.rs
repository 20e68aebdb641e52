//! Time tags of IEC 60870-5-101 (section 7.2.6.18 and 19). Pure.

use busbar_sdk::dates::{self, Offset};

const HOUR_MS: i64 = 3_600_000;
/// A tag further ahead of the clock, or behind it, is of a station whose clock is not set.
const AHEAD_MS: i64 = 10 * 60_000;
const BEHIND_MS: i64 = 30 * 24 * HOUR_MS;

/// How the stations keep time.
#[derive(Clone, Copy, Debug)]
pub struct Zone {
    pub offset: Offset,
    /// The SU bit says that the tag is an hour ahead of `offset`.
    pub has_summer_time: bool,
}

/// Milliseconds after 1970 of a CP56Time2a. Nothing where it says of itself that it is invalid, is no moment, or is too far from
/// `now_ms` to be believed.
pub fn full(bytes: &[u8], zone: Zone, now_ms: u64) -> Option<u64> {
    let [low, high, minute, hour, day, month, year] = bytes else { return None };
    let (ms, is_valid) = (i64::from(u16::from_le_bytes([*low, *high])), minute & 0x80 == 0);
    let (minute, is_summer, hour) = (minute & 0x3f, hour & 0x80 != 0, hour & 0x1f);
    let (day, month, year) = (day & 0x1f, month & 0x0f, year & 0x7f);
    let text = format!("20{year:02}-{month:02}-{day:02}T{hour:02}:{minute:02}:00");
    let (moment, _) = dates::parse_date_time(&text).filter(|_| hour < 24)?;
    let summer_ms = if is_summer && zone.has_summer_time { HOUR_MS } else { 0 };
    let tag = dates::unix_seconds(moment, zone.offset) * 1000 + ms - summer_ms;
    believed(tag, now_ms).filter(|_| is_valid && ms < 60_000)
}

/// The same of a CP24Time2a, which has minutes only: of the last hour, as what is told has happened.
pub fn short(bytes: &[u8], zone: Zone, now_ms: u64) -> Option<u64> {
    let [low, high, minute] = bytes else { return None };
    let (ms, is_valid) = (i64::from(u16::from_le_bytes([*low, *high])), minute & 0x80 == 0);
    let minute = i64::from(minute & 0x3f);
    let shift_ms = i64::from(zone.offset.minutes()) * 60_000;
    let local_now = i64::try_from(now_ms).ok()?.checked_add(shift_ms)?;
    let in_this_hour = local_now - local_now.rem_euclid(HOUR_MS) + minute * 60_000 + ms;
    let moment = [in_this_hour - HOUR_MS, in_this_hour, in_this_hour + HOUR_MS]
        .into_iter()
        .rfind(|moment| moment - local_now <= AHEAD_MS)?;
    believed(moment - shift_ms, now_ms).filter(|_| is_valid && ms < 60_000 && minute < 60)
}

fn believed(tag: i64, now_ms: u64) -> Option<u64> {
    let now = i64::try_from(now_ms).ok()?;
    let is_near = (now.checked_sub(BEHIND_MS)?..=now.checked_add(AHEAD_MS)?).contains(&tag);
    u64::try_from(tag).ok().filter(|tag| is_near && *tag > 0)
}

/// RFC 3339, to the second.
pub fn rfc3339(ms: u64, offset: Offset) -> String {
    dates::local_of_unix_ms(ms, offset).map_or_else(String::new, |moment| dates::rfc3339(moment, offset))
}

/// The day there.
pub fn day(ms: u64, offset: Offset) -> String {
    dates::local_of_unix_ms(ms, offset).map_or_else(String::new, |moment| dates::iso_date(moment.date()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: Zone = Zone { offset: Offset::MOSCOW, has_summer_time: true };
    /// 2021-06-16T20:30:00+03:00.
    const NOW: u64 = 1_623_864_600_000;

    #[test]
    fn the_worked_example() {
        let tag = [0xaf, 0xe1, 0x1d, 0x14, 0x70, 0x06, 0x15];
        // 2021-06-16 20:29:57.775, a Wednesday.
        assert_eq!(full(&tag, ZONE, NOW), Some(NOW - 2225));
        assert_eq!(rfc3339(NOW - 2225, Offset::MOSCOW), "2021-06-16T20:29:57+03:00");
        let summer = [0xaf, 0xe1, 0x1d, 0x94, 0x70, 0x06, 0x15];
        assert_eq!(full(&summer, ZONE, NOW), Some(NOW - 2225 - 3_600_000));
        assert_eq!(full(&summer, Zone { has_summer_time: false, ..ZONE }, NOW), Some(NOW - 2225));
    }

    #[test]
    fn what_is_not_believed() {
        let tag = [0xaf, 0xe1, 0x1d, 0x14, 0x70, 0x06, 0x15];
        let with = |at: usize, byte: u8| {
            let mut tag = tag;
            tag[at] = byte;
            full(&tag, ZONE, NOW)
        };
        assert_eq!(with(2, 0x9d), None, "IV");
        assert_eq!(with(2, 60), None, "minute");
        assert_eq!(with(1, 0xff), None, "milliseconds");
        assert_eq!(with(3, 24), None, "hour");
        assert_eq!(with(4, 31), None, "31 June");
        assert_eq!(with(5, 0), None, "month");
        assert_eq!(with(6, 0x16), None, "a year ahead");
        assert_eq!(with(6, 0x00), None, "2000: never set");
        assert_eq!(full(&tag[1..], ZONE, NOW), None);
        assert_eq!(full(&tag, ZONE, u64::MAX), None);
    }

    #[test]
    fn minutes_are_of_the_last_hour() {
        let tag = |minute: u8| short(&[0xd0, 0x07, minute], ZONE, NOW);
        assert_eq!(tag(29), Some(NOW - 58_000));
        assert_eq!(tag(31), Some(NOW + 62_000));
        assert_eq!(tag(10), Some(NOW - 20 * 60_000 + 2000));
        // Two minutes past an hour: 59 is of the one before.
        assert_eq!(short(&[0, 0, 59], ZONE, NOW + 32 * 60_000), Some(NOW + 29 * 60_000));
        let india = Zone { offset: Offset::of_minutes(330).unwrap(), has_summer_time: false };
        // 23:00 there.
        assert_eq!(short(&[0, 0, 1], india, NOW), Some(NOW + 60_000));
        assert_eq!((tag(0x80 | 29), tag(60)), (None, None));
        // Told late rather than twenty minutes ahead.
        assert_eq!(tag(50), Some(NOW - 40 * 60_000 + 2000));
    }
}

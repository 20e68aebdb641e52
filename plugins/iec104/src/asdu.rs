//! ASDUs of IEC 60870-5-101 (section 7) with the field sizes of 104: cause 2 octets, station 2, object 3. Pure.

use busbar_sdk::{Rejection, rejection};

pub const INTERROGATION: u8 = 100;
pub const END_OF_INITIALIZATION: u8 = 70;

#[derive(Debug, PartialEq, Eq)]
pub struct Asdu<'a> {
    /// Type identification.
    pub kind: u8,
    pub cause: Cause,
    /// Common address.
    pub station: u16,
    is_sequence: bool,
    count: usize,
    objects: &'a [u8],
}

/// Cause of transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// 1 to 63.
    pub number: u8,
    pub is_negative: bool,
    pub is_test: bool,
}

impl Cause {
    /// Told because it happened: spontaneously (3), or what an order led to (11, 12).
    pub fn is_event(self) -> bool {
        matches!(self.number, 3 | 11 | 12)
    }

    /// Why a point's position may be told: cyclically, by a scan, as an event, on request, by an interrogation
    /// (60870-5-101, 7.2.3). Of the other causes it is no position.
    pub fn is_of_a_point(self) -> bool {
        self.is_event() || matches!(self.number, 1 | 2 | 5 | 20..=36)
    }

    /// Why a count may be told: by itself, or by an interrogation of counters.
    pub fn is_of_a_counter(self) -> bool {
        matches!(self.number, 3 | 37..=41)
    }

    /// Something was switched because somebody ordered it (11, 12).
    pub fn is_ordered(self) -> bool {
        matches!(self.number, 11 | 12)
    }
}

/// What is done with a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Single point: octets of an element.
    Single(usize),
    Double(usize),
    Counter(usize),
    /// Measured, stepped, protection: of no use here.
    Unused,
    /// Commands and what confirms them.
    Command,
    System,
    Unknown,
}

pub fn meaning(kind: u8) -> Meaning {
    match kind {
        1 => Meaning::Single(1),
        2 => Meaning::Single(4),
        30 => Meaning::Single(8),
        3 => Meaning::Double(1),
        4 => Meaning::Double(4),
        31 => Meaning::Double(8),
        37 => Meaning::Counter(12),
        5..=21 | 32..=36 | 38..=40 => Meaning::Unused,
        45..=51 | 58..=64 => Meaning::Command,
        END_OF_INITIALIZATION | 100..=107 | 110..=113 => Meaning::System,
        _ => Meaning::Unknown,
    }
}

impl<'a> Asdu<'a> {
    /// # Errors
    /// `bad-asdu`: shorter than its own head.
    pub fn parse(bytes: &'a [u8], place: &str) -> Result<Self, Rejection> {
        let [kind, qualifier, cause, _originator, low, high, objects @ ..] = bytes else {
            return Err(rejection("bad-asdu", format!("an ASDU of {} bytes", bytes.len()), place));
        };
        let cause = Cause { number: cause & 0x3f, is_negative: cause & 0x40 != 0, is_test: cause & 0x80 != 0 };
        Ok(Self {
            kind: *kind,
            cause,
            station: u16::from_le_bytes([*low, *high]),
            is_sequence: qualifier & 0x80 != 0,
            count: usize::from(qualifier & 0x7f),
            objects,
        })
    }

    /// Address and element of each object, with elements of `size` octets.
    ///
    /// # Errors
    /// `bad-asdu`: the length does not fit the count.
    pub fn objects(&self, size: usize, place: &str) -> Result<Vec<(u32, &'a [u8])>, Rejection> {
        let expected = if self.is_sequence { 3 + self.count * size } else { self.count * (3 + size) };
        if self.count == 0 || self.objects.len() != expected {
            let reason = format!("{} bytes for {} objects of type {}", self.objects.len(), self.count, self.kind);
            return Err(rejection("bad-asdu", reason, place));
        }
        let address = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |address, byte| (address << 8) | u32::from(*byte));
        if self.is_sequence {
            let (first, elements) = self.objects.split_at_checked(3).unwrap_or_default();
            return Ok((address(first)..).zip(elements.chunks_exact(size)).collect());
        }
        let objects = self.objects.chunks_exact(3 + size).filter_map(|object| object.split_at_checked(3));
        Ok(objects.map(|(first, element)| (address(first), element)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_one_by_one_and_in_a_row() {
        let single = [1, 2, 0x14, 0, 0x73, 0, 0xcc, 0x14, 0, 1, 0xe4, 0x14, 0, 0x80];
        let asdu = Asdu::parse(&single, "").unwrap();
        assert_eq!((asdu.kind, asdu.cause.number, asdu.station), (1, 20, 115));
        assert_eq!(asdu.objects(1, "").unwrap(), [(5324, [1].as_slice()), (5348, &[0x80])]);
        let row = [3, 0x82, 0xc3, 7, 0, 1, 0xff, 0xff, 1, 2, 1];
        let asdu = Asdu::parse(&row, "").unwrap();
        assert_eq!((asdu.cause.number, asdu.cause.is_negative, asdu.cause.is_test, asdu.station), (3, true, true, 256));
        assert_eq!(asdu.objects(1, "").unwrap(), [(0x1ffff, [2].as_slice()), (0x20000, &[1])]);
    }

    #[test]
    fn lengths_must_fit() {
        for bytes in [
            [1, 1, 3, 0, 1, 0, 1, 0, 0].as_slice(),
            &[1, 1, 3, 0, 1, 0, 1, 0, 0, 0, 0],
            &[1, 0x82, 3, 0, 1, 0, 1, 0, 0, 0],
            &[1, 0x81, 3, 0, 1, 0],
            &[1, 0, 3, 0, 1, 0],
            &[1, 0x80, 3, 0, 1, 0, 1, 0, 0],
        ] {
            assert!(Asdu::parse(bytes, "").unwrap().objects(1, "").is_err(), "{bytes:?}");
        }
        assert!(Asdu::parse(&[1, 1, 3, 0, 1], "").is_err());
    }
}

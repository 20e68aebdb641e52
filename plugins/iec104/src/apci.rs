//! Frames of IEC 60870-5-104 (section 5): `68`, a length, four control octets, and an ASDU in I frames. Pure.

use busbar_sdk::{Pending, Rejection, rejection};

const START: u8 = 0x68;
/// Control octets and ASDU.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=253;

/// Unnumbered functions, as their first control octet.
pub const STARTDT_ACT: u8 = 0x07;
pub const STARTDT_CON: u8 = 0x0B;
pub const STOPDT_ACT: u8 = 0x13;
pub const STOPDT_CON: u8 = 0x23;
pub const TESTFR_ACT: u8 = 0x43;
pub const TESTFR_CON: u8 = 0x83;

/// Sequence numbers have 15 bits.
pub const SEQUENCE: u16 = 1 << 15;

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// N(S), N(R), the ASDU.
    Information(u16, u16, Vec<u8>),
    /// N(R).
    Supervisory(u16),
    Unnumbered(u8),
}

/// The next frame; nothing while it has not come whole. `number`: its own, from 1, since the connection was made.
///
/// # Errors
/// `bad-frame`, `bad-length`, `bad-control`: what follows cannot be told apart any more.
pub fn next(pending: &mut Pending, number: u64) -> Result<Option<Frame>, Rejection> {
    let place = || format!("frame {number}");
    let Some((start, rest)) = pending.rest().split_first() else { return Ok(None) };
    if *start != START {
        return Err(rejection("bad-frame", format!("a frame begins with {start:02x}, not 68"), place()));
    }
    let Some(length) = rest.first().map(|length| usize::from(*length)) else { return Ok(None) };
    if !LENGTH.contains(&length) {
        return Err(rejection("bad-length", format!("a frame of {length} bytes; 4 to 253 are allowed"), place()));
    }
    let Some(bytes) = pending.take(length + 2) else { return Ok(None) };
    let [_, _, first, second, third, fourth, asdu @ ..] = bytes.as_slice() else { return Ok(None) };
    let number_of = |low: u8, high: u8| u16::from_le_bytes([low, high]) >> 1;
    let frame = if first & 1 == 0 {
        Frame::Information(number_of(*first, *second), number_of(*third, *fourth), asdu.to_vec())
    } else if !asdu.is_empty() {
        return Err(rejection("bad-length", format!("an S or U frame of {length} bytes; it has 4"), place()));
    } else if first & 3 == 1 {
        Frame::Supervisory(number_of(*third, *fourth))
    } else {
        if !matches!(*first, STARTDT_ACT | STARTDT_CON | STOPDT_ACT | STOPDT_CON | TESTFR_ACT | TESTFR_CON) {
            return Err(rejection("bad-control", format!("a U frame with the control octet {first:02x}"), place()));
        }
        Frame::Unnumbered(*first)
    };
    Ok(Some(frame))
}

pub fn unnumbered(function: u8) -> [u8; 6] {
    [START, 4, function, 0, 0, 0]
}

pub fn supervisory(receive: u16) -> [u8; 6] {
    let [low, high] = (receive << 1).to_le_bytes();
    [START, 4, 1, 0, low, high]
}

/// General interrogation (C_IC_NA_1, activation, QOI 20) of a station: the only command there is here.
pub fn interrogation(send: u16, receive: u16, originator: u8, station: u16) -> [u8; 16] {
    let ([s0, s1], [r0, r1]) = ((send << 1).to_le_bytes(), (receive << 1).to_le_bytes());
    let [c0, c1] = station.to_le_bytes();
    [START, 14, s0, s1, r0, r1, 100, 1, 6, originator, c0, c1, 0, 0, 0, 20]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Frame>, String> {
        let mut pending = Pending::default();
        pending.push(bytes);
        let mut frames = Vec::new();
        loop {
            match next(&mut pending, frames.len() as u64 + 1) {
                Ok(None) => return Ok(frames),
                Ok(Some(frame)) => frames.push(frame),
                Err(rejection) => return Err(format!("{} {}", rejection.code, rejection.place.unwrap_or_default())),
            }
        }
    }

    #[test]
    fn the_three_kinds() {
        let bytes = [0x68, 4, 0x43, 0, 0, 0, 0x68, 4, 1, 0, 0x9c, 0, 0x68, 5, 0x02, 0x01, 0x04, 0, 7, 0x68, 4, 7];
        let expected = [Frame::Unnumbered(TESTFR_ACT), Frame::Supervisory(78), Frame::Information(129, 2, vec![7])];
        assert_eq!(all(&bytes).unwrap(), expected);
        assert_eq!(all(&[0x68]).unwrap(), []);
        assert_eq!(supervisory(78), [0x68, 4, 1, 0, 0x9c, 0]);
        let asked = [0x68, 14, 2, 0, 0x9c, 0, 100, 1, 6, 3, 0x34, 0x12, 0, 0, 0, 20];
        assert_eq!(interrogation(1, 78, 3, 0x1234), asked);
    }

    #[test]
    fn what_is_no_frame() {
        for (bytes, expected) in [
            (vec![0x67], "bad-frame frame 1"),
            (vec![0x68, 3], "bad-length frame 1"),
            (vec![0x68, 254], "bad-length frame 1"),
            (vec![0x68, 4, 0x43, 0, 0, 0, 0x16], "bad-frame frame 2"),
            (vec![0x68, 5, 0x43, 0, 0, 0, 0], "bad-length frame 1"),
            (vec![0x68, 4, 0x47, 0, 0, 0], "bad-control frame 1"),
        ] {
            assert_eq!(all(&bytes).unwrap_err(), expected, "{bytes:?}");
        }
    }
}

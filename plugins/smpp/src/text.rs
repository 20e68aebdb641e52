//! Texts as messages carry them: their alphabets (section 5.2.19) and joined parts (3GPP TS 23.040, 9.2.3.24; SMPP 5.3.2.22). Pure.

use busbar_sdk::sms::Alphabet;
use serde::Deserialize;

use crate::pdu::{Delivered, tag};

/// What the SMS centre means by data_coding 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultAlphabet {
    #[default]
    Gsm7,
    Latin1,
}

/// What the SMS centre means by data_coding 1, by the standard IA5 (ASCII).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coding1 {
    /// ASCII; GSM's codes where an octet of them is a control character that no text has.
    #[default]
    Either,
    Ascii,
    Gsm7,
}

/// How the SMS centre's alphabets are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alphabets {
    pub default: DefaultAlphabet,
    pub coding_1: Coding1,
}

const ASCII: u8 = 1;
const LATIN1: u8 = 3;
/// ISO 8859-5.
const CYRILLIC: u8 = 6;
const UCS2: u8 = 8;
/// User data header: the message begins with one.
pub const HAS_HEADER: u8 = 0x40;

/// data_coding and bytes of a part to be sent.
pub fn encode(text: &str, alphabet: Alphabet, default: DefaultAlphabet) -> (u8, Vec<u8>) {
    match (alphabet, default) {
        (Alphabet::Gsm7, DefaultAlphabet::Gsm7) => (0, alphabet.encode(text)),
        // GSM's letters are none of ASCII: those that differ were given to UCS-2.
        (Alphabet::Gsm7, DefaultAlphabet::Latin1) => (0, text.bytes().collect()),
        (Alphabet::Ucs2, _) => (UCS2, alphabet.encode(text)),
    }
}

/// The shorter alphabet that the SMS centre is sure to understand.
pub fn alphabet_of(text: &str, default: DefaultAlphabet) -> Alphabet {
    match default {
        DefaultAlphabet::Latin1 if !text.is_ascii() => Alphabet::Ucs2,
        _ => Alphabet::of(text),
    }
}

/// Nothing for what is no text, or in an alphabet that is not known.
pub fn decode(coding: u8, bytes: &[u8], alphabets: Alphabets) -> Option<String> {
    let latin1 = || bytes.iter().map(|byte| char::from(*byte)).collect();
    match coding {
        // The general groups of TS 23.038 with and without a class.
        0 | 0x10..=0x13 | 0xF0..=0xF3 => match alphabets.default {
            DefaultAlphabet::Gsm7 => Some(Alphabet::Gsm7.decode(bytes)),
            DefaultAlphabet::Latin1 => Some(latin1()),
        },
        ASCII if is_gsm7(bytes, alphabets.coding_1) => Some(Alphabet::Gsm7.decode(bytes)),
        ASCII | LATIN1 => Some(latin1()),
        CYRILLIC => Some(bytes.iter().map(|byte| cyrillic(*byte)).collect()),
        UCS2 | 0x18..=0x1B => Some(Alphabet::Ucs2.decode(bytes)),
        _ => None,
    }
}

// Libraries send the codes of GSM under 1, where `@` is 0, `_` 0x11 and the escape 0x1B.
fn is_gsm7(bytes: &[u8], coding_1: Coding1) -> bool {
    let is_no_text = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    match coding_1 {
        Coding1::Either => bytes.iter().any(is_no_text),
        Coding1::Ascii => false,
        Coding1::Gsm7 => true,
    }
}

/// ISO 8859-5: the letters stand in the order of Unicode, but for three signs.
fn cyrillic(byte: u8) -> char {
    match byte {
        0..=0xA0 | 0xAD => char::from(byte),
        0xF0 => '№',
        0xFD => '§',
        _ => char::from_u32(u32::from(byte) + 0x360).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// Which part of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    pub reference: u16,
    pub total: u8,
    /// From 1.
    pub number: u8,
}

/// The part's place, where it is one of several, and the message without its header. Nothing for a header that is longer than the
/// message.
pub fn parts(delivered: &Delivered) -> Option<(Option<Join>, &[u8])> {
    let mut join = None;
    let mut message = delivered.message.as_slice();
    if delivered.esm_class & HAS_HEADER != 0 {
        let (length, rest) = message.split_first()?;
        let (mut header, rest) = rest.split_at_checked(usize::from(*length))?;
        message = rest;
        while let [element, length, more @ ..] = header {
            let (data, more) = more.split_at_checked(usize::from(*length))?;
            header = more;
            join = match (element, data) {
                (0, [reference, total, number]) => {
                    Some(Join { reference: u16::from(*reference), total: *total, number: *number })
                }
                (8, [high, low, total, number]) => {
                    Some(Join { reference: u16::from_be_bytes([*high, *low]), total: *total, number: *number })
                }
                _ => join,
            };
        }
    } else if let (Some([high, low]), Some(total), Some(number)) = (
        delivered.parameters.get(&tag::SAR_REFERENCE).map(Vec::as_slice),
        delivered.number(tag::SAR_TOTAL),
        delivered.number(tag::SAR_NUMBER),
    ) {
        join = Some(Join { reference: u16::from_be_bytes([*high, *low]), total, number });
    }
    Some((join.filter(|join| join.total > 1 && (1..=join.total).contains(&join.number)), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabets() {
        use DefaultAlphabet::{Gsm7, Latin1};
        let decode =
            |coding, bytes: &[u8], default| super::decode(coding, bytes, Alphabets { default, ..Alphabets::default() });
        // npm smpp 0.5.1, `Outage @ Lipovaya_1 {2}`, and a Latin letter.
        assert_eq!(decode(1, b"Outage \0 Lipovaya\x111 \x1B(2\x1B)", Gsm7).as_deref(), Some("Outage @ Lipovaya_1 {2}"));
        assert_eq!(decode(1, b"[a]@\r\n", Gsm7).as_deref(), Some("[a]@\r\n"));
        let gsm7 = Alphabets { coding_1: Coding1::Gsm7, ..Alphabets::default() };
        assert_eq!(super::decode(1, b"[pfel", gsm7).as_deref(), Some("Äpfel"));
        let ascii = Alphabets { coding_1: Coding1::Ascii, ..Alphabets::default() };
        assert_eq!(super::decode(1, b"a\x11", ascii).as_deref(), Some("a\x11"));
        // iconv -t ISO-8859-5
        assert_eq!(decode(6, b"\xC1\xD2\xD5\xE2 \xF0 5 \xA1\xF1", Gsm7).as_deref(), Some("Свет № 5 Ёё"));
        assert_eq!(decode(0, &[0x00, 0x1B, 0x65, 0x41], Gsm7).as_deref(), Some("@€A"));
        assert_eq!(decode(0, b"a@\xE9", Latin1).as_deref(), Some("a@é"));
        assert_eq!(decode(3, b"\xE9", Gsm7).as_deref(), Some("é"));
        assert_eq!(decode(8, &[0x04, 0x2F], Gsm7).as_deref(), Some("Я"));
        assert_eq!(decode(0xF1, b"A", Gsm7).as_deref(), Some("A"));
        assert_eq!((decode(4, b"A", Gsm7), decode(5, b"A", Gsm7)), (None, None));
        assert_eq!((alphabet_of("Hi @", Gsm7), alphabet_of("é", Gsm7)), (Alphabet::Gsm7, Alphabet::Gsm7));
        assert_eq!((alphabet_of("Hi @", Latin1), alphabet_of("é", Latin1)), (Alphabet::Gsm7, Alphabet::Ucs2));
        assert_eq!(encode("@", Alphabet::Gsm7, Latin1), (0, vec![b'@']));
        assert_eq!(encode("@", Alphabet::Gsm7, Gsm7), (0, vec![0]));
        assert_eq!(encode("Я", Alphabet::Ucs2, Gsm7), (8, vec![4, 0x2f]));
    }

    #[test]
    fn joined_parts() {
        let with =
            |esm_class: u8, message: &[u8]| Delivered { esm_class, message: message.to_vec(), ..Delivered::default() };
        let found = |delivered: &Delivered| parts(delivered).map(|(join, rest)| (join, rest.to_vec()));
        let join = |reference, total, number| Some(Join { reference, total, number });
        assert_eq!(found(&with(0x40, &[5, 0, 3, 7, 2, 1, b'a'])), Some((join(7, 2, 1), b"a".to_vec())));
        assert_eq!(found(&with(0x40, &[6, 8, 4, 1, 7, 3, 3, b'a'])), Some((join(263, 3, 3), b"a".to_vec())));
        // A port before it; no part; a part that cannot be.
        assert_eq!(found(&with(0x40, &[9, 4, 2, 0, 0, 0, 3, 7, 2, 2])), Some((join(7, 2, 2), vec![])));
        assert_eq!(found(&with(0, &[5, 0])), Some((None, vec![5, 0])));
        for impossible in [[5, 0, 3, 7, 2, 3], [5, 0, 3, 7, 2, 0], [5, 0, 3, 7, 1, 1]] {
            assert_eq!(found(&with(0x40, &impossible)), Some((None, vec![])));
        }
        for broken in [&[][..], &[5, 0, 3], &[3, 0, 9, 1]] {
            assert_eq!(found(&with(0x40, broken)), None, "{broken:?}");
        }
        let mut sar = with(0, b"a");
        sar.parameters = [(0x020C, vec![1, 2]), (0x020E, vec![2]), (0x020F, vec![1])].into();
        assert_eq!(found(&sar), Some((join(258, 2, 1), b"a".to_vec())));
    }
}

//! Texts as short messages: the alphabet one needs and the parts it is sent in. 3GPP TS 23.038 (alphabets), TS 23.040, 9.2.3.24.1
//! (parts joined by a header with an 8-bit reference).

use Alphabet::{Gsm7, Ucs2};
use serde::Deserialize;

use crate::{Failure, Message, data_of, dates, rejected};

/// 6.2.1, in the order of its codes. The escape to the extension table (0x1B) stands as U+001B, which no text may hold.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const ESCAPE: u8 = 0x1B;
/// 6.2.1.1: each takes two septets, the escape and its code.
const EXTENSION: [(char, u8); 10] = [
    ('\u{c}', 0x0A),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2F),
    ('[', 0x3C),
    ('~', 0x3D),
    (']', 0x3E),
    ('|', 0x40),
    ('€', 0x65),
];

/// A notification that is to be sent as a short message.
pub struct Requested {
    pub id: String,
    pub phone: String,
    pub text: String,
    pub sender: Option<String>,
    pub account: Option<String>,
    /// Seconds since 1970 before which, and after which, nobody wants it.
    pub after: Option<i64>,
    pub until: Option<i64>,
}

/// The data of notification.requested.v1 as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    id: String,
    channel: String,
    recipient: Recipient,
    text: Option<String>,
    sender: Option<String>,
    account: Option<String>,
    not_before_at: Option<String>,
    valid_until_at: Option<String>,
}

#[derive(Deserialize)]
struct Recipient {
    phone: Option<String>,
}

impl Requested {
    /// # Errors
    /// `unsupported-channel`, `no-text`, `no-phone`, `bad-validity` at the field.
    pub fn of(message: &Message) -> Result<Self, Failure> {
        let data: Data = data_of(message)?;
        if data.channel != "sms" {
            return Err(rejected("unsupported-channel", "short messages alone are sent", "/data/channel"));
        }
        let missing = |what: &str, place: &str| rejected(&format!("no-{what}"), format!("there is no {what}"), place);
        let text = data.text.ok_or_else(|| missing("text", "/data/text"))?;
        let phone = data.recipient.phone.ok_or_else(|| missing("phone", "/data/recipient/phone"))?;
        let at = |text: Option<&str>, place: &str| {
            let wrong = || rejected("bad-validity", "this is no moment with an offset", place);
            text.map(|text| moment(text).ok_or_else(wrong)).transpose()
        };
        let after = at(data.not_before_at.as_deref(), "/data/notBeforeAt")?;
        let until = at(data.valid_until_at.as_deref(), "/data/validUntilAt")?;
        if after.zip(until).is_some_and(|(after, until)| until <= after) {
            return Err(rejected("bad-validity", "it is over before it begins", "/data/validUntilAt"));
        }
        Ok(Self { id: data.id, phone, text, sender: data.sender, account: data.account, after, until })
    }
}

/// Seconds since 1970 of RFC 3339 with an offset.
pub fn moment(text: &str) -> Option<i64> {
    let (moment, offset) = dates::parse_date_time(text)?;
    Some(dates::unix_seconds(moment, offset?))
}

/// What a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// The GSM default alphabet, septets: Latin.
    Gsm7,
    /// UTF-16, of which UCS-2 is the part that old phones know: everything else, Cyrillic above all.
    Ucs2,
}

impl Alphabet {
    /// The shorter one that has all the characters.
    pub fn of(text: &str) -> Self {
        if text.chars().all(|c| septets(c).is_some()) { Gsm7 } else { Ucs2 }
    }

    /// Units (septets, 16-bit words) of a message by itself.
    pub fn units_alone(self) -> usize {
        if self == Gsm7 { 160 } else { 70 }
    }

    /// Units of one part of several: a header of 6 bytes takes its place.
    pub fn units_joined(self) -> usize {
        if self == Gsm7 { 153 } else { 67 }
    }

    fn units(self, c: char) -> usize {
        match (self, septets(c)) {
            (Ucs2, _) => c.len_utf16(),
            (Gsm7, Some((true, _))) => 2,
            (Gsm7, _) => 1,
        }
    }

    /// The bytes as SMPP carries them: a septet in each byte, or big-endian words. A character that the alphabet lacks becomes `?`.
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Ucs2 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Gsm7 => text.chars().fold(Vec::with_capacity(text.len()), |mut bytes, c| {
                let (is_escaped, code) = septets(c).unwrap_or((false, b'?'));
                bytes.extend(is_escaped.then_some(ESCAPE));
                bytes.push(code);
                bytes
            }),
        }
    }

    /// The text of such bytes; what is none becomes U+FFFD.
    pub fn decode(self, bytes: &[u8]) -> String {
        match self {
            Ucs2 => {
                let words = bytes.chunks(2).map(|word| match word {
                    [high, low] => u16::from_be_bytes([*high, *low]),
                    _ => 0xFFFD,
                });
                char::decode_utf16(words).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            Gsm7 => {
                let mut codes = bytes.iter().copied();
                let mut text = String::with_capacity(bytes.len());
                while let Some(code) = codes.next() {
                    let c = match code {
                        ESCAPE => codes.next().and_then(extended),
                        code => BASIC.chars().nth(usize::from(code)),
                    };
                    text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                text
            }
        }
    }
}

/// The parts a text is sent in, in order: one where it fits alone. A surrogate pair and an escaped character are never torn apart.
/// Together they are the text.
pub fn split(text: &str, alphabet: Alphabet) -> Vec<&str> {
    let total: usize = text.chars().map(|c| alphabet.units(c)).sum();
    if total <= alphabet.units_alone() {
        return vec![text];
    }
    let (mut parts, mut start, mut used) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        let units = alphabet.units(c);
        if used + units > alphabet.units_joined() {
            parts.extend(text.get(start..at));
            (start, used) = (at, 0);
        }
        used += units;
    }
    parts.extend(text.get(start..));
    parts
}

/// In how many parts a text is sent, and charged.
pub fn count(text: &str) -> usize {
    split(text, Alphabet::of(text)).len()
}

/// Whether it is escaped, and its code; nothing for a character that the default alphabet lacks.
fn septets(c: char) -> Option<(bool, u8)> {
    // Most letters and digits have the code of ASCII.
    if c.is_ascii_alphanumeric() || c == ' ' {
        return u8::try_from(c).ok().map(|code| (false, code));
    }
    if let Some((_, code)) = EXTENSION.iter().find(|(other, _)| *other == c) {
        return Some((true, *code));
    }
    let code = BASIC.chars().position(|other| other == c).and_then(|code| u8::try_from(code).ok())?;
    (code != ESCAPE).then_some((false, code))
}

fn extended(code: u8) -> Option<char> {
    EXTENSION.iter().find(|(_, other)| *other == code).map(|(c, _)| *c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_codes_of_the_specification() {
        assert_eq!(BASIC.chars().count(), 128);
        for (c, code) in [
            ('@', 0x00),
            ('\n', 0x0A),
            ('Δ', 0x10),
            ('É', 0x1F),
            ('$', 0x02),
            ('¤', 0x24),
            ('0', 0x30),
            ('¡', 0x40),
            ('A', 0x41),
            ('§', 0x5F),
            ('¿', 0x60),
            ('z', 0x7A),
            ('à', 0x7F),
        ] {
            assert_eq!(septets(c), Some((false, code)), "{c}");
        }
        assert_eq!((septets('€'), septets('['), septets('\u{1b}')), (Some((true, 0x65)), Some((true, 0x3C)), None));
    }

    #[test]
    fn alphabets() {
        for text in ["", "Outage 01.12, 9:00-13:00 @ Lipovaya", "{}[]~^|\\€", "ÄÖÑÜ Ω"] {
            assert_eq!(Alphabet::of(text), Gsm7, "{text}");
        }
        for text in ["Отключение", "№ 5", "`", "ç", "Outage…", "😀", "tab\there"] {
            assert_eq!(Alphabet::of(text), Ucs2, "{text}");
        }
    }

    #[test]
    fn parts_at_their_borders() {
        for (unit, length, parts) in [
            ("a", 160, 1),
            ("a", 161, 2),
            ("a", 306, 2),
            ("a", 307, 3),
            ("€", 80, 1),
            ("€", 81, 2),
            // 153 is odd: one septet of each part stays empty.
            ("€", 152, 2),
            ("€", 153, 3),
            ("я", 70, 1),
            ("я", 71, 2),
            ("я", 134, 2),
            ("я", 135, 3),
            ("😀", 35, 1),
            ("😀", 36, 2),
            ("😀", 66, 2),
            ("😀", 67, 3),
        ] {
            assert_eq!(count(&unit.repeat(length)), parts, "{length} of {unit}");
        }
        assert_eq!(count(""), 1);
    }

    #[test]
    fn no_character_is_torn_apart() {
        for (filler, wide, room) in [("a", "€", 152), ("я", "😀", 66)] {
            let text = format!("{}{wide}{}", filler.repeat(room), filler.repeat(100));
            let alphabet = Alphabet::of(&text);
            let parts = split(&text, alphabet);
            assert_eq!(parts.first().map(|part| part.chars().count()), Some(room), "{wide}");
            assert!(parts.get(1).is_some_and(|part| part.starts_with(wide)), "{wide}");
            assert_eq!(parts.concat(), text);
        }
    }

    #[test]
    fn bytes_and_back() {
        assert_eq!(Gsm7.encode("a@€"), [0x61, 0x00, 0x1B, 0x65]);
        assert_eq!(Ucs2.encode("Я😀"), [0x04, 0x2F, 0xD8, 0x3D, 0xDE, 0x00]);
        for (alphabet, text) in [(Gsm7, "Hi {1} Ω\r\n~é"), (Ucs2, "Свет будет в 13:00 😀")] {
            assert_eq!(alphabet.decode(&alphabet.encode(text)), text);
        }
        assert_eq!(Gsm7.encode("я"), [b'?']);
        assert_eq!(Gsm7.decode(&[0x1B, 0x00, 0x80, 0x1B]), "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(Ucs2.decode(&[0x04, 0x2F, 0xD8, 0x3D, 0x00]), "Я\u{fffd}\u{fffd}");
    }

    #[test]
    fn no_bytes_make_a_trap() {
        for bytes in crate::mutations::of(&Ucs2.encode("Свет 😀 {a}"), 2000) {
            for alphabet in [Gsm7, Ucs2] {
                let text = alphabet.decode(&bytes);
                assert_eq!(split(&text, Alphabet::of(&text)).concat(), text);
            }
        }
    }
}

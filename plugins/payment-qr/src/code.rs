//! The text of a payment QR code: `ST0001`, a digit for the encoding, a separator, `Key=Value` pairs.
//!
//! Source: ГОСТ Р 56042-2014, section 5 and annexes.

use busbar_sdk::encoding::{self, Encoding};
use busbar_sdk::{Rejection, rejection};
use serde::Deserialize;

/// Bytes that the largest QR code holds (version 40, level L).
pub const CODE_BYTES_MAX: usize = 2953;
const KEY_CHARS_MAX: usize = 32;
/// The standard names some sixty keys.
const FIELDS_MAX: usize = 200;
/// `ST0001` and the encoding's digit, all ASCII.
const HEAD_BYTES: usize = 7;
/// Characters that the standard gives a value at most, by its key.
const CHARS_MAX: [(&str, usize); 18] = [
    ("Name", 160),
    ("PersonalAcc", 20),
    ("BankName", 45),
    ("BIC", 9),
    ("CorrespAcc", 20),
    ("Sum", 18),
    ("Purpose", 210),
    ("PayeeINN", 12),
    ("PayerINN", 12),
    ("DrawerStatus", 2),
    ("KPP", 9),
    ("CBC", 20),
    ("OKTMO", 11),
    ("PaytReason", 2),
    ("TaxPeriod", 10),
    ("DocNo", 15),
    ("DocDate", 10),
    ("TaxPayKind", 2),
];
/// Tried in this order: the usual one first.
const SEPARATORS: &str = "|#~^;*$%&!?@+:/\\<>{}[]_";

/// The encodings that a head can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum CodeEncoding {
    #[serde(rename = "windows-1251")]
    Windows1251,
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "koi8-r")]
    Koi8R,
}

impl CodeEncoding {
    fn of_digit(digit: u8) -> Option<Self> {
        [Self::Windows1251, Self::Utf8, Self::Koi8R].into_iter().find(|encoding| encoding.digit() == char::from(digit))
    }

    fn digit(self) -> char {
        match self {
            Self::Windows1251 => '1',
            Self::Utf8 => '2',
            Self::Koi8R => '3',
        }
    }

    pub fn encoding(self) -> Encoding {
        match self {
            Self::Windows1251 => Encoding::Windows1251,
            Self::Utf8 => Encoding::Utf8,
            Self::Koi8R => Encoding::Koi8R,
        }
    }
}

/// One code, read.
#[derive(Debug)]
pub struct Code {
    /// The whole text, decoded.
    pub text: String,
    /// What the bytes really were, where the head says otherwise.
    pub misdeclared: Option<Encoding>,
    /// A scanner read the bytes as western European, and wrote that in UTF-8: the text is what they had been.
    pub is_misread: bool,
    fields: Vec<(String, String)>,
}

impl Code {
    /// One text without its line end. `line` is where it stands.
    ///
    /// # Errors
    /// `not-this-format`, `unknown-version`, `unknown-encoding`, `bad-separator`, `truncated`, `too-many-fields`, `unreadable-field`,
    /// `repeated-field`, `bad-character`, `text-too-long`.
    pub fn parse(bytes: &[u8], line: u64) -> Result<Self, Rejection> {
        let refused = |code: &str, reason: &str| Err(rejection(code, reason, format!("line {line}")));
        let bytes = bytes.trim_ascii();
        if bytes.len() > CODE_BYTES_MAX {
            return refused("text-too-long", "no QR code holds more than 2953 bytes");
        }
        let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
        let declared = match head {
            [b'S', b'T', b'0', b'0', b'0', b'1', digit] => match CodeEncoding::of_digit(*digit) {
                Some(encoding) => encoding.encoding(),
                None => return refused("unknown-encoding", "the encoding is none of 1, 2 and 3"),
            },
            [b'S', b'T', digits @ ..] if digits.len() == 5 && digits.iter().all(u8::is_ascii_digit) => {
                return refused("unknown-version", "the version is not 0001");
            }
            _ => return refused("not-this-format", "the text does not begin with ST0001"),
        };
        let misread = misread(bytes, declared);
        let (encoding, text) = match &misread {
            Some((encoding, text)) => (*encoding, text.clone()),
            None => {
                let encoding = real_encoding(bytes, declared);
                (encoding, encoding.decode(bytes).into_owned())
            }
        };
        let Some(separator) = text.chars().nth(HEAD_BYTES) else {
            return refused("truncated", "nothing follows the head");
        };
        let is_one_byte = separator.is_ascii() || encoding != Encoding::Utf8;
        if separator == '=' || separator.is_alphanumeric() || !is_one_byte {
            return refused("bad-separator", "the separator is a letter, a digit, `=` or more than one byte");
        }
        let fields = fields(&text, separator, line)?;
        let misdeclared = (encoding != declared).then_some(encoding);
        Ok(Self { text, misdeclared, is_misread: misread.is_some(), fields })
    }

    /// Upper and lower case are the same key. Nothing for an absent or empty one.
    pub fn field(&self, key: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        (!value.is_empty()).then_some(value.as_str())
    }
}

/// What the bytes are, whatever the head says: Cyrillic in one byte a letter is no valid UTF-8, and the other way round it would be no words.
fn real_encoding(bytes: &[u8], declared: Encoding) -> Encoding {
    match (declared, bytes.is_ascii(), std::str::from_utf8(bytes).is_ok()) {
        (Encoding::Utf8, _, false) => Encoding::Windows1251,
        (_, false, true) => Encoding::Utf8,
        _ => declared,
    }
}

/// The text of a code whose bytes a scanner took for characters of western Europe, and its encoding; nothing where the bytes are no
/// such reading. Russian words become letters with accents then, which no Russian code has.
fn misread(bytes: &[u8], declared: Encoding) -> Option<(Encoding, String)> {
    let is_cyrillic = |text: &str| text.contains(|c: char| matches!(c, '\u{400}'..='\u{4ff}'));
    let read = std::str::from_utf8(bytes).ok().filter(|text| !text.is_ascii() && !is_cyrillic(text))?;
    let before = encoding::bytes_read_as_western(read)?;
    let real = real_encoding(&before, declared);
    let text = real.decode(&before).into_owned();
    (is_cyrillic(&text) && !text.contains(char::REPLACEMENT_CHARACTER)).then_some((real, text))
}

fn fields(text: &str, separator: char, line: u64) -> Result<Vec<(String, String)>, Rejection> {
    let body = text.get(HEAD_BYTES..).and_then(|rest| rest.strip_prefix(separator)).unwrap_or_default();
    let body = body.strip_suffix(separator).unwrap_or(body);
    let mut fields: Vec<(String, String)> = Vec::new();
    for (index, pair) in body.split(separator).enumerate() {
        let place = || format!("line {line}, field {}", index + 1);
        if index >= FIELDS_MAX {
            return Err(rejection("too-many-fields", format!("more than {FIELDS_MAX} fields"), place()));
        }
        if pair.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            return Err(rejection("bad-character", "a control character, or bytes that are no text", place()));
        }
        // Only the first `=` divides: values that begin with one exist.
        let (key, value) = pair.split_once('=').unwrap_or_default();
        let (key, value) = (key.trim(), value.trim());
        let is_key = (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_key {
            return Err(rejection("unreadable-field", "this is no `Key=Value`", place()));
        }
        match fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
            Some((_, other)) if other != value => {
                return Err(rejection("repeated-field", format!("{key} has two values"), place()));
            }
            Some(_) => {}
            None => fields.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok(fields)
}

/// The text of these pairs, in their order; empty values are left out. The separator is in no value.
///
/// # Errors
/// `bad-character`, `value-too-long`, `no-separator`, `not-in-encoding`, `text-too-long`; the place is a key.
pub fn write(code_encoding: CodeEncoding, pairs: &[(&str, &str)]) -> Result<String, Rejection> {
    let encoding = code_encoding.encoding();
    let pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(key, value)| (*key, value.trim())).filter(|(_, value)| !value.is_empty()).collect();
    for (key, value) in &pairs {
        if value.contains(char::is_control) {
            return Err(rejection("bad-character", format!("{key} has a control character"), *key));
        }
        let most = CHARS_MAX.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, most)| *most);
        if let Some(most) = most.filter(|most| value.chars().count() > *most) {
            return Err(rejection("value-too-long", format!("{key} has at most {most} characters"), *key));
        }
        // The other direction is what tells: a character that is missing there is written as a reference.
        if encoding.decode(&encoding.encode(value)) != *value {
            return Err(rejection("not-in-encoding", format!("{key} cannot be written in {}", encoding.name()), *key));
        }
    }
    let is_free = |separator: &char| pairs.iter().all(|(_, value)| !value.contains(*separator));
    let separator = SEPARATORS
        .chars()
        .find(is_free)
        .ok_or_else(|| rejection("no-separator", "every character that could separate stands in a value", ""))?;
    let mut text = format!("ST0001{}", code_encoding.digit());
    for (key, value) in &pairs {
        text.push(separator);
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    if encoding.encode(&text).len() > CODE_BYTES_MAX {
        return Err(rejection("text-too-long", "no QR code holds more than 2953 bytes", ""));
    }
    Ok(text)
}

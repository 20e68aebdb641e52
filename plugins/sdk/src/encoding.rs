//! Text encodings of Russian files, and an honest guess where the declaration is wrong.

use std::borrow::Cow;

use encoding_rs::{IBM866, KOI8_R, WINDOWS_1251, WINDOWS_1252};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    /// windows-1251, `Windows` in 1C files.
    Windows1251,
    /// cp866, `DOS` in 1C files.
    Ibm866,
    /// Of payment QR codes alone: no file here names it, and [`detect`] does not guess it.
    Koi8R,
}

impl Encoding {
    /// By the names files use for it: `Windows`, `windows-1251`, `cp1251`, `DOS`, `cp866`, `UTF-8`, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let name: String =
            name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect::<String>().to_ascii_lowercase();
        match name.as_str() {
            "windows" | "windows1251" | "cp1251" | "win1251" | "win" | "ansi" => Some(Self::Windows1251),
            "dos" | "cp866" | "ibm866" | "oem" => Some(Self::Ibm866),
            "utf8" => Some(Self::Utf8),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Windows1251 => "windows-1251",
            Self::Ibm866 => "cp866",
            Self::Koi8R => "koi8-r",
        }
    }

    /// The bytes; a character that the encoding lacks becomes `&#1234;`, as XML writes it.
    pub fn encode(self, text: &str) -> Cow<'_, [u8]> {
        match self {
            Self::Utf8 => Cow::Borrowed(text.as_bytes()),
            Self::Windows1251 => WINDOWS_1251.encode(text).0,
            Self::Ibm866 => IBM866.encode(text).0,
            Self::Koi8R => KOI8_R.encode(text).0,
        }
    }

    /// The text; bytes that are none in this encoding become U+FFFD.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes),
            Self::Windows1251 => WINDOWS_1251.decode_without_bom_handling(bytes).0,
            Self::Ibm866 => IBM866.decode_without_bom_handling(bytes).0,
            Self::Koi8R => KOI8_R.decode_without_bom_handling(bytes).0,
        }
    }
}

/// The encoding of these bytes, or nothing when all are ASCII and any would do.
///
/// Non-ASCII bytes that are valid UTF-8 are UTF-8: Cyrillic words of the one-byte encodings never
/// are, but for a few of two letters. Between the two one-byte encodings the Cyrillic letters are counted:
/// the letters of one are drawing characters and signs in the other. `declared` decides a tie.
pub fn detect(bytes: &[u8], declared: Encoding) -> Option<Encoding> {
    if bytes.is_ascii() {
        return None;
    }
    if std::str::from_utf8(bytes).is_ok() {
        return Some(Encoding::Utf8);
    }
    let (mut windows, mut dos) = (0_u32, 0_u32);
    for byte in bytes {
        windows += u32::from(matches!(byte, 0xC0..=0xFF | 0xA8 | 0xB8));
        dos += u32::from(matches!(byte, 0x80..=0xAF | 0xE0..=0xF1));
    }
    Some(match windows.cmp(&dos) {
        std::cmp::Ordering::Greater => Encoding::Windows1251,
        std::cmp::Ordering::Less => Encoding::Ibm866,
        std::cmp::Ordering::Equal if declared == Encoding::Ibm866 => Encoding::Ibm866,
        std::cmp::Ordering::Equal => Encoding::Windows1251,
    })
}

/// Decodes a line or a field by itself: files with one line in another encoding exist.
pub fn decode(bytes: &[u8], declared: Encoding) -> (Cow<'_, str>, Option<Encoding>) {
    let found = detect(bytes, declared);
    (found.unwrap_or(Encoding::Utf8).decode(bytes), found)
}

/// The bytes of a text that was read as western European, one character a byte (ISO 8859-1 or windows-1252), as scanners do that know no
/// other encoding; nothing for a text that such a reading does not make.
pub fn bytes_read_as_western(text: &str) -> Option<Vec<u8>> {
    if let Ok(bytes) = text.chars().map(u8::try_from).collect() {
        return Some(bytes);
    }
    let (bytes, _, is_unlike) = WINDOWS_1252.encode(text);
    (!is_unlike).then(|| bytes.into_owned())
}

/// Without the byte order mark of UTF-8.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = ["НазначениеПлатежа=ЛС: 1", "СекцияДокумент", "подъезд", "Ёлкин Пётр"];

    #[test]
    fn each_encoding_is_recognised_whatever_is_declared() {
        for text in TEXTS {
            for declared in [Encoding::Utf8, Encoding::Windows1251, Encoding::Ibm866] {
                let windows = WINDOWS_1251.encode(text).0;
                assert_eq!(decode(&windows, declared), (text.into(), Some(Encoding::Windows1251)), "{text}");
                assert_eq!(decode(text.as_bytes(), declared), (text.into(), Some(Encoding::Utf8)), "{text}");
                assert_eq!(decode(&dos(text), declared), (text.into(), Some(Encoding::Ibm866)), "{text}");
            }
        }
    }

    #[test]
    fn ascii_says_nothing() {
        assert_eq!(decode(b"1CClientBankExchange", Encoding::Ibm866), ("1CClientBankExchange".into(), None));
    }

    #[test]
    fn names() {
        assert_eq!(Encoding::named("windows"), Some(Encoding::Windows1251));
        assert_eq!(Encoding::named("DOS"), Some(Encoding::Ibm866));
        assert_eq!(Encoding::named("UTF-8"), Some(Encoding::Utf8));
        assert_eq!(Encoding::Koi8R.decode(&Encoding::Koi8R.encode("Чернышёв")), "Чернышёв");
        assert_eq!(Encoding::Koi8R.encode("Да").as_ref(), b"\xE4\xC1");
        assert_eq!(Encoding::named("koi8-r"), None);
    }

    // encoding_rs encodes cp866 as well.
    fn dos(text: &str) -> Vec<u8> {
        IBM866.encode(text).0.into_owned()
    }

    #[test]
    fn what_was_read_as_western_is_read_back() {
        let bytes = WINDOWS_1251.encode("АО «Лес» “Ёлка”").0;
        let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(bytes_read_as_western(&latin).as_deref(), Some(&*bytes));
        let western = WINDOWS_1252.decode_without_bom_handling(&bytes).0;
        assert_ne!(western, latin);
        assert_eq!(bytes_read_as_western(&western).as_deref(), Some(&*bytes));
        assert_eq!(bytes_read_as_western("АО"), None);
    }
}

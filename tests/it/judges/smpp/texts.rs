//! Generated texts, and what 3GPP TS 23.038 and 23.040 say of their size.

use crate::judges::Dice;

/// 23.038, 6.2.1, without what ASCII has at the same place; and 6.2.1.1.
const GSM: &str = "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\n";
const ESCAPED: &str = "^{}\\[~]|€";
const ASCII: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?\"#%&'()*+-/<=>";
const CYRILLIC: &str = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ 0123456789.,№";
const LATIN1: &str = "éèüßñÄçÇøÅ¿¡§°½£ÿþ";
const OTHER: &str = "«»—…“”😀⚡𝄞✅";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    Gsm,
    Ascii,
    Latin1,
    /// ISO 8859-5.
    Cyrillic,
    Any,
}

pub fn text(dice: &mut Dice, letters: Letters, length: u64) -> String {
    let mut text = String::from(if matches!(letters, Letters::Cyrillic | Letters::Any) { "Я" } else { "a" });
    while (text.chars().count() as u64) < length {
        let alphabet = match (letters, dice.below(6)) {
            (Letters::Gsm, 0) => ESCAPED,
            (Letters::Gsm, 1..=2) => GSM,
            (Letters::Ascii, 0) => "@$_[]{}^~|\\`",
            (Letters::Latin1, 0..=2) => LATIN1,
            (Letters::Any, 0) => OTHER,
            (Letters::Cyrillic | Letters::Any, _) => CYRILLIC,
            _ => ASCII,
        };
        let all: Vec<char> = alphabet.chars().collect();
        text.push(dice.of(&all));
    }
    text
}

/// Septets, or words of 16 bits.
fn units(c: char, is_gsm: bool) -> usize {
    if is_gsm { 1 + usize::from(ESCAPED.contains(c)) } else { c.len_utf16() }
}

/// Messages that a text needs: 160 septets or 70 words alone, 153 or 67 in each of several, no character torn.
pub fn messages(text: &str, is_gsm: bool) -> usize {
    let (alone, joined) = if is_gsm { (160, 153) } else { (70, 67) };
    if text.chars().map(|c| units(c, is_gsm)).sum::<usize>() <= alone {
        return 1;
    }
    let mut rooms = vec![joined];
    for c in text.chars() {
        match rooms.last_mut() {
            Some(room) if *room >= units(c, is_gsm) => *room -= units(c, is_gsm),
            _ => rooms.push(joined - units(c, is_gsm)),
        }
    }
    rooms.len()
}

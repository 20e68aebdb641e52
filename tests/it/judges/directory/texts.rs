//! Texts that directories hold, and how LDIF and names of entries carry them.

use super::Dice;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const WORDS: [&str; 15] = [
    "Ильина",
    "Щёголев",
    "отдел",
    "сбыт, опт",
    "\"Юг\"",
    "«Север»",
    "A+B",
    "c=d",
    "№ 5; 6",
    "<7>",
    "back\\slash",
    "#8",
    "Energo",
    "O'Neil",
    "9$",
];

/// Words with what LDIF and names must escape at either end, at most so many characters.
pub fn text(dice: &mut Dice, chars_max: usize) -> String {
    let words_max = if dice.one_in(5) { 30 } else { 4 };
    let count = 1 + dice.below(words_max);
    let mut text = dice.of(&["", "", "", " ", "  ", ":", ": ", "<", "#", "-", "\"", "ё"]).to_string();
    for _ in 0..count {
        text.push_str(dice.of(&WORDS));
        text.push_str(dice.of(&[" ", " ", "  ", "-"]));
    }
    let kept = text.trim_end().chars().take(chars_max - 1).collect::<String>();
    let text = format!("{}{}", kept, dice.of(&["", "", "", " "]));
    if text.trim().is_empty() { "Пусто".into() } else { text }
}

/// One that no other has, whatever case and blanks are.
pub fn unique(dice: &mut Dice, number: usize, chars_max: usize) -> String {
    let text = text(dice, chars_max - 5);
    format!("{} {number:03}{}", text.trim_end(), dice.of(&["", "", "!", "\\"]))
}

/// A line of LDIF that leaves no doubt: base64.
pub fn line(attribute: &str, value: &str) -> String {
    format!("{attribute}:: {}\n", STANDARD.encode(value))
}

/// A relative name: everything that might mean something is in hexadecimal (RFC 4514, 2.4).
pub fn relative(attribute: &str, value: &str) -> String {
    let escaped = |c: char| match c {
        c if c.is_alphanumeric() => c.to_string(),
        ' ' => "\\20".into(),
        c => c.to_string().bytes().map(|byte| format!("\\{byte:02X}")).collect(),
    };
    format!("{attribute}={}", value.chars().map(escaped).collect::<String>())
}

/// The same name as somebody else writes it: other case, blanks between the parts.
pub fn respelled(dice: &mut Dice, name: &str) -> String {
    let between = dice.of(&[",", ", ", " , "]);
    let parts: Vec<&str> = name.split(',').collect();
    let mut text = parts.join(between);
    let (mut escaped, mut other) = (0, String::new());
    let is_upper = dice.one_in(3);
    for c in std::mem::take(&mut text).chars() {
        escaped = if c == '\\' { 3 } else { usize::saturating_sub(escaped, 1) };
        match c {
            c if escaped > 0 => other.push(c),
            c if is_upper => other.extend(c.to_uppercase()),
            c => other.extend(c.to_lowercase()),
        }
    }
    // A comma is escaped by itself, too.
    if dice.one_in(2) { other.replace("\\2C", "\\,").replace("\\2c", "\\,") } else { other }
}

//! The customer's account in a payment's purpose or code, as people write it in Russia.

use crate::{Failure, rejected};
use regex_lite::Regex;

// Upper and lower case are spelled out: the engine folds case for ASCII only.
const PURPOSE_PATTERNS: [&str; 2] = [
    // ЛС: 500100, л/с 500100, Л.С. №500100, лсч 500100
    r"(?:^|[^0-9A-Za-zА-Яа-яЁё])[Лл]\s?[./\\]?\s?[Сс](?:[Чч](?:[ЕеЁё][Тт])?)?\.?\s*[:№#N=-]*\s*([0-9]{4,16})(?:$|[^0-9A-Za-zА-Яа-яЁё])",
    // лицевой счет 500100, лиц. счёт № 500100, лицевого счета: 500100
    r"(?:^|[^0-9A-Za-zА-Яа-яЁё])[Лл][Ии][Цц](?:[А-Яа-яЁё]*|\.)\s*[Сс][Чч][А-Яа-яЁё]*\.?\s*[:№#N=-]*\s*([0-9]{4,16})(?:$|[^0-9A-Za-zА-Яа-яЁё])",
];
const CODE_PATTERNS: [&str; 1] = [r"^\s*([0-9]{6,16})\s*$"];

/// Kinds of accounts at the treasury, the first two of their 11 digits (order 21н of the Treasury of Russia, 2016). Budgetary
/// institutions write their own one, which is a лицевой счёт as well, into what they pay for.
const TREASURY_KINDS: [&str; 20] = [
    "01", "02", "03", "04", "05", "06", "08", "09", "10", "12", "14", "15", "20", "21", "22", "30", "31", "32", "41",
    "71",
];
/// How the purpose of money begins that comes back to who had paid it.
const RETURNS: [&str; 4] = ["возврат", "возвр.", "возвращ", "сторно"];

/// Whether the purpose says that an own payment came back.
pub fn is_return(purpose: &str) -> bool {
    let text = purpose.trim_start_matches(|c: char| !c.is_alphanumeric());
    // No more of it than the words need: this is asked of every payment.
    let text: String = text.chars().take(8).flat_map(char::to_lowercase).collect();
    RETURNS.iter().any(|word| text.starts_with(word))
}

/// Compiled patterns; the first group of each is an account.
pub struct Patterns {
    /// Only the default patterns are so wide that they find accounts at the treasury.
    finds_treasury: bool,
    purpose: Vec<Regex>,
    code: Vec<Regex>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    None,
    One(String),
    /// Different accounts: crediting any of them would be a guess.
    Many(Vec<String>),
    /// Nothing but the payer's own account at the treasury.
    Treasury(String),
}

impl Patterns {
    /// The configured patterns, or the default ones.
    ///
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile or has no group.
    pub fn new(purpose: Option<&[String]>, code: Option<&[String]>) -> Result<Self, Failure> {
        Ok(Self {
            finds_treasury: purpose.is_none(),
            purpose: compiled(purpose, &PURPOSE_PATTERNS, "purpose-patterns")?,
            code: compiled(code, &CODE_PATTERNS, "code-patterns")?,
        })
    }

    /// The account named by the purpose, else by the code.
    pub fn find(&self, purpose: &str, code: &str) -> Found {
        self.find_in(&[purpose], &[code])
    }

    /// The same of a purpose that came in pieces, and of several codes. A number may have been cut between two pieces: where
    /// that would be another account than with a blank there, both are found.
    pub fn find_in(&self, purpose: &[&str], codes: &[&str]) -> Found {
        let found = match purpose {
            [text] => matches(&self.purpose, text),
            pieces => {
                let (apart, whole) = (joined(pieces, false), joined(pieces, true));
                match matches(&self.purpose, &apart) {
                    found if apart == whole => found,
                    found => found.and(matches(&self.purpose, &whole)),
                }
            }
        };
        let (found, treasury) = if self.finds_treasury { found.without_treasury() } else { (found, None) };
        match found {
            Found::None => match codes.iter().map(|code| matches(&self.code, code)).fold(Found::None, Found::and) {
                Found::None => treasury.map_or(Found::None, Found::Treasury),
                found => found,
            },
            found => found,
        }
    }
}

impl Found {
    /// What is found in either.
    fn and(self, other: Self) -> Self {
        let mut accounts = self.accounts();
        for account in other.accounts() {
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        Self::of(accounts)
    }

    fn of(mut accounts: Vec<String>) -> Self {
        match accounts.len() {
            0 => Self::None,
            1 => accounts.pop().map_or(Self::None, Self::One),
            _ => Self::Many(accounts),
        }
    }

    fn accounts(self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::One(account) => vec![account],
            Self::Many(accounts) => accounts,
            Self::Treasury(_) => Vec::new(),
        }
    }

    fn without_treasury(self) -> (Self, Option<String>) {
        let is_treasury = |account: &String| {
            account.len() == 11 && account.get(..2).is_some_and(|kind| TREASURY_KINDS.contains(&kind))
        };
        let (treasury, others): (Vec<String>, Vec<String>) = self.accounts().into_iter().partition(is_treasury);
        (Self::of(others), treasury.into_iter().next())
    }
}

/// With a blank between the pieces, or, as `whole`, with none where a digit meets a digit.
fn joined(pieces: &[&str], whole: bool) -> String {
    let mut text = String::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let is_number = text.ends_with(|c: char| c.is_ascii_digit()) && piece.starts_with(|c: char| c.is_ascii_digit());
        if !(text.is_empty() || whole && is_number) {
            text.push(' ');
        }
        text.push_str(piece);
    }
    text
}

fn compiled(given: Option<&[String]>, default: &[&str], setting: &str) -> Result<Vec<Regex>, Failure> {
    let compile = |pattern: &str| match Regex::new(pattern) {
        Ok(regex) if regex.captures_len() >= 2 => Ok(regex),
        Ok(_) => Err(rejected("bad-config", format!("`{pattern}` has no group"), format!("config, {setting}"))),
        Err(error) => Err(rejected("bad-config", format!("`{pattern}`: {error}"), format!("config, {setting}"))),
    };
    match given {
        Some(patterns) => patterns.iter().map(|pattern| compile(pattern)).collect(),
        None => default.iter().map(|pattern| compile(pattern)).collect(),
    }
}

fn matches(patterns: &[Regex], text: &str) -> Found {
    let mut accounts: Vec<String> = Vec::new();
    for pattern in patterns {
        let mut start = 0;
        // A match ends with the byte after the account, which may begin the next one.
        while let Some(group) = pattern.captures_at(text, start).and_then(|captures| captures.get(1)) {
            if !accounts.iter().any(|account| account == group.as_str()) {
                accounts.push(group.as_str().to_owned());
            }
            start = group.end().max(start + 1);
            if !text.is_char_boundary(start) {
                break;
            }
        }
    }
    Found::of(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(purpose: &str, code: &str) -> Found {
        Patterns::new(None, None).unwrap().find(purpose, code)
    }

    #[test]
    fn the_ways_people_write_it() {
        for purpose in [
            "ЛС: 500100200300",
            "л/с 500100200300",
            "Л/С №500100200300, за октябрь",
            "ЛС №500100200300;ул. Липовая",
            "лицевой счет 500100200300",
            "Лицевой счёт № 500100200300.",
            "оплата по лиц. счету: 500100200300 за свет",
            "ЛИЦЕВОЙ СЧЕТ N 500100200300",
            "за электроэнергию лс500100200300",
            "л.с. 500100200300",
            "л\\с 500100200300 НДС не облагается",
            "лс 500100200300 л/с 500100200300",
        ] {
            assert_eq!(find(purpose, ""), Found::One("500100200300".into()), "{purpose}");
        }
    }

    #[test]
    fn what_is_no_account() {
        for purpose in [
            "",
            "Оплата по счету 34 от 31.03.2026",
            "плс 500100",
            "л/с 03100643000000012100",
            "л/с 20136У12345",
            "пульс 1234567",
            "лс: нет",
        ] {
            assert_eq!(find(purpose, ""), Found::None, "{purpose}");
        }
    }

    #[test]
    fn the_code_only_helps_where_the_purpose_is_silent() {
        assert_eq!(find("за свет", "500100200300"), Found::One("500100200300".into()));
        assert_eq!(find("ЛС 500100200301", "500100200300"), Found::One("500100200301".into()));
        for code in ["0", "20217301004122170002", "424330352486400000000ЛС12"] {
            assert_eq!(find("за свет", code), Found::None, "{code}");
        }
    }

    #[test]
    fn two_accounts_are_ambiguous() {
        assert_eq!(find("ЛС 500100 ЛС 500200", ""), Found::Many(vec!["500100".into(), "500200".into()]));
    }

    #[test]
    fn a_number_may_be_cut_between_pieces() {
        let found = |pieces: &[&str], codes: &[&str]| Patterns::new(None, None).unwrap().find_in(pieces, codes);
        assert_eq!(
            found(&["STROM ЛС 500100200", "300 MUSTERSTADT"], &[]),
            Found::Many(vec!["500100200".into(), "500100200300".into()])
        );
        assert_eq!(found(&["за свет ЛС", "500100200300", "октябрь"], &[]), Found::One("500100200300".into()));
        assert_eq!(
            found(&["ЛС 500100200300", "", "7 кв."], &[]),
            Found::Many(vec!["500100200300".into(), "5001002003007".into()])
        );
        assert_eq!(found(&["лс 50", "0100"], &[]), Found::One("500100".into()));
        assert_eq!(found(&["за свет"], &["500100", "500200"]), Found::Many(vec!["500100".into(), "500200".into()]));
        assert_eq!(found(&["за свет"], &["500100", "нет", "500100"]), Found::One("500100".into()));
    }

    #[test]
    fn an_account_at_the_treasury_is_no_customers() {
        let own = "03221009820".to_owned();
        assert_eq!(find("За свет по дог. 77 (МБОУ СОШ 5, л/с 03221009820)", ""), Found::Treasury(own.clone()));
        assert_eq!(find("(л/с 03221009820) ЛС 500100200300", ""), Found::One("500100200300".into()));
        assert_eq!(find("(л/с 03221009820) за свет", "500100"), Found::One("500100".into()));
        for account in ["50133547364", "032210098", "032210098201"] {
            assert_eq!(find(&format!("ЛС {account}"), ""), Found::One(account.into()));
        }
        let patterns = Patterns::new(Some(&["л/с ([0-9]+)".into()]), None).unwrap();
        assert_eq!(patterns.find("л/с 03221009820", ""), Found::One(own));
    }

    #[test]
    fn money_that_came_back() {
        for purpose in
            ["Возврат ошибочно перечисленных", " ВОЗВРАТ д/с", "(Возвр. п/п 3", "Возвращено банком", "Сторно"]
        {
            assert!(is_return(purpose), "{purpose}");
        }
        for purpose in ["", "Оплата, возврат тары", "за свет", "НДС возвратный"] {
            assert!(!is_return(purpose), "{purpose}");
        }
    }

    #[test]
    fn a_pattern_needs_a_group() {
        let Failure::Rejected(rejection) = Patterns::new(Some(&["[0-9]+".into()]), None).err().unwrap() else {
            panic!()
        };
        assert_eq!(rejection.place.as_deref(), Some("config, purpose-patterns"));
        let patterns = Patterns::new(Some(&["договор ([0-9]+)".into()]), Some(&[])).unwrap();
        assert_eq!(patterns.find("по договор 77 лс 500100", "500100200300"), Found::One("77".into()));
    }
}

//! One `СекцияДокумент … КонецДокумента`: its fields, where they stood, and its identity.

use std::borrow::Cow;

use busbar_sdk::texts::{first_chars, is_plain, squeezed};
use busbar_sdk::{Rejection, dates, ids, money, rejection};
use time::Date;

/// Characters of a free text that a message carries; more is cut off.
const NAME_CHARS: usize = 500;
const PURPOSE_CHARS: usize = 1000;
/// Between the lines that a text was broken over.
const LINE: char = '\n';

macro_rules! keys {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// The fields that mean something here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Key { $($name),+ }

        impl Key {
            const COUNT: usize = [$($text),+].len();

            /// By its name in the file.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)+ _ => None }
            }

            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

keys! {
    Number = "Номер",
    Date = "Дата",
    Sum = "Сумма",
    Spent = "ДатаСписано",
    Arrived = "ДатаПоступило",
    PayerAccount = "ПлательщикСчет",
    PayerAccount2 = "ПлательщикРасчСчет",
    Payer = "Плательщик",
    Payer1 = "Плательщик1",
    PayerInn = "ПлательщикИНН",
    PayerBic = "ПлательщикБИК",
    ReceiverAccount = "ПолучательСчет",
    ReceiverAccount2 = "ПолучательРасчСчет",
    ReceiverBic = "ПолучательБИК",
    Code = "Код",
    Purpose = "НазначениеПлатежа",
    Purpose1 = "НазначениеПлатежа1",
    Purpose2 = "НазначениеПлатежа2",
    Purpose3 = "НазначениеПлатежа3",
    Purpose4 = "НазначениеПлатежа4",
    Purpose5 = "НазначениеПлатежа5",
    Purpose6 = "НазначениеПлатежа6",
}

impl Key {
    /// A free text, which may be broken over lines.
    pub fn is_text(self) -> bool {
        self.is_purpose() || matches!(self, Self::Payer | Self::Payer1)
    }

    pub fn is_purpose(self) -> bool {
        self == Self::Purpose || PURPOSES.contains(&self)
    }

    /// Whether this can be a value of it at all.
    pub fn fits(self, value: &str) -> bool {
        match self {
            Self::Sum => money::parse_minor_written(value).is_some(),
            Self::Date | Self::Spent | Self::Arrived => value.is_empty() || dates::parse_russian_date(value).is_some(),
            Self::Number | Self::Code => !value.contains(char::is_whitespace),
            Self::PayerInn | Self::PayerBic | Self::ReceiverBic => !value.contains(|c: char| !c.is_ascii_digit()),
            Self::PayerAccount | Self::PayerAccount2 | Self::ReceiverAccount | Self::ReceiverAccount2 => {
                !value.contains(char::is_whitespace)
            }
            _ => true,
        }
    }
}

const PURPOSES: [Key; 6] = [Key::Purpose1, Key::Purpose2, Key::Purpose3, Key::Purpose4, Key::Purpose5, Key::Purpose6];

/// Keys of the specification that carry nothing for the hub. Any other key is logged.
pub fn is_known_elsewhere(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(
        stem,
        "КвитанцияДата"
            | "КвитанцияВремя"
            | "КвитанцияСодержание"
            | "Плательщик"
            | "ПлательщикБанк"
            | "ПлательщикКорсчет"
            | "ПлательщикКПП"
            | "Получатель"
            | "ПолучательИНН"
            | "ПолучательБанк"
            | "ПолучательКорсчет"
            | "ПолучательКПП"
            | "ВидПлатежа"
            | "ВидОплаты"
            | "КодНазПлатежа"
            | "СтатусСоставителя"
            | "ПоказательКБК"
            | "ОКАТО"
            | "ПоказательОснования"
            | "ПоказательПериода"
            | "ПоказательНомера"
            | "ПоказательДаты"
            | "ПоказательТипа"
            | "Очередность"
            | "СрокАкцепта"
            | "ВидАккредитива"
            | "СрокПлатежа"
            | "УсловиеОплаты"
            | "ПлатежПоПредст"
            | "ДополнУсловия"
            | "НомерСчетаПоставщика"
            | "ДатаОтсылкиДок"
    )
}

#[derive(Clone, Default)]
struct Field {
    line: u64,
    text: String,
}

/// The fields of the document being read; reused from one document to the next.
#[derive(Default)]
pub struct Document {
    /// The line of `СекцияДокумент`.
    pub line: u64,
    /// `Платежное поручение` and the like; empty when the section has no value.
    pub kind: String,
    fields: Vec<Field>,
}

/// The sides, days and sum of a document, checked.
#[derive(Debug)]
pub struct Checked {
    pub date: Date,
    pub sum_minor: i128,
    pub spent: Option<Date>,
    pub arrived: Option<Date>,
}

impl Document {
    pub fn start(&mut self, line: u64, kind: &str) {
        self.line = line;
        kind.clone_into(&mut self.kind);
        self.fields.resize(Key::COUNT, Field::default());
        for field in &mut self.fields {
            field.line = 0;
            field.text.clear();
        }
    }

    /// A purpose that stands twice goes on in the second one.
    ///
    /// # Errors
    /// `repeated-field` when the field has another value already.
    pub fn set(&mut self, key: Key, line: u64, value: &str) -> Result<(), Rejection> {
        let Some(field) = self.fields.get_mut(key as usize) else { return Ok(()) };
        if field.line != 0 && field.text != value {
            if key.is_purpose() {
                self.append(key, value);
                return Ok(());
            }
            let reason = format!("{} stands twice in one document, first in line {}", key.name(), field.line);
            return Err(rejection("repeated-field", reason, place(line, key.name())));
        }
        field.line = line;
        value.clone_into(&mut field.text);
        Ok(())
    }

    /// A further line of a text that was broken over lines.
    pub fn append(&mut self, key: Key, text: &str) {
        if let Some(field) = self.fields.get_mut(key as usize) {
            if !field.text.is_empty() {
                field.text.push(LINE);
            }
            field.text.push_str(text);
        }
    }

    pub fn text(&self, key: Key) -> &str {
        self.fields.get(key as usize).map_or("", |field| field.text.as_str())
    }

    /// Where the field stands, or where the document begins when it is missing.
    pub fn place(&self, key: Key) -> String {
        let line = self.fields.get(key as usize).map_or(0, |field| field.line);
        place(if line == 0 { self.line } else { line }, key.name())
    }

    /// # Errors
    /// `missing-field`, `bad-date`, `bad-amount`, `field-too-long`, `bad-character` with the place.
    pub fn check(&self) -> Result<Checked, Rejection> {
        let number = self.required(Key::Number)?;
        if number.chars().count() > 64 {
            return Err(rejection("field-too-long", "a number has at most 64 characters", self.place(Key::Number)));
        }
        if !is_plain(number) {
            return Err(rejection("bad-character", "a number has no control characters", self.place(Key::Number)));
        }
        for (key, other) in [(Key::PayerAccount, Key::PayerAccount2), (Key::ReceiverAccount, Key::ReceiverAccount2)] {
            if self.text(other).is_empty() {
                self.required(key)?;
            }
        }
        let sum = self.required(Key::Sum)?;
        let sum_minor = money::parse_minor_written(sum).ok_or_else(|| {
            rejection("bad-amount", format!("`{sum}` is no sum in roubles and kopecks"), self.place(Key::Sum))
        })?;
        self.required(Key::Date)?;
        let date = self.day(Key::Date)?.ok_or_else(|| self.missing(Key::Date))?;
        Ok(Checked { date, sum_minor, spent: self.day(Key::Spent)?, arrived: self.day(Key::Arrived)? })
    }

    fn required(&self, key: Key) -> Result<&str, Rejection> {
        match self.text(key) {
            "" => Err(self.missing(key)),
            text => Ok(text),
        }
    }

    fn missing(&self, key: Key) -> Rejection {
        rejection("missing-field", format!("the document has no {}", key.name()), self.place(key))
    }

    fn day(&self, key: Key) -> Result<Option<Date>, Rejection> {
        match self.text(key) {
            "" => Ok(None),
            text => parse_day(text, || self.place(key)).map(Some),
        }
    }

    /// The account on the payer's side that `is_ours`, of the two fields a file may use.
    pub fn our_payer(&self, is_ours: impl Fn(&str) -> bool) -> Option<&str> {
        [Key::PayerAccount, Key::PayerAccount2].map(|key| self.text(key)).into_iter().find(|account| is_ours(account))
    }

    /// The same on the receiver's side.
    pub fn our_receiver(&self, is_ours: impl Fn(&str) -> bool) -> Option<&str> {
        [Key::ReceiverAccount, Key::ReceiverAccount2]
            .map(|key| self.text(key))
            .into_iter()
            .find(|account| is_ours(account))
    }

    pub fn payer_account(&self) -> &str {
        first_filled([self.text(Key::PayerAccount), self.text(Key::PayerAccount2)])
    }

    pub fn receiver_account(&self) -> &str {
        first_filled([self.text(Key::ReceiverAccount), self.text(Key::ReceiverAccount2)])
    }

    pub fn payer_name(&self) -> Cow<'_, str> {
        let name = first_chars(first_filled([self.text(Key::Payer1), self.text(Key::Payer)]), NAME_CHARS);
        if name.contains(LINE) { name.replace(LINE, " ").into() } else { name.into() }
    }

    /// НазначениеПлатежа, or the lines НазначениеПлатежа1 to 6 of a bank that only fills those.
    pub fn purpose(&self) -> Cow<'_, str> {
        match *self.purpose_lines() {
            [line] => first_chars(line, PURPOSE_CHARS).into(),
            ref lines => first_chars(&lines.join(" "), PURPOSE_CHARS).to_owned().into(),
        }
    }

    /// The same in the lines that it was broken over.
    pub fn purpose_lines(&self) -> Vec<&str> {
        let whole = self.text(Key::Purpose);
        let numbered: &[Key] = if whole.is_empty() { &PURPOSES } else { &[] };
        let texts = std::iter::once(whole).chain(numbered.iter().map(|key| self.text(*key)));
        texts.flat_map(|text| text.split(LINE)).filter(|line| !line.is_empty()).collect()
    }

    /// The same for the same document in any file. The format has no reference of the bank, so all that a bank states alike whenever it
    /// states the document is what it is.
    pub fn id(&self, own_account: &str, is_incoming: bool, checked: &Checked, day: Date) -> String {
        let (side, other_account, other_bank) = match is_incoming {
            true => ("in", self.payer_account(), Key::PayerBic),
            false => ("out", self.receiver_account(), Key::ReceiverBic),
        };
        ids::derived(&[
            "client-bank-exchange",
            own_account,
            side,
            other_account,
            self.text(other_bank),
            &dates::iso_date(checked.date),
            self.text(Key::Number),
            &money::format_minor(checked.sum_minor),
            &dates::iso_date(day),
            &squeezed(&self.payer_name()),
            &squeezed(&self.purpose_lines().concat()),
            self.text(Key::Code),
        ])
    }
}

/// `line 17, field Сумма`.
pub fn place(line: u64, field: &str) -> String {
    format!("line {line}, field {field}")
}

/// # Errors
/// `bad-date` at `place`.
pub fn parse_day(text: &str, place: impl FnOnce() -> String) -> Result<Date, Rejection> {
    dates::parse_russian_date(text)
        .ok_or_else(|| rejection("bad-date", format!("`{text}` is no existing day written ДД.ММ.ГГГГ"), place()))
}

fn first_filled(texts: [&str; 2]) -> &str {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let mut document = Document::default();
        document.start(10, "Платежное поручение");
        for (line, (key, value)) in (11..).zip([
            (Key::Number, "17"),
            (Key::Date, "19.11.2026"),
            (Key::Sum, "12.5"),
            (Key::PayerAccount, "40817810900000000017"),
            (Key::ReceiverAccount2, "40702810500000000042"),
        ]) {
            document.set(key, line, value).unwrap();
        }
        document
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(document().check().unwrap().sum_minor, 1250);
        for (key, value, code, place) in [
            (Key::Number, "", "missing-field", "line 11, field Номер"),
            (Key::Number, "1\u{4}7", "bad-character", "line 11, field Номер"),
            (Key::Date, "31.11.2026", "bad-date", "line 12, field Дата"),
            (Key::Sum, "1,700", "bad-amount", "line 13, field Сумма"),
            (Key::Sum, "12.505", "bad-amount", "line 13, field Сумма"),
            (Key::Arrived, "1.1.26", "bad-date", "line 99, field ДатаПоступило"),
            (Key::PayerAccount, "", "missing-field", "line 14, field ПлательщикСчет"),
        ] {
            let mut document = document();
            if let Some(field) = document.fields.get_mut(key as usize) {
                field.line = if field.line == 0 { 99 } else { field.line };
                field.text = value.into();
            }
            let rejection = document.check().unwrap_err();
            assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), (code, Some(place)));
        }
    }

    #[test]
    fn a_field_may_be_said_twice_but_not_contradicted() {
        let mut document = document();
        assert!(document.set(Key::Sum, 20, "12.5").is_ok());
        assert_eq!(document.set(Key::Sum, 21, "13").unwrap_err().code, "repeated-field");
    }

    #[test]
    fn reuse_forgets_the_document_before() {
        let mut document = document();
        document.start(50, "");
        assert_eq!(document.check().unwrap_err().place.as_deref(), Some("line 50, field Номер"));
    }

    #[test]
    fn the_purpose_may_stand_in_numbered_lines() {
        let mut document = document();
        document.set(Key::Purpose2, 31, "500100").unwrap();
        document.set(Key::Purpose1, 30, "ЛС").unwrap();
        assert_eq!(document.purpose(), "ЛС 500100");
    }
}

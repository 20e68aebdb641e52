//! Lines of a 1CClientBankExchange file -> messages. Pure: lines come in, drafts and warnings go out.
//!
//! Source: 1C, «Стандарт обмена с системами Клиент банка», versions 1.01 to 1.03, and real files.

use std::collections::BTreeSet;

use busbar_sdk::dates::Offset;
use busbar_sdk::encoding::{self, Encoding};
use busbar_sdk::purpose::{Found, Patterns};
use busbar_sdk::{Control, Failure, Line, Lines, Rejection, Sink, dates, money, rejection};
use serde::Deserialize;
use time::Date;

use crate::document::{Checked, Document, Key, is_known_elsewhere, place};
use crate::section::Section;

mod payment;
#[cfg(test)]
mod tests;

/// Warnings about unknown keys in one file; further ones say nothing new.
const UNKNOWN_KEYS_MAX: usize = 20;
/// Warnings about single documents in one file.
const DOCUMENT_WARNINGS_MAX: usize = 100;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawSettings {
    control: Control,
    utc_offset: Offset,
    currency: String,
    purpose_patterns: Option<Vec<String>>,
    code_patterns: Option<Vec<String>>,
    sender: String,
    recipient: String,
    execution_day: ExecutionDay,
    file_prefix: String,
}

/// What becomes of an order that is not to be executed before a later day.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ExecutionDay {
    #[default]
    Refuse,
    Ignore,
}

impl Default for RawSettings {
    fn default() -> Self {
        Self {
            control: Control::Strict,
            utc_offset: Offset::MOSCOW,
            currency: "RUB".to_owned(),
            purpose_patterns: None,
            code_patterns: None,
            sender: "busbar".to_owned(),
            recipient: String::new(),
            execution_day: ExecutionDay::Refuse,
            file_prefix: "1c_to_kl_".to_owned(),
        }
    }
}

pub struct Settings {
    control: Control,
    offset: Offset,
    currency: String,
    patterns: Patterns,
    pub sender: String,
    pub recipient: String,
    pub ignore_execution_day: bool,
    pub file_prefix: String,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        let patterns = Patterns::new(raw.purpose_patterns.as_deref(), raw.code_patterns.as_deref())?;
        Ok(Self {
            control: raw.control,
            offset: raw.utc_offset,
            currency: raw.currency,
            patterns,
            sender: raw.sender,
            recipient: raw.recipient,
            ignore_execution_day: raw.execution_day == ExecutionDay::Ignore,
            file_prefix: raw.file_prefix,
        })
    }

    pub fn currency<'a>(&'a self, account: &str) -> &'a str {
        money::currency_of_account(account).unwrap_or(&self.currency)
    }
}

/// Decodes a whole file.
///
/// # Errors
/// The first thing that makes the file unfit, with its place; the README lists the codes. What was emitted before
/// counts for nothing then.
pub fn decode(
    settings: &Settings,
    lines: &mut Lines<impl FnMut(u32) -> Vec<u8>>,
    output: &mut impl Sink,
) -> Result<(), Rejection> {
    let mut decoder = Decoder::new(settings, output);
    while let Some(line) = lines.next_line()? {
        decoder.line(line)?;
    }
    decoder.end(lines.number())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Top,
    Section,
    Document,
    End,
}

struct Decoder<'a, O: Sink> {
    settings: &'a Settings,
    output: &'a mut O,
    state: State,
    declared: Encoding,
    head_accounts: Vec<String>,
    head_period: (Option<Date>, Option<Date>),
    section: Section,
    sections: Vec<Section>,
    document: Document,
    any_document: bool,
    last_key: Option<Key>,
    seen: BTreeSet<String>,
    unknown_keys: BTreeSet<String>,
    odd_encodings: Vec<Encoding>,
    document_warnings: usize,
}

impl<'a, O: Sink> Decoder<'a, O> {
    fn new(settings: &'a Settings, output: &'a mut O) -> Self {
        Self {
            settings,
            output,
            state: State::Start,
            declared: Encoding::Windows1251,
            head_accounts: Vec::new(),
            head_period: (None, None),
            section: Section::default(),
            sections: Vec::new(),
            document: Document::default(),
            any_document: false,
            last_key: None,
            seen: BTreeSet::new(),
            unknown_keys: BTreeSet::new(),
            odd_encodings: Vec::new(),
            document_warnings: 0,
        }
    }

    fn line(&mut self, line: Line<'_>) -> Result<(), Rejection> {
        let bytes = if line.number == 1 { encoding::without_bom(line.bytes) } else { line.bytes };
        let (text, found) = encoding::decode(bytes, self.declared);
        let text = text.trim();
        if self.state == State::Start {
            return self.first_line(line.number, text);
        }
        if text.is_empty() {
            return Ok(());
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim_end(), value.trim_start()),
            None => (text, ""),
        };
        match (self.state, name) {
            (State::End, _) => {
                return Err(rejection("data-after-end", "there is more after КонецФайла", place_of(line.number)));
            }
            (State::Top, "СекцияРасчСчет") => {
                self.section = Section::at(line.number);
                self.state = State::Section;
            }
            (State::Top, "СекцияДокумент") => {
                self.document.start(line.number, value);
                self.last_key = None;
                self.state = State::Document;
            }
            (State::Top, "КонецФайла") => self.state = State::End,
            (State::Section, "КонецРасчСчет") => self.end_section(line.number)?,
            (State::Document, "КонецДокумента") => self.end_document()?,
            (_, "СекцияРасчСчет" | "СекцияДокумент" | "КонецРасчСчет" | "КонецДокумента" | "КонецФайла") =>
            {
                let open = match self.state {
                    State::Section => format!("the section begun in line {} is not closed", self.section.line),
                    State::Document => format!("the document begun in line {} is not closed", self.document.line),
                    _ => "nothing is open that it could close".to_owned(),
                };
                return Err(rejection("bad-structure", format!("{name} here, but {open}"), place_of(line.number)));
            }
            _ => self.field(line.number, name, value, text)?,
        }
        self.note_encoding(line.number, name, found);
        Ok(())
    }

    fn first_line(&mut self, number: u64, text: &str) -> Result<(), Rejection> {
        if text != "1CClientBankExchange" {
            return Err(rejection("not-this-format", "the first line is not 1CClientBankExchange", place_of(number)));
        }
        self.state = State::Top;
        Ok(())
    }

    fn field(&mut self, line: u64, name: &str, value: &str, text: &str) -> Result<(), Rejection> {
        if !text.contains('=') {
            return self.broken_line(line, text);
        }
        let known = match self.state {
            State::Section => self.section.set(name, line, value)?,
            State::Document => {
                self.last_key = Key::named(name);
                match self.last_key {
                    Some(key) => {
                        self.document.set(key, line, value)?;
                        true
                    }
                    None => is_known_elsewhere(name),
                }
            }
            _ => self.head(line, name, value)?,
        };
        if !known && self.unknown_keys.len() < UNKNOWN_KEYS_MAX && self.unknown_keys.insert(name.to_owned()) {
            let name: String = name.chars().take(100).collect();
            self.output.warn(&format!("line {line}: unknown key {name}, ignored"));
        }
        Ok(())
    }

    // Some banks break a long purpose over lines.
    fn broken_line(&mut self, line: u64, text: &str) -> Result<(), Rejection> {
        match self.last_key.filter(|key| self.state == State::Document && key.name().starts_with("НазначениеПлатежа"))
        {
            Some(key) => {
                self.document.append(key, text);
                Ok(())
            }
            None => Err(rejection("unreadable-line", "neither Ключ=Значение nor a section's end", place_of(line))),
        }
    }

    fn head(&mut self, line: u64, name: &str, value: &str) -> Result<bool, Rejection> {
        match name {
            "Кодировка" => match Encoding::named(value) {
                Some(encoding) => self.declared = encoding,
                None => self.output.warn(&format!("line {line}: unknown Кодировка, guessed line by line")),
            },
            "РасчСчет" if !value.is_empty() => self.head_accounts.push(value.to_owned()),
            "ДатаНачала" if !value.is_empty() => {
                self.head_period.0 = Some(crate::document::parse_day(value, || place(line, name))?);
            }
            "ДатаКонца" if !value.is_empty() => {
                self.head_period.1 = Some(crate::document::parse_day(value, || place(line, name))?);
            }
            "ВерсияФормата" if !matches!(value, "1.01" | "1.02" | "1.03") => {
                self.output.warn(&format!("line {line}: a version other than 1.01 to 1.03"));
            }
            "ВерсияФормата"
            | "Отправитель"
            | "Получатель"
            | "ДатаСоздания"
            | "ВремяСоздания"
            | "ДатаНачала"
            | "ДатаКонца"
            | "РасчСчет"
            | "Документ" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn end_section(&mut self, line: u64) -> Result<(), Rejection> {
        let mut section = std::mem::take(&mut self.section);
        section.close(line, self.head_period, self.settings.control)?;
        if self.any_document && !self.is_ours(&section.account) {
            // Documents before it were sorted without knowing that this account is ours.
            let reason = "a section of a further account stands after documents";
            return Err(rejection("bad-structure", reason, place_of(section.line)));
        }
        self.sections.push(section);
        self.state = State::Top;
        Ok(())
    }

    fn is_ours(&self, account: &str) -> bool {
        !account.is_empty()
            && (self.head_accounts.iter().any(|own| own == account)
                || self.sections.iter().any(|section| section.account == account))
    }

    fn end_document(&mut self) -> Result<(), Rejection> {
        self.state = State::Top;
        self.any_document = true;
        let checked = self.document.check()?;
        let receiver = self.document.our_receiver(|account| self.is_ours(account)).map(str::to_owned);
        let payer = self.document.our_payer(|account| self.is_ours(account)).map(str::to_owned);
        let Some(own) = receiver.as_deref().or(payer.as_deref()) else {
            self.warn_document("concerns no account of this file, ignored");
            return Ok(());
        };
        let credited = receiver.as_deref().zip(checked.arrived);
        let debited = payer.as_deref().zip(checked.spent);
        let Some((account, day)) = credited.or(debited) else {
            self.warn_document("was not executed by the bank, ignored");
            if let Some((section, _)) = self.section_of(own, checked.date) {
                section.counts.pending += 1;
            }
            return Ok(());
        };
        let id = self.document.id(own, &checked);
        if !self.seen.insert(id.clone()) {
            if let Some((section, _)) = self.section_of(account, day) {
                section.counts.repeated += 1;
            }
            return Ok(());
        }
        self.count(&checked, credited, debited);
        match credited.filter(|_| payer.is_none()) {
            Some((account, day)) => self.pay(id, account, day, &checked),
            None => Ok(()),
        }
    }

    fn count(&mut self, checked: &Checked, credited: Option<(&str, Date)>, debited: Option<(&str, Date)>) {
        let internal = u64::from(credited.is_some() && debited.is_some());
        let mut outside = false;
        if let Some((section, covered)) = credited.and_then(|(account, day)| self.section_of(account, day)) {
            section.count_incoming(checked.sum_minor, covered);
            section.counts.internal += internal;
            outside |= !covered;
        }
        if let Some((section, covered)) = debited.and_then(|(account, day)| self.section_of(account, day)) {
            section.count_outgoing(checked.sum_minor, covered);
            // Within one account the movement has been counted already.
            let same = credited.map(|side| side.0) == debited.map(|side| side.0);
            section.counts.internal += if same { 0 } else { internal };
            outside |= !covered;
        }
        if outside {
            self.warn_document("was executed outside the period of its account section");
        }
    }

    fn pay(&mut self, id: String, account: &str, day: Date, checked: &Checked) -> Result<(), Rejection> {
        let purpose = self.document.purpose();
        let found = self.settings.patterns.find(&purpose, self.document.text(Key::Code));
        let received = matches!(found, Found::One(_));
        let payment = payment::Payment {
            document: &self.document,
            checked,
            own_account: account,
            day,
            currency: self.settings.currency(account),
            offset: self.settings.offset,
        };
        let draft = payment.draft(id, found, &purpose);
        self.output.emit(draft);
        if let Some((section, _)) = self.section_of(account, day) {
            section.counts.payments += u64::from(received);
            section.counts.rejected += u64::from(!received);
        }
        Ok(())
    }

    /// The section of the account that covers the day, else its last one and false. A file without sections gets one
    /// of its head.
    fn section_of(&mut self, account: &str, day: Date) -> Option<(&mut Section, bool)> {
        let of_account = |section: &Section| section.account == account;
        if !self.sections.iter().any(of_account) {
            let (start, end) = self.head_period;
            self.sections.push(Section::of_head(account, start.or(Some(day)), end.or(start).or(Some(day))));
        }
        let covering = self.sections.iter().position(|section| of_account(section) && section.covers(day));
        let index = covering.or_else(|| self.sections.iter().rposition(of_account))?;
        self.sections.get_mut(index).map(|section| (section, covering.is_some()))
    }

    fn warn_document(&mut self, what: &str) {
        self.document_warnings += 1;
        if self.document_warnings <= DOCUMENT_WARNINGS_MAX {
            self.output.warn(&format!("line {}: the document {what}", self.document.line));
        }
    }

    // A declaration that does not fit is common and harmless, but somebody should know.
    fn note_encoding(&mut self, line: u64, name: &str, found: Option<Encoding>) {
        let Some(found) = found.filter(|found| *found != self.declared && !self.odd_encodings.contains(found)) else {
            return;
        };
        // `Кодировка` is itself not ASCII: it cannot be judged before it is read.
        if line > 3 || name == "Кодировка" {
            self.odd_encodings.push(found);
            self.output.warn(&format!("line {line}: {} although {} is declared", found.name(), self.declared.name()));
        }
    }

    fn end(mut self, last_line: u64) -> Result<(), Rejection> {
        match self.state {
            State::End => {}
            State::Start => return Err(rejection("not-this-format", "the file is empty", place_of(1))),
            _ => {
                let reason = "the file ends without КонецФайла, so a part may be missing";
                return Err(rejection("truncated", reason, place_of(last_line)));
            }
        }
        let sections = std::mem::take(&mut self.sections);
        // A section of line 0 was made from the file's head.
        let uncontrolled = sections.is_empty() || sections.iter().any(|section| section.line == 0);
        if self.settings.control != Control::Off && uncontrolled {
            let reason =
                "an account has no СекцияРасчСчет: a list of payment orders, or a statement that cannot be controlled";
            return Err(rejection("not-a-statement", reason, place_of(last_line)));
        }
        for section in &sections {
            if self.settings.control == Control::Strict {
                section.check_totals()?;
            }
            self.output.emit(section.draft(self.settings.currency(&section.account), self.settings.offset));
        }
        Ok(())
    }
}

fn place_of(line: u64) -> String {
    format!("line {line}")
}

/// The day as the moment it began, which is all a statement says.
fn day_time(day: Date, offset: Offset) -> String {
    dates::rfc3339(dates::start_of_day(day), offset)
}

//! Lines of a 1CClientBankExchange file -> messages. Pure: lines come in, drafts and warnings go out.
//!
//! Source: 1C, «Стандарт обмена с системами Клиент банка», versions 1.01 to 1.03, and real files.

use std::collections::{BTreeMap, BTreeSet};

use busbar_sdk::dates::Offset;
use busbar_sdk::encoding::{self, Encoding};
use busbar_sdk::money::{NegativeSums, ZeroSums};
use busbar_sdk::purpose::{self, Found};
use busbar_sdk::texts::first_chars;
use busbar_sdk::{Control, Line, Lines, Rejection, Sink, dates, rejection};
use time::Date;

use crate::document::{Checked, Document, Key, place};
use crate::mapping::lines::Last;
use crate::section::Section;
use crate::settings::Settings;

#[cfg(test)]
mod identity;
mod lines;
mod payment;
#[cfg(test)]
mod tests;

/// Warnings about unknown keys in one file; further ones say nothing new.
const UNKNOWN_KEYS_MAX: usize = 20;
/// Warnings about single documents in one file.
const DOCUMENT_WARNINGS_MAX: usize = 100;

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
    last: Last,
    /// Lines of the documents by their ids.
    seen: BTreeMap<String, u64>,
    /// The last document that came again, and where it stood before.
    repeat: Option<(u64, u64)>,
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
            last: Last::None,
            seen: BTreeMap::new(),
            repeat: None,
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
        let field = text.split_once('=').map(|(name, value)| (name.trim_end(), value.trim_start()));
        let (name, value) = field.unwrap_or((text, ""));
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
                self.last = Last::None;
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
            _ => self.field(line.number, name, value, text, field.is_some())?,
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

    /// `is_field`: the line has a `=`.
    fn field(&mut self, line: u64, name: &str, value: &str, text: &str, is_field: bool) -> Result<(), Rejection> {
        let known = match self.state {
            State::Document => match self.document_field(line, name, value, text, is_field)? {
                Some(known) => known,
                None => return Ok(()),
            },
            _ if !is_field => return Err(unreadable(line)),
            State::Section => self.section.set(name, line, value)?,
            _ => self.head(line, name, value)?,
        };
        if !known && self.unknown_keys.len() < UNKNOWN_KEYS_MAX && self.unknown_keys.insert(name.to_owned()) {
            let name = first_chars(name, 100);
            self.output.warn(&format!("line {line}: unknown key {name}, ignored"));
        }
        Ok(())
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
        if self.settings.currency(&section.account).is_none() {
            return Err(unknown_currency(&section.account, section.account_place()));
        }
        if self.settings.control == Control::Balance && !section.has_all() {
            self.output.warn(&format!("line {}: a section whose balances cannot be controlled", section.line));
        }
        if self.any_document && !self.is_ours(&section.account) {
            // Documents before it were sorted without knowing that this account is ours.
            let reason = "a section of a further account stands after documents";
            return Err(rejection("bad-structure", reason, place_of(section.line)));
        }
        // Documents before it were counted for the period of the file's head.
        let of_head = self.sections.iter().position(|before| before.line == 0 && before.account == section.account);
        if let Some(index) = of_head {
            let before = self.sections.remove(index);
            if !section.takes(&before) {
                let reason = "the section stands after documents, and its period is not that of the file's head";
                return Err(rejection("bad-structure", reason, place_of(section.line)));
            }
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
        if checked.sum_minor == 0 {
            return self.zero();
        }
        let id = self.document.id(own, credited.is_some(), &checked, day);
        let from_outside = credited.filter(|_| payer.is_none());
        if let Some(before) = self.seen.insert(id.clone(), self.document.line) {
            return self.repeated(account, day, before, from_outside.is_some());
        }
        self.count(&checked, credited, debited);
        match from_outside {
            Some((account, day)) if checked.sum_minor < 0 => self.take_back(id, account, day, &checked),
            Some((account, day)) => self.pay(id, account, day, &checked),
            None => Ok(()),
        }
    }

    /// A document of nothing changes no balance.
    fn zero(&mut self) -> Result<(), Rejection> {
        let found = rejection("zero-sum", "a document of nothing", self.document.place(Key::Sum));
        match self.settings.zero_sums {
            ZeroSums::LeftOut => self.output.leave_out(found),
            ZeroSums::Refused => return Err(found),
        }
        Ok(())
    }

    /// The same document again: one, as long as totals say so.
    fn repeated(&mut self, account: &str, day: Date, before: u64, is_payment: bool) -> Result<(), Rejection> {
        let line = self.document.line;
        if is_payment && self.settings.control != Control::Strict {
            let reason = format!(
                "the document is like that in line {before} in all fields, and no total tells whether it is another"
            );
            return Err(rejection("repeated-document", reason, place_of(line)));
        }
        self.repeat = self.repeat.or(Some((line, before)));
        self.warn_document(&format!("is that of line {before} again, counted once"));
        if let Some((section, _)) = self.section_of(account, day) {
            section.counts.repeated += 1;
        }
        Ok(())
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
        let payment = self.payment(account, day, checked)?;
        let purpose = self.document.purpose();
        let draft = match purpose::is_return(&purpose) {
            true => payment.returned(id, &purpose),
            false => payment.draft(id, self.found(), &purpose),
        };
        let received = draft.type_ == "payment.received.v1";
        self.output.emit(draft);
        if let Some((section, _)) = self.section_of(account, day) {
            section.counts.payments += u64::from(received);
            section.counts.rejected += u64::from(!received);
        }
        Ok(())
    }

    /// A negative sum: a credit that the bank takes back.
    fn take_back(&mut self, id: String, account: &str, day: Date, checked: &Checked) -> Result<(), Rejection> {
        let left_out = |reason: &str| rejection("negative-sum", reason, self.document.place(Key::Sum));
        let left_out = match (self.settings.negative_sums, self.found()) {
            (NegativeSums::Refused, _) => return Err(left_out("a document of a negative sum")),
            (NegativeSums::LeftOut, _) => left_out("a document of a negative sum"),
            (NegativeSums::Refunded, Found::One(customer)) => {
                let draft = self.payment(account, day, checked)?.taken_back(id, &customer);
                self.output.emit(draft);
                return Ok(());
            }
            (NegativeSums::Refunded, _) => left_out("money is taken back, and no single customer account is named"),
        };
        self.output.leave_out(left_out);
        Ok(())
    }

    fn found(&self) -> Found {
        self.settings.patterns.find_in(&self.document.purpose_lines(), &[self.document.text(Key::Code)])
    }

    fn payment<'p>(
        &'p self,
        account: &'p str,
        day: Date,
        checked: &'p Checked,
    ) -> Result<payment::Payment<'p>, Rejection> {
        let currency = self
            .settings
            .currency(account)
            .ok_or_else(|| unknown_currency(account, self.document.place(Key::ReceiverAccount)))?;
        let offset = self.settings.offset;
        Ok(payment::Payment { document: &self.document, checked, own_account: account, day, currency, offset })
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

    /// A total that does not fit may count twice what stands twice.
    fn with_repeat(&self, mut mismatch: Rejection) -> Rejection {
        if let Some((line, before)) = self.repeat {
            mismatch
                .reason
                .push_str(&format!("; the document in line {line} is that of line {before} again and counted once"));
        }
        mismatch
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
                section.check_totals().map_err(|mismatch| self.with_repeat(mismatch))?;
            }
            let currency = self.settings.currency(&section.account);
            let currency = currency.ok_or_else(|| unknown_currency(&section.account, section.account_place()))?;
            self.output.emit(section.draft(currency, self.settings.offset));
        }
        Ok(())
    }
}

fn unreadable(line: u64) -> Rejection {
    rejection("unreadable-line", "neither Ключ=Значение nor a section's end", place_of(line))
}

fn unknown_currency(account: &str, place: String) -> Rejection {
    let account = first_chars(account, 34);
    let reason = format!("digits 6 to 8 of {account} are no currency of ISO 4217, and the settings name none");
    rejection("unknown-currency", reason, place)
}

fn place_of(line: u64) -> String {
    format!("line {line}")
}

/// The day as the moment it began, which is all a statement says.
fn day_time(day: Date, offset: Offset) -> String {
    dates::rfc3339(dates::start_of_day(day), offset)
}

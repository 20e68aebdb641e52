//! Lines of a registry -> messages, by a profile. Pure: lines come in, drafts and warnings go out.

use std::collections::{BTreeSet, HashMap};

use busbar_sdk::encoding::{self, Encoding};
use busbar_sdk::money::{self, NegativeSums, ZeroSums};
use busbar_sdk::{Line, Lines, Rejection, Sink, ids, rejection};

use crate::profile::{self, LINE_VALUES, Records};
use crate::record::{self, Record, place};
use crate::settings::{SameLine, Settings};
use crate::template::Template;

#[cfg(test)]
mod identity;
#[cfg(test)]
mod tests;

/// What is remembered of each record, to tell repeats, is the only thing that grows with a file.
const RECORDS_MAX: u64 = 500_000;
/// Fields of one line.
const FIELDS_MAX: usize = 200;
/// Warnings of one file; further ones are only counted.
const WARNINGS_MAX: usize = 20;

/// Decodes a whole file.
///
/// # Errors
/// The first thing that makes the file unfit, with its place; the README lists the codes. What was emitted before
/// counts for nothing then.
pub fn decode(
    settings: &Settings,
    file_name: &str,
    lines: &mut Lines<impl FnMut(u32) -> Vec<u8>>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    if !settings.profile.states_days() {
        let reason = "files of this profile do not state the day of a record: it can only be written";
        return Err(rejection("encode-only", reason, "config, profile"));
    }
    let mut decoder = Decoder::new(settings, file_name, sink);
    while let Some(line) = lines.next_line()? {
        decoder.line(line)?;
    }
    decoder.end(lines.number())
}

/// A total as the file states it.
struct Stated {
    name: &'static str,
    text: String,
    line: u64,
}

struct Decoder<'a, S: Sink> {
    settings: &'a Settings,
    file_name: &'a str,
    sink: &'a mut S,
    /// The line in which each header and footer stood; 0 while it is missing.
    shell_lines: Vec<u64>,
    footer_line: u64,
    /// What the header says of all records.
    defaults: Vec<(&'a str, String)>,
    stated: Vec<Stated>,
    totals: record::Totals,
    /// How often a record of this digest has come, and in which line first.
    seen: HashMap<u64, (u32, u64)>,
    odd_encodings: Vec<Encoding>,
    unknown: BTreeSet<String>,
    warnings: usize,
    /// Of the lines left out.
    first_bad: Option<Rejection>,
}

impl<'a, S: Sink> Decoder<'a, S> {
    fn new(settings: &'a Settings, file_name: &'a str, sink: &'a mut S) -> Self {
        Self {
            settings,
            file_name,
            sink,
            shell_lines: vec![0; settings.profile.header.len() + settings.profile.footer.len()],
            footer_line: 0,
            defaults: Vec::new(),
            stated: Vec::new(),
            totals: record::Totals::default(),
            seen: HashMap::new(),
            odd_encodings: Vec::new(),
            unknown: BTreeSet::new(),
            warnings: 0,
            first_bad: None,
        }
    }

    fn line(&mut self, line: Line<'_>) -> Result<(), Rejection> {
        let profile = &self.settings.profile;
        let bytes = if line.number == 1 { encoding::without_bom(line.bytes) } else { line.bytes };
        let (text, found) = encoding::decode(bytes, profile.encoding);
        self.note_encoding(line.number, found);
        // DOS programs end a text with Ctrl-Z.
        let text = text.trim_matches(|c: char| (c.is_whitespace() && c != profile.delimiter) || c == '\u{1a}');
        if text.is_empty() || line.number <= profile.title_lines {
            return Ok(());
        }
        let shell = profile.header.iter().chain(&profile.footer).enumerate();
        if let Some((index, template)) = shell.into_iter().find(|(_, line)| is_shell(text, line, profile.delimiter)) {
            return self.shell_line(line.number, text, index, template);
        }
        if self.footer_line > 0 {
            let reason = format!("there is more after the footer of line {}", self.footer_line);
            return Err(rejection("data-after-end", reason, format!("line {}", line.number)));
        }
        self.record(line.number, text)
    }

    fn shell_line(&mut self, number: u64, text: &str, index: usize, template: &'a Template) -> Result<(), Rejection> {
        let wrong = |code: &str, reason: String| Err(rejection(code, reason, format!("line {number}")));
        let Some(values) = template.capture(text) else {
            return wrong("bad-header", format!("`{}` is not as the profile has it", excerpt(text)));
        };
        match self.shell_lines.get_mut(index) {
            Some(line) if *line > 0 => {
                return wrong("repeated-header", format!("stands in line {line} already"));
            }
            Some(line) => *line = number,
            None => {}
        }
        if index >= self.settings.profile.header.len() {
            self.footer_line = number;
        }
        for (name, value) in values {
            if let Some(name) = record::TOTALS.into_iter().find(|total| *total == name) {
                self.stated.push(Stated { name, text: value.to_owned(), line: number });
            } else if LINE_VALUES.contains(&name) {
                self.defaults.push((name, value.to_owned()));
            } else {
                self.check_constant(name, value, number)?;
            }
        }
        Ok(())
    }

    /// A constant that the settings name must be theirs: a file for another service is none for this system.
    fn check_constant(&self, name: &str, value: &str, line: u64) -> Result<(), Rejection> {
        match self.settings.values.get(name).filter(|wanted| *wanted != value) {
            Some(wanted) => {
                let reason = format!("{name} is `{}`, but the settings say `{wanted}`", excerpt(value));
                Err(rejection("wrong-value", reason, place(line, name)))
            }
            None => Ok(()),
        }
    }

    fn record(&mut self, number: u64, text: &str) -> Result<(), Rejection> {
        if self.totals.count >= RECORDS_MAX {
            let reason = format!("more than {RECORDS_MAX} records");
            return Err(rejection("too-many-records", reason, format!("line {number}")));
        }
        match self.one(number, text) {
            // Without a total nothing holds the lines together: each is for itself.
            Err(bad) if !self.settings.profile.states_totals() => {
                self.first_bad.get_or_insert_with(|| bad.clone());
                self.sink.leave_out(bad);
                Ok(())
            }
            done => done,
        }
    }

    fn one(&mut self, number: u64, text: &str) -> Result<(), Rejection> {
        let mut record = Record::at(number, self.defaults.clone());
        self.fields(&mut record, text)?;
        let checked = record.check(self.settings)?;
        self.totals.add(&checked);
        match self.settings.profile.records {
            Records::Balances => self.balance(&record, &checked),
            Records::Payments => self.payment(&record, &checked, text),
        }
    }

    fn balance(&mut self, record: &Record<'_>, checked: &record::Checked) -> Result<(), Rejection> {
        let draft = record.balance(checked, self.settings)?;
        let account = draft.subject.as_deref().unwrap_or_default();
        if let Some(before) = self.seen(&["balance", account], record.line).1 {
            let reason = format!("account {account} has a balance already, in line {before}");
            return Err(rejection("repeated-account", reason, place(record.line, "account")));
        }
        self.sink.emit(draft);
        Ok(())
    }

    /// The same for the same payment in any file.
    fn id(&mut self, record: &Record<'_>, checked: &record::Checked, text: &str) -> Result<String, Rejection> {
        let Some(operation) = record.text("operation") else {
            let file = match self.settings.same_line {
                SameLine::SamePayment => "",
                SameLine::NewInEachFile => self.file_name,
            };
            // The day stands in the header of some files.
            let day = checked.day_text();
            let (times, before) = self.seen(&["payment-registry", "line", &day, text], record.line);
            if let Some(before) = before {
                self.warn(&format!("line {}: the same as line {before}; taken as a further payment", record.line));
            }
            return Ok(ids::derived(&["payment-registry", "line", file, &day, text, &times.to_string()]));
        };
        // A number that comes twice in one file is none, unless it takes back what it paid. In another file it may be one of a day or
        // an office anew, for another account or sum.
        let (day, amount) = (checked.day_text(), money::format_minor(checked.amount_minor));
        let sign = checked.amount_minor.signum().to_string();
        if let Some(before) = self.seen(&["operation", operation, &day, &sign], record.line).1 {
            let reason = format!("operation {} stands in line {before} already", excerpt(operation));
            return Err(rejection("repeated-operation", reason, place(record.line, "operation")));
        }
        let account = record.text("account").unwrap_or_default();
        Ok(ids::derived(&["payment-registry", "operation", operation, &day, account, &amount]))
    }

    fn payment(&mut self, record: &Record<'_>, checked: &record::Checked, text: &str) -> Result<(), Rejection> {
        let id = self.id(record, checked, text)?;
        match checked.amount_minor {
            1.. => {
                let draft = record.payment(&id, checked, self.settings);
                self.sink.emit(draft);
            }
            0 if record.readings.is_empty() => self.zero(record)?,
            0 => {}
            _ => self.take_back(record, &id, checked)?,
        }
        match record.reading(&id, checked, self.settings) {
            Some(draft) => self.sink.emit(draft),
            None if !record.readings.is_empty() => {
                self.warn(&format!("line {}: readings without an account are left out", record.line));
            }
            None => {}
        }
        Ok(())
    }

    fn zero(&mut self, record: &Record<'_>) -> Result<(), Rejection> {
        let reason = "nothing was paid, and no meter was read";
        let found = rejection("zero-sum", reason, place(record.line, "amount"));
        match self.settings.zero_sums {
            ZeroSums::LeftOut => self.sink.leave_out(found),
            ZeroSums::Refused => return Err(found),
        }
        Ok(())
    }

    fn take_back(&mut self, record: &Record<'_>, id: &str, checked: &record::Checked) -> Result<(), Rejection> {
        let found = |reason: &str| rejection("negative-sum", reason, place(record.line, "amount"));
        let left_out = match (self.settings.negative_sums, record.refund(id, checked, self.settings)) {
            (NegativeSums::Refused, _) => return Err(found("a payment of a negative sum")),
            (NegativeSums::Refunded, Some(draft)) => {
                self.sink.emit(draft);
                return Ok(());
            }
            (NegativeSums::Refunded, None) => found("money is taken back, and no account is named"),
            (NegativeSums::LeftOut, _) => found("a payment of a negative sum"),
        };
        self.sink.leave_out(left_out);
        Ok(())
    }

    /// How often something like it came before, and in which line first.
    fn seen(&mut self, parts: &[&str], line: u64) -> (u32, Option<u64>) {
        let (times, first) = self.seen.entry(ids::derived_number(parts, u64::MAX)).or_insert((0, line));
        *times = times.saturating_add(1);
        (*times - 1, (*times > 1).then_some(*first))
    }

    fn fields(&mut self, record: &mut Record<'a>, text: &str) -> Result<(), Rejection> {
        let settings: &'a Settings = self.settings;
        let profile = &settings.profile;
        let mut columns = profile.columns.iter();
        let mut column = 0;
        for (index, field) in text.split(profile.delimiter).enumerate() {
            if index >= FIELDS_MAX {
                let reason = format!("a line has at most {FIELDS_MAX} fields");
                return Err(rejection("bad-columns", reason, format!("line {}", record.line)));
            }
            let field = field.trim();
            if let Some(template) = profile.keyed.iter().find(|keyed| starts_with(field, keyed.prefix())) {
                self.captured(record, template, field, template.prefix())?;
            } else if !profile.keyed.is_empty() && key_of(field).is_some() {
                self.unknown(record.line, key_of(field).unwrap_or_default());
            } else if let Some(template) = columns.next() {
                column += 1;
                // A column that only repeats values of the line, or means nothing, is written and not read.
                if !template.names().all(|name| record.has(name)) {
                    self.captured(record, template, field, &format!("column {column}"))?;
                }
            } else if !field.is_empty() {
                self.beyond_columns(record, field)?;
            }
        }
        if columns.next().is_some() {
            let reason = format!("a line has {} columns, this one only {column}", profile.columns.len());
            return Err(rejection("bad-columns", reason, format!("line {}", record.line)));
        }
        Ok(())
    }

    fn captured(
        &self,
        record: &mut Record<'a>,
        template: &'a Template,
        field: &str,
        what: &str,
    ) -> Result<(), Rejection> {
        let Some(values) = template.capture(field) else {
            // What stands there may be a name: it is not shown.
            let reason = "the field is not as the profile has it";
            return Err(rejection("bad-field", reason, place(record.line, what)));
        };
        let register = values.iter().find(|value| value.0 == "register").map(|value| value.1);
        for (name, value) in values {
            if let Some(fixed) = profile::register_of(name) {
                record.add_reading(register.unwrap_or(fixed), value)?;
            } else if name == "register" {
                continue;
            } else if LINE_VALUES.contains(&name) {
                record.set(name, value)?;
            } else {
                self.check_constant(name, value, record.line)?;
            }
        }
        Ok(())
    }

    fn beyond_columns(&mut self, record: &mut Record<'a>, field: &str) -> Result<(), Rejection> {
        let profile = &self.settings.profile;
        if profile.find_date && profile.date.day(field).is_some() {
            return record.set("paid-on", field);
        }
        if profile.find_date {
            self.unknown(record.line, "a field without a key beyond the columns");
            return Ok(());
        }
        let reason = format!("a field stands after the last of {} columns", profile.columns.len());
        Err(rejection("bad-columns", reason, format!("line {}", record.line)))
    }

    fn unknown(&mut self, line: u64, what: &str) {
        if self.unknown.len() < WARNINGS_MAX && self.unknown.insert(what.to_owned()) {
            self.warn(&format!("line {line}: {what} is not known to the profile, ignored"));
        }
    }

    fn note_encoding(&mut self, line: u64, found: Option<Encoding>) {
        let declared = self.settings.profile.encoding;
        if let Some(found) = found.filter(|found| *found != declared && !self.odd_encodings.contains(found)) {
            self.odd_encodings.push(found);
            self.warn(&format!("line {line}: {} although the profile says {}", found.name(), declared.name()));
        }
    }

    fn warn(&mut self, text: &str) {
        self.warnings += 1;
        if self.warnings <= WARNINGS_MAX {
            self.sink.warn(text);
        }
    }

    fn end(self, last_line: u64) -> Result<(), Rejection> {
        let profile = &self.settings.profile;
        let at_end = |code: &str, reason: String| Err(rejection(code, reason, format!("line {last_line}")));
        let missing = self.shell_lines.iter().position(|line| *line == 0);
        if let Some(index) = missing {
            let mut shell = profile.header.iter().chain(&profile.footer);
            let key = shell.nth(index).map_or("", |line| line.key(profile.delimiter));
            let in_header = index < profile.header.len();
            let code = if in_header { "missing-header" } else { "truncated" };
            return at_end(code, format!("the file has no line `{key}`"));
        }
        if self.shell_lines.is_empty() && self.totals.count == 0 {
            // Where no line is good, the file is another one than the profile says.
            return self.first_bad.map_or_else(|| at_end("empty-file", "the file has no records".to_owned()), Err);
        }
        for stated in &self.stated {
            let (counted, shown) = self.totals.of(stated.name);
            let is = if stated.name == "count" {
                stated.text.parse().ok()
            } else {
                money::parse_minor_written(&stated.text)
            };
            if is != Some(counted) {
                let code = if stated.name == "count" { "count-mismatch" } else { "total-mismatch" };
                let reason =
                    format!("the file states {} `{}`, its records make {shown}", stated.name, excerpt(&stated.text));
                return Err(rejection(code, reason, format!("line {}", stated.line)));
            }
        }
        if self.warnings > WARNINGS_MAX {
            self.sink.warn(&format!("{} further warnings are left out", self.warnings - WARNINGS_MAX));
        }
        Ok(())
    }
}

/// Whether a line begins as this header or footer does.
pub fn is_shell(text: &str, template: &Template, delimiter: char) -> bool {
    let key = template.key(delimiter);
    let after = text.get(key.len()..).and_then(|rest| rest.chars().next());
    let is_word = key.ends_with(char::is_alphanumeric);
    starts_with(text, key) && !(is_word && after.is_some_and(char::is_alphanumeric))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The key of `Key_1:value`, whether the profile knows it or not.
fn key_of(field: &str) -> Option<&str> {
    let (key, _) = field.split_once(':')?;
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(is_key)).then_some(key)
}

fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

//! Messages -> a registry, by a profile. Pure: messages come in, bytes go out.

use std::collections::HashMap;

use busbar_sdk::encoding::Encoding;
use busbar_sdk::money::{self, Money};
use busbar_sdk::{Failure, Message, Rejection, data_of, dates, ids, rejected, rejection};
use serde::Deserialize;
use time::{Date, Month, PrimitiveDateTime};

use crate::mapping::is_shell;
use crate::profile::Records;
use crate::settings::Settings;
use crate::template::Template;

#[cfg(test)]
mod tests;

/// Numbers of files have three digits in the only format that is known to number them.
const NUMBER_MAX: u32 = 999;
const LINE_END: &str = "\r\n";
/// Bytes handed to the host at once.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Balance {
    account: String,
    amount_due: Money,
    as_of_on: String,
    #[serde(default)]
    as_of_at: Option<String>,
    #[serde(default)]
    customer: Person,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    account: String,
    amount: Money,
    #[serde(default)]
    fee: Option<Money>,
    paid_on: String,
    #[serde(default)]
    paid_at: Option<String>,
    #[serde(default)]
    document: Option<Document>,
    #[serde(default)]
    invoice: Option<String>,
    #[serde(default)]
    payer: Person,
    #[serde(default)]
    purpose: Option<String>,
}

#[derive(Deserialize, Default)]
struct Person {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    address: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    number: String,
}

/// A record to be written.
struct Row {
    /// Which of the messages it is.
    index: usize,
    account: String,
    amount_minor: i128,
    fee_minor: i128,
    moment: PrimitiveDateTime,
    name: String,
    address: String,
    operation: String,
    invoice: String,
    purpose: String,
    /// To tell the newer of two balances of one account.
    age: String,
}

/// Everything a file needs, checked.
pub struct Registry {
    rows: Vec<Row>,
    /// The newest day of the records.
    day: Date,
    /// Of the file within its month, where the profile numbers files.
    pub number: String,
    /// Of the messages: the same messages make the same file name.
    id: String,
    /// Balances that a newer one of the same account replaces.
    pub left_out: usize,
}

/// Checks the messages and puts them together.
///
/// # Errors
/// A rejection at `/<index>…` names the message at fault.
pub fn registry(settings: &Settings, messages: &[Message]) -> Result<Registry, Failure> {
    let mut rows = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        rows.push(row(settings, index, message)?);
    }
    let count = rows.len();
    if settings.profile.records == Records::Balances {
        rows = newest(rows);
    }
    let days = rows.iter().map(|row| row.moment.date()).max();
    let day = days.ok_or_else(|| rejected("no-messages", "there is nothing to write", ""))?;
    let parts: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let id = ids::derived(&parts).chars().take(8).collect();
    let left_out = count - rows.len();
    let registry = Registry { rows, day, number: String::new(), id, left_out };
    for row in &registry.rows {
        registry.line(settings, row)?;
    }
    Ok(registry)
}

/// The number of the next file of `month`, after the state as it was: numbers begin anew each month.
///
/// # Errors
/// `numbers-used-up`.
pub fn next_number(state: Option<&[u8]>, month: &str) -> Result<String, Rejection> {
    let state = state.and_then(|state| std::str::from_utf8(state).ok()).unwrap_or_default();
    let last = state.split_once(':').filter(|(of, _)| *of == month).and_then(|(_, number)| number.parse().ok());
    match last.unwrap_or(0_u32) {
        last if last < NUMBER_MAX => Ok(format!("{:03}", last + 1)),
        _ => Err(rejection("numbers-used-up", format!("{NUMBER_MAX} files of {month} are written"), "")),
    }
}

impl Registry {
    /// `MMYY` of its day.
    pub fn month(&self) -> String {
        format!("{:02}{:02}", u8::from(self.day.month()), self.day.year().rem_euclid(100))
    }

    /// # Errors
    /// `bad-config` for a value that neither the settings nor the file knows.
    pub fn file_name(&self, settings: &Settings) -> Result<String, Rejection> {
        let name = self.shell(settings, &settings.profile.file_name)?;
        if name.is_empty() || name.starts_with('.') || name.contains(|c: char| c.is_control() || "/\\:".contains(c)) {
            let reason = format!("`{name}` is no name of a file");
            return Err(rejection("bad-config", reason, "config, profile, file-name"));
        }
        Ok(name)
    }

    /// Writes the whole file in chunks.
    ///
    /// # Errors
    /// `bad-config`; what concerns a message was checked by [`registry`].
    pub fn write(&self, settings: &Settings, mut output: impl FnMut(&[u8])) -> Result<(), Rejection> {
        let profile = &settings.profile;
        let mut chunk = Vec::new();
        let mut line = |text: &str| {
            chunk.extend_from_slice(&encoded(text, profile.encoding));
            chunk.extend_from_slice(LINE_END.as_bytes());
            if chunk.len() >= CHUNK_BYTES {
                output(&chunk);
                chunk.clear();
            }
        };
        for template in &profile.header {
            line(&self.shell(settings, template)?);
        }
        for row in &self.rows {
            line(&self.line(settings, row)?);
        }
        for template in &profile.footer {
            line(&self.shell(settings, template)?);
        }
        if !chunk.is_empty() {
            output(&chunk);
        }
        Ok(())
    }

    fn line(&self, settings: &Settings, row: &Row) -> Result<String, Rejection> {
        let profile = &settings.profile;
        let mut fields = Vec::new();
        for template in &profile.columns {
            fields.push(filled(settings, template, |name| row.value(settings, name))?);
        }
        for template in &profile.keyed {
            let field = filled(settings, template, |name| row.value(settings, name))?;
            // A key without a value says nothing, and a reading is a message of its own.
            if field.trim() != template.prefix().trim() {
                fields.push(field);
            }
        }
        if profile.find_date && !profile.reads("paid-on") {
            fields.push(profile.date.write(row.moment));
        }
        let line = fields.join(&profile.delimiter.to_string());
        let shell = profile.header.iter().chain(&profile.footer);
        if shell.into_iter().any(|template| is_shell(&line, template, profile.delimiter)) {
            let reason = "the line would be taken for the header or the footer";
            return Err(rejection("unwritable-value", reason, format!("/{}/data", row.index)));
        }
        Ok(line)
    }

    fn shell(&self, settings: &Settings, template: &Template) -> Result<String, Rejection> {
        filled(settings, template, |name| self.total(settings, name))
    }

    fn total(&self, settings: &Settings, name: &str) -> Option<String> {
        let sum = |of: fn(&Row) -> i128| Some(decimal(self.rows.iter().map(of).sum(), settings.profile.decimal));
        match name {
            "count" => Some(self.rows.len().to_string()),
            "sum" => sum(|row| row.amount_minor),
            "fees" => sum(|row| row.fee_minor),
            "net-sum" => sum(|row| row.amount_minor - row.fee_minor),
            "as-of-on" | "paid-on" => Some(settings.profile.date.write(dates::start_of_day(self.day))),
            "day" => Some(dates::iso_date(self.day).replace('-', "")),
            "mmyy" => Some(self.month()),
            "id" => Some(self.id.clone()),
            "number" => Some(self.number.clone()),
            _ => None,
        }
    }
}

impl Row {
    fn value(&self, settings: &Settings, name: &str) -> Option<String> {
        let profile = &settings.profile;
        let day = self.moment.date();
        let money = |minor: i128| Some(decimal(minor, profile.decimal));
        let of_day = |day: Date| Some(profile.date.write(dates::start_of_day(day)));
        match name {
            "account" => Some(self.account.clone()),
            "amount" => money(self.amount_minor),
            "fee" => money(self.fee_minor),
            "net" => money(self.amount_minor - self.fee_minor),
            "as-of-on" | "paid-on" => of_day(day),
            "paid-time" => Some(profile.time.write(self.moment)),
            "month-start" => of_day(day.replace_day(1).ok()?),
            "month-end" => of_day(month_end(day)?),
            "name" => Some(self.name.clone()),
            "address" => Some(self.address.clone()),
            "operation" => Some(self.operation.clone()),
            "invoice" => Some(self.invoice.clone()),
            "purpose" => Some(self.purpose.clone()),
            "register" | "reading" => Some(String::new()),
            _ => None,
        }
    }
}

fn row(settings: &Settings, index: usize, message: &Message) -> Result<Row, Failure> {
    let at = |failure: Failure| match failure {
        Failure::Rejected(found) => rejected(&found.code, found.reason, format!("/{index}/data")),
        other => other,
    };
    let row = match (settings.profile.records, message.type_.as_str()) {
        (Records::Balances, "account.balance.v1") => of_balance(index, data_of(message).map_err(at)?, settings)?,
        (Records::Payments, "payment.received.v1") => of_payment(index, data_of(message).map_err(at)?, settings)?,
        (_, other) => {
            let reason = format!("the profile's registry has no place for {other}");
            return Err(rejected("wrong-type", reason, format!("/{index}/type")));
        }
    };
    for (field, text) in [("account", &row.account), ("document/number", &row.operation), ("invoice", &row.invoice)] {
        let fits = text.chars().all(|c| c != settings.profile.delimiter && !c.is_control())
            && text.chars().all(|c| is_in(c, settings.profile.encoding));
        if !fits {
            let reason = "the value has a character that the registry cannot carry";
            return Err(rejected("unwritable-value", reason, format!("/{index}/data/{field}")));
        }
    }
    Ok(row)
}

fn of_balance(index: usize, data: Balance, settings: &Settings) -> Result<Row, Failure> {
    let day = day(index, "asOfOn", &data.as_of_on)?;
    Ok(Row {
        index,
        account: data.account,
        amount_minor: minor(index, "amountDue", &data.amount_due, settings)?,
        fee_minor: 0,
        moment: dates::start_of_day(day),
        name: plain(data.customer.name, settings),
        address: plain(data.customer.address, settings),
        operation: String::new(),
        invoice: String::new(),
        purpose: String::new(),
        age: format!("{} {}", data.as_of_on, data.as_of_at.unwrap_or_default()),
    })
}

fn of_payment(index: usize, data: Payment, settings: &Settings) -> Result<Row, Failure> {
    let day = day(index, "paidOn", &data.paid_on)?;
    let fee = data.fee.as_ref().map(|fee| minor(index, "fee", fee, settings)).transpose()?;
    // The time of day is that of the message's own offset.
    let time = data.paid_at.as_deref().and_then(|at| at.get(11..19)).and_then(|text| {
        dates::parse_russian_date_time(&format!("01.01.2000 {text}"), ' ').map(PrimitiveDateTime::time)
    });
    let midnight = dates::start_of_day(day);
    Ok(Row {
        index,
        account: data.account,
        amount_minor: minor(index, "amount", &data.amount, settings)?,
        fee_minor: fee.unwrap_or(0),
        moment: time.map_or(midnight, |time| midnight.replace_time(time)),
        name: plain(data.payer.name, settings),
        address: plain(data.payer.address, settings),
        operation: data.document.map(|document| document.number).unwrap_or_default(),
        invoice: data.invoice.unwrap_or_default(),
        purpose: plain(data.purpose, settings),
        age: String::new(),
    })
}

// Of several balances of one account the newest, in the order of the first ones.
fn newest(rows: Vec<Row>) -> Vec<Row> {
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    let mut by_account: HashMap<String, usize> = HashMap::new();
    for row in rows {
        match by_account.get(&row.account).and_then(|at| kept.get_mut(*at)) {
            Some(earlier) if row.age >= earlier.age => *earlier = row,
            Some(_) => {}
            None => {
                by_account.insert(row.account.clone(), kept.len());
                kept.push(row);
            }
        }
    }
    kept
}

fn day(index: usize, field: &str, text: &str) -> Result<Date, Failure> {
    dates::parse_iso_date(text)
        .ok_or_else(|| rejected("bad-date", format!("`{text}` is no day"), format!("/{index}/data/{field}")))
}

fn minor(index: usize, field: &str, money: &Money, settings: &Settings) -> Result<i128, Failure> {
    let wrong = |code: &str, reason: String| rejected(code, reason, format!("/{index}/data/{field}"));
    if money.currency != settings.currency {
        return Err(wrong(
            "wrong-currency",
            format!("a registry in {} cannot carry {}", settings.currency, money.currency),
        ));
    }
    money.minor().ok_or_else(|| wrong("bad-amount", format!("`{}` has parts of a kopeck", money.value)))
}

// A free text without what would break the line; a letter the encoding lacks becomes `?`.
fn plain(text: Option<String>, settings: &Settings) -> String {
    let profile = &settings.profile;
    let safe = |c: char| match c {
        _ if c == profile.delimiter || c.is_control() => ' ',
        _ if is_in(c, profile.encoding) => c,
        _ => '?',
    };
    text.unwrap_or_default().chars().map(safe).collect::<String>().trim().to_owned()
}

fn is_in(c: char, encoding: Encoding) -> bool {
    c.is_ascii() || !encoded(c.encode_utf8(&mut [0; 4]), encoding).starts_with(b"&#")
}

fn encoded(text: &str, encoding: Encoding) -> std::borrow::Cow<'_, [u8]> {
    encoding.encode(text)
}

fn month_end(day: Date) -> Option<Date> {
    let next = match day.month() {
        Month::December => Date::from_calendar_date(day.year() + 1, Month::January, 1),
        month => Date::from_calendar_date(day.year(), month.next(), 1),
    };
    next.ok()?.previous_day()
}

fn decimal(minor: i128, point: char) -> String {
    money::format_minor(minor).replace('.', point.encode_utf8(&mut [0; 4]))
}

fn filled(
    settings: &Settings,
    template: &Template,
    value: impl Fn(&str) -> Option<String>,
) -> Result<String, Rejection> {
    template.fill(|name| value(name).or_else(|| settings.values.get(name).cloned())).map_err(|name| {
        let reason = format!("the profile writes {{{name}}}, which the settings do not name");
        rejection("bad-config", reason, "config, values")
    })
}

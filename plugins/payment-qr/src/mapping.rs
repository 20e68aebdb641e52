//! Invoices to codes, and codes to links and readings.

use std::collections::BTreeMap;

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::decimal::Decimal;
use busbar_sdk::encoding;
use busbar_sdk::money::Money;
use busbar_sdk::{Draft, Failure, Hub, Lines, Rejection, ids, rejected, rejection};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::Date;

use crate::code::{self, Code, CodeEncoding};

#[cfg(test)]
mod tests;

const NUMBER_CHARS_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 160;
/// Digits of Sum, in kopecks.
const SUM_DIGITS_MAX: usize = 15;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    payee: Option<Payee>,
    #[serde(default)]
    encoding: CodeEncoding,
    #[serde(default = "default_purpose")]
    purpose: String,
    #[serde(default)]
    further: BTreeMap<String, String>,
    #[serde(default = "default_account_key")]
    account_key: String,
    #[serde(default)]
    control: Control,
    utc_offset: Option<Offset>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Payee {
    name: String,
    account: String,
    bank_name: String,
    bic: String,
    #[serde(default = "zero")]
    correspondent_account: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Control {
    #[default]
    Strict,
    Off,
}

fn default_purpose() -> String {
    "ЛС: {account}, счёт {invoice}".to_owned()
}

fn default_account_key() -> String {
    "PersAcc".to_owned()
}

fn zero() -> String {
    "0".to_owned()
}

/// The data of invoice.issued.v1 as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    account: String,
    number: String,
    issued_on: String,
    period: Option<Period>,
    amount: Money,
}

#[derive(Deserialize)]
struct Period {
    start: String,
    end: String,
}

/// The link of an invoice; nothing where there is nothing to pay.
///
/// # Errors
/// `bad-config`, `bad-amount`, `bad-currency`, and those of [`code::write`].
pub fn link(settings: &Settings, invoice: &Invoice) -> Result<Option<Draft>, Failure> {
    let payee = settings.payee.as_ref().ok_or_else(|| rejected("bad-config", "no payee is set", "config, payee"))?;
    if invoice.amount.currency != "RUB" {
        return Err(rejected("bad-currency", "such a code is payable in roubles only", "/data/amount/currency"));
    }
    let minor = invoice.amount.minor();
    let minor = minor.ok_or_else(|| rejected("bad-amount", "the sum has parts of a kopeck", "/data/amount/value"))?;
    if minor <= 0 {
        return Ok(None);
    }
    let sum = minor.to_string();
    let purpose = settings.purpose.replace("{account}", &invoice.account).replace("{invoice}", &invoice.number);
    let month = invoice.period.as_ref().and_then(month).unwrap_or_default();
    let day = dates::parse_iso_date(&invoice.issued_on).map(dates::russian_date).unwrap_or_default();
    // The standard wants the five details of the payee first, in this order.
    let mut pairs = vec![
        ("Name", payee.name.as_str()),
        ("PersonalAcc", &payee.account),
        ("BankName", &payee.bank_name),
        ("BIC", &payee.bic),
        ("CorrespAcc", &payee.correspondent_account),
        ("Sum", &sum),
        ("Purpose", &purpose),
        (&settings.account_key, &invoice.account),
        ("PaymPeriod", &month),
        ("QuittId", &invoice.number),
        ("QuittDate", &day),
    ];
    pairs.extend(settings.further.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let is_written =
        |index: usize, key: &str| pairs.iter().take(index).any(|(other, _)| other.eq_ignore_ascii_case(key));
    if let Some((_, (key, _))) = pairs.iter().enumerate().find(|(index, (key, _))| is_written(*index, key)) {
        return Err(rejected("bad-config", format!("{key} would be written twice"), "config, further"));
    }
    let text = code::write(settings.encoding, &pairs)?;
    let facts = Facts {
        account: &invoice.account,
        invoice: Some(&invoice.number),
        minor: Some(minor),
        payee: Some(payee.name.trim()),
    };
    Ok(Some(facts.draft(&text)))
}

/// `10.2026`, where the period is within one month.
fn month(period: &Period) -> Option<String> {
    let (start, end) = (dates::parse_iso_date(&period.start)?, dates::parse_iso_date(&period.end)?);
    let is_one = (start.year(), start.month()) == (end.year(), end.month());
    is_one.then(|| format!("{:02}.{}", u8::from(start.month()), start.year()))
}

/// What a link says besides its text.
struct Facts<'a> {
    account: &'a str,
    invoice: Option<&'a str>,
    minor: Option<i128>,
    payee: Option<&'a str>,
}

impl Facts<'_> {
    /// `payment.link.issued.v1`: the text is what makes it itself.
    fn draft(&self, text: &str) -> Draft {
        let mut data = Map::new();
        data.insert("account".to_owned(), self.account.into());
        if let Some(invoice) = self.invoice {
            data.insert("invoice".to_owned(), invoice.into());
        }
        if let Some(minor) = self.minor {
            data.insert("amount".to_owned(), json!(Money::of_minor(minor, "RUB")));
        }
        data.insert("qr".to_owned(), text.into());
        let mut issuer = json!({ "kind": "payee" });
        if let (Some(name), Some(issuer)) = (self.payee, issuer.as_object_mut()) {
            issuer.insert("name".to_owned(), name.into());
        }
        data.insert("issuer".to_owned(), issuer);
        let id = ids::derived(&["payment-qr", "link", text]);
        Draft {
            subject: Some(self.account.to_owned()),
            ..busbar_sdk::draft(id, "payment.link.issued.v1", Value::Object(data).to_string())
        }
    }
}

/// A file of codes, one on each line.
///
/// # Errors
/// Those of [`Code::parse`], `missing-field`, `bad-field`, `no-codes`.
pub fn decode<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    lines: &mut Lines<R>,
    hub: &mut impl Hub,
) -> Result<(), Rejection> {
    let mut codes = 0_u64;
    let mut first_bad = None;
    while let Some(line) = lines.next_line()? {
        let number = line.number;
        let bytes = if number == 1 { encoding::without_bom(line.bytes) } else { line.bytes };
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match one(settings, bytes, number, hub) {
            Ok(drafts) => {
                drafts.into_iter().for_each(|draft| hub.emit(draft));
                codes += 1;
            }
            // Codes have nothing to do with each other.
            Err(bad) => {
                first_bad.get_or_insert_with(|| bad.clone());
                hub.leave_out(bad);
            }
        }
    }
    match (codes, first_bad) {
        (0, Some(bad)) => Err(bad),
        (0, None) => Err(rejection("no-codes", "the file is empty", "")),
        _ => Ok(()),
    }
}

/// The link of a code, and its reading where it has one.
fn one(settings: &Settings, bytes: &[u8], line: u64, hub: &mut impl Hub) -> Result<Vec<Draft>, Rejection> {
    let code = Code::parse(bytes, line)?;
    if let Some(real) = code.misdeclared {
        hub.warn(&format!("line {line}: the text is in {}, whatever its head says", real.name()));
    }
    if code.is_misread {
        hub.warn(&format!("line {line}: the scanner read the text as western European; it is read back"));
    }
    let reader = Reader { settings, code: &code, line };
    let mut drafts = vec![reader.link()?];
    drafts.extend(reader.reading(hub)?);
    Ok(drafts)
}

struct Reader<'a> {
    settings: &'a Settings,
    code: &'a Code,
    line: u64,
}

impl Reader<'_> {
    fn link(&self) -> Result<Draft, Rejection> {
        self.payee()?;
        let sum =
            self.checked("Sum", "no whole number of kopecks", |text| text.len() <= SUM_DIGITS_MAX && is_number(text))?;
        let facts = Facts {
            account: self.account()?,
            invoice: self.checked("QuittId", "longer than 64 characters", is_short)?,
            // A sum of 0 is how some write that the payer says how much.
            minor: sum.and_then(|text| text.parse().ok()).filter(|minor| *minor > 0),
            payee: self.code.field("Name"),
        };
        Ok(Draft { place: Some(format!("line {}", self.line)), ..facts.draft(&self.code.text) })
    }

    /// The standard's five details.
    fn payee(&self) -> Result<(), Rejection> {
        let name = |text: &str| text.chars().count() <= NAME_CHARS_MAX;
        let found = [
            ("Name", self.checked("Name", "longer than 160 characters", name)?),
            ("PersonalAcc", self.checked("PersonalAcc", "no 20 digits", |text| text.len() == 20 && is_number(text))?),
            ("BankName", self.checked("BankName", "longer than 160 characters", name)?),
            ("BIC", self.checked("BIC", "no 9 digits", |text| text.len() == 9 && is_number(text))?),
            (
                "CorrespAcc",
                self.checked("CorrespAcc", "neither 0 nor 20 digits", |text| {
                    text == "0" || (text.len() == 20 && is_number(text))
                })?,
            ),
        ];
        match found.iter().find(|(_, value)| value.is_none()) {
            Some((key, _)) if self.settings.control == Control::Strict => Err(self.missing(key)),
            _ => Ok(()),
        }
    }

    /// `meter.reading.taken.v1`, where the code names a reading.
    fn reading(&self, hub: &impl Hub) -> Result<Option<Draft>, Rejection> {
        let Some(text) = self.code.field("CounterVal") else { return Ok(None) };
        let value = Decimal::parse(text).filter(|value| !value.is_negative()).and_then(Decimal::canonical);
        let value = value.ok_or_else(|| self.bad("CounterVal", "no reading of a meter"))?;
        let account = self.account()?;
        let mut data = json!({
            "account": account,
            "takenOn": dates::iso_date(self.day(hub)?),
            "origin": "customer",
            "registers": [{ "quantity": "active-energy-forward", "unit": "kWh", "value": value }],
        });
        let meter = self.checked("CounterId", "longer than 64 characters", is_short)?;
        if let (Some(meter), Some(data)) = (meter, data.as_object_mut()) {
            data.insert("meter".to_owned(), json!({ "serialNumber": meter }));
        }
        let id = ids::derived(&["payment-qr", "reading", &self.code.text]);
        Ok(Some(Draft {
            subject: Some(account.to_owned()),
            place: Some(format!("line {}", self.line)),
            ..busbar_sdk::draft(id, "meter.reading.taken.v1", data.to_string())
        }))
    }

    /// The bill's day, or today: a code has no day of its reading.
    fn day(&self, hub: &impl Hub) -> Result<Date, Rejection> {
        match self.code.field("QuittDate") {
            Some(text) => dates::parse_russian_date(text).ok_or_else(|| self.bad("QuittDate", "no day")),
            None => {
                let offset = self.settings.utc_offset.unwrap_or(Offset::MOSCOW);
                let now = dates::local_of_unix_ms(hub.now_ms(), offset).map(|now| now.date());
                now.ok_or_else(|| rejection("bad-field", "the clock is beyond the calendar", ""))
            }
        }
    }

    fn account(&self) -> Result<&str, Rejection> {
        let key = &self.settings.account_key;
        let found = self.checked(key, "longer than 64 characters, or has blanks", |text| {
            is_short(text) && !text.contains(char::is_whitespace)
        })?;
        found.ok_or_else(|| self.missing(key))
    }

    fn checked(&self, key: &str, fault: &str, is_good: impl Fn(&str) -> bool) -> Result<Option<&str>, Rejection> {
        match self.code.field(key) {
            Some(value) if !is_good(value) => Err(self.bad(key, fault)),
            value => Ok(value),
        }
    }

    fn missing(&self, key: &str) -> Rejection {
        rejection("missing-field", format!("{key} is not stated"), format!("line {}, field {key}", self.line))
    }

    fn bad(&self, key: &str, fault: &str) -> Rejection {
        rejection("bad-field", format!("{key} is {fault}"), format!("line {}, field {key}", self.line))
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_short(text: &str) -> bool {
    text.chars().count() <= NUMBER_CHARS_MAX
}

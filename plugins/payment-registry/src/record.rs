//! One line of a registry: its values, checked, and the messages it becomes.

use busbar_sdk::decimal::Decimal;
use busbar_sdk::texts::is_plain;
use busbar_sdk::{Draft, Rejection, dates, ids, money, money::Money, rejection};
use serde_json::{Map, Value, json};
use time::{Date, PrimitiveDateTime};

use crate::profile::Records;
use crate::settings::Settings;

/// Characters of a free text that a message carries; more is cut off.
const NAME_CHARS: usize = 500;
const PURPOSE_CHARS: usize = 1000;
/// Characters of a number; more is a mistake.
const NUMBER_CHARS: usize = 64;
/// Registers of one line.
const READINGS_MAX: usize = 50;
const REGISTER_CHARS: usize = 40;

/// Totals that a header or footer may state.
pub const TOTALS: [&str; 4] = ["count", "sum", "fees", "net-sum"];

/// `line 12, field amount`.
pub fn place(line: u64, field: &str) -> String {
    format!("line {line}, field {field}")
}

/// What the records make in all, in hundredths.
#[derive(Default)]
pub struct Totals {
    pub count: u64,
    sum_minor: i128,
    fees_minor: i128,
}

impl Totals {
    pub fn add(&mut self, checked: &Checked) {
        self.count += 1;
        self.sum_minor += checked.amount_minor;
        self.fees_minor += checked.fee_minor.unwrap_or(0);
    }

    /// A total of [`TOTALS`], and how to show it.
    pub fn of(&self, name: &str) -> (i128, String) {
        let minor = match name {
            "count" => return (i128::from(self.count), self.count.to_string()),
            "fees" => self.fees_minor,
            "net-sum" => self.sum_minor - self.fees_minor,
            _ => self.sum_minor,
        };
        (minor, money::format_minor(minor))
    }
}

/// The values of a line as they stand.
pub struct Record<'a> {
    pub line: u64,
    values: Vec<(&'a str, String)>,
    defaults: Vec<(&'a str, String)>,
    /// Registers and what they show.
    pub readings: Vec<(String, String)>,
}

/// The sum and the day of a record.
pub struct Checked {
    pub amount_minor: i128,
    pub fee_minor: Option<i128>,
    pub day: Date,
    pub moment: Option<PrimitiveDateTime>,
}

impl Checked {
    pub fn day_text(&self) -> String {
        dates::iso_date(self.day)
    }
}

impl<'a> Record<'a> {
    /// `defaults`: what the header says of all records.
    pub fn at(line: u64, defaults: Vec<(&'a str, String)>) -> Self {
        Self { line, values: Vec::new(), defaults, readings: Vec::new() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|value| value.0 == name)
    }

    /// # Errors
    /// `repeated-field` when it has another value already.
    pub fn set(&mut self, name: &'a str, text: &str) -> Result<(), Rejection> {
        match self.values.iter().find(|value| value.0 == name) {
            Some((_, value)) if value != text => {
                let reason = format!("{name} stands twice in one line, with different values");
                Err(rejection("repeated-field", reason, place(self.line, name)))
            }
            Some(_) => Ok(()),
            None => {
                self.values.push((name, text.to_owned()));
                Ok(())
            }
        }
    }

    /// The value, where the line or the header has one that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut found = self.values.iter().chain(&self.defaults).filter(|value| value.0 == name && !value.1.is_empty());
        found.next().map(|value| value.1.as_str())
    }

    /// A register without a value was not read.
    ///
    /// # Errors
    /// `bad-reading`, `repeated-field`.
    pub fn add_reading(&mut self, register: &str, value: &str) -> Result<(), Rejection> {
        if value.is_empty() {
            return Ok(());
        }
        let field = format!("reading {}", register.chars().take(REGISTER_CHARS).collect::<String>());
        let wrong = |code: &str, reason: &str| Err(rejection(code, reason, place(self.line, &field)));
        if register.is_empty() || register.chars().count() > REGISTER_CHARS || self.readings.len() >= READINGS_MAX {
            return wrong(
                "bad-reading",
                "a register has a number of at most 40 characters, a line at most 50 registers",
            );
        }
        if self.readings.iter().any(|reading| reading.0 == register) {
            return wrong("repeated-field", "the register stands twice in one line");
        }
        let shown = Decimal::parse(value).filter(|shown| !shown.is_negative()).and_then(Decimal::canonical);
        let Some(shown) = shown else {
            return wrong("bad-reading", "what a register shows is no number of at most 15 digits and 6 decimals");
        };
        self.readings.push((register.to_owned(), shown));
        Ok(())
    }

    /// # Errors
    /// `missing-field`, `bad-amount`, `bad-date`, `bad-time`, `field-too-long` with the place.
    pub fn check(&self, settings: &Settings) -> Result<Checked, Rejection> {
        let profile = &settings.profile;
        let balances = profile.records == Records::Balances;
        let amount_minor = self.minor("amount")?.ok_or_else(|| self.missing("amount"))?;
        let fee_minor = self.minor("fee")?;
        // What is taken back has its fee taken back.
        if !balances && fee_minor.is_some_and(|fee| fee * amount_minor.signum() < 0) {
            return Err(rejection("bad-amount", "the fee has another sign than the sum", place(self.line, "fee")));
        }
        if let Some(net) = self.minor("net")?.filter(|net| *net != amount_minor - fee_minor.unwrap_or(0)) {
            let reason = format!("the sum less the fee is not {}", money::format_minor(net));
            return Err(rejection("bad-amount", reason, place(self.line, "net")));
        }
        let day_name = if balances { "as-of-on" } else { "paid-on" };
        let day_text = self.text(day_name).ok_or_else(|| self.missing(day_name))?;
        let day = profile.date.day(day_text).ok_or_else(|| {
            let shown: String = day_text.chars().take(40).collect();
            rejection("bad-date", format!("`{shown}` is no day as the profile writes it"), place(self.line, day_name))
        })?;
        let moment = match self.text("paid-time") {
            Some(text) => Some(profile.time.time(day, text).ok_or_else(|| {
                rejection("bad-time", "no time as the profile writes it", place(self.line, "paid-time"))
            })?),
            None => None,
        };
        for name in ["operation", "invoice"] {
            if self.text(name).is_some_and(|text| text.chars().count() > NUMBER_CHARS) {
                let reason = format!("a number has at most {NUMBER_CHARS} characters");
                return Err(rejection("field-too-long", reason, place(self.line, name)));
            }
        }
        Ok(Checked { amount_minor, fee_minor, day, moment })
    }

    fn minor(&self, name: &str) -> Result<Option<i128>, Rejection> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let minor = money::parse_minor_written(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            rejection("bad-amount", format!("`{shown}` is no sum in roubles and kopecks"), place(self.line, name))
        })?;
        Ok(Some(minor))
    }

    fn missing(&self, name: &str) -> Rejection {
        rejection("missing-field", format!("the record has no {name}"), place(self.line, name))
    }

    /// The account, where the line names one that can be one.
    pub fn account(&self) -> Option<&str> {
        let can_be_one =
            |text: &&str| text.chars().count() <= NUMBER_CHARS && !text.contains(char::is_whitespace) && is_plain(text);
        self.text("account").filter(can_be_one)
    }

    /// `payment.received.v1`, or `payment.rejected.v1` where the line names no account.
    pub fn payment(&self, id: &str, checked: &Checked, settings: &Settings) -> Draft {
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(key.to_owned(), value);
            }
        };
        let account = self.account();
        let money = |minor: i128| json!(Money::of_minor(minor, &settings.currency));
        put("account", account.map(Value::from));
        put("amount", Some(money(checked.amount_minor)));
        put("fee", checked.fee_minor.map(money));
        put("channel", Some("bank-registry".into()));
        put("paidOn", Some(checked.day_text().into()));
        put("paidAt", checked.moment.map(|moment| dates::rfc3339(moment, settings.offset).into()));
        put("document", self.text("operation").map(|number| json!({ "number": number })));
        put("invoice", self.text("invoice").map(Value::from));
        put("payer", self.text("name").map(|name| json!({ "name": first_chars(name, NAME_CHARS) })));
        put("purpose", self.text("purpose").map(|text| first_chars(text, PURPOSE_CHARS).into()));
        if account.is_none() {
            let (code, text) = match self.text("account") {
                None => ("no-account", "the line names no account"),
                Some(_) => ("bad-account", "what the line names is no account number"),
            };
            put("reason", Some(json!({ "code": code, "text": text })));
        }
        let r#type = if account.is_some() { "payment.received.v1" } else { "payment.rejected.v1" };
        let subject = account.or_else(|| self.text("operation").filter(|text| is_plain(text))).map(str::to_owned);
        self.draft(id.to_owned(), r#type, subject, Value::Object(data), checked, settings)
    }

    /// `payment.refunded.v1` of a negative sum, where the line names an account.
    pub fn refund(&self, id: &str, checked: &Checked, settings: &Settings) -> Option<Draft> {
        let account = self.account()?;
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(key.to_owned(), value);
            }
        };
        put("account", Some(account.into()));
        put("amount", Some(json!(Money::of_minor(-checked.amount_minor, &settings.currency))));
        put("channel", Some("bank-registry".into()));
        put("refundedOn", Some(checked.day_text().into()));
        put("refundedAt", checked.moment.map(|moment| dates::rfc3339(moment, settings.offset).into()));
        put("reason", Some(json!({ "code": "reversal" })));
        put("document", self.text("operation").map(|number| json!({ "number": number })));
        put("payee", self.text("name").map(|name| json!({ "name": first_chars(name, NAME_CHARS) })));
        let (subject, data) = (Some(account.to_owned()), Value::Object(data));
        Some(self.draft(id.to_owned(), "payment.refunded.v1", subject, data, checked, settings))
    }

    /// `meter.reading.taken.v1`, where the line has readings and an account.
    pub fn reading(&self, id: &str, checked: &Checked, settings: &Settings) -> Option<Draft> {
        let account = self.account().filter(|_| !self.readings.is_empty())?;
        let registers: Vec<Value> = self
            .readings
            .iter()
            .map(|(register, value)| {
                let mut data = json!({
                    "register": register,
                    "quantity": "active-energy-forward",
                    "unit": "kWh",
                    "value": value,
                });
                if let (Some(data), Some(zone)) = (data.as_object_mut(), settings.zones.get(register)) {
                    data.insert("tariffZone".to_owned(), zone.as_str().into());
                }
                data
            })
            .collect();
        let mut data = json!({
            "account": account,
            "takenOn": checked.day_text(),
            "origin": "bank-registry",
            "registers": registers,
        });
        if let (Some(data), Some(moment)) = (data.as_object_mut(), checked.moment) {
            data.insert("takenAt".to_owned(), dates::rfc3339(moment, settings.offset).into());
        }
        let id = ids::derived(&["readings", id]);
        let subject = Some(account.to_owned());
        Some(self.draft(id, "meter.reading.taken.v1", subject, data, checked, settings))
    }

    /// `account.balance.v1`.
    ///
    /// # Errors
    /// `missing-field` without an account.
    pub fn balance(&self, checked: &Checked, settings: &Settings) -> Result<Draft, Rejection> {
        let account = self.account().ok_or_else(|| self.missing("account"))?;
        let amount = Money::of_minor(checked.amount_minor, &settings.currency);
        let day = checked.day_text();
        let id = ids::derived(&["payment-registry", "balance", account, &day, &amount.value]);
        let mut data = json!({ "account": account, "amountDue": amount, "asOfOn": day });
        let mut customer = Map::new();
        for (key, name) in [("name", "name"), ("address", "address")] {
            if let Some(text) = self.text(name) {
                customer.insert(key.to_owned(), first_chars(text, NAME_CHARS).into());
            }
        }
        if let (Some(data), false) = (data.as_object_mut(), customer.is_empty()) {
            data.insert("customer".to_owned(), Value::Object(customer));
        }
        Ok(self.draft(id, "account.balance.v1", Some(account.to_owned()), data, checked, settings))
    }

    fn draft(
        &self,
        id: String,
        r#type: &str,
        subject: Option<String>,
        data: Value,
        checked: &Checked,
        settings: &Settings,
    ) -> Draft {
        let moment = checked.moment.unwrap_or_else(|| dates::start_of_day(checked.day));
        Draft {
            subject,
            time: Some(dates::rfc3339(moment, settings.offset)),
            place: Some(format!("line {}", self.line)),
            ..busbar_sdk::draft(id, r#type, data.to_string())
        }
    }
}

fn first_chars(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

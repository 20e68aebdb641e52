//! A statement (camt.053 `Stmt`) or a notification (camt.054 `Ntfctn`): its account, balances and totals, and the entries
//! counted against them.

use busbar_sdk::money::Money;
use busbar_sdk::texts::is_plain;
use busbar_sdk::{Control, Draft, Rejection, dates, ids, rejection};
use serde_json::{Value, json};
use time::Date;

use crate::amount::{self, Amount};
use crate::leaves::{Leaves, Moment, excerpt};

/// Balances of one statement; the standard has a dozen kinds.
const BALANCES_MAX: usize = 100;

/// A balance by its code (`OPBD`, `CLBD`, …), negative where it is a debit.
struct Balance {
    code: String,
    amount: Amount,
    day: Option<Date>,
    place: String,
}

/// `TtlCdtNtries`, `TtlDbtNtries` or `TtlNtries`.
#[derive(Default)]
struct Total {
    count: Option<u64>,
    units: Option<i128>,
    place: String,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub incoming: u64,
    pub outgoing: u64,
    pub internal: u64,
    pub pending: u64,
    pub repeated: u64,
    pub received: u64,
    pub rejected: u64,
}

#[derive(Default)]
pub struct Statement {
    pub line: u64,
    place: String,
    is_notification: bool,
    pub number: String,
    pub account: String,
    page: String,
    /// Of the bank that holds it.
    pub bic: String,
    pub created: Option<Moment>,
    period: (Option<Date>, Option<Date>),
    is_first_page: bool,
    is_last_page: bool,
    balances: Vec<Balance>,
    credits: Total,
    debits: Total,
    all: Total,
    pub counts: Counts,
    booked: [Booked; 2],
    /// The first entry in another currency than those before it.
    odd_currency: Option<String>,
    currency: Option<String>,
}

#[derive(Default)]
struct Booked {
    count: u64,
    units: i128,
}

impl Statement {
    pub fn at(line: u64, place: String, is_notification: bool) -> Self {
        Self { line, place, is_notification, is_first_page: true, is_last_page: true, ..Self::default() }
    }

    pub fn is_notification(&self) -> bool {
        self.is_notification
    }

    /// What tells it from others of its message: its account, number and page.
    pub fn name(&self) -> (String, String) {
        (self.account.clone(), format!("{} {}", self.number, self.page))
    }

    /// # Errors
    /// `missing-field` without a number.
    pub fn set_account(&mut self, part: &Leaves) -> Result<(), Rejection> {
        let account = part.text(&["Id/IBAN", "Id/Othr/Id", "Id/PrtryAcct/Id"]);
        if account.is_empty() || account.chars().count() > 34 || !is_plain(account) {
            let reason = "the account has no number of at most 34 characters, none of them a control character";
            return Err(rejection("missing-field", reason, part.place(&[])));
        }
        account.clone_into(&mut self.account);
        self.bic = bic(part, "Svcr/FinInstnId");
        Ok(())
    }

    pub fn set_period(&mut self, part: &Leaves) -> Result<(), Rejection> {
        let day = |paths: &[&str]| Ok::<_, Rejection>(part.moment(paths)?.map(|moment| moment.day));
        self.period = (day(&["FrDtTm", "FrDt"])?, day(&["ToDtTm", "ToDt"])?);
        Ok(())
    }

    /// # Errors
    /// `bad-structure` where `LastPgInd` is no boolean of XML Schema.
    pub fn set_page(&mut self, part: &Leaves) -> Result<(), Rejection> {
        part.text(&["PgNb"]).clone_into(&mut self.page);
        self.is_first_page = matches!(self.page.as_str(), "" | "1");
        self.is_last_page = match part.text(&["LastPgInd"]) {
            "" | "true" | "1" => true,
            "false" | "0" => false,
            other => return Err(bad_code(part, "LastPgInd", other, "neither true nor false")),
        };
        Ok(())
    }

    /// # Errors
    /// `missing-field`, `bad-amount`, `bad-date` with the place.
    pub fn add_balance(&mut self, part: &Leaves) -> Result<(), Rejection> {
        if self.balances.len() >= BALANCES_MAX {
            let reason = format!("a statement has at most {BALANCES_MAX} balances");
            return Err(rejection("xml-limit", reason, part.place(&[])));
        }
        let missing = |what: &str| rejection("missing-field", format!("a balance has no {what}"), part.place(&[]));
        let mut amount = part.amount(&["Amt"])?.ok_or_else(|| missing("Amt"))?;
        if *debits(part, "CdtDbtInd")?.first().ok_or_else(|| missing("CdtDbtInd"))? {
            amount.units = -amount.units;
        }
        let code = part.text(&["Tp/CdOrPrtry/Cd", "Tp/CdOrPrtry/Prtry"]).to_owned();
        let day = part.moment(&["Dt/Dt", "Dt/DtTm"])?.map(|moment| moment.day);
        self.balances.push(Balance { code, amount, day, place: part.place(&["Amt"]) });
        Ok(())
    }

    /// # Errors
    /// `bad-amount` with the place.
    pub fn set_totals(&mut self, part: &Leaves) -> Result<(), Rejection> {
        self.credits = total(part, "TtlCdtNtries")?;
        self.debits = total(part, "TtlDbtNtries")?;
        self.all = total(part, "TtlNtries")?;
        Ok(())
    }

    /// A booked entry.
    pub fn count(&mut self, amount: &Amount, credit: bool, place: &str) {
        let [credits, debits] = &mut self.booked;
        let side = if credit { credits } else { debits };
        side.count += 1;
        side.units += amount.units;
        match &self.currency {
            None => self.currency = Some(amount.currency.clone()),
            Some(currency) if *currency != amount.currency && self.odd_currency.is_none() => {
                self.odd_currency = Some(place.to_owned());
            }
            Some(_) => {}
        }
    }

    /// At its end.
    ///
    /// # Errors
    /// `missing-field`, `wrong-currency`, `balance-mismatch`, `total-mismatch`, `count-mismatch`, `bad-period`.
    pub fn close(&self, control: Control) -> Result<(), Rejection> {
        if control == Control::Off {
            return Ok(());
        }
        if control == Control::Strict {
            self.check_totals()?;
        }
        if self.is_notification {
            return Ok(());
        }
        let needed = |balance: Option<&Balance>, what: &str| -> Result<(Amount, String), Rejection> {
            balance.map(|found| (found.amount.clone(), found.place.clone())).ok_or_else(|| {
                rejection("missing-field", format!("no {what}, so nothing can be controlled"), self.place.clone())
            })
        };
        let (opening, _) = needed(self.opening(), "opening balance (OPBD, PRCD)")?;
        let (closing, place) = needed(self.closing(), "closing balance (CLBD)")?;
        if opening.currency != closing.currency {
            let reason = format!("the balances are in {} and {}", opening.currency, closing.currency);
            return Err(rejection("wrong-currency", reason, place));
        }
        let (received, spent) = match control {
            Control::Strict => {
                if let Some(currency) = self.currency.as_ref().filter(|currency| **currency != opening.currency) {
                    let reason = format!("entries are in {currency}, the balances in {}", opening.currency);
                    return Err(rejection("wrong-currency", reason, place));
                }
                (self.booked[0].units, self.booked[1].units)
            }
            _ => match (self.credits.units, self.debits.units) {
                (Some(received), Some(spent)) => (received, spent),
                _ => {
                    let reason = "no TtlCdtNtries and TtlDbtNtries, so the balances cannot be controlled";
                    return Err(rejection("missing-field", reason, self.place.clone()));
                }
            },
        };
        let expected = opening.units + received - spent;
        if expected != closing.units {
            let shown = [opening.units, received, spent, expected, closing.units].map(amount::format);
            let [opening, received, spent, expected, closing] = shown;
            let reason = format!("{opening} + {received} − {spent} = {expected}, but the closing balance is {closing}");
            return Err(rejection("balance-mismatch", reason, place));
        }
        Ok(())
    }

    fn check_totals(&self) -> Result<(), Rejection> {
        if let Some(place) = &self.odd_currency {
            return Err(rejection("wrong-currency", "entries are in different currencies", place.clone()));
        }
        let [credits, debits] = &self.booked;
        let both = Booked { count: credits.count + debits.count, units: credits.units + debits.units };
        for (stated, counted, name) in
            [(&self.credits, credits, "credits"), (&self.debits, debits, "debits"), (&self.all, &both, "entries")]
        {
            if let Some(count) = stated.count.filter(|count| *count != counted.count) {
                let reason = format!("{count} {name} are stated, {} are booked", counted.count);
                return Err(rejection("count-mismatch", reason, stated.place.clone()));
            }
            if let Some(units) = stated.units.filter(|units| *units != counted.units) {
                let (stated_sum, sum) = (amount::format(units), amount::format(counted.units));
                let reason = format!("{name} of {stated_sum} are stated, those booked make {sum}");
                return Err(rejection("total-mismatch", reason, stated.place.clone()));
            }
        }
        Ok(())
    }

    /// A page between others has interim balances (`ITBD`) at its ends.
    fn opening(&self) -> Option<&Balance> {
        let coded = |code: &str| self.balances.iter().find(|balance| balance.code == code);
        coded("OPBD").or_else(|| coded("PRCD")).or_else(|| coded("ITBD").filter(|_| !self.is_first_page))
    }

    fn closing(&self) -> Option<&Balance> {
        let coded = |code: &str| self.balances.iter().rfind(|balance| balance.code == code);
        coded("CLBD").or_else(|| coded("ITBD").filter(|_| !self.is_last_page))
    }

    /// `statement.imported.v1`. Its id depends on what the statement says, not on its file or its number.
    ///
    /// # Errors
    /// `missing-field`, `bad-period`, `bad-amount`.
    pub fn draft(&self, offset: dates::Offset) -> Result<Draft, Rejection> {
        let (opening, closing) = (self.opening(), self.closing());
        let day_of = |balance: Option<&Balance>| balance.and_then(|balance| balance.day);
        let created = self.created.map(|moment| moment.day);
        let start = self.period.0.or_else(|| day_of(opening)).or(created);
        let start =
            start.ok_or_else(|| rejection("missing-field", "the statement has no period", self.place.clone()))?;
        let end = self.period.1.or_else(|| day_of(closing)).unwrap_or(start);
        if end < start {
            return Err(rejection("bad-period", "the period ends before it begins", self.place.clone()));
        }
        let balance = |found: Option<&Balance>| found.map(|found| money(&found.amount, &found.place)).transpose();
        let (opening_balance, closing_balance) = (balance(opening)?, balance(closing)?);
        let currency = [opening, closing].into_iter().flatten().next().map(|balance| balance.amount.currency.clone());
        let stated = |total: &Total| match (total.units, currency.clone().or_else(|| self.currency.clone())) {
            (Some(units), Some(currency)) => money(&Amount { units, currency }, &total.place).map(Some),
            _ => Ok(None),
        };
        let counts = self.counts;
        let mut data = json!({
            "account": self.account,
            "period": { "start": dates::iso_date(start), "end": dates::iso_date(end) },
            "documents": {
                "incoming": counts.incoming,
                "outgoing": counts.outgoing,
                "internal": counts.internal,
                "pending": counts.pending,
                "repeated": counts.repeated,
            },
            "payments": { "received": counts.received, "rejected": counts.rejected },
        });
        let mut parts = vec!["iso20022".to_owned(), "statement".to_owned(), self.account.clone()];
        parts.extend([dates::iso_date(start), dates::iso_date(end)]);
        let (received, spent) = (stated(&self.credits)?, stated(&self.debits)?);
        for (key, value) in [
            ("openingBalance", opening_balance),
            ("received", received),
            ("spent", spent),
            ("closingBalance", closing_balance),
        ] {
            parts.push(value.as_ref().map(|money| format!("{} {}", money.value, money.currency)).unwrap_or_default());
            if let (Some(data), Some(money)) = (data.as_object_mut(), value) {
                data.insert(key.to_owned(), serde_json::to_value(money).unwrap_or(Value::Null));
            }
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(Draft {
            subject: Some(self.account.clone()),
            time: Some(dates::rfc3339(dates::start_of_day(end), offset)),
            place: Some(format!("line {}", self.line)),
            ..busbar_sdk::draft(ids::derived(&parts), "statement.imported.v1", data.to_string())
        })
    }
}

/// The bank of an agent: its number in a national clearing system, or else its BIC of SWIFT.
pub fn bic(part: &Leaves, path: &str) -> String {
    let [member, swift, old] = ["ClrSysMmbId/MmbId", "BICFI", "BIC"].map(|name| format!("{path}/{name}"));
    let found = part.text(&[member.as_str(), swift.as_str(), old.as_str()]);
    if found.chars().count() <= 11 { found.to_owned() } else { String::new() }
}

/// Of each `CdtDbtInd` at the path, whether it is a debit.
///
/// # Errors
/// `bad-structure` where one is neither that nor a credit, with the place.
pub fn debits(part: &Leaves, path: &str) -> Result<Vec<bool>, Rejection> {
    let side = |text: &str| match text {
        "DBIT" => Ok(true),
        "CRDT" => Ok(false),
        other => Err(bad_code(part, path, other, "neither CRDT nor DBIT")),
    };
    part.texts(path).map(side).collect()
}

fn bad_code(part: &Leaves, path: &str, code: &str, why: &str) -> Rejection {
    rejection("bad-structure", format!("`{}` is {why}", excerpt(code)), part.place(&[path]))
}

/// # Errors
/// `bad-amount` where no message can carry it.
pub fn money(amount: &Amount, place: &str) -> Result<Money, Rejection> {
    amount.money().ok_or_else(|| {
        let reason = format!("{} has more than four digits after the point", amount::format(amount.units));
        rejection("bad-amount", reason, place)
    })
}

fn total(part: &Leaves, name: &str) -> Result<Total, Rejection> {
    let [count, sum] = ["NbOfNtries", "Sum"].map(|field| format!("{name}/{field}"));
    let (count_text, sum_text) = (part.text(&[count.as_str()]), part.text(&[sum.as_str()]));
    let place = part.place(&[sum.as_str(), count.as_str()]);
    let wrong = || rejection("bad-amount", format!("{name} is no number"), place.clone());
    Ok(Total {
        count: if count_text.is_empty() { None } else { Some(count_text.parse().map_err(|_| wrong())?) },
        units: match sum_text {
            "" => None,
            text => Some(amount::units(text).ok_or_else(wrong)?),
        },
        place,
    })
}

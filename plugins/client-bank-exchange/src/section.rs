//! One `СекцияРасчСчет … КонецРасчСчет`: the balances a bank states for an account and a period, and the documents
//! counted against them.

use busbar_sdk::{Control, Draft, Rejection, dates, ids, money, money::Money, rejection};
use serde::Serialize;
use time::Date;

use crate::document::{parse_day, place};

/// An amount in hundredths and the line it stands in.
#[derive(Clone, Copy, Debug)]
struct Stated {
    minor: i128,
    line: u64,
}

#[derive(Debug, Default)]
pub struct Section {
    /// The line of `СекцияРасчСчет`.
    pub line: u64,
    pub account: String,
    account_line: u64,
    start: Option<Date>,
    end: Option<Date>,
    opening: Option<Stated>,
    received: Option<Stated>,
    spent: Option<Stated>,
    closing: Option<Stated>,
    pub counts: Counts,
    received_minor: i128,
    spent_minor: i128,
    /// What was booked and taken back again, without a sign: in one bank's turnovers it is subtracted on its own side, in another's
    /// added on the other one.
    taken_received_minor: i128,
    taken_spent_minor: i128,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub incoming: u64,
    pub outgoing: u64,
    pub internal: u64,
    pub pending: u64,
    pub repeated: u64,
    pub payments: u64,
    pub rejected: u64,
}

impl Section {
    /// Begun by `СекцияРасчСчет` in this line.
    pub fn at(line: u64) -> Self {
        Self { line, ..Self::default() }
    }

    /// The account and period of the file's head, for a file without sections.
    pub fn of_head(account: &str, start: Option<Date>, end: Option<Date>) -> Self {
        Self { account: account.to_owned(), start, end, ..Self::default() }
    }

    /// Takes a field; false when it is none of a section's.
    ///
    /// # Errors
    /// `bad-date`, `bad-amount` with the place.
    pub fn set(&mut self, name: &str, line: u64, value: &str) -> Result<bool, Rejection> {
        let stated = match name {
            "РасчСчет" => {
                value.clone_into(&mut self.account);
                self.account_line = line;
                return Ok(true);
            }
            "ДатаНачала" => {
                self.start = parse_optional_day(name, line, value)?;
                return Ok(true);
            }
            "ДатаКонца" => {
                self.end = parse_optional_day(name, line, value)?;
                return Ok(true);
            }
            "НачальныйОстаток" => &mut self.opening,
            "ВсегоПоступило" => &mut self.received,
            "ВсегоСписано" => &mut self.spent,
            "КонечныйОстаток" => &mut self.closing,
            _ => return Ok(false),
        };
        if !value.is_empty() {
            let minor = money::parse_minor_written(value).ok_or_else(|| {
                rejection("bad-amount", format!("`{value}` is no sum in roubles and kopecks"), place(line, name))
            })?;
            *stated = Some(Stated { minor, line });
        }
        Ok(true)
    }

    /// At `КонецРасчСчет` in `end_line`: the period from the head where the section has none, and the
    /// control of the balances.
    ///
    /// # Errors
    /// `missing-field`, `bad-period`, `balance-mismatch` with the place.
    pub fn close(
        &mut self,
        end_line: u64,
        head: (Option<Date>, Option<Date>),
        control: Control,
    ) -> Result<(), Rejection> {
        if self.account.is_empty() {
            return Err(missing(end_line, "РасчСчет", "names no account"));
        }
        self.start = self.start.or(head.0);
        self.end = self.end.or(head.1).or(self.start);
        match (self.start, self.end) {
            (None, _) => return Err(missing(end_line, "ДатаНачала", "has no period")),
            (Some(start), Some(end)) if end < start => {
                return Err(rejection("bad-period", "the period ends before it begins", place(self.line, "ДатаКонца")));
            }
            _ => {}
        }
        match (self.opening, self.received, self.spent, self.closing) {
            _ if control == Control::Off => Ok(()),
            (Some(opening), Some(received), Some(spent), Some(closing)) => {
                Self::check_balance(opening, received.minor, spent.minor, closing, ["ВсегоПоступило", "ВсегоСписано"])
            }
            // 1C has turnovers and closing balance optional. What there is must tell whether documents are missing.
            (Some(_), _, _, Some(_)) | (_, Some(_), Some(_), _) => Ok(()),
            _ if control == Control::Balance => Ok(()),
            (None, _, _, Some(_)) => Err(missing(
                end_line,
                "НачальныйОстаток",
                "has no opening balance and no turnovers, so nothing can be controlled",
            )),
            _ => Err(missing(
                end_line,
                "КонечныйОстаток",
                "has no closing balance and no turnovers, so nothing can be controlled",
            )),
        }
    }

    fn check_balance(
        opening: Stated,
        received: i128,
        spent: i128,
        closing: Stated,
        names: [&str; 2],
    ) -> Result<(), Rejection> {
        let expected = opening.minor + received - spent;
        if expected == closing.minor {
            return Ok(());
        }
        let shown = [opening.minor, received, spent, expected, closing.minor].map(money::format_minor);
        let ([opening, received, spent, expected, closing_minor], [plus, minus]) = (shown, names);
        let reason = format!(
            "НачальныйОстаток {opening} + {plus} {received} − {minus} {spent} = {expected}, but КонечныйОстаток is {closing_minor}"
        );
        Err(rejection("balance-mismatch", reason, place(closing.line, "КонечныйОстаток")))
    }

    /// Whether all is stated that makes its balances a control.
    pub fn has_all(&self) -> bool {
        [self.opening, self.received, self.spent, self.closing].iter().all(Option::is_some)
    }

    pub fn account_place(&self) -> String {
        place(self.account_line, "РасчСчет")
    }

    /// Takes over what was counted before it for the period of the file's head; false where that is not its own period.
    pub fn takes(&mut self, before: &Self) -> bool {
        self.counts = before.counts;
        (self.received_minor, self.spent_minor) = (before.received_minor, before.spent_minor);
        (self.taken_received_minor, self.taken_spent_minor) = (before.taken_received_minor, before.taken_spent_minor);
        (self.start, self.end) == (before.start, before.end)
    }

    pub fn covers(&self, day: Date) -> bool {
        self.start.is_none_or(|start| start <= day) && self.end.is_none_or(|end| day <= end)
    }

    /// A document credited to the account; `covered` when on a day of the period.
    pub fn count_incoming(&mut self, minor: i128, covered: bool) {
        self.counts.incoming += 1;
        let total = if minor < 0 { &mut self.taken_received_minor } else { &mut self.received_minor };
        *total += if covered { minor.abs() } else { 0 };
    }

    /// A document debited from the account.
    pub fn count_outgoing(&mut self, minor: i128, covered: bool) {
        self.counts.outgoing += 1;
        let total = if minor < 0 { &mut self.taken_spent_minor } else { &mut self.spent_minor };
        *total += if covered { minor.abs() } else { 0 };
    }

    /// At the end of the file: the stated totals against the documents of the period, each counted once.
    ///
    /// # Errors
    /// `total-mismatch`, `balance-mismatch` with the place of the total.
    pub fn check_totals(&self) -> Result<(), Rejection> {
        let (taken_received, taken_spent) = (self.taken_received_minor, self.taken_spent_minor);
        let net = [self.received_minor - taken_received, self.spent_minor - taken_spent];
        let gross = [self.received_minor + taken_spent, self.spent_minor + taken_received];
        let stated = [(self.received, "ВсегоПоступило"), (self.spent, "ВсегоСписано")];
        let fits = |counted: [i128; 2]| {
            stated.iter().zip(counted).all(|((stated, _), counted)| stated.is_none_or(|stated| stated.minor == counted))
        };
        if !fits(gross) {
            for ((stated, name), counted) in stated.into_iter().zip(net) {
                if let Some(stated) = stated.filter(|stated| stated.minor != counted) {
                    let [shown, counted] = [stated.minor, counted].map(money::format_minor);
                    let reason =
                        format!("{name} of account {} is {shown}, but its documents make {counted}", self.account);
                    return Err(rejection("total-mismatch", reason, place(stated.line, name)));
                }
            }
        }
        match (self.opening, self.closing) {
            (Some(opening), Some(closing)) if !self.has_all() => {
                Self::check_balance(opening, net[0], net[1], closing, ["documents", "documents"])
            }
            _ => Ok(()),
        }
    }

    /// `statement.imported.v1`. Its id depends on what the statement says, not on the file's name.
    pub fn draft(&self, currency: &str, offset: dates::Offset) -> Draft {
        let start = self.start.map(dates::iso_date).unwrap_or_default();
        let end = self.end.or(self.start).map(dates::iso_date).unwrap_or_default();
        let value = |stated: Option<Stated>| stated.map(|stated| Money::of_minor(stated.minor, currency));
        let data = Imported {
            account: &self.account,
            period: Period { start: &start, end: &end },
            opening_balance: value(self.opening),
            received: value(self.received),
            spent: value(self.spent),
            closing_balance: value(self.closing),
            documents: Documents {
                incoming: self.counts.incoming,
                outgoing: self.counts.outgoing,
                internal: self.counts.internal,
                pending: self.counts.pending,
                repeated: self.counts.repeated,
            },
            payments: Payments { received: self.counts.payments, rejected: self.counts.rejected },
        };
        let text = |stated: Option<Stated>| stated.map(|stated| money::format_minor(stated.minor)).unwrap_or_default();
        let id = ids::derived(&[
            "statement",
            &self.account,
            &start,
            &end,
            &text(self.opening),
            &text(self.received),
            &text(self.spent),
            &text(self.closing),
        ]);
        Draft {
            subject: Some(self.account.clone()),
            time: self.end.map(|end| dates::rfc3339(dates::start_of_day(end), offset)),
            place: (self.line > 0).then(|| format!("line {}", self.line)),
            ..busbar_sdk::draft(id, "statement.imported.v1", serde_json::to_string(&data).unwrap_or_default())
        }
    }
}

fn parse_optional_day(name: &str, line: u64, value: &str) -> Result<Option<Date>, Rejection> {
    match value {
        "" => Ok(None),
        text => parse_day(text, || place(line, name)).map(Some),
    }
}

fn missing(line: u64, name: &str, what: &str) -> Rejection {
    rejection("missing-field", format!("the account section {what}"), place(line, name))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported<'a> {
    account: &'a str,
    period: Period<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opening_balance: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spent: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closing_balance: Option<Money>,
    documents: Documents,
    payments: Payments,
}

#[derive(Serialize)]
struct Period<'a> {
    start: &'a str,
    end: &'a str,
}

#[derive(Serialize)]
struct Documents {
    incoming: u64,
    outgoing: u64,
    internal: u64,
    pending: u64,
    repeated: u64,
}

#[derive(Serialize)]
struct Payments {
    received: u64,
    rejected: u64,
}

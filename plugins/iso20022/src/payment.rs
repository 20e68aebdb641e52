//! One booked payment: an entry, or one of the payments that an entry lists. What it is, who it is from, what it becomes.

use busbar_sdk::purpose::{Found, is_return};
use busbar_sdk::texts::is_plain;
use busbar_sdk::{Draft, Rejection, dates};
use serde_json::{Map, Value, json};
use time::Date;

use crate::amount::Amount;
use crate::charges;
use crate::entry::Entry;
use crate::identity::reference;
use crate::leaves::{Leaves, Moment};
use crate::returns::is_return_code;
use crate::settings::Settings;
use crate::statement::{Statement, bic, money};

/// Characters of a free text that a message carries; more is cut off.
const NAME_CHARS: usize = 500;
const PURPOSE_CHARS: usize = 1000;
const NUMBER_CHARS: usize = 64;
/// Remittance information is cut into pieces of so many characters.
const PIECE_CHARS: usize = 140;

pub struct Payment<'a> {
    pub settings: &'a Settings,
    pub statement: &'a Statement,
    pub entry: &'a Entry,
    /// `TxDtls`, where the entry has details.
    pub part: Option<&'a Leaves>,
    /// As it was booked.
    pub amount: &'a Amount,
    pub credit: bool,
}

/// Why a payment cannot be credited without a person.
pub struct Reason {
    pub code: &'static str,
    pub text: String,
}

impl Payment<'_> {
    /// Money that came back, or goes back: a reversal, or a return of the scheme.
    pub fn is_return(&self) -> bool {
        let of_part = |part: &Leaves| part.has("RtrInf") || is_return_code(part, "BkTxCd/");
        self.entry.is_reversal || self.entry.is_return || self.part.is_some_and(of_part)
    }

    /// From another account of the utility.
    pub fn is_internal(&self) -> bool {
        let other = self.account_of("Dbtr");
        !other.is_empty()
            && (other == self.statement.account || self.settings.own_accounts.iter().any(|own| own == other))
    }

    /// `payment.received.v1`, or `payment.rejected.v1` for `reason` or where no single account is named.
    ///
    /// # Errors
    /// `missing-field` without a day, `bad-amount`.
    pub fn received(&self, id: String, reason: Option<Reason>) -> Result<Draft, Rejection> {
        let (account, reason) = match reason {
            Some(reason) => (None, Some(reason)),
            None if is_return(&self.purpose()) => {
                let text = "an own payment that came back, by its remittance information".to_owned();
                (None, Some(Reason { code: "returned", text }))
            }
            None => self.account(),
        };
        let (day, moment) = self.day()?;
        let (amount, fee) = self.paid()?;
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(key.to_owned(), value);
            }
        };
        put("reason", reason.map(|reason| json!({ "code": reason.code, "text": reason.text })));
        put("account", account.as_deref().map(Value::from));
        put("amount", Some(json!(money(&amount, &self.entry.place)?)));
        put("fee", fee.map(|fee| money(&fee, &self.entry.place)).transpose()?.map(|fee| json!(fee)));
        put("channel", Some("bank-statement".into()));
        put("paidOn", Some(dates::iso_date(day).into()));
        put("paidAt", moment.clone().map(Value::from));
        put("document", self.document()?);
        put("payer", self.party("Dbtr"));
        put("receiver", Some(self.receiver()));
        put("purpose", Some(self.purpose()).filter(|text| !text.is_empty()).map(Value::from));
        let r#type = if account.is_some() { "payment.received.v1" } else { "payment.rejected.v1" };
        let subject = account.or_else(|| self.number().filter(|number| is_plain(number)).map(str::to_owned));
        Ok(self.draft(id, r#type, subject, day, moment, data))
    }

    /// `payment.refunded.v1`; nothing where no single account is named.
    ///
    /// # Errors
    /// `missing-field` without a day, `bad-amount`.
    pub fn refunded(&self, id: String) -> Result<Option<Draft>, Rejection> {
        let (Some(account), _) = self.account() else { return Ok(None) };
        let (day, moment) = self.day()?;
        // A reversal keeps the sides of the payment that it reverses, a return may turn them.
        let side = if self.account_of("Dbtr") == self.statement.account { "Cdtr" } else { "Dbtr" };
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(key.to_owned(), value);
            }
        };
        put("account", Some(account.as_str().into()));
        put("amount", Some(json!(money(&self.paid()?.0, &self.entry.place)?)));
        put("channel", Some("bank-statement".into()));
        put("refundedOn", Some(dates::iso_date(day).into()));
        put("refundedAt", moment.clone().map(Value::from));
        put("reason", self.return_reason());
        put("payment", self.document()?);
        put("payee", self.party(side));
        Ok(Some(self.draft(id, "payment.refunded.v1", Some(account), day, moment, data)))
    }

    fn draft(
        &self,
        id: String,
        r#type: &str,
        subject: Option<String>,
        day: Date,
        moment: Option<String>,
        data: Map<String, Value>,
    ) -> Draft {
        let line = self.part.map_or(self.entry.line, |part| part.line);
        let at_day = || dates::rfc3339(dates::start_of_day(day), self.settings.offset);
        Draft {
            subject,
            time: Some(moment.unwrap_or_else(at_day)),
            place: Some(format!("line {line}")),
            ..busbar_sdk::draft(id, r#type, Value::Object(data).to_string())
        }
    }

    /// What was paid, or goes back, and what the bank has kept of it: the booked amount, unless charges are stated and another stated
    /// amount shows that they were taken out of it or added to it.
    fn paid(&self) -> Result<(Amount, Option<Amount>), Rejection> {
        let found = match self.part {
            Some(part) => {
                charges::of(part, "Chrgs/")?.and_then(|charges| charges::gross(part, self.amount, charges, self.credit))
            }
            None => None,
        };
        Ok(found.unwrap_or_else(|| (self.amount.clone(), None)))
    }

    fn account(&self) -> (Option<String>, Option<Reason>) {
        let codes: Vec<&str> = match self.part {
            Some(part) => part.texts("RmtInf/Strd/CdtrRefInf/Ref").collect(),
            None => Vec::new(),
        };
        let pieces = self.pieces();
        let mut searched: Vec<&str> = pieces.iter().map(String::as_str).collect();
        searched.extend([self.text(&["AddtlTxInf"]), self.entry.info.as_str()]);
        let found = self.settings.patterns.find_in(&searched, &codes);
        match found {
            Found::One(account) => (Some(account), None),
            Found::None => {
                let text = "no customer account in the remittance information".to_owned();
                (None, Some(Reason { code: "no-account", text }))
            }
            Found::Treasury(account) => {
                let text = format!("{account} is a number of an account at the treasury");
                (None, Some(Reason { code: "treasury-account", text }))
            }
            Found::Many(accounts) => {
                let text = format!("several customer accounts: {}", accounts.join(", "));
                (None, Some(Reason { code: "ambiguous-account", text: text.chars().take(500).collect() }))
            }
        }
    }

    pub fn moment(&self) -> Option<Moment> {
        self.entry.booked.or(self.entry.valued)
    }

    fn day(&self) -> Result<(Date, Option<String>), Rejection> {
        let moment = self.moment().or(self.statement.created.filter(|_| self.statement.is_notification()));
        let moment = moment.ok_or_else(|| {
            let reason = "the entry has neither BookgDt nor ValDt";
            busbar_sdk::rejection("missing-field", reason, self.entry.place.clone())
        })?;
        let at = moment.time.map(|(local, offset)| dates::rfc3339(local, offset.unwrap_or(self.settings.offset)));
        Ok((moment.day, at))
    }

    /// The payer's number of it: the end-to-end reference, as Russian banks have the number of the order there. Without one, the bank's
    /// reference before others: it names the booking in a notification and in a statement, which may lack the others.
    fn number(&self) -> Option<&str> {
        let of_payer = ["EndToEndId", "ChqNb"].map(|name| self.reference(name));
        let others = ["InstrId", "TxId", "AcctSvcrRef"].map(|name| self.reference(name));
        let of_bank = [self.bank_reference().unwrap_or_default()];
        let own = [reference(&self.entry.reference)];
        let all = of_payer.into_iter().chain(of_bank).chain(others).chain(own);
        all.into_iter().find(|number| !number.is_empty()).filter(|number| number.chars().count() <= NUMBER_CHARS)
    }

    fn document(&self) -> Result<Option<Value>, Rejection> {
        let Some(number) = self.number() else { return Ok(None) };
        let date = match self.part {
            Some(part) => part.moment(&["RmtInf/Strd/RfrdDocInf/RltdDt", "RmtInf/Strd/RfrdDocInf/RltdDt/Dt"])?,
            None => None,
        };
        Ok(Some(match date {
            Some(date) => json!({ "number": number, "date": dates::iso_date(date.day) }),
            None => json!({ "number": number }),
        }))
    }

    fn receiver(&self) -> Value {
        let statement = self.statement;
        match statement.bic.as_str() {
            "" => json!({ "account": statement.account }),
            bic => json!({ "account": statement.account, "bic": bic }),
        }
    }

    fn party(&self, side: &str) -> Option<Value> {
        let part = self.part?;
        let mut data = Map::new();
        let name = self.name_of(side);
        let is_inn = |text: &str| (10..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        // A customer's or a clearing number may have as many digits: where a number has a scheme, that says what it is.
        let is_of_tax = |scheme: &str| ["", "TXID", "INN", "ИНН"].contains(&scheme);
        let tax_id = ["OrgId", "PrvtId"].iter().find_map(|kind| {
            let other = format!("RltdPties/{side}/Id/{kind}/Othr");
            let numbers = part.texts_with(&format!("{other}/Id"), &format!("{other}/SchmeNm"));
            numbers.into_iter().find(|(text, scheme)| is_inn(text) && is_of_tax(scheme)).map(|number| number.0)
        });
        let account = Some(self.account_of(side)).filter(|text| !text.is_empty() && text.chars().count() <= 34);
        let bic = bic(part, &format!("RltdAgts/{side}Agt/FinInstnId"));
        let mut put = |key: &str, text: Option<&str>| {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                data.insert(key.to_owned(), text.chars().take(NAME_CHARS).collect::<String>().into());
            }
        };
        put("name", Some(name));
        put("taxId", tax_id);
        put("account", account);
        put("bic", Some(bic.as_str()));
        (!data.is_empty()).then_some(Value::Object(data))
    }

    pub fn name_of(&self, side: &str) -> &str {
        self.text(&[format!("RltdPties/{side}/Nm").as_str()])
    }

    pub fn account_of(&self, side: &str) -> &str {
        let [iban, other] = ["IBAN", "Othr/Id"].map(|name| format!("RltdPties/{side}Acct/Id/{name}"));
        self.text(&[iban.as_str(), other.as_str()])
    }

    /// What the payer wrote, or else what the bank adds.
    pub fn purpose(&self) -> String {
        let written = self.pieces().join(" ");
        let text = match written.trim() {
            "" => match self.text(&["AddtlTxInf"]) {
                "" => self.entry.info.as_str(),
                text => text,
            },
            text => text,
        };
        text.chars().take(PURPOSE_CHARS).collect()
    }

    // A piece of full length was cut anywhere, also within a number.
    fn pieces(&self) -> Vec<String> {
        let Some(part) = self.part else { return Vec::new() };
        let mut pieces: Vec<String> = Vec::new();
        let mut is_cut = false;
        for piece in part.texts("RmtInf/Ustrd").chain(part.texts("RmtInf/Strd/AddtlRmtInf")) {
            match pieces.last_mut().filter(|_| is_cut) {
                Some(last) => last.push_str(piece),
                None => pieces.push(piece.to_owned()),
            }
            is_cut = piece.chars().count() == PIECE_CHARS;
        }
        pieces
    }

    fn return_reason(&self) -> Option<Value> {
        let code = self.text(&["RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry"]);
        let meaning = match code {
            "AM05" | "DUPL" => "duplicate",
            "CUST" | "FOCR" | "MD06" => "customer-request",
            "" if self.entry.is_reversal => "reversal",
            _ => "returned",
        };
        let said: Vec<&str> =
            [code, self.text(&["RtrInf/AddtlInf"])].into_iter().filter(|text| !text.is_empty()).collect();
        Some(match said.is_empty() {
            true => json!({ "code": meaning }),
            false => json!({ "code": meaning, "text": said.join(" ").chars().take(500).collect::<String>() }),
        })
    }

    pub fn text(&self, paths: &[&str]) -> &str {
        self.part.map_or("", |part| part.text(paths))
    }
}

//! One booked payment: an entry, or one of the payments that an entry lists. What it is, who it is from, what it becomes.

use busbar_sdk::purpose::Found;
use busbar_sdk::{Draft, Rejection, dates, ids};
use serde_json::{Map, Value, json};
use time::Date;

use crate::amount::{self, Amount};
use crate::entry::Entry;
use crate::leaves::{Leaves, Moment};
use crate::mapping::Settings;
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
        self.entry.is_reversal || self.entry.is_return || self.part.is_some_and(|part| part.has("RtrInf"))
    }

    /// From another account of the utility.
    pub fn is_internal(&self) -> bool {
        let other = self.account_of("Dbtr");
        !other.is_empty()
            && (other == self.statement.account || self.settings.own_accounts.iter().any(|own| own == other))
    }

    /// What makes it itself, and whether a reference of somebody is among it. Without one, two that look alike are
    /// two payments.
    pub fn identity(&self) -> (Vec<String>, bool) {
        let reference = |path: &str| match self.text(&[path]) {
            "NOTPROVIDED" => "",
            text => text,
        };
        let references: Vec<&str> = ["AcctSvcrRef", "EndToEndId", "InstrId", "TxId", "UETR", "ChqNb"]
            .iter()
            .map(|name| reference(&format!("Refs/{name}")))
            .chain([self.entry.reference.as_str()])
            .collect();
        let has_reference = references.iter().any(|text| !text.is_empty());
        let day = self.moment().map(|moment| dates::iso_date(moment.day)).unwrap_or_default();
        let mut parts: Vec<String> = vec![
            "iso20022".to_owned(),
            self.statement.account.clone(),
            if self.credit { "CRDT" } else { "DBIT" }.to_owned(),
            day,
            amount::format(self.amount.units),
            self.amount.currency.clone(),
            self.account_of("Dbtr").to_owned(),
            self.account_of("Cdtr").to_owned(),
        ];
        parts.extend(references.into_iter().map(str::to_owned));
        if !has_reference {
            parts.extend([self.text(&["RltdPties/Dbtr/Nm"]).to_owned(), self.purpose()]);
        }
        (parts, has_reference)
    }

    /// `payment.received.v1`, or `payment.rejected.v1` for `reason` or where no single account is named.
    ///
    /// # Errors
    /// `missing-field` without a day, `bad-amount`.
    pub fn received(&self, id: String, reason: Option<Reason>) -> Result<Draft, Rejection> {
        let (account, reason) = match reason {
            Some(reason) => (None, Some(reason)),
            None => self.account(),
        };
        let (day, moment) = self.day()?;
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(key.to_owned(), value);
            }
        };
        put("reason", reason.map(|reason| json!({ "code": reason.code, "text": reason.text })));
        put("account", account.as_deref().map(Value::from));
        put("amount", Some(json!(money(self.amount, &self.entry.place)?)));
        put("channel", Some("bank-statement".into()));
        put("paidOn", Some(dates::iso_date(day).into()));
        put("paidAt", moment.clone().map(Value::from));
        put("document", self.document()?);
        put("payer", self.party("Dbtr"));
        put("receiver", Some(self.receiver()));
        put("purpose", Some(self.purpose()).filter(|text| !text.is_empty()).map(Value::from));
        let r#type = if account.is_some() { "payment.received.v1" } else { "payment.rejected.v1" };
        let subject = account.or_else(|| self.number().map(str::to_owned));
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
        put("amount", Some(json!(money(self.amount, &self.entry.place)?)));
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

    fn account(&self) -> (Option<String>, Option<Reason>) {
        let codes: Vec<&str> = match self.part {
            Some(part) => part.texts("RmtInf/Strd/CdtrRefInf/Ref").collect(),
            None => Vec::new(),
        };
        let mut searched = self.remittance();
        for text in [self.text(&["AddtlTxInf"]), self.entry.info.as_str()] {
            searched = format!("{searched} {text}");
        }
        let patterns = &self.settings.patterns;
        let found = codes.iter().skip(1).fold(patterns.find(&searched, codes.first().unwrap_or(&"")), |found, code| {
            match (found, patterns.find("", code)) {
                (Found::None, other) => other,
                (found, _) => found,
            }
        });
        match found {
            Found::One(account) => (Some(account), None),
            Found::None => {
                let text = "no customer account in the remittance information".to_owned();
                (None, Some(Reason { code: "no-account", text }))
            }
            Found::Many(accounts) => {
                let text = format!("several customer accounts: {}", accounts.join(", "));
                (None, Some(Reason { code: "ambiguous-account", text: text.chars().take(500).collect() }))
            }
        }
    }

    fn moment(&self) -> Option<Moment> {
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

    /// The payer's number of it: the end-to-end reference, as Russian banks have the number of the order there.
    fn number(&self) -> Option<&str> {
        let known = |path: &str| Some(self.text(&[path])).filter(|text| !text.is_empty() && *text != "NOTPROVIDED");
        let paths = ["Refs/EndToEndId", "Refs/InstrId", "Refs/TxId", "Refs/ChqNb", "Refs/AcctSvcrRef"];
        let own = Some(self.entry.reference.as_str()).filter(|text| !text.is_empty());
        paths.into_iter().find_map(known).or(own).filter(|number| number.chars().count() <= NUMBER_CHARS)
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
        let name = self.text(&[format!("RltdPties/{side}/Nm").as_str()]);
        let is_inn = |text: &&str| (10..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let ids = ["OrgId", "PrvtId"].map(|kind| format!("RltdPties/{side}/Id/{kind}/Othr/Id"));
        let tax_id = ids.iter().flat_map(|path| part.texts(path)).find(is_inn);
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

    fn account_of(&self, side: &str) -> &str {
        let [iban, other] = ["IBAN", "Othr/Id"].map(|name| format!("RltdPties/{side}Acct/Id/{name}"));
        self.text(&[iban.as_str(), other.as_str()])
    }

    /// What the payer wrote, or else what the bank adds.
    fn purpose(&self) -> String {
        let written = self.remittance();
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
    fn remittance(&self) -> String {
        let Some(part) = self.part else { return String::new() };
        let mut text = String::new();
        let mut is_cut = true;
        for piece in part.texts("RmtInf/Ustrd").chain(part.texts("RmtInf/Strd/AddtlRmtInf")) {
            text.push_str(if is_cut { "" } else { " " });
            text.push_str(piece);
            is_cut = piece.chars().count() == PIECE_CHARS;
        }
        text
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

    fn text(&self, paths: &[&str]) -> &str {
        self.part.map_or("", |part| part.text(paths))
    }
}

/// The id of the `times`-th payment of this identity, from 0.
pub fn id_of(identity: &[String], times: u32) -> String {
    let times = times.to_string();
    let parts: Vec<&str> = identity.iter().map(String::as_str).chain([times.as_str()]).collect();
    ids::derived(&parts)
}

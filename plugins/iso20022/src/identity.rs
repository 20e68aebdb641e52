//! What makes a booking itself, and what of one message came before.
//!
//! Source: ISO 20022, the definitions of camt.053 and camt.054. `AcctSvcrRef` of an entry identifies it unambiguously, and is recommended
//! to be the same wherever the booked entry is reported; `UETR` and `TxId` are unique; `EndToEndId`, `InstrId` only by the word of
//! whoever initiated the payment.

use std::collections::HashMap;

use busbar_sdk::texts::squeezed;
use busbar_sdk::{dates, ids};

use crate::amount;
use crate::payment::Payment;

/// References below `Refs` of a payment.
const REFERENCES: [&str; 6] = ["AcctSvcrRef", "EndToEndId", "InstrId", "TxId", "UETR", "ChqNb"];
/// Those that are promised to be unique.
const UNIQUE: [&str; 2] = ["UETR", "TxId"];

/// How often something like it may be booked.
pub enum Identity {
    /// The bank's reference names it: another booking of the same key is this one again, or the reference is none.
    Bank(Vec<String>),
    /// All that is known of it, with a unique reference among it.
    Once(Vec<String>),
    /// All that is known of it: what is alike in all of it and stands twice in a statement is two.
    Often(Vec<String>),
}

/// A reference, unless it is one of the words that stand for none.
pub fn reference(text: &str) -> &str {
    let says_nothing = text.chars().all(|c| !c.is_alphanumeric() || c == '0');
    let is_none = ["NOTPROVIDED", "NOT PROVIDED", "NONREF"].iter().any(|none| text.eq_ignore_ascii_case(none));
    if says_nothing || is_none { "" } else { text }
}

impl Payment<'_> {
    /// Of an entry with one payment, or with several that it does not list.
    pub fn identity(&self) -> Identity {
        let mut key = self.base();
        if let Some(reference) = self.bank_reference() {
            key.extend(["bank".to_owned(), reference.to_owned()]);
            return Identity::Bank(key);
        }
        key.extend(self.content());
        match UNIQUE.iter().any(|name| !self.reference(name).is_empty()) {
            true => Identity::Once(key),
            false => Identity::Often(key),
        }
    }

    /// Of one of the payments that an entry lists: the entry's reference tells the entries apart, and what is listed in it tells the
    /// payments apart. The same list stands wherever the entry is reported in full, with more references or with fewer.
    pub fn identity_in(&self, entry: &amount::Amount) -> Vec<String> {
        let mut key = self.base();
        match self.entry_reference() {
            Some(reference) => {
                key.extend(["bank".to_owned(), reference.to_owned(), amount::format(entry.units), self.written()]);
            }
            None => key.extend(self.content()),
        }
        key.push("part".to_owned());
        key
    }

    /// All that is said of it beside amount, day and side.
    pub fn content(&self) -> Vec<String> {
        let mut parts: Vec<String> = REFERENCES.iter().map(|name| self.reference(name).to_owned()).collect();
        parts.push(reference(&self.entry.reference).to_owned());
        parts.extend([self.account_of("Dbtr").to_owned(), self.account_of("Cdtr").to_owned()]);
        parts.extend([self.name_of("Dbtr").to_owned(), self.text(&["RltdPties/UltmtDbtr/Nm"]).to_owned()]);
        parts.extend([self.written(), squeezed(self.text(&["AddtlTxInf"])), squeezed(&self.entry.info)]);
        parts
    }

    /// The remittance information, its references to invoices and creditors included.
    fn written(&self) -> String {
        self.part.map_or_else(String::new, |part| part.below("RmtInf").map(squeezed).collect::<Vec<_>>().join("/"))
    }

    fn base(&self) -> Vec<String> {
        let day = self.moment().map(|moment| dates::iso_date(moment.day)).unwrap_or_default();
        vec![
            "iso20022".to_owned(),
            self.statement.account.clone(),
            if self.credit { "CRDT" } else { "DBIT" }.to_owned(),
            if self.entry.is_reversal { "reversal" } else { "" }.to_owned(),
            day,
            amount::format(self.amount.units),
            self.amount.currency.clone(),
        ]
    }

    /// Of the entry, or of its only payment where the entry has none.
    pub fn bank_reference(&self) -> Option<&str> {
        let of_payment = || Some(self.reference("AcctSvcrRef")).filter(|text| !text.is_empty());
        self.entry_reference().or_else(|| of_payment().filter(|_| self.settings.trusts_references))
    }

    fn entry_reference(&self) -> Option<&str> {
        Some(reference(&self.entry.reference)).filter(|text| !text.is_empty() && self.settings.trusts_references)
    }

    pub fn reference(&self, name: &str) -> &str {
        reference(self.text(&[format!("Refs/{name}").as_str()]))
    }
}

/// The id of the `times`-th payment of this key, from 0.
pub fn id_of(key: &[String], times: u32) -> String {
    let times = times.to_string();
    let parts: Vec<&str> = key.iter().map(String::as_str).chain([times.as_str()]).collect();
    ids::derived(&parts)
}

/// Digest of all that is said; of several payments one after the other.
pub fn digest(before: &str, content: &[String]) -> String {
    let parts: Vec<&str> = content.iter().map(String::as_str).chain([before]).collect();
    ids::derived(&parts)
}

/// What of one message was read, by digests of the keys.
#[derive(Default)]
pub struct Seen {
    times: HashMap<u64, u32>,
    /// The line of a booking that the bank's reference names, and what was said of it.
    booked: HashMap<u64, (u64, String)>,
}

/// A booking that the bank's reference names.
pub enum Booked {
    New,
    /// The same was said of it before.
    Again,
    /// Something else was said at this line.
    Other(u64),
}

impl Seen {
    pub fn count(&self) -> usize {
        self.times.len() + self.booked.len()
    }

    /// How often this key came before.
    pub fn times(&mut self, key: &[String]) -> u32 {
        let times = self.times.entry(number(key)).or_default();
        *times = times.saturating_add(1);
        *times - 1
    }

    pub fn has(&self, key: &[String]) -> bool {
        self.booked.contains_key(&number(key))
    }

    pub fn book(&mut self, key: &[String], line: u64, digest: String) -> Booked {
        match self.booked.get(&number(key)) {
            Some((_, before)) if *before == digest => Booked::Again,
            Some((before, _)) => Booked::Other(*before),
            None => {
                self.booked.insert(number(key), (line, digest));
                Booked::New
            }
        }
    }
}

fn number(key: &[String]) -> u64 {
    let parts: Vec<&str> = key.iter().map(String::as_str).collect();
    ids::derived_number(&parts, u64::MAX)
}

#[cfg(test)]
mod tests;

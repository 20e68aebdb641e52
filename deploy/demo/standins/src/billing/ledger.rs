//! What billing has done, and how it makes sure to do it once.

use crate::money;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// An account as it was opened. All names are invented.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub holder: String,
    pub address: String,
    /// Kopecks owed when it was opened here; negative when paid ahead.
    pub opening_due: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Payment,
    Invoice,
}

/// Something that was executed: one booking.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Effect {
    /// `Idempotency-Key` of the request that was executed.
    pub key: String,
    pub kind: Kind,
    /// The payment's or invoice's own identifier.
    pub reference: String,
    /// The customer's account number.
    pub account: String,
    /// Kopecks.
    pub amount: i64,
    /// The request's body.
    pub body: Value,
    /// The answer it got, and every repeat of its key.
    pub answer: Value,
}

/// A copy of what billing has done.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order of execution.
    pub effects: Vec<Effect>,
    /// Accepted requests per key: 1 is no repeat.
    pub requests: BTreeMap<String, u64>,
    /// Requests refused with 422.
    pub refused: u64,
    /// Requests refused with 401.
    pub unauthorized: u64,
    /// Accounts asked for that exist.
    pub found: u64,
    /// Accounts asked for that do not.
    pub not_found: u64,
}

impl Ledger {
    /// The effects of one kind, in the order of execution.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Effect> {
        self.effects.iter().filter(move |effect| effect.kind == kind)
    }

    /// Sum of the amounts of one kind, in kopecks.
    pub fn total(&self, kind: Kind) -> i64 {
        self.of(kind).map(|effect| effect.amount).sum()
    }

    /// References of one account in the order of execution.
    pub fn order<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a str> {
        let of_account = self.effects.iter().filter(move |effect| effect.account == account);
        of_account.map(|effect| effect.reference.as_str())
    }

    /// Requests beyond the first of each key; none of them was executed.
    pub fn repeats(&self) -> u64 {
        self.requests.values().map(|count| count.saturating_sub(1)).sum()
    }

    /// References executed more than once, which must be none: the same thing under two keys.
    pub fn executed_twice(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let again = self.effects.iter().filter(|effect| !seen.insert((effect.kind, &effect.reference)));
        again.map(|effect| effect.reference.clone()).collect()
    }
}

pub(super) enum Answer {
    First(Value),
    Repeat(Value),
}

/// Nothing was executed; the text is for the sender.
pub(super) enum Refusal {
    Invalid(String),
    /// The ledger file cannot be written.
    Broken(String),
}

/// The ledger and what is needed to go on with it.
pub(super) struct Book {
    accounts: Option<BTreeMap<String, Account>>,
    dues: BTreeMap<String, i64>,
    /// Place in `ledger.effects` by key.
    keys: BTreeMap<String, usize>,
    ledger: Ledger,
    file: Option<File>,
}

impl Book {
    pub fn open(accounts: Option<BTreeMap<String, Account>>, file: Option<&Path>) -> anyhow::Result<Self> {
        let mut book =
            Self { accounts, dues: BTreeMap::new(), keys: BTreeMap::new(), ledger: Ledger::default(), file: None };
        let Some(path) = file else { return Ok(book) };
        for effect in read(path).with_context(|| format!("ledger {}", path.display()))? {
            book.enter(effect);
        }
        book.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        Ok(book)
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn count_unauthorized(&mut self) {
        self.ledger.unauthorized += 1;
    }

    /// The account and its due in kopecks; counted as a lookup.
    pub fn look_up(&mut self, number: &str) -> Option<(Account, i64)> {
        let found = self.account(number);
        match found {
            Some(_) => self.ledger.found += 1,
            None => self.ledger.not_found += 1,
        }
        found.map(|account| (account, self.due(number)))
    }

    /// Executes a body under a key, or finds that it was executed.
    pub fn execute(&mut self, key: &str, kind: Kind, body: Value) -> Result<Answer, Refusal> {
        if let Some(first) = self.keys.get(key).and_then(|place| self.ledger.effects.get(*place)) {
            if first.kind != kind || first.body != body {
                self.ledger.refused += 1;
                return Err(Refusal::Invalid("this Idempotency-Key was used for another request".to_owned()));
            }
            let answer = first.answer.clone();
            *self.ledger.requests.entry(key.to_owned()).or_default() += 1;
            return Ok(Answer::Repeat(answer));
        }
        let effect = match self.prepare(key, kind, body) {
            Ok(effect) => effect,
            Err(text) => {
                self.ledger.refused += 1;
                return Err(Refusal::Invalid(text));
            }
        };
        let answer = effect.answer.clone();
        if let Some(file) = &mut self.file {
            append(file, &effect).map_err(|error| Refusal::Broken(format!("ledger file: {error}")))?;
        }
        self.enter(effect);
        Ok(Answer::First(answer))
    }

    fn prepare(&self, key: &str, kind: Kind, body: Value) -> Result<Effect, String> {
        let text = |field: &str| {
            let value = body.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
            value.ok_or_else(|| format!("field {field} is missing or no text"))
        };
        let (reference, account) = (text("reference")?.to_owned(), text("account")?.to_owned());
        if text("currency")? != "RUB" {
            return Err("field currency: only RUB".to_owned());
        }
        let amount = money::kopecks(text("amount")?).filter(|amount| *amount > 0);
        let amount = amount.ok_or("field amount is no decimal above zero")?;
        if self.account(&account).is_none() {
            return Err(format!("no account has the number {account}"));
        }
        let due = self.due(&account) + change(kind, amount);
        let answer = json!({
            "entry": format!("B-{:06}", self.ledger.effects.len() + 1),
            "account": account,
            "due": money::decimal(due),
        });
        Ok(Effect { key: key.to_owned(), kind, reference, account, amount, body, answer })
    }

    fn enter(&mut self, effect: Effect) {
        let due = self.due(&effect.account) + change(effect.kind, effect.amount);
        self.dues.insert(effect.account.clone(), due);
        self.keys.insert(effect.key.clone(), self.ledger.effects.len());
        *self.ledger.requests.entry(effect.key.clone()).or_default() += 1;
        self.ledger.effects.push(effect);
    }

    fn account(&self, number: &str) -> Option<Account> {
        match &self.accounts {
            Some(accounts) => accounts.get(number).cloned(),
            None => Some(Account {
                holder: "Потребитель".to_owned(),
                address: format!("место поставки {number}"),
                opening_due: 0,
            }),
        }
    }

    fn due(&self, number: &str) -> i64 {
        let opening = || self.account(number).map_or(0, |account| account.opening_due);
        self.dues.get(number).copied().unwrap_or_else(opening)
    }
}

fn change(kind: Kind, amount: i64) -> i64 {
    match kind {
        Kind::Payment => -amount,
        Kind::Invoice => amount,
    }
}

fn append(file: &mut File, effect: &Effect) -> std::io::Result<()> {
    // One write, so that a kill leaves a whole line or none.
    file.write_all(format!("{}\n", serde_json::to_string(effect)?).as_bytes())
}

fn read(path: &Path) -> anyhow::Result<Vec<Effect>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

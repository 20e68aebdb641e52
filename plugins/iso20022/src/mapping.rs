//! A message of a bank -> messages. Pure: the document is read as it comes, drafts and warnings go out.
//!
//! Source: ISO 20022, Bank-to-Customer Cash Management (camt.053, camt.054).

use std::collections::HashMap;

use busbar_sdk::dates::Offset;
use busbar_sdk::purpose::Patterns;
use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Control, Failure, Rejection, Sink, ids, rejection};
use serde::Deserialize;

use crate::amount::{self, Amount};
use crate::entry::{Entry, Head};
use crate::leaves::{Leaves, excerpt};
use crate::payment::{Payment, Reason, id_of};
use crate::statement::{Statement, is_debit};

#[cfg(test)]
mod tests;

/// What is remembered of each payment, to tell repeats, is the only thing that grows with a message.
const PAYMENTS_MAX: usize = 500_000;
/// Warnings of one file; further ones are only counted.
const WARNINGS_MAX: usize = 100;

/// What an entry is that books many payments and does not list them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Batches {
    #[default]
    Rejected,
    Elsewhere,
}

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawSettings {
    control: Control,
    batches: Batches,
    own_accounts: Vec<String>,
    utc_offset: Option<Offset>,
    purpose_patterns: Option<Vec<String>>,
    code_patterns: Option<Vec<String>>,
    priority_element: Option<String>,
    file_prefix: Option<String>,
}

pub struct Settings {
    control: Control,
    batches: Batches,
    pub own_accounts: Vec<String>,
    pub offset: Offset,
    pub patterns: Patterns,
    pub priority_element: Option<String>,
    pub file_prefix: String,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        Ok(Self {
            control: raw.control,
            batches: raw.batches,
            own_accounts: raw.own_accounts,
            offset: raw.utc_offset.unwrap_or(Offset::MOSCOW),
            patterns: Patterns::new(raw.purpose_patterns.as_deref(), raw.code_patterns.as_deref())?,
            priority_element: raw.priority_element,
            file_prefix: raw.file_prefix.unwrap_or_else(|| "pain.001_".to_owned()),
        })
    }
}

/// Decodes a whole document.
///
/// # Errors
/// The first thing that makes it unfit, with its place; the README lists the codes. What was emitted before counts for
/// nothing then.
pub fn decode<R: FnMut(u32) -> Vec<u8>>(
    settings: &Settings,
    xml: &mut Xml<R>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let root = xml.root()?;
    if root.name != "Document" {
        // Some banks put the message into an envelope, after its application header.
        while xml.child()?.ok_or_else(|| not_this(xml, &root.name))?.name != "Document" {
            xml.skip()?;
        }
    }
    let message = xml.child()?.ok_or_else(|| not_this(xml, "Document"))?;
    let kind = match message.name.as_str() {
        "BkToCstmrStmt" => "Stmt",
        "BkToCstmrDbtCdtNtfctn" => "Ntfctn",
        other => return Err(wrong_message(xml, other)),
    };
    let mut decoder = Decoder { settings, sink, seen: HashMap::new(), warnings: 0 };
    let mut statements = 0_u64;
    while let Some(child) = xml.child()? {
        if child.name == kind {
            decoder.statement(xml, &child)?;
            statements += 1;
        } else {
            xml.skip()?;
        }
    }
    if decoder.warnings > WARNINGS_MAX {
        let more = decoder.warnings - WARNINGS_MAX;
        decoder.sink.warn(&format!("{more} further warnings are left out"));
    }
    if statements == 0 {
        let place = format!("line {}, element Document/{}", message.line, message.name);
        return Err(rejection("missing-field", format!("there is no {kind} in it"), place));
    }
    while xml.child()?.is_some() {
        xml.skip()?;
    }
    xml.finish()
}

fn not_this<R: FnMut(u32) -> Vec<u8>>(xml: &Xml<R>, name: &str) -> Rejection {
    xml.rejection("not-this-format", format!("`{}` has no message of ISO 20022 in it", excerpt(name)))
}

fn wrong_message<R: FnMut(u32) -> Vec<u8>>(xml: &Xml<R>, name: &str) -> Rejection {
    let what = match name {
        "BkToCstmrAcctRpt" => {
            "a report of the day (camt.052), whose entries may still change: the statement brings them"
        }
        "CstmrCdtTrfInitn" => "orders to a bank (pain.001), which this adapter writes and does not read",
        "CstmrPmtStsRpt" => "a bank's word on orders (pain.002), which is not read",
        "CstmrDrctDbtInitn" => "direct debits ordered from a bank (pain.008), which are not read",
        _ => "neither a statement (camt.053) nor a notification (camt.054)",
    };
    xml.rejection("wrong-message", format!("{} is {what}", excerpt(name)))
}

/// What the details of an entry have brought so far.
enum Parts {
    None,
    One(Box<Leaves>),
    /// Several, each with its amount; their sum.
    Many(i128),
    /// Several that cannot be told apart: the entry stands for all.
    Whole,
    /// The entry came before.
    Repeated,
}

struct Decoder<'a, S: Sink> {
    settings: &'a Settings,
    sink: &'a mut S,
    /// How often an identity of this digest has come.
    seen: HashMap<u64, u32>,
    warnings: usize,
}

impl<S: Sink> Decoder<'_, S> {
    fn statement<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>, element: &Element) -> Result<(), Rejection> {
        let mut statement = Statement::at(element.line, xml.place(), element.name == "Ntfctn");
        while let Some(child) = xml.child()? {
            match child.name.as_str() {
                "CreDtTm" => statement.created = Leaves::read(xml)?.moment(&[""])?,
                "FrToDt" => statement.set_period(&Leaves::read(xml)?)?,
                "StmtPgntn" => statement.set_page(&Leaves::read(xml)?),
                "Acct" => statement.set_account(&Leaves::read(xml)?)?,
                "Bal" => statement.add_balance(&Leaves::read(xml)?)?,
                "TxsSummry" => statement.set_totals(&Leaves::read(xml)?)?,
                "Ntry" if statement.account.is_empty() => {
                    return Err(xml.rejection("missing-field", "an entry before the account that it belongs to"));
                }
                "Ntry" => self.entry(xml, &child, &mut statement)?,
                _ => xml.skip()?,
            }
        }
        if statement.account.is_empty() {
            let reason = format!("{} has no Acct", element.name);
            return Err(rejection("missing-field", reason, format!("line {}", element.line)));
        }
        statement.close(self.settings.control)?;
        if !statement.is_notification() {
            self.sink.emit(statement.draft(self.settings.offset)?);
        }
        Ok(())
    }

    fn entry<R: FnMut(u32) -> Vec<u8>>(
        &mut self,
        xml: &mut Xml<R>,
        element: &Element,
        statement: &mut Statement,
    ) -> Result<(), Rejection> {
        self.check_count(xml)?;
        let mut entry = Entry::at(element.line, xml.place());
        let mut parts = Parts::None;
        while let Some(child) = xml.child()? {
            if child.name != "NtryDtls" {
                entry.take(&child, xml)?;
                continue;
            }
            let head = entry.head()?;
            while let Some(detail) = xml.child()? {
                match detail.name.as_str() {
                    "TxDtls" if head.is_booked => {
                        self.check_count(xml)?;
                        let part = Leaves::read(xml)?;
                        parts = self.part(statement, &entry, &head, parts, part)?;
                    }
                    "Btch" => {
                        entry.is_batch |= !matches!(Leaves::read(xml)?.text(&["NbOfTxs"]), "" | "0" | "1");
                    }
                    _ => xml.skip()?,
                }
            }
        }
        let head = entry.head()?;
        if !head.is_booked {
            statement.counts.pending += 1;
            return Ok(());
        }
        self.end_entry(statement, &entry, &head, parts)
    }

    fn check_count<R: FnMut(u32) -> Vec<u8>>(&self, xml: &Xml<R>) -> Result<(), Rejection> {
        match self.seen.len() >= PAYMENTS_MAX {
            true => Err(xml.rejection("xml-limit", format!("more than {PAYMENTS_MAX} payments"))),
            false => Ok(()),
        }
    }

    /// A further payment of the entry. The first is kept, since it may be the only one; then each is settled as it comes.
    fn part(
        &mut self,
        statement: &mut Statement,
        entry: &Entry,
        head: &Head,
        parts: Parts,
        part: Leaves,
    ) -> Result<Parts, Rejection> {
        let amount = part_amount(&part)?.filter(|amount| amount.currency == head.amount.currency);
        match parts {
            Parts::None => Ok(Parts::One(Box::new(part))),
            Parts::Whole | Parts::Repeated => Ok(parts),
            Parts::One(first) => {
                let of_first = part_amount(&first)?.filter(|amount| amount.currency == head.amount.currency);
                let (Some(of_first), Some(amount)) = (of_first, amount) else { return Ok(Parts::Whole) };
                if self.is_repeated(statement, entry, head) {
                    return Ok(Parts::Repeated);
                }
                let mut sum = self.one_of_many(statement, entry, head, &first, &of_first)?;
                sum += self.one_of_many(statement, entry, head, &part, &amount)?;
                Ok(Parts::Many(sum))
            }
            Parts::Many(sum) => {
                let amount = amount.ok_or_else(|| {
                    let reason = format!("a payment of the entry has no amount in {}", head.amount.currency);
                    rejection("missing-field", reason, part.place(&[]))
                })?;
                Ok(Parts::Many(sum + self.one_of_many(statement, entry, head, &part, &amount)?))
            }
        }
    }

    /// Gives the amount, negative where it goes the other way than the entry. Within a debit nothing is a credit: banks
    /// write there how the other side sees it.
    fn one_of_many(
        &mut self,
        statement: &mut Statement,
        entry: &Entry,
        head: &Head,
        part: &Leaves,
        amount: &Amount,
    ) -> Result<i128, Rejection> {
        let credit = head.credit && !is_debit(part).unwrap_or(false);
        let payment = Payment { settings: self.settings, statement, entry, part: Some(part), amount, credit };
        let (identity, _) = payment.identity();
        let id = id_of(&identity, self.times_seen(&identity));
        let counts = self.settle(&payment, id, None)?;
        counts.add_to(statement);
        Ok(if credit == head.credit { amount.units } else { -amount.units })
    }

    fn end_entry(
        &mut self,
        statement: &mut Statement,
        entry: &Entry,
        head: &Head,
        parts: Parts,
    ) -> Result<(), Rejection> {
        let (part, reason) = match &parts {
            Parts::Repeated => {
                statement.counts.repeated += 1;
                return Ok(());
            }
            Parts::Many(sum) => {
                statement.count(&head.amount, head.credit, &entry.place);
                return self.check_sum(entry, head, *sum);
            }
            Parts::Whole => (None, Some("the entry books several payments without saying how much each is")),
            Parts::None | Parts::One(_) if entry.is_batch => {
                (None, Some("the entry books several payments without listing them"))
            }
            Parts::One(part) => (Some(part.as_ref()), None),
            Parts::None => (None, None),
        };
        let amount = &head.amount;
        let payment = Payment { settings: self.settings, statement, entry, part, amount, credit: head.credit };
        let (identity, has_reference) = payment.identity();
        let times = self.times_seen(&identity);
        if has_reference && times > 0 {
            self.warn(&format!("line {}: the entry came before in this file; it counts once", entry.line));
            statement.counts.repeated += 1;
            return Ok(());
        }
        let is_listed_elsewhere = reason.is_some() && self.settings.batches == Batches::Elsewhere;
        let reason = reason.map(|text| Reason { code: "batch-without-details", text: text.to_owned() });
        let counts = match is_listed_elsewhere {
            true => Settled::counted(head.credit),
            false => self.settle(&payment, id_of(&identity, times), reason)?,
        };
        counts.add_to(statement);
        statement.count(amount, head.credit, &entry.place);
        Ok(())
    }

    /// What becomes of one booked payment.
    fn settle(&mut self, payment: &Payment<'_>, id: String, reason: Option<Reason>) -> Result<Settled, Rejection> {
        let mut settled = Settled::counted(payment.credit);
        match (payment.credit, payment.is_return()) {
            (true, false) if payment.is_internal() => settled.internal = true,
            (true, false) if payment.amount.units == 0 => {
                self.warn(&format!("line {}: a payment of nothing", payment.entry.line));
            }
            (true, false) => {
                let draft = payment.received(id, reason)?;
                settled.received = Some(draft.type_ == "payment.received.v1");
                self.sink.emit(draft);
            }
            (true, true) => {
                self.warn(&format!("line {}: an own payment came back, no payment of a customer", payment.entry.line));
            }
            (false, true) => match payment.refunded(id)? {
                Some(draft) => self.sink.emit(draft),
                None => {
                    let line = payment.entry.line;
                    self.warn(&format!("line {line}: money went back, but no single customer account is named"));
                }
            },
            (false, false) => {}
        }
        Ok(settled)
    }

    fn is_repeated(&mut self, statement: &Statement, entry: &Entry, head: &Head) -> bool {
        if entry.reference.is_empty() {
            return false;
        }
        let payment = Payment {
            settings: self.settings,
            statement,
            entry,
            part: None,
            amount: &head.amount,
            credit: head.credit,
        };
        let (mut identity, _) = payment.identity();
        identity.push("batch".to_owned());
        self.times_seen(&identity) > 0
    }

    fn check_sum(&self, entry: &Entry, head: &Head, sum: i128) -> Result<(), Rejection> {
        if self.settings.control == Control::Off || sum == head.amount.units {
            return Ok(());
        }
        let (stated, sum) = (amount::format(head.amount.units), amount::format(sum));
        let reason = format!("the entry is of {stated}, the payments it lists make {sum}");
        Err(rejection("batch-mismatch", reason, entry.place.clone()))
    }

    fn times_seen(&mut self, identity: &[String]) -> u32 {
        let parts: Vec<&str> = identity.iter().map(String::as_str).collect();
        let times = self.seen.entry(ids::derived_number(&parts, u64::MAX)).or_default();
        *times = times.saturating_add(1);
        *times - 1
    }

    fn warn(&mut self, text: &str) {
        self.warnings += 1;
        if self.warnings <= WARNINGS_MAX {
            self.sink.warn(text);
        }
    }
}

/// What is counted of one payment.
struct Settled {
    credit: bool,
    internal: bool,
    /// Whether it was credited to an account, where it became a message.
    received: Option<bool>,
}

impl Settled {
    fn counted(credit: bool) -> Self {
        Self { credit, internal: false, received: None }
    }

    fn add_to(&self, statement: &mut Statement) {
        let counts = &mut statement.counts;
        counts.incoming += u64::from(self.credit);
        counts.outgoing += u64::from(!self.credit);
        counts.internal += u64::from(self.internal);
        counts.received += u64::from(self.received == Some(true));
        counts.rejected += u64::from(self.received == Some(false));
    }
}

/// The amount of one payment of an entry: since version 04 beside it, before in `AmtDtls`.
fn part_amount(part: &Leaves) -> Result<Option<Amount>, Rejection> {
    part.amount(&["Amt", "AmtDtls/TxAmt/Amt"])
}

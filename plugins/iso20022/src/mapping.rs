//! A message of a bank -> messages. Pure: the document is read as it comes, drafts and warnings go out.
//!
//! Source: ISO 20022, Bank-to-Customer Cash Management (camt.053, camt.054).

use std::collections::HashSet;

use busbar_sdk::xml::{Element, Event, Xml};
use busbar_sdk::{Control, Rejection, Sink, rejection};

use crate::amount::{self, Amount};
use crate::charges;
use crate::entry::{Entry, Head};
use crate::identity::{Booked, Identity, Seen, digest, id_of};
use crate::leaves::{Leaves, excerpt};
use crate::payment::{Payment, Reason};
use crate::settings::{Batches, Reversals, Settings};
use crate::statement::{Statement, debits};

#[cfg(test)]
mod tests;

/// What is remembered of each payment, to tell repeats, is the only thing that grows with a message.
const PAYMENTS_MAX: usize = 500_000;
/// Warnings of one file; further ones are only counted.
const WARNINGS_MAX: usize = 100;

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
    let mut decoder = Decoder { settings, sink, seen: Seen::default(), statements: HashSet::new(), warnings: 0 };
    let mut documents = 0_u64;
    let mut is_document = root.name == "Document";
    // Banks put a message into envelopes of their own, after an application header, and some put several into one.
    loop {
        if is_document {
            documents += 1;
            decoder.document(xml)?;
        }
        is_document = match xml.next_event()? {
            Event::Start(element) => element.name == "Document",
            Event::Eof => break,
            Event::End | Event::Text(_) => false,
        };
    }
    if decoder.warnings > WARNINGS_MAX {
        let more = decoder.warnings - WARNINGS_MAX;
        decoder.sink.warn(&format!("{more} further warnings are left out"));
    }
    match documents {
        0 => Err(not_this(root.line, &root.name)),
        _ => Ok(()),
    }
}

fn not_this(line: u64, name: &str) -> Rejection {
    let reason = format!("`{}` has no message of ISO 20022 in it", excerpt(name));
    rejection("not-this-format", reason, format!("line {line}"))
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
    /// Several, each with its amount; their sum, and that of their charges.
    Many(i128, i128),
    /// Several that cannot be told apart: the entry stands for all.
    Whole,
    /// The entry came before.
    Repeated,
}

struct Decoder<'a, S: Sink> {
    settings: &'a Settings,
    sink: &'a mut S,
    seen: Seen,
    /// Accounts and numbers of the statements read.
    statements: HashSet<(String, String)>,
    warnings: usize,
}

impl<S: Sink> Decoder<'_, S> {
    fn document<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>) -> Result<(), Rejection> {
        let message = xml.child()?.ok_or_else(|| not_this(xml.line(), "Document"))?;
        let kind = match message.name.as_str() {
            "BkToCstmrStmt" => "Stmt",
            "BkToCstmrDbtCdtNtfctn" => "Ntfctn",
            other => return Err(wrong_message(xml, other)),
        };
        let place = format!("line {}, element {}", message.line, xml.path());
        let mut statements = 0_u64;
        while let Some(child) = xml.child()? {
            if child.name == kind {
                self.statement(xml, &child)?;
                statements += 1;
            } else {
                xml.skip()?;
            }
        }
        match statements {
            0 => Err(rejection("missing-field", format!("there is no {kind} in it"), place)),
            _ => Ok(()),
        }
    }

    fn statement<R: FnMut(u32) -> Vec<u8>>(&mut self, xml: &mut Xml<R>, element: &Element) -> Result<(), Rejection> {
        let mut statement = Statement::at(element.line, xml.place(), element.name == "Ntfctn");
        while let Some(child) = xml.child()? {
            match child.name.as_str() {
                "CreDtTm" => statement.created = Leaves::read(xml)?.moment(&[""])?,
                "FrToDt" => statement.set_period(&Leaves::read(xml)?)?,
                "StmtPgntn" => statement.set_page(&Leaves::read(xml)?)?,
                "Id" => statement.number = xml.text()?,
                "Acct" => {
                    statement.set_account(&Leaves::read(xml)?)?;
                    // A statement that comes again begins anew: what is alike in both is the same.
                    if !self.statements.insert(statement.name()) {
                        self.seen = Seen::default();
                    }
                }
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
        let mut said = String::new();
        while let Some(child) = xml.child()? {
            if child.name != "NtryDtls" {
                entry.take(&child, xml)?;
                continue;
            }
            let head = self.head(&entry)?;
            while let Some(detail) = xml.child()? {
                match detail.name.as_str() {
                    "TxDtls" if head.is_booked => {
                        self.check_count(xml)?;
                        let part = Leaves::read(xml)?;
                        said = digest(&said, &self.payment(statement, &entry, &head, Some(&part)).content());
                        parts = self.part(statement, &entry, &head, parts, part)?;
                    }
                    "Btch" => {
                        entry.is_batch |= !matches!(Leaves::read(xml)?.text(&["NbOfTxs"]), "" | "0" | "1");
                    }
                    _ => xml.skip()?,
                }
            }
        }
        let head = self.head(&entry)?;
        if !head.is_booked {
            statement.counts.pending += 1;
            return Ok(());
        }
        said = digest(&said, std::slice::from_ref(&entry.info));
        self.end_entry(statement, &entry, &head, parts, said)
    }

    /// What is complete of the entry before its details.
    fn head(&self, entry: &Entry) -> Result<Head, Rejection> {
        let mut head = entry.head()?;
        head.credit ^= entry.is_reversal && self.settings.reversals == Reversals::OriginalSide;
        Ok(head)
    }

    fn payment<'p>(
        &'p self,
        statement: &'p Statement,
        entry: &'p Entry,
        head: &'p Head,
        part: Option<&'p Leaves>,
    ) -> Payment<'p> {
        Payment { settings: self.settings, statement, entry, part, amount: &head.amount, credit: head.credit }
    }

    fn check_count<R: FnMut(u32) -> Vec<u8>>(&self, xml: &Xml<R>) -> Result<(), Rejection> {
        match self.seen.count() >= PAYMENTS_MAX {
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
                let whole = self.payment(statement, entry, head, None).identity();
                if matches!(whole, Identity::Bank(key) if self.seen.has(&key)) {
                    return Ok(Parts::Repeated);
                }
                let first = self.one_of_many(statement, entry, head, &first, &of_first)?;
                let second = self.one_of_many(statement, entry, head, &part, &amount)?;
                Ok(Parts::Many(first.0 + second.0, first.1 + second.1))
            }
            Parts::Many(sum, charges) => {
                let amount = amount.ok_or_else(|| {
                    let reason = format!("a payment of the entry has no amount in {}", head.amount.currency);
                    rejection("missing-field", reason, part.place(&[]))
                })?;
                let further = self.one_of_many(statement, entry, head, &part, &amount)?;
                Ok(Parts::Many(sum + further.0, charges + further.1))
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
    ) -> Result<(i128, i128), Rejection> {
        let credit = !debits(part, "CdtDbtInd")?.contains(&true) && head.credit;
        let payment = Payment { settings: self.settings, statement, entry, part: Some(part), amount, credit };
        let key = payment.identity_in(&head.amount);
        let id = id_of(&key, self.seen.times(&key));
        let counts = self.settle(&payment, id, None)?;
        counts.add_to(statement);
        let charges = charges::of(part, "Chrgs/")?.filter(|charges| charges.currency == amount.currency);
        let sign = if credit == head.credit { 1 } else { -1 };
        Ok((sign * amount.units, charges.map_or(0, |charges| charges.units)))
    }

    fn end_entry(
        &mut self,
        statement: &mut Statement,
        entry: &Entry,
        head: &Head,
        parts: Parts,
        said: String,
    ) -> Result<(), Rejection> {
        let (part, reason) = match &parts {
            Parts::Whole => (None, Some("the entry books several payments without saying how much each is")),
            Parts::None | Parts::One(_) if entry.is_batch => {
                (None, Some("the entry books several payments without listing them"))
            }
            Parts::One(part) => (Some(part.as_ref()), None),
            Parts::None | Parts::Many(..) | Parts::Repeated => (None, None),
        };
        let payment =
            Payment { settings: self.settings, statement, entry, part, amount: &head.amount, credit: head.credit };
        let identity = payment.identity();
        let Some((key, times)) = self.first_time(entry, identity, said)? else {
            self.warn(&format!("line {}: the entry came before in this file; it counts once", entry.line));
            statement.counts.repeated += 1;
            return Ok(());
        };
        if let Parts::Many(sum, charges) = parts {
            statement.count(&head.amount, head.credit, &entry.place);
            return self.check_sum(entry, head, sum, charges);
        }
        let is_listed_elsewhere = reason.is_some() && self.settings.batches == Batches::Elsewhere;
        let reason = reason.map(|text| Reason { code: "batch-without-details", text: text.to_owned() });
        let counts = match is_listed_elsewhere {
            true => Settled::counted(head.credit),
            false => self.settle(&payment, id_of(&key, times), reason)?,
        };
        counts.add_to(statement);
        statement.count(&head.amount, head.credit, &entry.place);
        Ok(())
    }

    /// The key of a booking, and how often one like it came before; nothing where it is that one again.
    ///
    /// # Errors
    /// `repeated-reference` where the bank's reference names two bookings of one day and amount.
    fn first_time(
        &mut self,
        entry: &Entry,
        identity: Identity,
        said: String,
    ) -> Result<Option<(Vec<String>, u32)>, Rejection> {
        match identity {
            Identity::Bank(key) => match self.seen.book(&key, entry.line, said) {
                Booked::New => Ok(Some((key, 0))),
                Booked::Again => Ok(None),
                Booked::Other(line) => {
                    let reason = format!(
                        "the entry has the bank's reference, day, side and amount of that in line {line}, and says something else; \
                         where a bank's references are not unique, `entry-reference = \"ignored\"` says so"
                    );
                    Err(rejection("repeated-reference", reason, entry.place.clone()))
                }
            },
            Identity::Once(key) => match self.seen.times(&key) {
                0 => Ok(Some((key, 0))),
                _ => Ok(None),
            },
            Identity::Often(key) => {
                let times = self.seen.times(&key);
                Ok(Some((key, times)))
            }
        }
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

    fn check_sum(&self, entry: &Entry, head: &Head, sum: i128, charges: i128) -> Result<(), Rejection> {
        let of_entry = entry.charges.as_ref().map_or(0, |charges| charges.units);
        // Charges are taken out of a credit, and added to a debit.
        let less = if head.credit { sum - head.amount.units } else { head.amount.units - sum };
        if self.settings.control == Control::Off || less == 0 || less == charges || less == of_entry {
            return Ok(());
        }
        let (stated, sum) = (amount::format(head.amount.units), amount::format(sum));
        let reason = format!("the entry is of {stated}, the payments it lists make {sum}");
        Err(rejection("batch-mismatch", reason, entry.place.clone()))
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

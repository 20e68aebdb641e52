//! What must be true in the end. The same list says when everything has arrived and what is missing.

use super::inputs::{BROKEN, Expected, STATEMENT};
use super::observed::{Observed, new_messages, number, text};
use busbar_standins::billing::Kind;
use busbar_standins::money::decimal;
use serde_json::Value;

/// Name of the second copy of the statement in the bank's folder.
pub const COPY: &str = "statement-2026-11-20-copy.txt";

pub struct Check {
    pub what: &'static str,
    pub expected: String,
    pub found: String,
}

impl Check {
    pub fn holds(&self) -> bool {
        self.expected == self.found
    }
}

fn check(what: &'static str, expected: impl ToString, found: impl ToString) -> Check {
    Check { what, expected: expected.to_string(), found: found.to_string() }
}

pub fn all(seen: &Observed, expected: &Expected) -> Vec<Check> {
    let mut checks = files(seen, expected);
    checks.extend(terminal(seen));
    checks.extend(journal(seen, expected));
    checks.extend(systems(seen, expected));
    checks
}

fn files(seen: &Observed, expected: &Expected) -> Vec<Check> {
    let outcome = |name: &str| text(seen.file(name).unwrap_or(&Value::Null), "/outcome").to_owned();
    let first = seen.file(STATEMENT).unwrap_or(&Value::Null);
    let new = expected.received + expected.rejected + 1;
    let count = |intake: &Value| new_messages(intake).map_or("none".to_owned(), |new| new.to_string());
    let documents = |kind: &str| number(seen.imported(), &format!("/documents/{kind}"));
    let has = |files: &[String], name: &str| {
        let report = format!("{name}.report.txt");
        files.iter().any(|file| file == name) && files.contains(&report)
    };
    vec![
        check("the statement's intake", "accepted", outcome(STATEMENT)),
        check("new messages of the statement", new, count(first)),
        check("incoming documents it counts", expected.received + expected.rejected, documents("incoming")),
        check("outgoing documents it counts", expected.outgoing, documents("outgoing")),
        check("repeated documents it counts", expected.repeated, documents("repeated")),
        check("the statement and its report in done/", true, has(&seen.done_files, STATEMENT)),
        check("the intake of its second copy", "repeated", outcome(COPY)),
        check("new messages of the second copy", 0, count(seen.file(COPY).unwrap_or(&Value::Null))),
        check("the broken file's intake", "refused", outcome(BROKEN)),
        check("the broken file and its report in failed/", true, has(&seen.failed_files, BROKEN)),
    ]
}

fn terminal(seen: &Observed) -> Vec<Check> {
    let replies = &seen.exchanges;
    let code = |result: Option<i32>| result.map_or("none".to_owned(), |code| code.to_string());
    let first = replies.pay.prv_txn.clone().unwrap_or_else(|| "none".to_owned());
    let again = replies.pay_again.prv_txn.clone().unwrap_or_else(|| "none again".to_owned());
    vec![
        check("code of check, known account", 0, code(replies.check.result)),
        check("code of check, unknown account", 4, code(replies.check_unknown.result)),
        check("code of pay", 0, code(replies.pay.result)),
        check("code of the same pay again", 0, code(replies.pay_again.result)),
        check("prv_txn of the same pay again", first, again),
        check("code of pay, unknown account", 4, code(replies.pay_unknown.result)),
    ]
}

fn journal(seen: &Observed, expected: &Expected) -> Vec<Check> {
    let count = |kind: &str| seen.of(kind).count();
    let received = expected.received + 1;
    // Payments go to billing and the CRM, the invoice to billing and the portal, the rest to the CRM.
    let deliveries = received * 2 + 2 + expected.rejected + 1;
    let state = |state: &str| seen.delivery_states().filter(|found| *found == state).count();
    vec![
        check("payment.received.v1 in the journal", received, count("payment.received.v1")),
        check("payment.rejected.v1 in the journal", expected.rejected, count("payment.rejected.v1")),
        check("statement.imported.v1 in the journal", 1, count("statement.imported.v1")),
        check("invoice.issued.v1 in the journal", 1, count("invoice.issued.v1")),
        check("deliveries done", deliveries, state("done")),
        check("deliveries ready", 0, state("ready")),
        check("deliveries parked", 0, state("parked")),
        check("deliveries dead", 0, state("dead")),
    ]
}

fn systems(seen: &Observed, expected: &Expected) -> Vec<Check> {
    let (billing, crm, portal) = (&seen.billing, &seen.crm, &seen.portal);
    let received = expected.received + 1;
    let total = expected.received_total + expected.terminal_total;
    vec![
        check("payments that billing executed", received, billing.of(Kind::Payment).count()),
        check("their sum", decimal(total), decimal(billing.total(Kind::Payment))),
        check("invoices that billing executed", 1, billing.of(Kind::Invoice).count()),
        check("executed twice by billing", 0, billing.executed_twice().len()),
        check("refused by billing", 0, billing.refused + billing.unauthorized),
        check("payment.received.v1 at the CRM", received, crm.count("payment.received.v1")),
        check("payment.rejected.v1 at the CRM", expected.rejected, crm.count("payment.rejected.v1")),
        check("statement.imported.v1 at the CRM", 1, crm.count("statement.imported.v1")),
        check("refused by the CRM", 0, crm.refused),
        check("webhooks at the portal", 1, portal.webhooks.len()),
        check("refused by the portal", 0, portal.refused),
    ]
}

//! The story, input by input: what came in, what the hub made of it, who got it and what they did.

use super::checks::{COPY, Check};
use super::inputs::{self, BROKEN, Expected, INVOICE, STATEMENT, TERMINAL_ACCOUNT};
use super::observed::{Observed, new_messages, number, text};
use super::paint::{bad, good, look, more, row, title};
use super::play::Scene;
use busbar_standins::billing::{Effect, Kind};
use busbar_standins::money::decimal;
use busbar_standins::terminal::Reply;
use serde_json::Value;
use std::path::Path;

pub fn opening(scene: &Scene, log: &Path) {
    title("busbar demo: a day of the invented utility «Заречинские электросети»");
    row("hub", &format!("{}  (its log: {})", scene.hub.url(), log.display()));
    row("billing", &format!("http://{}  stand-in, plain REST", scene.billing.addr()));
    row("crm", &format!("http://{}  stand-in, CloudEvents", scene.crm.addr()));
    row("portal", &format!("http://{}  stand-in, Standard Webhooks", scene.portal.addr()));
    row("bank", &format!("files in {}", scene.inbox.display()));
    row("terminals", "a payment terminal, OSMP over HTTP");
    println!();
}

pub async fn tell(scene: &Scene, seen: &Observed, expected: &Expected, invoice: &Value) -> anyhow::Result<()> {
    statement(scene, seen, expected);
    copy(seen, scene);
    broken(seen, scene);
    terminal(scene, seen);
    issued(scene, seen, invoice);
    let paid = seen.of("payment.received.v1").find(|message| from(message, "terminals"));
    if let Some(seq) = paid.map(|message| text(message, "/seq")) {
        trace(scene, seq).await?;
    }
    title("To look further");
    further(scene);
    Ok(())
}

fn from(message: &Value, system: &str) -> bool {
    text(message, "/source").ends_with(&format!("/{system}"))
}

fn statement(scene: &Scene, seen: &Observed, expected: &Expected) {
    title(&format!("1  A bank statement: inputs/{STATEMENT}"));
    let (documents, inbox) = (expected.documents, scene.inbox.display());
    row("in", &format!("1CClientBankExchange in windows-1251, {documents} documents, put into {inbox}"));
    row("hub", &intake(seen.file(STATEMENT)));
    let of = |kind: &str| seen.of(kind).filter(|message| from(message, "bank")).count();
    let (received, rejected) = (of("payment.received.v1"), of("payment.rejected.v1"));
    more(&format!("{received} payment.received.v1: a customer's account was found"));
    more(&format!("{rejected} payment.rejected.v1: none was found, a person must assign the money"));
    let imported = seen.imported();
    more(&format!("{} statement.imported.v1: {}", of("statement.imported.v1"), control(imported)));
    let (outgoing, repeated) = (number(imported, "/documents/outgoing"), number(imported, "/documents/repeated"));
    more(&format!("{outgoing} outgoing documents and {repeated} repeated one were counted only"));
    booked(seen);
    let events = seen.crm.events.iter().filter(|event| event.source.ends_with("/bank"));
    row("crm", &format!("got {} events", events.count()));
    row("file", "is in done/ now, with a report beside it");
    look(&format!("{}/v1/messages?source=/demo/bank", scene.hub.url()));
}

fn control(imported: &Value) -> String {
    let money = |field: &str| text(imported, &format!("/{field}/value"));
    let (opening, closing) = (money("openingBalance"), money("closingBalance"));
    format!("{opening} + {} − {} = {closing}", money("received"), money("spent"))
}

/// What billing executed of the statement, with the four first documents as examples.
fn booked(seen: &Observed) {
    let of_bank = |effect: &&Effect| effect.account != TERMINAL_ACCOUNT;
    let payments: Vec<&Effect> = seen.billing.of(Kind::Payment).filter(of_bank).collect();
    let sum: i64 = payments.iter().map(|effect| effect.amount).sum();
    row("billing", &format!("executed {} payments, {} RUB; for example", payments.len(), decimal(sum)));
    for document in inputs::statement().documents.iter().filter(|document| document.incoming).take(4) {
        let its_own =
            |effect: &&&Effect| effect.amount == document.amount && document.purpose.contains(&effect.account);
        if let Some(effect) = payments.iter().find(its_own) {
            let (money, entry) = (decimal(effect.amount), text(&effect.answer, "/entry"));
            more(&format!("«{}»  →  {} {money} RUB, entry {entry}", document.purpose, effect.account));
        }
    }
}

fn copy(seen: &Observed, scene: &Scene) {
    title("2  The same statement once more, under another name");
    row("in", &format!("{COPY}, put into {}", scene.inbox.display()));
    row("hub", &intake(seen.file(COPY)));
    row("billing", &format!("executed twice: {}", seen.billing.executed_twice().len()));
    look(&format!("{}/v1/intakes?system=bank", scene.hub.url()));
}

fn broken(seen: &Observed, scene: &Scene) {
    title(&format!("3  A broken statement: inputs/{BROKEN}"));
    row("in", &format!("its closing balance is ten kopecks too high; put into {}", scene.inbox.display()));
    row("hub", &intake(seen.file(BROKEN)));
    let error = seen.file(BROKEN).and_then(|intake| intake.get("error")).unwrap_or(&Value::Null);
    more(&format!("{} at {}", text(error, "/code"), text(error, "/place")));
    more(text(error, "/detail"));
    row("file", "is in failed/ now, with a report beside it; not one of its payments was taken");
    look(&format!("{}/v1/intakes?outcome=refused", scene.hub.url()));
}

fn terminal(scene: &Scene, seen: &Observed) {
    let replies = &seen.exchanges;
    title("4  A payment terminal: OSMP check and pay at /hooks/terminals/");
    row("in", &format!("check, known account      →  {}", reply(&replies.check)));
    more(&format!("check, unknown account    →  {}", reply(&replies.check_unknown)));
    more(&format!("pay {} RUB            →  {}", inputs::TERMINAL_SUM, reply(&replies.pay)));
    more(&format!("the same pay once more    →  {}", reply(&replies.pay_again)));
    more(&format!("pay, unknown account      →  {}", reply(&replies.pay_unknown)));
    let messages = seen.of("payment.received.v1").filter(|message| from(message, "terminals"));
    row("hub", &format!("asked billing for the accounts; {} payment.received.v1", messages.count()));
    let (found, not_found) = (seen.billing.found, seen.billing.not_found);
    row("billing", &format!("was asked {} times, {not_found} of them in vain", found + not_found));
    let paid = seen.billing.of(Kind::Payment).filter(|effect| effect.account == TERMINAL_ACCOUNT);
    for effect in paid {
        more(&format!("executed {} RUB, entry {}", decimal(effect.amount), text(&effect.answer, "/entry")));
    }
    let told = seen.crm.of("payment.received.v1").filter(|event| event.source.ends_with("/terminals"));
    row("crm", &format!("got {} event", told.count()));
    look(&format!("{}/v1/messages?source=/demo/terminals", scene.hub.url()));
}

fn reply(reply: &Reply) -> String {
    let Some(result) = reply.result else { return format!("HTTP {}: {}", reply.status, reply.body) };
    let comment = reply.comment.as_deref().filter(|comment| !comment.is_empty());
    let comment = comment.map_or(String::new(), |comment| format!(" ({comment})"));
    let provider = reply.prv_txn.as_deref().map_or(String::new(), |id| format!(", prv_txn {id}"));
    format!("result {result}{comment}{provider}")
}

fn issued(scene: &Scene, seen: &Observed, accepted: &Value) {
    title(&format!("5  An invoice from the CRM: inputs/{INVOICE}"));
    row("in", "POST /v1/messages, invoice.issued.v1 as a structured CloudEvent");
    row("hub", &format!("accepted as message {}", text(accepted, "/seq")));
    for effect in seen.billing.of(Kind::Invoice) {
        let entry = text(&effect.answer, "/entry");
        row("billing", &format!("executed {} RUB for {}, entry {entry}", decimal(effect.amount), effect.account));
    }
    for webhook in &seen.portal.webhooks {
        row("portal", &format!("verified the signature of {}", webhook.id));
    }
    look(&format!("{}/v1/messages/{}", scene.hub.url(), text(accepted, "/seq")));
}

async fn trace(scene: &Scene, seq: &str) -> anyhow::Result<()> {
    let shown = scene.hub.message(seq).await?;
    title(&format!("6  One message opened: the terminal's payment, /v1/messages/{seq}"));
    let message = shown.get("message").unwrap_or(&Value::Null);
    let (kind, source) = (text(message, "/type"), text(message, "/source"));
    row("message", &format!("{kind} {} from {source}, subject {}", text(message, "/id"), text(message, "/subject")));
    let none = Vec::new();
    for delivery in shown.get("deliveries").and_then(Value::as_array).unwrap_or(&none) {
        let (state, attempts) = (text(delivery, "/state"), number(delivery, "/attempts"));
        row("delivery", &format!("to {}: {state}, attempts {attempts}", text(delivery, "/system")));
        for call in delivery.get("calls").and_then(Value::as_array).unwrap_or(&none) {
            let (method, url) = (text(call, "/request/method"), text(call, "/request/url"));
            let (status, micros) = (number(call, "/answer/status"), number(call, "/duration-us"));
            row("call", &format!("{method} {url}  →  {status}, {micros} µs"));
        }
    }
    Ok(())
}

fn intake(intake: Option<&Value>) -> String {
    let Some(intake) = intake else { return "has not taken it".to_owned() };
    let outcome = text(intake, "/outcome");
    match (outcome, new_messages(intake)) {
        ("accepted", Some(new)) => format!("accepted: {new} new messages"),
        ("repeated", _) => format!("repeated: all its {} messages were known", number(intake, "/messages")),
        _ => outcome.to_owned(),
    }
}

fn further(scene: &Scene) {
    let (url, key) = (scene.hub.url(), super::READ_KEY);
    more("started with --stay, the hub keeps answering; the addresses above and below want the key:");
    more(&format!("curl -H 'Authorization: Bearer {key}' {url}/v1/messages"));
    more(&format!("{url}/v1/messages?type=payment.rejected.v1"));
    more(&format!("{url}/v1/intakes"));
    more(&format!("the console, in a browser: {url}/ (sign in with {key})"));
    more("without a key:");
    more(&format!("{url}/metrics  {url}/openapi.json"));
    more("busbar messages --url http://127.0.0.1:18080 --key demo-read-key");
}

pub fn verdict(checks: &[Check], seen: &Observed) {
    const SHOWN: usize = 10;
    let missing: Vec<&Check> = checks.iter().filter(|check| !check.holds()).collect();
    println!();
    if missing.is_empty() {
        good(&format!("Everything arrived: {} of {} expectations hold.", checks.len(), checks.len()));
        return;
    }
    bad(&format!("{} of {} expectations do not hold:", missing.len(), checks.len()));
    for check in missing {
        bad(&format!("  {}: expected {}, found {}", check.what, check.expected, check.found));
    }
    for line in seen.not_done().iter().take(SHOWN) {
        bad(&format!("  {line}"));
    }
}

//! Check and pay: from a request to the reply, asking and stating through [`Hub`].
//!
//! Source: the OSMP (QIWI) provider protocol, `check` and `pay`; Sber's dialect after public code that answers it.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::messages::AskError;
use busbar_sdk::money::{self, Money};
use busbar_sdk::{Draft, HookRequest, HookResponse, Hub, Message, ids};
use serde::{Deserialize, Serialize};

use crate::reply::{Checked, Paid, Problem, Reply};
use crate::request::{self, Dialect, Payment, Request};

/// A receipt has at most 18 digits: it fits every integer type a network may keep it in.
const RECEIPT_BOUND: u64 = 1_000_000_000_000_000_000;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    dialect: Dialect,
    deadline_ms: u32,
    unknown_account_code: Option<u16>,
    min_sum: String,
    max_sum: String,
    currency: String,
    utc_offset: Offset,
    channel: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dialect: Dialect::Osmp,
            deadline_ms: 10_000,
            unknown_account_code: None,
            min_sum: "0.01".to_owned(),
            max_sum: "1000000.00".to_owned(),
            currency: "RUB".to_owned(),
            utc_offset: Offset::MOSCOW,
            channel: "terminal".to_owned(),
        }
    }
}

/// Serves one request. Whatever is wrong with it, the reply is one of the protocol.
pub fn handle(settings: &Settings, request: &HookRequest, hub: &mut impl Hub) -> HookResponse {
    let (txn_id, request) = request::parse(settings.dialect, request);
    let reply = match request {
        Ok(Request::Check { account, sum_minor }) => check(settings, &account, sum_minor, hub),
        Ok(Request::Pay(payment)) => pay(settings, &payment, hub),
        Err(problem) => Err(problem),
    };
    let reply = reply.unwrap_or_else(|problem| Reply::Refused(problem, None));
    reply.response(settings.dialect, txn_id.as_deref(), settings.unknown_account_code)
}

fn check(settings: &Settings, account: &str, sum_minor: Option<i128>, hub: &mut impl Hub) -> Result<Reply, Problem> {
    if let Some(sum_minor) = sum_minor {
        within_limits(settings, sum_minor)?;
    }
    let answer = look_up(settings, account, hub)?;
    // The screen shows a number without a currency: it is that of the payment, or nothing.
    let due = answer.amount_due.filter(|due| due.currency == settings.currency);
    let due = due.filter(|due| due.minor().is_some_and(|minor| minor > 0));
    let customer = answer.customer.unwrap_or_default();
    Ok(Reply::Checked(Checked { name: customer.name, address: customer.address, due: due.map(|due| due.value) }))
}

fn pay(settings: &Settings, payment: &Payment, hub: &mut impl Hub) -> Result<Reply, Problem> {
    let id = payment_id(&payment.txn_id);
    // Before the limits: a repeat gets the same reply even if they were changed in between.
    if let Some(known) = hub.lookup(&id) {
        return repeated(settings, payment, &known, hub);
    }
    within_limits(settings, payment.sum_minor)?;
    look_up(settings, &payment.account, hub)?;
    let receipt = receipt(&payment.txn_id);
    let paid_at = dates::rfc3339(payment.paid_at, settings.utc_offset);
    let sum = Money::of_minor(payment.sum_minor, &settings.currency);
    let paid = Paid { receipt: receipt.clone(), sum: sum.value.clone(), registered: sber_moment(&paid_at) };
    let data = Stated {
        account: payment.account.clone(),
        amount: sum,
        channel: settings.channel.clone(),
        paid_on: dates::iso_date(payment.paid_at.date()),
        paid_at: paid_at.clone(),
        document: Document { number: payment.txn_id.clone() },
        receipt,
    };
    hub.emit(Draft {
        subject: Some(payment.account.clone()),
        time: Some(paid_at),
        ..busbar_sdk::draft(id, "payment.received.v1", serde_json::to_string(&data).unwrap_or_default())
    });
    Ok(Reply::Paid(paid))
}

fn repeated(settings: &Settings, payment: &Payment, known: &Message, hub: &mut impl Hub) -> Result<Reply, Problem> {
    let Ok(stated) = serde_json::from_str::<Stated>(&known.data) else {
        hub.warn(&format!("message {} is not one this adapter stated", known.id));
        return Err(Problem::Internal);
    };
    let earlier = Paid {
        receipt: stated.receipt,
        sum: stated.amount.minor().map(money::format_minor).unwrap_or_default(),
        registered: sber_moment(&stated.paid_at),
    };
    let same =
        stated.account == payment.account && stated.amount == Money::of_minor(payment.sum_minor, &settings.currency);
    if same { Ok(Reply::Paid(earlier)) } else { Ok(Reply::Refused(Problem::Conflict, Some(earlier))) }
}

fn within_limits(settings: &Settings, sum_minor: i128) -> Result<(), Problem> {
    let limit = |text: &str| money::parse_minor(text).ok_or(Problem::Internal);
    if sum_minor < limit(&settings.min_sum)? {
        Err(Problem::SumTooSmall)
    } else if sum_minor > limit(&settings.max_sum)? {
        Err(Problem::SumTooLarge)
    } else {
        Ok(())
    }
}

/// Asks whether the account exists and takes payments. A missing answer never refuses a customer for good: the network
/// asks again.
fn look_up(settings: &Settings, account: &str, hub: &mut impl Hub) -> Result<Answer, Problem> {
    let data = serde_json::json!({ "account": account }).to_string();
    // Each request asks anew: an account may be opened or closed in between.
    let id = ids::derived(&["account.lookup", account, &hub.now_ms().to_string()]);
    let question = Draft { subject: Some(account.to_owned()), ..busbar_sdk::draft(id, "account.lookup.v1", data) };
    let answer = match hub.ask(&question, settings.deadline_ms) {
        Ok(answer) => answer,
        Err(AskError::Refused(text)) => {
            hub.warn(&format!("account.lookup.v1 was refused: {text}"));
            return Err(Problem::Internal);
        }
        Err(AskError::Timeout) => return Err(Problem::Later),
        Err(AskError::NoAnswerer(text) | AskError::Failed(text)) => {
            hub.warn(&format!("account.lookup.v1 was not answered: {text}"));
            return Err(Problem::Later);
        }
    };
    let answer: Answer = serde_json::from_str(&answer.data).map_err(|error| {
        hub.warn(&format!("the answer to account.lookup.v1 cannot be read: {error}"));
        Problem::Later
    })?;
    match (answer.found, answer.payable) {
        (false, _) => Err(Problem::UnknownAccount),
        (true, Some(false)) => Err(Problem::ClosedAccount),
        (true, _) => Ok(answer),
    }
}

fn payment_id(txn_id: &str) -> String {
    format!("payment-{txn_id}")
}

/// Our number of the payment, derived from the network's: any repeat, even one at the same moment, gives the same.
fn receipt(txn_id: &str) -> String {
    ids::derived_number(&["osmp", txn_id], RECEIPT_BOUND).to_string()
}

/// `2026-09-05T10:11:12+03:00` -> `05.09.2026_10:11:12`.
fn sber_moment(rfc3339: &str) -> String {
    let part = |from: usize, to: usize| rfc3339.get(from..to).unwrap_or_default();
    format!("{}.{}.{}_{}", part(8, 10), part(5, 7), part(0, 4), part(11, 19))
}

/// The data of payment.received.v1 as this adapter states it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stated {
    account: String,
    amount: Money,
    channel: String,
    paid_on: String,
    paid_at: String,
    document: Document,
    receipt: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    number: String,
}

/// The data of account.lookup.answer.v1 as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    found: bool,
    payable: Option<bool>,
    amount_due: Option<Money>,
    customer: Option<Customer>,
}

#[derive(Default, Deserialize)]
struct Customer {
    name: Option<String>,
    address: Option<String>,
}

#[cfg(test)]
mod tests;

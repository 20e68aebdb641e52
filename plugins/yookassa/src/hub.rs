//! What is done for an invoice and for a notification.

use busbar_sdk::acquiring::{self, Invoice};
use busbar_sdk::encoding::without_bom;
use busbar_sdk::http::{Authorization, HttpError, Request, Response};
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::{
    Failure, Header, HookRequest, HookResponse, Hub, Message, Rejection, data_of, rejected, rejection, transient,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::mapping::{self, Payment, Refund, Settings, bad_answer};
use crate::order::{Bill, Kind, Order};

/// Bytes of a notification; the service's own have one or two thousand.
const BODY_BYTES_MAX: usize = 256 * 1024;
const ID_BYTES_MAX: usize = 64;

/// Events by which no money of an account has moved.
const QUIET: [&str; 7] = [
    "payment.waiting_for_capture",
    "payment.canceled",
    "payout.succeeded",
    "payout.canceled",
    "deal.closed",
    "payment_method.active",
    "refund.canceled",
];

/// A payment page for an invoice.
///
/// # Errors
/// See [`Order::of`], [`Bill::link`], [`Payment::link`] and [`object`].
pub fn deliver(settings: &Settings, message: &Message, hub: &mut impl Hub) -> Result<(), Failure> {
    let invoice: Invoice = data_of(message)?;
    let Some(order) = Order::of(settings, message, &invoice, hub.now_ms())? else {
        hub.info(&format!("invoice {}: nothing to pay, no page is made", message.id));
        return Ok(());
    };
    let reply = post(settings, order.path, &order.key, order.body, hub);
    let what = format!("POST {}", order.path);
    let link = match settings.page {
        Kind::Invoice => object::<Bill>(reply, &what)?.link(settings, &invoice)?,
        Kind::Payment => object::<Payment>(reply, &what)?.link(settings, &invoice)?,
    };
    match link {
        Some(draft) => hub.emit(draft),
        None => hub.info(&format!("invoice {}: paid already", message.id)),
    }
    Ok(())
}

#[derive(Deserialize)]
struct Notification {
    r#type: String,
    event: String,
    object: Named,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// Serves one notification. It is not signed: it only says which object to look at, and what the API says of that counts.
///
/// # Errors
/// `bad-request`, `unknown-object`; `transient` while the API does not know of the event yet, so that the service calls again.
pub fn receive(settings: &Settings, request: &HookRequest, hub: &mut impl Hub) -> Result<HookResponse, Failure> {
    let bad = |reason: &str, place: &str| rejected("bad-request", reason, place);
    if request.method != "POST" || request.body.len() > BODY_BYTES_MAX {
        return Err(bad("no POST, or a body that is too long", ""));
    }
    let notification: Notification = serde_json::from_slice(without_bom(&request.body))
        .map_err(|error| bad(&format!("no notification: {error}"), "body"))?;
    if notification.r#type != "notification" {
        return Err(bad("this is no notification", "type"));
    }
    let id = notification.object.id;
    if !is_id(&id) {
        return Err(bad("this is no id", "object.id"));
    }
    match notification.event.as_str() {
        "payment.succeeded" => {
            let payment: Payment = fetch(settings, &format!("/payments/{id}"), hub)?;
            if happened(&payment.id, &id, &payment.status)? {
                state_payment(settings, &payment, "answer", hub)?;
            }
        }
        "refund.succeeded" => {
            let refund: Refund = fetch(settings, &format!("/refunds/{id}"), hub)?;
            if happened(&refund.id, &id, &refund.status)? {
                state_refund(settings, &refund, "answer", hub)?;
            }
        }
        event if QUIET.contains(&event) => hub.info(&format!("{event:?} of {id} moves no money, nothing is stated")),
        event => {
            let event: String = event.chars().take(100).collect();
            let reason =
                format!("{event:?} is no event that is known: what it means for the account is not known either");
            return Err(rejected("unknown-event", reason, "event"));
        }
    }
    Ok(HookResponse { status: 200, headers: Vec::new(), body: Vec::new() })
}

/// Whether the object succeeded, as the notification says.
fn happened(id: &str, asked: &str, status: &str) -> Result<bool, Failure> {
    if id != asked {
        return Err(bad_answer("another object than the one asked for", "answer/id").into());
    }
    match fate(status, "answer")? {
        Fate::Succeeded => Ok(true),
        Fate::Over => Ok(false),
        Fate::Waits => Err(transient(format!("the API has {asked} as {status}"), None)),
    }
}

/// What became of a payment or a refund.
pub enum Fate {
    Succeeded,
    Over,
    Waits,
}

/// # Errors
/// `bad-answer` for a status that the API does not have. `place`: where the object stands.
pub fn fate(status: &str, place: &str) -> Result<Fate, Rejection> {
    match status {
        "succeeded" => Ok(Fate::Succeeded),
        "canceled" => Ok(Fate::Over),
        "pending" | "waiting_for_capture" => Ok(Fate::Waits),
        _ => {
            let status: String = status.chars().take(100).collect();
            Err(bad_answer(&format!("nobody knows the status {status:?}"), &format!("{place}/status")))
        }
    }
}

/// # Errors
/// See [`Payment::draft`].
pub fn state_payment(settings: &Settings, payment: &Payment, place: &str, hub: &mut impl Hub) -> Result<(), Failure> {
    if payment.counts(settings) {
        hub.emit(payment.draft(settings, place)?);
    } else {
        hub.info(&format!("payment {}: of a test shop, nothing is stated", payment.id));
    }
    Ok(())
}

/// The account is that of the payment, stated before or else asked for.
///
/// # Errors
/// See [`Refund::draft`], [`object`].
pub fn state_refund(settings: &Settings, refund: &Refund, place: &str, hub: &mut impl Hub) -> Result<(), Failure> {
    if hub.lookup(&mapping::refund_id(&refund.id)).is_some() {
        return Ok(());
    }
    let stated = hub.lookup(&mapping::payment_id(&refund.payment_id));
    let account = match acquiring::stated(stated) {
        Some(stated) => stated.account,
        None => {
            if !is_id(&refund.payment_id) {
                return Err(bad_answer("this is no id", &format!("{place}/payment_id")).into());
            }
            let payment: Payment = fetch(settings, &format!("/payments/{}", refund.payment_id), hub)?;
            if !payment.counts(settings) {
                hub.info(&format!("refund {}: of a test shop, nothing is stated", refund.id));
                return Ok(());
            }
            payment.account(settings)
        }
    };
    match account {
        Some(account) => hub.emit(refund.draft(settings, &account, place)?),
        None => {
            let reason = format!("refund {}: money went back, but no customer account is known", refund.id);
            hub.leave_out(rejection("no-account", reason, place));
        }
    }
    Ok(())
}

/// # Errors
/// There is no answer.
pub fn get(settings: &Settings, path: &str, hub: &mut impl Hub) -> Result<Response, HttpError> {
    hub.send(&request(settings, "GET", path, &[("accept", "application/json")], Vec::new()))
}

/// The far end knows the key: sent again, it is the same payment.
fn post(settings: &Settings, path: &str, key: &str, body: Vec<u8>, hub: &mut impl Hub) -> Result<Response, HttpError> {
    let headers = [("accept", "application/json"), ("content-type", "application/json"), ("idempotence-key", key)];
    hub.send_idempotent(&request(settings, "POST", path, &headers, body))
}

fn request(settings: &Settings, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request {
    let header = |(name, value): &(&str, &str)| Header { name: (*name).to_owned(), value: (*value).to_owned() };
    Request {
        method: method.to_owned(),
        url: format!("{}{path}", settings.base_url),
        headers: headers.iter().map(header).collect(),
        body,
        authorization: Some(Authorization::Basic(settings.credential.clone())),
        timeout_ms: None,
    }
}

/// An object that the API must know.
fn fetch<T: DeserializeOwned>(settings: &Settings, path: &str, hub: &mut impl Hub) -> Result<T, Failure> {
    let reply = get(settings, path, hub);
    if reply.as_ref().is_ok_and(|response| response.status == 404) {
        return Err(rejected("unknown-object", format!("the API does not know {path}"), "object.id"));
    }
    object(reply, &format!("GET {path}"))
}

/// The object of an answer. Every request may be sent again: a GET, or one with an idempotence key.
///
/// # Errors
/// What the status means; `transient` for "still processing"; `bad-answer` for what cannot be read.
pub fn object<T: DeserializeOwned>(reply: Result<Response, HttpError>, what: &str) -> Result<T, Failure> {
    let response = reply.map_err(|error| replies::failure_of_error(error, what, true))?;
    match replies::outcome_of_status(response.status) {
        Outcome::Ok if response.status == 202 => {
            let wait = serde_json::from_slice::<Processing>(without_bom(&response.body))
                .ok()
                .and_then(|body| body.retry_after);
            Err(transient(format!("{what} is still processed"), wait.or(replies::retry_after_ms(&response))))
        }
        Outcome::Ok => serde_json::from_slice(without_bom(&response.body))
            .map_err(|error| bad_answer(&format!("{what}: {error}"), "answer").into()),
        outcome => Err(replies::failure_of(outcome, &response, what)),
    }
}

/// The answer 202 of the API's first years.
#[derive(Deserialize)]
struct Processing {
    /// Milliseconds.
    retry_after: Option<u64>,
}

fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

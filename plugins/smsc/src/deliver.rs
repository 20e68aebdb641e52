//! A notification is sent once, whatever is lost on the way.
//!
//! The gateway does not execute a repeat once by itself: the id of one's own need not be unique. But it refuses an identical request within
//! a minute (error 9), and after it `status.php` knows the id. So whenever an attempt may have sent the message, it is asked first.
//! Errors come with status 200, so that the host is told that nothing was done.

use busbar_sdk::loose::Loose;
use busbar_sdk::{Failure, Hub, Message};
use serde_json::Value;

use crate::answer::{self, Told};
use crate::mapping::{Order, Sent, Settings};
use crate::receipt::{self, Outcome, Receipt};

const SEND: &str = "send.php";
const STATUS: &str = "status.php";
/// Status of an id that the gateway does not know.
const NOT_FOUND: i64 = -3;
/// Error: too many requests, or the same one again.
const TOO_MANY: i64 = 9;

/// # Errors
/// See [`Order::of`] and [`answer::Refusal::failure`].
pub fn deliver(settings: &Settings, message: &Message, hub: &mut impl Hub) -> Result<(), Failure> {
    let order = Order::of(settings, message)?;
    let now = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
    if order.until.is_some_and(|until| until <= now) {
        // An earlier attempt may have been in time.
        return match is_there(settings, &order, hub)? {
            true => remember(&order, order.sent.clone(), hub),
            false => undeliverable(settings, &order, "expired", "it came to be sent too late", hub),
        };
    }
    let reply = answer::post(settings, SEND, order.form.clone(), false, hub);
    let unclear = answer::is_unclear(&reply);
    let told = match answer::told(reply, SEND) {
        Ok(told) => told,
        Err(failure) if !unclear && !is_bad_answer(&failure) => return Err(failure),
        Err(_) => return again(settings, &order, hub),
    };
    match told {
        // The gateway was asked the same within the last minute: it may have it.
        Err(refusal) if refusal.code == TOO_MANY => {
            hub.nothing_done();
            if is_there(settings, &order, hub)? {
                remember(&order, order.sent.clone(), hub)
            } else {
                Err(refusal.failure(SEND))
            }
        }
        Err(refusal) => {
            hub.nothing_done();
            judge(settings, &order, Err(refusal), hub)
        }
        told if is_taken(&told) => judge(settings, &order, told, hub),
        // Nobody knows what such an answer says.
        Ok(_) => again(settings, &order, hub),
    }
}

fn again(settings: &Settings, order: &Order, hub: &mut impl Hub) -> Result<(), Failure> {
    if is_there(settings, order, hub)? {
        return remember(order, order.sent.clone(), hub);
    }
    let reply = answer::post(settings, SEND, order.form.clone(), true, hub);
    let is_answered = reply.is_ok();
    let told = answer::told(reply, SEND);
    if is_answered && !told.as_ref().is_ok_and(is_taken) {
        // Were it taken all the same: the next attempt asks before it sends.
        hub.nothing_done();
    }
    judge(settings, order, told.map_err(answer::try_again)?, hub)
}

fn is_taken(told: &Told) -> bool {
    told.as_ref().is_ok_and(|body| Loose::at(body, "id").is_some())
}

fn judge(settings: &Settings, order: &Order, told: Told, hub: &mut impl Hub) -> Result<(), Failure> {
    match told {
        Ok(body) => {
            let sent = accepted(settings, order, &body, hub)?;
            remember(order, sent, hub)
        }
        Err(refusal) if refusal.code == 7 => {
            undeliverable(settings, order, "unknown-recipient", "error 7, the number is none", hub)
        }
        Err(refusal) if refusal.code == 8 => {
            undeliverable(settings, order, "undeliverable", "error 8, nothing can be sent to the number", hub)
        }
        Err(refusal) => Err(refusal.failure(SEND)),
    }
}

/// Whether the gateway has the message.
fn is_there(settings: &Settings, order: &Order, hub: &mut impl Hub) -> Result<bool, Failure> {
    let reply = answer::post(settings, STATUS, order.question(), true, hub);
    if reply.is_ok() {
        // Asked again, it may say otherwise.
        hub.nothing_done();
    }
    let body = answer::told(reply, STATUS)?.map_err(|refusal| refusal.failure(STATUS))?;
    let first = body.get(0).unwrap_or(&body);
    let status = Loose::at(first, "status").and_then(|status| status.number());
    Ok(status.ok_or_else(|| answer::bad("status.php states no status", "status"))? != NOT_FOUND)
}

/// What the gateway says of a message that it took.
fn accepted(settings: &Settings, order: &Order, body: &Value, hub: &mut impl Hub) -> Result<Sent, Failure> {
    if Loose::at(body, "id").is_none() {
        return Err(answer::bad("send.php states no id", "id"));
    }
    let parts =
        Loose::at(body, "cnt").and_then(|parts| usize::try_from(parts.number()?).ok()).filter(|parts| *parts > 0);
    if parts.is_some() && parts != order.sent.parts {
        let text = format!("{}: sent in {parts:?} parts, not in {:?} as counted here", order.own, order.sent.parts);
        hub.warn(&text);
    }
    let cost = Loose::at(body, "cost").and_then(|cost| receipt::cost(settings, &cost));
    Ok(Sent { parts: parts.or(order.sent.parts), cost, ..order.sent.clone() })
}

fn remember(order: &Order, sent: Sent, hub: &mut impl Hub) -> Result<(), Failure> {
    let value = serde_json::to_vec(&sent).map_err(|error| Failure::Other(error.to_string()))?;
    hub.set(&Sent::key(&order.own), value);
    Ok(())
}

/// It never will be delivered: that is told, and the delivery is done.
fn undeliverable(
    settings: &Settings,
    order: &Order,
    code: &'static str,
    text: &str,
    hub: &mut impl Hub,
) -> Result<(), Failure> {
    let receipt = Receipt {
        own: order.own.clone(),
        phone: order.phone.clone(),
        outcome: Outcome::Failed(code),
        text: text.to_owned(),
        at: None,
        parts: None,
        cost: None,
        sender: None,
    };
    let sent = Sent { parts: None, ..order.sent.clone() };
    receipt::state(settings, &receipt, sent, hub)
}

fn is_bad_answer(failure: &Failure) -> bool {
    matches!(failure, Failure::Rejected(rejection) if rejection.code == "bad-answer")
}

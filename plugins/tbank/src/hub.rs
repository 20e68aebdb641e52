//! What is done for an invoice, for a notification, and for links of which none came.

use busbar_sdk::acquiring::{self, Invoice};
use busbar_sdk::credentials::Digest;
use busbar_sdk::encoding::without_bom;
use busbar_sdk::http::Request;
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::waiting::{self, Fate, Links};
use busbar_sdk::{Failure, Header, HookRequest, HookResponse, Hub, Message, Polled, data_of, hex, rejected, transient};
use serde_json::{Map, Value};

use crate::mapping::{self, Fields, Order, Settings};

/// Bytes of a notification; the bank's own have less than one thousand.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Orders made for one invoice, see [`deliver`].
const ORDERS_MAX: usize = 5;

/// Five of them fit into a call.
const TIMEOUT_MS: u32 = 5_000;

/// A payment page for an invoice. The bank makes no second order of one number, nor does it tell the page of the first: where an
/// answer was lost, another order is made, and nobody will ever see the page of the one before.
///
/// # Errors
/// See [`Order::of`], [`Order::page`] and [`answer`]; `order-exists`.
pub fn deliver(settings: &Settings, message: &Message, hub: &mut impl Hub) -> Result<(), Failure> {
    let invoice: Invoice = data_of(message)?;
    let Some(order) = Order::of(settings, (&message.source, &message.id), &invoice, hub.now_ms())? else {
        hub.info(&format!("invoice {}: nothing to pay, no page is made", message.id));
        return Ok(());
    };
    for again in 0..ORDERS_MAX {
        let answer = match answer("/Init", settings, order.fields(settings, &invoice, again), hub)? {
            Answer::Done(fields) => fields,
            // There is an order of this number.
            Answer::Refused(code, _) if code == "8" => continue,
            Answer::Refused(code, text) => return Err(refused("/Init", &code, &text)),
        };
        let (draft, number) = order.page(&invoice, &answer)?;
        hub.emit(draft);
        return waiting::add(hub, &number);
    }
    Err(rejected("order-exists", format!("{ORDERS_MAX} orders of this invoice exist already"), "/id"))
}

/// Serves one notification. The bank takes any other answer than `OK` for a failure and calls again.
///
/// # Errors
/// `unauthorized` without a valid token; rejections for what makes no sense although it is signed.
pub fn receive(settings: &Settings, request: &HookRequest, hub: &mut impl Hub) -> Result<HookResponse, Failure> {
    if request.method != "POST" || request.body.len() > BODY_BYTES_MAX {
        return Err(rejected("bad-request", "no POST, or a body that is too long", ""));
    }
    let map: Map<String, Value> = serde_json::from_slice(without_bom(&request.body))
        .map_err(|error| rejected("bad-request", format!("no notification: {error}"), "body"))?;
    authenticate(settings, &map, hub)?;
    let fields = Fields::new(map, "bad-field", "");
    if fields.text("TerminalKey").as_deref() != Some(&settings.terminal_key) {
        return Err(rejected("bad-field", "the notification is of another terminal", "TerminalKey"));
    }
    let status = fields.text("Status").ok_or_else(|| rejected("bad-field", "Status is not stated", "Status"))?;
    let succeeded = match fields.text("Success").as_deref() {
        Some("true") => true,
        None | Some("false") => false,
        Some(_) => return Err(rejected("bad-field", "Success is neither true nor false", "Success")),
    };
    match status.as_str() {
        "CONFIRMED" if succeeded => state_payment(settings, &fields, hub)?,
        "REFUNDED" if succeeded => state_refund(settings, &fields.number("PaymentId")?, hub),
        "PARTIAL_REFUNDED" if succeeded => note_part(&fields.number("PaymentId")?, hub),
        "CONFIRMED" | "REFUNDED" | "PARTIAL_REFUNDED" => hub.info(&format!("{status} was not done, nothing is stated")),
        quiet if mapping::QUIET.contains(&quiet) => {
            hub.info(&format!("{status} changes no account, nothing is stated"));
        }
        unknown => {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(rejected("unknown-status", format!("nobody knows {unknown:?}"), "Status"));
        }
    }
    let header = Header { name: "content-type".to_owned(), value: "text/plain".to_owned() };
    Ok(HookResponse { status: 200, headers: vec![header], body: b"OK".to_vec() })
}

fn authenticate(settings: &Settings, map: &Map<String, Value>, hub: &mut impl Hub) -> Result<(), Failure> {
    let forged = || Failure::Unauthorized("no valid token".to_owned());
    let token = map.get("Token").and_then(Value::as_str).and_then(hex::decoded).ok_or_else(forged)?;
    let verified = hub.verify_hash(Digest::Sha256, &mapping::signed(settings, map), &token);
    let genuine = verified.map_err(|text| rejected("bad-config", text, "config, credential"))?;
    if genuine { Ok(()) } else { Err(forged()) }
}

fn state_payment(settings: &Settings, fields: &Fields, hub: &mut impl Hub) -> Result<(), Failure> {
    let number = fields.number("PaymentId")?;
    if let Some(known) = hub.lookup(&mapping::payment_id(&number)) {
        hub.info(&format!("payment {number}: known already"));
        let known = acquiring::stated(Some(known)).unwrap_or_default();
        return known.must_be(&fields.sum()?, None, &fields.place("Amount"));
    }
    let page = acquiring::stated(hub.lookup(&mapping::link_id(&number)));
    hub.emit(mapping::payment(settings, fields, page, None, hub.now_ms())?);
    Ok(())
}

/// All of it went back. What part a notification's sum is after a refund in parts, the documentation does not say.
fn state_refund(settings: &Settings, number: &str, hub: &mut impl Hub) {
    if hub.is_known(&mapping::refund_id(number)) {
        return hub.info(&format!("payment {number}: its refund is known already"));
    }
    if hub.get(&part_key(number)).is_some() {
        return hub
            .warn(&format!("payment {number}: the rest of it went back, how much is to be looked up at the bank"));
    }
    let paid = acquiring::stated(hub.lookup(&mapping::payment_id(number)));
    match paid.and_then(|paid| mapping::refund(settings, number, paid, hub.now_ms())) {
        Some(draft) => hub.emit(draft),
        None => hub.warn(&format!("payment {number}: money went back, but no payment of an account is known")),
    }
}

fn note_part(number: &str, hub: &mut impl Hub) {
    hub.set(&part_key(number), b"1".to_vec());
    hub.warn(&format!("payment {number}: a part of it went back, how much is to be looked up at the bank"));
}

fn part_key(number: &str) -> String {
    format!("part:{number}")
}

/// Asks about links of which no notification came.
///
/// # Errors
/// See [`waiting::poll`] and [`answer`].
pub fn poll(settings: &Settings, cursor: Option<&[u8]>, hub: &mut impl Hub) -> Result<Polled, Failure> {
    let links = Links { days: settings.link_days, name: "payment", payment_id: mapping::payment_id };
    waiting::poll(hub, cursor, &links, &mut |hub, number| ask(settings, number, hub))
}

fn ask(settings: &Settings, number: &str, hub: &mut impl Hub) -> Result<Fate, Failure> {
    let mut fields = Map::new();
    fields.insert("TerminalKey".to_owned(), settings.terminal_key.as_str().into());
    fields.insert("PaymentId".to_owned(), number.into());
    let fields = match answer("/GetState", settings, fields, hub)? {
        Answer::Done(fields) => fields,
        Answer::Refused(code, text) => {
            return Err(bad_answer(&format!("its state is refused: {code}: {text}"), "answer"));
        }
    };
    if fields.text("PaymentId").as_deref() != Some(number) {
        return Err(bad_answer("another payment than the one asked about", "answer/PaymentId"));
    }
    match fields.text("Status").unwrap_or_default().as_str() {
        "CONFIRMED" => state_payment(settings, &fields, hub)?,
        "REFUNDED" => state_gone(settings, &fields, hub.get(&part_key(number)).is_none(), hub)?,
        "PARTIAL_REFUNDED" => state_gone(settings, &fields, false, hub)?,
        "CANCELED" | "DEADLINE_EXPIRED" | "REVERSED" => {}
        quiet if mapping::QUIET.contains(&quiet) => return Ok(Fate::Waits),
        unknown => {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(bad_answer(&format!("status {unknown:?} is not known"), "answer/Status"));
        }
    }
    Ok(Fate::Over)
}

/// It was paid, and then something went back; no notification told of either. The state's own sum is not what was paid.
fn state_gone(settings: &Settings, fields: &Fields, is_whole: bool, hub: &mut impl Hub) -> Result<(), Failure> {
    let number = fields.number("PaymentId")?;
    let page = acquiring::stated(hub.lookup(&mapping::link_id(&number)));
    let Some((page, amount)) = page.and_then(|page| Some((page.clone(), page.amount?))) else {
        hub.warn(&format!(
            "payment {number}: it was paid and money went back, how much is to be looked up at the bank"
        ));
        return Ok(());
    };
    let now_ms = hub.now_ms();
    hub.emit(mapping::payment(settings, fields, Some(page.clone()), Some(amount), now_ms)?);
    match mapping::refund(settings, &number, page, now_ms).filter(|_| is_whole) {
        Some(draft) => hub.emit(draft),
        None => note_part(&number, hub),
    }
    Ok(())
}

pub enum Answer {
    Done(Fields),
    /// Its `ErrorCode` and why.
    Refused(String, String),
}

/// Sends the fields with their token.
///
/// # Errors
/// What the status means, `unauthorized` for the codes of a wrong token or terminal, `transient` for the bank's own errors;
/// `bad-answer` for what cannot be read.
fn answer(path: &str, settings: &Settings, mut map: Map<String, Value>, hub: &mut impl Hub) -> Result<Answer, Failure> {
    let what = format!("POST {path}");
    let hash = hub.hash(Digest::Sha256, &mapping::signed(settings, &map));
    let hash = hash.map_err(|text| rejected("bad-config", text, "config, credential"))?;
    map.insert("Token".to_owned(), hex::encoded(&hash).into());
    // An order is made once, a state only looked at.
    let reply = hub.send_idempotent(&Request {
        method: "POST".to_owned(),
        url: format!("{}{path}", settings.base_url),
        headers: vec![Header { name: "content-type".to_owned(), value: "application/json".to_owned() }],
        body: Value::Object(map).to_string().into_bytes(),
        authorization: None,
        timeout_ms: Some(TIMEOUT_MS),
    });
    let response = reply.map_err(|error| replies::failure_of_error(error, &what, true))?;
    let outcome = replies::outcome_of_status(response.status);
    if outcome != Outcome::Ok {
        return Err(replies::failure_of(outcome, &response, &what));
    }
    let map = serde_json::from_slice(without_bom(&response.body))
        .map_err(|error| bad_answer(&format!("{what}: {error}"), "answer"))?;
    let fields = Fields::new(map, "bad-answer", "answer/");
    if fields.text("Success").as_deref() == Some("true") {
        return Ok(Answer::Done(fields));
    }
    let code = fields.text("ErrorCode").unwrap_or_default();
    let why = [fields.text("Message"), fields.text("Details")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let why: String = why.chars().take(300).collect();
    match code.as_str() {
        "204" | "205" | "501" => Err(Failure::Unauthorized(format!("{what}: {code}: {why}"))),
        "9999" => Err(transient(format!("{what}: {code}: {why}"), None)),
        _ => Ok(Answer::Refused(code, why)),
    }
}

fn refused(path: &str, code: &str, text: &str) -> Failure {
    rejected("refused", format!("POST {path}: {code}: {text}"), "")
}

fn bad_answer(reason: &str, place: &str) -> Failure {
    rejected("bad-answer", reason, place)
}

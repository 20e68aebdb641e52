//! Orders of this adapter: registered for an invoice, and asked about where no callback came.
//!
//! Source: payment gateway documentation (RBS), REST interface: `register.do`, `getOrderStatusExtended.do`.

use busbar_sdk::acquiring::{self, Invoice, Page, Payment, Refund, Stated};
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::encoding::without_bom;
use busbar_sdk::http::{Authorization, Request};
use busbar_sdk::loose::Loose;
use busbar_sdk::money::{self, Money};
use busbar_sdk::replies::{self, Outcome};
use busbar_sdk::waiting::{self, Fate, Links};
use busbar_sdk::{Failure, Header, Hub, Message, Polled, data_of, form, ids, rejected, transient};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::mapping::{self, OWN_ORDERS};
use crate::settings::Settings;

#[cfg(test)]
mod tests;

const DESCRIPTION_CHARS_MAX: usize = 512;
/// Digits of an order's number: with what stands around them, 32 characters at most.
const NUMBER_DIGITS: usize = 22;
/// Five of them fit into a call.
const TIMEOUT_MS: u32 = 5_000;
/// Orders registered for one invoice, see [`deliver`].
const ORDERS_MAX: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    order_id: Option<String>,
    form_url: Option<String>,
}

/// A payment page for an invoice. The gateway registers no second order of one number, nor does it tell the page of the first: where
/// an answer was lost, another order is registered, and nobody will ever see the page of the one before.
///
/// # Errors
/// `bad-config`, `bad-amount`, `bad-currency`, `expired`, `order-exists`; see [`answer`].
pub fn deliver(settings: &Settings, message: &Message, hub: &mut impl Hub) -> Result<(), Failure> {
    settings.login()?;
    let invoice: Invoice = data_of(message)?;
    let return_url = settings.return_url()?;
    invoice.must_be_in(&settings.currency)?;
    let Some(minor) = invoice.due()? else {
        hub.info(&format!("invoice {}: nothing to pay, no page is made", message.id));
        return Ok(());
    };
    let expiry = Expiry::of(settings, &invoice, hub.now_ms())?;
    let number: String =
        ids::derived(&["sber-acquiring", &message.source, &message.id]).chars().take(NUMBER_DIGITS).collect();
    let amount = minor.to_string();
    // The gateway refuses these in a description.
    let description =
        invoice.described(&settings.description, DESCRIPTION_CHARS_MAX).replace(['%', '+', '\r', '\n'], " ");
    for again in 1..=ORDERS_MAX {
        let number = match again {
            1 => format!("{OWN_ORDERS}{number}"),
            _ => format!("{OWN_ORDERS}{number}-{again}"),
        };
        let form = form::encoded(&[
            ("orderNumber", &number),
            ("amount", &amount),
            ("returnUrl", return_url),
            ("description", &description),
            ("expirationDate", &expiry.of_gateway),
        ]);
        let registered: Registered = match answer("/register.do", settings, form, hub)? {
            Answer::Done(registered) => registered,
            // There is an order of this number.
            Answer::Refused(code, _) if code == "1" => continue,
            Answer::Refused(code, text) => {
                return Err(rejected("refused", format!("POST /register.do: {code}: {text}"), ""));
            }
        };
        let order = order_id(registered.order_id)?;
        let page = Page {
            invoice: &invoice,
            amount: Money::of_minor(minor, &settings.currency),
            url: page_url(&registered.form_url)?,
            number: &order,
            issuer: "Сбер",
            expires_at: Some(expiry.at),
            at: None,
        };
        hub.emit(page.draft(mapping::link_id(&order)));
        return waiting::add(hub, &order);
    }
    Err(rejected("order-exists", format!("{ORDERS_MAX} orders of this invoice exist already"), "/id"))
}

/// When a page expires: RFC 3339, and as the gateway takes it, local time of Moscow without an offset.
struct Expiry {
    at: String,
    of_gateway: String,
}

impl Expiry {
    fn of(settings: &Settings, invoice: &Invoice, now_ms: u64) -> Result<Self, Failure> {
        let seconds = invoice.expiry(settings.link_days, settings.offset, now_ms)?;
        let of_gateway = dates::local_of_unix_seconds(seconds, Offset::MOSCOW);
        let of_gateway = of_gateway.map(|moment| dates::rfc3339(moment, Offset::MOSCOW).chars().take(19).collect());
        Ok(Self { at: settings.local(seconds).unwrap_or_default(), of_gateway: of_gateway.unwrap_or_default() })
    }
}

fn order_id(text: Option<String>) -> Result<String, Failure> {
    let text = text.filter(|text| acquiring::is_number(text) && !text.contains(acquiring::is_blank));
    text.ok_or_else(|| bad_answer("there is no order", "answer/orderId"))
}

fn page_url(url: &Option<String>) -> Result<&str, Failure> {
    let url = url.as_deref().filter(|url| acquiring::is_page(url));
    url.ok_or_else(|| bad_answer("there is no page to pay at", "answer/formUrl"))
}

/// The extended status of an order as far as it is used; sums are kopecks, times milliseconds since 1970.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_status: Option<u8>,
    currency: Option<Loose>,
    amount: Option<i64>,
    deposited_date: Option<i64>,
    payment_amount_info: Option<Amounts>,
    attributes: Option<Vec<Attribute>>,
    refunds: Option<Vec<Returned>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Amounts {
    deposited_amount: Option<i64>,
    refunded_amount: Option<i64>,
}

#[derive(Deserialize)]
struct Attribute {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Returned {
    amount: i64,
    external_refund_id: Option<String>,
}

/// Asks about orders of which no callback came.
///
/// # Errors
/// See [`waiting::poll`] and [`answer`].
pub fn poll(settings: &Settings, cursor: Option<&[u8]>, hub: &mut impl Hub) -> Result<Polled, Failure> {
    settings.login()?;
    let links = Links { days: settings.link_days, name: "order", payment_id: mapping::payment_id };
    waiting::poll(hub, cursor, &links, &mut |hub, order| ask(settings, order, hub))
}

fn ask(settings: &Settings, id: &str, hub: &mut impl Hub) -> Result<Fate, Failure> {
    let order: Order = match answer("/getOrderStatusExtended.do", settings, form::encoded(&[("orderId", id)]), hub)? {
        Answer::Done(order) => order,
        Answer::Refused(code, text) => return Err(bad_answer(&format!("refused: {code}: {text}"), "answer")),
    };
    if order.attributes.iter().flatten().any(|attribute| attribute.name == "mdOrder" && attribute.value != id) {
        return Err(bad_answer("another order than the one asked about", "answer/attributes"));
    }
    match order.order_status {
        // Deposited; given back, which may be in parts.
        Some(2 | 4) => state(settings, id, &order, hub)?,
        // Cancelled; declined, after which the payer may try again until the order expires.
        Some(3) => {}
        // Registered; held; asked for at the payer's bank; declined; pending; taken in part, with more to come.
        Some(0 | 1 | 5..=8) => return Ok(Fate::Waits),
        status => {
            let status = status.map_or_else(|| "absent".to_owned(), |status| status.to_string());
            return Err(bad_answer(&format!("status {status} is not known"), "answer/orderStatus"));
        }
    }
    Ok(Fate::Over)
}

/// The payment, and what has gone back of it since.
fn state(settings: &Settings, id: &str, order: &Order, hub: &mut impl Hub) -> Result<(), Failure> {
    if order.currency.as_ref().is_some_and(|text| money::currency_of(&text.text()) != Some(settings.currency.as_str()))
    {
        return Err(bad_answer("the order is in another currency", "answer/currency"));
    }
    let kopecks = |sum: Option<i64>| sum.filter(|sum| *sum > 0).map(i128::from);
    let amounts = order.payment_amount_info.as_ref();
    let refunded = kopecks(amounts.and_then(|amounts| amounts.refunded_amount));
    let deposited = kopecks(amounts.and_then(|amounts| amounts.deposited_amount));
    // What is deposited becomes less when something goes back; what the order was registered for does not.
    let paid = deposited.filter(|_| refunded.is_none() && order.order_status == Some(2)).or(kopecks(order.amount));
    let paid = paid.ok_or_else(|| bad_answer("there is no sum", "answer/amount"))?;
    let now_seconds = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
    let at = settings.local(order.deposited_date.map_or(now_seconds, |ms| ms / 1000));
    let at = at.ok_or_else(|| bad_answer("this is no moment", "answer/depositedDate"))?;
    let page = mapping::page(id, hub);
    let payment = Payment {
        account: page.account.clone(),
        sought: "the page's message",
        amount: Money::of_minor(paid, &settings.currency),
        fee: None,
        at,
        number: id,
        invoice: page.invoice.clone(),
    };
    hub.emit(payment.draft(mapping::payment_id(id)));
    let mut refunds: Vec<(i128, Option<&str>)> = order
        .refunds
        .iter()
        .flatten()
        .map(|part| (i128::from(part.amount), part.external_refund_id.as_deref()))
        .collect();
    if refunds.is_empty() {
        let whole = refunded.or_else(|| (order.order_status == Some(4)).then_some(paid));
        refunds.extend(whole.map(|whole| (whole, None)));
    }
    state_refunds(settings, id, &page, &refunds, hub);
    Ok(())
}

/// By the ids that callbacks give them.
fn state_refunds(settings: &Settings, id: &str, page: &Stated, refunds: &[(i128, Option<&str>)], hub: &mut impl Hub) {
    let Some(account) = &page.account else {
        if !refunds.is_empty() {
            hub.warn(&format!("order {id}: money went back, but no customer account is known"));
        }
        return;
    };
    let now_seconds = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
    let mut so_far: i128 = 0;
    for (minor, number) in refunds.iter().filter(|(minor, _)| *minor > 0) {
        so_far = so_far.saturating_add(*minor);
        let total = so_far.to_string();
        let is_known = |which| hub.is_known(&mapping::refund_id(id, which, *minor));
        if is_known(number.unwrap_or(&total)) || is_known(&total) || is_known("") {
            continue;
        }
        let refund = Refund {
            account: account.clone(),
            amount: Money::of_minor(*minor, &settings.currency),
            at: settings.local(now_seconds).unwrap_or_default(),
            payment: id,
            number: number.filter(|number| acquiring::is_number(number)),
            reason: None,
        };
        hub.emit(refund.draft(mapping::refund_id(id, number.unwrap_or(&total), *minor)));
    }
}

enum Answer<T> {
    Done(T),
    /// Its `errorCode` and why.
    Refused(String, String),
}

/// # Errors
/// What the status means; `unauthorized` for code 5, `transient` for 7, the gateway's own errors; `bad-answer` for what cannot be read.
fn answer<T: DeserializeOwned>(
    path: &str,
    settings: &Settings,
    form: String,
    hub: &mut impl Hub,
) -> Result<Answer<T>, Failure> {
    let what = format!("POST {path}");
    let kind = "application/x-www-form-urlencoded".to_owned();
    // An order of one number is registered once, a status only looked at.
    let reply = hub.send_idempotent(&Request {
        method: "POST".to_owned(),
        url: format!("{}{path}", settings.base_url),
        headers: vec![Header { name: "content-type".to_owned(), value: kind }],
        body: form.into_bytes(),
        authorization: Some(Authorization::Parameters(settings.login()?.to_vec())),
        timeout_ms: Some(TIMEOUT_MS),
    });
    let response = reply.map_err(|error| replies::failure_of_error(error, &what, true))?;
    let outcome = replies::outcome_of_status(response.status);
    if outcome != Outcome::Ok {
        return Err(replies::failure_of(outcome, &response, &what));
    }
    let unreadable = |error: serde_json::Error| bad_answer(&format!("{what}: {error}"), "answer");
    let body: Value = serde_json::from_slice(without_bom(&response.body)).map_err(unreadable)?;
    let code = match body.get("errorCode") {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        None | Some(Value::Null) => "0".to_owned(),
        Some(other) => other.to_string(),
    };
    let why: String = body.get("errorMessage").and_then(Value::as_str).unwrap_or_default().chars().take(300).collect();
    match code.as_str() {
        "0" => serde_json::from_value(body).map(Answer::Done).map_err(unreadable),
        "5" => Err(Failure::Unauthorized(format!("{what}: {code}: {why}"))),
        "7" => Err(transient(format!("{what}: {code}: {why}"), None)),
        _ => Ok(Answer::Refused(code, why)),
    }
}

fn bad_answer(reason: &str, place: &str) -> Failure {
    rejected("bad-answer", reason, place)
}

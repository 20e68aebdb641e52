//! A callback of the gateway: its checksum, and what becomes of it.
//!
//! Source: payment gateway documentation (RBS), callback notifications: checksum by symmetric cryptography, table of
//! additional parameters.

use busbar_sdk::acquiring::{self, Payment, Refund, Stated};
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::money::Money;
use busbar_sdk::{Draft, Failure, HookRequest, HookResponse, Message, form, hex, ids, rejected};

use crate::settings::Settings;

#[cfg(test)]
mod tests;

/// Parameters that are not under the checksum.
const UNSIGNED: [&str; 2] = ["checksum", "sign_alias"];
/// Bytes of a value; the gateway's own are far shorter.
const VALUE_BYTES_MAX: usize = 2000;
/// How the numbers of orders begin that this adapter registers: they hold no account.
pub const OWN_ORDERS: &str = "busbar-";

/// What the adapter needs of the hub.
pub trait Hub {
    fn now_ms(&self) -> u64;
    fn verify(&self, credential: &str, data: &[u8], signature: &[u8]) -> Result<bool, String>;
    /// `path` below the API's base; a form, to which login and password are added.
    fn post(&mut self, path: &str, form: String) -> Result<Response, HttpError>;
    fn lookup(&self, id: &str) -> Option<Message>;
    fn emit(&mut self, draft: Draft);
    fn note(&mut self, text: &str);
    fn warn(&mut self, text: &str);
}

/// Serves one callback. The gateway takes any other status than 200 for a failure and calls again.
///
/// # Errors
/// `unauthorized` without a valid checksum; rejections for what makes no sense although it is signed.
pub fn handle(settings: &Settings, request: &HookRequest, hub: &mut impl Hub) -> Result<HookResponse, Failure> {
    let callback = Callback::of(request)?;
    callback.authenticate(settings, hub)?;
    let operation = callback.required("operation")?;
    let order = callback.required("mdOrder")?;
    match (operation, callback.required("status")?) {
        ("deposited", "1") => deposited(settings, &callback, order, hub)?,
        ("refunded", "1") => refunded(settings, &callback, order, hub)?,
        ("reversed", "1") => reversed(settings, &callback, order, hub)?,
        (_, "0" | "1") => hub.note(&format!("order {order}: {operation} changes no account, nothing is stated")),
        _ => return Err(bad("status", "is neither 0 nor 1")),
    }
    Ok(HookResponse { status: 200, headers: Vec::new(), body: Vec::new() })
}

struct Callback(Vec<(String, String)>);

impl Callback {
    fn of(request: &HookRequest) -> Result<Self, Failure> {
        let parameters = form::parameters(request).ok_or_else(|| {
            rejected("bad-request", "neither GET nor POST of a form, too many parameters, or one with two values", "")
        })?;
        match parameters.iter().find(|(_, value)| value.len() > VALUE_BYTES_MAX) {
            Some(_) => Err(rejected("bad-request", format!("a parameter is longer than {VALUE_BYTES_MAX} bytes"), "")),
            None => Ok(Self(parameters)),
        }
    }

    /// The checksum over all parameters but itself, in the order of their names.
    fn authenticate(&self, settings: &Settings, hub: &impl Hub) -> Result<(), Failure> {
        let forged = || Failure::Unauthorized("no valid checksum".to_owned());
        let signature = self.text("checksum").and_then(hex::decoded).ok_or_else(forged)?;
        let mut signed: Vec<&(String, String)> =
            self.0.iter().filter(|(name, _)| !UNSIGNED.contains(&name.as_str())).collect();
        signed.sort();
        signed.dedup();
        let text: String = signed.iter().map(|(name, value)| format!("{name};{value};")).collect();
        let verified = hub.verify(&settings.credential, text.as_bytes(), &signature);
        let genuine = verified.map_err(|text| rejected("bad-config", text, "config, credential"))?;
        if genuine { Ok(()) } else { Err(forged()) }
    }

    /// Nothing for an absent or empty one.
    fn text(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(other, _)| other == name)?;
        Some(pair.1.trim()).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<&str, Failure> {
        let text = self.text(name).ok_or_else(|| rejected("missing-field", format!("{name} is not stated"), name))?;
        if acquiring::is_number(text) {
            Ok(text)
        } else {
            Err(bad(name, "is longer than 64 characters, or has control characters"))
        }
    }

    /// Kopecks.
    fn minor(&self, names: &[&str]) -> Result<i128, Failure> {
        let first = names.first().copied().unwrap_or_default();
        let missing = || rejected("missing-field", format!("{first} is not stated: the gateway must add it"), first);
        let (name, text) = names.iter().find_map(|name| Some((*name, self.text(name)?))).ok_or_else(missing)?;
        let is_sum = text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
        let minor = text.parse::<i128>().ok().filter(|minor| is_sum && *minor > 0);
        minor.ok_or_else(|| bad(name, "is no positive number of kopecks"))
    }

    /// RFC 3339, local: the callback's own moment where it states one, or else now.
    fn moment(&self, settings: &Settings, hub: &impl Hub) -> Result<String, Failure> {
        let stated = match self.text("callbackCreationDate") {
            Some(text) => Some(moment(text).ok_or_else(|| bad("callbackCreationDate", "is no moment"))?),
            None => None,
        };
        let seconds = stated.unwrap_or_else(|| i64::try_from(hub.now_ms() / 1000).unwrap_or_default());
        settings.local(seconds).ok_or_else(|| bad("callbackCreationDate", "is no moment"))
    }

    /// The customer account, in a parameter of a portal's choice.
    fn account(&self, settings: &Settings) -> Option<String> {
        if self.text("orderNumber").is_some_and(|number| number.starts_with(OWN_ORDERS)) {
            return None;
        }
        settings.account.as_ref()?.account(self.text(&settings.account_parameter)?)
    }
}

fn deposited(settings: &Settings, callback: &Callback, order: &str, hub: &mut impl Hub) -> Result<(), Failure> {
    let id = payment_id(order);
    if hub.lookup(&id).is_some() {
        hub.note(&format!("order {order}: known already"));
        return Ok(());
    }
    // What was taken, where stated, or else what the order was registered for.
    let amount = Money::of_minor(callback.minor(&["depositedAmount", "amount"])?, &settings.currency);
    let number = callback.required("orderNumber")?;
    let page = page(order, hub);
    let of_number = || settings.invoice.as_ref()?.find(number);
    let payment = Payment {
        account: page.account.or_else(|| callback.account(settings)),
        sought: &settings.account_parameter,
        amount,
        fee: None,
        at: callback.moment(settings, hub)?,
        number: order,
        invoice: page.invoice.or_else(of_number),
    };
    hub.emit(payment.draft(id));
    Ok(())
}

/// What was stated of the page that the order was paid at, where it was made here.
pub fn page(order: &str, hub: &impl Hub) -> Stated {
    acquiring::stated(hub.lookup(&link_id(order))).unwrap_or_default()
}

fn refunded(settings: &Settings, callback: &Callback, order: &str, hub: &mut impl Hub) -> Result<(), Failure> {
    let minor = callback.minor(&["operationRefundedAmount"])?;
    // A refund in parts: its own number, or else the sum of all so far, tells each from the one before.
    let which = callback.text("externalRefundId").or(callback.text("refundedAmount")).unwrap_or_default();
    let id = refund_id(order, which, minor);
    let amount = Money::of_minor(minor, &settings.currency);
    give_back(settings, callback, order, Some(amount), id, hub)
}

/// Of a payment that was taken: all of it goes back. Of one that was only held: nothing was stated.
fn reversed(settings: &Settings, callback: &Callback, order: &str, hub: &mut impl Hub) -> Result<(), Failure> {
    if hub.lookup(&payment_id(order)).is_none() {
        hub.note(&format!("order {order}: a hold was cancelled, nothing is stated"));
        return Ok(());
    }
    let id = ids::derived(&["sber-acquiring", "reversed", order]);
    give_back(settings, callback, order, None, id, hub)
}

fn give_back(
    settings: &Settings,
    callback: &Callback,
    order: &str,
    amount: Option<Money>,
    id: String,
    hub: &mut impl Hub,
) -> Result<(), Failure> {
    if hub.lookup(&id).is_some() {
        hub.note(&format!("order {order}: known already"));
        return Ok(());
    }
    let paid = acquiring::stated(hub.lookup(&payment_id(order))).unwrap_or_default();
    let account = paid.account.or_else(|| page(order, hub).account).or_else(|| callback.account(settings));
    let Some(account) = account else {
        hub.note(&format!("order {order}: money went back, but no customer account is known"));
        return Ok(());
    };
    let refund = Refund {
        account,
        amount: amount.or(paid.amount).ok_or_else(|| rejected("missing-field", "the sum is not known", "amount"))?,
        at: callback.moment(settings, hub)?,
        payment: order,
        number: callback.text("externalRefundId").filter(|number| acquiring::is_number(number)),
        reason: None,
    };
    hub.emit(refund.draft(id));
    Ok(())
}

pub fn payment_id(order: &str) -> String {
    ids::derived(&["sber-acquiring", "deposited", order])
}

/// `which`: the refund's own number, or else the sum of all so far.
pub fn refund_id(order: &str, which: &str, minor: i128) -> String {
    ids::derived(&["sber-acquiring", "refunded", order, which, &minor.to_string()])
}

pub fn link_id(order: &str) -> String {
    ids::derived(&["sber-acquiring", "link", order])
}

fn bad(name: &str, what: &str) -> Failure {
    rejected("bad-field", format!("{name} {what}"), name)
}

/// Seconds since 1970 of `Mon Jan 31 21:46:52 UTC 2022`, as Java writes it. Of zones the two that the gateways use.
fn moment(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [_, month, day, clock, zone, year] = parts.as_slice() else { return None };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| name == month)? + 1;
    let offset = match *zone {
        "UTC" | "GMT" => Offset::parse("+00:00")?,
        "MSK" => Offset::MOSCOW,
        other => Offset::parse(other.strip_prefix("GMT")?)?,
    };
    let local = dates::parse_russian_date_time(&format!("{day:0>2}.{month:02}.{year} {clock}"), ' ')?;
    Some(dates::unix_seconds(local, offset))
}

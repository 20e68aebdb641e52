//! A callback of the gateway: its checksum, and what becomes of it.
//!
//! Source: payment gateway documentation (RBS), callback notifications: checksum by symmetric cryptography, table of
//! additional parameters.

use busbar_sdk::acquiring::{self, Payment, Refund, Stated};
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::money::{self, Money};
use busbar_sdk::{Failure, HookRequest, HookResponse, Hub, form, hex, ids, rejected};

use crate::settings::Settings;

#[cfg(test)]
mod tests;

/// Parameters that are not under the checksum.
const UNSIGNED: [&str; 2] = ["checksum", "sign_alias"];
/// Bytes of a value; the gateway's own are far shorter.
const VALUE_BYTES_MAX: usize = 2000;
/// How the numbers of orders begin that this adapter registers: they hold no account.
pub const OWN_ORDERS: &str = "busbar-";

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
        (_, "0") => hub.info(&format!("order {order}: {operation} was not done, nothing is stated")),
        (_, "1") if is_of_no_account(operation) => {
            hub.info(&format!("order {order}: {operation} changes no account, nothing is stated"));
        }
        (_, "1") => return Err(rejected("unknown-operation", format!("nobody knows {operation:?}"), "operation")),
        _ => return Err(bad("status", "is neither 0 nor 1")),
    }
    Ok(HookResponse { status: 200, headers: Vec::new(), body: Vec::new() })
}

/// Of the table of operations: a hold, an attempt that came to nothing, a card or a subscription that is remembered.
fn is_of_no_account(operation: &str) -> bool {
    operation == "approved" || ["declined", "binding", "subscription"].iter().any(|kind| operation.starts_with(kind))
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
    fn authenticate(&self, settings: &Settings, hub: &mut impl Hub) -> Result<(), Failure> {
        let forged = || Failure::Unauthorized("no valid checksum".to_owned());
        let signature = self.text("checksum").and_then(hex::decoded).ok_or_else(forged)?;
        let mut signed: Vec<&(String, String)> =
            self.0.iter().filter(|(name, _)| !UNSIGNED.contains(&name.as_str())).collect();
        signed.sort();
        signed.dedup();
        let text: String = signed.iter().map(|(name, value)| format!("{name};{value};")).collect();
        let verified = hub.verify_hmac_sha256(&settings.credential, text.as_bytes(), &signature);
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

    /// RFC 3339, local: the callback's own moment where it states one that can be read, or else now. Money that was taken counts
    /// whatever the gateway calls its zone.
    fn moment(&self, settings: &Settings, order: &str, hub: &mut impl Hub) -> Result<String, Failure> {
        let stated = self.text("callbackCreationDate");
        let read = stated.and_then(moment).and_then(|seconds| settings.local(seconds));
        if let Some(at) = read {
            return Ok(at);
        }
        if let Some(text) = stated {
            let text: String = text.chars().take(60).collect();
            hub.warn(&format!(
                "order {order}: callbackCreationDate {text:?} cannot be read, the moment is the one it came at"
            ));
        }
        let now = settings.local(i64::try_from(hub.now_ms() / 1000).unwrap_or_default());
        now.ok_or_else(|| bad("callbackCreationDate", "is no moment"))
    }

    /// What a currency is stated in, as a number or a code, must be the settings' one: kopecks are no cents.
    fn must_be_in(&self, currency: &str) -> Result<(), Failure> {
        match self.text("currency") {
            Some(text) if money::currency_of(text) != Some(currency) => Err(rejected(
                "bad-currency",
                format!("the order is in {text}, payments here are in {currency}"),
                "currency",
            )),
            _ => Ok(()),
        }
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
    // What was taken, where stated, or else what the order was registered for.
    callback.must_be_in(&settings.currency)?;
    let amount = Money::of_minor(callback.minor(&["depositedAmount", "amount"])?, &settings.currency);
    let page = page(order, hub);
    let account = page.account.or_else(|| callback.account(settings));
    if let Some(known) = hub.lookup(&id) {
        hub.info(&format!("order {order}: known already"));
        return acquiring::stated(Some(known)).unwrap_or_default().must_be(&amount, account.as_deref(), "amount");
    }
    let number = callback.required("orderNumber")?;
    let of_number = || settings.invoice.as_ref()?.find(number);
    let payment = Payment {
        account,
        sought: &settings.account_parameter,
        amount,
        fee: None,
        at: callback.moment(settings, order, hub)?,
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
    callback.must_be_in(&settings.currency)?;
    let minor = callback.minor(&["operationRefundedAmount"])?;
    // A refund in parts: its own number, or else the sum of all so far, tells each from the one before.
    let keys = [callback.text("externalRefundId"), callback.text("refundedAmount")];
    if keys.iter().flatten().any(|key| hub.is_known(&refund_id(order, key, minor))) {
        hub.info(&format!("order {order}: known already"));
        return Ok(());
    }
    let which = keys.into_iter().flatten().next().unwrap_or_default();
    let id = refund_id(order, which, minor);
    if which.is_empty() && hub.is_known(&id) {
        let paid = acquiring::stated(hub.lookup(&payment_id(order))).and_then(|paid| paid.amount?.minor());
        if paid != Some(minor) {
            let reason = format!(
                "{minor} kopecks of order {order} went back before: without externalRefundId or refundedAmount nobody can tell \
                 whether this is the same refund"
            );
            return Err(rejected("ambiguous-refund", reason, "operationRefundedAmount"));
        }
    }
    let amount = Money::of_minor(minor, &settings.currency);
    give_back(settings, callback, order, Some(amount), id, hub)
}

/// Of a payment that was taken: all of it goes back. Of one that was only held: nothing was stated.
fn reversed(settings: &Settings, callback: &Callback, order: &str, hub: &mut impl Hub) -> Result<(), Failure> {
    if !hub.is_known(&payment_id(order)) {
        hub.info(&format!("order {order}: a hold was cancelled, nothing is stated"));
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
    if hub.is_known(&id) {
        hub.info(&format!("order {order}: known already"));
        return Ok(());
    }
    let paid = acquiring::stated(hub.lookup(&payment_id(order))).unwrap_or_default();
    let account = paid.account.or_else(|| page(order, hub).account).or_else(|| callback.account(settings));
    let Some(account) = account else {
        hub.info(&format!("order {order}: money went back, but no customer account is known"));
        return Ok(());
    };
    let refund = Refund {
        account,
        amount: amount.or(paid.amount).ok_or_else(|| rejected("missing-field", "the sum is not known", "amount"))?,
        at: callback.moment(settings, order, hub)?,
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

/// Zones by the short names that Java has for them, with their hours east of UTC (IANA time zone database, since 2016).
const ZONES: [(&str, i32); 14] = [
    ("UTC", 0),
    ("GMT", 0),
    ("MSK", 3),
    ("SAMT", 4),
    ("YEKT", 5),
    ("OMST", 6),
    ("NOVT", 7),
    ("KRAT", 7),
    ("IRKT", 8),
    ("YAKT", 9),
    ("VLAT", 10),
    ("MAGT", 11),
    ("SRET", 11),
    ("PETT", 12),
];

/// Seconds since 1970 of `Mon Jan 31 21:46:52 UTC 2022`, as Java writes it.
fn moment(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [_, month, day, clock, zone, year] = parts.as_slice() else { return None };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| name == month)? + 1;
    let offset = match ZONES.iter().find(|(name, _)| name == zone) {
        Some((_, hours)) => Offset::of_minutes(hours * 60)?,
        None => Offset::parse(zone.strip_prefix("GMT")?)?,
    };
    let local = dates::parse_russian_date_time(&format!("{day:0>2}.{month:02}.{year} {clock}"), ' ')?;
    Some(dates::unix_seconds(local, offset)).filter(|seconds| *seconds > 0)
}

//! A callback of the gateway: its checksum, and what becomes of it.
//!
//! Source: payment gateway documentation (RBS), callback notifications: checksum by symmetric cryptography, table of
//! additional parameters.

use busbar_sdk::dates::{self, Offset};
use busbar_sdk::money::Money;
use busbar_sdk::{Draft, Failure, HookRequest, HookResponse, Message, form, ids, rejected, texts};
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::Date;

#[cfg(test)]
mod tests;

/// Parameters that are not under the checksum.
const UNSIGNED: [&str; 2] = ["checksum", "sign_alias"];
/// Bytes of a value; the gateway's own are far shorter.
const VALUE_BYTES_MAX: usize = 2000;
const NUMBER_CHARS: usize = 64;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawSettings {
    credential: String,
    account_parameter: Option<String>,
    account_pattern: String,
    invoice_pattern: Option<String>,
    currency: Option<String>,
    utc_offset: Option<Offset>,
}

pub struct Settings {
    credential: String,
    account_parameter: String,
    account: Regex,
    invoice: Option<Regex>,
    currency: String,
    offset: Offset,
}

impl Settings {
    /// # Errors
    /// `rejected(bad-config)` naming a pattern that does not compile or has no group.
    pub fn compiled(raw: RawSettings) -> Result<Self, Failure> {
        Ok(Self {
            credential: raw.credential,
            account_parameter: raw.account_parameter.unwrap_or_else(|| "orderNumber".to_owned()),
            account: pattern(&raw.account_pattern, "account-pattern")?,
            invoice: raw.invoice_pattern.as_deref().map(|text| pattern(text, "invoice-pattern")).transpose()?,
            currency: raw.currency.unwrap_or_else(|| "RUB".to_owned()),
            offset: raw.utc_offset.unwrap_or(Offset::MOSCOW),
        })
    }
}

fn pattern(text: &str, setting: &str) -> Result<Regex, Failure> {
    let wrong = |why: String| rejected("bad-config", format!("`{text}` {why}"), format!("config, {setting}"));
    let regex = Regex::new(text).map_err(|error| wrong(error.to_string()))?;
    if regex.captures_len() < 2 { Err(wrong("has no group".to_owned())) } else { Ok(regex) }
}

/// What the adapter needs of the hub.
pub trait Hub {
    fn now_ms(&self) -> u64;
    fn verify(&self, credential: &str, data: &[u8], signature: &[u8]) -> Result<bool, String>;
    fn lookup(&self, id: &str) -> Option<Message>;
    fn emit(&mut self, draft: Draft);
    fn note(&mut self, text: &str);
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
        let signature = self.text("checksum").and_then(|text| texts::unhexed(text, 32)).ok_or_else(forged)?;
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
        if text.chars().count() > NUMBER_CHARS { Err(bad(name, "is longer than 64 characters")) } else { Ok(text) }
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

    /// The day, and the moment with its offset: the callback's own where it states one, or else now.
    fn moment(&self, settings: &Settings, hub: &impl Hub) -> Result<(Date, String), Failure> {
        let stated = match self.text("callbackCreationDate") {
            Some(text) => Some(moment(text).ok_or_else(|| bad("callbackCreationDate", "is no moment"))?),
            None => None,
        };
        let seconds = stated.unwrap_or_else(|| i64::try_from(hub.now_ms() / 1000).unwrap_or_default());
        let local = dates::local_of_unix_seconds(seconds, settings.offset);
        let local = local.ok_or_else(|| bad("callbackCreationDate", "is no moment"))?;
        Ok((local.date(), dates::rfc3339(local, settings.offset)))
    }

    fn account(&self, settings: &Settings) -> Option<String> {
        group(&settings.account, self.text(&settings.account_parameter)?)
            .filter(|account| account.chars().count() <= NUMBER_CHARS && !account.contains(char::is_whitespace))
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
    let (day, at) = callback.moment(settings, hub)?;
    let number = callback.required("orderNumber")?;
    let account = callback.account(settings);
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| drop(data.insert(key.to_owned(), value));
    match &account {
        Some(account) => put("account", account.as_str().into()),
        None => {
            let text = format!("no customer account in {}", settings.account_parameter);
            put("reason", json!({ "code": "no-account", "text": text }));
        }
    }
    put("amount", json!(amount));
    put("channel", "acquiring".into());
    put("paidOn", dates::iso_date(day).into());
    put("paidAt", at.as_str().into());
    put("document", json!({ "number": order }));
    if let Some(invoice) = settings.invoice.as_ref().and_then(|regex| group(regex, number)) {
        put("invoice", invoice.into());
    }
    let r#type = if account.is_some() { "payment.received.v1" } else { "payment.rejected.v1" };
    let subject = account.or_else(|| Some(order.to_owned()));
    hub.emit(Draft { subject, time: Some(at), ..busbar_sdk::draft(id, r#type, Value::Object(data).to_string()) });
    Ok(())
}

fn refunded(settings: &Settings, callback: &Callback, order: &str, hub: &mut impl Hub) -> Result<(), Failure> {
    let minor = callback.minor(&["operationRefundedAmount"])?;
    // A refund in parts: its own number, or else the sum of all so far, tells each from the one before.
    let which = callback.text("externalRefundId").or(callback.text("refundedAmount")).unwrap_or_default();
    let id = ids::derived(&["sber-acquiring", "refunded", order, which, &minor.to_string()]);
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
    let payment = hub.lookup(&payment_id(order)).and_then(|message| serde_json::from_str::<Stated>(&message.data).ok());
    let (account, paid) = payment.map_or((None, None), |payment| (payment.account, Some(payment.amount)));
    let Some(account) = account.or_else(|| callback.account(settings)) else {
        hub.note(&format!("order {order}: money went back, but no customer account is known"));
        return Ok(());
    };
    let amount = amount.or(paid).ok_or_else(|| rejected("missing-field", "the sum is not known", "amount"))?;
    let (day, at) = callback.moment(settings, hub)?;
    let mut data = json!({
        "account": account,
        "amount": amount,
        "channel": "acquiring",
        "refundedOn": dates::iso_date(day),
        "refundedAt": at,
        "payment": { "number": order },
    });
    let number = callback.text("externalRefundId").filter(|number| number.chars().count() <= NUMBER_CHARS);
    if let (Some(data), Some(number)) = (data.as_object_mut(), number) {
        data.insert("document".to_owned(), json!({ "number": number }));
    }
    let draft = busbar_sdk::draft(id, "payment.refunded.v1", data.to_string());
    hub.emit(Draft { subject: Some(account), time: Some(at), ..draft });
    Ok(())
}

/// The data of payment.received.v1 or payment.rejected.v1 as far as it is used.
#[derive(Deserialize)]
struct Stated {
    account: Option<String>,
    amount: Money,
}

fn payment_id(order: &str) -> String {
    ids::derived(&["sber-acquiring", "deposited", order])
}

fn group(regex: &Regex, text: &str) -> Option<String> {
    let found = regex.captures(text)?.get(1)?.as_str();
    (!found.is_empty() && found.chars().count() <= NUMBER_CHARS).then(|| found.to_owned())
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

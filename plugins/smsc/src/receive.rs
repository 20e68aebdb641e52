//! The gateway's callback: what became of a message, and what somebody wrote back.
//!
//! Source: SMSC.ru HTTP API, «Передача статусов и сообщений на обработчик Клиента».

use busbar_sdk::credentials::{Digest, Piece};
use busbar_sdk::encoding::{self, Encoding};
use busbar_sdk::loose::Loose;
use busbar_sdk::{
    Draft, Failure, HookRequest, HookResponse, Hub, dates, form, hex, ids, phones, rejected, texts, transient,
};
use serde_json::{Map, Value, json};

use crate::mapping::{Settings, Verify};
use crate::receipt::{self, Outcome, Receipt, Taken};

/// Bytes of a callback; one of ten joined parts has some five thousand.
const CALLBACK_BYTES_MAX: usize = 64 * 1024;
const ID_CHARS_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 500;

/// Serves one callback.
///
/// # Errors
/// `unauthorized` where it is not genuine; `bad-request`, `missing-field`, `bad-value` with the parameter; `transient` where the message is not
/// remembered yet.
pub fn receive(settings: &Settings, request: &HookRequest, hub: &mut impl Hub) -> Result<HookResponse, Failure> {
    let callback = Callback::of(request)?;
    callback.authenticate(settings, request, hub)?;
    if callback.bytes("mes").is_some() {
        incoming(settings, &callback, hub)?;
    } else if callback.bytes("status").is_some() {
        status(settings, &callback, hub)?;
    } else {
        hub.info("a callback without status and text, such as of a call, states nothing");
    }
    Ok(HookResponse { status: 200, headers: Vec::new(), body: b"OK".to_vec() })
}

struct Callback(Vec<(String, Vec<u8>)>);

impl Callback {
    /// Of a POST the body alone counts: the address has parameters of its own, such as the encoding.
    fn of(request: &HookRequest) -> Result<Self, Failure> {
        let bad = || rejected("bad-request", "no GET, no POST of a form, too long, or too many parameters", "");
        let pairs = match request.method.as_str() {
            "GET" => request.query.as_bytes(),
            "POST" if form::is_form(request) => &request.body,
            _ => return Err(bad()),
        };
        let is_short = pairs.len() <= CALLBACK_BYTES_MAX;
        Ok(Self(form::raw(pairs).filter(|_| is_short).ok_or_else(bad)?))
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    /// Nothing for an absent or empty one.
    fn text(&self, name: &str) -> Option<String> {
        let text = encoding::decode(self.bytes(name)?, Encoding::Windows1251).0.trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let bad = || rejected("bad-value", "this is no number", name);
        self.text(name).map(|text| text.parse().map_err(|_| bad())).transpose()
    }

    fn required(&self, name: &str) -> Result<String, Failure> {
        let text = self.text(name).ok_or_else(|| rejected("missing-field", format!("{name} is not stated"), name))?;
        let is_short = text.chars().count() <= ID_CHARS_MAX;
        if is_short { Ok(text) } else { Err(rejected("bad-value", "it is longer than 64 characters", name)) }
    }

    /// Over the parameters as they were sent, whatever their encoding.
    fn authenticate(&self, settings: &Settings, request: &HookRequest, hub: &mut impl Hub) -> Result<(), Failure> {
        let missing = || rejected("bad-config", "no callback is set", "config, callback");
        let callback = settings.callback.as_ref().ok_or_else(missing)?;
        let secret = Piece::Secret(callback.credential.clone());
        let (name, digest, bytes) = match callback.verify {
            Verify::Sha1 => ("sha1", Digest::Sha1, 20),
            Verify::Md5 => ("md5", Digest::Md5, 16),
            Verify::Path => {
                let path = request.path.trim_start_matches('/').as_bytes();
                return genuine(!path.is_empty(), is_secret(path, secret, hub));
            }
        };
        let signed = if self.bytes("mes").is_some() {
            ["phone", "mes", "to"].as_slice()
        } else if self.bytes("status").is_some() {
            ["id", "phone", "status"].as_slice()
        } else {
            ["phone", "ts"].as_slice()
        };
        let mut plain = Vec::new();
        for part in signed {
            plain.extend_from_slice(self.bytes(part).unwrap_or_default());
            plain.push(b':');
        }
        let expected = self.text(name).and_then(|text| hex::decoded(&text).filter(|found| found.len() == bytes));
        let pieces = [Piece::Plain(plain), secret];
        let verified = hub.verify_hash(digest, &pieces, expected.as_deref().unwrap_or_default());
        genuine(expected.is_some(), verified)
    }

    /// Seconds since 1970, where a time is stated.
    fn moment(&self, settings: &Settings) -> Result<Option<i64>, Failure> {
        if let Some(seconds) = self.number("ts")?.filter(|seconds| *seconds > 0) {
            return Ok(Some(seconds));
        }
        let bad = || rejected("bad-value", "this is no time", "time");
        self.text("time").map(|text| receipt::local_seconds(settings, &text).ok_or_else(bad)).transpose()
    }
}

/// Whether the text is the secret.
fn is_secret(text: &[u8], secret: Piece, hub: &mut impl Hub) -> Result<bool, String> {
    let expected = hub.hash(Digest::Sha256, &[Piece::Plain(text.to_vec())])?;
    hub.verify_hash(Digest::Sha256, &[secret], &expected)
}

fn genuine(is_stated: bool, verified: Result<bool, String>) -> Result<(), Failure> {
    match verified {
        Err(text) => Err(rejected("bad-config", text, "config, callback")),
        Ok(true) if is_stated => Ok(()),
        Ok(_) => Err(Failure::Unauthorized("no valid hash of the callback, or not its path".to_owned())),
    }
}

fn status(settings: &Settings, callback: &Callback, hub: &mut impl Hub) -> Result<(), Failure> {
    let own = callback.required("id")?;
    let no_status = || rejected("missing-field", "status is not stated", "status");
    let status = callback.number("status")?.ok_or_else(no_status)?;
    let error = callback.number("err")?;
    let parts = callback.number("cnt")?.and_then(|parts| usize::try_from(parts).ok()).filter(|parts| *parts > 0);
    let receipt = Receipt {
        phone: callback.required("phone")?,
        outcome: Outcome::of(status, error),
        text: receipt::words(status, error),
        at: callback.moment(settings)?,
        parts,
        cost: callback.text("cost").and_then(|cost| receipt::cost(settings, &Loose::Text(cost))),
        sender: None,
        own,
    };
    match receipt::take(settings, &receipt, hub)? {
        Taken::Stated if receipt.outcome == Outcome::Failed(receipt::UNKNOWN) => {}
        Taken::Stated => hub.delete(&crate::mapping::Sent::key(&receipt.own)),
        Taken::Nothing => {}
        Taken::Forgotten => return Err(transient(format!("{} is not remembered (yet)", receipt.own), None)),
    }
    Ok(())
}

/// Something that a customer wrote.
fn incoming(settings: &Settings, callback: &Callback, hub: &mut impl Hub) -> Result<(), Failure> {
    let phone = callback.required("phone")?;
    let to = callback.text("to").unwrap_or_default();
    let text = callback.text("mes");
    let now = i64::try_from(hub.now_ms() / 1000).unwrap_or_default();
    let stated = callback.moment(settings)?;
    let number = callback.text("id").filter(|id| id.chars().count() <= ID_CHARS_MAX && texts::is_plain(id));
    // The same words twice are two messages where the gateway tells them apart.
    let which = number.clone().or(stated.map(|seconds| seconds.to_string())).unwrap_or_default();
    let id = ids::derived(&["smsc", "incoming", &phone, &to, text.as_deref().unwrap_or_default(), &which]);
    let offset = settings.offset();
    let local = dates::local_of_unix_seconds(stated.unwrap_or(now), offset);
    let local = local.ok_or_else(|| rejected("bad-value", "this is no time", "ts"))?;
    let at = dates::rfc3339(local, offset);
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| drop(data.insert(key.to_owned(), value));
    let number = number.unwrap_or_else(|| id.clone());
    put("id", number.as_str().into());
    put("receivedOn", dates::iso_date(local.date()).into());
    put("receivedAt", at.as_str().into());
    put("channel", "sms".into());
    let digits = format!("+{}", phone.trim_start_matches('+'));
    put(
        "customer",
        match phones::parse(&digits, "").number {
            Some(phone) => json!({ "phone": phone }),
            // A short number, or a name.
            None => json!({ "name": texts::shortened(&phone, NAME_CHARS_MAX) }),
        },
    );
    if let Some(text) = text {
        put("text", text.into());
    }
    let draft = busbar_sdk::draft(id, "appeal.received.v1", Value::Object(data).to_string());
    hub.emit(Draft { subject: Some(number), time: Some(at), ..draft });
    Ok(())
}

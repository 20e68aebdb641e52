//! Events of ARI as what happens to calls, and orders as requests.
//!
//! Source: Asterisk documentation, "Asterisk REST Data Models".

use busbar_sdk::calls::{self, Channel, News};
use busbar_sdk::dates::{self, Offset};
use busbar_sdk::dialling::{self, Order};
use serde_json::{Map, Value, json};

/// A text at a pointer; empty where it is not there.
pub fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The call, or the order, that an event is about. ARI does not say which channels belong together, but who dialled.
pub fn call_of(event: &Value) -> &str {
    let places: &[&str] = match text(event, "/type") {
        "Dial" => &["/caller/id"],
        "BridgeBlindTransfer" | "BridgeAttendedTransfer" => &["/transferee/id", "/channel/id"],
        _ => &["/channel/id"],
    };
    places.iter().map(|place| text(event, place)).find(|id| !id.is_empty()).unwrap_or_default()
}

/// The channel of a call that comes in, or that an employee places: it rings the exchange. Those that are dialled are `Down` first.
pub fn first_channel(event: &Value) -> Option<Channel<'_>> {
    let is_first = match (text(event, "/type"), text(event, "/channel/state")) {
        ("ChannelCreated" | "ChannelStateChange" | "StasisStart", "Ring") => true,
        ("StasisStart", state) => state != "Down",
        _ => false,
    };
    let id = text(event, "/channel/id");
    (is_first && !id.starts_with(dialling::PREFIX)).then(|| Channel {
        id,
        name: text(event, "/channel/name"),
        context: text(event, "/channel/dialplan/context"),
        exten: text(event, "/channel/dialplan/exten"),
        caller: text(event, "/channel/caller/number"),
    })
}

/// What else happens to a call.
pub fn news(event: &Value) -> Option<News<'_>> {
    let get = |pointer: &str| text(event, pointer);
    let peer = calls::interface_of(get("/peer/name"));
    Some(match (get("/type"), get("/dialstatus")) {
        ("ChannelStateChange" | "StasisStart", _) if get("/channel/state") == "Up" => News::Up,
        ("Dial", "" | "RINGING") => News::Rings(peer, ""),
        ("Dial", "ANSWER") => News::Connected(peer),
        ("Dial", "PROGRESS" | "PROCEEDING") => return None,
        // BUSY, NOANSWER, CANCEL, and what newer versions have besides.
        ("Dial", status) => News::NotAnswered(status),
        ("BridgeBlindTransfer", _) if get("/result") == "Success" => {
            News::Transferred(Some(get("/exten")).filter(|exten| !exten.is_empty()))
        }
        ("BridgeAttendedTransfer", _) if get("/result") == "Success" => News::Transferred(None),
        ("ChannelVarset", _) if get("/variable") == "MIXMONITOR_FILENAME" => News::Recorded(get("/value")),
        ("ChannelDestroyed", _) => News::Ended(cause(event)),
        _ => return None,
    })
}

/// Whether the telephone of the channel rings: its own state says so, also at its end.
pub fn is_ringing(event: &Value) -> bool {
    text(event, "/channel/state") == "Ringing"
}

pub fn cause(event: &Value) -> Option<u32> {
    event.get("cause").and_then(Value::as_u64).and_then(|cause| u32::try_from(cause).ok())
}

/// Milliseconds after 1970. Asterisk writes offsets without a colon: `2026-11-20T14:10:12.225+0300`.
pub fn time_ms(event: &Value) -> Option<u64> {
    let stated = text(event, "/timestamp");
    let (moment, offset) = stated.split_at_checked(stated.len().checked_sub(5)?)?;
    let is_short = offset.starts_with(['+', '-']) && offset.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    let ms = match offset.split_at_checked(3) {
        Some((hours, minutes)) if is_short => dates::unix_ms(&format!("{moment}{hours}:{minutes}"), Offset::MOSCOW),
        _ => dates::unix_ms(stated, Offset::MOSCOW),
    };
    ms.and_then(|ms| u64::try_from(ms).ok())
}

/// Address below the base, and body, of the request that calls somebody. All is in the body: addresses are logged.
pub fn originate(settings: &dialling::Settings, order: &Order) -> (String, Vec<u8>) {
    let variables: Map<String, Value> =
        order.variables.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut body = json!({
        "endpoint": order.channel, "context": settings.context, "extension": settings.exten, "priority": settings.priority,
        "timeout": settings.timeout_s, "variables": variables,
    });
    if !order.caller_id.is_empty() {
        body["callerId"] = order.caller_id.as_str().into();
    }
    (format!("/channels/{}", order.key), body.to_string().into_bytes())
}

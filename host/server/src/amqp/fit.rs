//! What goes into one header frame: AMQP 0-9-1 has no second one for properties (sections 2.3.5.2 and 4.2.6.1), and a frame
//! above the negotiated size ends the whole connection.

use lapin::BasicProperties;
use lapin::protocol::basic::gen_properties;
use lapin::types::{AMQPValue, FieldTable};

/// Frame (type, channel, size, end) and content header (class, weight, body size).
const FRAME_BYTES: usize = 8 + 12;
/// What a broker adds on the way: `x-death`, `x-delivery-count` and the like.
const ADDED_BYTES_MAX: usize = 4_096;
/// A header of a message that is put aside is cut to this where all of them do not fit.
const KEPT_BYTES: usize = 200;

/// Bytes that the properties of a message may have on a connection with this frame size.
pub fn room(frame_bytes_max: u32) -> usize {
    let whole = usize::try_from(frame_bytes_max).unwrap_or(usize::MAX);
    whole.saturating_sub(FRAME_BYTES + ADDED_BYTES_MAX.min(whole / 4))
}

/// Bytes of the properties, headers included.
pub fn bytes(properties: &BasicProperties) -> usize {
    cookie_factory::gen_simple(gen_properties(properties), Vec::new())
        .map_or(usize::MAX, |written: Vec<u8>| written.len())
}

/// Cuts the headers of a message that is put aside: first the long texts among them, then all of the sender's. A header
/// says that this was done.
pub fn cut(properties: BasicProperties, room: usize) -> BasicProperties {
    if bytes(&properties) <= room {
        return properties;
    }
    let all = properties.headers().clone().unwrap_or_default();
    let texts = with_note(&all, "texts", |_, value| Some(shorter(value)));
    let properties = properties.with_headers(texts);
    if bytes(&properties) <= room {
        return properties;
    }
    let own = |name: &str| name.starts_with("busbar") || name.starts_with("cloudEvents:busbar");
    properties.with_headers(with_note(&all, "headers", |name, value| own(name).then(|| shorter(value))))
}

fn with_note(all: &FieldTable, what: &str, keep: impl Fn(&str, &AMQPValue) -> Option<AMQPValue>) -> FieldTable {
    let mut kept = FieldTable::default();
    for (name, value) in all.inner() {
        if let Some(value) = keep(name.as_str(), value) {
            kept.insert(name.clone(), value);
        }
    }
    kept.insert("busbar-cut".into(), AMQPValue::LongString(what.into()));
    kept
}

fn shorter(value: &AMQPValue) -> AMQPValue {
    match value {
        AMQPValue::LongString(text) if text.as_bytes().len() > KEPT_BYTES => {
            let text = String::from_utf8_lossy(text.as_bytes()).into_owned();
            AMQPValue::LongString(busbar_core::cut(text, KEPT_BYTES).into())
        }
        AMQPValue::ByteArray(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => AMQPValue::Void,
        other => other.clone(),
    }
}

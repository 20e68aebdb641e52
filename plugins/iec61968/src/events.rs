//! `EndDeviceEvent`: a meter whose supply is gone or back is an outage of its own.

use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Draft, Rejection, Sink, ids, rejection};
use serde::Serialize;

use crate::mapping::{Settings, can_be_id};
use busbar_sdk::cim::{FIELD_CHARS_MAX, cut, field};

/// As the message states it; empty where it does not.
#[derive(Debug, Default)]
pub struct Event {
    pub place: String,
    /// `EndDeviceEventType@ref`, or `category` of 2009.
    kind: String,
    created: String,
    /// `status`: value and moment.
    status: String,
    status_at: String,
    /// `Assets/mRID`, or the meter within which the event stands.
    meter: String,
    usage_point: String,
}

/// Reads an event whose start tag was read.
///
/// # Errors
/// What is wrong with the XML.
pub fn read<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, _: &Element) -> Result<Event, Rejection> {
    let mut event = Event { place: xml.place(), ..Event::default() };
    while let Some(element) = xml.child()? {
        match element.name.as_str() {
            "category" => event.kind = field(xml)?,
            "EndDeviceEventType" => {
                event.kind = element.attribute("ref").unwrap_or_default().chars().take(FIELD_CHARS_MAX).collect();
                xml.skip()?;
            }
            "createdDateTime" => event.created = field(xml)?,
            "Assets" | "Asset" => event.meter = first(xml, "mRID")?,
            "UsagePoint" => event.usage_point = first(xml, "mRID")?,
            "status" => {
                while let Some(element) = xml.child()? {
                    match element.name.as_str() {
                        "value" => event.status = field(xml)?,
                        "dateTime" => event.status_at = field(xml)?,
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok(event)
}

/// The text of the first child of this name.
pub fn first<R: FnMut(u32) -> Vec<u8>>(xml: &mut Xml<R>, name: &str) -> Result<String, Rejection> {
    let mut found = String::new();
    while let Some(element) = xml.child()? {
        match element.name == name && found.is_empty() {
            true => found = field(xml)?,
            false => xml.skip()?,
        }
    }
    Ok(found)
}

/// States the event. `meter`: the meter and metering point within which it stands.
///
/// # Errors
/// `unsupported-event`, `no-meter`, `bad-time` at the event.
pub fn state(
    settings: &Settings,
    event: &Event,
    within: Option<(&str, &str)>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    let refuse = |code: &str, reason: String| rejection(code, reason, event.place.clone());
    let Some(is_fail) = power(settings, event) else {
        let what = format!("an event of type `{}`, status `{}`", cut(&event.kind), cut(&event.status));
        if settings.ignores_other_events() {
            sink.warn(&format!("{}: {what} ignored", event.place));
            return Ok(());
        }
        return Err(refuse("unsupported-event", format!("{what}: only a lost and a restored supply are told")));
    };
    let (meter, point) = within.unwrap_or_default();
    let meter = [&event.meter, meter].into_iter().find(|id| !id.is_empty()).unwrap_or_default();
    let point = [&event.usage_point, point].into_iter().find(|id| !id.is_empty()).unwrap_or(meter);
    if point.is_empty() || !can_be_id(point) || !can_be_id(meter) {
        let reason = "neither meter nor metering point, or with over 64 or control characters";
        return Err(refuse("no-meter", reason.into()));
    }
    let text = if event.status_at.is_empty() { &event.created } else { &event.status_at };
    let (at, milliseconds) =
        settings.moment(text).ok_or_else(|| refuse("bad-time", format!("no moment: `{}`", cut(text))))?;
    let data = Outage {
        id: point,
        kind: "unknown",
        status: if is_fail { "started" } else { "restored" },
        revision: milliseconds,
        changed_at: &at,
        affected: Affected { metering_points: [point] },
        started_at: is_fail.then_some(at.as_str()),
        restored_at: (!is_fail).then_some(at.as_str()),
    };
    let id = ids::derived(&["61968", "event", point, data.status, &milliseconds.to_string()]);
    let data = serde_json::to_string(&data).unwrap_or_default();
    sink.emit(Draft {
        subject: Some(point.to_owned()),
        time: Some(at),
        partition_key: Some(point.to_owned()),
        place: Some(event.place.clone()),
        ..busbar_sdk::draft(id, "outage.changed.v1", data)
    });
    Ok(())
}

/// Whether the supply is gone (true) or back.
fn power(settings: &Settings, event: &Event) -> Option<bool> {
    let named = |names: &[String]| names.iter().any(|name| *name == event.kind || *name == event.status);
    if named(settings.power_fail()) || event.status == "POWER_FAIL" {
        return Some(true);
    }
    if named(settings.power_restore()) || matches!(event.status.as_str(), "POWER_RESTORE" | "POWER_RESTORED") {
        return Some(false);
    }
    // <device type>.<domain>.<sub-domain>.<event or action>; domain 26 is Power.
    let parts: Vec<&str> = event.kind.split('.').collect();
    match parts.as_slice() {
        [_, "26", "0", "47" | "85"] => Some(true),
        [_, "26", "0", "216"] => Some(false),
        _ => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outage<'a> {
    id: &'a str,
    kind: &'a str,
    status: &'a str,
    revision: i64,
    changed_at: &'a str,
    affected: Affected<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored_at: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Affected<'a> {
    metering_points: [&'a str; 1],
}

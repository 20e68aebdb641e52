//! A file or a request -> its outages, all or nothing. Pure.

use busbar_sdk::cim::{Header, reply};
use busbar_sdk::dates::Offset;
use busbar_sdk::{Draft, HookRequest, HookResponse, Rejection, Sink};
use serde::Deserialize;
use serde_json::json;

use crate::document::{self, is_json};

#[cfg(test)]
mod tests;

/// Outages of one pushed message: the host takes 1000.
const PUSHED_MAX: usize = 1000;

/// The system's settings, as in `config.schema.json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub utc_offset: Offset,
}

impl Default for Settings {
    fn default() -> Self {
        Self { utc_offset: Offset::MOSCOW }
    }
}

/// Decodes a whole file; `read` gives its next bytes. An outage that is none is left out, while the others are taken.
///
/// # Errors
/// The first thing that makes it unfit or no news, with its place; the README lists the codes.
pub fn decode(
    settings: &Settings,
    read: &mut dyn FnMut(u32) -> Vec<u8>,
    sink: &mut impl Sink,
) -> Result<(), Rejection> {
    document::read(settings, read, &mut Header::default(), &mut |outage| {
        match outage {
            Ok(draft) => sink.emit(draft),
            Err(entry) => sink.leave_out(entry),
        }
        Ok(())
    })
}

/// Takes a pushed message: the reply, in its own form, and the messages. Nothing of a refused message is stated.
pub fn receive(settings: &Settings, request: &HookRequest) -> (HookResponse, Vec<Draft>) {
    if request.method != "POST" {
        let response = HookResponse { status: 405, headers: Vec::new(), body: b"POST a message of IEC 61968".to_vec() };
        return (response, Vec::new());
    }
    let mut header = Header::default();
    let mut drafts: Vec<Draft> = Vec::new();
    let mut rest = request.body.as_slice();
    let mut read = |max: u32| {
        let (chunk, later) = rest.split_at(rest.len().min(max as usize));
        rest = later;
        chunk.to_vec()
    };
    let result = document::read(settings, &mut read, &mut header, &mut |outage| {
        let draft = outage?;
        if drafts.len() >= PUSHED_MAX {
            let reason = format!("more than {PUSHED_MAX} in one message");
            return Err(busbar_sdk::rejection("too-many-outages", reason, draft.place.unwrap_or_default()));
        }
        drafts.push(draft);
        Ok(())
    });
    let refused = result.err();
    if refused.is_some() {
        drafts.clear();
    }
    let response = match is_json(&request.body) {
        true => json_reply(&header, refused.as_ref()),
        false => reply(&header, "Outages", refused.as_ref()),
    };
    (response, drafts)
}

fn json_reply(header: &Header, rejection: Option<&Rejection>) -> HookResponse {
    let reply = match rejection {
        None => json!({ "Result": "OK" }),
        Some(rejection) => json!({ "Result": "FAILED", "Error": {
            "code": rejection.code, "level": "FATAL", "reason": rejection.reason, "details": rejection.place,
        } }),
    };
    let noun = if header.noun.is_empty() { "Outages" } else { &header.noun };
    let header = json!({ "Verb": "reply", "Noun": noun, "CorrelationID": header.correlation() });
    let content_type = busbar_sdk::Header { name: "content-type".into(), value: "application/json".into() };
    let body = json!({ "Header": header, "Reply": reply }).to_string().into_bytes();
    HookResponse { status: 200, headers: vec![content_type], body }
}

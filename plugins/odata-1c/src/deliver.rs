//! A message -> an object of 1C that is there once, however often the message comes. Pure but for the requests.
//!
//! A new object bears a `Ref_Key` derived from what makes it itself. It is looked for before it is written, so that a repeat
//! finds what an earlier attempt has made; two at once cannot both make it, since the key is the same.

use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::replies::failure_of_error;
use busbar_sdk::{Failure, Message, data_of, rejected};
use serde_json::{Value, json};

use crate::client;
use crate::mapping::{Table, Way, at};
use crate::settings::{Find, Settings, Writing, is_state};
use crate::value;

type Send<'a> = &'a mut dyn FnMut(&Request) -> Result<Response, HttpError>;

/// # Errors
/// `unmapped-type`; `missing-field`, `bad-value` with the place in the message; `not-found` and `ambiguous` where a reference
/// or the object itself is; a refusal of 1C.
pub fn deliver(settings: &Settings, message: &Message, send: Send) -> Result<(), Failure> {
    let Some(writing) = settings.deliver.get(&message.type_) else {
        return Err(rejected("unmapped-type", format!("the settings map no {}", message.type_), "config, deliver"));
    };
    let data: Value = data_of(message)?;
    let named = |name: &str| match name {
        "id" => Some(json!(message.id)),
        "source" => Some(json!(message.source)),
        "type" => Some(json!(message.type_)),
        "subject" => Some(json!(message.subject)),
        "time" => Some(json!(message.time)),
        _ => None,
    };
    let (reference, found) = target(settings, writing, message, &data, send)?;
    let table = Table { settings, way: Way::ToOneC, named: &named, place: "/data" };
    let path = format!("{}(guid'{reference}')", writing.entity);
    let update = writing.update.unwrap_or_else(|| is_state(&message.type_));
    if found.is_none() || update {
        let mut object =
            table.fill(&writing.fields, &data, &mut |find, text| reference_to(settings, find, text, send))?;
        let request = match found {
            Some(_) => client::request(settings, "PATCH", &path, &[], Some(&Value::Object(object))),
            None => {
                object.insert("Ref_Key".to_owned(), json!(reference));
                client::request(settings, "POST", &writing.entity, &[], Some(&Value::Object(object)))
            }
        };
        write(&request, &path, send)?;
    }
    let is_posted = !update && found.as_ref().is_some_and(|found| found.get("Posted") == Some(&json!(true)));
    if writing.post && !is_posted {
        let mut request = client::request(settings, "POST", &format!("{path}/Post"), &[], None);
        request.url.push_str("&PostingModeOperational=false");
        write(&request, &format!("{path}/Post"), send)?;
    }
    Ok(())
}

fn write(request: &Request, path: &str, send: Send) -> Result<(), Failure> {
    let what = format!("{} {path}", request.method);
    let response = send(request).map_err(|error| failure_of_error(error, &what, true))?;
    client::written(&response, &what)
}

/// The object's reference, and what is there of it.
fn target(
    settings: &Settings,
    writing: &Writing,
    message: &Message,
    data: &Value,
    send: Send,
) -> Result<(String, Option<Value>), Failure> {
    let select = if writing.post { "Ref_Key,Posted" } else { "Ref_Key" };
    if let Some(find) = &writing.find {
        let value = key_text(data, &find.from)?;
        let filter = format!("{} eq {}", find.by, client::literal(&value));
        let found = one(settings, &writing.entity, &filter, select, send)?;
        let reference = found.as_ref().and_then(|found| found.get("Ref_Key")).and_then(Value::as_str);
        let reference = reference.map(str::to_owned);
        return Ok((
            reference.unwrap_or_else(|| client::guid(&["odata-1c", &writing.entity, &find.by, &value], None)),
            found,
        ));
    }
    let mut parts = vec!["odata-1c".to_owned(), writing.entity.clone()];
    match writing.key.is_empty() {
        true => parts.extend([message.source.clone(), message.id.clone()]),
        false => {
            for name in &writing.key {
                parts.push(key_text(data, name)?);
            }
        }
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    // A key that is a GUID alone is 1C's own reference, which came from there.
    let given = (writing.key.len() == 1).then(|| parts.last().copied()).flatten();
    let reference = client::guid(&parts, given);
    let path = format!("{}(guid'{reference}')", writing.entity);
    let what = format!("GET {path}");
    let request = client::request(settings, "GET", &path, &[("select", select)], None);
    let response = send(&request).map_err(|error| failure_of_error(error, &what, true))?;
    Ok((reference, client::read(&response, &what)?))
}

fn key_text(data: &Value, name: &str) -> Result<String, Failure> {
    let text = at(data, name).map_or(Ok(None), value::text).ok().flatten();
    let place = format!("/data/{}", name.replace('.', "/"));
    text.ok_or_else(|| rejected("missing-field", "it makes the object itself and is empty", place))
}

/// The reference of the object that has this value.
fn reference_to(settings: &Settings, find: &Find, text: &str, send: Send) -> Result<Option<String>, Failure> {
    let filter = format!("{} eq {}", find.by, client::literal(text));
    let found = one(settings, &find.entity, &filter, "Ref_Key", send)?;
    let reference = found.as_ref().and_then(|found| found.get("Ref_Key")).and_then(Value::as_str);
    if reference.is_none() && !find.optional {
        return Err(rejected("not-found", format!("no object of {} has this {}", find.entity, find.by), "/data"));
    }
    Ok(reference.map(str::to_owned))
}

/// The only object that fits, if there is one.
///
/// # Errors
/// `ambiguous` where there are several.
fn one(settings: &Settings, entity: &str, filter: &str, select: &str, send: Send) -> Result<Option<Value>, Failure> {
    let what = format!("GET {entity}");
    let options = [("filter", filter), ("select", select), ("top", "2")];
    let request = client::request(settings, "GET", entity, &options, None);
    let response = send(&request).map_err(|error| failure_of_error(error, &what, true))?;
    let body = client::read(&response, &what)?.unwrap_or_else(|| json!({"value": []}));
    match client::objects(&body, &what)?.as_slice() {
        [] => Ok(None),
        [found] => Ok(Some((*found).clone())),
        _ => Err(rejected("ambiguous", format!("several objects of {entity} fit"), "/data")),
    }
}

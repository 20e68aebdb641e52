//! A question about an account -> its answer, in one request or several. Pure but for the requests.

use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::replies::failure_of_error;
use busbar_sdk::{Draft, Failure, Message, data_of, draft, ids, rejected};
use serde_json::{Value, json};

use crate::client;
use crate::mapping::{Table, Way, at};
use crate::poll::moment_now;
use crate::settings::{Settings, Step};
use crate::value;

type Send<'a> = &'a mut dyn FnMut(&Request) -> Result<Response, HttpError>;

/// # Errors
/// `unmapped-type`; `ambiguous` where several objects fit; `bad-value`, `missing-field` with the place in 1C; `bad-mapping`
/// where a `{…}` stands for nothing; `bad-key-value`; a refusal of 1C.
pub fn answer(settings: &Settings, question: &Message, now_ms: &dyn Fn() -> u64, send: Send) -> Result<Draft, Failure> {
    let answer_type = match question.type_.as_str() {
        "account.lookup.v1" => "account.lookup.answer.v1",
        "account.balance.lookup.v1" => "account.balance.lookup.answer.v1",
        _ => "",
    };
    let asking = settings.answer.get(&question.type_).filter(|_| !answer_type.is_empty());
    let Some(asking) = asking else {
        return Err(rejected("unmapped-type", format!("the settings map no {}", question.type_), "config, answer"));
    };
    let asked: Value = data_of(question)?;
    let named = |name: &str| asked.get(name).cloned().or_else(|| moment_now(settings, name, now_ms));
    let account = asked.get("account").cloned().unwrap_or_default();
    let mut data = json!({"account": account, "found": true});
    let mut known = Value::Null;
    for (index, step) in asking.steps.iter().enumerate() {
        let place = format!("config, answer.\"{}\".steps[{index}]", question.type_);
        let fitting = ask(settings, step, &[&asked, &known], &place, send)?;
        if index == 0 && fitting.is_null() {
            data = json!({"account": account, "found": false});
            break;
        }
        let table = Table { settings, way: Way::FromOneC, named: &named, place: &step.entity };
        let fields = table.fill(&step.fields, &fitting, &mut |_, _| Ok(None))?;
        if let Value::Object(data) = &mut data {
            data.extend(fields);
        }
        if index == 0 {
            known = fitting;
        }
    }
    Ok(Draft {
        subject: question.subject.clone(),
        ..draft(ids::derived(&["answer", &question.source, &question.id]), answer_type, data.to_string())
    })
}

/// The object that fits; null where there is none.
fn ask(settings: &Settings, step: &Step, known: &[&Value], place: &str, send: Send) -> Result<Value, Failure> {
    let filter = expand(&step.filter, known, false, place)?;
    let entity = expand(&step.entity, known, true, place)?;
    let what = format!("GET {}", step.entity);
    let options = [("filter", filter.as_str()), ("select", &step.select), ("expand", &step.expand)];
    let request = client::request(settings, "GET", &entity, &options, None);
    let response = send(&request).map_err(|error| failure_of_error(error, &what, true))?;
    let Some(body) = client::read(&response, &what)? else { return Ok(Value::Null) };
    match client::objects(&body, &what)?.as_slice() {
        [] => Ok(Value::Null),
        [found] => Ok((*found).clone()),
        _ => Err(rejected("ambiguous", format!("{what} found several"), "/data/account")),
    }
}

/// A template with its `{name}` replaced by literals of OData: of the question, else of the first object found. Within the
/// arguments of a function, where a condition is itself a text, quotes are doubled.
fn expand(template: &str, known: &[&Value], is_path: bool, place: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let bad = || rejected("bad-mapping", format!("`{template}`: a {{…}} that stands for nothing"), place);
        let (name, behind) = after.split_once('}').ok_or_else(bad)?;
        let value = known.iter().find_map(|known| at(known, name).and_then(|value| value::text(value).ok().flatten()));
        let value = value.ok_or_else(bad)?;
        // In a path it could lead elsewhere.
        if is_path && value.contains(['/', '\\', '\'', '?', '#']) {
            return Err(rejected("bad-key-value", "a value that cannot stand in an address", format!("/data/{name}")));
        }
        let literal = client::literal(&value);
        text.push_str(before);
        text.push_str(&if is_path { literal.replace('\'', "''") } else { literal });
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

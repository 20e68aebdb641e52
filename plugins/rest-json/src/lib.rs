//! Any plain REST and JSON system: glue between the host and [`mapping`].

pub mod jq;
pub mod mapping;
pub mod numbers;
pub mod poll;
pub mod settings;

use busbar_sdk::http::{HttpError, Response};
use busbar_sdk::{Draft, Failure, Message, Polled, http, leave_out_unfit, messages, rejected, settings, transient};
use mapping::{Found, Prepared};
use settings::{Operation, Settings};

busbar_sdk::adapter! { deliver: deliver, answer: answer, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = settings()?;
    let (operation, place) = mapping::operation(&settings, &message)?;
    let prepared = mapping::prepare(&settings, operation, &message, "POST", &place)?;
    let reply = send(&prepared);
    let askable = mapping::withheld_next_time(&reply);
    match mapping::judge(&prepared, operation, reply) {
        Err(Failure::UnknownOutcome(text)) => {
            resolve(&settings, operation, &message, prepared, &place, if askable { Ok(text) } else { Err(text) })
        }
        judged => judged.map(drop),
    }
}

/// Nobody knows what came of the request: asks the system, where the settings say how. `text`: what is known; an
/// error where it is the last attempt that may be made.
fn resolve(
    settings: &Settings,
    operation: &Operation,
    message: &Message,
    mut prepared: Prepared,
    place: &str,
    text: Result<String, String>,
) -> Result<(), Failure> {
    let Some(status) = &operation.status else {
        return Err(Failure::UnknownOutcome(text.unwrap_or_else(|text| text)));
    };
    let place = format!("{place}.status");
    let question = mapping::prepare_status(settings, status, message, &place)?;
    let reply = http::send(&question.request);
    match (mapping::found(status, message, &reply, &place)?, text) {
        (Found::Done, _) => Ok(()),
        (Found::Absent, _) => {
            prepared.repeatable = true;
            let reply = send(&prepared);
            mapping::judge(&prepared, operation, reply).map(drop)
        }
        (Found::Unclear, Ok(text)) => Err(transient(format!("{text}; its status is not known yet"), None)),
        (Found::Unclear, Err(text)) => Err(Failure::UnknownOutcome(format!("{text}; its status is not known"))),
    }
}

fn send(prepared: &Prepared) -> Result<Response, HttpError> {
    if prepared.repeatable { http::send_idempotent(&prepared.request) } else { http::send(&prepared.request) }
}

fn answer(message: Message) -> Result<Draft, Failure> {
    let settings: Settings = settings()?;
    let (question, place) = mapping::question(&settings, &message)?;
    let place_of_request = format!("{place}.request");
    let prepared = mapping::prepare(&settings, &question.request, &message, "GET", &place_of_request)?;
    let reply = send(&prepared);
    let response = mapping::judge(&prepared, &question.request, reply)?;
    Ok(mapping::answer(question, &message, &response, &place)?)
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let settings: Settings = settings()?;
    let poll = poll::settings(&settings.poll)?;
    let known = poll::input(cursor)?;
    let place = format!("{}.request", poll::PLACE);
    let input = jq::parse(&format!("{{\"cursor\":{known}}}"));
    let input = input.ok_or_else(|| rejected("bad-cursor", "the cursor is not JSON", ""))?;
    let prepared = mapping::prepare_of(&settings, &poll.request, &input, None, "GET", &place)?;
    let reply = send(&prepared);
    let response = mapping::judge(&prepared, &poll.request, reply)?;
    let page = poll::page(poll, &known, &response)?;
    page.left_out.iter().for_each(messages::leave_out);
    // Where each item is mapped by itself, one that does not fit its schema is left out like one that cannot be mapped.
    let drafts = if poll.each.is_some() { leave_out_unfit(page.drafts) } else { page.drafts };
    messages::emit(&drafts);
    let next = page.cursor.or_else(|| (known != "null").then_some(known));
    Ok(Polled { cursor: next.map(String::into_bytes), more: page.more })
}

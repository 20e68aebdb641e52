//! Any plain REST and JSON system: glue between the host and [`mapping`].

pub mod jq;
pub mod mapping;
pub mod settings;

use busbar_sdk::{Draft, Failure, Message, http, settings};
use settings::Settings;

busbar_sdk::adapter! { deliver: deliver, answer: answer }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = settings()?;
    let (operation, place) = mapping::operation(&settings, &message)?;
    let prepared = mapping::prepare(&settings, operation, &message, "POST", &place)?;
    let reply = http::send(&prepared.request);
    mapping::judge(&prepared, operation, reply).map(|_| ())
}

fn answer(message: Message) -> Result<Draft, Failure> {
    let settings: Settings = settings()?;
    let (question, place) = mapping::question(&settings, &message)?;
    let place_of_request = format!("{place}.request");
    let prepared = mapping::prepare(&settings, &question.request, &message, "GET", &place_of_request)?;
    let reply = http::send(&prepared.request);
    let response = mapping::judge(&prepared, &question.request, reply)?;
    Ok(mapping::answer(question, &message, &response, &place)?)
}

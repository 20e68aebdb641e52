//! A 1C application by its standard OData interface: glue between the host and [`poll`], [`deliver`] and [`answer`].

pub mod answer;
pub mod client;
pub mod deliver;
pub mod mapping;
pub mod poll;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod value;

use busbar_sdk::http::{HttpError, Request, Response};
use busbar_sdk::memory::HostStore;
use busbar_sdk::{Draft, Failure, Message, Polled, clock, http, leave_out_unfit, messages, settings as host_settings};
use settings::{BadObjects, Settings};

busbar_sdk::adapter! { deliver: deliver, answer: answer, poll: poll }

fn deliver(message: Message) -> Result<(), Failure> {
    let settings: Settings = host_settings()?;
    deliver::deliver(&settings, &message, &mut send)
}

fn answer(question: Message) -> Result<Draft, Failure> {
    let settings: Settings = host_settings()?;
    answer::answer(&settings, &question, &clock::now_ms, &mut send)
}

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let settings: Settings = host_settings()?;
    let page = poll::poll(&settings, cursor, &clock::now_ms, &mut send, &mut HostStore)?;
    page.left_out.iter().for_each(messages::leave_out);
    let drafts = if settings.bad_objects == BadObjects::Log { leave_out_unfit(page.drafts) } else { page.drafts };
    messages::emit(&drafts);
    Ok(Polled { cursor: serde_json::to_vec(&page.cursor).ok(), more: page.more })
}

/// Every request may be repeated: what is written bears its own `Ref_Key`.
fn send(request: &Request) -> Result<Response, HttpError> {
    http::send_idempotent(request)
}

//! Employees and units by SCIM 2.0: glue between the host and [`poll`] and [`push`].

pub mod filter;
pub mod list;
pub mod mapping;
pub mod memory;
pub mod patch;
pub mod poll;
pub mod push;
pub mod schema;
pub mod settings;
#[cfg(test)]
mod tests;

use busbar_sdk::memory::HostStore;
use busbar_sdk::replies::failure_of_error;
use busbar_sdk::{Failure, HookRequest, HookResponse, Polled, http, messages, settings as host_settings};
use settings::Settings;

busbar_sdk::adapter! { poll: poll, receive: receive }

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let settings: Settings = host_settings()?;
    let cursor = poll::Cursor::of(cursor)?;
    let request = poll::request(&settings, &cursor)?;
    let response = http::send(&request).map_err(|error| failure_of_error(error, &request.url, true))?;
    let page = poll::page(&settings, cursor, &response, &mut HostStore)?;
    page.left_out.iter().for_each(messages::leave_out);
    messages::emit(&page.drafts);
    Ok(Polled { cursor: serde_json::to_vec(&page.cursor).ok(), more: page.more })
}

fn receive(request: HookRequest) -> Result<HookResponse, Failure> {
    let settings: Settings = host_settings()?;
    let mut drafts = Vec::new();
    let response = push::handle(&settings, &request, &mut HostStore, &mut drafts);
    messages::emit(&drafts);
    Ok(response)
}

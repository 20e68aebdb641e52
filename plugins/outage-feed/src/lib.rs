//! Public feeds of outages: glue between the host and [`poll`].

pub mod labels;
pub mod list;
pub mod mapping;
pub mod memory;
pub mod poll;
pub mod records;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod times;

use busbar_sdk::memory::HostStore;
use busbar_sdk::replies::failure_of_error;
use busbar_sdk::{Failure, Polled, Warnings, config, http, messages, parse_settings};

busbar_sdk::adapter! { poll: poll }

fn poll(cursor: Option<Vec<u8>>) -> Result<Polled, Failure> {
    let text = config::get();
    let cursor = poll::Cursor::of(cursor, &text)?;
    let mut fetch =
        |request: &http::Request| http::send(request).map_err(|error| failure_of_error(error, &request.url, true));
    let news = poll::run(parse_settings(&text)?, cursor, &mut fetch, &mut HostStore)?;
    let mut warnings = Warnings::default();
    news.warnings.iter().for_each(|warning| warnings.write(warning));
    news.left_out.iter().for_each(messages::leave_out);
    messages::emit(&news.drafts);
    Ok(Polled { cursor: serde_json::to_vec(&news.cursor).ok(), more: news.more })
}

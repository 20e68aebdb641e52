//! Messages that cause messages: each carries the systems it came through, so that systems that cause each other end.

use crate::error::{Code, Problem};
use crate::message::Message;

/// The extension attribute. It is one of CloudEvents, so that it goes over the broker, and comes back, with its message.
pub const CHAIN: &str = "busbarchain";
/// More systems than any business passes through; a loop is there at once.
const SYSTEMS_MAX: usize = 16;
/// An attribute has its own bound, and names of systems have none.
const BYTES_MAX: usize = 900;

/// The chain of what `system` states because of `cause`: those before it, and itself.
///
/// # Errors
/// `route-loop` with the chain, when it is too long.
pub fn chain(cause: &Message, system: &str) -> Result<String, Problem> {
    let before = cause.extensions.get(CHAIN).map(String::as_str).unwrap_or_default();
    let chain = if before.is_empty() { system.to_string() } else { format!("{before},{system}") };
    if chain.split(',').count() > SYSTEMS_MAX || chain.len() > BYTES_MAX {
        let text = format!("messages that cause one another, through {}", chain.replace(',', ", "));
        return Err(Problem::new(Code::RouteLoop, text));
    }
    Ok(chain)
}

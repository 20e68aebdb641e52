//! Calls of Asterisk by its manager interface. The SDK has the frame of its session, [`session`] what is particular to it.

pub mod blocks;
pub mod mapping;
pub mod session;
pub mod settings;
#[cfg(test)]
mod tests;

busbar_sdk::adapter! { connection: busbar_sdk::exchange::session::Connection<crate::session::Ami> }

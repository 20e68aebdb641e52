//! The shape of `busbar.toml`, and what can be said of each part of it by itself.

pub mod access;
pub mod connection;
pub mod credentials;
pub mod finding;
mod limits;
pub mod model;
pub mod source;
pub mod tls;

pub use model::Config;

//! Stand-ins for the systems around the hub, each with its own honest ledger, and clients that play
//! the callers: a payment terminal and a user of the hub's REST interface.
//!
//! They are no part of the hub and use none of its code, so that what they saw is evidence. The demo
//! (`busbar-demo`) and the project's tests start them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod asterisk;
pub mod billing;
pub mod crm;
pub mod desk;
pub mod faults;
pub mod hub;
pub mod money;
pub mod portal;
pub mod scada;
pub mod server;
pub mod sms_centre;
pub mod statement;
pub mod terminal;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A ledger stays readable after a panic elsewhere: it is only ever changed in one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client for local addresses: no proxy, no redirects, 60 s for one exchange (the longest a
/// terminal waits).
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()?)
}

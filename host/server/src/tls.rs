//! TLS: certificates and keys from files, what a listener shows and asks for, and who a client's certificate says it is.

mod fault;
mod files;
mod listener;
mod peer;
mod renewal;

pub use fault::TlsFault;
pub use files::{certificates, client_config, private_key, roots};
pub use listener::{ListenerFiles, TlsFile};
pub use peer::PeerCertificate;
pub use renewal::Certificates;

use rustls::crypto::{CryptoProvider, ring};
use std::sync::Arc;
use time::OffsetDateTime;

/// The only one there is, whatever else the process has installed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Seconds since the epoch. Certificates are judged by the machine's clock, as rustls does it.
fn now_s() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

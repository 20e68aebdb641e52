//! What can be wrong with the files of TLS.

use std::io;
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: no file, or one of more than {max} bytes", path.display())]
    NoFile { path: PathBuf, max: u64 },
    #[error("{}: no {what} in it", path.display())]
    Without { path: PathBuf, what: &'static str },
    #[error("{}: {reason}", path.display())]
    Broken { path: PathBuf, reason: String },
    #[error("{}: `{subject}` has expired at {}", path.display(), shown(*at_s))]
    Expired { path: PathBuf, subject: String, at_s: i64 },
    #[error("{}: `{subject}` is not valid before {}", path.display(), shown(*at_s))]
    NotYet { path: PathBuf, subject: String, at_s: i64 },
    #[error("{}: `{subject}` is no authority", path.display())]
    NoAuthority { path: PathBuf, subject: String },
    #[error("{}: {reason}", path.display())]
    BadList { path: PathBuf, reason: String },
    #[error("a certificate needs its `key`")]
    NoKey,
    #[error("the private key: {0}")]
    BrokenKey(String),
    #[error("the private key is not that of the first certificate in {}", path.display())]
    OtherKey { path: PathBuf },
    #[error("TLS: {0}")]
    Other(String),
}

impl TlsFault {
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::NoFile { .. } => {
                "write the file there, relative to the deployment's folder, for the hub's user to read"
            }
            Self::Without { .. } | Self::Broken { .. } => {
                "write it in PEM form (`-----BEGIN …-----`), with whole certificates or lists"
            }
            Self::Expired { .. } => "have it renewed; the time is that of this machine's clock",
            Self::NotYet { .. } => "wait until then, or set this machine's clock right",
            Self::NoAuthority { .. } => {
                "name the certificates of the authorities that sign, with `CA:TRUE`, not what they signed"
            }
            Self::BadList { .. } => {
                "have it made as version 2, with a number (RFC 5280, section 5; `crlnumber` of openssl)"
            }
            Self::NoKey | Self::BrokenKey(_) => "give a private key in PEM form, without a password",
            Self::OtherKey { .. } => "put the certificate of this key first in its file, and its chain after it",
            Self::Other(_) => "see what is said of the certificate and its key",
        }
    }
}

fn shown(at_s: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at_s).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| at_s.to_string())
}

//! The handshake of TLS: bounded in time, and without a line of log for each one that fails.

use crate::tls::{Certificates, PeerCertificate};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of a connection over TLS: content type `handshake` (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What a connection turned out to be.
pub enum Greeted {
    Tls(Box<TlsStream<TcpStream>>, Option<Arc<PeerCertificate>>),
    /// Something else, probably a client that should say `https`. Nothing of it was read.
    Plain(TcpStream),
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NotGreeted {
    Late(Duration),
    /// The client went, as scanners and balancers do.
    Gone(io::Error),
    Failed(io::Error),
}

impl NotGreeted {
    fn reason(&self) -> &'static str {
        match self {
            Self::Late(_) => "late",
            Self::Gone(_) => "gone",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for NotGreeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(within) => write!(f, "not done within {} ms (http.header-timeout-ms)", within.as_millis()),
            Self::Gone(error) | Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for NotGreeted {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Gone(error)
            }
            _ => Self::Failed(error),
        }
    }
}

/// Lets clients in over TLS.
pub struct Greeter {
    certificates: Arc<Certificates>,
    /// For one handshake.
    within: Duration,
    /// When the log was told last, and how many have failed since.
    said: Mutex<(Option<Instant>, u64)>,
}

impl Greeter {
    pub fn new(certificates: Arc<Certificates>, within: Duration) -> Arc<Self> {
        Arc::new(Self { certificates, within, said: Mutex::default() })
    }

    /// # Errors
    /// Why there is no connection; it was counted.
    pub async fn greet(&self, stream: TcpStream) -> Result<Greeted, NotGreeted> {
        let greeted = match tokio::time::timeout(self.within, self.shake(stream)).await {
            Ok(greeted) => greeted.map_err(NotGreeted::from),
            Err(_) => Err(NotGreeted::Late(self.within)),
        };
        match &greeted {
            Ok(Greeted::Tls(..)) => {}
            Ok(Greeted::Plain(_)) => {
                count("plain");
                self.say(&"plain HTTP, or nothing that is known");
            }
            Err(error) => {
                count(error.reason());
                if !matches!(error, NotGreeted::Gone(_)) {
                    self.say(error);
                }
            }
        }
        greeted
    }

    async fn shake(&self, stream: TcpStream) -> io::Result<Greeted> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE] {
            return Ok(Greeted::Plain(stream));
        }
        let stream = TlsAcceptor::from(self.certificates.server()).accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.map(|der| Arc::new(PeerCertificate::read(der)));
        Ok(Greeted::Tls(Box::new(stream), certificate))
    }

    fn say(&self, error: &dyn fmt::Display) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, since) = &mut *said;
        *since += 1;
        if last.is_none_or(|last| last.elapsed() > SAY_EVERY) {
            tracing::warn!(%error, failed = *since, "no TLS with a client; more within a minute are only counted");
            (*last, *since) = (Some(Instant::now()), 0);
        }
    }
}

fn count(reason: &'static str) {
    metrics::counter!("busbar_http_handshakes_failed_total", "reason" => reason).increment(1);
}

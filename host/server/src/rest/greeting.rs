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
    Failed(io::Error),
}

impl NotGreeted {
    fn reason(&self) -> &'static str {
        match self {
            Self::Late(_) => "late",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for NotGreeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(within) => write!(f, "not done within {} ms (http.header-timeout-ms)", within.as_millis()),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// Lets clients in over TLS.
pub struct Greeter {
    pub certificates: Arc<Certificates>,
    /// For one handshake.
    pub within: Duration,
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
            Ok(greeted) => greeted.map_err(NotGreeted::Failed),
            Err(_) => Err(NotGreeted::Late(self.within)),
        };
        match &greeted {
            Ok(Greeted::Plain(_)) => self.count("plain", &"plain HTTP, or nothing that is known"),
            Ok(Greeted::Tls(..)) => {}
            Err(error) => self.count(error.reason(), error),
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

    fn count(&self, reason: &'static str, error: &dyn fmt::Display) {
        metrics::counter!("busbar_http_handshakes_failed_total", "reason" => reason).increment(1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, since) = &mut *said;
        *since += 1;
        if last.is_none_or(|last| last.elapsed() > SAY_EVERY) {
            tracing::warn!(%error, failed = *since, "no TLS with a client; more within a minute are only counted");
            (*last, *since) = (Some(Instant::now()), 0);
        }
    }
}

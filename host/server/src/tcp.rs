//! Sockets of the systems' connections, with TLS where it is wanted. What is said over them is the adapters' business.

use crate::config::connection::host_and_port;
use crate::config::model::{ConnectionConfig, TlsConfig};
use crate::tls::{certificates, client_config, private_key, roots};
use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use secrecy::SecretString;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A connection, in the clear or not.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A socket and the address of its far end.
pub type PeerSocket = (Box<dyn Socket>, String);

/// How a connection comes about.
pub enum Endpoint {
    Connect(Dialer),
    Listen(Door),
}

impl Endpoint {
    /// Reads the certificates and binds the listener. Files are relative to `folder`.
    ///
    /// # Errors
    /// What cannot be read or bound.
    pub async fn new(config: &ConnectionConfig, key: Option<&SecretString>, folder: &Path) -> anyhow::Result<Self> {
        let timeout = Duration::from_millis(config.connect_timeout_ms);
        let tls = config.tls.as_ref();
        if let Some(listen) = &config.listen {
            let tls = tls.map(|tls| acceptor(tls, key, folder)).transpose().context("TLS of the listener")?;
            let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
            let from = config.from.iter().filter_map(|address| address.parse().ok()).collect();
            return Ok(Self::Listen(Door { listener, tls, from, timeout }));
        }
        let addresses = config.connect.iter().filter_map(|address| host_and_port(address)).collect();
        let name = tls.and_then(|tls| tls.server_name.clone());
        let tls = tls.map(|tls| connector(tls, key, folder)).transpose().context("TLS of the connection")?;
        Ok(Self::Connect(Dialer { addresses, tls, name, timeout }))
    }
}

/// Connects.
pub struct Dialer {
    addresses: Vec<(String, u16)>,
    tls: Option<TlsConnector>,
    /// In the far end's certificate, if not the host.
    name: Option<String>,
    timeout: Duration,
}

impl Dialer {
    /// The first address that can be connected.
    ///
    /// # Errors
    /// Why each of them cannot, for a person.
    pub async fn connect(&self) -> Result<PeerSocket, String> {
        let mut errors = Vec::new();
        for (host, port) in &self.addresses {
            match tokio::time::timeout(self.timeout, self.to(host, *port)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => errors.push(format!("{host}:{port}: {error:#}")),
                Err(_) => errors.push(format!("{host}:{port}: no connection within {} ms", self.timeout.as_millis())),
            }
        }
        Err(errors.join("; "))
    }

    async fn to(&self, host: &str, port: u16) -> anyhow::Result<PeerSocket> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?.to_string();
        let Some(tls) = &self.tls else { return Ok((Box::new(stream), peer)) };
        let name = ServerName::try_from(self.name.clone().unwrap_or_else(|| host.to_string()))?;
        Ok((Box::new(tls.connect(name, stream).await.context("TLS")?), peer))
    }
}

/// Lets the far end connect.
pub struct Door {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    /// Everybody where empty: then a certificate is asked for.
    from: Vec<IpAddr>,
    timeout: Duration,
}

impl Door {
    /// The next one who may come in. TLS is not spoken yet: see [`Door::greet`].
    pub async fn knock(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) if self.from.is_empty() || self.from.contains(&peer.ip().to_canonical()) => {
                    return stream;
                }
                Ok((_, peer)) => tracing::warn!(%peer, "turned away: it is not in `connection.from`"),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// # Errors
    /// Why there is no connection, for a person.
    pub async fn greet(&self, stream: TcpStream) -> Result<PeerSocket, String> {
        let greeting = async {
            stream.set_nodelay(true)?;
            let peer = stream.peer_addr()?.to_string();
            let socket: Box<dyn Socket> = match &self.tls {
                Some(tls) => Box::new(tls.accept(stream).await?),
                None => Box::new(stream),
            };
            Ok::<_, std::io::Error>((socket, peer))
        };
        match tokio::time::timeout(self.timeout, greeting).await {
            Ok(greeted) => greeted.map_err(|e| e.to_string()),
            Err(_) => Err(format!("no TLS within {} ms", self.timeout.as_millis())),
        }
    }
}

fn connector(tls: &TlsConfig, key: Option<&SecretString>, folder: &Path) -> anyhow::Result<TlsConnector> {
    let file = |name: &Option<String>| name.as_ref().map(|name| folder.join(name));
    let (ca, certificate) = (file(&tls.ca), file(&tls.certificate));
    let own = certificate.as_deref().map(|certificate| (certificate, key));
    Ok(TlsConnector::from(Arc::new(client_config(ca.as_deref(), own)?)))
}

fn acceptor(tls: &TlsConfig, key: Option<&SecretString>, folder: &Path) -> anyhow::Result<TlsAcceptor> {
    let builder = match &tls.ca {
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots(&folder.join(ca))?)).build()?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
        None => ServerConfig::builder().with_no_client_auth(),
    };
    let file = tls.certificate.as_ref().context("no `certificate`")?;
    let config = builder.with_single_cert(certificates(&folder.join(file))?, private_key(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

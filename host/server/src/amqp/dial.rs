//! A connection to the first broker that answers. A node that was stopped keeps a connection open and says nothing, and the
//! library waits for it with a thread and descriptors: so each socket is held here as well, to end it whatever is waited for.

use super::dead;
use super::frames::down;
use super::topology::Topology;
use busbar_core::Problem;
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub const RETRY_FIRST: Duration = Duration::from_millis(200);
pub const RETRY_MAX: Duration = Duration::from_secs(5);
/// For the socket, TLS and the greeting, and once more for all that is declared; unless the URL says `connection_timeout`.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For a connection to be closed in order.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// A node that stops is noticed within twice as many seconds, unless the URL says `heartbeat` (RabbitMQ proposes 60).
const HEARTBEAT_S: u16 = 15;

/// The brokers of one cluster, tried in turn.
pub struct Dial {
    pub urls: Vec<SecretString>,
    pub topology: Topology,
    /// Place of the one to be tried next.
    pub next: AtomicUsize,
}

/// A connection on which everything is declared. Dropped, its socket is ended at once.
pub struct Connected {
    pub connection: Connection,
    socket: SocketEnd,
}

impl Connected {
    pub fn works(&self) -> bool {
        self.connection.status().connected()
    }

    /// Closes it in order where the other end still answers, and ends it in any case.
    pub async fn end(&self) {
        let _ = timeout(CLOSE_MAX, self.connection.close(200, "OK".into())).await;
        self.socket.end();
    }
}

impl Dial {
    /// Connects to the first broker that answers and has what it must have, beginning after the one that failed last.
    ///
    /// # Errors
    /// `broker-unavailable` with the reason, `broker-unsafe`.
    pub async fn connect(&self) -> Result<Connected, Problem> {
        let mut result = Err(down("no broker is named"));
        for _ in &self.urls {
            let at = self.next.load(Ordering::Relaxed) % self.urls.len().max(1);
            let Some(url) = self.urls.get(at) else { break };
            result = self.connect_to(url).await;
            if result.is_ok() {
                break;
            }
            self.move_on();
        }
        result
    }

    /// The one that was tried last is not good, or not any more.
    pub fn move_on(&self) {
        self.next.fetch_add(1, Ordering::Relaxed);
    }

    /// Connects as soon as there is a broker; nothing when it is to stop. `pause` grows with each attempt.
    pub async fn patiently(&self, pause: &mut Duration, stop: &CancellationToken) -> Option<Connected> {
        loop {
            let problem = tokio::select! {
                connected = self.connect() => match connected {
                    Ok(connected) => return Some(connected),
                    Err(problem) => problem,
                },
                () = stop.cancelled() => return None,
            };
            tracing::warn!(%problem, "no broker; trying again");
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                () = stop.cancelled() => return None,
            }
            *pause = (*pause * 2).min(RETRY_MAX);
        }
    }

    async fn connect_to(&self, url: &SecretString) -> Result<Connected, Problem> {
        let slow = |_| down("the broker does not answer");
        let uri: AMQPUri = url.expose_secret().parse().map_err(|e| down(&format!("amqp.url: {e}")))?;
        let within = uri.query.connection_timeout.map_or(CONNECT_MAX, Duration::from_millis);
        let connected = timeout(within, open(uri, within)).await.map_err(slow)??;
        timeout(within, self.topology.declare(&connected.connection)).await.map_err(slow)??;
        // Not so: it may have many messages to move, and notices itself when the connection ends.
        dead::prepare(&connected.connection, &self.topology.dead()).await?;
        Ok(connected)
    }
}

async fn open(mut uri: AMQPUri, within: Duration) -> Result<Connected, Problem> {
    uri.query.heartbeat = uri.query.heartbeat.filter(|seconds| *seconds > 0).or(Some(HEARTBEAT_S));
    let failed = |e: lapin::Error| down(&format!("cannot connect: {e}"));
    let socket = SocketEnd::default();
    let holder = socket.holder();
    let runtime = lapin::runtime::default_runtime().map_err(failed)?;
    let properties = ConnectionProperties::default().with_connection_name("busbar".into());
    let connect = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, runtime| {
            let opening = async {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
                let stream = plain.connect_async(&runtime).await?;
                if let AsyncTcpStream::Plain(socket) = &stream {
                    holder.hold(socket.get_ref())?;
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await,
                }
            };
            let opened: io::Result<_> = timeout(within, opening).await.unwrap_or_else(|e| Err(e.into()));
            opened.map_err(lapin::Error::from)
        },
        properties,
    );
    Ok(Connected { connection: connect.await.map_err(failed)?, socket })
}

/// Another handle of a connection's socket; dropped, it ends the socket.
#[derive(Default)]
struct SocketEnd(Arc<Mutex<SocketHandle>>);

#[derive(Default)]
struct SocketHandle {
    ended: bool,
    socket: Option<TcpStream>,
}

struct Holder(Arc<Mutex<SocketHandle>>);

impl Holder {
    fn hold(&self, socket: &impl AsFd) -> io::Result<()> {
        let mut handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if handle.ended {
            return Err(io::ErrorKind::TimedOut.into());
        }
        handle.socket = Some(socket.as_fd().try_clone_to_owned()?.into());
        Ok(())
    }
}

impl Drop for SocketEnd {
    fn drop(&mut self) {
        self.end();
    }
}

impl SocketEnd {
    fn holder(&self) -> Holder {
        Holder(self.0.clone())
    }

    fn end(&self) {
        let mut handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handle.ended = true;
        if let Some(socket) = handle.socket.take() {
            // It may have been closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

//! The HTTP server with its bounds: connections, header time and size, requests at once, whole time.

use super::connections::{HttpConnections, Seat};
use super::greeting::{Greeted, Greeter};
use super::throttle::Peer;
use super::{ApiProblem, PROBES, Shared, probes};
use crate::config::model::HttpConfig;
use crate::tls::{Certificates, PeerCertificate};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use busbar_core::{Code, Problem};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Requests served at once.
#[derive(Clone)]
pub struct ServeLimits {
    at_once: Arc<Semaphore>,
    timeout: Duration,
}

/// Headers of a request, at most: hyper's own limit is 100, and its answer says nothing.
const HEADERS_MAX: usize = 1_000;

/// A connection that is to leave has so long to get the answer that is on its way.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// Of those who look how the hub is there are few.
const PROBERS_MAX: usize = 64;

/// Serves `app` until `stop` is cancelled and running requests have ended, over TLS where there are certificates.
pub async fn serve(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    app: Router,
    api: Shared,
    stop: CancellationToken,
) {
    let most = api.limits.connections_max;
    let within = Duration::from_millis(api.limits.header_timeout_ms);
    let greeter = certificates.map(|certificates| Greeter::new(certificates, within));
    serve_all(listener, greeter, app, &api.limits, most, stop).await;
}

/// Serves health, readiness and metrics alone.
pub async fn serve_probes(listener: TcpListener, api: Shared, stop: CancellationToken) {
    serve_all(listener, None, probes(api.clone()), &api.limits, PROBERS_MAX, stop).await;
}

/// How a connection is served.
#[derive(Clone)]
struct Served {
    http: http1::Builder,
    app: Router,
    greeter: Option<Arc<Greeter>>,
}

async fn serve_all(
    listener: TcpListener,
    greeter: Option<Arc<Greeter>>,
    app: Router,
    config: &HttpConfig,
    most: usize,
    stop: CancellationToken,
) {
    let limits = ServeLimits {
        at_once: Arc::new(Semaphore::new(config.concurrency_max)),
        timeout: Duration::from_millis(config.timeout_ms),
    };
    let app = app.layer(middleware::from_fn_with_state(limits, bounded));
    let app = app.layer(middleware::from_fn_with_state(config.header_bytes_max, well_formed));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // Also between two requests of one connection.
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        // Up to twice the limit the answer is a problem of ours; what is over that, hyper ends with a bare 431.
        .max_buf_size(config.header_bytes_max.saturating_mul(2))
        .max_headers(HEADERS_MAX);
    let served = Served { http, app, greeter };
    let connections = HttpConnections::new(most);
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let entered = async {
            let accepted = listener.accept().await?;
            std::io::Result::Ok((accepted, connections.enter().await))
        };
        let entered = tokio::select! {
            entered = entered => entered,
            () = stop.cancelled() => break,
        };
        match entered {
            Ok(((stream, peer), seat)) => {
                let connected = connection(served.clone(), stream, Peer(peer.ip()), Arc::new(seat), stop.clone());
                running.spawn(connected);
            }
            // Out of file descriptors, say: one that nobody uses is given up, and others may finish.
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                connections.make_room();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(10), drained).await.is_err() {
        tracing::warn!("requests were still running at the end");
    }
}

/// With TLS the handshake comes first. Who is in it has a place like all others, and is the first to leave it.
async fn connection(served: Served, stream: TcpStream, peer: Peer, seat: Arc<Seat>, stop: CancellationToken) {
    let Served { http, app, greeter } = served;
    let Some(greeter) = greeter else { return requests(http, stream, peer, Over::Plain, app, seat, stop).await };
    let greeted = tokio::select! {
        greeted = greeter.greet(stream) => greeted,
        () = stop.cancelled() => return,
        () = seat.leave.cancelled() => return,
    };
    match greeted {
        Ok(Greeted::Tls(stream, certificate)) => {
            requests(http, stream, peer, Over::Tls(certificate), app, seat, stop).await
        }
        Ok(Greeted::Plain(stream)) => {
            let mut http = http;
            http.keep_alive(false);
            requests(http, stream, peer, Over::Plain, Router::new().fallback(plain), seat, stop).await;
        }
        Err(error) => tracing::debug!(%error, "a connection ended in its handshake"),
    }
}

/// What came with the request, its key for one, went over the network as it is.
async fn plain() -> ApiProblem {
    Problem::new(Code::BadRequest, "plain HTTP came where TLS is spoken: the address begins with `https://`").into()
}

/// What a connection goes over, and the client's certificate where it showed one.
enum Over {
    Plain,
    Tls(Option<Arc<PeerCertificate>>),
}

async fn requests(
    http: http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    over: Over,
    app: Router,
    seat: Arc<Seat>,
    stop: CancellationToken,
) {
    let (app, asked) = (TowerToHyperService::new(app), seat.clone());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        if let Over::Tls(certificate) = &over {
            // As a proxy says it that ends TLS in front of the hub; whatever the client says of that is no news.
            request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
            if let Some(certificate) = certificate {
                request.extensions_mut().insert(certificate.clone());
            }
        }
        let (asking, answering) = (asked.ask(), app.call(request));
        async move {
            let answer = answering.await;
            drop(asking);
            answer
        }
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = seat.leave.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LEAVE_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Refuses what programs read in different ways: whose request it is, and what its body says.
async fn well_formed(
    axum::extract::State(header_bytes_max): axum::extract::State<usize>,
    request: Request,
    next: middleware::Next,
) -> Response {
    match check(request.version(), request.headers(), header_bytes_max) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            metrics::counter!("busbar_http_malformed_total", "code" => problem.code.as_str()).increment(1);
            ApiProblem::from(problem).into_response()
        }
    }
}

fn check(version: Version, headers: &HeaderMap, header_bytes_max: usize) -> Result<(), Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > header_bytes_max {
        let text = format!("headers of {bytes} bytes, at most {header_bytes_max} (http.header-bytes-max)");
        return Err(Problem::new(Code::HeadersTooLarge, text));
    }
    // RFC 9112, section 3.2; HTTP/1.0 knows no such header.
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || hosts == 0 && version >= Version::HTTP_11 {
        return Err(Problem::new(Code::BadRequest, format!("{hosts} headers Host instead of one")).at("host"));
    }
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if let Some(encoding) = encodings.find(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let encoding: String = String::from_utf8_lossy(encoding.as_bytes()).chars().take(100).collect();
        return Err(
            Problem::new(Code::UnsupportedEncoding, format!("the encoding `{encoding}`")).at("content-encoding")
        );
    }
    Ok(())
}

async fn bounded(
    axum::extract::State(limits): axum::extract::State<ServeLimits>,
    request: Request,
    next: middleware::Next,
) -> Response {
    // Probes must answer under load: that is when somebody looks.
    let probe = PROBES.contains(&request.uri().path());
    let _permit = match limits.at_once.try_acquire() {
        Ok(permit) => Some(permit),
        Err(_) if probe => None,
        Err(_) => return busy(Code::Busy, "too many requests at once (http.concurrency-max)"),
    };
    match tokio::time::timeout(limits.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => busy(Code::Timeout, "the request took too long (http.timeout-ms)"),
    }
}

fn busy(code: Code, text: &str) -> Response {
    metrics::counter!("busbar_http_shed_total", "code" => code.as_str()).increment(1);
    ApiProblem::from(Problem::new(code, text)).into_response()
}

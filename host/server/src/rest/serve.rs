//! The HTTP server with its bounds: connections, header time and size, requests at once, whole time.

use super::{ApiProblem, Shared, router};
use axum::extract::Request;
use axum::http::{HeaderMap, Version, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use busbar_core::{Code, Problem};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Requests served at once.
#[derive(Clone)]
pub struct Limits {
    at_once: Arc<Semaphore>,
    timeout: Duration,
}

/// Headers of a request, at most: hyper's own limit is 100, and its answer says nothing.
const HEADERS_MAX: usize = 1_000;

/// Serves until `stop` is cancelled and running requests have ended.
pub async fn serve(listener: TcpListener, api: Shared, stop: CancellationToken) {
    let config = api.limits.clone();
    let limits = Limits {
        at_once: Arc::new(Semaphore::new(config.concurrency_max)),
        timeout: Duration::from_millis(config.timeout_ms),
    };
    let app = router(api).layer(middleware::from_fn_with_state(limits, bounded));
    let app = app.layer(middleware::from_fn_with_state(config.header_bytes_max, well_formed));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        // Up to twice the limit the answer is a problem of ours; what is over that, hyper ends with a bare 431.
        .max_buf_size(config.header_bytes_max.saturating_mul(2))
        .max_headers(HEADERS_MAX);
    let connections = Arc::new(Semaphore::new(config.connections_max));
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let permit = tokio::select! {
            permit = connections.clone().acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match (accepted, permit) {
            (Ok((stream, _)), Ok(permit)) => {
                let (http, app, stop) = (http.clone(), app.clone(), stop.clone());
                running.spawn(async move {
                    connection(http, stream, app, stop).await;
                    drop(permit);
                });
            }
            // Out of file descriptors, say: waiting lets others finish.
            (Err(error), _) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (_, Err(_)) => break,
        }
    }
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(10), drained).await.is_err() {
        tracing::warn!("requests were still running at the end");
    }
}

async fn connection(http: http1::Builder, stream: TcpStream, app: Router, stop: CancellationToken) {
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
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
    axum::extract::State(limits): axum::extract::State<Limits>,
    request: Request,
    next: middleware::Next,
) -> Response {
    // Probes must answer under load: that is when somebody looks.
    let probe = ["/healthz", "/readyz", "/metrics"].contains(&request.uri().path());
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

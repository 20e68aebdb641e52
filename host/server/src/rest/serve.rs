//! The HTTP server with its bounds: connections, header time and size, requests at once, whole time.

use super::{ApiProblem, Shared, router};
use axum::extract::Request;
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

/// Serves until `stop` is cancelled and running requests have ended.
pub async fn serve(listener: TcpListener, api: Shared, stop: CancellationToken) {
    let config = api.limits.clone();
    let limits = Limits {
        at_once: Arc::new(Semaphore::new(config.concurrency_max)),
        timeout: Duration::from_millis(config.timeout_ms),
    };
    let app = router(api).layer(middleware::from_fn_with_state(limits, bounded));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        .max_buf_size(config.header_bytes_max);
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

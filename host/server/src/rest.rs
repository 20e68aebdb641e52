//! The REST interface, the hooks, and what operators look at.

mod auth;
mod connections;
mod described;
mod desk;
mod entries;
mod greeting;
mod hooks;
mod journal;
mod masks;
mod messages;
mod operations;
mod problem;
pub mod rights;
mod serve;
mod statistics;
mod system;
mod throttle;
pub mod views;

pub use auth::{KeyHolder, Keys, key_digest, unknown};
use described::Alike;
pub use desk::{AuditShown, FailureShown, because, decisions, grouped, instant};
pub use journal::{messages_shown, shower, trace};
pub use messages::read;
pub use operations::{Operated, operate_each, set_paused};
pub use problem::ApiProblem;
pub use serve::{ServeLimits, serve, serve_probes};
pub use statistics::{Span, StatisticsRow, csv, statistics_rows};
pub use system::{SystemShown, systems_shown};
pub use throttle::Throttle;

use crate::amqp::Policies;
use crate::bounds::Bounds;
use crate::config::model::{HookConfig, HttpConfig};
use crate::folder::holdup::FilesShown;
use crate::hub::{Board, ConnectionShown, Driver, Hub, SystemSecrets};
use crate::store::Health;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use busbar_core::ports::Transport;
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Everything the handlers need.
pub struct Api {
    pub hub: Arc<Hub>,
    pub keys: Keys,
    pub hooks: BTreeMap<String, Hook>,
    pub driver: Arc<Driver>,
    pub transport: Option<Arc<dyn Transport>>,
    pub connections: Arc<Board<ConnectionShown>>,
    pub files: Arc<Board<FilesShown>>,
    /// The clock is too far ahead of the journal for retention: see [`crate::retention`].
    pub clock_jumped: Arc<AtomicBool>,
    pub store_health: Arc<Health>,
    pub bounds: Arc<Bounds>,
    pub policies: Arc<Policies>,
    pub throttle: Throttle,
    pub metrics: Option<PrometheusHandle>,
    pub limits: HttpConfig,
    pub stopping: AtomicBool,
}

impl Api {
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }
}

/// Who may call a system's hook, and how many at once.
pub struct Hook {
    pub config: HookConfig,
    pub secrets: SystemSecrets,
    pub at_once: Semaphore,
}

/// What every handler gets.
pub type Shared = Arc<Api>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "busbar",
        description = "Integration hub of an electricity utility: messages in, the journal, and what operators look at. Errors are RFC 9457 problems with a stable `code` and a `remedy`."
    ),
    components(schemas(problem::Body))
)]
struct Described;

/// For whoever looks how the hub is: always answered, and with `http.health-listen` nowhere else than there.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

fn probes(api: Shared) -> Router {
    use axum::routing::get;
    let [healthz, readyz, metrics] = PROBES;
    let router = Router::new().route(healthz, get(system::healthz)).route(readyz, get(system::readyz));
    let router = router.route(metrics, get(system::metrics));
    router.fallback(|request: Request| async move { problem::not_found(request.uri().path()) }).with_state(api)
}

/// All routes, and their description.
pub fn router(api: Shared) -> Router {
    let (router, description) = routes().split_for_parts();
    let description: Arc<str> = serialize(description).into();
    router
        .route("/openapi.json", axum::routing::get(move || system::json_text(description.clone())))
        .route("/hooks/{system}", any(hooks::hook))
        .route("/hooks/{system}/{*path}", any(hooks::hook))
        .fallback(|request: Request| async move { problem::not_found(request.uri().path()) })
        .method_not_allowed_fallback(|| async { problem::method_not_allowed() })
        .layer(middleware::from_fn_with_state(api.limits.health_listen.is_some(), apart))
        .with_state(api)
}

/// What has a listener of its own is not found here.
async fn apart(State(apart): State<bool>, request: Request, next: middleware::Next) -> Response {
    if apart && PROBES.contains(&request.uri().path()) {
        return problem::not_found(request.uri().path()).into_response();
    }
    next.run(request).await
}

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(messages::publish, journal::messages))
        .routes(routes!(journal::message))
        .routes(routes!(messages::ask))
        .routes(routes!(journal::intakes))
        .routes(routes!(entries::accept))
        .routes(routes!(entries::dismiss))
        .routes(routes!(system::schemas))
        .routes(routes!(system::schema))
        .routes(routes!(system::systems))
        .routes(routes!(system::healthz))
        .routes(routes!(operations::deliveries))
        .routes(routes!(desk::failures))
        .routes(routes!(desk::audit))
        .routes(routes!(statistics::statistics))
        .routes(routes!(operations::retry))
        .routes(routes!(operations::skip))
        .routes(routes!(operations::edit))
        .routes(routes!(operations::retry_many))
        .routes(routes!(operations::skip_many))
        .routes(routes!(operations::pause))
        .routes(routes!(operations::resume))
        .routes(routes!(system::readyz))
        .routes(routes!(system::metrics))
}

/// The OpenAPI 3.1 document, for `busbar print openapi`.
pub fn openapi() -> String {
    serialize(routes().split_for_parts().1)
}

fn serialize(mut description: utoipa::openapi::OpenApi) -> String {
    Alike.modify(&mut description);
    description.to_pretty_json().unwrap_or_default()
}

//! Schemas, systems, health and metrics.

use super::auth::KeyHolder;
use super::masks;
use super::views::time;
use super::{ApiProblem, Shared};
use crate::config::model::Right;
use crate::folder::holdup::FilesShown;
use crate::hub::ConnectionShown;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use busbar_core::engine::SystemStatus;
use busbar_core::{Code, Pause, Problem};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use utoipa::ToSchema;

/// Whoever asks whether the hub is ready waits no longer than this for the store.
const STORE_ANSWER_MAX: Duration = Duration::from_secs(3);

/// The message types of the deployment.
#[utoipa::path(get, path = "/v1/schemas", tag = "schemas", security(("key" = [])), responses((status = 200, body = Value)))]
pub async fn schemas(State(api): State<Shared>, _caller: KeyHolder) -> Json<Value> {
    let catalog = &api.hub.rules.catalog;
    let shown = |name: &str| json!({ "type": name, "answer": catalog.answer_type(name) });
    Json(json!({ "schemas": catalog.types().map(shown).collect::<Vec<_>>() }))
}

/// The JSON Schema of one type.
#[utoipa::path(get, path = "/v1/schemas/{type}", tag = "schemas", security(("key" = [])), params(("type" = String, Path, description = "e.g. payment.received.v1")),
    responses((status = 200, body = Value, content_type = "application/schema+json"), (status = 404, body = super::problem::Body)))]
pub async fn schema(
    State(api): State<Shared>,
    _caller: KeyHolder,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiProblem> {
    let Path(name) = name.map_err(|e| Problem::new(Code::NotFound, e.body_text()))?;
    let schema = api.hub.rules.catalog.schema(&name);
    let schema = schema.ok_or_else(|| Problem::new(Code::NotFound, format!("no schema for type `{name}`")))?;
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], schema.to_string()).into_response())
}

/// One system and what is going on with it.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SystemShown {
    pub name: String,
    /// Deliveries running now.
    pub in_flight: usize,
    /// Since when it does not answer, milliseconds since the epoch; absent while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_since_ms: Option<i64>,
    /// It asked to be left alone until then (at most `policy.wait-max-ms`), milliseconds since the epoch. A person's
    /// retry of one of its deliveries overrules it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until_ms: Option<i64>,
    /// A person holds its deliveries up.
    pub paused: bool,
    /// Who does, since when, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseShown>,
    /// Deliveries by state.
    pub deliveries: BTreeMap<String, i64>,
    /// Bounds of `limits` that are nearly reached, or are: `state-keys`, `state-bytes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearly_reached: Vec<String>,
    /// Of a system with a TCP connection: how that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionShown>,
    /// Of a system with a folder, in or out: what is held up there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesShown>,
}

/// Who holds a system's deliveries up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PauseShown {
    pub by: String,
    pub at: String,
    /// `***` without the right `read-personal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl PauseShown {
    fn new(pause: Pause, personal: bool) -> Self {
        let comment = pause.comment.map(|comment| if personal { comment } else { masks::hidden() });
        Self { by: pause.by, at: time(pause.at_ms), comment }
    }
}

/// The systems of the deployment.
#[utoipa::path(get, path = "/v1/systems", tag = "systems", security(("key" = ["read"])), responses((status = 200, body = Vec<SystemShown>)))]
pub async fn systems(State(api): State<Shared>, caller: KeyHolder) -> Result<Json<Vec<SystemShown>>, ApiProblem> {
    Ok(Json(systems_shown(&api, &caller).await?))
}

/// The same for whoever shows them otherwise.
///
/// # Errors
/// `forbidden`, `store-unavailable`.
pub async fn systems_shown(api: &Shared, caller: &KeyHolder) -> Result<Vec<SystemShown>, Problem> {
    caller.require(Right::Read)?;
    let mut shown: BTreeMap<String, SystemShown> = BTreeMap::new();
    let now_ms = api.hub.clock.now_ms();
    for (name, status) in api.driver.statuses() {
        let SystemStatus { in_flight, down_since_ms, held_until_ms, paused, .. } = status;
        let held_until_ms = held_until_ms.filter(|until_ms| *until_ms > now_ms);
        let deliveries = BTreeMap::new();
        let mut connection = api.connections.of(&name);
        if let Some(shown) = connection.as_mut().filter(|_| !caller.may(Right::ReadPersonal)) {
            shown.reason = None;
        }
        let system = SystemShown {
            name: name.clone(),
            in_flight,
            down_since_ms,
            held_until_ms,
            paused,
            deliveries,
            connection,
            ..SystemShown::default()
        };
        shown.insert(name, system);
    }
    for depth in api.hub.store.depths().await? {
        let system = shown
            .entry(depth.system.clone())
            .or_insert_with(|| SystemShown { name: depth.system, ..SystemShown::default() });
        system.deliveries.insert(depth.state.as_str().to_string(), depth.count);
    }
    for pause in api.hub.store.pauses().await? {
        if let Some(system) = shown.get_mut(&pause.system) {
            system.pause = Some(PauseShown::new(pause, caller.may(Right::ReadPersonal)));
        }
    }
    for (name, system) in &mut shown {
        system.nearly_reached = api.bounds.of(name);
        system.files = api.files.of(name);
        if let Some(files) = system.files.as_mut().filter(|_| !caller.may(Right::ReadPersonal)) {
            [&mut files.inbox, &mut files.outbox].into_iter().flatten().for_each(|held| held.reason = None);
        }
    }
    Ok(shown.into_values().collect())
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The hub takes messages: the store answers and took the last write, the broker is connected and confirms, and the hub is
/// not stopping. `broker-trouble` names what keeps messages from going out: with an alarm of the broker alone they wait, and
/// the hub is ready. `clock` is false while the clock is too far ahead of the journal for retention (`clock-jumped`), and
/// `nearly-reached` names bounds that soon are, or are already: `disk`, `dead` (messages in `busbar.dead`), `state-keys`,
/// `state-bytes`, `certificate` (14 days before the end of the one in `http.tls`). The hub takes messages all the same. `policies` lists policies of the broker that undo what the hub declares:
/// `queue`, `policy`, `operator-policy`, `key`, `value`, `loses`, `effect`, `remedy`; by one that loses messages the hub is not
/// ready. It is `not asked` without `amqp.management`, and `not known` while that says nothing; the log says why.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200, body = Value), (status = 503, body = Value)))]
pub async fn readyz(State(api): State<Shared>) -> Response {
    let probe = busbar_core::IntakeFilter { limit: 1, ..Default::default() };
    let asked = tokio::time::timeout(STORE_ANSWER_MAX, api.hub.store.intakes(&probe)).await;
    let store = matches!(asked, Ok(Ok(_))) && api.store_health.writable().is_ok();
    let broker = api.transport.as_ref().map(|t| t.connected());
    let running = !api.stopping.load(Ordering::SeqCst);
    let clock = !api.clock_jumped.load(Ordering::SeqCst);
    let ready = store && broker != Some(false) && running && !api.policies.lose();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let trouble = api.transport.as_ref().and_then(|t| t.trouble());
    let policies = api.transport.as_ref().map(|_| api.policies.shown());
    let near = api.bounds.nearly_reached();
    let shown = json!({
        "ready": ready, "store": store, "broker": broker, "broker-trouble": trouble, "running": running, "clock": clock,
        "nearly-reached": near, "policies": policies,
    });
    (status, Json(shown)).into_response()
}

/// Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
pub async fn metrics(State(api): State<Shared>) -> Result<Response, ApiProblem> {
    let Some(handle) = &api.metrics else { return Err(Problem::new(Code::NotFound, "metrics are off").into()) };
    for depth in api.hub.store.depths().await? {
        metrics::gauge!("busbar_deliveries", "system" => depth.system, "state" => depth.state.as_str())
            .set(depth.count as f64);
    }
    for (system, status) in api.driver.statuses() {
        metrics::gauge!("busbar_deliveries_in_flight", "system" => system.clone()).set(status.in_flight as f64);
        let down_ms = status.down_since_ms.map_or(0, |since| api.hub.clock.now_ms().saturating_sub(since));
        metrics::gauge!("busbar_system_down_seconds", "system" => system).set(down_ms as f64 / 1000.0);
    }
    handle.run_upkeep();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response())
}

pub async fn json_text(text: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
}

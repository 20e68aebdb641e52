//! What operators do: look at deliveries that are failing, retry, edit or skip them, pause systems.

use super::auth::KeyHolder;
use super::desk::{WhyQuery, because, decider, instant};
use super::journal::shower;
use super::messages::read;
use super::views::{DeliveriesFound, DeliveryFound};
use super::{ApiProblem, Shared};
use crate::config::model::Right;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use busbar_core::{Act, Code, Decider, DeliveryFilter, DeliveryView, Problem, States, parse_cause, parse_json};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;
const RATE_DEFAULT: u32 = 50;
const RATE_MAX: u32 = 1_000;
/// Those by which the others are not held up.
const REFUSALS: [Code; 3] = [Code::NotParked, Code::UnderWay, Code::AnotherHub];

/// Which deliveries; all conditions hold together.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// `parked`, `dead`, `waiting`, `ready`, `done` or `skipped`; or `failing`: `parked`, `dead`, and `ready` after an
    /// attempt that failed. Where absent: to look at, those that are failing; to operate on, `parked` and `dead` ones.
    state: Option<String>,
    system: Option<String>,
    r#type: Option<String>,
    /// Code of the error.
    code: Option<String>,
    /// Cause of the failure, as `/v1/failures` names it.
    cause: Option<String>,
    key: Option<String>,
    /// Something happened to it at or after this time, with its offset; of a failing one that is its last failure.
    since: Option<String>,
    /// Before this time.
    until: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// 50 where absent, 500 at most.
    limit: Option<u32>,
    /// Of an operation on many: how many a second; 50 where absent, 1000 at most.
    #[serde(rename = "rate-per-second")]
    rate_per_second: Option<u32>,
    /// Of an operation on many: why, in the person's own words, at most 1,000 bytes.
    comment: Option<String>,
}

impl DeliveriesQuery {
    /// `usual`: states where none are named.
    fn filter(&self, usual: States) -> Result<DeliveryFilter, Problem> {
        let bad = |detail: String| Problem::new(Code::InvalidEvent, detail).at("query");
        let states = match self.state.as_deref() {
            None => usual,
            Some(name) => States::parse(name).ok_or_else(|| bad(format!("no state `{name}`")))?,
        };
        let cause = self.cause.as_ref().map(|c| parse_cause(c).ok_or_else(|| bad(format!("no cause `{c}`"))));
        let after = self.after.as_ref().map(|a| a.parse().map_err(|_| bad(format!("`after` is no number: `{a}`"))));
        Ok(DeliveryFilter {
            id: None,
            states,
            system: self.system.clone(),
            r#type: self.r#type.clone(),
            code: self.code.clone(),
            cause: cause.transpose()?,
            since_ms: instant("since", self.since.as_ref())?,
            until_ms: instant("until", self.until.as_ref())?,
            key: self.key.clone(),
            after: after.transpose()?.unwrap_or(0),
            limit: self.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX),
        })
    }
}

/// What became of an operation on many deliveries.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Operated {
    /// Deliveries it was done to.
    pub done: usize,
    /// Those it did not fit, and why: those behind an earlier parked one among them.
    pub refused: Vec<OperationRefused>,
    /// Give it as `after` for the next ones; absent when there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One delivery that an operation did not fit.
#[derive(Serialize, ToSchema)]
pub struct OperationRefused {
    pub id: String,
    pub code: String,
    pub detail: String,
}

fn query(query: Result<Query<DeliveriesQuery>, QueryRejection>) -> Result<DeliveriesQuery, Problem> {
    query.map(|Query(q)| q).map_err(|e| Problem::new(Code::InvalidEvent, e.body_text()).at("query"))
}

/// Deliveries, in the order in which they were planned; those that are failing unless asked otherwise.
#[utoipa::path(get, path = "/v1/deliveries", tag = "deliveries", security(("key" = ["read"])), params(DeliveriesQuery),
    responses((status = 200, body = DeliveriesFound), (status = "4XX", body = super::problem::Body)))]
pub async fn deliveries(
    State(api): State<Shared>,
    caller: KeyHolder,
    given: Result<Query<DeliveriesQuery>, QueryRejection>,
) -> Result<Json<DeliveriesFound>, ApiProblem> {
    caller.require(Right::Read)?;
    let filter = query(given)?.filter(States::Failing)?;
    let found = api.hub.store.deliveries(&filter).await?;
    let next = next(&filter, found.last().map(|(_, view)| view.id), found.len());
    let shower = shower(&api, &caller);
    let deliveries = found.into_iter().map(|(seq, view)| shower.found(seq, view)).collect::<Vec<DeliveryFound>>();
    Ok(Json(DeliveriesFound { deliveries, next }))
}

fn next(filter: &DeliveryFilter, last: Option<i64>, found: usize) -> Option<String> {
    let more = found >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    last.filter(|_| more).map(|id| id.to_string())
}

fn number(path: Result<Path<String>, PathRejection>) -> Result<i64, Problem> {
    let Path(text) = path.map_err(|e| Problem::new(Code::NotFound, e.body_text()))?;
    text.parse().map_err(|_| Problem::new(Code::NotFound, format!("no delivery `{text}`")))
}

/// Make a delivery again: one that failed for good, or one that waits to be tried again, now and whatever its system
/// wished. Those that wait behind it follow when it is done.
#[utoipa::path(post, path = "/v1/deliveries/{id}/retry", tag = "deliveries", security(("key" = ["operate"])), params(("id" = String, Path, description = "The delivery's number"), WhyQuery),
    responses((status = 204), (status = "4XX", body = super::problem::Body)))]
pub async fn retry(
    State(api): State<Shared>,
    caller: KeyHolder,
    id: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<axum::http::StatusCode, ApiProblem> {
    caller.require(Right::Operate)?;
    api.hub.operate(number(id)?, Act::Retry, &decider(&caller, why)?).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

/// Never make this delivery; those that wait behind it go on.
#[utoipa::path(post, path = "/v1/deliveries/{id}/skip", tag = "deliveries", security(("key" = ["operate"])), params(("id" = String, Path, description = "The delivery's number"), WhyQuery),
    responses((status = 204), (status = "4XX", body = super::problem::Body)))]
pub async fn skip(
    State(api): State<Shared>,
    caller: KeyHolder,
    id: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<axum::http::StatusCode, ApiProblem> {
    caller.require(Right::Operate)?;
    api.hub.operate(number(id)?, Act::Skip, &decider(&caller, why)?).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

/// Make a delivery again with this data in place of the message's. It is held against the schema of the message's type
/// first. The message itself stays as it was received. One that is tried again by itself must not have done anything.
#[utoipa::path(post, path = "/v1/deliveries/{id}/edit", tag = "deliveries", security(("key" = ["operate"])), params(("id" = String, Path, description = "The delivery's number"), WhyQuery),
    request_body(content = serde_json::Value, description = "The data", content_type = "application/json"),
    responses((status = 204), (status = "4XX", body = super::problem::Body)))]
pub async fn edit(
    State(api): State<Shared>,
    caller: KeyHolder,
    id: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
    body: Body,
) -> Result<axum::http::StatusCode, ApiProblem> {
    caller.require(Right::Operate)?;
    let (id, decider) = (number(id)?, decider(&caller, why)?);
    let body = read(body, api.limits.body_bytes_max).await?;
    api.hub.edit(id, parse_json(&body)?, &decider).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

/// Retry all that match, in their order, at most `limit` of them and `rate-per-second`.
#[utoipa::path(post, path = "/v1/deliveries/retry", tag = "deliveries", security(("key" = ["operate"])), params(DeliveriesQuery),
    responses((status = 200, body = Operated), (status = "4XX", body = super::problem::Body)))]
pub async fn retry_many(
    State(api): State<Shared>,
    caller: KeyHolder,
    given: Result<Query<DeliveriesQuery>, QueryRejection>,
) -> Result<Json<Operated>, ApiProblem> {
    many(&api, &caller, given, Act::Retry).await
}

/// Skip all that match, in their order, at most `limit` of them and `rate-per-second`.
#[utoipa::path(post, path = "/v1/deliveries/skip", tag = "deliveries", security(("key" = ["operate"])), params(DeliveriesQuery),
    responses((status = 200, body = Operated), (status = "4XX", body = super::problem::Body)))]
pub async fn skip_many(
    State(api): State<Shared>,
    caller: KeyHolder,
    given: Result<Query<DeliveriesQuery>, QueryRejection>,
) -> Result<Json<Operated>, ApiProblem> {
    many(&api, &caller, given, Act::Skip).await
}

async fn many(
    api: &Shared,
    caller: &KeyHolder,
    given: Result<Query<DeliveriesQuery>, QueryRejection>,
    act: Act,
) -> Result<Json<Operated>, ApiProblem> {
    caller.require(Right::Operate)?;
    let query = query(given)?;
    let filter = query.filter(States::GaveUp)?;
    let decider = because(caller, query.comment)?;
    let found = api.hub.store.deliveries(&filter).await?;
    let next = next(&filter, found.last().map(|(_, view)| view.id), found.len());
    let rate = query.rate_per_second.unwrap_or(RATE_DEFAULT);
    Ok(Json(Operated { next, ..operate_each(api, caller, found, rate, (&act, &decider)).await? }))
}

/// Does the same to each, at most so many a second.
///
/// # Errors
/// `forbidden`, `store-unavailable`: what came before it is done.
pub async fn operate_each(
    api: &Shared,
    caller: &KeyHolder,
    found: Vec<(i64, DeliveryView)>,
    rate_per_second: u32,
    (act, decider): (&Act, &Decider),
) -> Result<Operated, Problem> {
    caller.require(Right::Operate)?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate_per_second.clamp(1, RATE_MAX));
    let mut operated = Operated { done: 0, refused: Vec::new(), next: None };
    for (seq, view) in found {
        ticks.tick().await;
        match api.hub.operate_on(seq, &view, act.clone(), decider).await {
            Ok(()) => operated.done += 1,
            Err(problem) if REFUSALS.contains(&problem.code) => operated.refused.push(OperationRefused {
                id: view.id.to_string(),
                code: problem.code.as_str().to_string(),
                detail: problem.detail,
            }),
            Err(problem) => return Err(problem),
        }
    }
    Ok(operated)
}

/// Start no deliveries of this system, at any hub, until it is resumed: a restart does not end it. Nothing is lost meanwhile.
#[utoipa::path(post, path = "/v1/systems/{system}/pause", tag = "systems", security(("key" = ["operate"])), params(("system" = String, Path, description = "The system's name"), WhyQuery),
    responses((status = 204), (status = "4XX", body = super::problem::Body)))]
pub async fn pause(
    State(api): State<Shared>,
    caller: KeyHolder,
    system: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<axum::http::StatusCode, ApiProblem> {
    hold(&api, &caller, system, why, true).await
}

/// Go on with a paused system.
#[utoipa::path(post, path = "/v1/systems/{system}/resume", tag = "systems", security(("key" = ["operate"])), params(("system" = String, Path, description = "The system's name"), WhyQuery),
    responses((status = 204), (status = "4XX", body = super::problem::Body)))]
pub async fn resume(
    State(api): State<Shared>,
    caller: KeyHolder,
    system: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<axum::http::StatusCode, ApiProblem> {
    hold(&api, &caller, system, why, false).await
}

async fn hold(
    api: &Shared,
    caller: &KeyHolder,
    system: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
    paused: bool,
) -> Result<axum::http::StatusCode, ApiProblem> {
    let Path(system) = system.map_err(|e| Problem::new(Code::NotFound, e.body_text()))?;
    set_paused(api, caller, &system, paused, &decider(caller, why)?).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

/// Pauses a system, or goes on with it.
///
/// # Errors
/// `forbidden`, `not-found`, `store-unavailable`.
pub async fn set_paused(
    api: &Shared,
    caller: &KeyHolder,
    system: &str,
    paused: bool,
    decider: &Decider,
) -> Result<(), Problem> {
    caller.require(Right::Operate)?;
    api.hub.hold(system, paused, decider).await
}

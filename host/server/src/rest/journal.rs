//! Looking things up in the journal.

use super::auth::KeyHolder;
use super::desk::{bad, instant};
use super::views::{Intakes, Messages, Shower, Trace};
use super::{ApiProblem, Shared};
use crate::config::model::Right;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use busbar_core::{Code, DeliveryState, IntakeFilter, MessageFilter, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;

/// Which messages; all conditions hold together.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MessagesQuery {
    r#type: Option<String>,
    source: Option<String>,
    subject: Option<String>,
    id: Option<String>,
    /// With a delivery to this system,
    system: Option<String>,
    /// in this state: `ready`, `done`, `parked`, `waiting`, `dead` or `skipped`.
    state: Option<String>,
    /// This text stands in the data, letter by letter; needs the right `read-personal`. At most 20,000 messages that fit the
    /// other conditions are looked through at once: with few found, `next` says where to go on.
    text: Option<String>,
    /// Received at or after this time, with its offset.
    since: Option<String>,
    /// Received before this time.
    until: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// 50 where absent, 500 at most.
    limit: Option<u32>,
}

/// Messages, newest first, with the state of their deliveries.
#[utoipa::path(get, path = "/v1/messages", tag = "journal", security(("key" = ["read"])), params(MessagesQuery),
    responses((status = 200, body = Messages), (status = "4XX", body = super::problem::Body)))]
pub async fn messages(
    State(api): State<Shared>,
    caller: KeyHolder,
    query: Result<Query<MessagesQuery>, QueryRejection>,
) -> Result<Json<Messages>, ApiProblem> {
    caller.require(Right::Read)?;
    let Query(query) = query.map_err(|e| bad(e.body_text()))?;
    let state = query.state.map(|text| DeliveryState::parse(&text).ok_or_else(|| bad(format!("no state `{text}`"))));
    let before = query.after.map(|text| text.parse().map_err(|_| bad(format!("`after` is no number: `{text}`"))));
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let filter = MessageFilter {
        r#type: query.r#type,
        source: query.source,
        subject: query.subject,
        id: query.id,
        system: query.system,
        state: state.transpose()?,
        since_ms: instant("since", query.since.as_ref())?,
        until_ms: instant("until", query.until.as_ref())?,
        before: before.transpose()?,
        limit,
    };
    Ok(Json(messages_shown(&api, &caller, &filter, query.text.as_deref()).await?))
}

/// The same for whoever shows it otherwise.
///
/// # Errors
/// `forbidden`, `invalid-event`, `store-unavailable`.
pub async fn messages_shown(
    api: &Shared,
    caller: &KeyHolder,
    filter: &MessageFilter,
    text: Option<&str>,
) -> Result<Messages, Problem> {
    caller.require(Right::Read)?;
    let Some(text) = text else {
        let found = api.hub.store.messages(filter).await?;
        return Ok(shower(api, caller).page(found, usize::try_from(filter.limit).unwrap_or(usize::MAX)));
    };
    // Whoever may not see a field must not find it out either.
    caller.require(Right::ReadPersonal)?;
    if text.is_empty() {
        return Err(bad("`text` is empty"));
    }
    Ok(shower(api, caller).text_found(api.hub.store.search(filter, text).await?))
}

/// One message: what came in, what was called, what came back, what went out.
#[utoipa::path(get, path = "/v1/messages/{seq}", tag = "journal", security(("key" = ["read"])), params(("seq" = String, Path, description = "The journal's number")),
    responses((status = 200, body = Trace), (status = "4XX", body = super::problem::Body)))]
pub async fn message(
    State(api): State<Shared>,
    caller: KeyHolder,
    seq: Result<Path<String>, PathRejection>,
) -> Result<Json<Trace>, ApiProblem> {
    let Path(seq) = seq.map_err(|e| Problem::new(Code::NotFound, e.body_text()))?;
    Ok(Json(trace(&api, &caller, &seq).await?))
}

/// The same for whoever shows it otherwise.
///
/// # Errors
/// `forbidden`, `not-found`, `store-unavailable`.
pub async fn trace(api: &Shared, caller: &KeyHolder, seq: &str) -> Result<Trace, Problem> {
    caller.require(Right::Read)?;
    let missing = || Problem::new(Code::NotFound, format!("no message with the number `{seq}`"));
    let number = seq.parse().map_err(|_| missing())?;
    let view = api.hub.store.message(number).await?.ok_or_else(missing)?;
    let intake = match &view.intake {
        Some(id) => api
            .hub
            .store
            .intakes(&IntakeFilter { id: Some(id.clone()), limit: 1, ..IntakeFilter::default() })
            .await?
            .pop(),
        None => None,
    };
    Ok(shower(api, caller).trace(view, intake))
}

/// Which inputs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IntakesQuery {
    id: Option<String>,
    system: Option<String>,
    /// `accepted`, `repeated`, `incomplete`, `refused`, `left-out`, `differing` or `dismissed`.
    outcome: Option<String>,
    /// 50 where absent, 500 at most.
    limit: Option<u32>,
}

/// Files, hook requests, questions and refused messages, newest first.
#[utoipa::path(get, path = "/v1/intakes", tag = "journal", security(("key" = ["read"])), params(IntakesQuery),
    responses((status = 200, body = Intakes), (status = "4XX", body = super::problem::Body)))]
pub async fn intakes(
    State(api): State<Shared>,
    caller: KeyHolder,
    query: Result<Query<IntakesQuery>, QueryRejection>,
) -> Result<Json<Intakes>, ApiProblem> {
    caller.require(Right::Read)?;
    let Query(query) = query.map_err(|e| bad(e.body_text()))?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let filter = IntakeFilter { id: query.id, system: query.system, outcome: query.outcome, limit };
    let found = api.hub.store.intakes(&filter).await?;
    let shower = shower(&api, &caller);
    Ok(Json(Intakes { intakes: found.into_iter().map(|i| shower.intake(i)).collect() }))
}

/// Shows the journal as this caller may see it.
pub fn shower<'a>(api: &'a Shared, caller: &KeyHolder) -> Shower<'a> {
    Shower { catalog: &api.hub.rules.catalog, personal: caller.may(Right::ReadPersonal) }
}

//! What a person decides about entries of inputs: left out, or known with other content.

use super::auth::KeyHolder;
use super::desk::{WhyQuery, decider};
use super::{ApiProblem, Shared};
use crate::config::model::Right;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use busbar_core::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;

/// What became of an entry.
#[derive(Serialize, ToSchema)]
pub struct EntryAccepted {
    /// The id under which it was stated as a message of its own.
    id: String,
}

fn named(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.map(|Path(id)| id).map_err(|e| Problem::new(Code::NotFound, e.body_text()))
}

/// Take a `differing` entry as a fact of its own: it is stated and delivered like any other message, under an id that
/// says where it comes from.
#[utoipa::path(post, path = "/v1/intakes/{id}/accept", tag = "journal", security(("key" = ["operate"])), params(("id" = String, Path, description = "The entry's id"), WhyQuery),
    responses((status = 200, body = EntryAccepted), (status = "4XX", body = super::problem::Body)))]
pub async fn accept(
    State(api): State<Shared>,
    caller: KeyHolder,
    id: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<Json<EntryAccepted>, ApiProblem> {
    caller.require(Right::Operate)?;
    let id = api.hub.accept_entry(&named(id)?, &decider(&caller, why)?).await?;
    Ok(Json(EntryAccepted { id }))
}

/// Nothing more is to be done about a `differing` or `left-out` entry.
#[utoipa::path(post, path = "/v1/intakes/{id}/dismiss", tag = "journal", security(("key" = ["operate"])), params(("id" = String, Path, description = "The entry's id"), WhyQuery),
    responses((status = 204), (status = "4XX", body = super::problem::Body)))]
pub async fn dismiss(
    State(api): State<Shared>,
    caller: KeyHolder,
    id: Result<Path<String>, PathRejection>,
    why: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<StatusCode, ApiProblem> {
    caller.require(Right::Operate)?;
    api.hub.dismiss_entry(&named(id)?, &decider(&caller, why)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! What the people on duty look at: why deliveries fail, and who decided what.

use super::auth::KeyHolder;
use super::masks;
use super::views::time;
use super::{ApiProblem, Shared};
use crate::config::model::Right;
use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use busbar_core::audit::COMMENT_BYTES_MAX;
use busbar_core::{
    AuditEntry, AuditFilter, Class, Code, Decider, Deed, DeliveryState, ErrorRecord, FailureFilter, FailureGroup,
    Problem, cause_text,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;
const CAUSES_MAX: usize = 500;

/// Why somebody does something.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhyQuery {
    /// In the person's own words, at most 1,000 bytes: kept with the decision, see `/v1/audit`.
    comment: Option<String>,
}

/// What is wrong with a query.
pub fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidEvent, detail).at("query")
}

/// Who decides, and why.
///
/// # Errors
/// `invalid-event` for another parameter, `too-large`.
pub fn decider(caller: &KeyHolder, given: Result<Query<WhyQuery>, QueryRejection>) -> Result<Decider, Problem> {
    let Query(why) = given.map_err(|e| bad(e.body_text()))?;
    because(caller, why.comment)
}

/// The same with a comment that was found otherwise.
///
/// # Errors
/// `too-large`.
pub fn because(caller: &KeyHolder, comment: Option<String>) -> Result<Decider, Problem> {
    let comment = comment.filter(|comment| !comment.trim().is_empty());
    match comment.as_ref().map_or(0, String::len) {
        0..=COMMENT_BYTES_MAX => Ok(Decider { by: caller.name().to_string(), comment }),
        bytes => {
            let detail = format!("the comment has {bytes} bytes; at most {COMMENT_BYTES_MAX} are kept");
            Err(Problem::new(Code::TooLarge, detail).at("comment"))
        }
    }
}

/// A time of a query, in milliseconds since the epoch.
///
/// # Errors
/// `invalid-event` with the parameter's name.
pub fn instant(name: &str, text: Option<&String>) -> Result<Option<i64>, Problem> {
    let parse = |text: &String| {
        let detail = || format!("`{name}` is no time with an offset, such as 2026-11-29T18:00:00+03:00: `{text}`");
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad(detail()))?;
        i64::try_from(parsed.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|_| bad(detail()))
    };
    text.map(parse).transpose()
}

/// Which failures; both conditions hold together.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FailuresQuery {
    system: Option<String>,
    r#type: Option<String>,
}

/// Deliveries that fail for one cause.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FailureShown {
    /// Names the cause for ever: `/v1/deliveries?cause=…` lists them, and operations on many take it.
    pub cause: String,
    pub system: String,
    pub r#type: String,
    /// Code of the error, or the adapter's own.
    pub code: String,
    /// `retry` (may succeed later by itself), `reject` (never as it is) or `bug`.
    #[schema(value_type = String)]
    pub class: Class,
    /// Where in the data or the input, with `*` for every number in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What the far end said last: the status of its answer, or in a word why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    pub total: u64,
    /// The same by state: `parked`, `dead`, and `ready` of those that are tried again.
    pub deliveries: BTreeMap<String, u64>,
    /// When something happened last to the one that has been left alone longest, and to the newest.
    pub first_at: String,
    pub last_at: String,
}

/// Why deliveries fail now.
#[derive(Serialize, ToSchema)]
pub struct Failures {
    failures: Vec<FailureShown>,
    /// Causes that are not shown: the 500 largest are. Ask for a system and a type.
    more: usize,
}

/// Deliveries that failed for good or are tried again after a failure, grouped by cause; the largest group first.
#[utoipa::path(get, path = "/v1/failures", tag = "deliveries", security(("key" = ["read"])), params(FailuresQuery),
    responses((status = 200, body = Failures), (status = "4XX", body = super::problem::Body)))]
pub async fn failures(
    State(api): State<Shared>,
    caller: KeyHolder,
    query: Result<Query<FailuresQuery>, QueryRejection>,
) -> Result<Json<Failures>, ApiProblem> {
    caller.require(Right::Read)?;
    let Query(FailuresQuery { system, r#type }) = query.map_err(|e| bad(e.body_text()))?;
    let groups = api.hub.store.failures(&FailureFilter { system, r#type }).await?;
    let mut failures = grouped(groups, caller.may(Right::ReadPersonal));
    let more = failures.len().saturating_sub(CAUSES_MAX);
    failures.truncate(CAUSES_MAX);
    Ok(Json(Failures { failures, more }))
}

/// One entry for each cause, the largest first.
pub fn grouped(groups: Vec<FailureGroup>, personal: bool) -> Vec<FailureShown> {
    let mut causes: BTreeMap<i64, Vec<FailureGroup>> = BTreeMap::new();
    for group in groups {
        causes.entry(group.cause.id()).or_default().push(group);
    }
    let mut shown: Vec<_> = causes.into_iter().filter_map(|(id, states)| one_cause(id, states, personal)).collect();
    shown.sort_by(|a, b| (b.total, &a.system, &a.cause).cmp(&(a.total, &b.system, &b.cause)));
    shown
}

fn one_cause(id: i64, states: Vec<FailureGroup>, personal: bool) -> Option<FailureShown> {
    let cause = states.first()?.cause.clone();
    let class = cause.class();
    let record =
        ErrorRecord { code: cause.code, place: cause.place, by_adapter: cause.by_adapter, ..ErrorRecord::default() };
    let (code, place) = if personal { (record.code, record.place) } else { masks::error(record).code_and_place() };
    Some(FailureShown {
        cause: cause_text(id),
        system: cause.system,
        r#type: cause.r#type,
        code,
        class,
        place,
        answer: cause.answer,
        total: states.iter().map(|group| group.count).sum(),
        first_at: time(states.iter().map(|group| group.first_ms).min()?),
        last_at: time(states.iter().map(|group| group.last_ms).max()?),
        deliveries: states.into_iter().map(|group| (group.state.as_str().to_string(), group.count)).collect(),
    })
}

/// Which decisions; all conditions hold together.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    system: Option<String>,
    /// Number of the delivery that it was about.
    delivery: Option<i64>,
    /// Name of the key or person.
    by: Option<String>,
    /// `retry`, `edit`, `skip`, `accept`, `dismiss`, `pause` or `resume`.
    deed: Option<String>,
    /// Not earlier than this time, with its offset.
    since: Option<String>,
    /// Before this time.
    until: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// 50 where absent, 500 at most.
    limit: Option<u32>,
}

impl AuditQuery {
    fn filter(self) -> Result<AuditFilter, Problem> {
        let deed = self.deed.map(|text| Deed::parse(&text).ok_or_else(|| bad(format!("no deed `{text}`"))));
        let before = self.after.map(|text| text.parse().map_err(|_| bad(format!("`after` is no number: `{text}`"))));
        Ok(AuditFilter {
            since_ms: instant("since", self.since.as_ref())?,
            until_ms: instant("until", self.until.as_ref())?,
            system: self.system,
            delivery: self.delivery,
            by: self.by,
            deed: deed.transpose()?,
            before: before.transpose()?,
            limit: self.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX),
        })
    }
}

/// One decision.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditShown {
    /// From 1, without gaps.
    pub seq: String,
    pub at: String,
    pub by: String,
    pub deed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// Of a decision about a delivery: its state now; absent when it is not in the journal any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_now: Option<String>,
    /// Id of the entry of an input that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intake: Option<String>,
    /// `***` without the right `read-personal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// SHA-256 over the hash before it, a line feed, and the entry as it is kept: keep one elsewhere, and `busbar audit verify`
    /// tells whether anything up to it was changed.
    pub hash: String,
}

/// A page of decisions, newest first.
#[derive(Serialize, ToSchema)]
pub struct Decisions {
    pub audit: Vec<AuditShown>,
    /// Give it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What persons decided: who, when, why, about what, and what became of it; newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "operations", security(("key" = ["read"])), params(AuditQuery),
    responses((status = 200, body = Decisions), (status = "4XX", body = super::problem::Body)))]
pub async fn audit(
    State(api): State<Shared>,
    caller: KeyHolder,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Decisions>, ApiProblem> {
    let filter = query.map_err(|e| bad(e.body_text()))?.0.filter()?;
    Ok(Json(decisions(&api, &caller, &filter).await?))
}

/// The same for whoever shows it otherwise.
///
/// # Errors
/// `forbidden`, `store-unavailable`.
pub async fn decisions(api: &Shared, caller: &KeyHolder, filter: &AuditFilter) -> Result<Decisions, Problem> {
    caller.require(Right::Read)?;
    let found = api.hub.store.audit(filter).await?;
    let full = found.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let next = found.last().filter(|_| full).map(|entry| entry.record.seq.to_string());
    let personal = caller.may(Right::ReadPersonal);
    let mut audit = Vec::with_capacity(found.len());
    for entry in found {
        let state_now = match entry.record.delivery {
            Some(delivery) => state_of(api, delivery).await?,
            None => None,
        };
        audit.push(decision(entry, state_now, personal));
    }
    Ok(Decisions { audit, next })
}

async fn state_of(api: &Shared, delivery: i64) -> Result<Option<DeliveryState>, Problem> {
    match api.hub.delivery(delivery).await {
        Ok((_, view)) => Ok(Some(view.state)),
        Err(problem) if problem.code == Code::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn decision(entry: AuditEntry, state_now: Option<DeliveryState>, personal: bool) -> AuditShown {
    let AuditEntry { record, hash } = entry;
    AuditShown {
        seq: record.seq.to_string(),
        at: time(record.at_ms),
        by: record.by,
        deed: record.deed.as_str().to_string(),
        system: Some(record.system).filter(|system| !system.is_empty()),
        delivery: record.delivery.map(|id| id.to_string()),
        state_now: state_now.map(|state| state.as_str().to_string()),
        intake: record.intake,
        comment: record.comment.map(|comment| if personal { comment } else { masks::hidden() }),
        hash,
    }
}

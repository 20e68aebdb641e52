//! How much came in, and what became of it, in hours or days.

use super::auth::KeyHolder;
use super::desk::{bad, instant};
use super::views::time;
use super::{ApiProblem, Shared};
use crate::config::model::Right;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use busbar_core::Problem;
use busbar_core::statistics::{Counted, HOUR_MS, HourCount, StatisticsFilter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use utoipa::{IntoParams, ToSchema};

const DAY_MS: i64 = 24 * HOUR_MS;
/// Where nobody says since when.
const USUAL_MS: i64 = 7 * DAY_MS;
/// No place on Earth is further from Greenwich (time zone of Kiritimati).
const ZONE_MINUTES_MAX: i32 = 14 * 60;

/// Which hours, and how they are shown.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatisticsQuery {
    /// Hours that begin at or after this time, with its offset; where absent, the last seven days.
    since: Option<String>,
    /// Hours that begin before this time.
    until: Option<String>,
    system: Option<String>,
    r#type: Option<String>,
    /// `hour`, `day` (where absent) or `all`.
    by: Option<String>,
    /// When a day begins: minutes east of Greenwich, e.g. 180 for +03:00; 0 where absent. Hours are whole ones of UTC.
    #[serde(rename = "zone-minutes")]
    zone_minutes: Option<i32>,
    /// `json` (where absent) or `csv`.
    format: Option<String>,
}

/// One system (or what came in) and type, in one hour or day.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StatisticsRow {
    /// When the hour or day begins; absent of `by=all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whose deliveries; absent of messages that came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    pub r#type: String,
    /// Messages that came in and were new.
    pub received: u64,
    /// Of their data, as far as the journal keeps them.
    pub bytes: u64,
    /// Deliveries that came to this: one that was parked, retried and done is counted as both.
    pub done: u64,
    pub parked: u64,
    pub dead: u64,
    pub skipped: u64,
}

/// What was counted.
#[derive(Serialize, ToSchema)]
pub struct Statistics {
    statistics: Vec<StatisticsRow>,
}

/// The span of time that a row is of.
#[derive(Clone, Copy)]
pub enum Span {
    Hour,
    Day { zone_ms: i64 },
    All,
}

impl Span {
    /// Beginning of the span that an hour is in.
    fn of(self, hour: i64) -> Option<i64> {
        let at_ms = hour.saturating_mul(HOUR_MS);
        match self {
            Self::Hour => Some(at_ms),
            Self::Day { zone_ms } => Some((at_ms + zone_ms).div_euclid(DAY_MS) * DAY_MS - zone_ms),
            Self::All => None,
        }
    }
}

impl StatisticsQuery {
    fn span(&self) -> Result<Span, Problem> {
        let minutes = self.zone_minutes.unwrap_or(0);
        if minutes.abs() > ZONE_MINUTES_MAX {
            return Err(bad(format!("`zone-minutes` is over {ZONE_MINUTES_MAX}: {minutes}")));
        }
        match self.by.as_deref() {
            Some("hour") => Ok(Span::Hour),
            None | Some("day") => Ok(Span::Day { zone_ms: i64::from(minutes) * 60_000 }),
            Some("all") => Ok(Span::All),
            Some(other) => Err(bad(format!("`by` is `hour`, `day` or `all`, not `{other}`"))),
        }
    }

    /// Whether a table is wanted.
    fn is_csv(&self) -> Result<bool, Problem> {
        match self.format.as_deref() {
            None | Some("json") => Ok(false),
            Some("csv") => Ok(true),
            Some(other) => Err(bad(format!("`format` is `json` or `csv`, not `{other}`"))),
        }
    }
}

/// How many messages came in, and what their deliveries came to, by system, type, and hour or day.
#[utoipa::path(get, path = "/v1/statistics", tag = "operations", security(("key" = ["read"])), params(StatisticsQuery),
    responses((status = 200, content((Statistics = "application/json"), (String = "text/csv"))), (status = "4XX", body = super::problem::Body)))]
pub async fn statistics(
    State(api): State<Shared>,
    caller: KeyHolder,
    query: Result<Query<StatisticsQuery>, QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Query(query) = query.map_err(|e| bad(e.body_text()))?;
    let (span, is_csv) = (query.span()?, query.is_csv()?);
    let since_ms = instant("since", query.since.as_ref())?.unwrap_or(api.hub.clock.now_ms() - USUAL_MS);
    let until_ms = instant("until", query.until.as_ref())?;
    let filter = StatisticsFilter { since_ms: Some(since_ms), until_ms, system: query.system, r#type: query.r#type };
    let rows = statistics_rows(&api, &caller, &filter, span).await?;
    match is_csv {
        true => Ok(csv(&rows)),
        false => Ok(Json(Statistics { statistics: rows }).into_response()),
    }
}

/// The same for whoever shows it otherwise.
///
/// # Errors
/// `forbidden`, `store-unavailable`.
pub async fn statistics_rows(
    api: &Shared,
    caller: &KeyHolder,
    filter: &StatisticsFilter,
    span: Span,
) -> Result<Vec<StatisticsRow>, Problem> {
    caller.require(Right::Read)?;
    Ok(rows(api.hub.store.statistics(filter).await?, span))
}

fn rows(counts: Vec<HourCount>, span: Span) -> Vec<StatisticsRow> {
    let mut rows: BTreeMap<(Option<i64>, String, String), StatisticsRow> = BTreeMap::new();
    for HourCount { of, count, bytes } in counts {
        let from = span.of(of.hour);
        let row = rows.entry((from, of.system.clone(), of.r#type.clone())).or_insert_with(|| StatisticsRow {
            from: from.map(time),
            system: Some(of.system).filter(|system| !system.is_empty()),
            r#type: of.r#type,
            ..StatisticsRow::default()
        });
        let sum = match of.tally {
            Counted::Received => &mut row.received,
            Counted::Done => &mut row.done,
            Counted::Skipped => &mut row.skipped,
            Counted::Parked => &mut row.parked,
            Counted::Dead => &mut row.dead,
        };
        *sum += count;
        row.bytes += bytes;
    }
    rows.into_values().collect()
}

/// RFC 4180. Names of systems and types are words, in which nothing is to be quoted.
pub fn csv(rows: &[StatisticsRow]) -> Response {
    let mut text = String::from("from,system,type,received,bytes,done,parked,dead,skipped\r\n");
    for row in rows {
        let StatisticsRow { from, system, r#type, received, bytes, done, parked, dead, skipped } = row;
        let (from, system) = (from.as_deref().unwrap_or_default(), system.as_deref().unwrap_or_default());
        // Writing into a string cannot fail.
        let _ = write!(text, "{from},{system},{type},{received},{bytes},{done},{parked},{dead},{skipped}\r\n");
    }
    ([(CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], text).into_response()
}

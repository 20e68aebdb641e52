//! The deliveries that fail, and why.

use super::Held;
use super::fields::{Fields, link};
use super::message::Fits;
use super::messages::{Choice, TextFilter, after, chosen, moment};
use super::page::{self, Shown};
use super::shown::{ErrorShown, Moment, line};
use super::texts::Texts;
use super::viewer::{PageFrame, Viewer};
use crate::rest::views::DeliveryFound;
use crate::rest::{FailureShown, grouped, shower};
use askama::Template;
use axum::extract::State;
use busbar_core::{DeliveryFilter, FailureFilter, Problem, States, parse_cause};

const PAGE: u32 = 25;
const DETAIL_BYTES_MAX: usize = 240;
pub const FILTERS: [&str; 8] = ["system", "type", "code", "key", "since", "until", "state", "cause"];
/// Groups on a page; there are more where a filter narrows them down.
const CAUSES_MAX: usize = 10;
const STATES: [&str; 5] = ["failing", "parked", "dead", "ready", "waiting"];

#[derive(Template)]
#[template(path = "failures.html")]
struct FailuresPage {
    t: &'static Texts,
    frame: PageFrame,
    may_operate: bool,
    may_read_personal: bool,
    filters: Vec<TextFilter>,
    states: Vec<Choice>,
    causes: Vec<CauseRow>,
    /// Smaller ones, which are not shown.
    more_causes: usize,
    /// The cause that is looked at.
    cause: Option<String>,
    rows: Vec<FailureRow>,
    first: Option<String>,
    next: Option<String>,
    retry_all: String,
    skip_all: String,
}

struct CauseRow {
    link: String,
    total: u64,
    system: String,
    r#type: String,
    code: String,
    place: Option<String>,
    answer: Option<String>,
    /// Word and count.
    states: Vec<(String, u64)>,
    first_at: Moment,
    last_at: Moment,
}

impl CauseRow {
    fn new(shown: FailureShown) -> Self {
        Self {
            link: link("/failures", [("cause", shown.cause.as_str())]),
            total: shown.total,
            system: shown.system,
            r#type: line(&shown.r#type),
            code: line(&shown.code),
            place: shown.place.as_deref().map(line),
            answer: shown.answer.as_deref().map(line),
            states: shown.deliveries.into_iter().collect(),
            first_at: Moment::of(shown.first_at),
            last_at: Moment::of(shown.last_at),
        }
    }
}

struct FailureRow {
    id: String,
    message: String,
    system: String,
    r#type: String,
    key: Option<String>,
    state: String,
    attempts: u32,
    next_at: Option<Moment>,
    since: Moment,
    error: Option<ErrorShown>,
    fits: Fits,
}

impl FailureRow {
    fn new(found: DeliveryFound) -> Self {
        let delivery = found.delivery;
        Self {
            message: found.message,
            r#type: line(&found.r#type),
            system: delivery.system,
            key: delivery.key.as_deref().map(line),
            fits: Fits::of(&delivery.state),
            state: delivery.state,
            attempts: delivery.attempts,
            next_at: delivery.next_at.map(Moment::of),
            since: Moment::of(delivery.updated_at),
            error: delivery.error.map(|error| ErrorShown::new(error, DETAIL_BYTES_MAX)),
            id: delivery.id,
        }
    }
}

/// What a query or a form means; those that are failing unless it names a state.
///
/// # Errors
/// `invalid-event`.
pub fn filter(fields: &Fields, usual: States) -> Result<DeliveryFilter, Problem> {
    Ok(DeliveryFilter {
        states: chosen(fields, "state", States::parse)?.unwrap_or(usual),
        system: fields.owned("system"),
        r#type: fields.owned("type"),
        code: fields.owned("code"),
        cause: chosen(fields, "cause", parse_cause)?,
        key: fields.owned("key"),
        since_ms: moment(fields, "since")?,
        until_ms: moment(fields, "until")?,
        after: after(fields)?.unwrap_or(0),
        limit: PAGE,
        ..DeliveryFilter::default()
    })
}

/// The fields of a search, as they go into an address.
pub fn same(fields: &Fields) -> impl Iterator<Item = (&str, &str)> {
    FILTERS.iter().map(|name| (*name, fields.get(name).unwrap_or_default()))
}

pub async fn page(State(console): State<Held>, viewer: Viewer) -> Shown {
    let (t, query) = (viewer.frame.texts(), &viewer.query);
    let filter = filter(query, States::Failing)?;
    let groups = FailureFilter { system: filter.system.clone(), r#type: filter.r#type.clone() };
    let groups = grouped(console.api.hub.store.failures(&groups).await?, viewer.may_read_personal());
    let cause = query.owned("cause");
    let meant = |group: &FailureShown| cause.as_ref().is_none_or(|cause| *cause == group.cause);
    let groups: Vec<_> = groups.into_iter().filter(meant).collect();
    let more_causes = groups.len().saturating_sub(CAUSES_MAX);
    let causes = groups.into_iter().take(CAUSES_MAX).map(CauseRow::new).collect();
    let found = console.api.hub.store.deliveries(&filter).await?;
    let more = found.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let last = found.last().filter(|_| more).map(|(_, view)| view.id.to_string());
    let shower = shower(&console.api, &viewer.holder);
    let texts = [t.system, t.type_, t.code, t.key, t.from, t.until].into_iter();
    let text = |(name, label): (&&'static str, &'static str)| TextFilter::new(query, name, label);
    let state = query.get("state").unwrap_or("failing");
    let choice = |word: &'static str| Choice { value: word, label: t.delivery(word), is_chosen: word == state };
    let all = |act| link("/failures/all", same(query).chain([("act", act)]));
    page::html(&FailuresPage {
        may_operate: viewer.may_operate(),
        may_read_personal: viewer.may_read_personal(),
        filters: FILTERS.iter().zip(texts).map(text).collect(),
        states: STATES.into_iter().map(choice).collect(),
        first: (filter.after > 0).then(|| link("/failures", same(query))),
        next: last.map(|last| link("/failures", same(query).chain([("after", last.as_str())]))),
        causes,
        more_causes,
        retry_all: all("retry"),
        skip_all: all("skip"),
        cause,
        rows: found.into_iter().map(|(seq, view)| FailureRow::new(shower.found(seq, view))).collect(),
        t,
        frame: viewer.frame,
    })
}

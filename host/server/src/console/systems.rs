//! The systems: what goes on with each, and holding them up.

use super::Held;
use super::fields::link;
use super::page::{self, PageProblem, Shown};
use super::shown::{Moment, line};
use super::texts::Texts;
use super::viewer::{PageFrame, Posted, Viewer};
use crate::rest::{SystemShown, set_paused, systems_shown};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use busbar_core::{Code, DeliveryState, Problem};

const PAGE: usize = 40;

#[derive(Template)]
#[template(path = "systems.html")]
struct SystemsPage {
    t: &'static Texts,
    frame: PageFrame,
    may_operate: bool,
    wanted: String,
    rows: Vec<SystemRow>,
    summary: Summary,
    next: Option<String>,
}

/// At a glance: of all systems, whatever the page shows.
struct Summary {
    count: usize,
    silent: usize,
    paused: usize,
    gave_up: i64,
}

struct SystemRow {
    name: String,
    in_flight: usize,
    paused: bool,
    /// Who holds it up, since when, and why.
    pause: Option<(String, Moment, Option<String>)>,
    down_since: Option<Moment>,
    held_until: Option<Moment>,
    /// Word and count, in the order of a delivery's life; those of none are left out.
    deliveries: Vec<(&'static str, i64)>,
    failures: String,
    connection: Option<ConnectionRow>,
    /// What its folders hold up, and why.
    held: Vec<(&'static str, usize, Option<String>)>,
    nearly_reached: String,
}

struct ConnectionRow {
    state: String,
    since: Moment,
    peer: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    failures: u32,
}

impl SystemRow {
    fn new(shown: SystemShown, t: &'static Texts) -> Self {
        let connection = shown.connection.map(|c| ConnectionRow {
            state: c.state,
            since: Moment::ms(c.since_ms),
            peer: c.peer.as_deref().map(line),
            error: c.last_error.as_deref().map(line),
            reason: c.reason.as_deref().map(line),
            failures: c.failures,
        });
        let files = shown.files.unwrap_or_default();
        let held = [(t.inbox, files.inbox), (t.outbox, files.outbox)].into_iter();
        let held = held.filter_map(|(which, held)| Some((which, held?)));
        let held = held.filter(|(_, held)| held.held > 0);
        let count = |state: DeliveryState| (state.as_str(), shown.deliveries.get(state.as_str()).copied().unwrap_or(0));
        Self {
            failures: link("/failures", [("system", shown.name.as_str())]),
            in_flight: shown.in_flight,
            paused: shown.paused,
            pause: shown.pause.map(|p| (line(&p.by), Moment::of(p.at), p.comment.as_deref().map(line))),
            down_since: shown.down_since_ms.map(Moment::ms),
            held_until: shown.held_until_ms.map(Moment::ms),
            deliveries: DeliveryState::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect(),
            connection,
            held: held.map(|(which, held)| (which, held.held, held.reason.as_deref().map(line))).collect(),
            nearly_reached: shown.nearly_reached.join(", "),
            name: shown.name,
        }
    }

    fn is_silent(&self) -> bool {
        let connects = self.connection.as_ref().is_none_or(|c| !["failing", "connecting"].contains(&c.state.as_str()));
        self.down_since.is_some() || !connects
    }

    /// Deliveries that only a person brings further.
    fn gave_up(&self) -> i64 {
        self.deliveries.iter().filter(|(state, _)| ["parked", "dead"].contains(state)).map(|(_, count)| count).sum()
    }

    fn is_well(&self) -> bool {
        !self.paused && self.down_since.is_none() && self.held_until.is_none()
    }

    /// Those that somebody must see to come first.
    fn rank(&self) -> u8 {
        match (self.is_silent(), self.paused, self.gave_up() > 0 || !self.held.is_empty()) {
            (true, _, _) => 0,
            (_, _, true) => 1,
            (_, true, _) => 2,
            _ => 3,
        }
    }
}

pub async fn page(State(console): State<Held>, viewer: Viewer) -> Shown {
    let t = viewer.frame.texts();
    let wanted = viewer.query.owned("name").unwrap_or_default();
    let from: usize = viewer.query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let all = systems_shown(&console.api, &viewer.holder).await?;
    let all = all.into_iter().filter(|shown| shown.name.contains(&wanted));
    let mut rows: Vec<_> = all.map(|shown| SystemRow::new(shown, t)).collect();
    rows.sort_by_key(SystemRow::rank);
    let summary = Summary {
        count: rows.len(),
        silent: rows.iter().filter(|row| row.is_silent()).count(),
        paused: rows.iter().filter(|row| row.paused).count(),
        gave_up: rows.iter().map(SystemRow::gave_up).sum(),
    };
    let until = from.saturating_add(PAGE);
    let next =
        (until < summary.count).then(|| link("/", [("name", wanted.as_str()), ("from", until.to_string().as_str())]));
    let rows = rows.into_iter().skip(from).take(PAGE).collect();
    page::html(&SystemsPage { t, may_operate: viewer.may_operate(), frame: viewer.frame, wanted, rows, summary, next })
}

/// Pauses one, or goes on with it.
pub async fn hold(State(console): State<Held>, posted: Posted) -> Result<Response, PageProblem> {
    let (system, paused) = match (posted.form.owned("pause"), posted.form.owned("resume")) {
        (Some(system), None) => (system, true),
        (None, Some(system)) => (system, false),
        _ => return Err(Problem::new(Code::BadRequest, "the form names no system to pause or to resume").into()),
    };
    set_paused(&console.api, &posted.viewer.holder, &system, paused, &posted.decider()?).await?;
    Ok(posted.done(if paused { "paused" } else { "resumed" }, 1))
}

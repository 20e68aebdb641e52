//! Inputs: files, requests to hooks, what was refused; and deciding about entries that were left out, or differ.

use super::Held;
use super::messages::{Choice, TextFilter, chosen};
use super::page::{self, PageProblem, Shown};
use super::shown::{CutText, ErrorShown, Moment, Room, line};
use super::texts::Texts;
use super::viewer::{PageFrame, Posted, Viewer};
use crate::config::model::Right;
use crate::rest::shower;
use crate::rest::views::IntakeShown;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use busbar_core::{Code, IntakeFilter, Problem};

const PAGE: u32 = 40;
const DETAIL_BYTES_MAX: usize = 240;
const EVENT_BYTES_MAX: usize = 2_000;
/// For what all entries of the page state.
const ROOM: usize = 16_000;
const OUTCOMES: [&str; 7] = ["accepted", "repeated", "incomplete", "refused", "left-out", "differing", "dismissed"];

#[derive(Template)]
#[template(path = "inputs.html")]
struct InputsPage {
    t: &'static Texts,
    frame: PageFrame,
    may_operate: bool,
    filters: Vec<TextFilter>,
    outcomes: Vec<Choice>,
    rows: Vec<InputRow>,
    /// As many as the page holds: there may be more.
    is_full: bool,
}

struct InputRow {
    id: String,
    kind: String,
    system: String,
    name: String,
    at: Moment,
    last_at: Option<Moment>,
    times: u64,
    outcome: String,
    /// What is counted, and how many.
    counts: Vec<(&'static str, u64)>,
    stated_by: Option<String>,
    part_of: Option<String>,
    by: Option<String>,
    error: Option<ErrorShown>,
    event: Option<CutText>,
    can_accept: bool,
    can_dismiss: bool,
}

impl InputRow {
    fn new(shown: IntakeShown, t: &'static Texts, room: &mut Room) -> Self {
        let counts = [
            (t.stated, shown.messages),
            (t.repeats, shown.duplicates),
            (t.differing, shown.differing),
            (t.left_out, shown.left_out),
        ];
        Self {
            can_accept: shown.outcome == "differing" && shown.event.is_some(),
            can_dismiss: ["differing", "left-out"].contains(&shown.outcome.as_str()),
            kind: shown.kind,
            system: line(&shown.system),
            name: line(&shown.name),
            at: Moment::of(shown.at),
            last_at: shown.last_at.map(Moment::of),
            times: shown.times,
            outcome: shown.outcome,
            counts: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
            stated_by: shown.stated_by,
            part_of: shown.part_of,
            by: shown.by,
            error: shown.error.map(|error| ErrorShown::new(error, DETAIL_BYTES_MAX)),
            event: shown.event.map(|event| room.json(&event, EVENT_BYTES_MAX)),
            id: shown.id,
        }
    }
}

pub async fn page(State(console): State<Held>, viewer: Viewer) -> Shown {
    let (t, query) = (viewer.frame.texts(), &viewer.query);
    let outcome = chosen(query, "outcome", |word| OUTCOMES.into_iter().find(|known| *known == word))?;
    let filter = IntakeFilter {
        id: query.owned("id"),
        system: query.owned("system"),
        outcome: outcome.map(str::to_string),
        limit: PAGE,
    };
    let found = console.api.hub.store.intakes(&filter).await?;
    let is_full = found.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    let shower = shower(&console.api, &viewer.holder);
    let mut room = Room(ROOM);
    let rows = found.into_iter().map(|view| InputRow::new(shower.intake(view), t, &mut room)).collect();
    let text = |(name, label): (&'static str, &'static str)| TextFilter::new(query, name, label);
    let choice = |word: &'static str| Choice { value: word, label: t.outcome(word), is_chosen: Some(word) == outcome };
    page::html(&InputsPage {
        may_operate: viewer.may_operate(),
        filters: [("system", t.system), ("id", t.id)].map(text).into(),
        outcomes: OUTCOMES.map(choice).into(),
        rows,
        is_full,
        t,
        frame: viewer.frame,
    })
}

/// Takes an entry as a fact of its own, or says that nothing more is to be done about it.
pub async fn decide(State(console): State<Held>, posted: Posted) -> Result<Response, PageProblem> {
    let (hub, holder) = (&console.api.hub, &posted.viewer.holder);
    holder.require(Right::Operate)?;
    let what = match (posted.form.get("accept"), posted.form.get("dismiss")) {
        (Some(id), None) => hub.accept_entry(id, &posted.decider()?).await.map(|_| "accepted")?,
        (None, Some(id)) => hub.dismiss_entry(id, &posted.decider()?).await.map(|()| "dismissed")?,
        _ => return Err(Problem::new(Code::BadRequest, "the form names no entry to accept or to dismiss").into()),
    };
    Ok(posted.done(what, 1))
}

//! Who decided what, when and why, and what became of it.

use super::Held;
use super::fields::link;
use super::messages::{Choice, TextFilter, chosen};
use super::page::{self, Shown};
use super::shown::{Moment, line};
use super::texts::Texts;
use super::viewer::{PageFrame, Viewer};
use crate::rest::decisions;
use askama::Template;
use axum::extract::State;
use busbar_core::{AuditFilter, Deed};

const PAGE: u32 = 50;
const FILTERS: [&str; 4] = ["system", "by", "delivery", "deed"];

#[derive(Template)]
#[template(path = "decisions.html")]
struct DecisionsPage {
    t: &'static Texts,
    frame: PageFrame,
    filters: Vec<TextFilter>,
    deeds: Vec<Choice>,
    rows: Vec<DecisionRow>,
    first: Option<String>,
    next: Option<String>,
}

struct DecisionRow {
    at: Moment,
    by: String,
    deed: String,
    system: Option<String>,
    /// Number and state now.
    delivery: Option<(String, Option<String>)>,
    /// Id of an entry, and where it is shown.
    entry: Option<(String, String)>,
    comment: Option<String>,
}

pub async fn page(State(console): State<Held>, viewer: Viewer) -> Shown {
    let (t, query) = (viewer.frame.texts(), &viewer.query);
    let deed = chosen(query, "deed", Deed::parse)?;
    let before = super::messages::after(query)?;
    let filter = AuditFilter {
        system: query.owned("system"),
        by: query.owned("by"),
        delivery: chosen(query, "delivery", |text| text.parse().ok())?,
        deed,
        before,
        limit: PAGE,
        ..AuditFilter::default()
    };
    let found = decisions(&console.api, &viewer.holder, &filter).await?;
    let same = || FILTERS.iter().map(|name| (*name, query.get(name).unwrap_or_default()));
    let text = |(name, label): (&'static str, &'static str)| TextFilter::new(query, name, label);
    let choice =
        |known: Deed| Choice { value: known.as_str(), label: t.deed(known.as_str()), is_chosen: Some(known) == deed };
    let row = |entry: crate::rest::AuditShown| DecisionRow {
        at: Moment::of(entry.at),
        by: line(&entry.by),
        deed: entry.deed,
        system: entry.system,
        delivery: entry.delivery.map(|id| (id, entry.state_now)),
        entry: entry.intake.map(|id| (line(&id), link("/inputs", [("id", id.as_str())]))),
        comment: entry.comment.as_deref().map(line),
    };
    page::html(&DecisionsPage {
        filters: [("system", t.system), ("by", t.by), ("delivery", t.delivery_title)].map(text).into(),
        deeds: Deed::ALL.map(choice).into(),
        first: before.map(|_| link("/decisions", same())),
        next: found.next.as_deref().map(|next| link("/decisions", same().chain([("after", next)]))),
        rows: found.audit.into_iter().map(row).collect(),
        t,
        frame: viewer.frame,
    })
}

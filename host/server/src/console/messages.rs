//! Looking for messages.

use super::Held;
use super::fields::{Fields, link};
use super::page::{self, Shown};
use super::shown::{Moment, line};
use super::texts::Texts;
use super::viewer::{PageFrame, Viewer};
use crate::rest::views::MessageShown;
use crate::rest::{instant, messages_shown};
use askama::Template;
use axum::extract::State;
use busbar_core::{Code, DeliveryState, MessageFilter, Problem};

const PAGE: u32 = 50;
/// Deliveries named in a row; the others are counted.
const DELIVERIES_MAX: usize = 3;
const FILTERS: [&str; 9] = ["type", "source", "subject", "id", "system", "since", "until", "text", "state"];

#[derive(Template)]
#[template(path = "messages.html")]
struct MessagesPage {
    t: &'static Texts,
    frame: PageFrame,
    filters: Vec<TextFilter>,
    states: Vec<Choice>,
    rows: Vec<FoundRow>,
    first: Option<String>,
    next: Option<String>,
}

/// One field of a search.
pub struct TextFilter {
    pub name: &'static str,
    pub label: &'static str,
    pub value: String,
    /// A day and a time of UTC.
    pub is_time: bool,
}

impl TextFilter {
    /// With what the search says.
    pub fn new(query: &Fields, name: &'static str, label: &'static str) -> Self {
        Self { name, label, value: query.owned(name).unwrap_or_default(), is_time: ["since", "until"].contains(&name) }
    }
}

/// A day and a time as browsers write it (HTML, section 4.10.5.1.11), of UTC; or with an offset, as REST has it.
///
/// # Errors
/// `invalid-event`.
pub fn moment(query: &Fields, name: &'static str) -> Result<Option<i64>, Problem> {
    let text = query.get(name).map(|text| match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_string(),
    });
    instant(name, text.as_ref())
}

/// One of several words.
pub struct Choice {
    pub value: &'static str,
    pub label: &'static str,
    pub is_chosen: bool,
}

struct FoundRow {
    seq: String,
    received_at: Moment,
    r#type: String,
    source: String,
    subject: String,
    id: String,
    deliveries: Vec<(String, String)>,
    more: usize,
}

impl FoundRow {
    fn new(shown: MessageShown) -> Self {
        let named = shown.deliveries.iter().take(DELIVERIES_MAX).map(|d| (line(&d.system), d.state.clone())).collect();
        Self {
            received_at: Moment::of(shown.received_at),
            r#type: line(&shown.r#type),
            source: line(&shown.source),
            subject: line(&shown.subject.unwrap_or_default()),
            id: line(&shown.id),
            deliveries: named,
            more: shown.deliveries.len().saturating_sub(DELIVERIES_MAX),
            seq: shown.seq,
        }
    }
}

/// # Errors
/// `invalid-event` for a word that is none of these.
pub fn chosen<T>(query: &Fields, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let unknown = |word: &str| Problem::new(Code::InvalidEvent, format!("no {name} `{word}`")).at("query");
    query.get(name).map(|word| parse(word).ok_or_else(|| unknown(word))).transpose()
}

/// # Errors
/// `invalid-event` for what is no number.
pub fn after(query: &Fields) -> Result<Option<i64>, Problem> {
    chosen(query, "after", |text| text.parse().ok())
}

pub async fn page(State(console): State<Held>, viewer: Viewer) -> Shown {
    let (t, query) = (viewer.frame.texts(), &viewer.query);
    let state = chosen(query, "state", DeliveryState::parse)?;
    let before = after(query)?;
    let filter = MessageFilter {
        r#type: query.owned("type"),
        source: query.owned("source"),
        subject: query.owned("subject"),
        id: query.owned("id"),
        system: query.owned("system"),
        state,
        since_ms: moment(query, "since")?,
        until_ms: moment(query, "until")?,
        before,
        limit: PAGE,
    };
    let found = messages_shown(&console.api, &viewer.holder, &filter, query.get("text")).await?;
    let same = || FILTERS.iter().map(|name| (*name, query.get(name).unwrap_or_default()));
    let may_find = |name: &str| name != "text" || viewer.may_read_personal();
    let texts = [t.type_, t.source, t.subject, t.id, t.system, t.from, t.until, t.text];
    let text = |(name, label): (&&'static str, &'static str)| TextFilter::new(query, name, label);
    let choice = |known: DeliveryState| Choice {
        value: known.as_str(),
        label: t.delivery(known.as_str()),
        is_chosen: Some(known) == state,
    };
    page::html(&MessagesPage {
        // Whoever may not see a field must not find it out either.
        filters: FILTERS.iter().zip(texts).filter(|(name, _)| may_find(name)).map(text).collect(),
        states: DeliveryState::ALL.into_iter().map(choice).collect(),
        first: before.map(|_| link("/messages", same())),
        next: found.next.as_deref().map(|next| link("/messages", same().chain([("after", next)]))),
        rows: found.messages.into_iter().map(FoundRow::new).collect(),
        t,
        frame: viewer.frame,
    })
}

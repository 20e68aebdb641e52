//! Retrying and skipping deliveries: one, those that are marked, all that match.

use super::Held;
use super::failures::{FILTERS, filter, same};
use super::fields::{Fields, back};
use super::page::{self, PageProblem, Shown};
use super::texts::Texts;
use super::viewer::{PageFrame, Posted, Viewer};
use crate::config::model::Right;
use crate::rest::{Operated, operate_each};
use askama::Template;
use axum::extract::State;
use busbar_core::{Act, Code, DeliveryView, Problem, States};

/// At once; whoever has more does it again.
const MANY: u32 = 500;
const RATE: u32 = 50;

/// Asks before many are retried, or one is skipped: that cannot be taken back.
#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    t: &'static Texts,
    frame: PageFrame,
    may_operate: bool,
    is_retry: bool,
    /// Where the form goes.
    action: &'static str,
    kept: Vec<(String, String)>,
    /// Which deliveries, in words; none of those that are named one by one.
    scope: Vec<(&'static str, String)>,
    count: usize,
    /// There are more than are done at once.
    is_many: bool,
    rate: Option<u32>,
    to: String,
}

#[derive(Template)]
#[template(path = "operated.html")]
struct OperatedPage {
    t: &'static Texts,
    frame: PageFrame,
    is_retry: bool,
    operated: Operated,
    to: String,
}

fn act(fields: &Fields) -> Result<Act, Problem> {
    match fields.get("act") {
        Some("retry") => Ok(Act::Retry),
        Some("skip") => Ok(Act::Skip),
        _ => Err(Problem::new(Code::BadRequest, "the form says neither to retry nor to skip").at("act")),
    }
}

fn shown(posted: Posted, act: &Act, operated: Operated) -> Shown {
    if operated.refused.is_empty() && operated.next.is_none() {
        return Ok(posted.done(act.deed().as_str(), operated.done));
    }
    let to = back(posted.form.get("to")).to_string();
    let frame = posted.viewer.frame;
    page::html(&OperatedPage { t: frame.texts(), frame, is_retry: *act == Act::Retry, operated, to })
}

/// Those that a form names: by the button of one, or by their marks.
pub async fn those(State(console): State<Held>, posted: Posted) -> Shown {
    posted.viewer.holder.require(Right::Operate)?;
    let form = &posted.form;
    let (act, ids): (Act, Vec<&str>) = match (form.get("retry"), form.get("skip")) {
        (Some(id), _) => (Act::Retry, vec![id]),
        (None, Some(id)) => (Act::Skip, vec![id]),
        (None, None) => (act(form)?, form.all("id").collect()),
    };
    if ids.is_empty() {
        return Err(Problem::new(Code::BadRequest, "no delivery is marked").at("id").into());
    }
    if act == Act::Skip && form.get("sure").is_none() {
        let kept = ids.iter().map(|id| ("id".to_string(), (*id).to_string())).collect();
        let (count, to) = (ids.len(), back(form.get("to")).to_string());
        let frame = posted.viewer.frame;
        let (t, action, is_many) = (frame.texts(), "/failures", false);
        return page::html(&ConfirmPage {
            t,
            frame,
            may_operate: true,
            is_retry: false,
            action,
            kept,
            scope: vec![],
            count,
            is_many,
            rate: None,
            to,
        });
    }
    let mut found = Vec::new();
    for id in ids {
        let missing = || Problem::new(Code::NotFound, format!("no delivery `{id}`"));
        found.push(console.api.hub.delivery(id.parse().map_err(|_| missing())?).await?);
    }
    let operated = operate_each(&console.api, &posted.viewer.holder, found, RATE, (&act, &posted.decider()?)).await?;
    shown(posted, &act, operated)
}

/// How many match, and at what rate they are to be done.
pub async fn sure_of_all(State(console): State<Held>, viewer: Viewer) -> Shown {
    let act = act(&viewer.query)?;
    let found = matching(&console, &viewer.query, MANY + 1).await?;
    let most = usize::try_from(MANY).unwrap_or(usize::MAX);
    let t = viewer.frame.texts();
    let kept = same(&viewer.query).filter(|(_, value)| !value.is_empty());
    let kept: Vec<_> = kept.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let gave_up = || ["parked", "dead"].map(|word| t.delivery(word)).join(", ");
    let label = |name: &str| {
        if name == "state" {
            viewer.query.get(name).map_or_else(gave_up, |word| t.delivery(word).into())
        } else {
            viewer.query.owned(name).unwrap_or_default()
        }
    };
    let labels = [t.system, t.type_, t.code, t.key, t.from, t.until, t.state, t.cause].into_iter();
    let scope = labels.zip(FILTERS).map(|(text, name)| (text, label(name))).filter(|(_, value)| !value.is_empty());
    let scope = scope.collect();
    page::html(&ConfirmPage {
        t,
        scope,
        may_operate: viewer.may_operate(),
        is_retry: act == Act::Retry,
        action: "/failures/all",
        kept,
        count: found.len().min(most),
        is_many: found.len() > most,
        rate: Some(RATE),
        to: super::fields::link("/failures", same(&viewer.query)),
        frame: viewer.frame,
    })
}

/// All that match, as many as can be done while somebody waits for the answer.
pub async fn all(State(console): State<Held>, posted: Posted) -> Shown {
    posted.viewer.holder.require(Right::Operate)?;
    let act = act(&posted.form)?;
    let no_rate =
        |text: &str| Problem::new(Code::BadRequest, format!("no rate `{text}`, which is a number from 1")).at("rate");
    let rate = match posted.form.get("rate") {
        None => RATE,
        Some(text) => text.parse().ok().filter(|rate| *rate > 0).ok_or_else(|| no_rate(text))?,
    };
    let in_time = u64::from(rate).saturating_mul(console.api.limits.timeout_ms) / 2_000;
    let most = u32::try_from(in_time).unwrap_or(MANY).clamp(1, MANY);
    let found = matching(&console, &posted.form, most).await?;
    let more = found.len() >= usize::try_from(most).unwrap_or(usize::MAX);
    let next = found.last().filter(|_| more).map(|(_, view)| view.id.to_string());
    let operated = operate_each(&console.api, &posted.viewer.holder, found, rate, (&act, &posted.decider()?)).await?;
    shown(posted, &act, Operated { next, ..operated })
}

/// As REST does it, those that gave up, unless another state is asked for.
async fn matching(console: &Held, fields: &Fields, limit: u32) -> Result<Vec<(i64, DeliveryView)>, PageProblem> {
    let filter = busbar_core::DeliveryFilter { limit, ..filter(fields, States::GaveUp)? };
    Ok(console.api.hub.store.deliveries(&filter).await?)
}

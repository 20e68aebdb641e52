//! One message: what came in, what was called, what came back, what went out.

use super::Held;
use super::fields::link;
use super::page::{self, Shown};
use super::shown::{CutText, ErrorShown, Moment, Room, line};
use super::texts::Texts;
use super::viewer::{PageFrame, Viewer};
use crate::rest::trace;
use crate::rest::views::{CallShown, Delivery, IntakeShown, Trace};
use askama::Template;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use busbar_core::{Act, Code, DeliveryState, Problem};
use serde_json::Value;

/// For all texts of the page together, so that it stays small; what is cut is in `raw`.
const ROOM: usize = 30_000;
const DATA_BYTES_MAX: usize = 8_000;
const CALL_BYTES_MAX: usize = 1_500;
/// Of each delivery the last ones.
const CALLS_MAX: usize = 10;
const DELIVERIES_MAX: usize = 12;
const DETAIL_BYTES_MAX: usize = 1_000;

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    t: &'static Texts,
    frame: PageFrame,
    may_operate: bool,
    may_read_personal: bool,
    seq: String,
    received_at: Moment,
    attributes: Vec<Attribute>,
    data: CutText,
    event: CutText,
    intake: Option<IntakeRow>,
    deliveries: Vec<DeliveryBlock>,
    more: usize,
}

/// An attribute, with where it leads.
struct Attribute {
    name: String,
    value: String,
    link: Option<String>,
}

struct IntakeRow {
    link: String,
    kind: String,
    system: String,
    name: String,
    at: Moment,
    outcome: String,
    error: Option<ErrorShown>,
}

struct DeliveryBlock {
    id: String,
    system: String,
    key: Option<String>,
    state: String,
    attempts: u32,
    next_at: Option<Moment>,
    updated_at: Moment,
    by: Option<String>,
    error: Option<ErrorShown>,
    edited: Option<CutText>,
    calls: Vec<CallBlock>,
    earlier: usize,
    fits: Fits,
}

struct CallBlock {
    attempt: u32,
    kind: String,
    outcome: String,
    at: Moment,
    ms: u64,
    request: CutText,
    answer: Option<CutText>,
}

/// What may be done to a delivery in its state.
#[derive(Clone, Copy)]
pub struct Fits {
    pub retry: bool,
    pub skip: bool,
}

impl Fits {
    pub fn of(state: &str) -> Self {
        let fits = |act: Act| DeliveryState::parse(state).is_some_and(|state| act.fits(state));
        Self { retry: fits(Act::Retry), skip: fits(Act::Skip) }
    }
}

impl CallBlock {
    fn new(call: CallShown, room: &mut Room) -> Self {
        Self {
            attempt: call.attempt,
            kind: call.kind,
            outcome: line(&call.outcome),
            at: Moment::of(call.at),
            ms: call.duration_us.div_ceil(1000),
            request: room.json(&call.request, CALL_BYTES_MAX),
            answer: call.answer.map(|answer| room.json(&answer, CALL_BYTES_MAX)),
        }
    }
}

impl DeliveryBlock {
    fn new(delivery: Delivery, room: &mut Room) -> Self {
        let calls = delivery.calls.unwrap_or_default();
        let earlier = calls.len().saturating_sub(CALLS_MAX);
        Self {
            fits: Fits::of(&delivery.state),
            key: delivery.key.as_deref().map(line),
            state: delivery.state,
            attempts: delivery.attempts,
            next_at: delivery.next_at.map(Moment::of),
            updated_at: Moment::of(delivery.updated_at),
            by: delivery.by,
            error: delivery.error.map(|error| ErrorShown::new(error, DETAIL_BYTES_MAX)),
            edited: delivery.edited.map(|data| room.json(&data, CALL_BYTES_MAX)),
            calls: calls.into_iter().skip(earlier).map(|call| CallBlock::new(call, room)).collect(),
            earlier,
            id: delivery.id,
            system: delivery.system,
        }
    }
}

impl IntakeRow {
    fn new(intake: IntakeShown) -> Self {
        Self {
            link: link("/inputs", [("id", intake.id.as_str())]),
            kind: intake.kind,
            system: line(&intake.system),
            name: line(&intake.name),
            at: Moment::of(intake.at),
            outcome: intake.outcome,
            error: intake.error.map(|error| ErrorShown::new(error, DETAIL_BYTES_MAX)),
        }
    }
}

/// All but the data, in the order of the event.
fn attributes(event: &Value, trace: &Trace, t: &Texts) -> Vec<Attribute> {
    let members = event.as_object().into_iter().flatten().filter(|(name, _)| *name != "data");
    let attribute = |(name, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let link = match name.as_str() {
            "causationid" => Some(link("/messages", [("id", value.as_str())])),
            "subject" | "source" | "type" => Some(link("/messages", [(name.as_str(), value.as_str())])),
            _ => None,
        };
        Attribute { name: name.clone(), value: line(&value), link }
    };
    let own = [(t.place, trace.place.as_deref()), (t.stated_by, trace.stated_by.as_deref())];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let own = own.map(|(name, value)| Attribute { name: name.into(), value: line(value), link: None });
    members.map(attribute).chain(own).collect()
}

fn numbered(seq: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    seq.map(|Path(seq)| seq).map_err(|e| Problem::new(Code::NotFound, e.body_text()))
}

pub async fn page(State(console): State<Held>, viewer: Viewer, seq: Result<Path<String>, PathRejection>) -> Shown {
    let t = viewer.frame.texts();
    let trace = trace(&console.api, &viewer.holder, &numbered(seq)?).await?;
    let mut room = Room(ROOM);
    let mut attributes = attributes(&trace.message, &trace, t);
    attributes.truncate(40);
    let more = trace.deliveries.len().saturating_sub(DELIVERIES_MAX);
    page::html(&MessagePage {
        may_operate: viewer.may_operate(),
        may_read_personal: viewer.may_read_personal(),
        data: room.json(trace.message.get("data").unwrap_or(&Value::Null), DATA_BYTES_MAX),
        event: room.json(&trace.message, DATA_BYTES_MAX),
        attributes,
        received_at: Moment::of(trace.received_at),
        intake: trace.intake.map(IntakeRow::new),
        deliveries: trace
            .deliveries
            .into_iter()
            .take(DELIVERIES_MAX)
            .map(|d| DeliveryBlock::new(d, &mut room))
            .collect(),
        more,
        seq: trace.seq,
        t,
        frame: viewer.frame,
    })
}

/// All of it as JSON, as REST gives it.
pub async fn raw(State(console): State<Held>, viewer: Viewer, seq: Result<Path<String>, PathRejection>) -> Shown {
    Ok(Json(trace(&console.api, &viewer.holder, &numbered(seq)?).await?).into_response())
}

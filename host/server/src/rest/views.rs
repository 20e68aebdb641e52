//! What the journal shows, as JSON.

use super::masks;
use busbar_core::{Call, Catalog, DeliveryView, ErrorRecord, IntakeKind, IntakeView, MessageView, TextFound};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

/// RFC 3339 in UTC with milliseconds.
pub fn time(ms: i64) -> String {
    let time =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// An error as the journal keeps it.
#[derive(Serialize, ToSchema)]
pub struct Error {
    /// Stable, see the list of errors; or the adapter's own.
    pub code: String,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What the far end said last: the status of its answer, or in a word why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl From<ErrorRecord> for Error {
    fn from(from: ErrorRecord) -> Self {
        Self { code: from.code, detail: from.detail, place: from.place, answer: from.answer }
    }
}

impl Error {
    pub fn code_and_place(self) -> (String, Option<String>) {
        (self.code, self.place)
    }
}

/// One effect of an adapter with its answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CallShown {
    pub attempt: u32,
    pub ordinal: u32,
    /// `http`, `ask`, `state`, `publish` or `file`.
    pub kind: String,
    pub request: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// `ok`, `recorded` (answered from the record, not sent again), `withheld` (not sent: an earlier attempt did, and
    /// nobody knows what came of it), or what went wrong.
    pub outcome: String,
    pub at: String,
    pub duration_us: u64,
}

/// One delivery.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Delivery {
    pub id: String,
    pub system: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `ready`, `done`, `parked`, `waiting` (behind a parked one), `dead` or `skipped`.
    pub state: String,
    pub attempts: u32,
    /// While `ready` after a failure: not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
    pub updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// Data that a person put in place of the message's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<Value>,
    /// Who retried, edited or skipped it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Vec<CallShown>>,
}

/// A delivery in a list of deliveries.
#[derive(Serialize, ToSchema)]
pub struct DeliveryFound {
    /// `seq` of its message.
    pub message: String,
    /// The type of its message.
    pub r#type: String,
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
pub struct DeliveriesFound {
    pub deliveries: Vec<DeliveryFound>,
    /// Give it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A message in a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Message)]
pub struct MessageShown {
    /// The journal's number of the message.
    pub seq: String,
    pub id: String,
    pub source: String,
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    pub received_at: String,
    pub deliveries: Vec<Delivery>,
}

/// A page of messages, newest first.
#[derive(Serialize, ToSchema)]
pub struct Messages {
    pub messages: Vec<MessageShown>,
    /// Give it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One message with everything that happened to it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Trace {
    pub seq: String,
    pub received_at: String,
    /// The CloudEvent.
    pub message: Value,
    /// Where in the input it was found, in the adapter's words: `***` without the right `read-personal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The key or publisher that stated it: `key:crm`, `publisher:crm`. Absent of what a system states: its source
    /// names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_by: Option<String>,
    /// The input it came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intake: Option<IntakeShown>,
    pub deliveries: Vec<Delivery>,
}

/// One input from outside.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Intake)]
pub struct IntakeShown {
    pub id: String,
    /// `file`, `hook`, `poll`, `rest`, `amqp`, `connection`, `delivery` or `question`.
    pub kind: String,
    pub system: String,
    pub name: String,
    pub at: String,
    /// `accepted`, `repeated`, `incomplete` (some entries wait for a person) or `refused`; of such an entry `left-out`
    /// or `differing`, and `accepted` or `dismissed` once it is decided.
    pub outcome: String,
    pub messages: u64,
    pub duplicates: u64,
    /// Known messages whose content differs now; the first one stands.
    pub differing: u64,
    /// Entries that the adapter left out while it took the others.
    pub left_out: u64,
    /// Of an entry: the input that it came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// Of an entry that differs from a known message: what it states, as a CloudEvent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// Who decided about an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How often it was refused: of refusals of one kind and day the first ones have an entry each, and the last of those
    /// counts the others, a few seconds late.
    pub times: u64,
    /// When it was refused last, where that was more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// Of a question: who asked; of what was refused to a key or a publisher: who stated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallShown>,
}

/// Inputs, newest first.
#[derive(Serialize, ToSchema)]
pub struct Intakes {
    pub intakes: Vec<IntakeShown>,
}

/// Shows records to somebody who may or may not see personal data.
pub struct Shower<'a> {
    pub catalog: &'a Catalog,
    pub personal: bool,
}

impl Shower<'_> {
    pub fn page(&self, found: Vec<MessageView>, limit: usize) -> Messages {
        let next = if found.len() < limit { None } else { found.last().map(|m| m.seq.to_string()) };
        Messages { messages: found.into_iter().map(|m| self.message(m)).collect(), next }
    }

    pub fn text_found(&self, found: TextFound) -> Messages {
        let next = found.next.map(|seq| seq.to_string());
        Messages { messages: found.messages.into_iter().map(|m| self.message(m)).collect(), next }
    }

    fn message(&self, view: MessageView) -> MessageShown {
        let MessageView { seq, message, received_at_ms, deliveries, .. } = view;
        MessageShown {
            seq: seq.to_string(),
            id: message.id,
            source: message.source,
            r#type: message.r#type,
            subject: message.subject,
            time: message.time,
            received_at: time(received_at_ms),
            deliveries: deliveries.into_iter().map(|d| self.delivery(d, false)).collect(),
        }
    }

    pub fn trace(&self, view: MessageView, intake: Option<IntakeView>) -> Trace {
        let MessageView { seq, mut message, received_at_ms, place, stated_by, deliveries, .. } = view;
        if !self.personal {
            message.data = self.catalog.mask(&message.r#type, &message.data).into();
        }
        Trace {
            seq: seq.to_string(),
            received_at: time(received_at_ms),
            message: message.to_structured(),
            place: if self.personal { place } else { place.map(|_| masks::hidden()) },
            stated_by: stated_by.map(String::from),
            intake: intake.map(|i| self.intake(i)),
            deliveries: deliveries.into_iter().map(|d| self.delivery(d, true)).collect(),
        }
    }

    pub fn found(&self, seq: i64, view: DeliveryView) -> DeliveryFound {
        DeliveryFound { message: seq.to_string(), r#type: view.r#type.clone(), delivery: self.delivery(view, false) }
    }

    fn delivery(&self, view: DeliveryView, with_calls: bool) -> Delivery {
        let next_at = view.next_try_ms().map(time);
        Delivery {
            id: view.id.to_string(),
            system: view.system,
            key: view.key,
            state: view.state.as_str().to_string(),
            attempts: view.attempts,
            next_at,
            updated_at: time(view.updated_at_ms),
            error: view.error.map(|error| self.error(error)),
            // The schema is the message's, which is not at hand here: nothing of it is shown without the right.
            edited: view.edited.map(|data| if self.personal { data } else { Value::String("***".into()) }),
            by: view.by,
            calls: with_calls.then(|| view.calls.into_iter().map(|c| self.call(c)).collect()),
        }
    }

    fn error(&self, error: ErrorRecord) -> Error {
        if self.personal { Error::from(error) } else { masks::error(error) }
    }

    fn call(&self, call: Call) -> CallShown {
        let call = if self.personal { call } else { masks::call(self.catalog, call) };
        CallShown {
            attempt: call.attempt,
            ordinal: call.ordinal,
            kind: call.kind.as_str().to_string(),
            request: call.request,
            answer: call.answer,
            outcome: call.outcome.into(),
            at: time(call.started_at_ms),
            duration_us: call.duration_us,
        }
    }

    fn event(&self, mut event: Value) -> Value {
        if !self.personal {
            let kind = event["type"].as_str().unwrap_or_default().to_string();
            event["data"] = self.catalog.mask(&kind, &event["data"]);
        }
        event
    }

    pub fn intake(&self, view: IntakeView) -> IntakeShown {
        let IntakeView { intake, calls } = view;
        IntakeShown {
            id: intake.id,
            kind: intake.kind.as_str().to_string(),
            system: intake.system,
            name: match intake.kind {
                IntakeKind::Hook if !self.personal => masks::request_name(&intake.name),
                _ => intake.name,
            },
            at: time(intake.at_ms),
            outcome: intake.outcome.as_str().to_string(),
            messages: intake.messages,
            duplicates: intake.duplicates,
            differing: intake.differing,
            left_out: intake.left_out,
            part_of: intake.part_of,
            event: intake.event.map(|event| self.event(event)),
            by: intake.by,
            times: intake.times,
            last_at: intake.last_at_ms.map(time),
            stated_by: intake.stated_by.map(String::from),
            error: intake.error.map(|error| self.error(error)),
            calls: calls.into_iter().map(|c| self.call(c)).collect(),
        }
    }
}

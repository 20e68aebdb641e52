//! Stable error codes. Every error that leaves the hub has one; `busbar print errors` lists them.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write;

/// What the one who sent the input should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The same input may succeed later.
    Retry,
    /// The same input will never succeed.
    Reject,
    /// A defect of the hub or of an adapter.
    Bug,
}

/// Who may read the text and the place of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Every reader: it is the hub's own, and quotes nothing but what every reader sees anyway.
    Shown,
    /// Only who may see personal data: it may quote what came in, or what a system said.
    Hidden,
}

macro_rules! codes {
    ($($variant:ident $code:literal $status:literal $class:ident $text:ident $meaning:literal $remedy:literal;)*) => {
        /// A stable code. Its text never changes; new ones may be added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $meaning] $variant,)* }

        /// Every code, in the order of the generated list.
        pub const ALL: &[Code] = &[$(Code::$variant,)*];

        impl Code {
            /// The code as it appears in problems, the journal and metrics.
            pub fn as_str(self) -> &'static str { match self { $(Code::$variant => $code,)* } }
            /// The HTTP status of a problem with this code.
            pub fn status(self) -> u16 { match self { $(Code::$variant => $status,)* } }
            /// What the sender should do.
            pub fn class(self) -> Class { match self { $(Code::$variant => Class::$class,)* } }
            /// Who may read the text of an error with this code.
            pub fn text(self) -> Text { match self { $(Code::$variant => Text::$text,)* } }
            /// One sentence for the list of errors.
            pub fn meaning(self) -> &'static str { match self { $(Code::$variant => $meaning,)* } }
            /// What to do about it.
            pub fn remedy(self) -> &'static str { match self { $(Code::$variant => $remedy,)* } }
        }
    };
}

codes! {
    InvalidJson "invalid-json" 400 Reject Shown "The body is not JSON." "Send valid JSON, nested at most 64 deep.";
    RepeatedName "repeated-name" 400 Reject Hidden "A name stands twice in one JSON object." "Send each name once: programs disagree about which value counts.";
    BadRequest "bad-request" 400 Reject Hidden "The request is no well-formed HTTP/1.1: its chunks, or not exactly one Host." "See RFC 9112, sections 3.2 and 7.1; a proxy in between may have damaged it.";
    HeadersTooLarge "headers-too-large" 431 Reject Shown "The headers are over their limit." "Send fewer or shorter ones, or raise http.header-bytes-max.";
    UnsupportedEncoding "unsupported-encoding" 415 Reject Hidden "The body is compressed, or encoded in another way." "Send it as it is, without Content-Encoding.";
    InvalidEvent "invalid-event" 400 Reject Hidden "A CloudEvents attribute is missing or malformed." "See CloudEvents 1.0; `place` names the attribute.";
    InvalidData "invalid-data" 422 Reject Shown "The data does not match the schema of its type." "`place` names the field; the schema is under /v1/schemas/<type>.";
    UnknownType "unknown-type" 422 Reject Shown "No schema is known for this type." "Use a released type, or add its schema to the deployment.";
    NotAQuestion "not-a-question" 422 Reject Shown "The type is not a question, or a question was sent as a message." "Questions go to /v1/questions or carry reply_to; messages to /v1/messages.";
    UnsupportedMediaType "unsupported-media-type" 415 Reject Hidden "The content type is none of the CloudEvents modes." "Use application/cloudevents+json, application/cloudevents-batch+json, or application/json with ce- headers.";
    IdReused "id-reused" 409 Reject Shown "A message with this source and id but other content was accepted earlier." "Give every message its own id.";
    KnownDiffers "known-differs" 409 Reject Shown "An input states a known id with other content; the first statement stands." "Compare the two; then accept it as a fact of its own, or dismiss it: POST /v1/intakes/{id}/accept or /dismiss.";
    NotOpen "not-open" 409 Reject Shown "Nothing is to be decided about this intake, or somebody has." "See its outcome; only `differing` and `left-out` ones wait for a person.";
    TooLarge "too-large" 413 Reject Shown "A body, field or batch is over its limit." "Split it, or raise the limit in busbar.toml.";
    Unauthorized "unauthorized" 401 Reject Hidden "No valid key or credential came with the request." "Send `Authorization: Bearer <key>`, or show a certificate that an entry of [[http.keys]] names.";
    Throttled "throttled" 429 Retry Shown "Too many wrong keys or passwords came from this address." "Send the right one, which is served at once; a wrong one again after Retry-After.";
    Forbidden "forbidden" 403 Reject Shown "The key or publisher may not do, state or ask this." "See its rights, sources, types and questions in [[http.keys]] or [[amqp.publishers]].";
    UnknownPublisher "unknown-publisher" 403 Reject Shown "The hub does not know who published the message." "Set the property user-id to a user of [[amqp.publishers]], or publish to that publisher's own exchange.";
    ReplyRefused "reply-refused" 403 Reject Shown "Answers do not go to this queue." "Use direct reply-to (amq.rabbitmq.reply-to), or a queue that amqp.reply-queues names.";
    NotFound "not-found" 404 Reject Shown "There is nothing at this address." "Check the path and the identifier.";
    MethodNotAllowed "method-not-allowed" 405 Reject Shown "The address exists, but not for this method." "See /openapi.json.";
    Timeout "timeout" 503 Retry Shown "The request took longer than its limit." "Try again; the same id is safe to send twice.";
    Busy "busy" 503 Retry Shown "A bound of the hub is reached; nothing was taken." "Try again after Retry-After.";
    StoreUnavailable "store-unavailable" 503 Retry Shown "The store cannot be written." "Try again; see /readyz and the hub's log.";
    BrokerUnavailable "broker-unavailable" 503 Retry Shown "The broker cannot be reached." "The hub reconnects by itself; see /readyz.";
    BrokerRefused "broker-refused" 422 Reject Shown "The broker does not take this message: it is larger than its limits allow." "See the detail; make the message smaller, or raise the broker's limit, then retry.";
    BrokerUnsafe "broker-unsafe" 503 Retry Shown "The broker is not set up so that nothing is lost." "See the detail; mend it and start the hub again.";
    NotParked "not-parked" 409 Reject Shown "The delivery is not in a state that fits the operation." "See its state: waiting deliveries are only skipped, finished ones left, and ready ones edited only while nothing was done by them.";
    UnderWay "under-way" 409 Reject Shown "The delivery is being made just now." "See how that ends, then decide.";
    AnotherHub "another-hub" 409 Reject Shown "Another hub makes this delivery." "Ask the other hub: only that one knows whether the delivery is under way.";
    Unroutable "unroutable" 503 Retry Shown "The broker had no queue for the message." "Bind a queue, or give the system a `queue` in busbar.toml.";
    RouteLoop "route-loop" 508 Reject Hidden "Systems cause each other's messages without end." "See the detail for the chain; break it by the `when` of a route.";
    NoAnswerer "no-answerer" 404 Reject Shown "No route leads this question to a system." "Add a route for the type.";
    AnswerTimeout "answer-timeout" 504 Retry Shown "The answering system did not answer before the deadline." "Try again, or raise the deadline.";
    AnswerFailed "answer-failed" 502 Retry Hidden "The answering system failed." "See the detail and the journal of that system.";
    ConditionFailed "condition-failed" 422 Reject Hidden "A route's expression could not be evaluated for this message." "Mend the expression (`has(data.field)`), then retry the delivery.";
    Rejected "rejected" 422 Reject Hidden "An adapter or a system rejected the input for good." "See the detail; mend the input and send it again.";
    Transient "transient" 503 Retry Hidden "A system could not be reached or asked to try later." "The hub tries again by itself.";
    RateLimited "rate-limited" 429 Retry Hidden "A system asked to slow down." "The hub tries again by itself.";
    SystemUnauthorized "system-unauthorized" 502 Retry Hidden "A system refused the hub's credentials." "Check the system's credentials in busbar.toml.";
    UnknownOutcome "unknown-outcome" 502 Reject Hidden "A call was sent and no answer came: it may or may not have happened." "Ask the system, then retry or skip the delivery.";
    AdapterTrap "adapter-trap" 500 Bug Hidden "The adapter crashed; its instance was thrown away." "Report it with the input; see `busbar adapter try`.";
    AdapterTimeout "adapter-timeout" 504 Retry Shown "The adapter ran longer than its deadline." "Raise `limits.deadline-ms`, or mend the adapter.";
    AdapterLimit "adapter-limit" 500 Reject Shown "The adapter reached one of its limits." "See the detail for which; raise it under `limits` if it is right.";
    AdapterOther "adapter-other" 502 Retry Hidden "The adapter failed in a way of its own." "See the detail.";
    BrokenAdapter "broken-adapter" 500 Reject Hidden "The adapter's file is no component that the host can load." "See the detail; build it anew with `busbar adapter build`.";
    CompileLimit "compile-limit" 500 Reject Shown "The adapter's file is too large, or compiling it takes too much." "See the detail for which limit; raise it under [compile] if you trust the adapter.";
    MissingGrant "missing-grant" 403 Reject Shown "The adapter asked for something the system has no grant for." "Add the grant under the system's `grants`, if it should have it.";
    InvalidEmit "invalid-emit" 502 Bug Hidden "The adapter stated a message that its schema refuses." "Report it with the input; nothing was taken over.";
    NoSuchEntry "no-such-entry" 404 Reject Shown "The system's adapter has no such entry point." "See `busbar adapter inspect`.";
    InUse "in-use" 409 Reject Shown "Another hub has the store or the folder." "Stop that one, or give each hub a store and folders of its own.";
    ClockJumped "clock-jumped" 503 Retry Shown "The clock is further ahead of the journal than retention.clock-jump-days." "Set the clock right, or confirm it: `busbar journal trust-clock <deployment>`.";
    FileUnreadable "file-unreadable" 500 Retry Hidden "The file could not be read or moved." "Check the folder's permissions and free space.";
    Internal "internal" 500 Bug Hidden "Something that should not happen." "Report it with the hub's log.";
}

/// A detail may quote what came in, and goes into headers, log and journal.
pub const DETAIL_BYTES_MAX: usize = 2_000;
/// Of a place in an input, which an adapter names.
pub const PLACE_BYTES_MAX: usize = 500;

/// At most so many bytes of a text, the rest for three dots.
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// One error: a stable code, a text for a person, and the place in the input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {detail}{}", code.as_str(), place.as_ref().map(|p| format!(" (at {p})")).unwrap_or_default())]
pub struct Problem {
    pub code: Code,
    /// For a person; may quote the input's structure, never secrets.
    pub detail: String,
    /// JSON Pointer, attribute name, or place in a file.
    pub place: Option<String>,
    /// An adapter's own code of a rejection, e.g. `total-mismatch`.
    pub own_code: Option<String>,
    /// Milliseconds after which trying again makes sense, where the far end said so.
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: cut(detail.into(), DETAIL_BYTES_MAX), place: None, own_code: None, retry_after_ms: None }
    }

    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(cut(place.into(), PLACE_BYTES_MAX));
        self
    }

    /// The record that goes to the journal.
    pub fn record(&self) -> ErrorRecord {
        ErrorRecord {
            code: self.own_code.clone().unwrap_or_else(|| self.code.as_str().to_string()),
            detail: self.detail.clone(),
            place: self.place.clone(),
            by_adapter: self.own_code.is_some(),
            answer: None,
        }
    }
}

/// An error as the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    pub code: String,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<String>,
    /// Code and text are an adapter's own.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub by_adapter: bool,
    /// Of an attempt: what the far end said last, as the status of its answer, or in a word why there was none:
    /// `503`, `no-answer`, `unreachable`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<String>,
}

impl ErrorRecord {
    /// Who may read its text and place.
    pub fn text(&self) -> Text {
        let known = ALL.iter().find(|code| !self.by_adapter && code.as_str() == self.code);
        known.map_or(Text::Hidden, |code| code.text())
    }
}

/// A text in which nothing changes how a terminal or a log looks: control characters, and those that turn the direction
/// of writing, stand as their code, in the form of JSON (RFC 8259, section 7).
pub fn visible(text: &str) -> Cow<'_, str> {
    let hides = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(hides) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if hides(c) {
            // Writing into a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.into()
}

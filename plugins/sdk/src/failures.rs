use serde::de::DeserializeOwned;

use crate::{Delay, Draft, Failure, Header, Message, Rejection};

/// Input that can never succeed as it is. `code` is listed in the adapter's README; `place` is a
/// field path or a place in a file, empty when there is none.
pub fn rejection(code: &str, reason: impl Into<String>, place: impl Into<String>) -> Rejection {
    let place = place.into();
    Rejection { code: code.to_owned(), reason: reason.into(), place: (!place.is_empty()).then_some(place) }
}

/// [`rejection`] as the failure of a call.
pub fn rejected(code: &str, reason: impl Into<String>, place: impl Into<String>) -> Failure {
    Failure::Rejected(rejection(code, reason, place))
}

/// Nothing was done; trying again after `retry_after_ms` milliseconds may succeed.
pub fn transient(reason: impl Into<String>, retry_after_ms: Option<u64>) -> Failure {
    Failure::Transient(Delay { reason: reason.into(), retry_after_ms })
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Failure::Rejected(rejection)
    }
}

/// A draft with only what every message has; set the other fields with `..`.
pub fn draft(id: impl Into<String>, r#type: &str, data: String) -> Draft {
    Draft { id: id.into(), type_: r#type.to_owned(), subject: None, time: None, partition_key: None, data, place: None }
}

/// The message's data as a struct.
///
/// # Errors
/// `rejected(unreadable-data)` naming what does not fit: the host has checked the schema, so this is
/// a message of a type the adapter was not written for.
pub fn data_of<T: DeserializeOwned>(message: &Message) -> Result<T, Failure> {
    serde_json::from_str(&message.data).map_err(|error| {
        rejected("unreadable-data", format!("data of {} {}: {error}", message.type_, message.id), "/data")
    })
}

/// The first header of this name, in any case.
pub fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.as_str())
}

//! Documents that wait in the state until 1C fetches them (`mode=query`) and says so (`mode=success`).
//!
//! The state has no transactions between calls: what two calls write at once, one of them writes over. So each value has one
//! writer. Deliveries, one at a time by the route's key, number the documents and say which number is next; the exchange
//! says which is the first that still waits.

use busbar_sdk::encoding::Encoding;
use busbar_sdk::memory::Store;
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, rejected, transient};

use crate::outgoing::Document;
use crate::settings::Settings;
use crate::writing;

/// Written by deliveries alone, as are the documents until they are fetched.
const NEXT_KEY: &str = "documents-next";
/// Written by the exchange alone.
const FIRST_KEY: &str = "documents-first";
const WAITING_MAX: u64 = 10_000;
const DOCUMENT_BYTES_MAX: usize = 60_000;
/// Of one answer; the rest is for the next exchange. The host allows 64 writes a call, and each is deleted.
const ANSWER_DOCUMENTS_MAX: u64 = 60;
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Look again so often whether 1C has fetched some.
const FULL_WAIT_MS: u64 = 60_000;

/// Keeps the document behind those that wait.
///
/// # Errors
/// `rejected` with `not-configured`, `document-too-large`; `transient` when 1C does not fetch what waits.
pub fn keep(settings: &Settings, store: &mut dyn Store, document: &Document) -> Result<(), Failure> {
    if !settings.keep_for_query {
        let reason = "documents are kept for 1C only with `keep-for-query = true`, and routes with one constant `key`";
        return Err(rejected("not-configured", reason, "config, keep-for-query"));
    }
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let reason = format!("a document of {} bytes; at most {DOCUMENT_BYTES_MAX} are kept", bytes.len());
        return Err(rejected("document-too-large", reason, "/data"));
    }
    let next = number(store, NEXT_KEY);
    if next.saturating_sub(number(store, FIRST_KEY)) >= WAITING_MAX {
        return Err(transient(format!("{WAITING_MAX} documents wait for 1C to fetch them"), Some(FULL_WAIT_MS)));
    }
    store.set(&key(next), bytes);
    store.set(NEXT_KEY, (next + 1).to_string().into_bytes());
    Ok(())
}

/// The file of those that wait, and the number up to which it has them: what [`fetched`] is to be told when 1C has it.
pub fn file(store: &mut dyn Store) -> (Vec<u8>, u64) {
    let (first, next) = (number(store, FIRST_KEY), number(store, NEXT_KEY));
    let (mut documents, mut bytes_given, mut end) = (Vec::new(), 0, first);
    for at in first..next.min(first.saturating_add(ANSWER_DOCUMENTS_MAX)) {
        let bytes = store.get(&key(at)).unwrap_or_default();
        bytes_given += bytes.len();
        if bytes_given > ANSWER_BYTES_MAX {
            break;
        }
        documents.extend(serde_json::from_slice::<Document>(&bytes).ok());
        end = at + 1;
    }
    let mut file = Vec::new();
    writing::write(&documents, XmlWriter::new(Encoding::Utf8, |bytes| file.extend_from_slice(bytes)));
    (file, end)
}

/// 1C has all before `end`.
pub fn fetched(store: &mut dyn Store, end: u64) {
    let first = number(store, FIRST_KEY);
    if first >= end {
        return;
    }
    for at in first..end {
        store.delete(&key(at));
    }
    store.set(FIRST_KEY, end.to_string().into_bytes());
}

fn key(number: u64) -> String {
    format!("document-{number}")
}

fn number(store: &mut dyn Store, key: &str) -> u64 {
    store.get(key).and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok()).unwrap_or(0)
}

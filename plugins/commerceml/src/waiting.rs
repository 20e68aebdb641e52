//! Documents that wait in the state until 1C fetches them (`mode=query`) and says so (`mode=success`).

use busbar_sdk::encoding::Encoding;
use busbar_sdk::memory::Store;
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, ids, rejected, transient};

use crate::outgoing::Document;
use crate::writing;

/// Names of those that wait, in order.
const LIST_KEY: &str = "waiting";
/// The list stays below the 64 KiB that a value of the state may have.
const WAITING_MAX: usize = 1000;
const DOCUMENT_BYTES_MAX: usize = 60_000;
/// Of one answer; the rest is for the next exchange.
const ANSWER_DOCUMENTS_MAX: usize = 200;
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Look again so often whether 1C has fetched some.
const FULL_WAIT_MS: u64 = 60_000;

/// Keeps the document; one that waits already is replaced in its place.
///
/// # Errors
/// `rejected(document-too-large)`; `transient` when 1C has not fetched what waits.
pub fn keep(store: &mut dyn Store, document: &Document) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let reason = format!("a document of {} bytes; at most {DOCUMENT_BYTES_MAX} are kept", bytes.len());
        return Err(rejected("document-too-large", reason, "/data"));
    }
    let name = ids::derived(&[&document.operation, &document.id]);
    let mut names = list(store);
    if !names.contains(&name) {
        if names.len() >= WAITING_MAX {
            return Err(transient(format!("{WAITING_MAX} documents wait for 1C to fetch them"), Some(FULL_WAIT_MS)));
        }
        names.push(name.clone());
        put(store, &names);
    }
    store.set(&key(&name), bytes);
    Ok(())
}

/// The file of those that wait, and what [`fetched`] is to be told when 1C has it.
pub fn file(store: &mut dyn Store) -> (Vec<u8>, Vec<String>) {
    let (mut documents, mut given, mut bytes_given) = (Vec::new(), Vec::new(), 0);
    for name in list(store).into_iter().take(ANSWER_DOCUMENTS_MAX) {
        let bytes = store.get(&key(&name)).unwrap_or_default();
        bytes_given += bytes.len();
        if bytes_given > ANSWER_BYTES_MAX {
            break;
        }
        if let Ok(document) = serde_json::from_slice::<Document>(&bytes) {
            documents.push(document);
            given.push(version(&name, &bytes));
        }
    }
    let mut file = Vec::new();
    writing::write(&documents, XmlWriter::new(Encoding::Utf8, |bytes| file.extend_from_slice(bytes)));
    (file, given)
}

/// 1C has these. One that was replaced meanwhile goes on waiting.
pub fn fetched(store: &mut dyn Store, given: &[String]) {
    let mut names = list(store);
    names.retain(|name| {
        let is_fetched = store.get(&key(name)).is_some_and(|bytes| given.contains(&version(name, &bytes)));
        if is_fetched {
            store.delete(&key(name));
        }
        !is_fetched
    });
    put(store, &names);
}

fn version(name: &str, bytes: &[u8]) -> String {
    ids::derived(&[name, &String::from_utf8_lossy(bytes)])
}

fn key(name: &str) -> String {
    format!("document-{name}")
}

fn list(store: &mut dyn Store) -> Vec<String> {
    store.get(LIST_KEY).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn put(store: &mut dyn Store, names: &[String]) {
    store.set(LIST_KEY, serde_json::to_vec(names).unwrap_or_default());
}

//! What every adapter must do alike, shown with its own cases through its component: the same input always gives the
//! same, what comes again states nothing new, and what it says of itself is true.

mod codes;
mod identity;
mod keys;
mod refusals;

use crate::hub::{LOADED, RUNTIME, root};
use busbar_core::Rules;
use busbar_server::cli::{Input, Setup, read_case, run_scripted};
use busbar_server::config::model::Manifest;
use busbar_server::wasm::Entry;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

pub static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let catalog = busbar_server::deployment::catalog(&root().join("schemas")).unwrap();
    Arc::new(Rules::new(catalog, Vec::new()))
});

fn adapters() -> impl Iterator<Item = &'static String> {
    LOADED.keys().filter(|name| root().join("plugins").join(name).join("adapter.toml").exists())
}

fn readme(adapter: &str) -> String {
    std::fs::read_to_string(root().join("plugins").join(adapter).join("README.md")).unwrap()
}

fn manifest(adapter: &str) -> &'static Manifest {
    LOADED[adapter].inspection.manifest.as_ref().unwrap()
}

/// (name, what is fed in) of each case.
fn cases(adapter: &str) -> Vec<(String, Setup, Input)> {
    let folder = root().join("plugins").join(adapter).join("cases");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    folders.sort();
    let read = |folder: PathBuf| {
        let (mut setup, input) = read_case(&LOADED[adapter], &folder).unwrap();
        // Runs are compared: each must be at the same moment.
        setup.now.get_or_insert_with(|| "2026-11-22T12:00:00Z".into());
        (format!("{adapter}/{}", folder.file_name().unwrap().to_string_lossy()), setup, input)
    };
    folders.into_iter().map(read).collect()
}

async fn run(adapter: &str, setup: Setup, input: Input) -> Value {
    run_scripted(&RUNTIME, &LOADED[adapter], &RULES, setup, input).await.unwrap().show()
}

fn ids(shown: &Value) -> BTreeSet<String> {
    let messages = shown["messages"].as_array().unwrap();
    messages.iter().map(|m| m["id"].as_str().unwrap().to_string()).collect()
}

fn types<'a>(shown: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    shown[list].as_array().unwrap().iter().map(|m| m["type"].as_str().unwrap())
}

/// Whether a list of the manifest names this type; `*` says that the settings do.
fn named(list: &[String], kind: &str) -> bool {
    list.iter().any(|name| name == kind || name == "*")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_input_always_gives_the_same() {
    let mut wrong = Vec::new();
    for adapter in adapters() {
        for (case, setup, input) in cases(adapter) {
            let (first, second) = (run(adapter, setup.clone(), input.clone()).await, run(adapter, setup, input).await);
            if first != second {
                wrong.push(format!("{case}:\n  {first}\n  {second}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file or a request that comes a second time, when the first has been committed: by its ids the hub knows all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_states_nothing_new() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for adapter in adapters() {
        for (case, setup, input) in cases(adapter) {
            if ![Entry::Decode, Entry::Receive].contains(&input.entry) {
                continue;
            }
            let first = run(adapter, setup.clone(), input.clone()).await;
            if first["result"] != "ok" || ids(&first).is_empty() {
                continue;
            }
            let mut again = setup;
            for (key, value) in first["state"].as_object().unwrap() {
                match value.as_str() {
                    Some(text) => again.state.insert(key.clone(), text.into()),
                    None => again.state.remove(key),
                };
            }
            let known: Vec<Value> = first["messages"].as_array().unwrap().iter().map(known).collect();
            again.known.extend(known.into_iter().map(|message| serde_json::from_value(message).unwrap()));
            let second = run(adapter, again, input).await;
            tried += 1;
            let new: Vec<_> = ids(&second).difference(&ids(&first)).cloned().collect();
            if !new.is_empty() {
                wrong.push(format!("{case} states anew: {new:?}"));
            }
        }
    }
    println!("{tried} inputs came again");
    assert!(tried > 100, "hardly anything came again");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A message as `known` of a case has it.
pub fn known(message: &Value) -> Value {
    let parts = ["id", "type", "subject", "time", "data"].into_iter().filter(|name| !message[*name].is_null());
    parts.map(|name| (name.to_string(), message[name].clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_does_what_it_says_of_itself_and_no_more() {
    let mut wrong = Vec::new();
    for adapter in adapters() {
        let (said, readme) = (manifest(adapter), readme(adapter));
        let mut entries = BTreeSet::new();
        for (case, setup, input) in cases(adapter) {
            entries.insert(input.entry);
            let shown = run(adapter, setup, input).await;
            wrong.extend(
                types(&shown, "messages").filter(|t| !named(&said.emits, t)).map(|t| format!("{case} states {t}")),
            );
            wrong.extend(types(&shown, "asked").filter(|t| !named(&said.asks, t)).map(|t| format!("{case} asks {t}")));
            let failure = &shown["result"]["failure"];
            if failure["case"] == "rejected" {
                let code = failure["code"].as_str().unwrap();
                if !readme.contains(&format!("`{code}`")) {
                    wrong.push(format!("{case}: `{code}` is not in the adapter's README"));
                }
            }
            if failure["case"] == "hub" && failure["code"].as_str().unwrap().starts_with("adapter-") {
                wrong.push(format!("{case} ends badly: {failure}"));
            }
        }
        for entry in &LOADED[adapter].inspection.exports {
            if !entries.contains(entry) {
                wrong.push(format!("{adapter}: no case of its entry `{entry}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn adapters_are_described_alike_and_registered_with_what_they_export() {
    let table = std::fs::read_to_string(root().join("plugins/README.md")).unwrap();
    let mut wrong = Vec::new();
    for adapter in adapters() {
        let said = manifest(adapter);
        for (what, text) in [("description", &said.description), ("version", &said.version), ("spec", &said.spec)] {
            if text.is_empty() {
                wrong.push(format!("{adapter}: no {what} in adapter.toml"));
            }
        }
        if said.config_schema["additionalProperties"] != json!(false) {
            wrong.push(format!("{adapter}: its settings take any key"));
        }
        described(adapter, &said.config_schema, "", &mut wrong);
        let row = table.lines().find(|line| line.starts_with(&format!("| [{adapter}]({adapter}/README.md) |")));
        let exports = &LOADED[adapter].inspection.exports;
        let listed: BTreeSet<&str> = row
            .and_then(|row| row.split('|').nth(2))
            .unwrap_or_default()
            .split(',')
            .map(|e| e.trim().trim_matches('`'))
            .collect();
        if listed != exports.iter().map(|entry| entry.as_str()).collect() {
            wrong.push(format!("{adapter}: exports {exports:?}, listed are {listed:?}"));
        }
        let readme = readme(adapter);
        for part in ["## Config", "## Source"] {
            if !readme.contains(part) {
                wrong.push(format!("{adapter}: its README has no part `{part}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every property of the settings says what it is.
fn described(adapter: &str, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{at}/{name}");
        if !property["description"].is_string() && property["$ref"].is_null() {
            wrong.push(format!("{adapter}: the setting {place} is not described"));
        }
        described(adapter, property, &place, wrong);
    }
}

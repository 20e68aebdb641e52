//! What real use broke: each input of `../shared/field`, through its adapter's component, gives what its row of the table
//! there asks. The expectations in `fixtures/field.toml` are written from the table, not from the adapters.

use crate::hub::{LOADED, RUNTIME, root};
use crate::samples::files;
use busbar_core::Rules;
use busbar_server::cli::{Input, Setup, run_scripted};
use busbar_server::wasm::Entry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    input: Vec<Asked>,
    /// Files that are no inputs of an adapter, and what uses them.
    other: Vec<Other>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    file: String,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Asked {
    /// Row of the table.
    row: String,
    /// One after another, each as the first that the hub sees of its name; a folder is a case.
    files: Vec<String>,
    /// Settings in a file of the folder, e.g. `config/balance.json`.
    config_file: Option<String>,
    /// Over those.
    #[serde(default)]
    config: Map<String, Value>,
    /// Setup of all, e.g. `ldif/setup.json`.
    setup_file: Option<String>,
    /// How many messages of each type there are after all files, each id once.
    #[serde(default)]
    messages: BTreeMap<String, usize>,
    /// Why the last file is refused.
    rejected: Option<String>,
    /// Codes of the entries that are left out.
    #[serde(default)]
    left_out: Vec<String>,
    /// `<type> <pointer>` to the values there, sorted.
    #[serde(default)]
    values: BTreeMap<String, Vec<Value>>,
    /// Pointers into what a call shows (`/response/status`) to what stands there.
    #[serde(default)]
    shows: BTreeMap<String, Value>,
    /// Whether the failure's words have to hold this.
    says: Option<String>,
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn object(path: &Path) -> Map<String, Value> {
    serde_json::from_slice(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Asked {
    fn setup(&self, base: &Path, file: &str) -> (Setup, Input) {
        let path = base.join(file);
        let mut setup = self.setup_file.as_ref().map(|name| object(&base.join(name))).unwrap_or_default();
        let (name, bytes) = if path.is_dir() {
            setup = object(&path.join("setup.json"));
            ("input.json".to_string(), read(&path.join("input.json")))
        } else if file.ends_with(".setup.json") {
            setup = object(&path);
            (String::new(), Vec::new())
        } else {
            (path.file_name().unwrap().to_string_lossy().into_owned(), read(&path))
        };
        let given = setup.entry("config").or_insert_with(|| json!({})).as_object_mut().unwrap();
        given.extend(self.config_file.as_ref().map(|name| object(&base.join(name))).unwrap_or_default());
        given.extend(self.config.clone());
        setup.entry("now").or_insert_with(|| "2026-11-28T12:00:00+03:00".into());
        let setup: Setup = serde_json::from_value(setup.into()).unwrap_or_else(|e| panic!("{file}: {e}"));
        let entry = setup.entry.unwrap_or(Entry::Decode);
        (setup, Input { entry, name, bytes })
    }

    /// What is otherwise than asked.
    async fn run(&self, base: &Path, rules: &Arc<Rules>) -> Vec<String> {
        let adapter = self.files[0].split('/').next().unwrap();
        let (mut stated, mut left_out) = (BTreeMap::<String, Value>::new(), BTreeSet::<String>::new());
        let mut known = Vec::new();
        let mut shown = Value::Null;
        for file in &self.files {
            let (mut setup, input) = self.setup(base, file);
            setup.known.extend(known.iter().map(|k: &Value| serde_json::from_value(k.clone()).unwrap()));
            shown = run_scripted(&RUNTIME, &LOADED[adapter], rules, setup, input).await.unwrap().show();
            for message in shown["messages"].as_array().unwrap() {
                let id = message["id"].as_str().unwrap().to_string();
                known.push(crate::conformance::known(message));
                stated.entry(id).or_insert_with(|| message.clone());
            }
            left_out.extend(shown["left-out"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap().into()));
        }
        let mut wrong = Vec::new();
        let mut compare = |what: &str, found: Value, asked: Value| {
            if found != asked {
                wrong.push(format!("{what}: {found}, asked {asked}"));
            }
        };
        let failure = &shown["result"]["failure"];
        let refused = failure["code"].as_str().or(failure["case"].as_str());
        compare("refused", json!(refused), json!(self.rejected));
        let mut types = BTreeMap::<&str, usize>::new();
        stated.values().for_each(|message| *types.entry(message["type"].as_str().unwrap()).or_default() += 1);
        compare("messages", json!(types), json!(self.messages));
        compare("left out", json!(left_out), json!(self.left_out));
        for (place, asked) in &self.values {
            let (kind, pointer) = place.split_once(' ').unwrap_or_else(|| panic!("`<type> <pointer>`: {place}"));
            let of_kind = stated.values().filter(|message| message["type"] == kind);
            let mut found: Vec<Value> = of_kind.map(|m| m.pointer(pointer).cloned().unwrap_or_default()).collect();
            found.sort_by_key(Value::to_string);
            compare(place, found.into(), asked.clone().into());
        }
        for (pointer, asked) in &self.shows {
            compare(pointer, shown.pointer(pointer).cloned().unwrap_or_default(), asked.clone());
        }
        let reason = failure["reason"].as_str().unwrap_or_default();
        if self.says.as_ref().is_some_and(|part| !reason.contains(part.as_str())) {
            wrong.push(format!("says `{reason}`, asked are words with {:?}", self.says));
        }
        if !wrong.is_empty() && refused.is_some() && self.rejected.is_none() {
            wrong.push(format!("refused: {reason} at {}", failure["place"]));
        }
        wrong
    }

    fn covers(&self, file: &str) -> bool {
        let own = self.files.iter().any(|given| given == file || file.starts_with(&format!("{given}/")));
        own || [&self.config_file, &self.setup_file].into_iter().flatten().any(|given| given == file)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_input_of_the_field_gives_what_its_row_asks() {
    let base = root().join("../shared/field");
    if !base.exists() {
        println!("skipped: no {}", base.display());
        return;
    }
    let text = std::fs::read_to_string(root().join("tests/fixtures/field.toml")).unwrap();
    let listed: Listed = toml::from_str(&text).unwrap();
    let mut unseen = BTreeSet::new();
    files(&base, &base, &mut unseen);
    for other in &listed.other {
        assert!(unseen.remove(&other.file), "field.toml names {}, which is not there", other.file);
        println!("{:<60} no input: {}", other.file, other.why);
    }
    unseen.retain(|file| !listed.input.iter().any(|asked| asked.covers(file)));
    assert!(unseen.is_empty(), "field.toml does not name these: {unseen:#?}");
    let catalog = busbar_server::deployment::catalog(&root().join("schemas")).unwrap();
    let rules = Arc::new(Rules::new(catalog, Vec::new()));
    let mut all = Vec::new();
    for asked in &listed.input {
        let wrong = asked.run(&base, &rules).await;
        let name = format!("{} {}", asked.row, asked.files.join(" + "));
        println!("{name:<90} {}", if wrong.is_empty() { "as asked" } else { "WRONG" });
        all.extend(wrong.iter().map(|wrong| format!("{name}: {wrong}")));
    }
    assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
}

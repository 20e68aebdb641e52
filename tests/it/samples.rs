//! Every genuine file of `../shared/samples`, through its adapter's component: the right messages, or one clear refusal.
//! What is expected of each stands in `fixtures/samples/<adapter>.toml`, written from the file, not from the output.

mod traces;

use crate::hub::{LOADED, RUNTIME, root};
use busbar_core::Rules;
use busbar_server::cli::{Input, Setup, run_scripted};
use busbar_server::wasm::Entry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    sample: Vec<Sample>,
    /// Files that no adapter takes.
    #[serde(default)]
    file: Vec<Left>,
    /// Folders whose adapter is not there yet.
    #[serde(default)]
    folder: Vec<Left>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Left {
    #[serde(alias = "folder")]
    file: String,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    file: String,
    #[serde(default = "decode")]
    entry: Entry,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    credentials: Map<String, Value>,
    /// Of `receive`: the request that the file is the body of. Absent where the file is the whole request.
    request: Option<Map<String, Value>>,
    /// Of `poll`: the answers after the one that the file is the body of.
    #[serde(default)]
    then: Vec<Value>,
    /// Of `connection`: how the recording is written, and whose lines are the far end's; see [`traces::records`].
    #[serde(default)]
    form: String,
    from: Option<String>,
    /// Of `connection`: what the far end said before the recording begins.
    #[serde(default)]
    before: Vec<String>,
    /// Each record is the beginning of a connection of its own.
    #[serde(default)]
    each: bool,
    /// With `each`: how many of the records were refused, by code.
    #[serde(default)]
    refused: BTreeMap<String, usize>,
    /// Anything else that `setup.json` of a case may have.
    #[serde(default)]
    setup: Map<String, Value>,
    /// How many of each type,
    messages: Option<BTreeMap<String, usize>>,
    /// or why not.
    rejected: Option<Rejected>,
    /// Codes of the entries that are left out, each once.
    #[serde(default, rename = "left-out")]
    left_out: BTreeSet<String>,
}

fn decode() -> Entry {
    Entry::Decode
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Rejected {
    code: String,
    place: Option<String>,
}

fn listed(file: &str) -> Listed {
    let path = root().join("tests/fixtures/samples").join(file).with_extension("toml");
    let text = std::fs::read_to_string(&path).unwrap();
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below `folder`, as paths from `base`.
pub fn files(base: &Path, folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files(base, &entry.path(), into);
        } else {
            into.insert(entry.path().strip_prefix(base).unwrap().to_str().unwrap().into());
        }
    }
}

/// A request without body, as it stands on the wire.
fn from_wire(bytes: &[u8]) -> Map<String, Value> {
    let line = String::from_utf8_lossy(bytes).lines().next().unwrap().to_string();
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = json!({ "method": method, "path": path, "query": query, "body-bytes": [] });
    request.as_object().unwrap().clone()
}

impl Sample {
    fn setup(&self, bytes: &[u8]) -> Setup {
        let mut setup = json!({ "config": self.config, "credentials": self.credentials });
        if self.entry == Entry::Connection {
            setup["now"] = "2026-11-22T12:00:00Z".into(); // Also in what is stated: runs are compared.
        }
        setup.as_object_mut().unwrap().extend(self.setup.clone());
        if self.entry == Entry::Poll {
            let first = json!({ "status": 200, "body-bytes": bytes });
            setup["http"] = std::iter::once(first).chain(self.then.iter().cloned()).collect();
        }
        serde_json::from_value(setup).unwrap()
    }

    fn input(&self, bytes: Vec<u8>) -> Vec<u8> {
        match self.entry {
            Entry::Receive => {
                let mut request = self.request.clone().unwrap_or_else(|| from_wire(&bytes));
                request.entry("body-bytes").or_insert(bytes.into());
                Value::Object(request).to_string().into_bytes()
            }
            Entry::Poll => Vec::new(),
            _ => bytes,
        }
    }

    /// What came out, and whether that was expected.
    async fn run(&self, adapter: &str, rules: &Arc<Rules>, path: PathBuf) -> (String, bool) {
        let bytes = std::fs::read(&path).unwrap();
        if self.each {
            return self.run_each(adapter, rules, &bytes).await;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let setup = self.setup(&bytes);
        let bytes = if self.entry == Entry::Connection {
            traces::events(self.records(&bytes).iter().map(Vec::as_slice))
        } else {
            self.input(bytes)
        };
        let input = Input { entry: self.entry, name, bytes };
        let shown = run_scripted(&RUNTIME, &LOADED[adapter], rules, setup, input).await.unwrap().show();
        // On a connection, what came before a failure was stated.
        if shown["result"] == "ok" || (self.entry == Entry::Connection && self.messages.is_some()) {
            let messages = counted([&shown]);
            let texts: Vec<_> = messages.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let left_out = shown["left-out"].as_array().unwrap().iter();
            let left_out: BTreeSet<_> = left_out.map(|entry| entry["code"].as_str().unwrap().to_string()).collect();
            let as_said = self.messages.as_ref() == Some(&messages) && self.left_out == left_out;
            let texts: Vec<_> =
                texts.into_iter().chain(left_out.iter().map(|code| format!("left out: {code}"))).collect();
            if shown["result"] == "ok" || !as_said || self.rejected.is_none() {
                return (texts.join(", "), as_said && shown["result"] == "ok");
            }
        }
        let failure = &shown["result"]["failure"];
        let code = failure["code"].as_str().or(failure["case"].as_str()).unwrap().to_string();
        let found = Rejected { code, place: failure["place"].as_str().map(String::from) };
        let text = format!("{} at {}: {}", found.code, failure["place"], failure["reason"]);
        (text, self.rejected.as_ref() == Some(&found))
    }
}

/// How many messages of each type.
fn counted<'a>(shown: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, usize> {
    let mut messages: BTreeMap<String, usize> = BTreeMap::new();
    for message in shown.into_iter().flat_map(|shown| shown["messages"].as_array().unwrap()) {
        *messages.entry(message["type"].as_str().unwrap().into()).or_default() += 1;
    }
    messages
}

impl Sample {
    fn records(&self, file: &[u8]) -> Vec<Vec<u8>> {
        traces::records(&self.form, self.from.as_deref(), &self.before, file)
    }

    async fn fed(&self, adapter: &str, rules: &Arc<Rules>, events: Vec<u8>) -> Value {
        let input = Input { entry: self.entry, name: "trace".into(), bytes: events };
        run_scripted(&RUNTIME, &LOADED[adapter], rules, self.setup(&[]), input).await.unwrap().show()
    }

    /// Every record by itself.
    async fn run_each(&self, adapter: &str, rules: &Arc<Rules>, file: &[u8]) -> (String, bool) {
        let (mut all, mut refused) = (Vec::new(), BTreeMap::<String, usize>::new());
        for record in self.records(file) {
            let shown = self.fed(adapter, rules, traces::events([record.as_slice()])).await;
            if let Some(code) = shown["result"]["failure"]["code"].as_str() {
                *refused.entry(code.into()).or_default() += 1;
            }
            all.push(shown);
        }
        let messages = counted(&all);
        let expected = self.messages.as_ref() == Some(&messages) && self.refused == refused;
        (format!("{} connections: {messages:?}, refused {refused:?}", all.len()), expected)
    }

    /// Whether the same comes out however the bytes are cut; how often that was tried.
    async fn cut(&self, adapter: &str, rules: &Arc<Rules>, file: &[u8]) -> usize {
        let records = self.records(file);
        let traces = if self.each { records.into_iter().map(|r| vec![r]).collect() } else { vec![records] };
        let mut tried = 0;
        for trace in traces {
            let pieces: Vec<&[u8]> = trace.iter().map(Vec::as_slice).collect();
            let whole = traces::whole(&self.fed(adapter, rules, traces::events(pieces.clone())).await);
            let bytes = trace.iter().flat_map(|record| record.chunks(1));
            let single = traces::whole(&self.fed(adapter, rules, traces::events(bytes)).await);
            assert_eq!(single, whole, "{adapter}, {}: byte by byte", self.file);
            // The far end speaks in turn: its records stay apart, and each is cut at its first byte, then at its second, …
            for at in 1..pieces.iter().map(|piece| piece.len()).max().unwrap_or_default() {
                let cut = pieces.iter().flat_map(|piece| <[_; 2]>::from(piece.split_at(at.min(piece.len()))));
                let parts = traces::whole(&self.fed(adapter, rules, traces::events(cut)).await);
                assert_eq!(parts, whole, "{adapter}, {}: each record cut at byte {at}", self.file);
                tried += pieces.iter().filter(|piece| piece.len() > at).count();
            }
        }
        tried
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_connection_gives_the_same_however_tcp_cuts_it() {
    let base = root().join("../shared/samples");
    if !base.exists() {
        println!("skipped: no {}", base.display());
        return;
    }
    let catalog = busbar_server::deployment::catalog(&root().join("schemas")).unwrap();
    let rules = Arc::new(Rules::new(catalog, Vec::new()));
    let mut all = 0;
    for adapter in LOADED.keys().filter(|name| root().join(format!("tests/fixtures/samples/{name}.toml")).exists()) {
        for sample in listed(adapter).sample.iter().filter(|sample| sample.entry == Entry::Connection) {
            let file = std::fs::read(base.join(&sample.file)).unwrap();
            let cuts = sample.cut(adapter, &rules, &file).await;
            println!("{adapter}, {}: cut at {cuts} bytes", sample.file);
            all += cuts;
        }
    }
    assert!(all > 50_000, "hardly anything was cut: {all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_gives_its_messages_or_one_clear_refusal() {
    let base = root().join("../shared/samples");
    if !base.exists() {
        println!("skipped: no {}", base.display());
        return;
    }
    let mut unseen = BTreeSet::new();
    files(&base, &base, &mut unseen);
    for left in listed("not-inputs").file {
        assert!(unseen.remove(&left.file), "not-inputs.toml names {}, which is not there", left.file);
        println!("{:<100} no input: {}", left.file, left.why);
    }
    for left in listed("not-yet").folder {
        let before = unseen.len();
        unseen.retain(|file| !file.starts_with(&format!("{}/", left.file)));
        assert!(unseen.len() < before, "not-yet.toml names {}, where nothing is left", left.file);
        println!("{:<100} NOT YET: {}", left.file, left.why);
    }
    let catalog = busbar_server::deployment::catalog(&root().join("schemas")).unwrap();
    let rules = Arc::new(Rules::new(catalog, Vec::new()));
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for adapter in LOADED.keys().filter(|name| root().join(format!("tests/fixtures/samples/{name}.toml")).exists()) {
        for sample in listed(adapter).sample {
            let (text, expected) = sample.run(adapter, &rules, base.join(&sample.file)).await;
            println!("{:<100} {adapter} {}: {text}", sample.file, sample.entry);
            if !expected {
                let wanted = (&sample.messages, &sample.rejected);
                wrong.push(format!("{adapter}, {}: {text}; expected {wanted:?}", sample.file));
            }
            seen.insert(sample.file);
        }
    }
    unseen.retain(|file| !seen.contains(file));
    assert!(unseen.is_empty(), "no adapter's list names these: {unseen:#?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Compiling is part of a hub's first start, and each system's code is kept in memory.
#[test]
fn no_adapter_is_over_a_megabyte() {
    let mut sizes = Vec::new();
    for name in LOADED.keys().filter(|name| *name != "hostile") {
        let bytes = std::fs::metadata(crate::hub::adapters().join(format!("{name}.wasm"))).unwrap().len();
        sizes.push((bytes, name));
    }
    sizes.sort();
    println!("{sizes:?}");
    let large: Vec<_> = sizes.iter().filter(|(bytes, _)| *bytes > 1_000_000).collect();
    assert!(large.is_empty(), "{large:?}");
}

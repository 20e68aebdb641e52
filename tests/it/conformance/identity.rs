//! What is one fact: through the component of each adapter that states money, two facts that are alike but for one thing
//! that matters are two messages, and one fact in each of its shapes is one. The facts stand in `fixtures/identity.toml`;
//! a key that loses a field fails here, and so does an adapter that states money and is not named there.

use super::{RULES, adapters, manifest, readme};
use crate::hub::{LOADED, RUNTIME};
use busbar_server::cli::{Input, Setup, run_scripted};
use busbar_server::wasm::Entry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    fact: Vec<Fact>,
    /// Adapters whose facts are tried natively, since each input is signed.
    native: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Fact {
    adapter: String,
    #[serde(default)]
    setup: Map<String, Value>,
    /// The type of the messages that are counted.
    kind: String,
    input: String,
    /// How many the input states.
    #[serde(default = "one")]
    facts: usize,
    /// Changes of the input, each to another fact: what is replaced by what, and what for.
    another: Vec<[String; 3]>,
    /// Changes that leave it the same fact, of which the same is said: nobody is asked about it.
    same: Vec<[String; 3]>,
    /// Changes that leave it the same fact, of which something else is said: a person is asked.
    #[serde(default)]
    retold: Vec<[String; 3]>,
    /// Whole inputs that state it in another shape.
    #[serde(default)]
    shapes: Vec<String>,
    /// Changes that are refused, because the source cannot mean two facts by them.
    #[serde(default)]
    refused: Vec<[String; 3]>,
    /// A name of the file by which it states another fact.
    another_name: Option<String>,
}

fn one() -> usize {
    1
}

const NAME: &str = "input.txt";

/// The facts by their ids, with all that is said of each.
async fn stated(fact: &Fact, name: &str, input: &str, known: &[Value]) -> (BTreeMap<String, Value>, Value) {
    let mut setup = Value::Object(fact.setup.clone());
    setup["known"] = known.to_vec().into();
    if setup["now"].is_null() {
        setup["now"] = "2026-11-28T12:00:00+03:00".into();
    }
    let setup: Setup = serde_json::from_value(setup).unwrap();
    let entry = setup.entry.unwrap_or(Entry::Decode);
    let input = Input { entry, name: name.into(), bytes: input.into() };
    let shown = run_scripted(&RUNTIME, &LOADED[&fact.adapter], &RULES, setup, input).await.unwrap().show();
    let of_kind = shown["messages"].as_array().unwrap().iter().filter(|message| message["type"] == fact.kind.as_str());
    let facts = of_kind.map(|message| (message["id"].as_str().unwrap().to_string(), message["data"].clone())).collect();
    (facts, shown)
}

fn are_others(facts: &BTreeMap<String, Value>, base: &BTreeMap<String, Value>) -> bool {
    facts.keys().all(|id| !base.contains_key(id))
}

impl Fact {
    fn changed(&self, [from, to, _]: &[String; 3]) -> String {
        assert!(self.input.contains(from.as_str()), "{}: the input has no `{from}`", self.adapter);
        self.input.replace(from.as_str(), to)
    }

    async fn tried(&self) -> Vec<String> {
        let (base, shown) = stated(self, NAME, &self.input, &[]).await;
        if base.len() != self.facts {
            return vec![format!("{}: {} facts in the input: {}", self.adapter, base.len(), shown["result"])];
        }
        let mut wrong = Vec::new();
        let mut line = |what: &str, why: &str, good: bool, shown: &Value| {
            println!("{:<24} {what:<8} {why:<60} {}", self.adapter, if good { "yes" } else { "NO" });
            if !good {
                wrong.push(format!("{}: {what}: {why}: {}", self.adapter, shown["result"]));
            }
        };
        for change in &self.another {
            let (ids, shown) = stated(self, NAME, &self.changed(change), &[]).await;
            line("another", &change[2], ids.len() == self.facts && are_others(&ids, &base), &shown);
        }
        if let Some(name) = &self.another_name {
            let (ids, shown) = stated(self, name, &self.input, &[]).await;
            line("another", "the same in a file of another name", are_others(&ids, &base), &shown);
        }
        for change in &self.same {
            let (ids, shown) = stated(self, NAME, &self.changed(change), &[]).await;
            line("same", &change[2], ids == base, &shown);
        }
        for change in &self.retold {
            let (ids, shown) = stated(self, NAME, &self.changed(change), &[]).await;
            line("retold", &change[2], ids.keys().eq(base.keys()) && ids != base, &shown);
        }
        for shape in &self.shapes {
            let (ids, shown) = stated(self, NAME, shape, &[]).await;
            line("same", "in another shape", ids == base, &shown);
        }
        let known: Vec<Value> = shown["messages"].as_array().unwrap().iter().map(super::known).collect();
        for change in &self.refused {
            let (ids, shown) = stated(self, NAME, &self.changed(change), &known).await;
            line("refused", &change[2], ids.is_empty(), &shown);
        }
        wrong
    }
}

pub fn states_money(adapter: &str) -> bool {
    let emits = &manifest(adapter).emits;
    emits.iter().any(|kind| ["payment.received.v1", "payment.refunded.v1"].contains(&kind.as_str()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_one_fact_and_what_are_two() {
    let text = std::fs::read_to_string(crate::hub::root().join("tests/fixtures/identity.toml")).unwrap();
    let facts: Facts = toml::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for fact in &facts.fact {
        wrong.extend(fact.tried().await);
    }
    let tried: BTreeSet<&str> = facts.fact.iter().map(|fact| fact.adapter.as_str()).collect();
    for adapter in adapters().filter(|adapter| states_money(adapter)) {
        if !tried.contains(adapter.as_str()) && !facts.native.contains_key(adapter.as_str()) {
            wrong.push(format!("{adapter} states money, and identity.toml has no fact of it"));
        }
        if !readme(adapter).contains("## Identity") {
            wrong.push(format!("{adapter} states money, and its README has no part `## Identity`"));
        }
    }
    for (adapter, test) in &facts.native {
        let folder = crate::hub::root().join("plugins").join(adapter).join("src");
        let mut sources = BTreeSet::new();
        crate::samples::files(&folder, &folder, &mut sources);
        let found = sources
            .iter()
            .any(|file| std::fs::read_to_string(folder.join(file)).unwrap().contains(&format!("fn {test}(")));
        if !found {
            wrong.push(format!("{adapter} has no test `{test}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(json!(facts.fact.is_empty()), false);
}

//! Directories of others, OpenLDAP's slapd and a Samba domain, are filled with generated units and people; what they export by
//! each of their own tools is read by the component of ldif, and must say what was put in: the same messages of every export.

mod changes;
mod people;
mod samba;
mod slapd;
mod texts;

use super::{Dice, report};
use crate::conformance::RULES;
use crate::hub::{LOADED, RUNTIME};
use busbar_server::cli::{Input, run_scripted};
use busbar_server::wasm::Entry;
use people::Staff;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An export and the tool that wrote it.
type Export = (&'static str, Vec<u8>);

/// What a command says; it must succeed.
fn said(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut pipe, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writing = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writing.join().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A system that reads one file after another, with its state and what it stated.
#[derive(Clone, Default)]
struct Reader {
    config: Value,
    state: Map<String, Value>,
    known: Vec<Value>,
}

impl Reader {
    fn new(config: &Value) -> Self {
        Self { config: config.clone(), ..Self::default() }
    }

    /// What came out of a file; kept where it was taken.
    async fn read(&mut self, name: &str, bytes: &[u8]) -> Value {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
        let setup =
            json!({ "entry": "decode", "now": now, "config": self.config, "state": self.state, "known": self.known });
        let input = Input { entry: Entry::Decode, name: name.into(), bytes: bytes.to_vec() };
        let setup = serde_json::from_value(setup).unwrap();
        let shown = run_scripted(&RUNTIME, &LOADED["ldif"], &RULES, setup, input).await.unwrap().show();
        if shown["result"] == "ok" {
            self.state.extend(shown["state"].as_object().unwrap().clone());
            self.known.extend(shown["messages"].as_array().unwrap().iter().map(|message| {
                let mut message = message.clone();
                message.as_object_mut().unwrap().remove("place");
                message
            }));
        }
        shown
    }
}

/// What was stated last, by subject: the data, without the moment.
fn latest(messages: &[Value]) -> BTreeMap<String, Value> {
    let of = |message: &Value| {
        let mut data = message["data"].clone();
        data.as_object_mut().unwrap().remove("changedAt");
        (message["subject"].as_str().unwrap().to_string(), data)
    };
    messages.iter().map(of).collect()
}

/// Ids of entries are the directory's own: what was put in names entries by their logins and the units' names.
fn named(messages: &[Value]) -> BTreeMap<String, Value> {
    let all = latest(messages);
    let name_of = |data: &Value| data["login"].as_str().or(data["name"].as_str()).unwrap_or("?").to_string();
    let names: BTreeMap<String, String> = all.iter().map(|(id, data)| (id.clone(), name_of(data))).collect();
    let renamed = |data: &Value| {
        let mut data = data.clone();
        for field in ["employee", "unit", "parent", "manager", "head"] {
            if let Some(id) = data[field].as_str() {
                data[field] = names.get(id).cloned().unwrap_or_else(|| format!("nobody has {id}")).into();
            }
        }
        data.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        data
    };
    all.iter().map(|(id, data)| (names[id].clone(), renamed(data))).collect()
}

/// Of a directory: what each of its exports says against what was put in, and against the first export.
async fn exports_judged(staff: &Staff, config: &Value, exports: &[Export], differences: &mut Vec<String>) -> usize {
    let expected = staff.expected();
    let mut first: Option<Vec<Value>> = None;
    let mut whole = Reader::new(config);
    let mut cases = 0;
    for (tool, bytes) in exports {
        let shown = Reader::new(config).read(tool, bytes).await;
        if shown["result"] != "ok" || shown["left-out"] != json!([]) {
            differences.push(format!("{tool}: {} {}", shown["result"], shown["left-out"]));
            continue;
        }
        let messages: Vec<Value> = shown["messages"].as_array().unwrap().iter().map(without_place).collect();
        let found = named(&messages);
        for name in found.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>() {
            cases += 1;
            if found.get(name) != expected.get(name) {
                differences.push(format!("{tool}, {name}: {}", differing(found.get(name), expected.get(name))));
            }
        }
        let sorted = sorted(messages);
        let is_same = first.get_or_insert_with(|| sorted.clone()) == &sorted;
        if !is_same {
            let other = sorted.iter().find(|message| !first.as_ref().unwrap().contains(message));
            differences.push(format!("{tool}: other messages than of {}: {other:?}", exports[0].0));
        }
        // Whichever tool writes the next export: there is no news in it.
        let again = whole.read(tool, bytes).await;
        let news = again["messages"].as_array().unwrap();
        if tool != &exports[0].0 && !news.is_empty() {
            differences.push(format!("{tool} after {}: news {:?}", exports[0].0, news[0]));
        }
    }
    cases
}

/// The fields that differ, as found and as they must be.
fn differing(found: Option<&Value>, expected: Option<&Value>) -> String {
    let (Some(found), Some(expected)) = (found, expected) else {
        return format!("{found:?}, expected {expected:?}");
    };
    let fields = [found, expected].into_iter().flat_map(|data| data.as_object().unwrap().keys());
    let fields = fields.collect::<std::collections::BTreeSet<_>>().into_iter();
    let fields = fields.filter(|field| found.get(*field) != expected.get(*field));
    fields
        .map(|field| format!("{field}: {}, expected {}", found[field], expected[field]))
        .collect::<Vec<_>>()
        .join("; ")
}

fn without_place(message: &Value) -> Value {
    let mut message = message.clone();
    message.as_object_mut().unwrap().remove("place");
    message
}

fn sorted(mut messages: Vec<Value>) -> Vec<Value> {
    messages.sort_by_key(|message| message["id"].as_str().unwrap().to_string());
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_openldap_exports_is_what_was_put_in() {
    let mut dice = Dice::thrown("slapd");
    let Some(slapd) = slapd::Slapd::start() else { return };
    let staff = slapd.filled(&mut dice);
    let (mut cases, mut differences) = (0, Vec::new());
    for config in slapd::configs() {
        cases += exports_judged(&staff, &config, &slapd.exports(), &mut differences).await;
        let shown = Reader::new(&config).read("ldapsearch -z 10", &slapd.cut_off()).await;
        if shown["result"]["failure"]["code"] != "incomplete-export" {
            differences.push(format!("ldapsearch -z 10: {}", shown["result"]));
        }
    }
    differences.truncate(10);
    report("LDIF, exports of slapcat and ldapsearch", &slapd.version, cases, &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_openldap_is_told_to_change_is_what_is_stated() {
    let mut dice = Dice::thrown("slapd changes");
    let Some(slapd) = slapd::Slapd::start() else { return };
    let mut staff = slapd.filled(&mut dice);
    let mut differences = Vec::new();
    let mut cases = changes::one_by_one(&slapd, &mut staff, &mut dice, &mut differences).await;
    cases += changes::together(&slapd, &staff, &mut dice, &mut differences).await;
    differences.truncate(10);
    report("LDIF, changes by ldapmodify and auditlog", &slapd.version, cases, &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_samba_domain_exports_is_what_was_put_in() {
    let mut dice = Dice::thrown("samba");
    let Some(samba) = samba::Samba::start() else { return };
    let mut staff = samba.filled(&mut dice);
    let (mut cases, mut differences) = (0, Vec::new());
    for config in samba::configs() {
        cases += exports_judged(&staff, &config, &samba.exports(), &mut differences).await;
    }
    cases += samba::renamed(&samba, &mut staff, &mut dice, &mut differences).await;
    differences.truncate(10);
    report("LDIF, exports of ldbsearch and ldapsearch", &samba.version, cases, &differences);
}

//! The checks of a system against its adapter: is it there, is it the pinned one, does its config
//! fit, are its grants right.

use super::check::{against, closest};
use super::load::System;
use crate::config::connection;
use crate::config::credentials::Credential;
use crate::config::finding::Report;
use crate::config::model::CompileConfig;
use crate::config::source::{Source, escape};
use crate::wasm::compile::read_component;
use crate::wasm::inspect::{Inspection, inspect};
use crate::wasm::{Entry, base64_key};
use busbar_core::{Catalog, Problem};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Name of the file with the adapters' digests, in the form of `sha256sum`.
pub const DIGESTS: &str = "SHA256SUMS";

/// An adapter's file, checked.
#[derive(Clone)]
pub struct AdapterFile {
    pub wasm: Arc<Vec<u8>>,
    pub inspection: Arc<Inspection>,
}

pub fn check_adapters(
    folder: &Path,
    limits: &CompileConfig,
    catalog: &Catalog,
    systems: &mut BTreeMap<String, System>,
    source: &Source,
    report: &mut Report,
) {
    let folder = folder.join("adapters");
    let digests = read_digests(&folder);
    let mut files: BTreeMap<String, Option<AdapterFile>> = BTreeMap::new();
    let mut schemas = Schemas::default();
    for (name, system) in systems {
        let at = format!("/systems/{}", escape(name));
        let Some(adapter) = system.config.adapter.clone() else {
            for part in ["folder", "out", "poll", "instances", "hook", "connection", "config", "grants", "limits"] {
                if source.says(&format!("{at}/{part}")) {
                    report.error(
                        "needs-adapter",
                        source.key(&format!("{at}/{part}")),
                        format!("`{part}` needs an adapter"),
                        "remove it, or name an adapter",
                    );
                }
            }
            continue;
        };
        let place = format!("{at}/adapter");
        let file = files
            .entry(adapter.clone())
            .or_insert_with(|| read(&folder, &adapter, limits, &digests, source, &place, report));
        let Some(file) = file.clone() else { continue };
        check_config(schemas.of(&adapter, &file.inspection), source, &at, report);
        let manifest = file.inspection.manifest.as_ref();
        if let Some(manifest) = manifest {
            let config = serde_json::Value::Object(system.config.config.clone());
            check_secrets(&manifest.config_schema, &config, system, source, &format!("{at}/config"), report);
        }
        check_entries(system, &file.inspection, source, &at, report);
        check_needs(system, &file.inspection, source, &at, report);
        let only = file.inspection.exports == [Entry::Connection];
        connection::check(system.config.connection.as_ref(), only, source, &at, report);
        check_grants(system, &file.inspection, source, &at, report);
        check_types(system, catalog, source, &at, report);
        system.adapter = Some(file);
    }
}

fn read_digests(folder: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder.join(DIGESTS)).unwrap_or_default();
    let line = |line: &str| line.split_once("  ").map(|(digest, name)| (name.trim().to_string(), digest.to_string()));
    text.lines().filter_map(line).collect()
}

fn read(
    folder: &Path,
    adapter: &str,
    limits: &CompileConfig,
    digests: &BTreeMap<String, String>,
    source: &Source,
    place: &str,
    report: &mut Report,
) -> Option<AdapterFile> {
    let (file, sums) = (format!("{adapter}.wasm"), folder.join(DIGESTS));
    let path = folder.join(&file);
    let span = source.value_span(place);
    if !path.exists() {
        report.error("missing-adapter", span, format!("no adapter {}", path.display()), missing(folder, adapter));
        return None;
    }
    let inspected = read_component(&path, limits).and_then(|wasm| match inspect(&wasm) {
        Ok(inspection) => Ok(AdapterFile { wasm: Arc::new(wasm), inspection: Arc::new(inspection) }),
        Err(problem) => Err(Problem { detail: format!("{}: {}", path.display(), problem.detail), ..problem }),
    });
    let adapter = match inspected {
        Ok(adapter) => adapter,
        Err(problem) => {
            report.error("broken-adapter", span, problem.detail, problem.code.remedy());
            return None;
        }
    };
    let Inspection { sha256, foreign_imports, .. } = adapter.inspection.as_ref();
    match digests.get(&file) {
        None => report.error(
            "unpinned-adapter",
            span.clone(),
            format!("no digest of {file} in {}", sums.display()),
            format!("look at it with `busbar adapter inspect`, then add the line `{sha256}  {file}`"),
        ),
        Some(pinned) if pinned != sha256 => report.error(
            "wrong-digest",
            span.clone(),
            format!("{file} has the digest {sha256}, pinned is {pinned}"),
            format!("if the new file is right, put its digest into {}", sums.display()),
        ),
        Some(_) => {}
    }
    if !foreign_imports.is_empty() {
        report.error(
            "broken-adapter",
            span,
            format!("{file} imports {}, which the host does not have", foreign_imports.join(", ")),
            "build it against wit/v1 alone",
        );
    }
    Some(adapter)
}

fn missing(folder: &Path, adapter: &str) -> String {
    let names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.strip_suffix(".wasm").map(str::to_string))
        .collect();
    closest(adapter, &names).map_or_else(
        || format!("build it with `busbar adapter build {adapter} --into {}`", folder.display()),
        |near| format!("did you mean `{near}`?"),
    )
}

/// What an instance takes against what the system gives it, so that it is told now and not by the first message.
fn check_needs(system: &System, inspection: &Inspection, source: &Source, at: &str, report: &mut Report) {
    for (name, needed, most) in inspection.needs.over(&system.config.limits) {
        let place = format!("{at}/limits/{name}");
        let span =
            if source.says(&place) { source.value_span(&place) } else { source.value_span(&format!("{at}/adapter")) };
        report.error(
            "needs-more",
            span,
            format!("the adapter needs {needed} {name} to start, the system has {most}"),
            format!("set `limits.{name}` to {needed} or more, if you trust the adapter"),
        );
    }
}

type Compiled = Result<jsonschema::Validator, String>;

/// The config schemas of the adapters, each compiled once.
#[derive(Default)]
struct Schemas(BTreeMap<String, Option<Compiled>>);

impl Schemas {
    fn of(&mut self, adapter: &str, inspection: &Inspection) -> Option<&Compiled> {
        let compiled = self.0.entry(adapter.to_string()).or_insert_with(|| {
            let schema = inspection.manifest.as_ref().map(|m| &m.config_schema).filter(|s| s.is_object())?;
            let options = jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex());
            Some(options.build(schema).map_err(|e| e.to_string()))
        });
        compiled.as_ref()
    }
}

fn check_config(schema: Option<&Compiled>, source: &Source, at: &str, report: &mut Report) {
    let pointer = format!("{at}/config");
    let validator = match schema {
        None => return,
        Some(Ok(validator)) => validator,
        Some(Err(error)) => {
            report.error(
                "broken-adapter",
                source.value_span(&format!("{at}/adapter")),
                format!("its config schema is broken: {error}"),
                "report it to the adapter's author",
            );
            return;
        }
    };
    if validator.is_valid(source.value.pointer(&pointer).unwrap_or(&serde_json::json!({}))) {
        return;
    }
    // Taking things out while looking must not touch what the system gets.
    let mut copy = source.value.clone();
    if copy.pointer(&pointer).is_none()
        && let Some(system) = copy.pointer_mut(at).and_then(serde_json::Value::as_object_mut)
    {
        system.insert("config".into(), serde_json::json!({}));
    }
    against(validator, &mut source.with(copy), &pointer, report);
}

/// Secrets that an adapter can use only in one form: its schema says so beside the setting that names the credential.
fn check_secrets(schema: &Value, config: &Value, system: &System, source: &Source, at: &str, report: &mut Report) {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, property) in properties {
        let Some(found) = config.get(name) else { continue };
        let at = format!("{at}/{}", escape(name));
        check_secrets(property, found, system, source, &at, report);
        let unless = property.get("x-secret-unless").and_then(Value::as_array).into_iter().flatten();
        let other = unless.filter_map(Value::as_str).any(|sibling| config.get(sibling).is_some());
        if other || property.get("x-secret") != Some(&Value::String("base64".into())) {
            continue;
        }
        let secret = match found.as_str().and_then(|credential| system.secrets.get(credential)) {
            Some(Credential::Secret(secret)) => Some(secret),
            _ => None,
        };
        let bad = secret.filter(|secret| !secret.expose_secret().is_empty());
        if let Some(Err(reason)) = bad.map(|secret| base64_key(secret.expose_secret())) {
            let remedy = "give it as the sender shows it: base64, usually behind `whsec_`";
            report.error("bad-secret", source.value_span(&at), reason, remedy);
        }
    }
}

fn check_entries(system: &System, inspection: &Inspection, source: &Source, at: &str, report: &mut Report) {
    let needs = [
        ("folder", system.config.folder.is_some(), Entry::Decode),
        ("hook", system.config.hook.is_some(), Entry::Receive),
        ("poll", system.config.poll.is_some(), Entry::Poll),
        ("out", system.config.out.is_some(), Entry::Encode),
        ("connection", system.config.connection.is_some(), Entry::Connection),
    ];
    for (part, there, entry) in needs {
        let exported = inspection.exports.contains(&entry);
        if there && !exported {
            let remedy = format!("it has {}; see `busbar adapter inspect`", inspection.entries());
            report.error(
                "no-such-entry",
                source.key(&format!("{at}/{part}")),
                format!("`{part}` needs an adapter that exports `{entry}`"),
                remedy,
            );
        }
    }
    // One with other entries may be there for those, unless its settings say how to poll.
    let polls = inspection.exports.iter().all(|e| *e == Entry::Poll) || system.config.config.contains_key("poll");
    if polls && inspection.exports.contains(&Entry::Poll) && system.config.poll.is_none() {
        report.error(
            "never-polled",
            source.key(at),
            "the adapter is there to poll, and the system has no `poll` section",
            "add `poll = { every-ms = 60000 }`",
        );
    }
}

/// Each grant against the import that uses it. An empty list or `false` written down says that the
/// missing grant is meant.
fn check_grants(system: &System, inspection: &Inspection, source: &Source, at: &str, report: &mut Report) {
    let grants = &system.config.grants;
    let http = inspection.imports_interface("http");
    let credentials = http || inspection.imports_interface("credentials");
    // One that states what its settings say may state nothing.
    let states_by_settings = inspection.manifest.as_ref().is_some_and(|m| m.emits.iter().any(|e| e == "*"));
    let rows = [
        ("http", http, !grants.http.is_empty()),
        ("private-addresses", http, !grants.private_addresses.is_empty()),
        ("credentials", credentials, !grants.credentials.is_empty()),
        ("emit", inspection.imports_function("messages.emit"), !grants.emit.is_empty()),
        ("ask", inspection.imports_function("messages.ask"), !grants.ask.is_empty()),
        ("lookup", inspection.imports_function("messages.lookup"), grants.lookup),
        ("state", inspection.imports_interface("state"), grants.state),
        ("clock", inspection.imports_interface("clock"), grants.clock),
        ("random", inspection.imports_interface("random"), grants.random),
    ];
    for (name, imported, granted) in rows {
        let place = format!("{at}/grants/{name}");
        if granted && !imported {
            report.warning(
                "unused-grant",
                source.key(&place),
                format!("the adapter never uses `{name}`"),
                "remove the grant",
            );
        }
        // Without own credentials or private peers there is nothing to grant.
        let optional = match name {
            "private-addresses" => true,
            "credentials" => !inspection.imports_interface("credentials"),
            "emit" => states_by_settings && system.config.poll.is_none(),
            _ => false,
        };
        if imported && !granted && !source.says(&place) && !optional {
            let none = if ["lookup", "state", "clock", "random"].contains(&name) { "false" } else { "[]" };
            report.warning(
                "missing-grant",
                source.key(&format!("{at}/grants")),
                format!("the adapter uses `{name}`, for which system has no grant"),
                format!("grant it, or write `{name} = {none}` if it is not to have it"),
            );
        }
    }
    for (i, origin) in grants.http.iter().enumerate() {
        let right = url::Url::parse(origin).is_ok_and(|u| {
            ["http", "https"].contains(&u.scheme()) && u.origin().ascii_serialization() == origin.trim_end_matches('/')
        });
        if !right {
            report.error(
                "wrong-value",
                source.value_span(&format!("{at}/grants/http/{i}")),
                format!("`{origin}` is no origin"),
                "scheme, host and port only, e.g. `https://billing.example:8443`",
            );
        }
    }
    for (i, name) in grants.credentials.iter().enumerate() {
        if !system.config.credentials.contains_key(name) && !source.says(&format!("{at}/credentials/{}", escape(name)))
        {
            report.error(
                "unknown-credential",
                source.value_span(&format!("{at}/grants/credentials/{i}")),
                format!("no credential `{name}` in this system"),
                "add it under the system's `credentials`",
            );
        }
    }
}

fn check_types(system: &System, catalog: &Catalog, source: &Source, at: &str, report: &mut Report) {
    let known: Vec<String> = catalog.types().map(str::to_string).collect();
    for (list, types) in [("emit", &system.config.grants.emit), ("ask", &system.config.grants.ask)] {
        for (i, name) in types.iter().enumerate() {
            if !catalog.contains(name) {
                unknown_type(name, &known, source.value_span(&format!("{at}/grants/{list}/{i}")), report);
            }
        }
    }
}

/// Reports a type that has no schema.
pub fn unknown_type(name: &str, known: &[String], span: crate::config::source::Span, report: &mut Report) {
    let remedy = closest(name, known)
        .map_or_else(|| format!("known are: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
    report.error("unknown-type", span, format!("no schema for message type `{name}`"), remedy);
}

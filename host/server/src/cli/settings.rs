//! Settings that only their adapter can check: expressions, for example, that it compiles itself.

use super::adapter::Bench;
use super::cases::{Input, run_scripted};
use super::script::Setup;
use crate::config::finding::Report;
use crate::config::source::{Source, escape};
use crate::deployment::{Deployment, System};
use crate::wasm::{Entry, Loaded};
use serde_json::{Value, json};
use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

/// No type that anybody maps: such an adapter then looks at all its settings before it refuses it.
const UNMAPPED: &str = "busbar.settings.checked.v1";

/// Adds what the adapters themselves find wrong in their systems' settings, each at its place. Nothing leaves the
/// machine: the world of these calls is a script without an answer.
///
/// # Errors
/// When the machine cannot run adapters.
pub async fn check_settings(deployment: &Deployment, report: &mut Report) -> anyhow::Result<()> {
    let checks = |system: &&System| {
        let manifest = system.adapter.as_ref().and_then(|file| file.inspection.manifest.as_ref());
        manifest.is_some_and(|manifest| manifest.checks_settings)
    };
    if !deployment.systems.values().any(|system| checks(&system)) {
        return Ok(());
    }
    let bench = Bench::of(deployment.rules.clone(), deployment.config.compile.clone())?;
    let (source, _) = Source::parse(report.text.clone());
    let mut loaded: BTreeMap<&str, Arc<Loaded>> = BTreeMap::new();
    for (name, system) in deployment.systems.iter().filter(|(_, system)| checks(system)) {
        let Some(file) = &system.adapter else { continue };
        let loaded = match loaded.entry(&file.inspection.sha256) {
            btree_map::Entry::Occupied(known) => known.get().clone(),
            btree_map::Entry::Vacant(new) => match Loaded::load(&bench.runtime, &file.wasm) {
                Ok(loaded) => new.insert(Arc::new(loaded)).clone(),
                Err(problem) => {
                    let span = source.value_span(&format!("/systems/{}/adapter", escape(name)));
                    report.error("broken-adapter", span, problem.to_string(), problem.code.remedy());
                    continue;
                }
            },
        };
        let Some(refused) = refused(&bench, &loaded, system).await? else { continue };
        let [code, reason, place] = ["code", "reason", "place"].map(|part| refused[part].as_str().unwrap_or_default());
        let span = source.value_span(&format!("/systems/{}{}", escape(name), pointer(place)));
        report.error("bad-settings", span, format!("{code}: {reason}"), "see the README of the system's adapter");
    }
    Ok(())
}

/// What the adapter says of the settings, where it is not only that they do not map the type.
async fn refused(bench: &Bench, loaded: &Arc<Loaded>, system: &System) -> anyhow::Result<Option<Value>> {
    let message = json!({ "id": "1", "type": UNMAPPED, "data": {} });
    let input = Input { entry: Entry::Deliver, name: String::new(), bytes: message.to_string().into_bytes() };
    let setup = Setup { config: system.config.config.clone(), ..Setup::default() };
    let outcome = run_scripted(&bench.runtime, loaded, &bench.rules, setup, input).await?;
    let failure = outcome.result["failure"].clone();
    Ok((failure["code"] != json!("unmapped-type")).then_some(failure))
}

/// The JSON Pointer, within a system, of a place such as `config, deliver."invoice.issued.v1".path`.
fn pointer(place: &str) -> String {
    let path = place.strip_prefix("config, ").unwrap_or_default();
    let mut pointer = "/config".to_string();
    let mut at = toml::from_str::<Value>(&format!("{path} = 0")).unwrap_or_default();
    while let Some((name, below)) = at.as_object().and_then(|table| table.iter().next()) {
        pointer.push_str(&format!("/{}", escape(name)));
        at = below.clone();
    }
    pointer
}

//! `adapter inspect`, `adapter try` and `adapter test`.

use super::cases::{Input, run_case, run_scripted};
use super::component_path;
use super::outcome::{Outcome, show_request};
use super::script::Setup;

use crate::config::model::CompileConfig;
use crate::deployment;
use crate::wasm::compile::read_component;
use crate::wasm::inspect::inspect as look;
use crate::wasm::{Compiler, Entry, Loaded, Needs, Runtime};
use anyhow::{Context, bail};
use busbar_core::Rules;
use clap::Args;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Args)]
pub struct InspectArgs {
    /// Name of a built adapter, or path of a .wasm file.
    adapter: String,
}

#[derive(Args)]
pub struct TryArgs {
    /// Name of a built adapter, or path of a .wasm file.
    adapter: String,
    entry: Entry,
    /// The file to decode; the message or question as CloudEvents JSON, an array of messages to encode;
    /// the request as JSON (`method`, `path`, `query`, `headers`, `body`); the cursor of a poll; an array of what happens
    /// on a connection. `-` reads standard input.
    #[arg(required_unless_present = "first")]
    input: Option<String>,
    /// For poll: the first one, without a cursor.
    #[arg(long, conflicts_with = "input")]
    first: bool,
    /// The system's settings, a JSON object.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A case's `setup.json`: what the world answers.
    #[arg(long)]
    setup: Option<PathBuf>,
    /// Folder of the canonical schemas.
    #[arg(long, default_value = "schemas")]
    schemas: PathBuf,
}

#[derive(Args)]
pub struct TestArgs {
    /// Names of adapters; all built ones where absent.
    names: Vec<String>,
    /// Run a deployment's own cases instead, `<folder>/cases/<system>/<case>/`, with the systems' settings of its
    /// `busbar.toml`: they show that its mappings do what is meant.
    #[arg(long, conflicts_with = "names")]
    deployment: Option<PathBuf>,
    /// Folder of the adapters' workspace.
    #[arg(long, default_value = "plugins")]
    plugins: PathBuf,
    /// Folder of the canonical schemas.
    #[arg(long, default_value = "schemas")]
    schemas: PathBuf,
}

pub fn inspect(args: &InspectArgs, as_json: bool) -> anyhow::Result<ExitCode> {
    let path = component_path(&args.adapter)?;
    let found = look(&read_component(&path, &CompileConfig::default())?).with_context(|| path.display().to_string())?;
    if as_json {
        println!("{}", serde_json::to_string(&found)?);
        return Ok(ExitCode::SUCCESS);
    }
    let entries = found.entries();
    let manifest = found.manifest.unwrap_or_default();
    let none = |list: &[String]| if list.is_empty() { "nothing".to_string() } else { list.join(", ") };
    println!("{} {}  {}", manifest.name, manifest.version, manifest.description);
    println!("file       {}, {} kB", path.display(), found.bytes / 1000);
    println!("sha256     {}", found.sha256);
    println!("contract   busbar:adapter@{}", found.contract);
    println!("needs      {}", needed(&found.needs));
    println!("exports    {}", if entries.is_empty() { "nothing" } else { &entries });
    println!("imports    {}", none(&found.imports));
    if !found.foreign_imports.is_empty() {
        println!("foreign    {}: the host does not have these, it will not load", none(&found.foreign_imports));
    }
    println!("states     {}", none(&manifest.emits));
    println!("takes      {}", none(&manifest.delivers));
    println!("asks       {}", none(&manifest.asks));
    println!("answers    {}", none(&manifest.answers));
    println!("format     {}", manifest.spec);
    if let Some(properties) = manifest.config_schema.get("properties").and_then(Value::as_object) {
        println!("config");
        for (name, schema) in properties {
            println!("  {name}: {}", schema.get("description").and_then(Value::as_str).unwrap_or_default());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `[systems.x.limits]` must allow.
fn needed(needs: &Needs) -> String {
    let Needs { core_instances, memories, memory_bytes, tables, table_elements } = needs;
    format!(
        "core-instances {core_instances}, memories {memories}, memory-bytes {memory_bytes} at first, tables {tables}, \
         table-elements {table_elements}"
    )
}

/// A runtime and the canonical types, for running adapters without a hub.
pub struct Bench {
    pub runtime: Arc<Runtime>,
    pub rules: Arc<Rules>,
}

impl Bench {
    /// # Errors
    /// When the schemas cannot be read or the machine cannot run adapters.
    pub fn new(schemas: &Path) -> anyhow::Result<Self> {
        let catalog = deployment::catalog(schemas).map_err(anyhow::Error::msg)?;
        Self::of(Arc::new(Rules::new(catalog, Vec::new())), CompileConfig::default())
    }

    /// # Errors
    /// When the machine cannot run adapters.
    pub fn of(rules: Arc<Rules>, limits: CompileConfig) -> anyhow::Result<Self> {
        Ok(Self { runtime: Arc::new(Runtime::new(None, Compiler::this(limits))?), rules })
    }

    /// # Errors
    /// When the file is missing or no adapter.
    pub fn load(&self, path: &Path) -> anyhow::Result<Arc<Loaded>> {
        let wasm = read_component(path, &CompileConfig::default())?;
        let loaded = Loaded::load(&self.runtime, &wasm).with_context(|| path.display().to_string())?;
        Ok(Arc::new(loaded))
    }
}

pub async fn try_once(args: TryArgs) -> anyhow::Result<ExitCode> {
    let bench = Bench::new(&args.schemas)?;
    let loaded = bench.load(&component_path(&args.adapter)?)?;
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| path.display().to_string());
    let mut setup: Setup = match &args.setup {
        Some(path) => serde_json::from_slice(&read(path)?).with_context(|| path.display().to_string())?,
        None => Setup::default(),
    };
    if let Some(path) = &args.config {
        setup.config = serde_json::from_slice(&read(path)?).with_context(|| path.display().to_string())?;
    }
    let mut bytes = Vec::new();
    match args.input.as_deref() {
        Some("-") => drop(std::io::stdin().read_to_end(&mut bytes)?),
        Some(path) => bytes = read(&PathBuf::from(path))?,
        None => {}
    }
    let input = args.input.unwrap_or_default();
    let name = Path::new(&input).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let outcome =
        run_scripted(&bench.runtime, &loaded, &bench.rules, setup, Input { entry: args.entry, name, bytes }).await?;
    print(&outcome);
    Ok(if outcome.result == json!("ok") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(outcome: &Outcome) {
    for (level, text) in &outcome.seen.logs {
        println!("{}", json!({ "log": { "level": level.as_str().to_lowercase(), "text": text } }));
    }
    for request in &outcome.seen.http {
        println!("{}", json!({ "call": { "http": show_request(request) } }));
    }
    for question in &outcome.seen.asked {
        println!("{}", json!({ "call": { "ask": question.to_structured() } }));
    }
    for message in &outcome.messages {
        println!("{}", json!({ "message": message }));
    }
    for entry in &outcome.left_out {
        println!("{}", json!({ "left-out": entry }));
    }
    if !outcome.state.is_empty() {
        println!("{}", json!({ "state": outcome.state }));
    }
    let extra = [
        ("response", &outcome.response),
        ("answer", &outcome.answer),
        ("polled", &outcome.polled),
        ("file", &outcome.file),
        ("steps", &outcome.steps),
    ];
    for (name, value) in extra.into_iter().filter_map(|(n, v)| v.as_ref().map(|v| (n, v))) {
        println!("{}", json!({ name: value }));
    }
    println!("{}", json!({ "result": outcome.result }));
}

/// The adapters named, or all in `plugins`.
pub fn adapter_names(given: &[String], plugins: &Path) -> anyhow::Result<Vec<String>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let entries = std::fs::read_dir(plugins).with_context(|| plugins.display().to_string())?;
    let adapters = entries.flatten().filter(|e| e.path().join("adapter.toml").exists());
    let mut names: Vec<_> = adapters.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// A folder of cases and what is tested by them.
struct Tested {
    name: String,
    adapter: String,
    place: PathBuf,
    /// Of a deployment's system.
    settings: Option<serde_json::Map<String, Value>>,
}

fn tested(args: &TestArgs) -> anyhow::Result<Vec<Tested>> {
    let Some(deployment) = &args.deployment else {
        let of = |name: String| {
            let place = args.plugins.join(&name).join("cases");
            Tested { adapter: name.clone(), name, place, settings: None }
        };
        return Ok(adapter_names(&args.names, &args.plugins)?.into_iter().map(of).collect());
    };
    let systems = deployment::systems(deployment).map_err(anyhow::Error::msg)?;
    let mut all = Vec::new();
    for place in case_folders(&deployment.join("cases"))? {
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let system = systems.get(&name).with_context(|| format!("no system `{name}` in {}", deployment.display()))?;
        let adapter = system.adapter.clone().with_context(|| format!("system `{name}` has no adapter"))?;
        all.push(Tested { name, adapter, place, settings: Some(system.config.clone()) });
    }
    Ok(all)
}

/// The folders in a folder of cases.
pub fn case_folders(cases: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(cases).with_context(|| cases.display().to_string())?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

pub async fn test(args: &TestArgs, as_json: bool) -> anyhow::Result<ExitCode> {
    let bench = Bench::new(&args.schemas)?;
    let (mut passed, mut failed) = (0, 0);
    for Tested { name, adapter, place, settings } in tested(args)? {
        let loaded = bench.load(&component_path(&adapter)?)?;
        for folder in case_folders(&place)? {
            let case = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let result = run_case(&bench.runtime, &loaded, &bench.rules, &folder, settings.as_ref()).await;
            let error = result.err().map(|e| format!("{e:#}"));
            if error.is_some() {
                failed += 1
            } else {
                passed += 1
            }
            match (as_json, &error) {
                (true, _) => {
                    println!("{}", json!({ "adapter": name, "case": case, "ok": error.is_none(), "error": error }))
                }
                (false, None) => println!("ok      {name}/{case}"),
                (false, Some(error)) => println!("FAILED  {name}/{case}\n{error}"),
            }
        }
    }
    if passed + failed == 0 {
        bail!("there were no cases to run");
    }
    if !as_json {
        println!("{passed} cases passed, {failed} failed");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

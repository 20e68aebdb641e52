//! `adapter fuzz`: the inputs of an adapter's cases, damaged in every way, through the real component. A trap, a timeout
//! or a limit reached is contained by the host, and is a defect of the adapter all the same; so is a message that its
//! schema refuses, unless the settings say what is stated, or what the adapter kept was damaged.

use super::adapter::{Bench, adapter_names, case_folders};
use super::cases::{Input, read_case, run_scripted};
use super::component_path;
use super::script::{Setup, body};
use crate::wasm::{Entry, Loaded, hex};
use anyhow::{Context, bail};
use busbar_core::Code;
use clap::Args;
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Inputs do not grow beyond this many bytes.
const INPUT_BYTES_MAX: usize = 256 << 10;
/// What often ends a parser badly.
const NASTY: [&[u8]; 22] = [
    b"<",
    b">",
    b"&",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b";",
    b":",
    b"=",
    b"\0",
    b"\xff",
    b"\r\n",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"0.0000000000000000001",
    b"<!DOCTYPE x [<!ENTITY a \"b\">]>&a;",
    b"\xd0",
];

#[derive(Args)]
pub struct FuzzArgs {
    /// Names of adapters; all in the workspace where absent.
    names: Vec<String>,
    /// Seconds for each adapter.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// So many inputs for each adapter, in place of a time.
    #[arg(long, conflicts_with = "seconds")]
    inputs: Option<u64>,
    /// The same seed damages in the same way.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// More files to begin with, for adapters that decode: a folder, with all below it.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Where inputs are kept that end badly, each as a case.
    #[arg(long, default_value = "fuzz")]
    out: PathBuf,
    /// Folder of the adapters' workspace.
    #[arg(long, default_value = "plugins")]
    plugins: PathBuf,
    /// Folder of the canonical schemas.
    #[arg(long, default_value = "schemas")]
    schemas: PathBuf,
}

/// What became of an adapter's runs.
#[derive(Default)]
struct Tally {
    runs: u64,
    /// By how they ended: `ok`, the failure's case, or the hub's own code.
    ends: BTreeMap<String, u64>,
    found: Vec<String>,
}

pub async fn fuzz(args: FuzzArgs, as_json: bool) -> anyhow::Result<ExitCode> {
    let names = adapter_names(&args.names, &args.plugins)?;
    let (bench, args) = (Arc::new(Bench::new(&args.schemas)?), Arc::new(args));
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tallies = futures::stream::iter(names)
        .map(|name| {
            let (bench, args) = (bench.clone(), args.clone());
            tokio::spawn(async move { of_adapter(&args, &bench, &name).await.map(|tally| (name, tally)) })
        })
        .buffered(at_once);
    let mut bad = 0;
    while let Some(tally) = tallies.next().await {
        let (name, tally) = tally??;
        bad += tally.found.len();
        if as_json {
            println!("{}", json!({ "adapter": name, "runs": tally.runs, "ends": tally.ends, "found": tally.found }));
            continue;
        }
        let ends: Vec<_> = tally.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        println!("{name}: {} inputs; {}", tally.runs, ends.join(", "));
        tally.found.iter().for_each(|found| println!("  FOUND {found}"));
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn of_adapter(args: &FuzzArgs, bench: &Bench, name: &str) -> anyhow::Result<Tally> {
    let loaded = bench.load(&component_path(name)?)?;
    let seeds = seeds(args, name, &loaded)?;
    run(args, bench, name, &loaded, &seeds).await
}

fn seeds(args: &FuzzArgs, name: &str, loaded: &Loaded) -> anyhow::Result<Vec<(Setup, Input)>> {
    let folders = case_folders(&args.plugins.join(name).join("cases"))?;
    let mut seeds = folders.iter().map(|folder| read_case(loaded, folder)).collect::<Result<Vec<_>, _>>()?;
    let decodes = seeds.iter().find(|(_, input)| input.entry == Entry::Decode).map(|(setup, _)| setup.clone());
    if let (Some(corpus), Some(setup)) = (&args.corpus, decodes) {
        let mut files = Vec::new();
        below(corpus, &mut files).with_context(|| corpus.display().to_string())?;
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            seeds.push((setup.clone(), Input { entry: Entry::Decode, name, bytes: std::fs::read(&file)? }));
        }
    }
    if seeds.is_empty() {
        bail!("{name} has no cases to begin with");
    }
    Ok(seeds)
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

async fn run(
    args: &FuzzArgs,
    bench: &Bench,
    name: &str,
    loaded: &Arc<Loaded>,
    seeds: &[(Setup, Input)],
) -> anyhow::Result<Tally> {
    let manifest = loaded.inspection.manifest.as_ref();
    let by_settings = manifest.is_some_and(|manifest| manifest.emits.iter().any(|emitted| emitted == "*"));
    let mut dice = StdRng::seed_from_u64(args.seed);
    let mut tally = Tally::default();
    let began = Instant::now();
    let more = |runs: u64| match args.inputs {
        Some(inputs) => runs < inputs,
        None => began.elapsed() < Duration::from_secs(args.seconds),
    };
    while more(tally.runs) {
        let Some((given, input)) = seeds.get(dice.random_range(0..seeds.len())) else { break };
        let (setup, input) = damaged(&mut dice, given.clone(), input.clone());
        // What an adapter kept it wrote itself: what comes of damage there is rightly refused by the schemas.
        let judged = !by_settings && setup.state == given.state;
        tally.runs += 1;
        let ran = run_scripted(&bench.runtime, loaded, &bench.rules, setup.clone(), input.clone()).await;
        // What the case's own frame cannot hold is no input for the adapter.
        let Ok(outcome) = ran else { continue };
        let failure = &outcome.result["failure"];
        let end = match failure["case"].as_str() {
            None => "ok",
            Some("hub") => failure["code"].as_str().unwrap_or("hub"),
            Some(case) => case,
        };
        *tally.ends.entry(end.to_string()).or_default() += 1;
        if end.starts_with("adapter-") || (end == Code::InvalidEmit.as_str() && judged) {
            let kept = keep(&args.out, name, &input).with_context(|| args.out.display().to_string())?;
            let text = format!("{end}: {}: {}", failure["reason"].as_str().unwrap_or_default(), kept.display());
            if tally.found.len() < 20 {
                tally.found.push(text);
            }
        }
    }
    Ok(tally)
}

/// Writes an input down, to be made a case.
fn keep(out: &Path, adapter: &str, input: &Input) -> std::io::Result<PathBuf> {
    let digest: String = hex(&Sha256::digest(&input.bytes)).chars().take(12).collect();
    let folder = out.join(format!("{adapter}-{}-{digest}", input.entry));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(&input.name), &input.bytes)?;
    Ok(folder)
}

/// Damages what the outside world says; what the host guarantees, such as valid messages, stays.
fn damaged(dice: &mut StdRng, mut setup: Setup, mut input: Input) -> (Setup, Input) {
    match input.entry {
        Entry::Decode => input.bytes = bytes(dice, input.bytes),
        Entry::Receive => in_json(&mut input, |request| damage_request(dice, request)),
        Entry::Connection => in_json(&mut input, |events| damage_events(dice, events)),
        _ => {}
    }
    for answer in &mut setup.http {
        if dice.random_bool(0.7) {
            let text = if answer.body.is_null() { std::mem::take(&mut answer.body_bytes) } else { body(&answer.body) };
            answer.body = Value::Null;
            answer.body_bytes = bytes(dice, text);
        }
    }
    for kept in setup.state.values_mut() {
        if dice.random_bool(0.1) {
            *kept = String::from_utf8_lossy(&bytes(dice, kept.clone().into_bytes())).into_owned();
        }
    }
    (setup, input)
}

fn in_json(input: &mut Input, change: impl FnOnce(&mut Value)) {
    if let Ok(mut value) = serde_json::from_slice(&input.bytes) {
        change(&mut value);
        input.bytes = value.to_string().into_bytes();
    }
}

fn damage_request(dice: &mut StdRng, request: &mut Value) {
    let Some(request) = request.as_object_mut() else { return };
    let given = request.remove("body").map(|value| body(&value));
    let listed = request.get("body-bytes").and_then(|value| serde_json::from_value(value.clone()).ok());
    let whole: Vec<u8> = given.or(listed).unwrap_or_default();
    request.insert("body-bytes".into(), bytes(dice, whole).into());
    for part in ["query", "path"] {
        if let Some(Value::String(text)) = request.get_mut(part)
            && dice.random_bool(0.5)
        {
            *text = String::from_utf8_lossy(&bytes(dice, text.clone().into_bytes())).into_owned();
        }
    }
    for value in request.get_mut("headers").and_then(Value::as_object_mut).into_iter().flat_map(|h| h.values_mut()) {
        if let Value::String(text) = value
            && dice.random_bool(0.2)
        {
            *text = String::from_utf8_lossy(&bytes(dice, text.clone().into_bytes())).into_owned();
        }
    }
}

fn damage_events(dice: &mut StdRng, events: &mut Value) {
    for event in events.as_array_mut().into_iter().flatten() {
        let Some(event) = event.as_object_mut() else { continue };
        let came = match (event.get("text"), event.get("bytes")) {
            (Some(Value::String(text)), _) => text.clone().into_bytes(),
            (None, Some(Value::String(hex))) => super::sessions::unhex(hex).unwrap_or_default(),
            _ => continue,
        };
        if dice.random_bool(0.5) {
            event.remove("text");
            event.insert("bytes".into(), hex(&bytes(dice, came)).into());
        }
    }
}

/// One to four changes.
fn bytes(dice: &mut StdRng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..dice.random_range(1..=4) {
        let at = dice.random_range(0..=bytes.len());
        let until = dice.random_range(at..=bytes.len().min(at.saturating_add(64)));
        match dice.random_range(0..7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..until)),
            2 => {
                let nasty = NASTY.get(dice.random_range(0..NASTY.len())).copied().unwrap_or_default();
                drop(bytes.splice(at..until, nasty.iter().copied()));
            }
            3 => {
                let part = bytes.get(at..until).unwrap_or_default().to_vec();
                let times = dice.random_range(1..200);
                if bytes.len() + part.len() * times <= INPUT_BYTES_MAX {
                    drop(bytes.splice(at..at, part.repeat(times)));
                }
            }
            4 => bytes.insert(at, dice.random()),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.random_range(0..8);
                }
            }
        }
    }
    bytes
}

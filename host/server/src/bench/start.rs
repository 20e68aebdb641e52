//! How long a hub needs to be ready, and how much memory then: as the program itself, with a deployment made
//! for the purpose.

use super::call::SHIPPED;
use super::inputs::config;
use super::{memory, sample::median};
use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Medians over the rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StartCost {
    pub systems: usize,
    /// With every adapter compiled anew.
    pub first_ms: f64,
    /// From the compiled code that the first start left.
    pub ready_ms: f64,
    pub memory_bytes: u64,
}

/// Starts a hub with `systems` systems of the shipped adapters in `adapters`, in turn.
///
/// # Errors
/// When it does not start.
pub fn measure(adapters: &Path, schemas: &Path, rounds: usize, systems: usize) -> anyhow::Result<StartCost> {
    let folder = tempfile::Builder::new().prefix("busbar-bench-").tempdir()?;
    std::os::unix::fs::symlink(std::path::absolute(adapters)?, folder.path().join("adapters"))?;
    std::fs::create_dir(folder.path().join("data"))?;
    std::fs::write(folder.path().join("signing"), super::inputs::SECRET)?;
    std::fs::write(folder.path().join("busbar.toml"), deployment(&std::path::absolute(schemas)?, systems)?)?;
    let (first_ms, _) = once(folder.path())?;
    let mut found = Vec::new();
    for _ in 0..rounds {
        found.push(once(folder.path())?);
    }
    Ok(StartCost {
        systems,
        first_ms,
        ready_ms: median(found.iter().map(|(ms, _)| *ms).collect()),
        memory_bytes: found.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default(),
    })
}

fn deployment(schemas: &Path, systems: usize) -> anyhow::Result<String> {
    let mut text = format!("name = \"bench\"\nschemas = {}\n", Value::from(schemas.display().to_string()));
    for number in 0..systems {
        let adapter = SHIPPED.get(number % SHIPPED.len()).copied().unwrap_or_default();
        let mut system = serde_json::json!({ "adapter": adapter, "config": config(adapter) });
        system["grants"] = match adapter {
            "rest-json" => serde_json::json!({ "http": ["http://127.0.0.1:18081"] }),
            "webhook" => {
                system["credentials"] = serde_json::json!({ "signing": { "file": "signing" } });
                serde_json::json!({ "http": ["http://127.0.0.1:18083"], "credentials": ["signing"], "clock": true, "emit": [] })
            }
            "osmp" => serde_json::json!({
                "emit": ["payment.received.v1"], "ask": ["account.lookup.v1"], "clock": true, "lookup": true,
            }),
            _ => serde_json::json!({ "emit": ["payment.received.v1", "payment.rejected.v1", "statement.imported.v1"] }),
        };
        writeln!(
            text,
            "[systems.s{number}]\n{}",
            toml::to_string(&system)?.replace("\n[", &format!("\n[systems.s{number}."))
        )?;
    }
    Ok(text)
}

/// Milliseconds until it says that it is ready, and its memory then.
fn once(folder: &Path) -> anyhow::Result<(f64, u64)> {
    let began = Instant::now();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", "--json", "--listen", "127.0.0.1:0"]).arg(folder).env("BUSBAR_LOG", "error");
    let log = std::fs::File::create(folder.join("log"))?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    let line = ready(&mut child);
    let (took, bytes) = (began.elapsed(), memory::bytes(&child.id().to_string(), "VmHWM"));
    child.kill()?;
    child.wait()?;
    if !line.context("waiting for the hub")?.contains("\"ready\":true") {
        bail!("the hub did not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }
    Ok((took.as_secs_f64() * 1e3, bytes))
}

fn ready(child: &mut Child) -> std::io::Result<String> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    Ok(line)
}

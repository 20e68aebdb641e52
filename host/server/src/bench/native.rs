//! The adapters' mappings as native functions: `plugins/native`, built and run beside the hub.

use super::inputs::{self, NOW_MS, account_found, payment, statement, terminal};
use super::sample::Sample;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub struct Native {
    binary: PathBuf,
}

impl Native {
    /// Builds it in the adapters' workspace, optimised as the adapters are.
    ///
    /// # Errors
    /// When the sources are not there, or cargo fails.
    pub fn build(plugins: &Path) -> anyhow::Result<Self> {
        let target =
            std::env::var_os("BUSBAR_PLUGINS_TARGET_DIR").map_or_else(|| plugins.join("target"), PathBuf::from);
        let target = std::path::absolute(target)?;
        let mut cargo = Command::new("cargo");
        cargo.current_dir(plugins).args(["build", "--quiet", "--release", "--locked", "-p", "native"]);
        cargo.env("CARGO_TARGET_DIR", &target);
        let built = cargo.status().with_context(|| format!("cargo in {}", plugins.display()))?;
        if !built.success() {
            bail!("cargo did not build {}", plugins.join("native").display());
        }
        Ok(Self { binary: target.join("release/native") })
    }

    /// The times of so many calls, after some to warm up.
    ///
    /// # Errors
    /// When the mapping fails.
    pub fn sample(&self, adapter: &str, calls: usize, warm_up: usize) -> anyhow::Result<Sample> {
        let mut child = Command::new(&self.binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let work = work(adapter, calls + warm_up)?.to_string();
        child.stdin.take().context("no standard input")?.write_all(work.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("the native {adapter} failed; its message is above");
        }
        let times: Vec<u64> = serde_json::from_slice(&output.stdout)?;
        let mut sample = Sample::default();
        times.into_iter().skip(warm_up).for_each(|ns| sample.push(Duration::from_nanos(ns)));
        Ok(sample)
    }
}

fn work(adapter: &str, calls: usize) -> anyhow::Result<Value> {
    let mut file = Vec::new();
    statement().read_to_end(&mut file)?;
    let message = payment("p-1");
    let data = if adapter == "osmp" { account_found().to_string() } else { message.data.text().to_string() };
    Ok(json!({
        "adapter": adapter,
        "config": inputs::config(adapter).to_string(),
        "calls": calls,
        "message": {
            "id": message.id,
            "source": message.source,
            "type": message.r#type,
            "subject": message.subject,
            "time": message.time,
            "data": data,
        },
        "query": terminal().query,
        "file": file,
        "now_ms": NOW_MS,
    }))
}

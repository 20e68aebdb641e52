//! `run` and `check`.

use crate::config::finding::{Report, Severity};
use crate::deployment;
use anyhow::Context;
use clap::Args;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args)]
pub struct RunArgs {
    /// Folder with `busbar.toml`.
    deployment: PathBuf,
    /// Listen here instead of `http.listen`.
    #[arg(long)]
    listen: Option<String>,
    /// Seconds for what runs to end after SIGTERM or Ctrl-C.
    #[arg(long, default_value_t = 20)]
    drain: u64,
}

#[derive(Args)]
pub struct CheckArgs {
    /// Folder with `busbar.toml`.
    deployment: PathBuf,
    /// Warnings are errors.
    #[arg(long)]
    strict: bool,
}

pub async fn run(args: RunArgs, json: bool) -> anyhow::Result<ExitCode> {
    super::log::start(json);
    sockets();
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!("SIGHUP is ignored: to read busbar.toml again, end the hub with SIGTERM and start it");
        }
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (deployment, report) = deployment::load(&args.deployment);
    if !report.findings.is_empty() {
        eprintln!("{}", report.render(std::io::stderr().is_terminal()));
    }
    let Some(mut deployment) = deployment else {
        anyhow::bail!("{} has mistakes; nothing was started", report.path);
    };
    if let Some(listen) = args.listen {
        deployment.config.http.listen = listen;
    }
    let metrics = PrometheusBuilder::new().install_recorder().context("metrics")?;
    let (name, systems) = (deployment.config.name.clone(), deployment.systems.len());
    let scheme = if deployment.certificates.is_some() { "https" } else { "http" };
    let running = crate::app::start(deployment, Some(metrics)).await?;
    tracing::info!(address = %running.address, deployment = name, systems, "busbar is ready");
    let line = match json {
        true => json!({ "ready": true, "address": running.address.to_string() }).to_string(),
        false => format!("busbar is ready: {scheme}://{}  (deployment {name}, {systems} systems)", running.address),
    };
    // A hub whose reader is gone goes on.
    let _ = writeln!(std::io::stdout(), "{line}");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: nothing more is taken, what runs may end");
    running.stop(Duration::from_secs(args.drain)).await;
    Ok(ExitCode::SUCCESS)
}

/// As many sockets and files as the machine allows: the usual thousand is fewer than connections may be open.
fn sockets() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

pub async fn check(args: &CheckArgs, json: bool) -> anyhow::Result<ExitCode> {
    let (deployment, mut report) = deployment::load(&args.deployment);
    if let Some(deployment) = &deployment {
        super::settings::check_settings(deployment, &mut report).await?;
    }
    let failed = report.has_errors() || (args.strict && !report.findings.is_empty());
    if json {
        println!("{}", report.json());
    } else {
        show(&report);
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(report: &Report) {
    if !report.findings.is_empty() {
        println!("{}\n", report.render(std::io::stdout().is_terminal()));
    }
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    match (errors, warnings) {
        (0, 0) => println!("{}: no mistakes", report.path),
        (errors, warnings) => println!("{}: {errors} errors, {warnings} warnings", report.path),
    }
}

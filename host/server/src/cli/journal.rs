//! `journal`: backup, restore, and what a person must know afterwards.

use crate::app::store_url;
use crate::deployment::{self, Deployment};
use crate::store::{self, SqlStore};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use time::OffsetDateTime;

#[derive(Subcommand)]
pub enum JournalCommand {
    /// Write all of the journal, as it is now, to a file; the hub may run.
    Backup(BackupArgs),
    /// Fill a new journal from a backup, while the hub does not run. What was to be made then is parked.
    Restore(RestoreArgs),
    /// Tell what a restored journal cannot know, before the hub runs again.
    Reconcile(ReconcileArgs),
    /// Say that this machine's clock is right, although it is far ahead of the journal; the hub may run.
    TrustClock(TrustClockArgs),
}

#[derive(Args)]
pub struct BackupArgs {
    /// Folder with `busbar.toml`.
    deployment: PathBuf,
    /// File to write, `….ndjson.zst`.
    target: PathBuf,
}

#[derive(Args)]
pub struct RestoreArgs {
    /// Folder with `busbar.toml`; its store must be new.
    deployment: PathBuf,
    /// File that a backup wrote.
    source: PathBuf,
    /// Make what was to be made when the backup was, although it may have been made since.
    #[arg(long)]
    make_again: bool,
}

#[derive(Args)]
pub struct ReconcileArgs {
    /// Folder with `busbar.toml`.
    deployment: PathBuf,
}

#[derive(Args)]
pub struct TrustClockArgs {
    /// Folder with `busbar.toml`.
    deployment: PathBuf,
}

pub async fn journal(command: JournalCommand, json: bool) -> anyhow::Result<ExitCode> {
    let now_ms = i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000)?;
    match command {
        JournalCommand::Backup(args) => {
            let (_, store) = open(&args.deployment).await?;
            let counts = store.backup(&args.target, now_ms).await?;
            store.close().await;
            show(json, &counts, |c| format!("{} messages written to {}", c.messages, args.target.display()))?;
        }
        JournalCommand::Restore(args) => {
            let deployment = load(&args.deployment)?;
            let url = store_url(&deployment);
            let _lock = store::lock(&url).context("taking the store")?;
            let store = SqlStore::open(&url).await.context("opening the store")?;
            let counts = store.restore(&args.source, args.make_again, now_ms).await?;
            store.close().await;
            let fate = if args.make_again { "are made again" } else { "are parked as `unknown-outcome`" };
            show(json, &counts, |c| format!("{} messages restored; {} deliveries {fate}", c.messages, c.in_flight))?;
        }
        JournalCommand::TrustClock(args) => {
            let (_, store) = open(&args.deployment).await?;
            store.trust_clock(now_ms).await?;
            store.close().await;
            let now = crate::wasm::rfc3339(now_ms).unwrap_or_default();
            show(json, &json!({ "clock": now }), |_| format!("the journal goes by {now}; retention goes on"))?;
        }
        JournalCommand::Reconcile(args) => {
            let (deployment, store) = open(&args.deployment).await?;
            let found = store.reconcile(&deployment.folder.join("archive")).await?;
            store.close().await;
            show(json, &found, |found| {
                let depths = found.depths.iter().map(|d| format!("  {} {}: {}\n", d.system, d.state.as_str(), d.count));
                let lacking = found.lacking.iter().map(|(source, id)| format!("  {source} {id}\n"));
                format!(
                    "deliveries by system and state:\n{}parked, because they may have been made after the backup: {}\n\
                     accepted after the backup, in the archive and not in the journal: {}\n{}",
                    depths.collect::<String>(),
                    found.unknown_count,
                    found.lacking_count,
                    lacking.collect::<String>()
                )
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn open(folder: &Path) -> anyhow::Result<(Deployment, SqlStore)> {
    let deployment = load(folder)?;
    let store = SqlStore::open(&store_url(&deployment)).await.context("opening the store")?;
    Ok((deployment, store))
}

fn load(folder: &Path) -> anyhow::Result<Deployment> {
    let (deployment, report) = deployment::load(folder);
    if report.has_errors() {
        eprintln!("{}", report.render(std::io::stderr().is_terminal()));
    }
    deployment.with_context(|| format!("{} has mistakes", report.path))
}

fn show<T: Serialize>(json: bool, value: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(value)?);
    } else {
        println!("{}", text(value));
    }
    Ok(())
}

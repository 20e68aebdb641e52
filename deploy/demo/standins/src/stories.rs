//! The stories of the example deployments: a real hub with the deployment's own `busbar.toml`, stand-ins for all
//! systems that the story passes, and what each of them saw.

mod grid;
mod retailer;

use crate::demo::child::HubProcess;
use crate::demo::{Options, local, paint, show_log, taken};
use anyhow::{Context, bail};
use busbar_standins::desk::{self, Asked, Desk};
use busbar_standins::hub::Hub;
use clap::ValueEnum;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const PUBLISH_KEY: &str = "demo-publish-key";
const READ_KEY: &str = "demo-read-key";
/// For one step of a story.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, ValueEnum)]
pub enum Story {
    /// A breaker opens: outage, messages and calls to those concerned, receipts.
    GridCompany,
    /// A payment at a terminal: billing, accounting, receipt, portal.
    EnergyRetailer,
}

impl Story {
    pub fn folder(self) -> &'static str {
        match self {
            Self::GridCompany => "deploy/grid-company",
            Self::EnergyRetailer => "deploy/energy-retailer",
        }
    }
}

/// Plays a story; an error means that it could not be played.
pub async fn run(story: Story, options: &Options, interrupted: &CancellationToken) -> anyhow::Result<ExitCode> {
    if !options.busbar.is_file() {
        bail!("there is no program {}; build it or pass --busbar", options.busbar.display());
    }
    empty(&options.deployment)?;
    let log = options.deployment.join("data/hub.log");
    let played = tokio::select! {
        played = async {
            match story {
                Story::GridCompany => grid::play(options, &log).await,
                Story::EnergyRetailer => retailer::play(options, &log).await,
            }
        } => played,
        () = interrupted.cancelled() => return Ok(ExitCode::from(130)),
    };
    match played {
        Ok(steps) => {
            paint::good(&format!("\nThe story is complete: all of its {steps} steps were seen."));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            paint::bad(&format!("\nThe story stops here: {error:#}"));
            show_log(&log);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// So that the story is the same every time.
fn empty(deployment: &Path) -> anyhow::Result<()> {
    if !deployment.join("busbar.toml").is_file() {
        bail!("{} is no deployment: it has no busbar.toml", deployment.display());
    }
    for name in ["data", "inbox", "outbox"] {
        let folder = deployment.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
    }
    let data = deployment.join("data");
    std::fs::create_dir_all(&data).with_context(|| data.display().to_string())
}

/// Systems that the story does not pass: they take everything, and have nothing new.
async fn quiet(ports: &[u16]) -> anyhow::Result<Vec<Desk>> {
    let mut desks = Vec::new();
    for port in ports {
        let nothing = |_: &Asked, _: &[Asked]| (200, json!({ "type": "list", "items": [], "next": null }));
        let desk = desk::start(local(*port), Box::new(nothing)).await;
        desks.push(desk.map_err(|e| taken(*port, "a stand-in", e))?);
    }
    Ok(desks)
}

/// A hub that runs, and the steps seen by now.
struct Stage {
    hub: Hub,
    process: HubProcess,
    steps: usize,
    began: Instant,
}

impl Stage {
    async fn open(options: &Options, port: u16, secrets: &[(&str, &str)], log: &Path) -> anyhow::Result<Self> {
        crate::demo::free(port, "the hub").await?;
        let hub = Hub::new(&format!("http://127.0.0.1:{port}"), PUBLISH_KEY, READ_KEY)?;
        let mut process = HubProcess::start(&options.busbar, &options.deployment, secrets, log)?;
        process.ready(&hub).await?;
        Ok(Self { hub, process, steps: 0, began: Instant::now() })
    }

    /// Waits until `seen` sees it, and tells what it saw.
    async fn step(&mut self, what: &str, mut seen: impl AsyncFnMut() -> Option<String>) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            if let Some(text) = seen().await {
                self.steps += 1;
                paint::row(&format!("{:>5} ms", self.began.elapsed().as_millis()), what);
                if !text.is_empty() {
                    paint::more(&text);
                }
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("waited {} s in vain for this: {what}", PATIENCE.as_secs());
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                status = self.process.ended() => bail!("the hub ended: {}", status?),
            }
        }
    }

    async fn close(self) -> anyhow::Result<usize> {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for message in self.hub.messages("").await? {
            *kinds.entry(message["type"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let counted: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        paint::row("journal", &counted.join(", "));
        self.process.stop().await;
        Ok(self.steps)
    }
}

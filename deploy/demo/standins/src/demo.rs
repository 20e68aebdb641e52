//! The demo: stand-ins and hub up, inputs in, story out, everything down.

mod checks;
pub mod child;
mod inputs;
mod observed;
pub mod paint;
mod play;
mod story;

use anyhow::{Context, anyhow, bail};
use busbar_standins::hub::Hub;
use busbar_standins::{billing, crm, portal};
use child::HubProcess;
use play::{Scene, Verdict};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

// The same as in deploy/demo/busbar.toml.
const HUB_PORT: u16 = 18080;
const BILLING_PORT: u16 = 18081;
const CRM_PORT: u16 = 18082;
const PORTAL_PORT: u16 = 18083;

// Known to everybody on purpose: the demo listens on this machine only. The hub's configuration holds
// the API keys as SHA-256 and takes the secrets from its environment.
const PUBLISH_KEY: &str = "demo-publish-key";
const READ_KEY: &str = "demo-read-key";
const BILLING_TOKEN: &str = "demo-billing-token";
const PORTAL_SECRET: &str = "whsec_ZGVtby1wb3J0YWwtc2VjcmV0LWZvci1sb2NhbGhvc3Q=";
const TERMINAL_USER: &str = "terminal";
const TERMINAL_PASSWORD: &str = "demo-terminal-password";

pub struct Options {
    pub stay: bool,
    pub busbar: PathBuf,
    pub deployment: PathBuf,
}

/// Runs the whole demo; an error means that it could not be played.
pub async fn run(options: &Options, interrupted: &CancellationToken) -> anyhow::Result<ExitCode> {
    if !options.busbar.is_file() {
        bail!("there is no program {}; build it or pass --busbar", options.busbar.display());
    }
    let inbox = prepare(&options.deployment)?;
    free(HUB_PORT, "the hub").await?;
    let scene = Scene {
        billing: start_billing().await?,
        crm: crm::start(local(CRM_PORT)).await.map_err(|error| taken(CRM_PORT, "the CRM", error))?,
        portal: start_portal().await?,
        hub: Hub::new(&format!("http://127.0.0.1:{HUB_PORT}"), PUBLISH_KEY, READ_KEY)?,
        inputs: options.deployment.join("inputs"),
        inbox,
    };
    let login = format!("{TERMINAL_USER}:{TERMINAL_PASSWORD}");
    let secrets =
        [("BILLING_TOKEN", BILLING_TOKEN), ("PORTAL_SECRET", PORTAL_SECRET), ("TERMINAL_LOGIN", login.as_str())];
    let log = options.deployment.join("data/hub.log");
    let mut process = HubProcess::start(&options.busbar, &options.deployment, &secrets, &log)?;
    let ended = supervise(&mut process, &scene, options.stay, interrupted).await;
    process.stop().await;
    match ended {
        Ok(Ended::Complete) => Ok(ExitCode::SUCCESS),
        Ok(Ended::Interrupted) => Ok(ExitCode::from(130)),
        Ok(Ended::Missing) => {
            show_log(&log);
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            show_log(&log);
            Err(error)
        }
    }
}

enum Ended {
    Complete,
    Missing,
    Interrupted,
}

async fn supervise(
    process: &mut HubProcess,
    scene: &Scene,
    stay: bool,
    interrupted: &CancellationToken,
) -> anyhow::Result<Ended> {
    story::opening(scene, process.log());
    tokio::select! {
        ready = process.ready(&scene.hub) => ready?,
        () = interrupted.cancelled() => return Ok(Ended::Interrupted),
    }
    let verdict = tokio::select! {
        verdict = play::play(scene) => verdict?,
        status = process.ended() => bail!("the hub ended in the middle: {}", status?),
        () = interrupted.cancelled() => return Ok(Ended::Interrupted),
    };
    if stay {
        paint::title("Everything keeps running. Ctrl-C ends it.");
        tokio::select! {
            status = process.ended() => bail!("the hub ended: {}", status?),
            () = interrupted.cancelled() => {}
        }
    }
    Ok(match verdict {
        Verdict::Complete => Ended::Complete,
        Verdict::Missing => Ended::Missing,
    })
}

/// Empties the folders that the demo fills, so that its story is the same every time.
fn prepare(deployment: &Path) -> anyhow::Result<PathBuf> {
    if !deployment.join("busbar.toml").is_file() {
        bail!("{} is no deployment: it has no busbar.toml", deployment.display());
    }
    for name in ["data", "inbox"] {
        let folder = deployment.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
    }
    let inbox = deployment.join("inbox/bank");
    for folder in [&deployment.join("data"), &inbox] {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(inbox)
}

async fn start_billing() -> anyhow::Result<billing::Billing> {
    let options = billing::Options {
        token: BILLING_TOKEN.to_owned(),
        accounts: Some(inputs::accounts()),
        ..billing::Options::default()
    };
    let started = billing::start(local(BILLING_PORT), options).await;
    started.map_err(|error| taken(BILLING_PORT, "billing's stand-in", error))
}

async fn start_portal() -> anyhow::Result<portal::Portal> {
    let started = portal::start(local(PORTAL_PORT), PORTAL_SECRET).await;
    started.map_err(|error| taken(PORTAL_PORT, "the portal's stand-in", error))
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub async fn free(port: u16, whose: &str) -> anyhow::Result<()> {
    let bound = tokio::net::TcpListener::bind(local(port)).await;
    bound.map(drop).map_err(|error| taken(port, whose, error))
}

pub fn taken(port: u16, whose: &str, error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error: anyhow::Error = error.into();
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    if kind != Some(std::io::ErrorKind::AddrInUse) {
        return error.context(format!("cannot listen on 127.0.0.1:{port} for {whose}"));
    }
    anyhow!(
        "port {port} of 127.0.0.1, which {whose} needs, is in use. `ss -ltnp 'sport = :{port}'` shows by \
         which program (perhaps a demo started with --stay); end that one and start again."
    )
}

pub fn show_log(log: &Path) {
    let tail = child::tail(log);
    if !tail.is_empty() {
        paint::title(&format!("The end of the hub's log ({})", log.display()));
        println!("{tail}");
    }
}

/// Writes the bank's files of `inputs/` again.
pub fn write_inputs(folder: &Path) -> anyhow::Result<ExitCode> {
    for (name, statement) in [(inputs::STATEMENT, inputs::statement()), (inputs::BROKEN, inputs::broken())] {
        let place = folder.join(name);
        std::fs::write(&place, statement.render()).with_context(|| place.display().to_string())?;
        println!("{}", place.display());
    }
    Ok(ExitCode::SUCCESS)
}

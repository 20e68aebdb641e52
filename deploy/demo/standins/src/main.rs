//! `busbar-demo`: plays a day of an invented utility against a real hub and tells what happened.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod demo;
mod stories;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Starts the hub with the demo's deployment and stand-ins for the systems around it, feeds it, and
/// tells what happened to each input. Ends with 0 when everything arrived, 1 when something did not,
/// 2 when it could not start, 130 when interrupted.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Keep everything running afterwards, until Ctrl-C.
    #[arg(long)]
    stay: bool,
    /// The hub's program [default: `busbar` beside this one].
    #[arg(long, value_name = "PATH")]
    busbar: Option<PathBuf>,
    /// The deployment's folder; its data/ and inbox/ are emptied first [default: `deploy/demo`, or the story's own].
    #[arg(long, value_name = "FOLDER")]
    deployment: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Play the story of an example deployment.
    Story { story: stories::Story },
    /// Write the bank's files again into a folder.
    #[command(hide = true)]
    WriteInputs { folder: PathBuf },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::WriteInputs { folder }) => demo::write_inputs(&folder),
        command => {
            let interrupted = CancellationToken::new();
            tokio::spawn(wait_for_signal(interrupted.clone()));
            let busbar = args.busbar.unwrap_or_else(beside_this_program);
            let own = |default: &str| args.deployment.clone().unwrap_or_else(|| default.into());
            let options = |default| demo::Options { stay: args.stay, busbar, deployment: own(default) };
            match command {
                Some(Command::Story { story }) => stories::run(story, &options(story.folder()), &interrupted).await,
                _ => demo::run(&options("deploy/demo"), &interrupted).await,
            }
        }
    };
    result.unwrap_or_else(|error| {
        demo::paint::fatal(&format!("The demo could not run: {error:#}"));
        ExitCode::from(2)
    })
}

fn beside_this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("busbar")
}

async fn wait_for_signal(interrupted: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    // Both ends of a session: Ctrl-C, and a polite kill.
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        interrupted.cancel();
    }
}

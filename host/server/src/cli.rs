//! The command line.

/// Like that of the standard library, which panics when the reader of a pipe has seen enough (`busbar … | head`).
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}

macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

mod adapter;
mod asyncapi;
mod bench;
mod build;
mod cases;
mod client;
mod desk;
mod entries;
mod fuzz;
mod journal;
mod key;
mod log;
mod new;
mod outcome;
mod output;
mod parked;
mod print;
mod rest;
mod run;
mod script;
mod sessions;
mod settings;
mod since;
mod toolchain;

pub use cases::{Input, read_case, run_case, run_scripted};
pub use script::{HttpAnswer, Setup};

use crate::wasm::compile;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The integration hub of an electricity utility.
#[derive(Parser)]
#[command(name = "busbar", version, about, long_about = None, after_help = "Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong arguments.")]
pub struct Cli {
    /// Output for programs: JSON, one value a line.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the hub of a deployment until it is told to stop.
    Run(run::RunArgs),
    /// Report every mistake in a deployment at once, with file, line and remedy.
    Check(run::CheckArgs),
    /// Send messages to a running hub.
    Send(client::SendArgs),
    /// Look into the journal of a running hub.
    Messages(client::MessagesArgs),
    /// The systems of a running hub, and how each is doing.
    Systems(desk::SystemsArgs),
    /// Hold a system's deliveries up, at every hub and over restarts, until it is resumed.
    Pause(desk::HoldArgs),
    /// Let a paused system's deliveries go on.
    Resume(desk::HoldArgs),
    /// Why deliveries fail now, grouped by cause; `busbar parked --cause …` lists and mends a group.
    Failures(desk::FailuresArgs),
    /// How much came in, and what became of it, by hour or day.
    Stats(desk::StatsArgs),
    /// Who decided what, when and why, and what became of it.
    Audit(desk::AuditArgs),
    /// Deliveries that failed for good: list, retry, edit or skip them.
    Parked(parked::ParkedArgs),
    /// Build, look at and try adapters.
    #[command(subcommand)]
    Adapter(AdapterCommand),
    /// API keys for the REST interface.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Back up the journal, restore it, and compare.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Measure this machine: each a comparison inside one run.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print generated documents.
    Print(print::PrintArgs),
    /// The process in which the others have components compiled.
    #[command(hide = true)]
    CompileComponent(compile::ChildArgs),
}

#[derive(Subcommand)]
enum AdapterCommand {
    /// Make the folder of a new adapter that builds and passes its case.
    New(new::NewArgs),
    /// Build adapters from source into components.
    Build(build::BuildArgs),
    /// Show what an adapter exports, imports, declares, and how large it is.
    Inspect(adapter::InspectArgs),
    /// Run one call of an adapter without a hub; messages, calls and logs come out as JSON lines.
    Try(adapter::TryArgs),
    /// Run an adapter's cases through the real component.
    Test(adapter::TestArgs),
    /// Feed damaged inputs of an adapter's cases to the real component: whatever comes, it must not trap.
    Fuzz(fuzz::FuzzArgs),
}

/// Where a running hub is.
#[derive(Args)]
pub struct HubArgs {
    /// Address of the hub.
    #[arg(long, env = "BUSBAR_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// API key.
    #[arg(long, env = "BUSBAR_KEY", hide_env_values = true)]
    key: Option<String>,
    /// With `https`: file with the authorities (PEM) that may have signed the hub's certificate, instead of the machine's own.
    #[arg(long, env = "BUSBAR_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// With `https`: file with the certificate (PEM) and its chain to be shown to the hub.
    #[arg(long, env = "BUSBAR_CERTIFICATE", value_name = "FILE", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// File with its private key (PEM).
    #[arg(long, env = "BUSBAR_CERTIFICATE_KEY", value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
}

/// Runs the command.
pub async fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let json = cli.json;
    match cli.command {
        Command::Run(args) => run::run(args, json).await,
        Command::Check(args) => run::check(&args, json).await,
        Command::Send(args) => client::send(args, json).await,
        Command::Messages(args) => client::messages(args, json).await,
        Command::Systems(args) => desk::systems(args, json).await,
        Command::Pause(args) => desk::hold(args, "pause", json).await,
        Command::Resume(args) => desk::hold(args, "resume", json).await,
        Command::Failures(args) => desk::failures(args, json).await,
        Command::Stats(args) => desk::stats(args, json).await,
        Command::Audit(args) => desk::audit(args, json).await,
        Command::Parked(args) => parked::parked(args, json).await,
        Command::Adapter(AdapterCommand::New(args)) => new::new(&args, json),
        Command::Adapter(AdapterCommand::Build(args)) => build::build(&args, json),
        Command::Adapter(AdapterCommand::Inspect(args)) => adapter::inspect(&args, json),
        Command::Adapter(AdapterCommand::Try(args)) => adapter::try_once(args).await,
        Command::Adapter(AdapterCommand::Test(args)) => adapter::test(&args, json).await,
        Command::Adapter(AdapterCommand::Fuzz(args)) => fuzz::fuzz(args, json).await,
        Command::Key(command) => key::key(&command, json),
        Command::Journal(command) => journal::journal(command, json).await,
        Command::Bench(command) => bench::bench(command, json).await,
        Command::Print(args) => print::print(&args),
        Command::CompileComponent(args) => compile::child(&args),
    }
}

/// The component behind a name or a path: `osmp`, `deploy/demo/adapters/osmp.wasm`.
fn component_path(name: &str) -> anyhow::Result<PathBuf> {
    let given = PathBuf::from(name);
    if given.extension().is_some_and(|e| e == "wasm") {
        return Ok(given);
    }
    let built = PathBuf::from(build::BUILT).join(format!("{name}.wasm"));
    if built.exists() {
        return Ok(built);
    }
    anyhow::bail!("no adapter `{name}`: build it with `busbar adapter build {name}`, or give the path of a .wasm file")
}

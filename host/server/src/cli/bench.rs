//! `bench`: measurements of the hub itself.

use crate::bench::{call, decode, start};
use crate::config;
use crate::wasm::Runtime;
use busbar_core::Rules;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Subcommand)]
pub enum BenchCommand {
    /// What a call of an adapter costs, in a fresh and in a kept instance, at 1 KB.
    Call(CallArgs),
    /// How long a hub needs to be ready, and its memory.
    Start(StartArgs),
    /// How fast a large bank statement is decoded.
    Decode(DecodeArgs),
}

#[derive(Args)]
struct Common {
    /// Folder of built adapters.
    #[arg(long, default_value = super::build::BUILT)]
    adapters: PathBuf,
    /// Folder of the canonical schemas.
    #[arg(long, default_value = "schemas")]
    schemas: PathBuf,
    /// The result is the median of so many rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[derive(Args)]
pub struct CallArgs {
    /// Which of the shipped adapters; all where absent.
    #[arg(value_parser = call::SHIPPED)]
    names: Vec<String>,
    #[command(flatten)]
    common: Common,
    /// Calls of each kind in a round.
    #[arg(long, default_value_t = 2_000)]
    calls: usize,
}

#[derive(Args)]
pub struct StartArgs {
    #[command(flatten)]
    common: Common,
    /// Numbers of systems.
    #[arg(long, value_delimiter = ',', default_value = "15,500")]
    systems: Vec<usize>,
}

#[derive(Args)]
pub struct DecodeArgs {
    #[command(flatten)]
    common: Common,
    /// Lines of the statement.
    #[arg(long, default_value_t = 1_000_000)]
    lines: u64,
}

pub async fn bench(command: BenchCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Call(args) => calls(args, json).await?,
        BenchCommand::Start(args) => starts(&args, json)?,
        BenchCommand::Decode(args) => decodes(args, json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Common {
    fn world(&self) -> anyhow::Result<(Arc<Runtime>, Arc<Rules>)> {
        let catalog = config::catalog(&self.schemas).map_err(anyhow::Error::msg)?;
        Ok((Arc::new(Runtime::new(None)?), Arc::new(Rules { catalog, routes: Vec::new() })))
    }
}

async fn calls(args: CallArgs, json: bool) -> anyhow::Result<()> {
    let (runtime, rules) = args.common.world()?;
    let names = if args.names.is_empty() { call::SHIPPED.map(String::from).to_vec() } else { args.names };
    let (folder, rounds) = (&args.common.adapters, args.common.rounds);
    let rows = call::measure(&runtime, &rules, folder, &names, rounds, args.calls).await?;
    if json {
        rows.iter().try_for_each(|row| serde_json::to_string(row).map(|line| println!("{line}")))?;
        return Ok(());
    }
    println!("µs a call at 1 KB; medians of {rounds} rounds of {} calls", args.calls);
    println!("adapter               entry     fresh    p99   warm    p99  native  overhead  instance");
    for row in rows {
        println!(
            "{:<21} {:<8} {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>7.1} {:>9.1} {:>9.1}",
            row.adapter,
            row.entry,
            row.fresh_median_us,
            row.fresh_p99_us,
            row.warm_median_us,
            row.warm_p99_us,
            row.native_median_us,
            row.overhead_us,
            row.instance_us
        );
    }
    println!(
        "\noverhead = fresh - native: what the sandbox and the record of calls cost. native: no adapter is linked into\n\
         the hub, so it is a lower bound of the work: the JSON written and read, the HMAC, the lines split.\n\
         instance = fresh - warm: what an instance of its own costs. rest-json compiles its jq expressions in each call."
    );
    Ok(())
}

fn starts(args: &StartArgs, json: bool) -> anyhow::Result<()> {
    if !json {
        println!("ms until a hub is ready; medians of {} rounds", args.common.rounds);
        println!("systems    first    ready   memory MB");
    }
    for systems in &args.systems {
        let found = start::measure(&args.common.adapters, &args.common.schemas, args.common.rounds, *systems)?;
        if json {
            println!("{}", serde_json::to_string(&found)?);
        } else {
            let memory = found.memory_bytes as f64 / 1e6;
            println!("{:>7} {:>8.0} {:>8.0} {:>11.1}", found.systems, found.first_ms, found.ready_ms, memory);
        }
    }
    if !json {
        println!("\nfirst = every adapter compiled; ready = from the compiled code on disk, read and authenticated.");
    }
    Ok(())
}

async fn decodes(args: DecodeArgs, json: bool) -> anyhow::Result<()> {
    let (runtime, rules) = args.common.world()?;
    let found = decode::measure(&runtime, &rules, &args.common.adapters, args.common.rounds, args.lines).await?;
    if json {
        println!("{}", serde_json::to_string(&found)?);
        return Ok(());
    }
    let mega = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "{} lines, {:.1} MB, {} messages; medians of {} rounds",
        found.lines,
        mega(found.bytes),
        found.messages,
        args.common.rounds
    );
    println!("processor time       {:>9.2} s  ({:.2} s by the clock)", found.processor_seconds, found.seconds);
    println!(
        "lines per second     {:>9.0}    of one core; {:.0} of a tenth of the file",
        found.lines_per_second, found.lines_per_second_of_a_tenth
    );
    println!(
        "memory               {:>9.1} MB after a tenth, {:.1} MB at most",
        mega(found.memory_at_a_tenth_bytes),
        mega(found.memory_most_bytes)
    );
    println!(
        "\nEach message is held against its schema and given its deliveries, as in the hub. Writing them is not in it."
    );
    Ok(())
}

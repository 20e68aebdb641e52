//! `bench`: measurements of the hub itself.

use crate::bench::native::Native;
use crate::bench::scale::Extra;
use crate::bench::{bare, call, decode, relay, scale, start};

use crate::config::model::CompileConfig;
use crate::deployment;
use crate::wasm::{Compiler, Runtime};
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
    /// Messages relayed over AMQP, against a bare relay over the same broker.
    Relay(RelayArgs),
    /// What a relayed message costs with many systems and routes, against the same with few.
    Scale(RelayArgs),
    /// Searches and traces in journals of different sizes.
    Journal(JournalArgs),
    /// The bare relay that `relay` compares with, until it is killed.
    #[command(hide = true)]
    Bare(BareArgs),
}

#[derive(Args)]
pub struct RelayArgs {
    #[command(flatten)]
    common: Common,
    /// The broker; exchanges and queues `bench-…` are made there and removed.
    #[arg(long, env = "BUSBAR_BENCH_AMQP")]
    amqp: String,
    /// The store: `sqlite:<file>` or `postgres://…`. A new file in the hub's own temporary folder where absent.
    #[arg(long, default_value = "sqlite:data/bench.db")]
    store: String,
    /// What the journal keeps: `full`, `envelope` or `none`.
    #[arg(long, default_value = "none", value_parser = ["full", "envelope", "none"])]
    journal: String,
    /// Messages of a round.
    #[arg(long, default_value_t = 40_000)]
    messages: usize,
    /// Seconds at half load, for the latency.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[derive(Args)]
pub struct JournalArgs {
    /// A new store: `sqlite:<file>` or `postgres://…`; a file or schema is made for each size.
    #[arg(long)]
    store: String,
    /// Numbers of messages.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    sizes: Vec<usize>,
}

#[derive(Args)]
pub struct BareArgs {
    #[arg(long)]
    amqp: String,
    #[arg(long)]
    prefix: String,
    #[arg(long)]
    prefetch: u16,
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
    /// Folder of the adapters' workspace, where their native functions are built.
    #[arg(long, default_value = "plugins")]
    plugins: PathBuf,
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
        BenchCommand::Relay(args) => relays(args, json).await?,
        BenchCommand::Scale(args) => scales(args, json).await?,
        BenchCommand::Journal(args) => journals(&args, json).await?,
        BenchCommand::Bare(args) => bare::relay(&args.amqp, &args.prefix, args.prefetch).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn journals(args: &JournalArgs, json: bool) -> anyhow::Result<()> {
    let found = crate::store::bench::journal(&args.store, &args.sizes).await?;
    if json {
        println!("{found}");
        return Ok(());
    }
    println!("ms by number of messages {:?}; medians of {} runs", args.sizes, found["runs"]);
    for time in found["times"].as_array().into_iter().flatten() {
        let ms: Vec<_> = time["ms"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|ms| format!("{:>8.2}", ms.as_f64().unwrap_or(0.0)))
            .collect();
        println!(
            "{:<40} {} {:>6.2}",
            time["name"].as_str().unwrap_or_default(),
            ms.join(" "),
            time["ratio"].as_f64().unwrap_or(0.0)
        );
    }
    println!("largest ratio {:.2}", found["ratio-max"].as_f64().unwrap_or(0.0));
    Ok(())
}

impl RelayArgs {
    fn plan(self) -> relay::RelayPlan {
        relay::RelayPlan {
            amqp: self.amqp,
            store: self.store,
            journal: self.journal,
            adapters: self.common.adapters,
            schemas: self.common.schemas,
            messages: self.messages,
            rounds: self.common.rounds,
            latency: std::time::Duration::from_secs(self.seconds),
            extra: Extra::default(),
        }
    }
}

/// Systems and routes: few, many systems, many routes.
const SIZES: [Extra; 3] =
    [Extra { systems: 10, routes: 10 }, Extra { systems: 500, routes: 10 }, Extra { systems: 10, routes: 1_000 }];

async fn scales(args: RelayArgs, json: bool) -> anyhow::Result<()> {
    let mut plan = relay::RelayPlan { latency: std::time::Duration::ZERO, ..args.plan() };
    let costs = scale::scale(&mut plan, &SIZES).await?;
    if json {
        for cost in &costs {
            println!("{}", serde_json::to_string(cost)?);
        }
        return Ok(());
    }
    println!("a relayed message of 1 KB, journal {}; medians of {} rounds", plan.journal, plan.rounds);
    println!("systems   routes   CPU us/msg     msg/s   against the first");
    for scale::Cost { extra: Extra { systems, routes }, cpu_us_per_message, per_second, ratio } in costs {
        println!("{systems:>7} {routes:>8} {cpu_us_per_message:>12.1} {per_second:>9.0} {ratio:>19.2}");
    }
    Ok(())
}

async fn relays(args: RelayArgs, json: bool) -> anyhow::Result<()> {
    let plan = args.plan();
    if !json {
        println!("messages of 1 KB through a schema check and a mapping adapter in a fresh instance, with confirms");
        println!("        msg/s    CPU us/msg   peak MiB   p50 ms   p99 ms   (latency at half load)");
    }
    let rounds = relay::relay(&plan, |round| match (json, serde_json::to_string(round)) {
        (true, Ok(line)) => println!("{line}"),
        _ => [("bare", &round.bare), ("hub", &round.hub)].iter().for_each(|(name, side)| {
            let relay::Side { per_second, cpu_us_per_message, peak_memory_mib, p50_ms, p99_ms } = side;
            println!(
                "{name:<4} {per_second:>9.0} {cpu_us_per_message:>12.1} {peak_memory_mib:>10.0} {p50_ms:>8.1} {p99_ms:>8.1}"
            );
        }),
    })
    .await?;
    let ratio = crate::bench::median(rounds.iter().map(|round| round.ratio).collect());
    match json {
        true => println!("{}", serde_json::json!({ "journal": plan.journal, "median-ratio": ratio })),
        false => println!("journal {}: hub / bare = {ratio:.2} (median of {} rounds)", plan.journal, rounds.len()),
    }
    Ok(())
}

impl Common {
    fn world(&self) -> anyhow::Result<(Arc<Runtime>, Arc<Rules>)> {
        let catalog = deployment::catalog(&self.schemas).map_err(anyhow::Error::msg)?;
        Ok((
            Arc::new(Runtime::new(None, Compiler::this(CompileConfig::default()))?),
            Arc::new(Rules::new(catalog, Vec::new())),
        ))
    }
}

async fn calls(args: CallArgs, json: bool) -> anyhow::Result<()> {
    let (runtime, rules) = args.common.world()?;
    let names = if args.names.is_empty() { call::SHIPPED.map(String::from).to_vec() } else { args.names };
    let (folder, rounds) = (&args.common.adapters, args.common.rounds);
    let native = Native::build(&args.plugins)?;
    let rows = call::measure(&runtime, &rules, folder, &native, &names, rounds, args.calls).await?;
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
        "\noverhead = fresh - native: what the sandbox, the schema check of what is stated and the record of calls cost.\n\
         native: the same mapping with the same optimisation in a process of its own; both read the settings in each call.\n\
         instance = fresh - warm: what an instance of its own costs."
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

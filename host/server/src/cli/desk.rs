//! `systems`, `pause`, `resume`, `failures`, `audit`: what the people on duty do.

use super::HubArgs;
use super::journal::open;
use super::rest::{call, call_text, client, list, spoken, url, word};
use super::since::Since;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct SystemsArgs {
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Args)]
pub struct HoldArgs {
    /// The system's name, as `busbar systems` lists it.
    system: String,
    /// Why: kept with the decision.
    #[arg(long)]
    comment: Option<String>,
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Args)]
pub struct FailuresArgs {
    /// Only of this system.
    #[arg(long)]
    system: Option<String>,
    /// Only of this message type.
    #[arg(long)]
    r#type: Option<String>,
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Args)]
pub struct StatsArgs {
    /// Since a time with its offset, or so long ago: `2026-11-01T00:00:00+03:00`, `12h`; seven days where absent.
    #[arg(long)]
    since: Option<Since>,
    /// Before this time.
    #[arg(long)]
    until: Option<Since>,
    /// Only deliveries to this system.
    #[arg(long)]
    system: Option<String>,
    /// Only of this message type.
    #[arg(long)]
    r#type: Option<String>,
    /// `hour`, `day` or `all`.
    #[arg(long, default_value = "day")]
    by: String,
    /// When a day begins: minutes east of Greenwich, e.g. 180 for +03:00.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    zone_minutes: i32,
    /// A table for spreadsheets: CSV (RFC 4180).
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    what: Option<AuditCommand>,
    /// Only about this system.
    #[arg(long)]
    system: Option<String>,
    /// Only about the delivery with this number.
    #[arg(long)]
    delivery: Option<String>,
    /// Only what this key or person decided.
    #[arg(long)]
    by: Option<String>,
    /// `retry`, `edit`, `skip`, `accept`, `dismiss`, `pause` or `resume`.
    #[arg(long)]
    deed: Option<String>,
    /// Since a time with its offset, or so long ago: `2026-11-29T18:00:00+03:00`, `30m`, `12h`, `7d`.
    #[arg(long)]
    since: Option<Since>,
    /// Before this time.
    #[arg(long)]
    until: Option<Since>,
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Follow the chain of all decisions in a deployment's store; the hub may run. Tells the last hash: keep it elsewhere.
    Verify {
        /// Folder with `busbar.toml`.
        deployment: PathBuf,
    },
}

fn base(hub: &HubArgs) -> String {
    format!("{}/v1", hub.url.trim_end_matches('/'))
}

pub async fn systems(args: SystemsArgs, json: bool) -> anyhow::Result<ExitCode> {
    let answer = call(client(&args.hub)?.get(format!("{}/systems", base(&args.hub))), &args.hub).await?;
    for system in answer.as_array().into_iter().flatten() {
        if json {
            println!("{system}");
        } else {
            show_system(system);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_system(system: &Value) {
    let mut states = Vec::new();
    if let Some(pause) = system.get("pause") {
        let why = spoken(&pause["comment"]).map(|why| format!(": {why}")).unwrap_or_default();
        states.push(format!("paused by {} since {}{why}", word(pause, "by"), word(pause, "at")));
    } else if system["paused"] == true {
        states.push("paused".to_string());
    }
    if let Some(since) = system["down-since-ms"].as_i64() {
        states.push(format!("down since {}", crate::wasm::rfc3339(since).unwrap_or_default()));
    }
    if let Some(until) = system["held-until-ms"].as_i64() {
        states.push(format!("asked to be left alone until {}", crate::wasm::rfc3339(until).unwrap_or_default()));
    }
    let counts = system["deliveries"].as_object().into_iter().flatten();
    let counts: Vec<_> = counts.map(|(state, count)| format!("{count} {state}")).collect();
    let states = if states.is_empty() { "works".to_string() } else { states.join(", ") };
    println!("{:<24} {states}; {}", word(system, "name"), counts.join(", "));
}

pub async fn hold(args: HoldArgs, act: &str, json: bool) -> anyhow::Result<ExitCode> {
    let address = url(&format!("{}/systems/{}/{act}", base(&args.hub), args.system), &[("comment", args.comment)])?;
    call(client(&args.hub)?.post(address), &args.hub).await?;
    match json {
        true => println!("{}", json!({ "act": act, "system": args.system })),
        false => println!("{} {}d", args.system, if act == "pause" { "pause" } else { "resume" }),
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn failures(args: FailuresArgs, json: bool) -> anyhow::Result<ExitCode> {
    let query = [("system", args.system), ("type", args.r#type)];
    let answer =
        call(client(&args.hub)?.get(url(&format!("{}/failures", base(&args.hub)), &query)?), &args.hub).await?;
    for group in list(&answer, "failures") {
        if json {
            println!("{group}");
            continue;
        }
        let counts = group["deliveries"].as_object().into_iter().flatten();
        let counts: Vec<_> = counts.map(|(state, count)| format!("{count} {state}")).collect();
        let answer = spoken(&group["answer"]).map(|answer| format!(", answered {answer}")).unwrap_or_default();
        let place = spoken(&group["place"]).map(|place| format!(" at {place}")).unwrap_or_default();
        println!(
            "{:>8}  {} {} {}{place}{answer}",
            group["total"],
            word(group, "system"),
            word(group, "type"),
            word(group, "code")
        );
        println!(
            "          {}; from {} to {}; --cause {}",
            counts.join(", "),
            word(group, "first-at"),
            word(group, "last-at"),
            word(group, "cause")
        );
    }
    if let (false, Some(more @ 1..)) = (json, answer["more"].as_u64()) {
        println!("{more} more causes: name a --system and a --type");
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn stats(args: StatsArgs, json: bool) -> anyhow::Result<ExitCode> {
    let query = [
        ("since", args.since.as_ref().map(Since::text)),
        ("until", args.until.as_ref().map(Since::text)),
        ("system", args.system),
        ("type", args.r#type),
        ("by", Some(args.by)),
        ("zone-minutes", Some(args.zone_minutes.to_string())),
        ("format", args.csv.then(|| "csv".to_string())),
    ];
    let address = url(&format!("{}/statistics", base(&args.hub)), &query)?;
    if args.csv {
        print!("{}", call_text(client(&args.hub)?.get(address), &args.hub).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let answer = call(client(&args.hub)?.get(address), &args.hub).await?;
    let counts = ["received", "bytes", "done", "parked", "dead", "skipped"];
    for row in list(&answer, "statistics") {
        let text = |name: &str| spoken(&row[name]).unwrap_or_default();
        let numbers = counts.map(|name| row[name].to_string());
        if json {
            println!("{row}");
        } else {
            let counted = counts.iter().zip(&numbers).filter(|(_, number)| *number != "0");
            let counted: Vec<_> = counted.map(|(name, number)| format!("{number} {name}")).collect();
            println!("{:<26} {:<16} {:<28} {}", text("from"), text("system"), text("type"), counted.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn audit(args: AuditArgs, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(AuditCommand::Verify { deployment }) = &args.what {
        let (_, store) = open(deployment).await?;
        let verified = store.verify_audit().await?;
        store.close().await;
        let (seq, hash) =
            verified.map_err(|wrong| anyhow::anyhow!("the audit was tampered with, or damaged: {wrong}"))?;
        match json {
            true => println!("{}", json!({ "entries": seq, "hash": hash })),
            false => println!("{seq} decisions, unbroken; the last hash is {hash}"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut after = None;
    loop {
        let query = [
            ("system", args.system.clone()),
            ("delivery", args.delivery.clone()),
            ("by", args.by.clone()),
            ("deed", args.deed.clone()),
            ("since", args.since.as_ref().map(Since::text)),
            ("until", args.until.as_ref().map(Since::text)),
            ("after", after.clone()),
            ("limit", Some("500".to_string())),
        ];
        let answer =
            call(client(&args.hub)?.get(url(&format!("{}/audit", base(&args.hub)), &query)?), &args.hub).await?;
        list(&answer, "audit").iter().for_each(|entry| show_decision(entry, json));
        after = answer["next"].as_str().map(str::to_string);
        if after.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn show_decision(entry: &Value, json: bool) {
    if json {
        return println!("{entry}");
    }
    let delivery = spoken(&entry["delivery"]).map(|id| format!(" delivery {id}")).unwrap_or_default();
    let intake = spoken(&entry["intake"]).map(|id| format!(" intake {id}")).unwrap_or_default();
    let system = spoken(&entry["system"]).map(|system| format!(" of {system}")).unwrap_or_default();
    let now = spoken(&entry["state-now"]).map(|state| format!(", {state} now")).unwrap_or_default();
    let why = spoken(&entry["comment"]).map(|why| format!(": {why}")).unwrap_or_default();
    println!(
        "{:>6}  {}  {:<16} {}{delivery}{intake}{system}{now}{why}",
        word(entry, "seq"),
        word(entry, "at"),
        word(entry, "by"),
        word(entry, "deed")
    );
}

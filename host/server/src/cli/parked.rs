//! `parked`: deliveries that are failing, and what to do about them.

use super::HubArgs;
use super::rest::{call, client, list, spoken, url, word};
use super::since::Since;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Read;
use std::process::ExitCode;

#[derive(Args)]
pub struct ParkedArgs {
    #[command(subcommand)]
    what: Option<ParkedCommand>,
    #[command(flatten)]
    filter: DeliveriesMeant,
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Subcommand)]
enum ParkedCommand {
    /// Make deliveries again, those that wait to be tried again at once: those with these numbers, or all that match the
    /// filter.
    Retry(Which),
    /// Never make deliveries: those with these numbers, or all that match the filter. What waits behind them goes on.
    Skip(Which),
    /// Make a delivery again with other data. It is held against the message's schema first.
    Edit {
        /// The delivery's number.
        id: String,
        /// File with the data as JSON; `-` reads standard input.
        data: String,
        /// Why: kept with the decision.
        #[arg(long)]
        comment: Option<String>,
    },
}

#[derive(Args)]
struct Which {
    /// Numbers of deliveries, as `busbar parked` lists them.
    ids: Vec<String>,
    /// All that match the filter (given before the subcommand).
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// How many a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Why: kept with each decision.
    #[arg(long)]
    comment: Option<String>,
}

#[derive(Args)]
struct DeliveriesMeant {
    /// Only of this system.
    #[arg(long)]
    system: Option<String>,
    /// Only of this message type.
    #[arg(long)]
    r#type: Option<String>,
    /// Only with this code of the error.
    #[arg(long)]
    code: Option<String>,
    /// Only with this cause, as `busbar failures` names it.
    #[arg(long)]
    cause: Option<String>,
    /// Only those that something happened to since a time with its offset, or so long ago: `2026-11-29T18:00:00+03:00`, `12h`.
    #[arg(long)]
    since: Option<Since>,
    /// Before this time.
    #[arg(long)]
    until: Option<Since>,
    /// Only with this ordering key.
    #[arg(long)]
    ordering_key: Option<String>,
    /// `parked`, `dead`, `waiting`, `ready`, or `failing`: parked, dead, and tried again after a failure. Where absent,
    /// those that are failing are shown, and parked and dead ones operated on.
    #[arg(long)]
    state: Option<String>,
}

impl DeliveriesMeant {
    fn query(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("system", self.system.clone()),
            ("type", self.r#type.clone()),
            ("code", self.code.clone()),
            ("cause", self.cause.clone()),
            ("since", self.since.as_ref().map(Since::text)),
            ("until", self.until.as_ref().map(Since::text)),
            ("key", self.ordering_key.clone()),
            ("state", self.state.clone()),
        ]
    }
}

pub async fn parked(args: ParkedArgs, json: bool) -> anyhow::Result<ExitCode> {
    let base = format!("{}/v1/deliveries", args.hub.url.trim_end_matches('/'));
    match &args.what {
        None => show(&args, &base, json).await,
        Some(ParkedCommand::Retry(which)) => operate(&args, which, &base, "retry", json).await,
        Some(ParkedCommand::Skip(which)) => operate(&args, which, &base, "skip", json).await,
        Some(ParkedCommand::Edit { id, data, comment }) => {
            let mut text = String::new();
            match data.as_str() {
                "-" => drop(std::io::stdin().read_to_string(&mut text)?),
                path => text = std::fs::read_to_string(path).with_context(|| path.to_string())?,
            }
            let request = client(&args.hub)?
                .post(url(&format!("{base}/{id}/edit"), &[("comment", comment.clone())])?)
                .header("content-type", "application/json");
            call(request.body(text), &args.hub).await?;
            said(json, "edit", 1);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn said(json: bool, act: &str, done: u64) {
    let past = match act {
        "retry" => "retried",
        "skip" => "skipped",
        _ => "edited and retried",
    };
    match json {
        true => println!("{}", json!({ "act": act, "done": done })),
        false => println!("{done} {past}"),
    }
}

async fn show(args: &ParkedArgs, base: &str, json: bool) -> anyhow::Result<ExitCode> {
    let mut after = None;
    loop {
        let mut query = args.filter.query();
        query.extend([("after", after.clone()), ("limit", Some("500".into()))]);
        let answer = call(client(&args.hub)?.get(url(base, &query)?), &args.hub).await?;
        list(&answer, "deliveries").iter().for_each(|delivery| line(delivery, json));
        after = answer["next"].as_str().map(str::to_string);
        if after.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn line(delivery: &Value, json: bool) {
    if json {
        return println!("{delivery}");
    }
    println!(
        "{:>8}  {:<16} {:<7} key {:<16} after {} attempts, message {}, {}",
        word(delivery, "id"),
        word(delivery, "system"),
        word(delivery, "state"),
        word(delivery, "key"),
        delivery["attempts"],
        word(delivery, "message"),
        word(delivery, "updated-at"),
    );
    if let Some(next) = delivery["next-at"].as_str() {
        println!("          tried again at {next}");
    }
    if let Some(code) = spoken(&delivery["error"]["code"]) {
        println!("          {code}: {}", spoken(&delivery["error"]["detail"]).unwrap_or_default());
    }
}

async fn operate(args: &ParkedArgs, which: &Which, base: &str, act: &str, json: bool) -> anyhow::Result<ExitCode> {
    if which.ids.is_empty() && !which.all {
        anyhow::bail!("name deliveries, or give a filter and --all: busbar parked --system billing {act} --all");
    }
    for id in &which.ids {
        let address = url(&format!("{base}/{id}/{act}"), &[("comment", which.comment.clone())])?;
        call(client(&args.hub)?.post(address), &args.hub).await?;
    }
    let mut done = which.ids.len() as u64;
    let (mut after, mut refused) = (None, 0);
    let mut more = which.all;
    while more {
        let mut query = args.filter.query();
        query.extend([
            ("after", after.clone()),
            ("limit", Some("200".into())),
            ("rate-per-second", Some(which.rate.to_string())),
            ("comment", which.comment.clone()),
        ]);
        let answer = call(client(&args.hub)?.post(url(&format!("{base}/{act}"), &query)?), &args.hub).await?;
        done += answer["done"].as_u64().unwrap_or(0);
        for delivery in list(&answer, "refused") {
            refused += 1;
            eprintln!("{}: {}", word(delivery, "id"), word(delivery, "detail"));
        }
        if !json {
            eprintln!("{done} so far");
        }
        after = answer["next"].as_str().map(str::to_string);
        more = after.is_some();
    }
    said(json, act, done);
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

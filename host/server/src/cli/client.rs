//! `send` and `messages`: a client of the REST interface.

use super::HubArgs;
use super::rest::{call, client, list, show_intake, spoken, url, word};
use super::since::Since;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::io::Read;
use std::process::ExitCode;

#[derive(Args)]
pub struct SendArgs {
    /// CloudEvents as JSON: one event, an array, or one event a line; `-` reads standard input.
    file: String,
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Args)]
pub struct MessagesArgs {
    #[command(subcommand)]
    what: Option<JournalLook>,
    #[command(flatten)]
    filter: MessagesMeant,
    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Subcommand)]
enum JournalLook {
    /// Everything that happened to one message.
    Show {
        /// The journal's number.
        seq: String,
    },
    /// Entries of inputs that wait for a person: left out, or known with other content.
    Entries {
        /// Only of this system.
        #[arg(long)]
        system: Option<String>,
        /// Take these, which differ from known messages, as facts of their own: ids as listed.
        #[arg(long, value_name = "ID", num_args = 1..)]
        accept: Vec<String>,
        /// Nothing more is to be done about these.
        #[arg(long, value_name = "ID", num_args = 1..)]
        dismiss: Vec<String>,
    },
    /// Files, hook requests, questions and refused messages.
    Intakes {
        /// Only of this system.
        #[arg(long)]
        system: Option<String>,
        /// `accepted`, `repeated`, `incomplete`, `refused`, `left-out`, `differing` or `dismissed`.
        #[arg(long)]
        outcome: Option<String>,
    },
}

#[derive(Args)]
struct MessagesMeant {
    #[arg(long)]
    r#type: Option<String>,
    #[arg(long)]
    source: Option<String>,
    #[arg(long)]
    subject: Option<String>,
    #[arg(long)]
    id: Option<String>,
    /// With a delivery to this system.
    #[arg(long)]
    system: Option<String>,
    /// With a delivery in this state: `ready`, `done`, `parked`, `waiting`, `dead` or `skipped`.
    #[arg(long)]
    state: Option<String>,
    /// This text stands in the data, letter by letter; at most 20,000 messages are looked through at once.
    #[arg(long)]
    text: Option<String>,
    /// Received since a time with its offset, or so long ago: `2026-11-29T18:00:00+03:00`, `30m`, `12h`, `7d`.
    #[arg(long)]
    since: Option<Since>,
    /// Received before this time.
    #[arg(long)]
    until: Option<Since>,
    /// `next` of the page before.
    #[arg(long)]
    after: Option<String>,
    /// How many, at most 500.
    #[arg(long)]
    limit: Option<u32>,
}

pub async fn send(args: SendArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    if args.file == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(&args.file).with_context(|| args.file.clone())?;
    }
    let events = parse(&text)?;
    for chunk in events.chunks(500) {
        let request = client(&args.hub)?.post(format!("{}/v1/messages", args.hub.url.trim_end_matches('/')));
        let request =
            request.header("content-type", "application/cloudevents-batch+json").body(serde_json::to_vec(chunk)?);
        let answer = call(request, &args.hub).await?;
        for accepted in list(&answer, "accepted") {
            if json {
                println!("{accepted}");
            } else {
                let known = if accepted["duplicate"] == true { "known already" } else { "accepted" };
                println!("{known}: {} as number {}", word(accepted, "id"), word(accepted, "seq"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &str) -> anyhow::Result<Vec<Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Array(events)) => return Ok(events),
        Ok(event) => return Ok(vec![event]),
        Err(_) => {}
    }
    let line = |(i, line): (usize, &str)| serde_json::from_str(line).with_context(|| format!("line {}", i + 1));
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(line).collect()
}

pub async fn messages(args: MessagesArgs, json: bool) -> anyhow::Result<ExitCode> {
    let base = args.hub.url.trim_end_matches('/').to_string();
    let http = client(&args.hub)?;
    match args.what {
        Some(JournalLook::Show { seq }) => {
            let answer = call(http.get(format!("{base}/v1/messages/{seq}")), &args.hub).await?;
            if json {
                println!("{answer}");
            } else {
                println!("{}", serde_json::to_string_pretty(&answer)?);
            }
        }
        Some(JournalLook::Entries { system, accept, dismiss }) => {
            super::entries::entries(super::entries::Asked { system, accept, dismiss }, &base, &args.hub, json).await?;
        }
        Some(JournalLook::Intakes { system, outcome }) => {
            let url = url(&format!("{base}/v1/intakes"), &[("system", system), ("outcome", outcome)])?;
            let answer = call(http.get(url), &args.hub).await?;
            list(&answer, "intakes").iter().for_each(|intake| show_intake(intake, json));
        }
        None => {
            let f = args.filter;
            let query = [
                ("type", f.r#type),
                ("source", f.source),
                ("subject", f.subject),
                ("id", f.id),
                ("system", f.system),
                ("state", f.state),
                ("text", f.text),
                ("since", f.since.as_ref().map(Since::text)),
                ("until", f.until.as_ref().map(Since::text)),
                ("after", f.after),
                ("limit", f.limit.map(|l| l.to_string())),
            ];
            let answer = call(http.get(url(&format!("{base}/v1/messages"), &query)?), &args.hub).await?;
            list(&answer, "messages").iter().for_each(|message| show_message(message, json));
            if let (false, Some(next)) = (json, answer["next"].as_str()) {
                println!("more: --after {next}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_message(message: &Value, json: bool) {
    if json {
        println!("{message}");
        return;
    }
    println!(
        "{:>8}  {}  {:<24} {:<14} {}",
        word(message, "seq"),
        word(message, "received-at"),
        word(message, "type"),
        word(message, "subject"),
        word(message, "id")
    );
    for delivery in list(message, "deliveries") {
        let error = spoken(&delivery["error"]["detail"]).map(|e| format!(": {e}")).unwrap_or_default();
        println!(
            "          -> {:<16} {} after {} attempts{error}",
            word(delivery, "system"),
            word(delivery, "state"),
            delivery["attempts"]
        );
    }
}

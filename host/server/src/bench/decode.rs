//! How fast a large bank statement is decoded, and whether memory stays flat.

use super::inputs::{Statement, caller};
use super::{memory, sample::median};
use crate::config::model::Instances;
use crate::wasm::{self, Loaded, Runtime};
use anyhow::Context;
use busbar_core::Rules;
use busbar_core::ports::InputFile;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Messages between two looks at the memory.
const LOOK_EVERY: u64 = 1_000;

/// Medians over the rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DecodeCost {
    pub lines: u64,
    pub bytes: u64,
    pub messages: u64,
    pub seconds: f64,
    pub processor_seconds: f64,
    /// By processor time: what one core does alone.
    pub lines_per_second: f64,
    /// The same of a tenth of the lines: what does not grow with the file is in both.
    pub lines_per_second_of_a_tenth: f64,
    /// Resident memory when a tenth was decoded, and the most afterwards.
    pub memory_at_a_tenth_bytes: u64,
    pub memory_most_bytes: u64,
}

struct DecodeRound {
    seconds: f64,
    processor: f64,
    messages: u64,
    bytes: u64,
    early: u64,
    most: u64,
}

/// Decodes a statement of `lines` lines, each message held against its schema and given its deliveries, as
/// the hub does before it writes them.
///
/// # Errors
/// When the adapter is missing or does not take the statement.
pub async fn measure(
    runtime: &Arc<Runtime>,
    rules: &Arc<Rules>,
    folder: &Path,
    rounds: usize,
    lines: u64,
) -> anyhow::Result<DecodeCost> {
    let path = folder.join("client-bank-exchange.wasm");
    let wasm = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let loaded = Arc::new(Loaded::load(runtime, &wasm)?);
    let (mut large, mut small) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        small.push(round(runtime, rules, &loaded, lines / 10).await?);
        large.push(round(runtime, rules, &loaded, lines).await?);
    }
    let of = |rounds: &[DecodeRound], part: fn(&DecodeRound) -> f64| median(rounds.iter().map(part).collect());
    let processor_seconds = of(&large, |r| r.processor);
    let most = |part: fn(&DecodeRound) -> u64| large.iter().map(part).max().unwrap_or_default();
    let lines_of = |lines| Statement::of_lines(lines).lines();
    Ok(DecodeCost {
        lines: lines_of(lines),
        bytes: most(|r| r.bytes),
        messages: most(|r| r.messages),
        seconds: of(&large, |r| r.seconds),
        processor_seconds,
        lines_per_second: lines_of(lines) as f64 / processor_seconds,
        lines_per_second_of_a_tenth: lines_of(lines / 10) as f64 / of(&small, |r| r.processor),
        memory_at_a_tenth_bytes: most(|r| r.early),
        memory_most_bytes: most(|r| r.most),
    })
}

async fn round(
    runtime: &Arc<Runtime>,
    rules: &Arc<Rules>,
    loaded: &Arc<Loaded>,
    lines: u64,
) -> anyhow::Result<DecodeRound> {
    let caller = caller(runtime, loaded, rules, "client-bank-exchange", Instances::Fresh);
    let statement = Statement::of_lines(lines);
    let bytes = std::io::copy(&mut Statement::of_lines(lines), &mut std::io::sink())?;
    let counts: Arc<[AtomicU64; 3]> = Arc::default();
    let (seen, rules) = (counts.clone(), rules.clone());
    let tenth = lines / super::inputs::DOCUMENT_LINES / 10;
    let sink = Box::new(move |emitted: Vec<busbar_core::ports::Emitted>| {
        let [messages, early, most] = &*seen;
        for one in emitted {
            std::hint::black_box(rules.admit(one.message, one.place)?);
            let count = messages.fetch_add(1, Ordering::Relaxed) + 1;
            if count.is_multiple_of(LOOK_EVERY) {
                let now = memory::bytes("self", "VmRSS");
                if count <= tenth.max(LOOK_EVERY) { early } else { most }.fetch_max(now, Ordering::Relaxed);
            }
        }
        Ok(())
    });
    let (began, before) = (Instant::now(), memory::processor());
    let input = InputFile { name: "statement.txt".into(), size_bytes: bytes, reader: Box::new(statement) };
    let run = wasm::decode(&caller, input, sink).await;
    run.result.map_err(|failure| anyhow::anyhow!("the statement was not taken: {}", failure.problem()))?;
    let [messages, early, most] = &*counts;
    Ok(DecodeRound {
        seconds: began.elapsed().as_secs_f64(),
        processor: (memory::processor() - before).as_secs_f64(),
        messages: messages.load(Ordering::Relaxed),
        bytes,
        early: early.load(Ordering::Relaxed),
        most: most.load(Ordering::Relaxed),
    })
}

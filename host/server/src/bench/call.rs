//! What a call of an adapter costs: in a fresh instance, in a kept one, and its mapping as a native function.

use super::inputs::{caller, payment, statement, terminal};
use super::native::Native;
use super::sample::{Sample, median};
use crate::config::model::Instances;
use crate::wasm::{self, Caller, Entry, Loaded, Runtime};
use anyhow::Context;
use busbar_core::Rules;
use busbar_core::ports::{Attempting, InputFile, Run};
use serde::Serialize;
use std::fmt::Debug;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The adapters that are shipped.
pub const SHIPPED: [&str; 4] = ["client-bank-exchange", "osmp", "rest-json", "webhook"];
const WARM_UP: usize = 200;

/// Microseconds; medians over the rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CallCost {
    pub adapter: String,
    pub entry: Entry,
    pub fresh_median_us: f64,
    pub fresh_p99_us: f64,
    pub warm_median_us: f64,
    pub warm_p99_us: f64,
    /// The same mapping as a native function.
    pub native_median_us: f64,
    /// Fresh without native: what the sandbox costs.
    pub overhead_us: f64,
    /// Fresh without warm: what an instance of its own costs.
    pub instance_us: f64,
}

/// Measures each of the shipped adapters `names` in `folder`.
///
/// # Errors
/// When one is missing, or does not do its work.
pub async fn measure(
    runtime: &Arc<Runtime>,
    rules: &Arc<Rules>,
    folder: &Path,
    native: &Native,
    names: &[String],
    rounds: usize,
    calls: usize,
) -> anyhow::Result<Vec<CallCost>> {
    let mut rows = Vec::new();
    for adapter in names {
        let path = folder.join(adapter).with_extension("wasm");
        let wasm = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let loaded = Arc::new(Loaded::load(runtime, &wasm)?);
        let of = |instances| caller(runtime, &loaded, rules, adapter, instances);
        let (fresh, warm) = (of(Instances::Fresh), of(Instances::Warm { calls: u32::MAX }));
        let mut times: [Vec<f64>; 5] = Default::default();
        // All three in turn within a round, so that whatever else the machine does meets all of them.
        for _ in 0..rounds {
            let mut of_fresh = sampled(&fresh, adapter, calls).await?;
            let mut of_warm = sampled(&warm, adapter, calls).await?;
            let mut of_native = native.sample(adapter, calls, WARM_UP)?;
            let found = [
                of_fresh.percentile_us(0.5),
                of_fresh.percentile_us(0.99),
                of_warm.percentile_us(0.5),
                of_warm.percentile_us(0.99),
                of_native.percentile_us(0.5),
            ];
            times.iter_mut().zip(found).for_each(|(all, one)| all.push(one));
        }
        let [fresh, fresh_p99, warm, warm_p99, native] = times.map(median);
        rows.push(CallCost {
            adapter: adapter.clone(),
            entry: entry(adapter),
            fresh_median_us: fresh,
            fresh_p99_us: fresh_p99,
            warm_median_us: warm,
            warm_p99_us: warm_p99,
            native_median_us: native,
            overhead_us: fresh - native,
            instance_us: fresh - warm,
        });
    }
    Ok(rows)
}

fn entry(adapter: &str) -> Entry {
    match adapter {
        "client-bank-exchange" => Entry::Decode,
        "osmp" => Entry::Receive,
        _ => Entry::Deliver,
    }
}

async fn sampled(caller: &Caller, adapter: &str, calls: usize) -> anyhow::Result<Sample> {
    let message = Arc::new(payment("p-1"));
    let mut sample = Sample::default();
    for number in 0..calls + WARM_UP {
        let began = Instant::now();
        match entry(adapter) {
            Entry::Decode => good(
                wasm::decode(
                    caller,
                    InputFile { name: "statement.txt".into(), size_bytes: 1_200, reader: Box::new(statement()) },
                    Box::new(|emitted| {
                        black_box(emitted);
                        Ok(())
                    }),
                )
                .await,
            )?,
            Entry::Receive => good(wasm::receive(caller, terminal()).await)?,
            _ => {
                let attempting = Attempting { delivery: 1, attempt: 1, message: message.clone(), recorded: Vec::new() };
                good(wasm::deliver(caller, attempting).await)?;
            }
        }
        if number >= WARM_UP {
            sample.push(began.elapsed());
        }
    }
    Ok(sample)
}

fn good<T: Debug>(run: Run<T>) -> anyhow::Result<()> {
    let run = black_box(run);
    run.result.map(drop).map_err(|failure| anyhow::anyhow!("the adapter failed: {}", failure.problem()))
}

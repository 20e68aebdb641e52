//! The wasmtime engine: trimmed features, pooling, and the epoch ticks that make every guest yield.

use super::Cache;
use super::state::CallState;
use busbar_core::{Code, Problem};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Instances at once; the systems' own limits are smaller.
const INSTANCES_MAX: u32 = 256;
/// No system's `limits.memory-bytes` may be larger.
pub(crate) const MEMORY_BYTES_MAX: usize = 1 << 30;
const STACK_BYTES_MAX: usize = 512 << 10;
const TICK: Duration = Duration::from_millis(1);

/// Engine, linker and cache: everything adapters share.
pub struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<CallState>,
    pub(crate) cache: Cache,
    stop: Arc<AtomicBool>,
}

impl Runtime {
    /// `cache`: folder for compiled code; `None` compiles every time.
    ///
    /// # Errors
    /// `internal` when the machine cannot give the engine what it needs.
    pub fn new(cache: Option<PathBuf>) -> Result<Self, Problem> {
        let engine = Engine::new(&config()).map_err(internal)?;
        let mut linker = Linker::new(&engine);
        super::bindings::Adapter::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(internal)?;
        let stop = Arc::new(AtomicBool::new(false));
        tick(engine.clone(), stop.clone())?;
        let cache = Cache::open(cache, &engine)?;
        Ok(Self { engine, linker, cache, stop })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        // A component holds several core instances: the adapter and small shims.
        .total_core_instances(INSTANCES_MAX * 4)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * 2)
        .total_stacks(INSTANCES_MAX)
        .max_core_instances_per_component(16)
        .max_memories_per_component(1)
        .max_tables_per_component(8)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(100_000)
        .table_keep_resident(32 << 10);
    // Written pages are found and put back as they were, so that the next instance has no page faults. Without
    // that call (Linux before 6.7) the first bytes would be cleared instead, where a Rust guest has the unused
    // end of its stack: giving all pages back is faster then.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(1 << 20);
    }
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(STACK_BYTES_MAX * 4)
        .cranelift_opt_level(OptLevel::Speed)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

// An OS thread, so that a guest that never yields cannot stop the ticks.
fn tick(engine: Engine, stop: Arc<AtomicBool>) -> Result<(), Problem> {
    let run = move || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    };
    std::thread::Builder::new().name("epoch".into()).spawn(run).map_err(internal)?;
    Ok(())
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

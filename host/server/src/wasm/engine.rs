//! The wasmtime engine: trimmed features, pooling, and the epoch ticks that make every guest yield.

use super::state::CallState;
use super::{Cache, Compiler};
use crate::config::model::Limits;
use busbar_core::{Code, Problem};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Instances at once; the systems' own limits are smaller.
const INSTANCES_MAX: u32 = 256;
/// What one component can have at most, whatever a system's limits say; the schema of `limits` has the same numbers.
const CORE_INSTANCES_MAX: u32 = 64;
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 32;
const TABLE_ELEMENTS_MAX: usize = 100_000;
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
    /// `cache`: folder for compiled code; `None` compiles every time, by `compiler`.
    ///
    /// # Errors
    /// `internal` when the machine cannot give the engine what it needs.
    pub fn new(cache: Option<PathBuf>, compiler: Compiler) -> Result<Self, Problem> {
        let engine = Engine::new(config().allocation_strategy(pooling())).map_err(internal)?;
        let mut linker = Linker::new(&engine);
        super::bindings::Adapter::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).map_err(internal)?;
        let stop = Arc::new(AtomicBool::new(false));
        tick(engine.clone(), stop.clone())?;
        let cache = Cache::open(cache, &engine, compiler)?;
        Ok(Self { engine, linker, cache, stop })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// An engine that only compiles: without a pool, whose address space would be over any limit. Its code is the same.
pub(super) fn compiling() -> Result<Engine, Problem> {
    Engine::new(&config()).map_err(internal)
}

/// What no system's limits can exceed.
pub(super) fn ceilings() -> Limits {
    let many = |most: u32| usize::try_from(most).unwrap_or(usize::MAX);
    Limits {
        core_instances: many(CORE_INSTANCES_MAX),
        memories: many(MEMORIES_MAX),
        memory_bytes: MEMORY_BYTES_MAX,
        tables: many(TABLES_MAX),
        table_elements: TABLE_ELEMENTS_MAX,
        ..Limits::default()
    }
}

fn pooling() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        // A component holds several core instances: the adapter and small shims.
        .total_core_instances(INSTANCES_MAX * 4)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * 2)
        .total_stacks(INSTANCES_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .table_keep_resident(32 << 10);
    // Written pages are found and put back as they were, so that the next instance has no page faults. Without
    // that call (Linux before 6.7) the first bytes would be cleared instead, where a Rust guest has the unused
    // end of its stack: giving all pages back is faster then.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(1 << 20);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(STACK_BYTES_MAX * 4)
        .cranelift_opt_level(OptLevel::Speed);
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

pub(crate) fn broken(detail: impl Into<String>) -> Problem {
    Problem::new(Code::BrokenAdapter, detail)
}

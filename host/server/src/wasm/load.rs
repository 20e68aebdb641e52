//! An adapter, loaded: its component, what it exports, and what it says of itself.

use super::bindings::exports::busbar::adapter as exports;
use super::engine::{Runtime, broken, internal};
use super::inspect::{self, Inspection};
use super::state::CallState;
use busbar_core::Problem;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::component::InstancePre;

/// A compiled adapter with its imports resolved; instantiating it costs microseconds.
pub struct Loaded {
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) deliver: Option<exports::deliver::GuestIndices>,
    pub(crate) receive: Option<exports::receive::GuestIndices>,
    pub(crate) poll: Option<exports::poll::GuestIndices>,
    pub(crate) decode: Option<exports::decode::GuestIndices>,
    pub(crate) encode: Option<exports::encode::GuestIndices>,
    pub(crate) answer: Option<exports::answer::GuestIndices>,
    pub(crate) connection: Option<exports::connection::GuestIndices>,
    pub inspection: Inspection,
}

impl Loaded {
    /// These components by the names of their adapters.
    ///
    /// # Errors
    /// As [`Self::load`], with the adapter's name.
    pub async fn load_all(
        runtime: &Arc<Runtime>,
        wanted: BTreeMap<String, Arc<Vec<u8>>>,
    ) -> Result<BTreeMap<String, Arc<Self>>, Problem> {
        let load = |(adapter, wasm): (String, Arc<Vec<u8>>)| {
            let runtime = runtime.clone();
            async move {
                let loaded =
                    tokio::task::spawn_blocking(move || Self::load(&runtime, &wasm)).await.map_err(internal)?;
                let named = |p: Problem| Problem { detail: format!("adapter `{adapter}`: {}", p.detail), ..p };
                Ok((adapter.clone(), Arc::new(loaded.map_err(named)?)))
            }
        };
        // Each compiler has its memory: more of them than processors would gain nothing and could take all of it.
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        stream::iter(wanted).map(load).buffer_unordered(at_once).try_collect().await
    }

    /// # Errors
    /// `broken-adapter` when it is no component of `busbar:adapter`, naming what is wrong; `compile-limit`.
    pub fn load(runtime: &Runtime, wasm: &[u8]) -> Result<Self, Problem> {
        let inspection = inspect::inspect(wasm)?;
        let component = runtime.cache.component(&runtime.engine, wasm)?;
        let pre = runtime
            .linker
            .instantiate_pre(&component)
            .map_err(|e| broken(format!("it asks for more than the host has: {e:#}")))?;
        Ok(Self {
            deliver: exports::deliver::GuestIndices::new(&pre).ok(),
            receive: exports::receive::GuestIndices::new(&pre).ok(),
            poll: exports::poll::GuestIndices::new(&pre).ok(),
            encode: exports::encode::GuestIndices::new(&pre).ok(),
            decode: exports::decode::GuestIndices::new(&pre).ok(),
            answer: exports::answer::GuestIndices::new(&pre).ok(),
            connection: exports::connection::GuestIndices::new(&pre).ok(),
            pre,
            inspection,
        })
    }
}

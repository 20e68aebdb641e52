//! The instance that a call runs in: a fresh one, or one kept from an earlier call.

use super::effects::Effects;
use super::engine::Runtime;
use super::load::Loaded;
use super::state::{CallState, SystemSpec};
use crate::config::model::Instances;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::Store;
use wasmtime::component::Instance;

/// Everything a run needs: an adapter as one system has it.
pub struct Caller {
    runtime: Arc<Runtime>,
    pub(super) loaded: Arc<Loaded>,
    pub system: Arc<SystemSpec>,
    effects: Arc<dyn Effects>,
    /// At most as many as the system makes calls at once.
    idle: Mutex<Vec<StoredInstance>>,
}

/// An instance with its store. Dropped, both are gone, whatever state they are in.
pub(super) struct StoredInstance {
    pub store: Store<CallState>,
    instance: Option<Instance>,
    calls: u32,
}

impl Caller {
    pub fn new(runtime: Arc<Runtime>, loaded: Arc<Loaded>, system: Arc<SystemSpec>, effects: Arc<dyn Effects>) -> Self {
        Self { runtime, loaded, system, effects, idle: Mutex::default() }
    }

    /// What the host itself does for the system.
    pub fn effects(&self) -> &dyn Effects {
        self.effects.as_ref()
    }

    pub(super) fn state(&self) -> CallState {
        CallState::new(self.system.clone(), self.effects.clone())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<StoredInstance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance for one call with `state`.
    pub(super) fn take(&self, state: CallState) -> StoredInstance {
        let kept = self.idle().pop();
        let mut held = match kept {
            Some(mut held) => {
                let state = state.following(held.store.data());
                *held.store.data_mut() = state;
                held
            }
            None => self.fresh(state),
        };
        held.store.set_epoch_deadline(1);
        held
    }

    pub(super) fn fresh(&self, state: CallState) -> StoredInstance {
        let (fuel, handles) = (state.limits().host_call_bytes, state.limits().handles);
        let mut store = Store::new(&self.runtime.engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(fuel);
        store.set_max_component_handles(handles);
        // Each tick the guest yields to the host, whose deadline then has its say.
        store.epoch_deadline_async_yield_and_update(1);
        StoredInstance { store, instance: None, calls: 0 }
    }

    /// Ends a call. `sound`: it came back, with whatever result; only then can the instance be kept.
    pub(super) fn end(&self, mut held: StoredInstance, sound: bool) -> CallState {
        let Instances::Warm { calls } = self.system.instances else { return held.store.into_data() };
        held.calls += 1;
        if !sound || held.calls >= calls {
            return held.store.into_data();
        }
        let idle = self.state().following(held.store.data());
        let state = std::mem::replace(held.store.data_mut(), idle);
        let mut kept = self.idle();
        if kept.len() < self.system.limits.concurrency {
            kept.push(held);
        }
        state
    }
}

impl StoredInstance {
    pub async fn instance(&mut self, loaded: &Loaded) -> wasmtime::Result<Instance> {
        match self.instance {
            Some(instance) => Ok(instance),
            None => Ok(*self.instance.insert(loaded.pre.instantiate_async(&mut self.store).await?)),
        }
    }
}

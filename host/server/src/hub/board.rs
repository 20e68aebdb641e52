//! What is shown of systems beside their deliveries.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// By system.
#[derive(Debug, Default)]
pub struct Board<T>(Mutex<BTreeMap<String, T>>);

impl<T: Clone + Default> Board<T> {
    pub fn of(&self, system: &str) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(system).cloned()
    }

    pub fn change(&self, system: &str, change: impl FnOnce(&mut T)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(system.to_string()).or_default());
    }
}

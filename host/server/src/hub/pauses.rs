//! What persons hold up: written in the store, and so the same for every hub and after every start.

use super::{Driver, Hub};
use busbar_core::engine::Event;
use busbar_core::ports::Store;
use busbar_core::{Code, Commit, Decider, Hold, Problem};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How often a hub looks for what was said to another one.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the engine to the store's pauses.
pub struct Pauses {
    pub driver: Arc<Driver>,
    pub store: Arc<dyn Store>,
    /// Systems that the engine holds up. One looks at a time, so that an older look does not undo a newer one.
    held: Mutex<BTreeSet<String>>,
}

impl Pauses {
    pub fn new(driver: Arc<Driver>, store: Arc<dyn Store>) -> Self {
        Self { driver, store, held: Mutex::default() }
    }

    /// Tells the engine what has changed in the store.
    ///
    /// # Errors
    /// `store-unavailable`.
    pub async fn follow(&self) -> Result<(), Problem> {
        let mut held = self.held.lock().await;
        let now: BTreeSet<_> = self.store.pauses().await?.into_iter().map(|pause| pause.system).collect();
        let changed = |system: &String, paused| {
            tracing::info!(system, paused, "a system's deliveries are held up, or go on");
            Event::Pause { system: system.clone(), paused }
        };
        let begun = now.difference(&held).map(|system| changed(system, true));
        let ended = held.difference(&now).map(|system| changed(system, false));
        self.driver.feed(begun.chain(ended).collect::<Vec<_>>());
        *held = now;
        Ok(())
    }

    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut away = false;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let followed = self.follow().await;
            if let (Err(problem), false) = (&followed, away) {
                tracing::warn!(%problem, "whether persons hold systems up cannot be read: what was held up stays so");
            }
            away = followed.is_err();
        }
    }
}

impl Hub {
    /// Holds a system's deliveries up at every hub, or lets them go on; returns when that is durable, and done here.
    ///
    /// # Errors
    /// `not-found`, `store-unavailable`.
    pub async fn hold(&self, system: &str, paused: bool, decider: &Decider) -> Result<(), Problem> {
        // One that was left out of the deployment can still be let go.
        let is_held = async || Ok::<_, Problem>(self.store.pauses().await?.iter().any(|pause| pause.system == system));
        if !self.committer.statuses().contains_key(system) && (paused || !is_held().await?) {
            return Err(Problem::new(Code::NotFound, format!("no system `{system}`")));
        }
        let hold = Hold { system: system.to_string(), paused, decider: decider.clone() };
        let name = if paused { "pause" } else { "resume" };
        let commit = Commit { hold: Some(hold), at_ms: self.clock.now_ms(), ..Commit::default() };
        let result = self.committer.commit(commit).await?;
        let outcome = if result.is_ok() { "ok" } else { "refused" };
        metrics::counter!("busbar_operations_total", "act" => name, "outcome" => outcome).increment(1);
        tracing::info!(system, paused, by = decider.by, "a person decided about a system");
        // Where it cannot be read just now, it is a moment later.
        if let Err(problem) = self.pauses.follow().await {
            tracing::warn!(%problem, system, paused, "it is written, and holds a moment later");
        }
        Ok(())
    }
}

//! What grows by itself and has a bound: the disk, the systems' state, what was put aside. How much of each is used is a
//! metric, and an alarm before all of it is: a line of log, a word in `/readyz`, and of a system in `/v1/systems`.

use crate::hub::Quota;
use crate::store::SqlStore;
use crate::tls::Certificates;
use busbar_core::ports::{Clock, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// From this part of a bound on there is an alarm, until it is below the other again.
const ALARM: f64 = 0.8;
const CALM: f64 = 0.7;
/// The alarm of the certificate begins 14 days before its end.
const CERTIFICATE_S_MIN: f64 = 14.0 * 86_400.0 * ALARM;

/// The bounds that are nearly reached: of what, and which.
#[derive(Debug, Default)]
pub struct Bounds(Mutex<BTreeSet<(String, &'static str)>>);

impl Bounds {
    fn alarms(&self) -> MutexGuard<'_, BTreeSet<(String, &'static str)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, of: &str, bound: &'static str, used: u64, most: u64) {
        let part = used as f64 / most.max(1) as f64;
        metrics::gauge!("busbar_bound_used_ratio", "of" => of.to_string(), "bound" => bound).set(part);
        let mut alarms = self.alarms();
        if part >= ALARM && alarms.insert((of.to_string(), bound)) {
            tracing::warn!(of, bound, used, most, "a bound is nearly reached, or passed");
        } else if part < CALM && alarms.remove(&(of.to_string(), bound)) {
            tracing::info!(of, bound, used, most, "a bound is far again");
        }
    }

    /// Without saying of which system: whoever asks may have no key.
    pub fn nearly_reached(&self) -> BTreeSet<&'static str> {
        self.alarms().iter().map(|(_, bound)| *bound).collect()
    }

    pub fn of(&self, system: &str) -> Vec<String> {
        self.alarms().iter().filter(|(of, _)| of == system).map(|(_, bound)| bound.to_string()).collect()
    }
}

/// Looks at all of it now and then.
pub struct Watcher {
    pub bounds: Arc<Bounds>,
    pub store: Arc<SqlStore>,
    pub clock: Arc<dyn Clock>,
    /// A folder on the disk to be watched, and the bytes that should be free there.
    pub disk: (PathBuf, u64),
    /// And whether the system may keep a state.
    pub quotas: BTreeMap<String, (Arc<Quota>, bool)>,
    /// With the messages put aside that are too many.
    pub transport: Option<(Arc<dyn Transport>, u64)>,
    /// Of the hub's own listener.
    pub certificates: Option<Arc<Certificates>>,
}

impl Watcher {
    pub async fn run(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut aside_since_ms = None;
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.cancelled() => return,
            }
            self.disk().await;
            self.systems().await;
            self.put_aside(&mut aside_since_ms).await;
            self.certificate();
        }
    }

    fn certificate(&self) {
        let Some(certificates) = &self.certificates else { return };
        let left_s = certificates.left_s();
        metrics::gauge!("busbar_tls_certificate_expires_seconds").set(left_s as f64);
        self.bounds.tell("hub", "certificate", CERTIFICATE_S_MIN as u64, left_s.max(0).unsigned_abs());
    }

    async fn disk(&self) {
        let (folder, free_min) = &self.disk;
        match rustix::fs::statvfs(folder) {
            Ok(found) => {
                let free = found.f_bavail.saturating_mul(found.f_frsize);
                metrics::gauge!("busbar_disk_free_bytes").set(free as f64);
                self.bounds.tell("hub", "disk", *free_min, free);
            }
            Err(error) => tracing::warn!(%error, "the disk's free space is not known"),
        }
        match self.store.bytes().await {
            Ok(bytes) => metrics::gauge!("busbar_store_bytes").set(bytes as f64),
            Err(problem) => tracing::debug!(%problem, "the store's size is not known"),
        }
    }

    async fn systems(&self) {
        for (system, (quota, keeps_state)) in &self.quotas {
            quota.tell_left_out(self.clock.now_ms());
            if !keeps_state {
                continue;
            }
            match quota.state().await {
                Ok((used, most)) => {
                    self.bounds.tell(system, "state-keys", used.keys, most.keys);
                    self.bounds.tell(system, "state-bytes", used.bytes, most.bytes);
                }
                Err(problem) => tracing::debug!(system, %problem, "the state's size is not known"),
            }
        }
    }

    /// `since_ms`: when something was first seen there that was not taken away since. How old the oldest is, only who
    /// takes it would know.
    async fn put_aside(&self, since_ms: &mut Option<i64>) {
        let Some((transport, most)) = &self.transport else { return };
        let Ok(Ok(Some(count))) = tokio::time::timeout(ANSWER_MAX, transport.put_aside()).await else { return };
        let now_ms = self.clock.now_ms();
        *since_ms = (count > 0).then(|| since_ms.unwrap_or(now_ms));
        let age_ms = since_ms.map_or(0, |since| now_ms.saturating_sub(since));
        metrics::gauge!("busbar_dead_messages").set(count as f64);
        metrics::gauge!("busbar_dead_seconds").set(age_ms as f64 / 1000.0);
        self.bounds.tell("hub", "dead", count, *most);
    }
}

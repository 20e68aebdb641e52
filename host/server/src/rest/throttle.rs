//! Wrong keys and passwords slow down whoever sends them, and nobody else: a right one is always served, so that somebody
//! behind the same proxy, or with the same address, cannot be shut out by another's guesses.

use busbar_core::engine::{Bucket, Rate};
use busbar_core::{Code, Problem};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Of one wrong key: a program with an old one. Whoever else mistypes theirs there still hears so.
const KEY: Rate = Rate { per_second: 0.1, burst: 30 };
/// Of one address, whatever it sends: somebody who guesses.
const ADDRESS: Rate = Rate { per_second: 1.0, burst: 60 };
/// Who is forgotten for others is only told 401 again instead of 429.
const ENTRIES_MAX: usize = 4_096;
const SAY_EVERY_MS: i64 = 60_000;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Who sent wrong keys lately.
#[derive(Default)]
pub struct Throttle {
    hasher: RandomState,
    seen: Mutex<WrongKeys>,
}

#[derive(Default)]
struct WrongKeys {
    buckets: HashMap<u64, Bucket>,
    /// When the log was told last.
    said_ms: i64,
}

impl Throttle {
    /// What the sender of a wrong key, or of none, is told: that it is wrong, or to send no more for now.
    pub fn answer(&self, peer: Option<Peer>, given: &[u8], problem: Problem, now_ms: i64) -> Problem {
        let Some(Peer(address)) = peer else { return problem };
        let address = network(address);
        let by_key = (!given.is_empty()).then(|| (self.hasher.hash_one((address, given)), KEY));
        let by_address = (self.hasher.hash_one(address), ADDRESS);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order: what one program sends again and again does not use up what the address has.
        for (key, rate) in by_key.into_iter().chain([by_address]) {
            if let Err(wait_ms) = seen.take(key, rate, now_ms) {
                metrics::counter!("busbar_http_throttled_total").increment(1);
                if now_ms.saturating_sub(seen.said_ms) > SAY_EVERY_MS {
                    seen.said_ms = now_ms;
                    tracing::warn!(%address, "wrong keys come from an address again and again");
                }
                let mut problem = Problem::new(Code::Throttled, "too many wrong keys came from here");
                problem.retry_after_ms = Some(wait_ms);
                return problem;
            }
        }
        problem
    }
}

impl WrongKeys {
    /// # Errors
    /// Milliseconds after which there is room again.
    fn take(&mut self, key: u64, rate: Rate, now_ms: i64) -> Result<(), u64> {
        if self.buckets.len() >= ENTRIES_MAX && !self.buckets.contains_key(&key) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now_ms));
            if self.buckets.len() >= ENTRIES_MAX {
                self.buckets.clear();
            }
        }
        let bucket = self.buckets.entry(key).or_insert_with(|| Bucket::new(rate));
        if bucket.room(now_ms) == 0 {
            return Err(bucket.wake_ms().saturating_sub(now_ms).unsigned_abs());
        }
        bucket.take();
        Ok(())
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

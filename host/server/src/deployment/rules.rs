//! What the configuration says to the rules of delivery.

use super::{Deployment, System};
use crate::wasm::Entry;
use busbar_core::Policy;
use busbar_core::engine::{BreakerPolicy, FileRules, Rate, SystemRules};
use std::collections::BTreeSet;

/// Deliveries running at once for a system without an adapter.
const VIA_AT_ONCE: usize = 1_000;
/// Deliveries of one system held in memory.
const WINDOW_MAX: usize = 2_000;

fn at_once(system: &System) -> usize {
    if system.adapter.is_some() { system.config.limits.concurrency } else { VIA_AT_ONCE }
}

/// How the deliveries of each system are made.
pub fn system_rules(deployment: &Deployment) -> impl Iterator<Item = (String, SystemRules)> {
    let rules = |system: &System| {
        let config = &system.config.policy;
        let out = system.config.out.as_ref();
        let files = out.map(|out| FileRules {
            messages_max: out.messages_max as usize,
            every_ms: i64::try_from(out.every_ms).unwrap_or(i64::MAX),
        });
        SystemRules {
            policy: policy(system),
            breaker: BreakerPolicy {
                failures: config.breaker_failures,
                open_first_ms: config.breaker_first_ms,
                open_max_ms: config.breaker_max_ms,
            },
            rate: config.rate_per_second.map(|per_second| Rate { per_second, burst: config.rate_burst }),
            in_flight_max: files.map_or_else(|| at_once(system), |files| files.messages_max),
            window_max: files.map_or(WINDOW_MAX, |files| WINDOW_MAX.max(2 * files.messages_max)),
            files,
        }
    };
    deployment.systems.iter().map(move |(name, system)| (name.clone(), rules(system)))
}

/// Systems that can do nothing but state messages, and whose configuration lets them do no more.
pub fn stating(deployment: &Deployment) -> BTreeSet<String> {
    let only_states = |system: &System| {
        let grants = &system.config.grants;
        let makes = system.adapter.as_ref().is_some_and(|a| a.inspection.exports.contains(&Entry::Deliver));
        let nothing = grants.http.is_empty() && grants.ask.is_empty() && !grants.state && !grants.lookup;
        makes && nothing && system.config.out.is_none()
    };
    deployment.systems.iter().filter(|(_, system)| only_states(system)).map(|(name, _)| name.clone()).collect()
}

/// When what failed is tried again.
pub fn policy(system: &System) -> Policy {
    let config = &system.config.policy;
    Policy {
        attempts_max: config.attempts,
        backoff_first_ms: config.backoff_first_ms,
        backoff_max_ms: config.backoff_max_ms,
        wait_max_ms: config.wait_max_ms,
    }
}

//! Faults on real servers: hubs killed, brokers and databases restarted, far ends that drop their answers.
//! `BUSBAR_FAULT_PAYMENTS=100000` makes the large ones larger.

mod backlog;
mod gateway;
mod minority;
mod operator;
mod payments;
mod poison;
mod publisher;
mod strangers;

use crate::hub::Hub;
use serde_json::Value;
use std::collections::BTreeMap;

/// How many payments the large tests send.
fn payments(usual: usize) -> usize {
    std::env::var("BUSBAR_FAULT_PAYMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Deliveries of all systems by state; `None` while the hub does not answer.
async fn depths(hub: &Hub) -> Option<BTreeMap<String, i64>> {
    let answer = hub.try_get(crate::hub::READER, "/v1/systems").await?;
    let mut all = BTreeMap::new();
    for system in answer.as_array()? {
        for (state, count) in system["deliveries"].as_object().into_iter().flatten() {
            *all.entry(state.clone()).or_default() += count.as_i64().unwrap_or(0);
        }
    }
    Some(all)
}

/// Deliveries of a state, all pages.
async fn deliveries(hub: &Hub, state: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = "0".to_string();
    loop {
        let path = format!("/v1/deliveries?limit=500&state={state}&after={after}");
        let answer = hub.get(crate::hub::OFFICER, &path).await.body;
        all.extend(answer["deliveries"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().cloned());
        match answer["next"].as_str() {
            Some(next) => after = next.to_string(),
            None => return all,
        }
    }
}

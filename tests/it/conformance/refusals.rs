//! A refusal binds only its own attempt (design, section 6, 5): where the first unsafe request of a delivery is refused
//! once, the next attempt sends it again and comes to the same end as if nothing had been.

use super::{adapters, cases, run};
use crate::hub::{LOADED, RUNTIME};
use busbar_server::cli::{HttpAnswer, Input, Setup, run_scripted};
use busbar_server::wasm::Entry;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn is_unsafe(call: &Value) -> bool {
    !["GET", "HEAD", "OPTIONS"].contains(&call["method"].as_str().unwrap())
}

/// What a delivery shows, without the calls.
async fn end(adapter: &str, setup: Setup, input: Input) -> (Value, Vec<Value>) {
    let mut shown = run_scripted(&RUNTIME, &LOADED[adapter], &super::RULES, setup, input).await.unwrap().show();
    let shown = shown.as_object_mut().unwrap();
    shown.remove("ahead");
    let calls = shown.remove("calls").unwrap();
    (json!(shown), calls.as_array().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_once_is_sent_again() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    let mut covered = BTreeSet::new();
    for adapter in adapters() {
        for (case, setup, input) in cases(adapter) {
            if input.entry != Entry::Deliver || setup.attempts > 1 {
                continue;
            }
            let whole = run(adapter, setup.clone(), input.clone()).await;
            if whole["result"] != "ok" {
                continue;
            }
            let (expected, calls) = end(adapter, setup.clone(), input.clone()).await;
            if let Some(at) = calls.iter().position(is_unsafe) {
                for status in [401, 403] {
                    let again = refused_at(&setup, at, status);
                    let (shown, seen) = end(adapter, again, input.clone()).await;
                    let refused = &calls[at];
                    let sent = seen.iter().filter(|call| *call == refused).count();
                    let before = calls.iter().filter(|call| *call == refused).count();
                    tried += 1;
                    covered.insert(adapter.as_str());
                    if shown != expected || sent != before + 1 {
                        wrong.push(format!("{case}: request {at} refused with {status}, sent {sent} times: {shown}"));
                    }
                }
            }
        }
    }
    println!("{tried} refusals of {covered:?}");
    assert!(covered.len() >= 7 && tried > 50, "hardly any delivery sends anything: {tried}, {covered:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two attempts: request number `at` of the first one is refused, and the second one gets all the answers.
fn refused_at(setup: &Setup, at: usize, status: u16) -> Setup {
    let refusal: HttpAnswer = serde_json::from_value(json!({ "status": status })).unwrap();
    let mut again = setup.clone();
    again.http = setup.http.iter().take(at).cloned().chain([refusal]).chain(setup.http.iter().cloned()).collect();
    again.attempts = 2;
    again
}

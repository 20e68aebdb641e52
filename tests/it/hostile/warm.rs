//! Instances that are kept: for as many calls as the settings say, and never after one that went wrong.

use super::{caller_with, code, grants, hook, limits};
use busbar_core::ports::HookRequest;
use busbar_server::config::model::{Instances, Limits};
use busbar_server::wasm::{Caller, receive};
use std::sync::Arc;

fn caller(instances: Instances, limits: Limits) -> Caller {
    caller_with("ok", "", grants(), limits, instances, |effects| Arc::new(effects))
}

fn asking(behaviour: &str) -> HookRequest {
    HookRequest { path: format!("/{behaviour}"), ..hook() }
}

/// How many calls the instance that answers has had before.
async fn count(caller: &Caller) -> u32 {
    let run = receive(caller, asking("count")).await;
    String::from_utf8(run.result.unwrap().body).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_instance_remembers_nothing_and_a_warm_one_is_dropped_after_its_calls() {
    let fresh = caller(Instances::Fresh, limits());
    let warm = caller(Instances::Warm { calls: 3 }, limits());
    let (mut of_fresh, mut of_warm) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        of_fresh.push(count(&fresh).await);
        of_warm.push(count(&warm).await);
    }
    assert_eq!((of_fresh, of_warm), (vec![0; 7], vec![0, 1, 2, 0, 1, 2, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_trap_a_timeout_or_a_limit_the_next_call_has_another_instance() {
    let warm = caller(Instances::Warm { calls: 1000 }, limits());
    for (behaviour, wanted) in [
        ("trap", "adapter-trap"),
        ("loop", "adapter-timeout"),
        ("alloc", "adapter-limit"),
        ("emit-invalid", "invalid-emit"),
    ] {
        assert_eq!((count(&warm).await, count(&warm).await), (0, 1), "before {behaviour}");
        assert_eq!(code(&receive(&warm, asking(behaviour)).await), wanted);
    }
    // A failure that the adapter states itself is an answer like any other.
    assert_eq!((count(&warm).await, count(&warm).await), (0, 1));
    assert_eq!(code(&receive(&warm, asking("fail")).await), "transient");
    assert_eq!(count(&warm).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_warm_instance_has_its_own_limits_and_record() {
    let warm = caller(Instances::Warm { calls: 1000 }, Limits { messages: 2, ..limits() });
    for _ in 0..5 {
        let run = receive(&warm, asking("emit-one")).await;
        assert_eq!((run.result.is_ok(), run.emitted.len()), (true, 1), "{:?}", run.result);
        // What failed is not carried over.
        assert_eq!(code(&receive(&warm, asking("emit-then-fail")).await), "transient");
    }
    assert_eq!(count(&warm).await, 0, "the counter counts its own calls alone");
    // Its memory stays counted: what is grown over several calls is over the limit all the same.
    let small = caller(Instances::Warm { calls: 1000 }, Limits { memory_bytes: 24 << 20, ..limits() });
    let mut ended = false;
    for _ in 0..40 {
        ended |= receive(&small, asking("keep-memory")).await.result.is_err();
    }
    assert!(ended, "forty megabytes fitted into twenty-four");
}

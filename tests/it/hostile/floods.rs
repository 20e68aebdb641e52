//! What adds up: errors of megabytes, handles that are never dropped, systems that cause each other, and what each call may do
//! once and many calls do for ever. Beside each, a neighbour's deliveries go on.

use super::{attempting, caller, caller_of, code, grants, hook, limits, private};
use crate::hub::{Hub, OFFICER, Standin, adapters, compiler, payment, wait_for};
use busbar_server::config::model::{Grants, Instances, Limits};
use busbar_server::wasm::{Loaded, Runtime, deliver, receive};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Systems with the hostile adapter and these behaviours, each with what only it is routed; `good` gets what comes from `/test/cash`.
fn systems(behaviours: &[(&str, &str)]) -> String {
    let of = |(name, behaviour): &(&str, &str)| {
        format!(
            "[systems.{name}]\nadapter = \"hostile\"\n[systems.{name}.hook]\nopen = true\n[systems.{name}.config]\nbehaviour = \"{behaviour}\"\n\
             [systems.{name}.policy]\nattempts = 2\nbackoff-first-ms = 20\n[systems.{name}.grants]\n\
             emit = [\"payment.received.v1\"]\nstate = true\nclock = true\n"
        )
    };
    let good = "[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"good\"]\nwhen = 'source == \"/test/cash\"'\n";
    [behaviours.iter().chain([&("good", "ok")]).map(of).collect::<Vec<_>>().concat(), good.into()].concat()
}

async fn neighbour_goes_on(hub: &Hub, id: &str) {
    let sent = hub.publish(&payment(id, "1", "10.00")).await;
    let trace = hub.settled(&sent["seq"], &["done"]).await;
    assert_eq!(trace["deliveries"][0]["system"], "good", "{trace}");
}

fn from(source: &str, id: &str) -> Value {
    let mut event = payment(id, "1", "10.00");
    event["source"] = source.into();
    event
}

/// Two systems, each of which states a message because of the other's: it ends by itself, with the chain in its reason.
#[tokio::test]
async fn systems_that_cause_each_other_are_ended_with_their_chain() {
    let route = |to: &str, when: &str| {
        format!("[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"{to}\"]\nwhen = '{when}'\n")
    };
    let hub = Hub::start(&format!(
        "{}{}{}",
        systems(&[("ping", "echo"), ("pong", "echo")]),
        route("ping", r#"source in ["/test/desk", "/test/pong"]"#),
        route("pong", r#"source == "/test/ping""#)
    ));
    hub.publish(&from("/test/desk", "m0")).await;
    let last = wait_for("the end of the loop", async || {
        let parked = hub.get(OFFICER, "/v1/deliveries").await.body;
        parked["deliveries"].as_array()?.first().cloned()
    })
    .await;
    let error = &last["error"];
    assert_eq!(error["code"], "route-loop", "{last}");
    assert!(error["detail"].as_str().unwrap().contains("ping, pong, ping, pong"), "{error}");
    assert_eq!(last["attempts"], 1, "what cannot end otherwise is not tried again: {last}");
    // The first one and sixteen in the chain; the seventeenth was refused.
    let stated = hub.messages("type=payment.received.v1").await;
    assert_eq!(stated.len(), 17);
    let trace = hub.trace(&stated[0]["seq"]).await;
    assert_eq!(trace["message"]["busbarchain"].as_str().unwrap().split(',').count(), 16, "{trace}");
    neighbour_goes_on(&hub, "m1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_megabytes_are_cut_before_they_are_kept() {
    let patient = Limits { deadline_ms: 20_000, ..limits() };
    let run = |behaviour: &'static str| {
        let caller = caller(behaviour, "", grants(), patient.clone());
        async move { receive(&caller, hook()).await }
    };
    for (behaviour, wanted) in [("giant-transient", "transient"), ("giant-other", "adapter-other")] {
        let run = run(behaviour).await;
        assert_eq!(code(&run), wanted);
        assert!(run.result.unwrap_err().problem().detail.len() < 2100);
    }
    let busbar_core::Failure::Rejected(rejection) = run("giant-rejected").await.result.unwrap_err() else { panic!() };
    let lengths = [rejection.code.len(), rejection.reason.len(), rejection.place.unwrap().len()];
    assert!(lengths[0] < 110 && lengths[1] < 2100 && lengths[2] < 510, "{lengths:?}");
    // Two hundred entries of six megabytes each would be in memory at once.
    let left_out = run("giant-left-out").await.left_out;
    let bytes: usize =
        left_out.entries.iter().map(|e| e.code.len() + e.reason.len() + e.place.as_ref().map_or(0, String::len)).sum();
    assert!(left_out.count == 200 && bytes < 200 * 2_700, "{} of {bytes} bytes", left_out.count);
    let emitted = run("giant-place").await.emitted;
    assert!(emitted[0].place.as_ref().unwrap().len() < 510);
}

#[tokio::test]
async fn errors_of_megabytes_are_answered_and_kept_short_beside_a_neighbour() {
    let hub = Hub::start(&systems(&[("bad", "ok")]));
    for behaviour in ["giant-rejected", "giant-transient", "giant-other", "giant-left-out", "giant-place"] {
        let answer = hub.send(hub.client.post(format!("{}/hooks/bad/{behaviour}", hub.url))).await;
        assert!(answer.body.to_string().len() < 4_000, "{behaviour}: {}", answer.status);
        let headers: usize = answer.headers.values().map(|value| value.len()).sum();
        assert!(headers < 1_000, "{behaviour}: {headers} bytes of headers");
        neighbour_goes_on(&hub, behaviour).await;
    }
    let kept = hub.intakes("system=bad").await;
    let longest = kept.iter().map(|intake| intake.to_string().len()).max().unwrap();
    assert!(kept.len() >= 5 && longest < 4_000, "{} intakes, {longest} bytes", kept.len());
    let metrics = hub.get(OFFICER, "/metrics").await.body.to_string();
    assert!(!metrics.contains("cccccccc") && !metrics.contains("rrrrrrrr"), "what an adapter says is a label");
    assert!(hub.log().len() < 200_000, "{} bytes of log", hub.log().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_are_never_dropped_end_the_call() {
    // Five hundred fit into this memory, and a hundred thousand do not.
    let small = Limits { deadline_ms: 20_000, memory_bytes: 4 << 20, ..limits() };
    for (handles, named) in [(500, "limits.handles"), (1_000_000, "limits.memory-bytes")] {
        let caller = caller("handles", "", grants(), Limits { handles, ..small.clone() });
        let run = deliver(&caller, attempting(1, Vec::new())).await;
        assert_eq!(code(&run), "adapter-limit");
        let detail = run.result.unwrap_err().problem().detail;
        assert!(detail.contains(named), "{handles}: {detail}");
    }
}

/// More calls at once than the hub has instances for: those over it are told to come again, and no adapter is to blame.
#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_instances_are_busy_and_succeed_later() {
    let slow = Standin::slow(|_, _| (200, String::new(), Duration::from_secs(4))).await;
    let runtime = Arc::new(Runtime::new(None, compiler()).unwrap());
    let wasm = std::fs::read(adapters().join("hostile.wasm")).unwrap();
    let loaded = Arc::new(Loaded::load(&runtime, &wasm).unwrap());
    let patient = Limits { deadline_ms: 30_000, ..limits() };
    let wrap = |effects| Arc::new(effects) as Arc<_>;
    let caller = caller_of((runtime, loaded), "http", &slow.url, private(&slow.url), patient, Instances::Fresh, wrap);
    let runs = futures::future::join_all((0..300).map(|_| receive(&caller, hook()))).await;
    let failed: Vec<_> = runs.iter().filter(|run| run.result.is_err()).map(code).collect();
    assert_eq!(failed, vec!["busy"; 300 - 256]);
    assert!(receive(&caller, hook()).await.result.is_ok());
}

/// Each call is within its limits, and there are many. What holds today: the calls are bounded one by one, what they keep
/// and say adds up, and the neighbour does not notice.
#[tokio::test]
async fn what_each_call_may_do_once_adds_up_beside_a_neighbour_that_goes_on() {
    let hub = Hub::start(&systems(&[("bad", "ok")]));
    let ask = async |behaviour: &str| hub.send(hub.client.post(format!("{}/hooks/bad/{behaviour}", hub.url))).await;
    for round in 0..10 {
        assert_eq!(ask("state-grow").await.status, 200);
        assert_eq!(ask("log-large").await.status, 200);
        neighbour_goes_on(&hub, &format!("m{round}")).await;
    }
    // One more line than a call may write ends it.
    ask("log").await.problem(500, "adapter-limit");
    let lines = hub.log().lines().filter(|line| line.contains("xxxxxxxx")).count();
    assert!((500..700).contains(&lines), "{lines} lines of ten calls with fifty each, and of one that was ended");
    let no = Grants { state: false, ..grants() };
    assert_eq!(code(&receive(&caller("state-grow", "", no, limits()), hook()).await), "missing-grant");
}

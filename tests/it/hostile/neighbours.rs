//! A hostile system beside an honest one in a running hub.

use crate::hub::{Hub, OFFICER, payment, wait_for};
use std::time::{Duration, Instant};

/// Two systems with the same adapter: `bad` does what it is asked, `good` is the neighbour.
fn systems(limits: &str) -> String {
    let system = |name: &str, behaviour: &str, limits: &str| {
        format!(
            "[systems.{name}]\nadapter = \"hostile\"\n[systems.{name}.hook]\nopen = true\n\
             [systems.{name}.config]\nbehaviour = \"{behaviour}\"\n[systems.{name}.policy]\nattempts = 2\nbackoff-first-ms = 20\n\
             [systems.{name}.limits]\n{limits}\n[systems.{name}.grants]\nemit = [\"payment.received.v1\"]\nstate = true\n"
        )
    };
    format!(
        "{}{}[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"bad\"]\n",
        system("bad", "loop", limits),
        system("good", "ok", "")
    )
}

/// A store without a disk beneath: what is measured is who gets the processors, and a disk that takes a second to flush would
/// be taken for a neighbour that was kept waiting.
fn in_memory() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = format!("[store]\nurl = \"sqlite:{}\"\n", folder.path().join("busbar.db").display());
    (folder, store)
}

/// Median and slowest of `count` requests to the neighbour, one after another; every one must succeed.
async fn neighbour(hub: &Hub, count: usize) -> (Duration, Duration) {
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let began = Instant::now();
        let answer = hub.send(hub.client.post(format!("{}/hooks/good", hub.url))).await;
        assert_eq!(answer.status, 200, "request {number}: {answer:?}");
        took.push(began.elapsed());
    }
    took.sort();
    (took[count / 2], took[count - 1])
}

/// Keeps `bad` busy with `at_once` requests for each behaviour, until the neighbour has had its 200 turns.
async fn beside(hub: &Hub, behaviours: &[&str], at_once: usize) {
    let quiet = neighbour(hub, 200).await;
    let ask = |behaviour: &str| hub.client.post(format!("{}/hooks/bad/{behaviour}", hub.url));
    let busy = behaviours.iter().flat_map(|behaviour| std::iter::repeat_n(*behaviour, at_once));
    let busy = futures::future::join_all(busy.map(async |behaviour| {
        loop {
            let _ = hub.send(ask(behaviour)).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }));
    let loud = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        neighbour(hub, 200).await
    };
    let loud = tokio::select! {
        loud = loud => loud,
        _ = busy => unreachable!(),
        // Should a flood come through, it must not fill the disk.
        () = tokio::time::sleep(Duration::from_secs(40)) => panic!("200 requests beside a hostile one take over 40 s"),
    };
    println!("(median, slowest) alone {quiet:?}, beside {loud:?}; memory {} MiB", hub.memory_peak_bytes() >> 20);
    // On two cores shared with other tests; generous, but far below any deadline of the hostile one.
    assert!(loud.0 < Duration::from_millis(150).max(quiet.0 * 30), "alone {quiet:?}, beside {loud:?}");
    assert!(loud.1 < Duration::from_millis(1000).max(quiet.1 * 30), "alone {quiet:?}, beside {loud:?}");
}

#[tokio::test]
async fn neighbours_do_not_notice_who_loops_grows_floods_or_crashes() {
    let (_folder, store) = in_memory();
    let hub = Hub::start(&format!("{store}{}", systems("deadline-ms = 1000\nconcurrency = 8")));
    beside(&hub, &["loop", "alloc", "log", "log-empty", "stack", "trap", "state-rewrite", "huge-response"], 2).await;
    assert!(hub.memory_peak_bytes() < 1 << 30, "{} MiB", hub.memory_peak_bytes() >> 20);
    let log_bytes = std::fs::metadata(hub.path("log")).unwrap().len();
    assert!(log_bytes < 64 << 20, "{log_bytes} bytes of log");
    for (behaviour, code) in [("loop", "adapter-timeout"), ("alloc", "adapter-limit"), ("trap", "adapter-trap")] {
        // Once more by itself: the newest intakes are mostly of the floods, thousands of them.
        let wanted = format!("POST /{behaviour}");
        let found = wait_for(&format!("the intake of {wanted}"), async || {
            hub.send(hub.client.post(format!("{}/hooks/bad/{behaviour}", hub.url))).await;
            let intakes = hub.intakes("system=bad&outcome=refused").await;
            intakes.into_iter().find(|intake| intake["name"] == wanted.as_str())
        })
        .await;
        assert_eq!(found["error"]["code"], code, "{found}");
    }
}

#[tokio::test]
async fn a_crowd_at_a_hostile_hook_leaves_room_for_the_others() {
    let (_folder, store) = in_memory();
    let hub = Hub::with("concurrency-max = 32", &format!("{store}{}", systems("deadline-ms = 2000\nconcurrency = 4")));
    beside(&hub, &["loop"], 48).await;
}

#[tokio::test]
async fn a_hostile_delivery_is_parked_with_its_reason_and_passed_by_others() {
    let (_folder, store) = in_memory();
    let hub = Hub::start(&format!("{store}{}", systems("deadline-ms = 200")));
    let looping = hub.publish(&payment("m1", "1", "10.00")).await;
    let (_, slowest) = neighbour(&hub, 50).await;
    assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
    let trace = hub.settled(&looping["seq"], &["parked"]).await;
    let delivery = &trace["deliveries"][0];
    assert_eq!((delivery["error"]["code"].as_str(), delivery["attempts"].as_u64()), (Some("adapter-timeout"), Some(2)));
}

#[tokio::test]
async fn every_failure_is_a_problem_with_its_code_and_stands_in_the_journal() {
    let hub = Hub::start(&systems("deadline-ms = 300"));
    let cases = [
        ("loop", 504, "adapter-timeout"),
        ("alloc", 500, "adapter-limit"),
        ("log", 500, "adapter-limit"),
        ("stack", 500, "adapter-trap"),
        ("trap", 500, "adapter-trap"),
        ("emit-ungranted", 403, "missing-grant"),
        ("emit-invalid", 502, "invalid-emit"),
        ("emit-then-invalid", 502, "invalid-emit"),
        ("emit-then-fail", 503, "transient"),
        ("emit-flood", 500, "adapter-limit"),
        ("state-flood", 500, "adapter-limit"),
        ("credential-ungranted", 403, "missing-grant"),
    ];
    for (behaviour, status, code) in cases {
        let answer = hub.send(hub.client.post(format!("{}/hooks/bad/{behaviour}", hub.url))).await;
        answer.problem(status, code);
        let intake = &hub.intakes("system=bad").await[0];
        assert_eq!((intake["outcome"].as_str(), intake["error"]["code"].as_str()), (Some("refused"), Some(code)));
        assert_eq!(intake["name"], format!("POST /{behaviour}"));
    }
    assert!(hub.messages("source=/test/bad").await.is_empty(), "something was taken over");
    // The metrics tell the systems apart.
    let metrics = hub.get(OFFICER, "/metrics").await.body.as_str().unwrap_or_default().to_string();
    wait_for("the metric", async || metrics.contains("outcome=\"adapter-timeout\"").then_some(())).await;
}

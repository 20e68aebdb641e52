//! What an adapter may use over all of its calls: state, and lines of log.

use crate::hub::{Answer, Hub, READER, wait_for, wait_for_at_most};
use serde_json::json;
use std::time::Duration;

fn keeper(limits: &str) -> String {
    let system = |name: &str, limits: &str| {
        format!(
            "[systems.{name}]\nadapter = \"hostile\"\nhook = {{ open = true }}\ngrants = {{ state = true }}\n\
             limits = {{ {limits} }}\n"
        )
    };
    format!("[store]\nfree-bytes-min = 1\n{}{}", system("keeper", limits), system("second", ""))
}

async fn ask(hub: &Hub, system: &str, behaviour: &str) -> Answer {
    hub.send(hub.client.post(format!("{}/hooks/{system}/{behaviour}", hub.url))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_system_is_bounded_and_told_before_it_is_full() {
    for (limits, most, named) in
        [("state-keys = 4", 4, "limits.state-keys"), ("state-bytes = 12500", 4, "limits.state-bytes")]
    {
        let hub = Hub::start(&keeper(limits));
        for number in 1..=most {
            assert_eq!(ask(&hub, "keeper", &format!("state-add-{number}")).await.status, 200);
        }
        let over = ask(&hub, "keeper", "state-add-9").await;
        over.problem(500, "adapter-limit");
        assert!(over.body["detail"].as_str().unwrap().contains(named), "{over:?}");
        // What is there may be changed, and another system has a state of its own.
        for _ in 0..20 {
            assert_eq!(ask(&hub, "keeper", "state-add-2").await.status, 200);
        }
        for number in 1..20 {
            assert_eq!(ask(&hub, "second", &format!("state-add-{number}")).await.status, 200);
        }
        let bound = named.trim_start_matches("limits.");
        let systems = wait_for("the alarm", async || {
            let systems = hub.get(READER, "/v1/systems").await.body;
            systems[0].get("nearly-reached").is_some().then_some(systems)
        })
        .await;
        assert_eq!(systems[0]["nearly-reached"], json!([bound]), "{systems}");
        let other = systems.as_array().unwrap().iter().find(|system| system["name"] == "second");
        assert!(other.is_none_or(|other| other.get("nearly-reached").is_none()), "{systems}");
        let ready = hub.get("", "/readyz").await;
        assert_eq!((ready.status, &ready.body["nearly-reached"]), (200, &json!([bound])), "{ready:?}");
        let metrics = hub.get("", "/metrics").await.body;
        let line = format!("busbar_bound_used_ratio{{of=\"keeper\",bound=\"{bound}\"}}");
        assert!(metrics.as_str().unwrap().contains(&line), "{metrics}");
        // Room is made by deleting.
        assert_eq!(ask(&hub, "keeper", "state-delete").await.status, 200);
        assert_eq!(ask(&hub, "keeper", "state-add-9").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_over_the_rate_are_left_out_and_counted() {
    let hub = Hub::start(&keeper("log-lines-per-minute = 30"));
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&hub, "keeper", "log-some").await.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    let lines = |log: &str| log.lines().filter(|line| line.contains("a line of many")).count();
    // The minute may have changed once meanwhile.
    assert!([30, 60].contains(&lines(&hub.log())), "{}", lines(&hub.log()));
    assert_eq!(ask(&hub, "second", "log-some").await.status, 200);
    let log = wait_for_at_most("the count", Duration::from_secs(100), async || {
        let log = hub.log();
        let left_out = log.lines().filter_map(|line| line.split("\"left_out\":").nth(1));
        let left_out = left_out.filter_map(|rest| rest.split(['}', ',']).next()?.trim().parse::<usize>().ok());
        // 20 lines of the other system.
        (left_out.sum::<usize>() + lines(&log) == 420).then_some(log)
    })
    .await;
    assert!(log.contains("limits.log-lines-per-minute"), "{log}");
}

//! A far end that is away for a minute at full input: the hub goes on soon after it is back, catches up, keeps the
//! order, and does not grow.

use super::gateway::Gateway;
use super::publisher::{Plan, toml};
use crate::flows::broker::Broker;
use crate::hub::{ANYBODY, Hub, wait_for_at_most};
use crate::servers::vhost;
use lapin::BasicProperties;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const OUTAGE: Duration = Duration::from_secs(60);
const PER_SECOND: usize = 300;
const ACCOUNTS: usize = 150;
const MEMORY_MAX: u64 = 400 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_of_a_minute_the_backlog_drains() {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let gateway = Gateway::start(false).await;
    let hub = Hub::start(&format!("[amqp]\nurl = \"{url}\"\n{ANYBODY}\n{}", toml(&gateway.url)));
    let broker = Broker::patient(&url).await;
    let plan = Plan::new(PER_SECOND * 80, ACCOUNTS);
    let began = Instant::now();
    // Down after five seconds, up again a minute later, while the input goes on.
    let (down_at, up_at) = (Duration::from_secs(5), Duration::from_secs(5) + OUTAGE);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) * ACCOUNTS as u32 / PER_SECOND as u32);
    let (mut sent, mut at_recovery, mut resumed, mut requests_down) = (0, 0, None, 0);
    for round in &plan.rounds {
        ticks.tick().await;
        let now = began.elapsed();
        gateway.set_down(now >= down_at && now < up_at);
        let sending = round.iter().map(|event| broker.publish("busbar.in", event, BasicProperties::default()));
        assert!(futures::future::join_all(sending).await.into_iter().all(|taken| taken));
        sent += round.len();
        if now >= down_at && now < up_at {
            at_recovery = gateway.count();
            requests_down = gateway.requests();
        } else if now >= up_at && resumed.is_none() && gateway.count() > at_recovery {
            resumed = Some(now - up_at);
        }
    }
    let resumed = resumed.expect("resumed while the input went on");
    assert!(resumed <= Duration::from_secs(5), "resumed after {resumed:?}");
    let backlog = sent - at_recovery;
    wait_for_at_most("the backlog to drain", Duration::from_secs(120), async || {
        (gateway.count() == sent).then_some(())
    })
    .await;
    let drained_in = began.elapsed() - up_at;
    let rate = backlog as f64 / drained_in.as_secs_f64();
    let memory = hub.memory_peak_bytes();
    println!(
        "{sent} sent at {PER_SECOND}/s; outage {OUTAGE:?}, {requests_down} requests until its end; resumed after \
         {resumed:?}; {backlog} in {drained_in:?} = {rate:.0}/s; peak memory {} MiB",
        memory >> 20
    );
    assert!(rate >= 2.0 * PER_SECOND as f64, "drained at {rate:.0}/s");
    assert!(memory <= MEMORY_MAX, "{memory} bytes");
    gateway.assert_once_and_in_order(&plan.expected);
    // Nobody's attempts were burnt: nothing is parked, and few deliveries needed more than one or two.
    let depths: BTreeMap<String, i64> = super::depths(&hub).await.unwrap();
    assert_eq!(depths.get("parked").copied().unwrap_or(0), 0, "{depths:?}");
}

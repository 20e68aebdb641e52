//! Poison: messages that can never be delivered cost the others nothing, and unroutable ones are told by name.

use super::publisher::Plan;
use super::{deliveries, depths};
use crate::flows::broker::Broker;
use crate::hub::{ANYBODY, Hub, Standin, wait_for_at_most};
use crate::servers::vhost;
use busbar_core::ports::{Outgoing, Transport};
use busbar_core::{Code, Payload, Shards};
use busbar_server::amqp::{RabbitTransport, Topology};
use busbar_server::config::model::{AmqpConfig, BrokerUrls, TextOrReference};
use lapin::BasicProperties;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const ATTEMPTS_MAX: i64 = 3;
const PER_SECOND: usize = 500;
const TOGETHER: usize = 10;

/// 1 % of 20,000 are bad. They share their seconds with nobody else's measure: every other second has none, and what
/// else changes over time is in both.
const COUNT: usize = 40_000;

fn has_poison(number: usize) -> bool {
    number / PER_SECOND % 2 == 1
}

/// Half of the bad ones are refused for good, half fail whenever they are tried.
fn is_refused(number: usize) -> bool {
    has_poison(number) && number % 200 == 150
}

fn is_failing(number: usize) -> bool {
    has_poison(number) && number % 200 == 50
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// How many times longer the healthy ones take in a second with poison than in the second before it, which has none: of
/// their p99, and the median of all such pairs, because a stall of the machine is nobody's poison.
fn slowdown(events: &[Value], of: impl Fn(&str) -> Duration) -> f64 {
    let of_one = |events: &[Value]| {
        let purposes = events.iter().map(|event| event["data"]["purpose"].as_str().unwrap());
        let healthy = purposes.filter(|p| !p.starts_with("refused") && !p.starts_with("failing"));
        p99(healthy.map(&of).collect())
    };
    let pairs = events.chunks_exact(2 * PER_SECOND).map(|both| both.split_at(PER_SECOND));
    let pairs: Vec<_> = pairs.map(|(without, with)| (of_one(without), of_one(with))).collect();
    let mut ratios: Vec<_> = pairs.iter().map(|(without, with)| with.as_secs_f64() / without.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    println!("p99 of healthy ones, without and with 1 % of poison, second by second: {pairs:?}");
    ratios[ratios.len() / 2]
}

/// A billing system that gets every message without a key, so that none waits for another.
fn toml(amqp: &str, billing: &str) -> String {
    format!(
        "[amqp]\nurl = \"{amqp}\"\n{ANYBODY}\n[systems.billing]\nadapter = \"rest-json\"\n[systems.billing.config]\n\
         base-url = \"{billing}\"\n[systems.billing.config.deliver.\"payment.received.v1\"]\npath = \"/payments\"\n\
         [systems.billing.grants]\nhttp = [\"{billing}\"]\nprivate-addresses = [\"127.0.0.1\"]\n\
         [systems.billing.policy]\nattempts = {ATTEMPTS_MAX}\nbackoff-first-ms = 20\nbackoff-max-ms = 100\n\
         breaker-failures = 1000\n\
         [[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"billing\"]\nkey = \"null\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_percent_of_poison_is_put_aside_and_slows_nobody() {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let standin = Standin::start(|seen, _| {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        match body["purpose"].as_str().unwrap() {
            purpose if purpose.starts_with("refused") => (422, r#"{"error":"no such account"}"#),
            purpose if purpose.starts_with("failing") => (500, r#"{"error":"always"}"#),
            _ => (200, "{}"),
        }
    })
    .await;
    let hub = Hub::start(&toml(&url, &standin.url));
    // Each message has an account of its own.
    let plan = Plan::new(COUNT, COUNT);
    let mut events: Vec<_> = plan.rounds.into_iter().flatten().collect();
    let mut expected: BTreeMap<String, (&str, i64)> = BTreeMap::new();
    for (number, event) in events.iter_mut().enumerate() {
        let (word, fate) = match number {
            number if is_refused(number) => ("refused", ("refused", 1)),
            number if is_failing(number) => ("failing", ("transient", ATTEMPTS_MAX)),
            _ => continue,
        };
        event["data"]["purpose"] = format!("{word}-{number}").into();
        expected.insert(event["id"].as_str().unwrap().to_string(), fate);
    }
    assert_eq!(expected.len(), 200);
    let broker = Broker::patient(&url).await;
    let mut sent = HashMap::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) * TOGETHER as u32 / PER_SECOND as u32);
    for some in events.chunks(TOGETHER) {
        ticks.tick().await;
        let at = Instant::now();
        sent.extend(some.iter().map(|event| (event["data"]["purpose"].as_str().unwrap().to_string(), at)));
        let sending = some.iter().map(|event| broker.publish("busbar.in", event, BasicProperties::default()));
        assert!(futures::future::join_all(sending).await.into_iter().all(|taken| taken));
    }
    wait_for_at_most("all to be settled", Duration::from_secs(60), async || {
        let depths = depths(&hub).await?;
        (depths.get("done") == Some(&39_800) && depths.get("dead") == Some(&200)).then_some(())
    })
    .await;
    let mut seen: HashMap<String, (Instant, i64)> = HashMap::new();
    for request in standin.seen() {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let entry = seen.entry(body["purpose"].as_str().unwrap().to_string()).or_insert((request.at, 0));
        entry.1 += 1;
    }
    for delivery in deliveries(&hub, "dead").await {
        let message = hub.trace(&delivery["message"]).await["message"].clone();
        let (code, attempts) = expected.remove(message["id"].as_str().unwrap()).unwrap();
        assert_eq!(delivery["error"]["code"], code, "{delivery}");
        assert_eq!(delivery["attempts"], attempts, "{delivery}");
        assert!(!delivery["error"]["detail"].as_str().unwrap().is_empty());
        assert_eq!(seen[message["data"]["purpose"].as_str().unwrap()].1, attempts, "attempts made");
    }
    assert!(expected.is_empty(), "not among the dead: {expected:?}");
    let slowdown = slowdown(&events, |purpose| seen[purpose].0 - sent[purpose]);
    println!("with 1 % of poison the healthy ones' p99 is {slowdown:.2} times as long");
    assert!(slowdown <= 2.0, "{slowdown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_unroutable_ones_are_reported() {
    let url = tokio::task::spawn_blocking(vhost).await.unwrap();
    let config = AmqpConfig {
        body_bytes_max: 1 << 20,
        url: BrokerUrls::One(TextOrReference::Text(url.clone())),
        management: None,
        prefix: "busbar".into(),
        prefetch: 1_000,
        confirm_timeout_ms: 30_000,
        bare_attributes: Vec::new(),
        dead_max: 1_000,
        publishers: Vec::new(),
        reply_queues: Vec::new(),
    };
    let topology = Topology { prefix: "busbar".into(), ..Topology::default() };
    let owned = tokio::sync::watch::Sender::new(Shards::ALL);
    let (secret, stop) = (secrecy::SecretString::from(url.clone()), CancellationToken::new());
    let transport = RabbitTransport::start(&config, vec![secret], topology, owned.subscribe(), stop).await.unwrap();
    let broker = Broker::patient(&url).await;
    broker.queue("taken", "busbar.out", "routed").await;
    let is_lost = |number: usize| number % 33 == 7;
    let outgoing = |number: usize| Outgoing {
        exchange: "busbar.out".into(),
        routing_key: if is_lost(number) { format!("nowhere.{number}") } else { "routed".into() },
        payload: Payload {
            attributes: vec![("partitionkey".into(), format!("{}", number % 50))],
            body: number.to_string().into_bytes(),
            ..Payload::default()
        },
        ..Outgoing::default()
    };
    let results = transport.publish((0..10_000).map(outgoing).collect()).await;
    let mut reported = BTreeSet::new();
    for (number, result) in results.iter().enumerate() {
        if let Err(problem) = result {
            assert_eq!(problem.code, Code::Unroutable, "{problem}");
            assert!(problem.detail.contains(&format!("nowhere.{number}`")), "{problem}");
            reported.insert(number);
        }
    }
    assert_eq!(reported, (0..10_000).filter(|number| is_lost(*number)).collect());
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = broker.channel.queue_declare("taken".into(), passive, Default::default()).await.unwrap();
    assert_eq!(queue.message_count() as usize, 10_000 - reported.len());
}

//! Payments through everything that can break at once: none lost, none executed twice, an account's in order.

use super::gateway::Gateway;
use super::publisher::{Plan, resolve, toml};
use super::{depths, payments};
use crate::hub::{ANYBODY, Hub, wait_for_at_most};
use crate::servers::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const ACCOUNTS: usize = 240;
const KILL_EVERY: Duration = Duration::from_secs(2);

/// Kills hubs one after another until it is told to stop, and counts.
fn kill_hubs(hubs: Arc<Vec<Mutex<Hub>>>, stop: Arc<AtomicBool>, kills: Arc<AtomicUsize>) {
    let mut next = 0;
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(KILL_EVERY);
        let mut hub = hubs[next % hubs.len()].blocking_lock();
        hub.kill();
        kills.fetch_add(1, Ordering::SeqCst);
        // The broker or the database may be away just now.
        while !hub.try_run() {
            std::thread::sleep(Duration::from_millis(200));
        }
        next += 1;
    }
}

/// Starts them anew from this thread: they end with the thread that started them, and that one is over.
async fn revive(hubs: &[Mutex<Hub>]) {
    for hub in hubs {
        hub.lock().await.restart();
    }
}

/// Waits until nothing is on its way any more, with the operator's help where an outcome is unknown.
async fn settled(hub: &Hub, gateway: &Gateway, plan: &Plan) -> usize {
    let mut resolved = 0;
    let at_most = Duration::from_millis(12 * plan.len() as u64);
    wait_for_at_most("everything to be settled", at_most, async || {
        resolved += resolve(hub, |purpose| gateway.knows(purpose)).await;
        let depths = depths(hub).await?;
        let open: i64 = ["ready", "waiting", "parked"].iter().filter_map(|state| depths.get(*state)).sum();
        let ended: i64 = ["done", "skipped"].iter().filter_map(|state| depths.get(*state)).sum();
        (open == 0 && ended == i64::try_from(plan.len()).unwrap()).then_some(())
    })
    .await;
    resolved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_with_broker_and_database_lose_nothing_and_do_nothing_twice() {
    let began = Instant::now();
    let plan = Arc::new(Plan::new(payments(20_000), ACCOUNTS));
    let gateway = Gateway::start(true).await;
    let (postgres, rabbitmq) = (Server::postgres(), Server::rabbitmq());
    let (store, amqp) = (postgres.database(), rabbitmq.url.clone());
    let toml = format!("[store]\nurl = \"{store}\"\n[amqp]\nurl = \"{amqp}\"\n{ANYBODY}\n{}", toml(&gateway.url));
    let hubs: Arc<Vec<_>> = Arc::new((0..2).map(|_| Mutex::new(Hub::start(&toml))).collect());
    let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let killer = std::thread::spawn({
        let (hubs, stop, kills) = (hubs.clone(), stop.clone(), kills.clone());
        move || kill_hubs(hubs, stop, kills)
    });
    let publishing = plan.publish(&amqp);
    let progress = plan.clone();
    let breaking = tokio::task::spawn_blocking(move || {
        let (mut postgres, mut rabbitmq) = (postgres, rabbitmq);
        for round in 0..3 {
            // While it is published and much of it waits in the broker.
            while progress.published.load(Ordering::SeqCst) < progress.rounds.len() * (round + 1) / 4 {
                std::thread::sleep(Duration::from_millis(20));
            }
            rabbitmq.kill();
            rabbitmq.restart();
            if round < 2 {
                std::thread::sleep(Duration::from_secs(3));
                postgres.kill();
                postgres.restart();
            }
        }
        (postgres, rabbitmq)
    });
    let (_, servers) = tokio::join!(publishing, breaking);
    let servers = servers.unwrap();
    let published = began.elapsed();
    // The faults go on while the rest is delivered.
    tokio::time::sleep(Duration::from_secs(6)).await;
    stop.store(true, Ordering::SeqCst);
    tokio::task::spawn_blocking(move || killer.join().unwrap()).await.unwrap();
    revive(&hubs).await;
    let hub = hubs[0].lock().await;
    let resolved = settled(&hub, &gateway, &plan).await;
    gateway.assert_once_and_in_order(&plan.expected);
    println!(
        "{} payments, {} requests, hubs killed {} times, broker 3, database 2; {resolved} unknown outcomes resolved by \
         the operator; published in {published:?}, settled after {:?}",
        plan.len(),
        gateway.requests(),
        kills.load(Ordering::SeqCst),
        began.elapsed()
    );
    drop(hub);
    drop(hubs);
    drop(servers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hub_on_sqlite_loses_nothing_and_does_nothing_twice() {
    let began = Instant::now();
    let plan = Plan::new(payments(20_000), ACCOUNTS);
    let gateway = Gateway::start(true).await;
    let hubs = Arc::new(vec![Mutex::new(Hub::start(&toml(&gateway.url)))]);
    let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let killer = std::thread::spawn({
        let (hubs, stop, kills) = (hubs.clone(), stop.clone(), kills.clone());
        move || kill_hubs(hubs, stop, kills)
    });
    plan.post(async || hubs[0].lock().await.url.clone()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.store(true, Ordering::SeqCst);
    tokio::task::spawn_blocking(move || killer.join().unwrap()).await.unwrap();
    revive(&hubs).await;
    let hub = hubs[0].lock().await;
    let resolved = settled(&hub, &gateway, &plan).await;
    gateway.assert_once_and_in_order(&plan.expected);
    println!(
        "{} payments, {} requests, hub killed {} times; {resolved} unknown outcomes resolved by the operator; {:?}",
        plan.len(),
        gateway.requests(),
        kills.load(Ordering::SeqCst),
        began.elapsed()
    );
}

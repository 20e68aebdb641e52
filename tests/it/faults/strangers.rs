//! A hundred thousand requests that are refused: what they cost the disk, and whoever publishes meanwhile.

use crate::hub::{Hub, payment};
use crate::rest::bounds::connect;
use futures::future::join_all;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 8;
/// Sent together, and their answers read.
const TOGETHER: usize = 25;
const REFUSED: usize = 100_000;
const PUBLISHED_PER_SECOND: usize = 200;
const REFUSED_PER_SECOND: usize = 2_000;
/// Seconds, every other one with refused requests.
const SECONDS: usize = 60;

const HOOKS: &str = r#"
[systems.terminal]
adapter = "hostile"
hook = { basic = "login" }
credentials = { login = { file = "secrets/login" } }
[systems.signed]
adapter = "hostile"
hook = { open = true }
"#;

/// Wrong keys, wrong passwords and wrong signatures.
fn request(number: usize) -> String {
    let (line, more) = match number % 10 {
        0 => ("POST /hooks/signed/unauthorized".to_string(), String::new()),
        1..=3 => (format!("POST /hooks/terminal/{number}"), "Authorization: Basic dGVybWluYWw6d3Jvbmc=\r\n".into()),
        _ => (format!("GET /v1/messages/{number}"), format!("Authorization: Bearer guess-{number}\r\n")),
    };
    format!("{line} HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n{more}\r\n")
}

/// Sends these and sees each refused.
async fn refuse(stream: &mut TcpStream, numbers: impl Iterator<Item = usize>) {
    let mut waiting = 0;
    let mut text = String::new();
    for number in numbers {
        text.push_str(&request(number));
        waiting += 1;
    }
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    while waiting > 0 {
        let end = answers.windows(4).position(|four: &[u8]| four == b"\r\n\r\n");
        let whole = end.and_then(|end| {
            let head = String::from_utf8(answers[..end].to_vec()).unwrap();
            assert!(head.starts_with("HTTP/1.1 401") || head.starts_with("HTTP/1.1 429"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            Some(end + 4 + length.parse::<usize>().unwrap()).filter(|whole| *whole <= answers.len())
        });
        match whole {
            Some(whole) => {
                answers.drain(..whole);
                waiting -= 1;
            }
            None => assert!(stream.read_buf(&mut answers).await.unwrap() > 0, "closed"),
        }
    }
}

/// As fast as the hub answers.
async fn flood(hub: &Hub, count: usize) {
    let one = async |first: usize| {
        let mut stream = connect(hub).await;
        for from in (first..count).step_by(CONNECTIONS * TOGETHER) {
            refuse(&mut stream, from..(from + TOGETHER).min(count)).await;
        }
    };
    join_all((0..CONNECTIONS).map(|number| one(number * TOGETHER))).await;
}

fn store_bytes(hub: &Hub) -> u64 {
    let size = |name| std::fs::metadata(hub.path(name)).map_or(0, |file| file.len());
    size("data/busbar.db") + size("data/busbar.db-wal")
}

/// The p99 of the publishes of each second.
async fn publish(hub: &Hub) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PUBLISHED_PER_SECOND as u32);
    let mut seconds = Vec::new();
    for second in 0..SECONDS {
        let mut sending = Vec::new();
        for number in 0..PUBLISHED_PER_SECOND {
            ticks.tick().await;
            let (client, url) = (hub.client.clone(), format!("{}/v1/messages", hub.url));
            let event = payment(&format!("p-{second}-{number}"), "100", "1.00").to_string();
            sending.push(tokio::spawn(async move {
                let began = Instant::now();
                let request = client.post(url).bearer_auth(crate::hub::PUBLISHER).body(event);
                let sent = request.header("content-type", "application/cloudevents+json").send().await.unwrap();
                assert_eq!(sent.status(), 202);
                began.elapsed()
            }));
        }
        let mut times: Vec<_> = join_all(sending).await.into_iter().map(Result::unwrap).collect();
        times.sort();
        seconds.push(times[times.len() * 99 / 100]);
    }
    seconds
}

/// Every other second, evenly over it.
async fn disturb(hub: &Hub) {
    let mut stream = connect(hub).await;
    let parts = REFUSED_PER_SECOND / TOGETHER;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / parts as u32);
    for second in 0.. {
        for part in 0..parts {
            ticks.tick().await;
            if second % 2 == 1 {
                refuse(&mut stream, (0..TOGETHER).map(|number| REFUSED + part * TOGETHER + number)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_refusals_cost_little_disk_and_little_time() {
    let hub = Hub::start(HOOKS);
    hub.publish(&payment("first", "100", "1.00")).await;
    let before = store_bytes(&hub);
    let began = Instant::now();
    flood(&hub, REFUSED).await;
    let took = began.elapsed();
    // What was counted is written every five seconds.
    let rows = crate::hub::wait_for("the counts", async || {
        let rows = hub.intakes("outcome=refused").await;
        let times: u64 = rows.iter().map(|row| row["times"].as_u64().unwrap()).sum();
        (times == REFUSED as u64).then_some(rows)
    })
    .await;
    let grown = store_bytes(&hub).saturating_sub(before);
    println!("{REFUSED} refusals in {took:?}: {} rows, the store grew by {grown} bytes", rows.len());
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(grown < 1_000_000, "{grown}");

    let seconds = tokio::select! {
        seconds = publish(&hub) => seconds,
        () = disturb(&hub) => unreachable!(),
    };
    let pairs = seconds.chunks_exact(2);
    let mut ratios: Vec<_> = pairs.map(|pair| pair[1].as_secs_f64() / pair[0].as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("p99 of publishes, without and with {REFUSED_PER_SECOND} refusals a second: {seconds:?}");
    println!("with refusals the p99 of what is accepted is {median:.2} times as long");
    assert!(median < 1.3, "{ratios:?}");
}

//! Bounds of the HTTP side: headers in time, requests at once, the whole request in time.

use crate::hub::{Hub, READER};
use futures::future::join_all;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn connect(hub: &Hub) -> TcpStream {
    TcpStream::connect(hub.url.trim_start_matches("http://")).await.unwrap()
}

/// What comes until the hub closes, at most 10 s.
pub async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("the connection stays open").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn headers_that_do_not_come_in_time_end_the_connection() {
    let hub = Hub::with("header-timeout-ms = 400\nconnections-max = 8", "");
    let began = Instant::now();
    let slow = (0..8).map(async |_| {
        let mut stream = connect(&hub).await;
        stream.write_all(b"GET /v1/messages HTTP/1.1\r\nHost: hub\r\nX-Slow: ").await.unwrap();
        let (mut reader, mut writer) = stream.split();
        // A byte now and then must not keep it open.
        let drip = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if writer.write_all(b"a").await.is_err() {
                    return;
                }
            }
        };
        let mut sink = Vec::new();
        tokio::select! {
            _ = reader.read_to_end(&mut sink) => {}
            () = drip => {}
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("still open"),
        }
    });
    join_all(slow).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // All eight connections were taken meanwhile; they are free again.
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
}

#[tokio::test]
async fn headers_over_their_limit_are_refused() {
    let hub = Hub::with("header-bytes-max = 8192", "");
    let mut stream = connect(&hub).await;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Large: {}\r\n\r\n", "a".repeat(20_000));
    let _ = stream.write_all(request.as_bytes()).await;
    let answer = until_closed(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_with_503() {
    let hub = Hub::with("timeout-ms = 400", "");
    let mut stream = connect(&hub).await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 100\r\n\r\n{{",
        crate::hub::PUBLISHER
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"timeout\""), "{answer}");
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_get_503_and_when_to_come_again() {
    let slow = |name: &str| {
        format!(
            "[systems.{name}]\nadapter = \"hostile\"\n[systems.{name}.hook]\nopen = true\n\
             [systems.{name}.limits]\ndeadline-ms = 1500\n"
        )
    };
    let hub = Hub::with("concurrency-max = 4", &format!("{}{}", slow("one"), slow("two")));
    let ask = |system: &str| hub.send(hub.client.post(format!("{}/hooks/{system}/loop", hub.url)));
    // One hook has half of the room at most: two of six are served, the others told to come again.
    let (answers, other) = tokio::join!(join_all((0..6).map(|_| ask("one"))), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        hub.get(READER, "/v1/messages").await
    });
    assert_eq!((answers.iter().filter(|a| a.status == 503).count(), other.status), (4, 200), "{answers:?}");
    // With both hooks full there is no room for anybody, but for who looks how it is.
    let full = join_all((0..4).map(|number| ask(if number % 2 == 0 { "one" } else { "two" })));
    let (served, (busy, probes)) = tokio::join!(full, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let busy = hub.get(READER, "/v1/messages").await;
        let probes = ["/healthz", "/readyz", "/metrics"].map(|path| hub.get("", path));
        (busy, join_all(probes).await)
    });
    assert!(served.iter().all(|a| a.status == 504), "{served:?}");
    assert!(probes.iter().all(|a| a.status == 200), "{probes:?}");
    for answer in answers.iter().filter(|a| a.status == 503).chain([&busy]) {
        answer.problem(503, "busy");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
}

//! Bounds of the HTTP side: headers in time, requests at once, the whole request in time.

use crate::hub::{Hub, READER};
use futures::future::join_all;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(hub: &Hub) -> TcpStream {
    TcpStream::connect(hub.url.trim_start_matches("http://")).await.unwrap()
}

/// What comes until the hub closes, at most 10 s.
async fn until_closed(stream: &mut TcpStream) -> String {
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
    let hub = Hub::with(
        "concurrency-max = 4",
        "[systems.slow]\nadapter = \"hostile\"\n[systems.slow.hook]\nopen = true\n[systems.slow.limits]\ndeadline-ms = 1000\n",
    );
    let ask = || hub.send(hub.client.post(format!("{}/hooks/slow/loop", hub.url)));
    let answers = join_all((0..12).map(|_| ask())).await;
    let busy: Vec<_> = answers.iter().filter(|a| a.status == 503).collect();
    assert!(busy.len() >= 8, "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
    for answer in busy {
        answer.problem(503, "busy");
        assert_eq!(answer.header("retry-after"), "1");
    }
    // Whoever looks how it is must get an answer under load, too.
    let (answers, probes) = tokio::join!(join_all((0..8).map(|_| ask())), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        [
            hub.get("", "/healthz").await.status,
            hub.get("", "/readyz").await.status,
            hub.get("", "/metrics").await.status,
        ]
    });
    assert_eq!(probes, [200, 200, 200]);
    assert!(answers.iter().any(|a| a.status == 503));
    assert_eq!(hub.get(READER, "/v1/messages").await.status, 200);
}

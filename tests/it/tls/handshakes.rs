//! Those who do not shake hands: slow ones, silent ones, and ones that speak something else.

use super::SecureHub;
use crate::hub::{READER, wait_for};
use crate::rest::bounds::until_closed;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn connect(secure: &SecureHub) -> TcpStream {
    TcpStream::connect(("127.0.0.1", secure.port)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_crowd_in_its_handshake_keeps_nobody_out() {
    let secure = SecureHub::start("header-timeout-ms = 60000\nconnections-max = 50", "", |_| ());
    assert_eq!(secure.hub.get(READER, "/v1/messages").await.status, 200);
    let mut crowd = Vec::new();
    for number in 0..200 {
        let mut stream = connect(&secure).await;
        // Half of them begin with what TLS begins with.
        if number % 2 == 0 {
            let _ = stream.write_all(&[22, 3, 1, 2, 0, 1]).await;
        }
        crowd.push(stream);
    }
    for _ in 0..5 {
        let began = Instant::now();
        let answer = secure.curl("/healthz", &[]);
        assert_eq!((answer.exit, answer.status), (0, 200), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    // Those that had to leave are gone, and not only out of the count.
    let (descriptors, _) = secure.hub.descriptors_and_threads();
    assert!(descriptors < 150, "{descriptors} descriptors");
    // Whoever had asked before has its connection still.
    assert_eq!(secure.hub.get(READER, "/v1/messages").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_its_time() {
    let secure = SecureHub::start("header-timeout-ms = 400", "", |_| ());
    let began = Instant::now();
    let (mut silent, mut slow) = (connect(&secure).await, connect(&secure).await);
    let drip = async {
        for _ in 0..100 {
            if slow.write_all(&[22]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("still open");
    };
    let (answer, ()) = tokio::join!(until_closed(&mut silent), drip);
    assert_eq!(answer, "");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let metrics = secure.hub.get("", "/metrics").await.body;
    let counted = r#"busbar_http_handshakes_failed_total{reason="late"}"#;
    assert!(metrics.as_str().unwrap().contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_so_and_garbage_costs_no_line_of_log_each() {
    let secure = SecureHub::start("", "", |_| ());
    let url = format!("http://127.0.0.1:{}/v1/messages", secure.port);
    let answer = super::curl(&url, &["--header", &format!("Authorization: Bearer {READER}")]);
    assert_eq!((answer.exit, answer.status), (0, 400), "{answer:?}");
    assert!(answer.body.contains("\"code\":\"bad-request\"") && answer.body.contains("https://"), "{answer:?}");
    let before = secure.hub.log().lines().count();
    assert_eq!(before, 2, "that it is ready, and plain HTTP: {}", secure.hub.log());
    for number in 0..300u16 {
        let mut stream = connect(&secure).await;
        let garbage: &[u8] = match number % 3 {
            0 => b"GET /v1/messages HTTP/1.1\r\nHost: hub\r\n\r\n",
            1 => b"\0\x01\x02garbage\r\n\r\n",
            // A record that begins as TLS does, and is none.
            _ => &[22, 3, 1, 0, 5, 9, 9, 9, 9, 9],
        };
        stream.write_all(garbage).await.unwrap();
        until_closed(&mut stream).await;
    }
    let lines = secure.hub.log().lines().count() - before;
    assert!(lines <= 2, "{lines} lines:\n{}", secure.hub.log());
    assert_eq!(secure.hub.get(READER, "/v1/messages").await.status, 200);
}

/// As a balancer does that only looks whether somebody listens.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_without_a_word_is_no_line_of_log() {
    let secure = SecureHub::start("", "", |_| ());
    for number in 0..20 {
        let mut stream = connect(&secure).await;
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1]).await.unwrap();
        }
    }
    let counted = r#"busbar_http_handshakes_failed_total{reason="gone"} 20"#;
    wait_for("all to be gone", async || {
        let metrics = secure.hub.get("", "/metrics").await.body;
        metrics.as_str().unwrap().contains(counted).then_some(())
    })
    .await;
    assert_eq!(secure.hub.log().lines().count(), 1, "{}", secure.hub.log());
}

//! Certificates that are renewed while the hub runs.

use super::authority::{DAY, LONG};
use super::{SecureHub, client, replace};
use crate::hub::{READER, wait_for};
use reqwest::tls::TlsInfo;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The certificate of the hub that a request came to, over a new connection or the one that `client` has.
async fn shown(secure: &SecureHub, client: &reqwest::Client) -> Vec<u8> {
    let answer = client.get(format!("{}/healthz", secure.hub.url)).send().await.unwrap();
    let shown = answer.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_vec();
    assert_eq!(answer.text().await.unwrap(), "ok\n");
    shown
}

/// Waits until new connections see another certificate than `old`.
async fn renewed(secure: &SecureHub, old: &[u8]) -> Vec<u8> {
    wait_for("another certificate", async || {
        let fresh = client(&secure.authority, None).build().unwrap();
        Some(shown(secure, &fresh).await).filter(|shown| shown != old)
    })
    .await
}

fn put(secure: &SecureHub, certificate: &str, key: &str) {
    replace(&secure.authority.path("hub.pem"), &secure.authority.read(certificate));
    replace(&secure.authority.path("hub.key"), &secure.authority.read(key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_a_broken_pair_is_not_taken() {
    let secure = SecureHub::start("", "", |authority| authority.sign_hub("next", LONG));
    let kept = secure.client(None);
    let old = shown(&secure, &kept).await;
    let done = AtomicUsize::new(0);
    let load = async || {
        while done.fetch_add(1, Ordering::SeqCst) < 200 {
            let fresh = client(&secure.authority, None).build().unwrap();
            let request = fresh.get(format!("{}/v1/messages", secure.hub.url)).bearer_auth(READER);
            let answer = request.send().await.unwrap_or_else(|e| panic!("{e:?}"));
            assert_eq!(answer.status(), 200);
        }
    };
    let replacing = async {
        while done.load(Ordering::SeqCst) < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        put(&secure, "next.pem", "next.key");
        let began = done.load(Ordering::SeqCst);
        let new = renewed(&secure, &old).await;
        assert!(began < 200, "replaced after the load");
        new
    };
    let (_, _, _, _, new) = tokio::join!(load(), load(), load(), load(), replacing);
    assert_eq!(shown(&secure, &kept).await, old, "a connection that is open keeps what it has");
    // A key without its certificate, and then no certificate at all.
    let key = secure.authority.read("ca.key");
    replace(&secure.authority.path("hub.key"), &key);
    let told = |times: usize| {
        let log = secure.hub.log();
        (log.matches("the old ones stay in use").count() == times).then_some(log)
    };
    let log = wait_for("a warning", async || told(1)).await;
    assert!(log.contains("key: the private key is not that of the first certificate in"), "{log}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(told(1).is_some(), "told once: {}", secure.hub.log());
    replace(&secure.authority.path("hub.pem"), b"nothing");
    let log = wait_for("a second warning", async || told(2)).await;
    assert!(log.contains("hub.pem: no certificate in it"), "{log}");
    let fresh = secure.client(None);
    assert_eq!(shown(&secure, &fresh).await, new, "the last good one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_told_until_it_is_renewed() {
    let secure = SecureHub::start("", "", |authority| {
        authority.sign_hub("hub", (-DAY, 13 * DAY));
        authority.sign_hub("later", LONG);
    });
    let near = async || {
        let answer = secure.hub.get("", "/readyz").await;
        (answer.status, answer.body["nearly-reached"].clone())
    };
    let left = async || {
        let metrics = secure.hub.get("", "/metrics").await.body.as_str().unwrap().to_string();
        let line = metrics.lines().find_map(|l| l.strip_prefix("busbar_tls_certificate_expires_seconds "));
        line.map(|left| left.parse::<f64>().unwrap() / DAY as f64)
    };
    wait_for("the alarm", async || (near().await == (200, json!(["certificate"]))).then_some(())).await;
    let days = left().await.unwrap();
    assert!((12.9..=13.0).contains(&days), "{days}");
    put(&secure, "later.pem", "later.key");
    wait_for("no alarm", async || (near().await == (200, json!([]))).then_some(())).await;
    let days = left().await.unwrap();
    assert!((59.9..=60.0).contains(&days), "{days}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_lasts_fifteen_days_is_no_alarm() {
    let secure = SecureHub::start("", "", |authority| authority.sign_hub("hub", (-DAY, 15 * DAY)));
    wait_for("the first look", async || {
        let metrics = secure.hub.get("", "/metrics").await.body;
        metrics.as_str().unwrap().contains("busbar_tls_certificate_expires_seconds ").then_some(())
    })
    .await;
    assert_eq!(secure.hub.get("", "/readyz").await.body["nearly-reached"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_certificate_is_revoked_is_not_let_in() {
    let tls = "client-ca = \"pki/ca.pem\"\nclient-crl = \"pki/crl.pem\"\n[[http.keys]]\nname = \"crm\"\ncertificate = \"cn:crm\"\nrights = [\"read\"]\n";
    let secure = SecureHub::start("", tls, |authority| {
        authority.sign("crm", "/CN=crm", "", LONG);
        authority.sign("portal", "/CN=portal", "", LONG);
        authority.list();
    });
    let ask = |file: &str| secure.curl_as(file, "/v1/messages", &[]);
    assert_eq!(ask("crm").status, 200);
    secure.authority.revoke("crm");
    let refused = wait_for("the new list", async || Some(ask("crm")).filter(|answer| answer.exit != 0)).await;
    assert!(refused.said.contains("revoked"), "{refused:?}");
    assert_eq!(ask("portal").status, 401, "others of the authority get a connection");
}

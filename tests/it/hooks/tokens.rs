//! Tokens that the hub asks for itself (OAuth 2.0, RFC 6749): when they are renewed, and what becomes of it when none is given.

use crate::hub::{Hub, OFFICER, Standin, payment, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn deployment(authority: &str, portal: &str) -> String {
    format!(
        "[systems.portal]\nvia = \"http\"\nurl = \"{portal}\"\nbearer = \"token\"\n\
         policy = {{ backoff-first-ms = 50, backoff-max-ms = 100 }}\n\
         [systems.portal.credentials.token.oauth2]\ntoken-url = \"{authority}/token\"\nclient-id = \"hub\"\n\
         client-secret = {{ file = \"secrets/token\" }}\n\
         [[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"portal\"]\n"
    )
}

/// Gives `t0`, `t1` … for so many seconds.
async fn authority(seconds: u32) -> Standin {
    Standin::slow(move |_, before| {
        let body = format!(r#"{{"access_token":"t{before}","token_type":"bearer","expires_in":{seconds}}}"#);
        (200, body, std::time::Duration::from_millis(100))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_serves_many_and_a_refused_one_is_renewed_at_once() {
    let authority = authority(3600).await;
    let revoked = Arc::new(AtomicUsize::new(0));
    let now = revoked.clone();
    let portal = Standin::start(move |seen, _| {
        let number: usize = seen.authorization.strip_prefix("Bearer t").unwrap().parse().unwrap();
        if number < now.load(Ordering::SeqCst) { (401, "") } else { (200, "") }
    })
    .await;
    let hub = Hub::start(&deployment(&authority.url, &portal.url));
    for (round, tokens) in [(0, 1), (1, 2)] {
        revoked.store(round, Ordering::SeqCst);
        let events: Vec<_> = (0..20).map(|n| payment(&format!("p{round}-{n}"), &n.to_string(), "1.00")).collect();
        let sent = hub.post("application/cloudevents-batch+json", serde_json::Value::from(events).to_string()).await;
        for taken in sent.body["accepted"].as_array().unwrap() {
            let trace = hub.settled(&taken["seq"], &["done"]).await;
            // Not a try is lost, and the record has what came of it in the end.
            assert_eq!(
                (&trace["deliveries"][0]["attempts"], &trace["deliveries"][0]["calls"][0]["answer"]["status"]),
                (&1.into(), &200.into())
            );
        }
        assert_eq!(authority.count("POST", "/token"), tokens);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_before_its_end() {
    let (authority, portal) = (authority(1).await, Standin::start(|_, _| (200, "")).await);
    let hub = Hub::start(&deployment(&authority.url, &portal.url));
    for n in 0..2 {
        let taken = hub.publish(&payment(&format!("p{n}"), "1", "1.00")).await;
        hub.settled(&taken["seq"], &["done"]).await;
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    let seen: Vec<_> = portal.seen().into_iter().map(|seen| seen.authorization).collect();
    assert_eq!(seen, ["Bearer t0", "Bearer t1"]);
}

/// A far end that refuses a fresh token is asked no more than once, and what the authority refuses is not sent at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_given_is_not_sent() {
    for (status, body, reason) in [
        (400, r#"{"error":"invalid_grant","error_description":"Pelageya"}"#, "answered 400 (invalid_grant)"),
        (500, "Pelageya", "answered 500"),
        (200, r#"{"access_token":"t","token_type":"mac"}"#, "no bearer token"),
        (200, r#"{"access_token":"a\nb","token_type":"Bearer"}"#, "no `access_token`"),
    ] {
        let authority = Standin::start(move |_, _| (status, body)).await;
        let portal = Standin::start(|_, _| (200, "")).await;
        let hub = Hub::start(&deployment(&authority.url, &portal.url));
        let taken = hub.publish(&payment("p", "1", "1.00")).await;
        let path = format!("/v1/messages/{}", taken["seq"].as_str().unwrap());
        let trace = wait_for("an attempt", async || {
            let trace = hub.get(OFFICER, &path).await.body;
            trace["deliveries"][0]["error"].is_object().then_some(trace)
        })
        .await;
        let error = trace["deliveries"][0]["error"]["detail"].as_str().unwrap();
        assert!(error.contains("no token for credential `token`") && error.contains(reason), "{error}");
        assert!(!trace["deliveries"].to_string().contains("Pelageya") && portal.seen().is_empty(), "{trace}");
        assert_eq!(trace["deliveries"][0]["state"], "ready");
    }
    let (authority, portal) = (authority(3600).await, Standin::start(|_, _| (401, "")).await);
    let hub = Hub::start(&deployment(&authority.url, &portal.url));
    let taken = hub.publish(&payment("p", "1", "1.00")).await;
    wait_for("a refusal", async || hub.trace(&taken["seq"]).await["deliveries"][0]["error"].is_object().then_some(()))
        .await;
    assert!(
        portal.seen().len() >= authority.seen().len(),
        "{} asked, {} tokens",
        portal.seen().len(),
        authority.seen().len()
    );
}

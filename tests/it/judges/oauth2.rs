//! OAuth 2.0 by an authorization server of npm (oidc-provider): what it gives reaches the far end, and nobody else.

use super::Judge;
use crate::hub::{Hub, Standin, payment};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const SECRET: &str = "a secret: with % and +";

fn heard(serving: &super::Serving) -> Value {
    serving.heard.recv_timeout(Duration::from_secs(20)).unwrap()
}

/// One portal for each client.
fn deployment(token_url: &str, portal: &str) -> String {
    let client = |name: &str, more: &str| {
        format!(
            "[systems.{name}]\nvia = \"http\"\nurl = \"{portal}/{name}\"\nbearer = \"token\"\n\
             [systems.{name}.credentials.token.oauth2]\ntoken-url = \"{token_url}\"\nclient-id = \"{name}\"\n\
             client-secret = {{ file = \"secrets/client\" }}\n{more}\n"
        )
    };
    [
        client("basic", "scopes = [\"api\", \"more\"]"),
        client("form", "client-authentication = \"form\""),
        client("offline", "refresh-token = { file = \"secrets/refresh\" }"),
        "[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"basic\", \"form\", \"offline\"]\n".to_string(),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_gives_tokens_by_each_way() {
    let Some(serving) = Judge::JavaScript.serve("authority") else { return };
    let first = heard(&serving)["refresh"].as_str().unwrap().to_string();
    let portal = Standin::start(|_, _| (200, "")).await;
    let url = format!("http://127.0.0.1:{}/token", serving.port);
    let secrets = |folder: &Path| {
        std::fs::write(folder.join("secrets/client"), SECRET).unwrap();
        std::fs::write(folder.join("secrets/refresh"), &first).unwrap();
    };
    let mut hub = Hub::prepared(&deployment(&url, &portal.url), secrets);
    let mut hidden = vec![SECRET.to_string(), first.clone()];
    for round in 0..2 {
        let taken = hub.publish(&payment(&format!("p{round}"), "100", "10.00")).await;
        let trace = hub.settled(&taken["seq"], &["done"]).await.to_string();
        // The second payment goes with the tokens that are there, until the hub starts anew.
        let mut given: Vec<_> = (0..3).map(|_| heard(&serving)).collect();
        given.sort_by_key(|g| (g["granted"].to_string(), g["scope"].to_string()));
        let granted: Vec<_> = given.iter().map(|g| (&g["granted"], &g["scope"])).collect();
        let client = Value::from("client_credentials");
        let expected = [
            (&client, &Value::from("api more")),
            (&client, &Value::Null),
            (&Value::from("refresh_token"), &Value::from("openid offline_access")),
        ];
        assert_eq!(granted, expected, "{given:?}");
        for (name, given) in ["basic", "form", "offline"].iter().zip(&given) {
            let token = given["token"].as_str().unwrap();
            let asked = portal.seen().into_iter().rfind(|seen| seen.path == format!("/{name}")).unwrap();
            assert_eq!(asked.authorization, format!("Bearer {token}"));
            hidden.push(token.to_string());
        }
        let again = hub.publish(&payment(&format!("again{round}"), "100", "10.00")).await;
        hub.settled(&again["seq"], &["done"]).await;
        assert!(serving.heard.try_recv().is_err(), "a token was asked for, though there is one");
        // The server takes a refresh token once: the next one is in the file, and works after a start.
        let next = given[2]["refresh"].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(hub.path("secrets/refresh")).unwrap(), next);
        hidden.push(next.to_string());
        let told = [trace, hub.log(), Value::from(hub.intakes("").await).to_string()].concat();
        assert!(!hidden.iter().any(|secret| told.contains(secret)), "{told}");
        hub.restart();
    }
}

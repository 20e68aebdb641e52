//! Certificates of clients: who must show one, and who somebody is by it.

use super::authority::{Authority, DAY, LONG};
use super::clients::s_client;
use super::{SecureHub, client};
use crate::hub::{OFFICER, PUBLISHER, READER, payment};
use serde_json::{Value, json};
use std::time::Duration;

/// Without the fingerprint, which is known only when the certificate is there.
const ENTRIES: &str = r#"
[[http.keys]]
name = "crm"
certificate = "dns:CRM.example"
rights = ["publish", "read"]
sources = ["/crm"]
types = ["*"]
[[http.keys]]
name = "portal"
certificate = "uri:spiffe://example/portal"
rights = ["read"]
[[http.keys]]
name = "shift"
certificate = "email:shift@example"
rights = ["read", "read-personal"]
[[http.keys]]
name = "desk"
certificate = "cn:desk"
rights = ["read"]
"#;

fn sign_all(authority: &Authority) {
    authority.sign("crm", "/CN=somebody", "DNS:crm.example", LONG);
    authority.sign("portal", "/CN=portal", "URI:spiffe://example/portal", LONG);
    authority.sign("shift", "/CN=x", "email:shift@example", LONG);
    authority.sign("desk", "/CN=desk", "", LONG);
    authority.sign("stranger", "/CN=stranger", "DNS:stranger.example", LONG);
    authority.sign("both", "/CN=desk", "DNS:crm.example", LONG);
    authority.sign("two-names", "/CN=desk/CN=other", "", LONG);
    authority.sign("any", "/CN=any", "DNS:*.example", LONG);
    authority.sign("expired", "/CN=desk", "", (-2 * DAY, -DAY));
}

fn asks(how: &str) -> String {
    format!("client-ca = \"pki/ca.pem\"\nclient-certificates = \"{how}\"\n{ENTRIES}")
}

fn detail(body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    problem["detail"].as_str().unwrap_or_default().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_show_a_certificate_and_shows_a_right_one_is_somebody() {
    let secure = SecureHub::start("", &asks("required"), sign_all);
    let other = Authority::new(secure.hub.path("other"), "another authority");
    other.sign("desk", "/CN=desk", "DNS:crm.example", LONG);
    let none = secure.curl("/healthz", &[]);
    assert!(none.exit != 0 && none.said.contains("certificate required"), "{none:?}");
    let [pem, key] = ["desk.pem", "desk.key"].map(|file| other.path(file).display().to_string());
    let foreign = secure.curl("/v1/messages", &["--cert", &pem, "--key", &key]);
    assert!(foreign.exit != 0 && foreign.status == 0, "{foreign:?}");
    let expired = secure.curl_as("expired", "/v1/messages", &[]);
    assert!(expired.exit != 0 && expired.said.contains("expired"), "{expired:?}");
    for version in ["1.2", "1.3"] {
        for file in ["crm", "portal", "shift", "desk"] {
            let answer = secure.curl_as(file, "/v1/messages", &["--tls-max", version]);
            assert_eq!((answer.exit, answer.status), (0, 200), "{file} over {version}: {answer:?}");
        }
    }
    for (file, names) in [
        ("stranger", "no entry of `http.keys` names this certificate: cn:stranger, dns:stranger.example, sha256:"),
        ("two-names", "no entry of `http.keys` names this certificate: sha256:"),
        ("any", "no entry of `http.keys` names this certificate: cn:any, dns:*.example, sha256:"),
        ("both", "several entries of `http.keys` name this certificate: cn:desk, dns:crm.example, sha256:"),
    ] {
        let answer = secure.curl_as(file, "/v1/messages", &[]);
        assert_eq!(answer.status, 401, "{file}: {answer:?}");
        assert!(detail(&answer.body).starts_with(names), "{file}: {}", answer.body);
    }
    // Its rights are the entry's.
    let publish = async |file: &str, source: &str| {
        let mut event = payment(&format!("{file}-1"), "0042", "1.00");
        event["source"] = json!(source);
        let client = client(&secure.authority, Some(file)).build().unwrap();
        let request = client.post(format!("{}/v1/messages", secure.hub.url)).body(event.to_string());
        secure.hub.send(request.header("content-type", "application/cloudevents+json")).await
    };
    assert_eq!(publish("crm", "/crm").await.status, 202);
    publish("crm", "/billing").await.problem(403, "forbidden");
    publish("portal", "/crm").await.problem(403, "forbidden");
    let reader = secure.client(Some("shift"));
    let url = format!("{}/v1/messages", secure.hub.url);
    let seq = secure.hub.send(reader.get(&url)).await.body["messages"][0]["seq"].as_str().unwrap().to_string();
    let trace = secure.hub.send(reader.get(format!("{url}/{seq}"))).await.body;
    assert_eq!(trace["message"]["id"], "crm-1", "{trace}");
    assert!(trace["stated-by"].to_string().contains("crm"), "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_before_the_certificate_where_certificates_are_optional() {
    let secure = SecureHub::start("", &asks("optional"), sign_all);
    let other = Authority::new(secure.hub.path("other"), "another authority");
    other.sign("desk", "/CN=desk", "", LONG);
    assert_eq!(secure.hub.get(READER, "/v1/messages").await.status, 200);
    let none = secure.hub.send(secure.hub.client.get(format!("{}/v1/messages", secure.hub.url))).await;
    none.problem(401, "unauthorized");
    // One that is shown must be right, also where none would do.
    let [pem, key] = ["desk.pem", "desk.key"].map(|file| other.path(file).display().to_string());
    let foreign = secure.curl("/healthz", &["--cert", &pem, "--key", &key]);
    assert!(foreign.exit != 0 && foreign.status == 0, "{foreign:?}");
    let expired = secure.curl_as("expired", "/healthz", &[]);
    assert!(expired.exit != 0 && expired.said.contains("expired"), "{expired:?}");
    let header = |name: &str, value: &str| ["--header".to_string(), format!("{name}: {value}")];
    let ask = |file: &str, header: [String; 2]| {
        secure.curl_as(file, "/v1/messages", &header.each_ref().map(String::as_str)).status
    };
    assert_eq!(ask("stranger", header("Authorization", &format!("Bearer {READER}"))), 200);
    assert_eq!(ask("desk", header("Authorization", "Bearer wrong")), 401);
    assert_eq!(ask("desk", header("Authorization", "Basic ZGVzazpkZXNr")), 401);
    assert_eq!(ask("crm", header("Authorization", &format!("Bearer {PUBLISHER}"))), 403, "the publisher may not read");
    // A browser shows its certificate for any page's requests.
    let port = secure.port;
    for (name, value, wanted) in [
        ("Origin", "https://evil.example".to_string(), 401),
        ("Origin", "null".to_string(), 401),
        ("Origin", format!("https://hub.example:{port}"), 200),
        ("Sec-Fetch-Site", "cross-site".to_string(), 401),
        ("Sec-Fetch-Site", "same-site".to_string(), 401),
        ("Sec-Fetch-Site", "same-origin".to_string(), 200),
    ] {
        assert_eq!(ask("desk", header(name, &value)), wanted, "{name}: {value}");
    }
    // The journal has why, for those who may see what came.
    let refused = secure.hub.get(OFFICER, "/v1/intakes?outcome=refused").await.body;
    assert_eq!(refused["intakes"][0]["error"]["code"], "unauthorized", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_known_by_its_fingerprint() {
    // Its digest is needed before the hub starts: the certificate is made beside.
    let beside = tempfile::tempdir().unwrap();
    let authority = Authority::new(beside.path().join("pki"), "clients");
    authority.sign("one", "/CN=one", "", LONG);
    authority.sign("same-name", "/CN=one", "", LONG);
    let digest = authority.fingerprint("one");
    let ca = authority.path("ca.pem").display().to_string();
    let tls = format!(
        "client-ca = \"{ca}\"\n[[http.keys]]\nname = \"one\"\ncertificate = \"sha256:{digest}\"\nrights = [\"read\"]\n"
    );
    let secure = SecureHub::start("", &tls, |_| ());
    let ask = |file: &str| {
        let [pem, key] = ["pem", "key"].map(|ending| authority.path(&format!("{file}.{ending}")).display().to_string());
        secure.curl("/v1/messages", &["--cert", &pem, "--key", &key]).status
    };
    assert_eq!((ask("one"), ask("same-name")), (200, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_does_not_outlive_its_certificate() {
    let secure = SecureHub::start("header-timeout-ms = 60000", &asks("required"), |_| ());
    secure.authority.sign("desk", "/CN=desk", "", (-DAY, 5));
    let client = secure.client(Some("desk"));
    let ask = async || secure.hub.send(client.get(format!("{}/v1/messages", secure.hub.url))).await;
    assert_eq!(ask().await.status, 200);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let answer = ask().await;
    answer.problem(401, "unauthorized");
    assert!(answer.body["detail"].as_str().unwrap().contains("has expired since"), "{answer:?}");
}

#[test]
fn a_session_is_not_taken_up_again_where_a_certificate_was_verified() {
    // Without clients' certificates it is, which shows that the client asks for it.
    for (tls, taken_up) in [(String::new(), true), (asks("required"), false)] {
        let secure = SecureHub::start("", &tls, sign_all);
        let [session, pem, key] = ["session", "desk.pem", "desk.key"].map(|file| secure.pki(file));
        for version in ["-tls1_2", "-tls1_3"] {
            let connect = |how: &str| s_client(&secure, &[version, "-cert", &pem, "-key", &key, how, &session]);
            let (content, first) = connect("-sess_out");
            assert!(content && first.contains("New, TLSv1."), "{version}: {first}");
            let reused = std::path::Path::new(&session).exists() && connect("-sess_in").1.contains("Reused, TLSv1.");
            assert_eq!(reused, taken_up, "{version}");
            let _ = std::fs::remove_file(&session);
        }
    }
}

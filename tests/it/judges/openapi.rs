//! schemathesis: requests made from the OpenAPI document, right ones and wrong ones, with each kind of key. The hub answers what the
//! document says, and never 5xx.

use crate::hub::{Hub, OFFICER, OPERATOR, PUBLISHER, READER, binary, payment, root};
use crate::peers;
use busbar_server::rest::rights::endpoints;
use serde_json::Value;
use std::process::{Command, Stdio};

/// What schemathesis is pinned to: `fixtures/peers/requirements-openapi.txt`.
const VERSION: &str = "PyPI schemathesis 4.32.5";
const SECONDS: &str = "12";
/// Whether a request fits the document is not held against the answer: texts have rules that a schema does not say.
/// Nor whether one without a key is refused: so many of them are throttled (429), and `rest::table` asks each operation.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method,allow_header_conformance";

/// A hub with something to find: deliveries that are done and parked, an input that was refused.
async fn furnished() -> Hub {
    let system = |name: &str, behaviour: &str| {
        format!(
            "[systems.{name}]\nadapter = \"hostile\"\n[systems.{name}.config]\nbehaviour = \"{behaviour}\"\n[systems.{name}.policy]\nattempts = 1\n"
        )
    };
    let routes = "[[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"good\", \"bad\"]\n";
    let hub = Hub::start(&format!("{}{}{routes}", system("good", "ok"), system("bad", "trap")));
    for number in 0..5 {
        let sent = hub.publish(&payment(&format!("m{number}"), &number.to_string(), "1.00")).await;
        hub.settled(&sent["seq"], &["done", "parked"]).await;
    }
    assert_eq!(hub.post("application/cloudevents+json", "{").await.status, 400);
    hub
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_answers_as_its_openapi_document_says() {
    let Some(folder) = peers::folder().filter(|folder| folder.join("openapi.installed").exists()) else {
        println!("NOT CHECKED: {VERSION} is not installed");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let document = place.path().join("openapi.json");
    let printed = Command::new(binary()).args(["print", "openapi"]).current_dir(root()).output().unwrap();
    std::fs::write(&document, printed.stdout).unwrap();
    let hub = furnished().await;
    let seed = std::env::var("BUSBAR_SEED").unwrap_or_else(|_| rand::random::<u32>().to_string());
    println!("{VERSION}, seed {seed}");
    let keys = [("none", None), ("publisher", Some(PUBLISHER)), ("reader", Some(READER))];
    for (name, key) in keys.into_iter().chain([("officer", Some(OFFICER)), ("operator", Some(OPERATOR))]) {
        let mut command = Command::new(folder.join("openapi/bin/schemathesis"));
        command.current_dir(place.path()).arg("run").arg(&document).args(["--url", &hub.url, "--checks", CHECKS]);
        command.args(["--max-time", SECONDS, "--seed", &seed, "--continue-on-failure", "--warnings", "off"]);
        if let Some(key) = key {
            command.arg("-H").arg(format!("Authorization: Bearer {key}"));
        }
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "with the key {name}:\n{said}");
        assert!(said.contains(&format!("Tested: {}", endpoints().len())), "not every operation was tried:\n{said}");
        let count = said.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
        println!("  {name}: {}", count.trim());
    }
    let alive: Value = hub.get(READER, "/readyz").await.body;
    assert_eq!(alive["ready"], true, "{alive}");
    assert!(!hub.log().contains("panicked"), "{}", hub.log());
}

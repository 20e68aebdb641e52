//! SCIM 2.0 by scim2-tester: what it finds when it discovers, creates, reads, replaces, changes and removes users and groups
//! with values that it throws itself.

use super::{Judge, report};
use crate::hub::Hub;
use serde_json::Value;

const DIRECTORY: &str = r#"
[systems.directory]
adapter = "scim"
hook = { open = true }
[systems.directory.limits]
concurrency = 1
[systems.directory.grants]
emit = ["employee.changed.v1", "unit.changed.v1"]
state = true
clock = true
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_finds_the_server_that_it_expects() {
    let hub = Hub::start(DIRECTORY);
    let url = format!("{}/hooks/directory", hub.url);
    let Some(checks) = Judge::Python.ask(&["scim", &url], Vec::new()).await else { return };
    let fine =
        |check: &&Value| ["SUCCESS", "COMPLIANT", "ACCEPTABLE", "SKIPPED"].map(Value::from).contains(&check["status"]);
    let differences: Vec<String> = checks.iter().filter(|check| !fine(check)).map(Value::to_string).collect();
    let skipped = checks.iter().filter(|check| check["status"] == "SKIPPED");
    skipped.for_each(|check| println!("skipped by scim2-tester: {} {}", check["title"], check["reason"]));
    let done = checks.iter().filter(|check| fine(check) && check["status"] != "SKIPPED").count();
    assert!(done > 100, "{done} checks of {}", checks.len());
    report("SCIM 2.0, pushes", "PyPI scim2-tester 0.5.2", done, &differences);
}

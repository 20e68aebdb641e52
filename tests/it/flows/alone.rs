//! Two hubs on one SQLite store, or on one inbox: the second one does not start, and says why.

use super::entries::LINES;
use crate::hub::{Hub, binary, payment};
use std::process::{Command, Output};

/// `busbar` with these arguments, ended.
fn busbar(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// A hub that must not start; what it said.
fn refused(toml: &str) -> String {
    let mut hub = Hub::unstarted(toml);
    assert!(!hub.try_run(), "it started");
    hub.log()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_hub_on_a_store_does_not_start() {
    let mut first = Hub::start("");
    let accepted = first.publish(&payment("p-1", "100", "1.00")).await;
    let store = first.path("data/busbar.db");
    // By another name as well.
    let link = first.path("link.db");
    std::os::unix::fs::symlink(&store, &link).unwrap();
    for store in [&store, &link] {
        let said = refused(&format!("[store]\nurl = \"sqlite:{}\"", store.display()));
        assert!(said.contains("in-use") && said.contains("busbar.db"), "{said}");
    }
    // Whoever only reads may, and a restore is no reader.
    let folder = first.folder.path().to_str().unwrap();
    let backup = first.path("backup.zst");
    let backup = backup.to_str().unwrap();
    let done = busbar(&["journal", "backup", folder, backup]);
    assert!(done.status.success(), "{done:?}");
    assert!(busbar(&["check", folder]).status.success() && busbar(&["journal", "reconcile", folder]).status.success());
    let restored = busbar(&["journal", "restore", folder, backup]);
    let said = String::from_utf8(restored.stderr).unwrap();
    assert!(!restored.status.success() && said.contains("in-use"), "{said}");
    assert_eq!(first.trace(&accepted["seq"]).await["message"]["id"], "p-1");
    // The lock goes with its process, however that ends.
    first.kill();
    let mut second = Hub::unstarted(&format!("[store]\nurl = \"sqlite:{}\"", store.display()));
    assert!(second.try_run(), "{}", second.log());
    assert_eq!(second.trace(&accepted["seq"]).await["message"]["id"], "p-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_hub_on_an_inbox_does_not_start() {
    let mut first = Hub::start(LINES);
    let toml = LINES.replace("\"inbox\"", &format!("\"{}\"", first.path("inbox").display()));
    let said = refused(&toml);
    assert!(said.contains("in-use") && said.contains("inbox"), "{said}");
    // Whoever removes the lock does not let a second one in: the first one takes it again.
    std::fs::remove_file(first.path("inbox/.busbar.lock")).unwrap();
    let lock = first.path("inbox/.busbar.lock");
    crate::hub::wait_for("the lock", async || lock.exists().then_some(())).await;
    let said = refused(&toml);
    assert!(said.contains("in-use"), "{said}");
    first.kill();
    let mut second = Hub::unstarted(&toml);
    assert!(second.try_run(), "{}", second.log());
    std::fs::write(first.path("inbox/one.txt"), "p-1 100 1.00\n").unwrap();
    let done = first.path("inbox/done/one.txt");
    crate::hub::wait_for("it is taken", async || done.exists().then_some(())).await;
}

/// The inbox's owner cannot keep the hub from starting, only from watching that folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_none_holds_up_its_folder_alone() {
    let hub = Hub::prepared(LINES, |folder| {
        std::fs::create_dir(folder.join("inbox")).unwrap();
        std::fs::write(folder.join("victim"), "").unwrap();
        std::os::unix::fs::symlink(folder.join("victim"), folder.join("inbox/.busbar.lock")).unwrap();
    });
    std::fs::write(hub.path("inbox/one.txt"), "p-1 100 1.00\n").unwrap();
    crate::hub::wait_for("it is told", async || hub.log().contains("it must wait").then_some(())).await;
    hub.publish(&payment("p-2", "100", "1.00")).await;
    std::fs::remove_file(hub.path("inbox/.busbar.lock")).unwrap();
    let done = hub.path("inbox/done/one.txt");
    crate::hub::wait_for("it is taken", async || done.exists().then_some(())).await;
}

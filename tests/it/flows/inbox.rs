//! A folder whose owner is hostile: whatever lies in it is told once, holds nothing else up, is not lost, and leads nowhere.

use super::entries::LINES;
use crate::hub::{Hub, OFFICER, READER, wait_for, wait_for_at_most};
use busbar_server::folder::Folder;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{Read, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

/// Held up at most half a minute once the cause is gone.
const AGAIN_MAX: Duration = Duration::from_secs(45);

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_bits_truncate(0o666), 0).unwrap();
}

fn payments(prefix: &str, count: usize) -> String {
    let mut text = String::new();
    (1..=count).for_each(|n| writeln!(text, "{prefix}-{n} 100 1.00").unwrap());
    text
}

async fn there(hub: &Hub, below: &str) {
    wait_for_at_most(below, AGAIN_MAX, async || hub.path(below).exists().then_some(())).await;
}

/// Lines of the log that say that something of this name must wait.
fn told(hub: &Hub, name: &str) -> usize {
    hub.log().lines().filter(|line| line.contains("must wait") && line.contains(name)).count()
}

async fn is_told(hub: &Hub, name: &str) {
    wait_for(&format!("a line about {name}"), async || (told(hub, name) > 0).then_some(())).await;
}

async fn held(hub: &Hub) -> String {
    let metrics = hub.get(READER, "/metrics").await.body;
    let line = metrics.as_str().unwrap().lines().find(|l| l.starts_with("busbar_files_held{")).map(str::to_string);
    line.unwrap_or_default().rsplit(' ').next().unwrap_or_default().to_string()
}

/// Ends in order, and soon.
fn stops(mut hub: Hub) {
    let began = Instant::now();
    assert!(hub.stop().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_told_once_and_leads_nowhere() {
    let hub = Hub::start(LINES);
    let (outside, secret) = (hub.path("outside"), hub.path("secret.txt"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(&secret, payments("secret", 1)).unwrap();
    std::fs::write(outside.join("other.txt"), payments("other", 1)).unwrap();
    pipe(&hub.path("inbox/pipe.txt"));
    symlink(&secret, hub.path("inbox/link.txt")).unwrap();
    symlink(&outside, hub.path("inbox/linked-folder")).unwrap();
    std::fs::hard_link(&secret, hub.path("inbox/second-name.txt")).unwrap();
    std::fs::create_dir(hub.path("inbox/archive")).unwrap();
    std::fs::write(hub.path("inbox/good.txt"), payments("good", 2)).unwrap();
    there(&hub, "inbox/done/good.txt").await;
    let names = ["pipe.txt", "link.txt", "linked-folder", "second-name.txt"];
    for name in names {
        is_told(&hub, name).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(names.map(|name| told(&hub, name)), [1; 4], "{}", hub.log());
    assert_eq!((held(&hub).await.as_str(), hub.messages("").await.len(), told(&hub, "archive")), ("4", 2, 0));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    // Whoever may see personal data is told which and why, the others how many.
    for (key, shown) in [(OFFICER, true), (READER, false)] {
        let systems = hub.get(key, "/v1/systems").await.body;
        let files = systems.as_array().unwrap().iter().find(|s| s["name"] == "bank").unwrap()["files"]["inbox"].clone();
        assert_eq!((&files["held"], files["reason"].is_string()), (&json!(4), shown), "{files}");
    }
    stops(hub);
}

/// While the file before them is being decoded, others are no longer what they were when the folder was looked at.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_after_the_look_is_not_read() {
    let prepare = |folder: &Path| {
        std::fs::create_dir(folder.join("inbox")).unwrap();
        std::fs::write(folder.join("inbox/a-large.txt"), payments("large", 60_000)).unwrap();
        // The oldest one is taken first.
        let large = std::fs::File::options().append(true).open(folder.join("inbox/a-large.txt")).unwrap();
        large.set_modified(std::time::UNIX_EPOCH).unwrap();
        for name in ["b-pipe.txt", "c-link.txt", "d-other.txt"] {
            std::fs::write(folder.join("inbox").join(name), payments(name, 1)).unwrap();
        }
    };
    let hub = Hub::prepared(LINES, prepare);
    let secret = hub.path("secret.txt");
    std::fs::write(&secret, payments("secret", 1)).unwrap();
    wait_for("the first file is begun", async || hub.path("data/spool").exists().then_some(())).await;
    for name in ["b-pipe.txt", "c-link.txt"] {
        std::fs::remove_file(hub.path("inbox").join(name)).unwrap();
    }
    pipe(&hub.path("inbox/b-pipe.txt"));
    symlink(&secret, hub.path("inbox/c-link.txt")).unwrap();
    std::fs::write(hub.path("inbox/new"), payments("replaced", 2)).unwrap();
    std::fs::rename(hub.path("inbox/new"), hub.path("inbox/d-other.txt")).unwrap();
    assert!(!hub.path("inbox/done/a-large.txt").exists(), "too late to try it");

    there(&hub, "inbox/done/d-other.txt").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(["b-pipe.txt", "c-link.txt"].map(|name| told(&hub, name)), [1; 2], "{}", hub.log());
    let ids: Vec<_> = hub.messages("").await.iter().map(|m| m["id"].clone()).collect();
    assert!(ids.contains(&json!("replaced-1")) && ids.contains(&json!("replaced-2")), "{:?}", &ids[..4]);
    assert!(!ids.iter().any(|id| id.as_str().unwrap().starts_with("secret")), "a link was followed");
    assert!(std::fs::symlink_metadata(hub.path("inbox/c-link.txt")).is_ok() && secret.exists());
    stops(hub);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_while_it_is_read_is_taken_whole() {
    let hub = Hub::start(LINES);
    let (first, rest) = (payments("first", 20_000), payments("rest", 4_000));
    let path = hub.path("inbox/growing.txt");
    // What it is cut in is no line, and no line of it may be missing in the end.
    std::fs::write(&path, format!("{first}rest-1 100")).unwrap();
    wait_for("it is begun", async || hub.path("data/spool").exists().then_some(())).await;
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    let rest = rest.strip_prefix("rest-1 100").unwrap().as_bytes();
    for chunk in rest.chunks(rest.len() / 80) {
        assert!(path.exists(), "it was moved while it was written");
        file.write_all(chunk).unwrap();
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    there(&hub, "inbox/done/growing.txt").await;
    let intakes = hub.intakes("").await;
    assert_eq!((intakes.len(), &intakes[0]["messages"]), (1, &json!(24_000)), "{intakes:?}");
    is_told(&hub, "growing.txt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_were_replaced_are_not_written_to() {
    let hub = Hub::start(LINES);
    let outside = hub.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let ours = [("done", "p-1 100 1.00\n"), ("review", "- odd\n"), ("failed", "p-2 100 many\n")];
    for (folder, _) in ours {
        std::fs::remove_dir(hub.path("inbox").join(folder)).unwrap();
    }
    symlink(&outside, hub.path("inbox/done")).unwrap();
    symlink(hub.path("nowhere"), hub.path("inbox/review")).unwrap();
    std::fs::write(hub.path("inbox/failed"), "a file").unwrap();
    for (folder, lines) in ours {
        std::fs::write(hub.path(&format!("inbox/for-{folder}.txt")), lines).unwrap();
    }
    for (folder, _) in ours {
        is_told(&hub, &format!("for-{folder}.txt")).await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(ours.map(|(folder, _)| told(&hub, &format!("for-{folder}.txt"))), [1; 3], "{}", hub.log());
    assert_eq!((std::fs::read_dir(&outside).unwrap().count(), hub.path("nowhere").exists()), (0, false));
    assert_eq!(std::fs::read_to_string(hub.path("inbox/failed")).unwrap(), "a file");
    // Each was decoded once, and only its moving waits.
    let taken = async |hub: &Hub| hub.intakes("").await.len();
    let before = taken(&hub).await;
    for (folder, _) in ours {
        std::fs::remove_file(hub.path("inbox").join(folder)).unwrap();
    }
    for (folder, _) in ours {
        there(&hub, &format!("inbox/{folder}/for-{folder}.txt")).await;
        assert!(hub.path(&format!("inbox/{folder}/for-{folder}.txt.report.txt")).exists());
    }
    assert_eq!((taken(&hub).await, hub.messages("").await.len()), (before, 1));
    wait_for("nothing is held", async || (held(&hub).await == "0").then_some(())).await;
    stops(hub);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_is_taken_and_shown_on_one_line() {
    let hub = Hub::start(LINES);
    let long = format!("{}.txt", "x".repeat(246));
    let letters = "Ж".repeat(127);
    let names: [(&[u8], &str); 6] = [
        (long.as_bytes(), long.as_str()),
        (letters.as_bytes(), letters.as_str()),
        (b"one\n2026 ERROR forged\x1b[2J.txt", "one\\u000a2026 ERROR forged\\u001b[2J.txt"),
        // In windows-1251.
        (b"\xf0\xe5\xe5\xf1\xf2\xf0.txt", "\\xf0\\xe5\\xe5\\xf1\\xf2\\xf0.txt"),
        (b"plain.txt", "plain.txt"),
        // As the report of another one would be called.
        (b"plain.txt.report.txt", "plain.txt.report.txt"),
    ];
    for (number, (name, _)) in names.iter().enumerate() {
        std::fs::write(hub.path("inbox").join(OsStr::from_bytes(name)), format!("n-{number} 100 1.00\n")).unwrap();
    }
    wait_for("all of them", async || (hub.messages("").await.len() == names.len()).then_some(())).await;
    let inside = |below: &str| std::fs::read_dir(hub.path(below)).unwrap().flatten();
    wait_for("all in done/", async || (inside("inbox/done").count() == 2 * names.len()).then_some(())).await;
    let mut shown: Vec<_> = hub.intakes("").await.iter().map(|i| i["name"].as_str().unwrap().to_string()).collect();
    let mut expected = names.map(|(_, shown)| shown.to_string());
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
    let reports = inside("inbox/done").filter(|e| e.file_name().as_bytes().ends_with(b".report.txt"));
    let reports: Vec<_> = reports.map(|e| std::fs::read_to_string(e.path()).unwrap()).collect();
    assert_eq!(reports.len(), names.len());
    assert!(reports.iter().all(|r| r.starts_with("file ") && !r.contains('\u{1b}')), "{reports:?}");
    assert!(!hub.log().contains('\u{1b}') && !hub.log().lines().any(|line| line.starts_with("2026 ERROR forged")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_or_moved_waits_and_is_not_taken_twice() {
    let hub = Hub::start(LINES);
    let allow = |below: &str, mode| std::fs::set_permissions(hub.path(below), Permissions::from_mode(mode)).unwrap();
    std::fs::write(hub.path("inbox/.locked"), "p-1 100 1.00\n").unwrap();
    allow("inbox/.locked", 0);
    std::fs::rename(hub.path("inbox/.locked"), hub.path("inbox/locked.txt")).unwrap();
    is_told(&hub, "locked.txt").await;
    std::fs::write(hub.path("inbox/readable.txt"), "p-2 100 1.00\n").unwrap();
    there(&hub, "inbox/done/readable.txt").await;
    allow("inbox/done", 0o555);
    std::fs::write(hub.path("inbox/unmoved.txt"), "p-3 100 1.00\n").unwrap();
    is_told(&hub, "unmoved.txt").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((told(&hub, "locked.txt"), told(&hub, "unmoved.txt")), (1, 1), "{}", hub.log());
    assert_eq!((hub.messages("").await.len(), hub.intakes("").await.len()), (2, 2));
    assert_eq!(held(&hub).await, "2");
    allow("inbox/done", 0o755);
    allow("inbox/locked.txt", 0o644);
    there(&hub, "inbox/done/locked.txt").await;
    there(&hub, "inbox/done/unmoved.txt").await;
    assert_eq!((hub.messages("").await.len(), hub.intakes("").await.len()), (3, 3));
}

/// A folder that is not there is told once as well, and the hub goes on when it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_away_is_told_once() {
    let hub = Hub::start(LINES);
    std::fs::rename(hub.path("inbox"), hub.path("away")).unwrap();
    wait_for("it is told", async || hub.log().contains("it must wait").then_some(())).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(hub.log().matches("it must wait").count(), 1, "{}", hub.log());
    std::fs::rename(hub.path("away"), hub.path("inbox")).unwrap();
    std::fs::write(hub.path("inbox/late.txt"), "p-1 100 1.00\n").unwrap();
    there(&hub, "inbox/done/late.txt").await;
}

/// More things that cannot be taken than a look takes up: the log stays short, and what can be taken is.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_full_of_links_holds_nothing_up() {
    let hub = Hub::start(LINES);
    for number in 0..30_000 {
        symlink("/nowhere", hub.path(&format!("inbox/link-{number}.txt"))).unwrap();
    }
    let good = ["a", "b", "c", "d", "e", "f"].map(|name| format!("good-{name}.txt"));
    for name in &good {
        std::fs::write(hub.path("inbox").join(name), format!("{name} 100 1.00\n")).unwrap();
    }
    for name in &good {
        there(&hub, &format!("inbox/done/{name}")).await;
    }
    assert!(hub.log().lines().filter(|line| line.contains("must wait")).count() <= 40, "{}", hub.log().len());
    stops(hub);
}

/// Its owner puts another file in the place of the one that was read, between any two steps: what nobody has read is
/// never moved away.
#[test]
fn only_what_was_read_is_moved() {
    let place = tempfile::tempdir().unwrap();
    let (path, aside) = (place.path().join("in.txt"), place.path().join(".aside"));
    let folder = Folder::open(place.path()).unwrap();
    let done = folder.below("done").unwrap();
    let until = Instant::now() + Duration::from_secs(3);
    let owner = std::thread::spawn(move || {
        for number in 0.. {
            if Instant::now() > until {
                return;
            }
            std::fs::write(&aside, number.to_string()).unwrap();
            std::fs::rename(&aside, &path).unwrap();
        }
    });
    let name = OsStr::new("in.txt");
    let (mut moved, mut replaced) = (0, 0);
    while Instant::now() < until {
        let Some(look) = folder.look(name).ok().flatten() else { continue };
        let Ok(file) = folder.read(name, look) else { continue };
        let mut text = String::new();
        file.reader().unwrap().read_to_string(&mut text).unwrap();
        let new = format!("{moved}.txt");
        if folder.rename_looked_at(name, &look, &done, OsStr::new(&new)).is_err() {
            replaced += 1;
            continue;
        }
        assert_eq!(std::fs::read_to_string(place.path().join("done").join(&new)).unwrap(), text, "{moved}");
        moved += 1;
    }
    owner.join().unwrap();
    assert!(moved > 100 && replaced > 0, "{moved} moved, {replaced} replaced");
}

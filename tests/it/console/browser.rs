//! A person on duty at the console, in headless Chromium: by the keyboard, in both languages, at a desk and on a telephone.

use super::{choosy, id, mended, pages, refused, state, strict};
use crate::hub::{Hub, OPERATOR, READER, payment, root, wait_for};
use crate::peers::{self, Peer};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The browser, told what to do.
struct Browser(Peer);

impl Browser {
    fn open(url: &str) -> Option<Self> {
        let modules = peers::folder().map(|folder| folder.join("node_modules"));
        let modules =
            modules.filter(|modules| modules.join("playwright-core").exists() && modules.join("axe-core").exists());
        let (Some(modules), true) = (modules, Path::new("/usr/bin/chromium").exists()) else {
            println!("NOT CHECKED: no Chromium, playwright-core and axe-core here; deploy/common/prepare.sh tests");
            return None;
        };
        let script = root().join("tests/fixtures/judges/console.js");
        Some(Self(Peer::start(Command::new("node").arg(script).arg(url).env("NODE_PATH", modules))))
    }

    /// What came of it, which is no complaint.
    #[track_caller]
    fn told(&mut self, words: &[&str]) -> Value {
        self.0.say(&json!(words).to_string());
        let answer: Value = serde_json::from_str(&self.0.heard()).unwrap();
        assert!(answer["error"].is_null(), "{}", answer["error"].as_str().unwrap_or_default());
        answer["ok"].clone()
    }

    #[track_caller]
    fn shows(&mut self, what: &str) {
        let text = self.told(&["text"]);
        assert!(text.as_str().unwrap().contains(what), "{what}: {text}");
    }
}

/// Four failures are dealt with as the pages let one: retried, corrected, skipped, and all at once; then the system is paused.
async fn on_duty(hub: &Hub, browser: &mut Browser, failing: &[Value], words: &[&str; 6]) {
    let [failures, edited, done, paused, resumed, skipped] = words;
    assert_eq!(browser.told(&["go", "/failures"]), *failures);
    browser.shows("Pelageya Ozernaya has moved");
    browser.told(&["enters", "tbody input[type=checkbox]"]);

    assert_eq!(browser.told(&["press", &format!("button[name=retry][value='{}']", id(&failing[0]))]), *failures);
    browser.shows(done);
    wait_for("another attempt", async || {
        (hub.trace(&failing[0]["message"]).await["deliveries"][0]["attempts"] == json!(2)).then_some(())
    })
    .await;

    browser.told(&["press", &format!("a[href='/deliveries/{}/edit']", id(&failing[1]))]);
    browser.told(&["fill", "#data", "{\"account\": 7}"]);
    browser.told(&["press", "form.stacked button.first"]);
    browser.shows("invalid-data");
    browser.told(&["fill", "#data", &mended().to_string()]);
    browser.told(&["press", "form.stacked button.first"]);
    browser.shows(edited);
    wait_for("the correction", async || (state(hub, &failing[1]).await == "done").then_some(())).await;

    browser.told(&["go", &format!("/messages/{}", failing[2]["message"].as_str().unwrap())]);
    browser.told(&["press", "article button[name=skip]"]);
    assert_eq!(state(hub, &failing[2]).await, "parked", "it asks first");
    browser.told(&["press", "form.stacked button.first"]);
    browser.shows(skipped);
    wait_for("the skip", async || (state(hub, &failing[2]).await == "skipped").then_some(())).await;

    let is_paused = async || {
        let systems = hub.get(READER, "/v1/systems").await.body;
        systems.as_array().unwrap().iter().find(|system| system["name"] == "billing").unwrap()["paused"].clone()
    };
    browser.told(&["go", "/"]);
    browser.told(&["press", "button[name=pause][value=billing]"]);
    browser.shows(paused);
    wait_for("the pause", async || (is_paused().await == true).then_some(())).await;
    browser.told(&["press", "button[name=resume][value=billing]"]);
    browser.shows(resumed);
    wait_for("the end of the pause", async || (is_paused().await == false).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_on_duty_sees_what_fails_and_mends_it() {
    let far = choosy().await;
    let hub = Hub::start(&format!("{}{}", pages::BANK, strict(&far.url)));
    let Some(mut browser) = Browser::open(&hub.url) else { return };
    let failing = refused(&hub, 7).await;
    // Words without a space must not make a page wider than a telephone.
    let mut long = payment(&"long-".repeat(40), &"7".repeat(60), "1.00");
    long["subject"] = json!("s".repeat(200));
    let long = hub.publish(&long).await;
    hub.settled(&long["seq"], &["parked"]).await;
    let left_out = hub.client.post(format!("{}/hooks/bank/leave-out", hub.url));
    assert_eq!(hub.send(left_out).await.status, 200);
    browser.told(&["judge", "/sign-in"]);
    browser.told(&["fill", "#key", OPERATOR]);
    assert_eq!(browser.told(&["press", "#key"]), "Systems");

    let english =
        ["Failures", "Corrected and made again: 1", "Made again: 1", "Systems paused: 1", "Systems resumed: 1"];
    on_duty(&hub, &mut browser, &failing[..3], &[&english[..], &["Skipped: 1"]].concat().try_into().unwrap()).await;
    browser.told(&["press", "button[name=language][value=ru]"]);
    let russian = ["Сбои", "Исправлено и отправлено повторно: 1", "Отправлено повторно: 1", "Приостановлено систем: 1"];
    let more = ["Возобновлено систем: 1", "Пропущено: 1"];
    on_duty(&hub, &mut browser, &failing[3..6], &[&russian[..], &more[..]].concat().try_into().unwrap()).await;

    let last = &failing[6];
    let own = [
        format!("/messages/{}", last["message"].as_str().unwrap()),
        format!("/deliveries/{}/edit", id(last)),
        format!("/messages/{}", long["seq"].as_str().unwrap()),
        "/failures/all?act=skip".to_string(),
    ];
    for language in ["ru", "en"] {
        browser.told(&["press", &format!("button[name=language][value={language}]")]);
        for path in ["/", "/failures", "/messages", "/inputs", "/decisions", "/statistics", "/messages/999"]
            .into_iter()
            .chain(own.iter().map(|p| &**p))
        {
            browser.told(&["judge", path]);
        }
    }
    // All that are there, by one mark: those that were retried and refused again, and two that nobody touched.
    browser.told(&["go", "/failures"]);
    assert_eq!(browser.told(&["mark_all"]), json!(4));
    browser.told(&["press", "button[name=act][value=skip]"]);
    browser.told(&["press", "form.stacked button.first"]);
    browser.shows("Nothing is failing.");
    assert_eq!(state(&hub, last).await, "skipped");
    // The colours that somebody chose are kept.
    browser.told(&["press", "button[name=theme][value=dark]"]);
    browser.told(&["judge", "/"]);
}

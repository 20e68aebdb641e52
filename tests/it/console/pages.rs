//! What the pages show, to whom, in which language, and how large they are.

use super::{Visitor, choosy, id, payment, refused, strict};
use crate::hub::{Hub, OFFICER, READER};
use serde_json::{Value, json};

const BYTES_MAX: usize = 60_000;

/// A system whose hook leaves out an entry of what it is sent.
pub const BANK: &str = r#"
[systems.bank]
adapter = "hostile"
[systems.bank.config]
behaviour = "leave-out"
[systems.bank.hook]
open = true
"#;

/// A hub with a payment that billing refused, and an entry that an adapter left out.
async fn eventful(url: &str) -> (Hub, Value) {
    let hub = Hub::start(&format!("{BANK}{}", strict(url)));
    let failing = refused(&hub, 1).await.remove(0);
    let asked = hub.client.post(format!("{}/hooks/bank/leave-out?phone=7900", hub.url));
    assert_eq!(hub.send(asked).await.status, 200);
    (hub, failing)
}

fn paths(failing: &Value) -> Vec<String> {
    let seq = failing["message"].as_str().unwrap();
    let fixed = ["/", "/messages", "/failures", "/inputs", "/decisions", "/statistics", "/failures/all?act=retry"]
        .map(String::from);
    let own = [format!("/messages/{seq}"), format!("/messages/{seq}/raw"), format!("/deliveries/{}/edit", id(failing))];
    fixed.into_iter().chain(own).collect()
}

#[tokio::test]
async fn personal_data_are_for_those_who_may_see_them() {
    let far = choosy().await;
    let (hub, failing) = eventful(&far.url).await;
    let (reader, officer) = (Visitor::sign_in(&hub, READER).await, Visitor::sign_in(&hub, OFFICER).await);
    let mut seen = 0;
    for path in paths(&failing) {
        let page = reader.page(&path).await;
        for secret in ["Pelageya", "as asked", "/leave-out", "7900"] {
            assert!(!page.contains(secret), "{path}: {secret}: {page}");
        }
        seen += usize::from(officer.page(&path).await.contains("Pelageya"));
    }
    assert_eq!(seen, 3, "the failures, the message, and all of it as JSON");
    let message = format!("/messages/{}", failing["message"].as_str().unwrap());
    let page = reader.page(&message).await;
    assert!(
        page.contains("&#34;purpose&#34;: &#34;***&#34;") && page.contains("lacks the right `read-personal`"),
        "{page}"
    );
    let inputs = officer.page("/inputs").await;
    assert!(inputs.contains("as asked") && inputs.contains("POST /leave-out"), "{inputs}");
}

#[tokio::test]
async fn a_message_shows_what_came_in_what_was_called_and_what_came_back() {
    let far = choosy().await;
    let (hub, failing) = eventful(&far.url).await;
    let officer = Visitor::sign_in(&hub, OFFICER).await;
    let message = format!("/messages/{}", failing["message"].as_str().unwrap());
    let page = officer.page(&message).await;
    for what in [
        "key:publisher",
        "/messages?source=%2Ftest%2Fcash",
        "&#34;account&#34;: &#34;0&#34;",
        "attempt 1: http",
        "/payments",
        "&#34;status&#34;: 422",
        "Pelageya Ozernaya has moved",
        "<code>refused</code>",
    ] {
        assert!(page.contains(what), "{what}: {page}");
    }
    assert!(page.contains(&format!("<article id=\"d{}\">", id(&failing))), "{page}");
    let raw = officer.get(&format!("{message}/raw")).await.body;
    assert_eq!(raw, hub.trace(&failing["message"]).await);
    // What caused it is a search away.
    let mut caused = payment("c-1", "7", "1.00");
    caused["causationid"] = json!("p & 0");
    let taken = hub.publish(&caused).await;
    let page = officer.page(&format!("/messages/{}", taken["seq"].as_str().unwrap())).await;
    assert!(page.contains("href=\"/messages?id=p+%26+0\""), "{page}");
}

#[tokio::test]
async fn searches_are_addresses_and_pages_lead_on() {
    let hub = Hub::start("");
    for number in 0..120 {
        let mut event = payment(&format!("n-{number}"), &format!("{}", number % 2), "1.00");
        event["partitionkey"] = json!("<b>&");
        hub.publish(&event).await;
    }
    let reader = Visitor::sign_in(&hub, READER).await;
    let ids = |page: &str| {
        let ids = page.split("data-label=\"Id\"><div>").skip(1).map(|rest| rest.split('<').next().unwrap().to_string());
        ids.collect::<Vec<_>>()
    };
    let (mut all, mut path) = (Vec::new(), "/messages?subject=1".to_string());
    loop {
        let page = reader.page(&path).await;
        assert!(page.contains("name=\"subject\" value=\"1\""), "the search stays: {page}");
        all.extend(ids(&page));
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&");
    }
    let expected: Vec<_> = (0..120).rev().filter(|n| n % 2 == 1).map(|n| format!("n-{n}")).collect();
    assert_eq!(all, expected, "newest first, each once");
    assert_eq!(ids(&reader.page("/messages?id=n-9").await), ["n-9"]);
    assert!(reader.page("/messages?type=no.such.v1").await.contains("Nothing was found."));
    let page = reader.page("/messages?id=n-7").await;
    let seq = page.split("href=\"/messages/").nth(1).unwrap().split('"').next().unwrap();
    let page = reader.page(&format!("/messages/{seq}")).await;
    assert!(page.contains("<dd>&#60;b&#62;&#38;</dd>") && !page.contains("<b>"), "{page}");
    let officer = Visitor::sign_in(&hub, OFFICER).await;
    assert_eq!(ids(&officer.page("/messages?id=n-7&since=2026-01-01T00%3A00").await), ["n-7"]);
    assert!(officer.page("/messages?id=n-7&until=2026-01-01T00%3A00").await.contains("Nothing was found."));
    let found = officer.page("/messages?text=%22account%22&subject=1").await;
    assert!(found.contains("name=\"text\"") && !reader.page("/messages").await.contains("name=\"text\""), "{found}");
    assert_eq!(reader.get("/messages?text=1").await.status, 403);
    for wrong in ["state=lost", "after=x", "since=yesterday"] {
        assert_eq!(reader.get(&format!("/messages?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn each_page_is_in_either_language() {
    let far = choosy().await;
    let (hub, failing) = eventful(&far.url).await;
    let is_cyrillic = |c: char| ('А'..='я').contains(&c);
    for path in paths(&failing).into_iter().filter(|path| !path.ends_with("/raw")) {
        let english = Visitor::sign_in(&hub, READER).await.speaking("en").page(&path).await;
        let russian = Visitor::sign_in(&hub, READER).await.speaking("ru").page(&path).await;
        assert!(english.contains("<html lang=\"en\"") && russian.contains("<html lang=\"ru\""), "{path}");
        // The name of the other language alone.
        assert_eq!(english.replace("Русский", "").find(is_cyrillic), None, "{path}: {english}");
        assert!(russian.chars().filter(|c| is_cyrillic(*c)).count() > 150, "{path}: {russian}");
        assert!(!russian.contains("badge \">?") && !russian.contains(">?<"), "{path}: {russian}");
    }
    let request = hub.client.get(format!("{}/sign-in", hub.url)).header("accept-language", "ru-RU,ru;q=0.9");
    assert!(super::text(&hub.send(request).await).contains("Вход в консоль"));
    let wish = super::post(&hub, "/look", "", &[("language", "ru"), ("theme", "dark"), ("to", "/messages?a=b")]).await;
    assert_eq!((wish.status, wish.header("location")), (303, "/messages?a=b"));
    let cookies: Vec<_> = wish.headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
    assert!(
        cookies[0].starts_with("busbar-language=ru;") && cookies[1].starts_with("busbar-theme=dark;"),
        "{cookies:?}"
    );
    assert!(cookies.iter().all(|cookie| cookie.contains("Max-Age=31536000")), "{cookies:?}");
    let nonsense = super::post(&hub, "/look", "", &[("language", "xx"), ("theme", "<b>")]).await;
    assert_eq!((nonsense.status, nonsense.header("set-cookie")), (303, ""));
}

/// Long texts in every field, many rows, many calls, an answer of megabytes.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_over_its_bound() {
    let answer: &'static str = Box::leak(format!("{{\"error\":\"{}\"}}", "<\\\"&>".repeat(30_000)).into_boxed_str());
    let far = crate::hub::Standin::start(move |_, before| (430 + before as u16 % 30, answer)).await;
    let many: String =
        (0..120).map(|n| format!("[systems.other-system-number-{n}]\nadapter = \"hostile\"\n")).collect();
    let hub = Hub::start(&format!("{many}{}", strict(&far.url)));
    let mut last = Value::Null;
    for number in 0..60 {
        let mut event = payment(&format!("{number}{}", "<i>&\"'".repeat(30)), &format!("{number}"), "1.00");
        event["subject"] = json!(format!("{number}{}", "&".repeat(200)));
        event["data"]["purpose"] = json!("<\"&'>".repeat(30));
        last = hub.publish(&event).await;
        hub.post("application/cloudevents+json", json!({ "type": "<\"&'>".repeat(60) }).to_string()).await;
    }
    let trace = hub.settled(&last["seq"], &["parked"]).await;
    crate::hub::wait_for("failures", async || {
        let found = hub.get(OFFICER, "/v1/deliveries?limit=500&state=parked").await.body["deliveries"].clone();
        (found.as_array().unwrap().len() == 60).then_some(())
    })
    .await;
    let failing = json!({ "message": last["seq"], "id": trace["deliveries"][0]["id"] });
    let visitor = Visitor::sign_in(&hub, OFFICER).await.speaking("ru");
    let failures = visitor.page("/failures").await;
    assert!(failures.contains("которые не показаны (отбор по системе или типу): 20"), "{failures}");
    let mut wrong = Vec::new();
    for path in paths(&failing).into_iter().filter(|path| !path.ends_with("/raw")) {
        let bytes = visitor.page(&path).await.len();
        println!("{bytes:>6} {path}");
        wrong.extend((bytes > BYTES_MAX).then(|| format!("{path}: {bytes} bytes")));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

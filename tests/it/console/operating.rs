//! What is done from the pages, by their forms alone, and what comes of it over REST.

use super::{Visitor, choosy, id, mended, post, refused, state, strict, text};
use crate::hub::{Hub, OPERATOR, READER, wait_for};
use serde_json::{Value, json};

async fn becomes(hub: &Hub, delivery: &Value, wanted: &str) {
    wait_for(wanted, async || (state(hub, delivery).await == wanted).then_some(())).await
}

#[tokio::test]
async fn a_system_is_paused_and_goes_on() {
    let far = choosy().await;
    let hub = Hub::start(&strict(&far.url));
    let operator = Visitor::sign_in(&hub, OPERATOR).await;
    let paused = async || hub.get(READER, "/v1/systems").await.body[0]["paused"].clone();
    let why = ("comment", "<new> version");
    let to = operator.does("/", &[("pause", "billing"), why, ("to", "/?name=bill")]).await;
    assert_eq!(to, "/?name=bill&done=paused&count=1");
    wait_for("the pause", async || (paused().await == true).then_some(())).await;
    let page = operator.page(&to).await;
    assert!(page.contains("Systems paused: 1") && page.contains("name=\"resume\" value=\"billing\""), "{page}");
    assert!(page.contains("operator, <time") && page.contains(": &#60;new&#62; version"), "{page}");
    operator.does("/", &[("resume", "billing")]).await;
    let decided = operator.page("/decisions?deed=pause&system=billing").await;
    assert!(decided.contains("system paused billing") && decided.contains("&#60;new&#62; version"), "{decided}");
    let reader = Visitor::sign_in(&hub, READER).await.page("/decisions").await;
    assert!(reader.contains("system resumed billing") && !reader.contains("version"), "{reader}");
    wait_for("the end of the pause", async || (paused().await == false).then_some(())).await;
    assert_eq!(operator.post("/", &[("pause", "nobody")]).await.status, 404);
    assert_eq!(operator.post("/", &[]).await.status, 400);
    assert!(hub.log().contains("\"by\":\"operator\"") || hub.log().contains("by=operator"), "{}", hub.log());
}

#[tokio::test]
async fn failures_are_retried_and_skipped_one_by_one_and_those_that_are_marked() {
    let far = choosy().await;
    let hub = Hub::start(&strict(&far.url));
    let failing = refused(&hub, 5).await;
    let operator = Visitor::sign_in(&hub, OPERATOR).await;
    let page = operator.page("/failures").await;
    for what in ["payment.received.v1", "billing", "<code>refused</code>", "Pelageya Ozernaya has moved"] {
        assert!(page.contains(what), "{what}: {page}");
    }
    let to = operator.does("/failures", &[("retry", id(&failing[0])), ("to", "/failures?system=billing")]).await;
    assert_eq!(to, "/failures?system=billing&done=retry&count=1");
    wait_for("another attempt", async || {
        let trace = hub.trace(&failing[0]["message"]).await;
        (trace["deliveries"][0]["attempts"] == json!(2) && trace["deliveries"][0]["by"] == "operator").then_some(())
    })
    .await;
    let cause = hub.get(READER, "/v1/failures").await.body["failures"][0]["cause"].as_str().unwrap().to_string();
    assert!(page.contains(&format!("href=\"/failures?cause={cause}\"")) && page.contains("By cause"), "{page}");
    assert!(operator.page(&format!("/failures?cause={cause}")).await.contains(id(&failing[0])));
    let other = operator.page("/failures?cause=0123456789abcdef").await;
    assert!(other.contains("Nothing is failing.") && !other.contains("By cause"), "{other}");
    let alike = "/failures?system=billing&type=payment.received.v1&code=refused";
    assert!(operator.page(alike).await.contains(id(&failing[0])));
    assert!(operator.page(&alike.replace("refused", "transient")).await.contains("Nothing is failing."));
    let nothing = [("nothing", "yes"), ("id", id(&failing[1])), ("to", "/failures?key=1")];
    assert_eq!(operator.does("/failures", &nothing).await, "/failures?key=1");
    // What cannot be taken back is asked about first.
    let asked = operator.post("/failures", &[("skip", id(&failing[1]))]).await;
    assert_eq!((asked.status, state(&hub, &failing[1]).await), (200, json!("parked")));
    assert!(text(&asked).contains("Skip these deliveries?"), "{asked:?}");
    operator.does("/failures", &[("act", "skip"), ("id", id(&failing[1])), ("sure", "yes")]).await;
    becomes(&hub, &failing[1], "skipped").await;
    let marked = [("id", id(&failing[2])), ("id", id(&failing[3]))];
    operator.does("/failures", &[&marked[..], &[("act", "skip"), ("sure", "yes")]].concat()).await;
    for delivery in &failing[2..4] {
        becomes(&hub, delivery, "skipped").await;
    }
    assert_eq!(state(&hub, &failing[4]).await, "parked");
    // One that is finished is told by name, and the other one is done all the same.
    let mixed = [("act", "skip"), ("sure", "yes"), ("id", id(&failing[1])), ("id", id(&failing[4]))];
    let answer = operator.post("/failures", &mixed).await;
    assert!(answer.status == 200 && text(&answer).contains("not-parked"), "{answer:?}");
    assert!(text(&answer).contains(&format!("delivery {} is skipped now", id(&failing[1]))), "{answer:?}");
    becomes(&hub, &failing[4], "skipped").await;
    assert_eq!(operator.post("/failures", &[("act", "retry")]).await.status, 400, "nothing is marked");
    assert_eq!(operator.post("/failures", &[("retry", "seven")]).await.status, 404);
    assert_eq!(operator.post("/failures", &[("id", "1")]).await.status, 400, "neither of both");
}

#[tokio::test]
async fn all_that_match_are_operated_on_at_a_rate_and_no_others() {
    let far = choosy().await;
    let hub = Hub::start(&strict(&far.url));
    let failing = refused(&hub, 12).await;
    let operator = Visitor::sign_in(&hub, OPERATOR).await;
    let none = operator.page("/failures/all?act=skip&code=transient").await;
    assert!(none.contains("How many: 0") && none.contains("value=\"skip\" disabled"), "{none}");
    let asked = operator.page("/failures/all?act=skip&system=billing&code=refused").await;
    for what in ["How many: 12", "name=\"code\" value=\"refused\"", "parked, dead", "name=\"rate\""] {
        assert!(asked.contains(what), "{what}: {asked}");
    }
    let all = [("act", "skip"), ("system", "billing"), ("code", "refused")];
    let refused = operator.post("/failures/all", &[&all[..], &[("rate", "0")]].concat()).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(operator.post("/failures/all", &[("act", "skip"), ("state", "lost")]).await.status, 400);
    let began = std::time::Instant::now();
    let to = operator.does("/failures/all", &[&all[..], &[("rate", "10"), ("to", "/failures")]].concat()).await;
    assert_eq!(to, "/failures?done=skip&count=12");
    assert!(began.elapsed() >= std::time::Duration::from_millis(1_000), "10 a second: {:?}", began.elapsed());
    for delivery in &failing {
        becomes(&hub, delivery, "skipped").await;
    }
    assert!(operator.page("/failures").await.contains("Nothing is failing."));
}

#[tokio::test]
async fn data_are_corrected_and_what_the_schema_refuses_is_shown_at_its_place() {
    let far = choosy().await;
    let hub = Hub::start(&strict(&far.url));
    let failing = refused(&hub, 1).await.remove(0);
    let operator = Visitor::sign_in(&hub, OPERATOR).await;
    let path = format!("/deliveries/{}/edit", id(&failing));
    let page = operator.page(&path).await;
    assert!(page.contains("<textarea") && page.contains("Pelageya Ozernaya pays for light"), "{page}");
    let mut wrong = mended();
    wrong["amount"]["value"] = json!(1.5);
    wrong["purpose"] = json!("</textarea><script>alert(1)</script>");
    let answer = operator.post(&path, &[("data", &wrong.to_string())]).await;
    let page = text(&answer);
    assert_eq!(answer.status, 422, "{page}");
    let marked = page.split("<mark>").nth(1).unwrap().split("</mark>").next().unwrap();
    assert!(marked.starts_with("4  ") && marked.contains("&#34;value&#34;: 1.5"), "{marked}");
    for what in ["invalid-data", "/data/amount/value", "aria-invalid=\"true\"", "&#60;script&#62;alert(1)"] {
        assert!(page.contains(what), "{what}: {page}");
    }
    assert!(!page.contains("<script>alert"), "{page}");
    for broken in ["{\"account\": ", "", "{\"a\": 1, \"a\": 2}"] {
        let answer = operator.post(&path, &[("data", broken)]).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert_eq!(state(&hub, &failing).await, "parked");
    let to = operator.does(&path, &[("data", &mended().to_string()), ("to", "/failures")]).await;
    assert_eq!(to, "/failures?done=edit&count=1");
    becomes(&hub, &failing, "done").await;
    assert_eq!(far.seen().len(), 2);
    // Finished: nothing more is to be corrected.
    let answer = operator.post(&path, &[("data", &mended().to_string())]).await;
    assert!(answer.status == 409 && text(&answer).contains("not-parked"), "{answer:?}");
    assert_eq!(operator.get("/deliveries/999/edit").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_inputs_are_accepted_and_dismissed() {
    let hub = Hub::start(crate::flows::entries::LINES);
    let put = async |name: &str, folder: &str, lines: &str| {
        std::fs::write(hub.path(&format!("inbox/{name}")), lines).unwrap();
        let report = format!("inbox/{folder}/{name}.report.txt");
        wait_for(&report, async || hub.path(&report).exists().then_some(())).await;
    };
    put("one.txt", "done", "p-1 100 10.00\np-2 100 20.00\n").await;
    put("two.txt", "review", "p-1 100 11.00\np-2 100 21.00\n").await;
    let entries = hub.intakes("outcome=differing").await;
    let operator = Visitor::sign_in(&hub, OPERATOR).await;
    let page = operator.page("/inputs?outcome=differing").await;
    assert!(page.contains("two.txt") && page.contains("known-differs") && page.contains("11.00"), "{page}");
    operator.does("/inputs", &[("accept", id(&entries[0]))]).await;
    operator.does("/inputs", &[("dismiss", id(&entries[1])), ("to", "/inputs?outcome=differing")]).await;
    let outcomes = async |outcome: &str| hub.intakes(&format!("outcome={outcome}")).await;
    assert_eq!(outcomes("differing").await, Vec::<Value>::new());
    assert_eq!((&outcomes("dismissed").await[0]["by"], hub.messages("").await.len()), (&json!("operator"), 3));
    let again = operator.post("/inputs", &[("accept", id(&entries[0]))]).await;
    assert!(again.status == 409 && text(&again).contains("not-open"), "{again:?}");
    assert_eq!(post(&hub, "/inputs", &operator.cookies, &[("dismiss", id(&entries[0]))]).await.status, 403);
}

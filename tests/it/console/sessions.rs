//! Who gets in, whose forms count, and how a session ends.

use super::{Visitor, choosy, encoded, post, strict, text, token};
use crate::hub::{Hub, OFFICER, OPERATOR, PUBLISHER, READER};
use reqwest::header::{CONTENT_TYPE, COOKIE};
use serde_json::{Value, json};

async fn is_paused(hub: &Hub) -> bool {
    hub.get(READER, "/v1/systems").await.body[0]["paused"] == json!(true)
}

#[tokio::test]
async fn a_key_that_may_read_gets_in_and_no_other() {
    let hub = Hub::start("");
    for (path, to) in [
        ("/", "/sign-in"),
        ("/messages?type=a.v1&x=1", "/sign-in?to=%2Fmessages%3Ftype%3Da.v1%26x%3D1"),
        ("/messages/7/raw", "/sign-in?to=%2Fmessages%2F7%2Fraw"),
    ] {
        let answer = hub.send(hub.client.get(format!("{}{path}", hub.url))).await;
        assert_eq!((answer.status, answer.header("location")), (303, to), "{answer:?}");
    }
    let wrong = post(&hub, "/sign-in", "", &[("key", "a-guessed-key"), ("to", "/inputs")]).await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
    assert!(!wrong.header("www-authenticate").contains("Basic"), "a browser would open a window of its own");
    let page = text(&wrong);
    assert!(page.contains("the key is not known") && page.contains("value=\"/inputs\""), "{page}");
    assert!(!page.contains("a-guessed-key"));
    let refused = hub.intakes("outcome=refused").await;
    assert_eq!((&refused[0]["error"]["code"], &refused[0]["name"]), (&json!("unauthorized"), &json!("/sign-in")));
    assert!(!refused[0].to_string().contains("a-guessed-key"));

    let blind = post(&hub, "/sign-in", "", &[("key", PUBLISHER)]).await;
    assert_eq!((blind.status, blind.header("set-cookie")), (403, ""));
    assert!(text(&blind).contains("lacks the right `read`"), "{blind:?}");

    for (to, leads) in [("/messages?a=b", "/messages?a=b"), ("//evil.example/x", "/"), ("https://evil.example", "/")] {
        let right = post(&hub, "/sign-in", "", &[("key", READER), ("to", to)]).await;
        assert_eq!((right.status, right.header("location")), (303, leads));
        let cookie = right.header("set-cookie").to_string();
        let (value, attributes) = cookie.split_once("; ").unwrap();
        assert!(
            value.starts_with("busbar-session=") && value.len() == "busbar-session=".len() + 43,
            "256 bits: {cookie}"
        );
        for needed in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(attributes.contains(needed), "{needed}: {cookie}");
        }
        assert!(!attributes.contains("Secure"), "{cookie}");
    }
    let request = hub.client.post(format!("{}/sign-in", hub.url)).header("x-forwarded-proto", "https");
    let behind = hub.send(request.header(CONTENT_TYPE, super::FORM).body(encoded(&[("key", READER)]))).await;
    assert!(behind.header("set-cookie").contains("; Secure"), "{behind:?}");
}

#[tokio::test]
async fn wrong_keys_are_slowed_down_as_with_rest_and_a_right_one_is_not() {
    let hub = Hub::start("");
    for _ in 0..30 {
        assert_eq!(post(&hub, "/sign-in", "", &[("key", "an-old-key")]).await.status, 401);
    }
    let told = post(&hub, "/sign-in", "", &[("key", "an-old-key")]).await;
    assert_eq!(told.status, 429, "{told:?}");
    assert!(told.header("retry-after").parse::<u64>().unwrap() >= 1, "{told:?}");
    hub.get("an-old-key", "/v1/messages").await.problem(429, "throttled");
    Visitor::sign_in(&hub, READER).await.page("/").await;
}

#[tokio::test]
async fn a_session_ends_when_its_holder_signs_out_and_when_the_hub_does() {
    let mut hub = Hub::start("");
    let (gone, kept) = {
        let (gone, kept) = (Visitor::sign_in(&hub, READER).await, Visitor::sign_in(&hub, READER).await);
        gone.page("/").await;
        let answer = gone.post("/sign-out", &[]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/sign-in"));
        assert!(answer.header("set-cookie").contains("Max-Age=0"), "{answer:?}");
        // Somebody kept a copy of the cookie.
        assert_eq!(gone.get("/").await.header("location"), "/sign-in");
        kept.page("/").await;
        (gone.cookies, kept.cookies)
    };
    hub.restart();
    for cookies in [&gone, &kept, "busbar-session=guessed", "busbar-session=", "busbar-session"] {
        let request = hub.client.get(format!("{}/failures", hub.url)).header(COOKIE, cookies);
        assert_eq!(hub.send(request).await.header("location"), "/sign-in?to=%2Ffailures", "{cookies}");
    }
}

#[tokio::test]
async fn a_form_that_was_not_made_here_changes_nothing() {
    let far = choosy().await;
    let hub = Hub::start(&strict(&far.url));
    let (operator, other) = (Visitor::sign_in(&hub, OPERATOR).await, Visitor::sign_in(&hub, OPERATOR).await);
    let (own, foreign) = (operator.token().await, other.token().await);
    assert_ne!(own, foreign);
    for token in ["", "guessed", &foreign, &own[1..]] {
        let answer = post(&hub, "/", &operator.cookies, &[("token", token), ("pause", "billing")]).await;
        assert_eq!(answer.status, 403, "{token}: {answer:?}");
    }
    let fields = encoded(&[("token", &own), ("pause", "billing")]);
    let from = |name: &'static str, value: &str| {
        let request = hub.client.post(format!("{}/", hub.url)).header(COOKIE, &operator.cookies);
        hub.send(request.header(CONTENT_TYPE, super::FORM).header(name, value).body(fields.clone()))
    };
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "http://127.0.0.1:1"),
    ] {
        let answer = from(name, value).await;
        assert_eq!(answer.status, 403, "{name}: {value}: {answer:?}");
        assert!(text(&answer).contains("from another site"), "{answer:?}");
    }
    let no_session = post(&hub, "/", "", &[("token", &own), ("pause", "billing")]).await;
    assert_eq!(no_session.header("location"), "/sign-in");
    assert!(!is_paused(&hub).await);
    assert_eq!(from("origin", &hub.url).await.status, 303);
    crate::hub::wait_for("the pause", async || is_paused(&hub).await.then_some(())).await;
    assert_eq!(from("sec-fetch-site", "same-origin").await.status, 303);
}

#[tokio::test]
async fn who_may_only_look_sees_why_and_changes_nothing() {
    let far = choosy().await;
    let hub = Hub::start(&strict(&far.url));
    let failing = super::refused(&hub, 1).await.remove(0);
    let edit = format!("/deliveries/{}/edit", super::id(&failing));
    let data = super::mended().to_string();
    for key in [READER, OFFICER] {
        let visitor = Visitor::sign_in(&hub, key).await;
        for (path, fields) in [
            ("/", vec![("pause", "billing")]),
            ("/failures", vec![("retry", super::id(&failing))]),
            ("/failures", vec![("skip", super::id(&failing)), ("sure", "yes")]),
            ("/failures/all", vec![("act", "skip")]),
            ("/inputs", vec![("dismiss", "x")]),
            (edit.as_str(), vec![("data", data.as_str())]),
        ] {
            let answer = visitor.post(path, &fields).await;
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
            assert!(text(&answer).contains("lacks the right `operate`"), "{answer:?}");
        }
        for path in ["/", "/failures", &format!("/messages/{}", failing["message"].as_str().unwrap()), &edit] {
            let page = visitor.page(path).await;
            assert!(
                page.contains("id=\"why\"") && page.contains("disabled aria-describedby=\"why\""),
                "{path}: {page}"
            );
        }
        let page = visitor.page("/failures").await;
        let able = page.split("<button name=\"").skip(1).filter(|b| !b.split('>').next().unwrap().contains("disabled"));
        let of_the_frame = ["language", "theme", "nothing"];
        let able: Vec<_> = able.filter(|b| !of_the_frame.iter().any(|name| b.starts_with(name))).collect();
        assert!(able.is_empty(), "{able:?}");
    }
    assert_eq!((super::state(&hub, &failing).await, is_paused(&hub).await), (json!("parked"), false));
}

#[tokio::test]
async fn each_answer_has_its_headers() {
    let hub = Hub::start("");
    let reader = Visitor::sign_in(&hub, READER).await;
    let page = reader.page("/").await;
    let files: Vec<_> = page.split('"').filter(|part| part.starts_with("/static/")).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    let pages = [
        "/",
        "/messages",
        "/failures",
        "/inputs",
        "/decisions",
        "/statistics",
        "/sign-in",
        "/messages/999",
        "/messages?state=lost",
    ];
    for path in pages.iter().chain(&files) {
        let answer = reader.get(path).await;
        let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
        assert_eq!(answer.header("content-security-policy"), policy, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        let is_file = files.contains(path);
        let cached = if is_file { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cached, "{path}");
        assert!(answer.header("content-type").starts_with("text/html") != is_file || path == &"/sign-in", "{answer:?}");
    }
    assert_eq!(reader.get("/messages/999").await.status, 404);
    assert_eq!(reader.get("/messages?state=lost").await.status, 400);
    assert_eq!(reader.get("/static/console-0000000000000000.css").await.status, 404);
    assert_eq!(hub.send(hub.client.delete(format!("{}/messages", hub.url))).await.status, 405);
    assert!(!page.contains("style=") && !page.contains("onclick") && !page.contains("<script>"), "{page}");
    // REST is as it was.
    hub.get(READER, "/v1/nothing").await.problem(404, "not-found");
    assert_eq!(hub.get(READER, "/v1/messages").await.header("content-security-policy"), "");
}

#[tokio::test]
async fn a_deployment_may_be_without_it() {
    let hub = Hub::with("console = false", "");
    for path in ["/", "/sign-in", "/messages", "/failures"] {
        hub.get(READER, path).await.problem(404, "not-found");
    }
    assert!(matches!(hub.get(READER, "/v1/messages").await.body, Value::Object(_)));
    let on = Hub::start("");
    let page = text(&on.get("", "/sign-in").await);
    assert!(page.contains("id=\"key\"") && !page.contains("name=\"token\""), "{page}");
    assert_eq!(token("<input name=\"token\" value=\"x\">"), "x");
}

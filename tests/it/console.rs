//! The operators' console of a running hub: over plain HTTP, as somebody without a script has it, and in a browser.

mod browser;
mod operating;
mod pages;
mod sessions;

use crate::hooks::deliveries::billing;
use crate::hub::{Answer, Hub, OPERATOR, Standin, payment, wait_for};
use reqwest::header::{CONTENT_TYPE, COOKIE};
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

/// Somebody with a session, in a language.
struct Visitor<'a> {
    hub: &'a Hub,
    cookies: String,
}

impl<'a> Visitor<'a> {
    async fn sign_in(hub: &'a Hub, key: &str) -> Self {
        let answer = post(hub, "/sign-in", "", &[("key", key)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{answer:?}");
        Self { hub, cookies: answer.header("set-cookie").split(';').next().unwrap().to_string() }
    }

    fn speaking(mut self, language: &str) -> Self {
        self.cookies += &format!("; busbar-language={language}");
        self
    }

    async fn get(&self, path: &str) -> Answer {
        self.hub.send(self.hub.client.get(format!("{}{path}", self.hub.url)).header(COOKIE, &self.cookies)).await
    }

    /// The text of a page that must be there.
    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        text(&answer)
    }

    /// What this session's forms carry.
    async fn token(&self) -> String {
        token(&self.page("/").await)
    }

    /// A form as the page has it, with its token.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token().await;
        post(self.hub, path, &self.cookies, &[&[("token", token.as_str())], fields].concat()).await
    }

    /// A form that must be done, and leads back.
    async fn does(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        answer.header("location").to_string()
    }
}

fn token(page: &str) -> String {
    let (_, after) = page.split_once("name=\"token\" value=\"").unwrap_or_else(|| panic!("no token: {page}"));
    after.split('"').next().unwrap().to_string()
}

fn text(answer: &Answer) -> String {
    match &answer.body {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    reqwest::Url::parse_with_params("http://x/", fields).unwrap().query().unwrap_or_default().to_string()
}

async fn post(hub: &Hub, path: &str, cookies: &str, fields: &[(&str, &str)]) -> Answer {
    let request = hub.client.post(format!("{}{path}", hub.url)).header(CONTENT_TYPE, FORM).header(COOKIE, cookies);
    hub.send(request.body(encoded(fields))).await
}

/// Billing that takes what is mended and refuses the rest, with a customer's name in its words.
async fn choosy() -> Standin {
    Standin::start(|seen, _| match seen.body.contains("mended") {
        true => (201, "{}"),
        false => (422, "{\"error\":\"Pelageya Ozernaya has moved\"}"),
    })
    .await
}

/// What may be edited into a payment, and is taken then.
fn mended() -> Value {
    json!({
        "account": "mended", "amount": { "value": "1.00", "currency": "RUB" }, "channel": "cash-desk",
        "paidOn": "2026-11-20",
    })
}

fn strict(url: &str) -> String {
    billing(url, "attempts = 1\nbreaker-failures = 1000")
}

/// Payments of accounts of their own, none of which billing takes; returns their deliveries once they have failed.
async fn refused(hub: &Hub, count: usize) -> Vec<Value> {
    for number in 0..count {
        hub.publish(&payment(&format!("p-{number}"), &format!("{number}"), "1.00")).await;
    }
    wait_for("failures", async || {
        let found = hub.get(OPERATOR, "/v1/deliveries?limit=500&state=parked").await.body["deliveries"].clone();
        found.as_array().filter(|all| all.len() == count).cloned()
    })
    .await
}

fn id(delivery: &Value) -> &str {
    delivery["id"].as_str().unwrap()
}

async fn state(hub: &Hub, delivery: &Value) -> Value {
    let trace = hub.trace(&delivery["message"]).await;
    trace["deliveries"][0]["state"].clone()
}

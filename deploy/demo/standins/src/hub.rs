//! A user of the hub's REST interface: one key that publishes, one that reads.

use anyhow::{Context, bail};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Rows asked for at once when a listing is read whole.
const PAGE: usize = 100;

/// Where the hub is and the two API keys.
#[derive(Clone, Debug)]
pub struct Hub {
    client: reqwest::Client,
    url: String,
    publish_key: String,
    read_key: String,
}

impl Hub {
    /// `url` such as `http://127.0.0.1:18080`.
    pub fn new(url: &str, publish_key: &str, read_key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: crate::http_client()?,
            url: url.trim_end_matches('/').to_owned(),
            publish_key: publish_key.to_owned(),
            read_key: read_key.to_owned(),
        })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether `/readyz` says yes; no answer is no.
    pub async fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Publishes one CloudEvent in structured mode; returns its entry in `accepted`.
    pub async fn publish(&self, event: &Value) -> anyhow::Result<Value> {
        let body = serde_json::to_vec(event)?;
        let answer = self.post("application/cloudevents+json", body).await?;
        let first = answer.get("accepted").and_then(|accepted| accepted.get(0));
        first.cloned().with_context(|| format!("the hub accepted nothing: {answer}"))
    }

    /// Publishes CloudEvents in batched mode; returns `accepted`.
    pub async fn publish_batch(&self, events: &[Value]) -> anyhow::Result<Vec<Value>> {
        let body = serde_json::to_vec(events)?;
        let answer = self.post("application/cloudevents-batch+json", body).await?;
        rows(&answer, "accepted")
    }

    /// All entries of `GET /v1/messages` with this filter, e.g. `type=payment.received.v1`.
    pub async fn messages(&self, filter: &str) -> anyhow::Result<Vec<Value>> {
        let mut messages = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/messages?limit={PAGE}&{filter}{after}");
            let page = self.get(&path).await?;
            messages.extend(rows(&page, "messages")?);
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(messages),
            }
        }
    }

    /// `GET /v1/messages/{seq}`: one message with its deliveries and calls.
    pub async fn message(&self, seq: &str) -> anyhow::Result<Value> {
        self.get(&format!("/v1/messages/{seq}")).await
    }

    /// The newest entries of `GET /v1/intakes` with this filter, e.g. `system=bank`.
    pub async fn intakes(&self, filter: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.get(&format!("/v1/intakes?limit={PAGE}&{filter}")).await?;
        rows(&answer, "intakes")
    }

    async fn post(&self, content_type: &str, body: Vec<u8>) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}/v1/messages", self.url));
        let request = request.bearer_auth(&self.publish_key).header("content-type", content_type);
        answer(request.body(body), "POST /v1/messages").await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.read_key);
        answer(request, &format!("GET {path}")).await
    }
}

async fn answer(request: RequestBuilder, what: &str) -> anyhow::Result<Value> {
    let response = request.send().await.with_context(|| format!("{what}: no answer"))?;
    let status = response.status();
    let body = response.text().await.with_context(|| format!("{what}: no whole answer"))?;
    if !status.is_success() {
        bail!("{what}: {status}: {body}");
    }
    serde_json::from_str(&body).with_context(|| format!("{what}: not JSON: {body}"))
}

fn rows(answer: &Value, field: &str) -> anyhow::Result<Vec<Value>> {
    let rows = answer.get(field).and_then(Value::as_array);
    rows.cloned().with_context(|| format!("no {field} in {answer}"))
}

/// Puts a file into a watched folder as a whole: written beside it, then renamed.
pub fn drop_file(folder: &Path, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
    let place = folder.join(name);
    let written = folder.with_extension(format!("part-{name}"));
    std::fs::write(&written, content).with_context(|| written.display().to_string())?;
    std::fs::rename(&written, &place).with_context(|| place.display().to_string())?;
    Ok(place)
}

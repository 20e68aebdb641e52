//! Calls of the hub's REST interface, and what a terminal sees of their answers.

use super::HubArgs;
use crate::tls::client_config;
use anyhow::{Context, bail};
use busbar_core::visible;
use secrecy::SecretString;
use serde_json::Value;
use std::borrow::Cow;
use std::path::PathBuf;

pub fn show_intake(intake: &Value, json: bool) {
    if json {
        println!("{intake}");
        return;
    }
    println!(
        "{}  {:<8} {:<12} {:<9} {} ({} messages)",
        word(intake, "at"),
        word(intake, "kind"),
        word(intake, "system"),
        word(intake, "outcome"),
        word(intake, "name"),
        intake["messages"]
    );
    if let Some(detail) = spoken(&intake["error"]["detail"]) {
        println!("          {}: {detail} at {}", word(&intake["error"], "code"), word(&intake["error"], "place"));
    }
    if let Some(last) = intake["last-at"].as_str() {
        println!("          {} times, last at {last}", intake["times"]);
    }
}

/// For one hub: whose certificate is taken, and which one is shown.
pub fn client(hub: &HubArgs) -> anyhow::Result<reqwest::Client> {
    let read = |file: &PathBuf| std::fs::read_to_string(file).with_context(|| file.display().to_string());
    let key = hub.certificate_key.as_ref().map(read).transpose()?.map(SecretString::from);
    let own = hub.certificate.as_deref().map(|certificate| (certificate, key.as_ref()));
    let config = client_config(hub.ca.as_deref(), own)?;
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config).build()?)
}

pub fn url(base: &str, query: &[(&str, Option<String>)]) -> anyhow::Result<url::Url> {
    let mut url = url::Url::parse(base)?;
    for (name, value) in query {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Ok(url)
}

pub async fn call(request: reqwest::RequestBuilder, hub: &HubArgs) -> anyhow::Result<Value> {
    match call_text(request, hub).await? {
        text if text.is_empty() => Ok(Value::Null),
        text => serde_json::from_str(&text).with_context(|| format!("{} answered without JSON", hub.url)),
    }
}

/// The same for an answer that is no JSON.
pub async fn call_text(request: reqwest::RequestBuilder, hub: &HubArgs) -> anyhow::Result<String> {
    let request = match &hub.key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let response = request.send().await.with_context(|| format!("no hub at {}; is it running? see --url", hub.url))?;
    let status = response.status();
    let text = response.text().await.with_context(|| format!("the answer of {} was cut off", hub.url))?;
    if status.is_success() {
        return Ok(text);
    }
    let body: Value =
        serde_json::from_str(&text).with_context(|| format!("{} answered {status} without JSON", hub.url))?;
    let place = spoken(&body["place"]).map(|p| format!(" at {p}")).unwrap_or_default();
    bail!("{} ({}){place}\nremedy: {}", word(&body, "detail"), word(&body, "code"), word(&body, "remedy"));
}

/// A text as a terminal may see it.
pub fn spoken(value: &Value) -> Option<Cow<'_, str>> {
    value.as_str().map(visible)
}

pub fn word<'a>(value: &'a Value, name: &str) -> Cow<'a, str> {
    spoken(&value[name]).unwrap_or_else(|| "-".into())
}

pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

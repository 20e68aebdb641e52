//! `messages entries`: what was not taken with the rest of its input, and what to do about it.

use super::HubArgs;
use super::rest::{call, client, list, show_intake, url, word};
use serde_json::{Value, json};

pub struct Asked {
    pub system: Option<String>,
    pub accept: Vec<String>,
    pub dismiss: Vec<String>,
}

/// Decides about those that are named; else lists those that wait for a person.
pub async fn entries(asked: Asked, base: &str, hub: &HubArgs, json: bool) -> anyhow::Result<()> {
    let http = client(hub)?;
    let named = asked.accept.iter().map(|id| (id, "accept")).chain(asked.dismiss.iter().map(|id| (id, "dismiss")));
    let mut decided = 0;
    for (id, act) in named {
        let answer = call(http.post(format!("{base}/v1/intakes/{id}/{act}")), hub).await?;
        decided += 1;
        match (json, answer["id"].as_str()) {
            (true, message) => println!("{}", json!({ "entry": id, "act": act, "message": message })),
            (false, Some(message)) => println!("{id}: stated as {message}"),
            (false, None) => println!("{id}: dismissed"),
        }
    }
    if decided > 0 {
        return Ok(());
    }
    for outcome in ["differing", "left-out"] {
        let query = [
            ("system", asked.system.clone()),
            ("outcome", Some(outcome.to_string())),
            ("limit", Some("500".to_string())),
        ];
        let answer = call(http.get(url(&format!("{base}/v1/intakes"), &query)?), hub).await?;
        for entry in list(&answer, "intakes") {
            show_intake(entry, json);
            if !json {
                println!("          id {}{}", word(entry, "id"), stated(entry));
            }
        }
    }
    Ok(())
}

fn stated(entry: &Value) -> String {
    match &entry["event"] {
        Value::Null => String::new(),
        event => format!(", states {}", event["data"]),
    }
}

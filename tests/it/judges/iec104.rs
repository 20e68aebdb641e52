//! IEC 60870-5-104 by lib60870 (Python's c104): a station tells generated sequences, which it encodes itself, over a link that is
//! cut and a hub that is killed; what is stated is what the README says must be.

mod rules;
mod scene;

use super::relay::Relay;
use super::{Dice, Judge, report};
use crate::hub::{Hub, wait_for};
use crate::peers::{Peer, data, is_ready, ready, stated};
use scene::Scene;
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const STEPS: usize = 60;
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_station_tells_is_stated_as_the_readme_says() {
    let mut dice = Dice::thrown("iec104");
    let begun = OffsetDateTime::now_utc().unix_timestamp() * 1000;
    let port = crate::servers::free_port();
    let k = dice.of(&[2_u16, 3, 12, 40]);
    let judge = |points: Value, shown: Value| {
        let arguments = [port.to_string(), k.to_string(), points.to_string(), shown.to_string()];
        let [port, k, points, shown] = arguments.each_ref().map(String::as_str);
        // The library writes the machine's local time in UTC.
        let command = Judge::Python.command(&["iec104", port, k, points, shown]);
        command.map(|mut command| Peer::start(command.env("TZ", "UTC")))
    };
    let Some(mut scene) = Scene::new(dice, begun, judge) else { return };
    let relay = Relay::to(port).await;
    let mut hub = Hub::start(&scene.toml(relay.port, (k * 2 / 3).max(1)));
    ready(&hub, "scada").await;
    scene.interrogated();
    for round in 0..ROUNDS {
        (0..STEPS).for_each(|_| scene.step());
        scene.burst();
        scene.sentinel();
        all_stated(&hub, &scene).await;
        if round + 1 == ROUNDS {
            break;
        }
        relay.cut();
        let buffered = scene.behind_the_back();
        match round {
            1 => hub.restart(),
            _ => wait_for("a link that is down", async || (!is_ready(&hub, "scada").await).then_some(())).await,
        }
        relay.mend();
        ready(&hub, "scada").await;
        scene.interrogated();
        scene.flushed(buffered);
    }
    let ended = OffsetDateTime::now_utc().unix_timestamp() * 1000 + 1000;
    let mut differences = compared(&hub, &scene, (begun, ended)).await;
    let readings = stated(&hub, "meter.reading.taken.v1", scene.readings.len()).await;
    for reading in &readings {
        let data = data(&hub, reading).await;
        let at = OffsetDateTime::parse(data["takenAt"].as_str().unwrap(), &Rfc3339).unwrap().unix_timestamp();
        let value: f64 = data["registers"][0]["value"].as_str().unwrap().parse().unwrap();
        let fact = (data["meteringPoint"].as_str().unwrap().to_string(), at, (value * 100.0).round() as i64);
        if !scene.readings.remove(&fact) {
            differences.push(format!("no such reading was told, or it came twice: {data}"));
        }
    }
    differences.extend(scene.readings.iter().map(|reading| format!("a reading is missing: {reading:?}")));
    let is_taken = |intake: &Value| ["accepted", "repeated"].map(Value::from).contains(&intake["outcome"]);
    let refused = hub.intakes("system=scada").await.into_iter().filter(|intake| !is_taken(intake));
    differences.extend(refused.map(|intake| format!("refused: {intake}")));
    differences.truncate(10);
    let statements: usize = scene.expected.values().map(Vec::len).sum();
    assert!(statements > 80 && !readings.is_empty(), "{statements} statements, {} readings", readings.len());
    report("IEC 60870-5-104, a station's telegrams", "PyPI c104 2.2.1 (lib60870)", scene.told, &differences);
}

/// The last that was told is always stated: then all before it are.
async fn all_stated(hub: &Hub, scene: &Scene) {
    let count = scene.sentinels;
    wait_for("the last statement", async || {
        let found = hub.messages("type=outage.changed.v1").await;
        let of_it = |message: &&Value| message["subject"].as_str().unwrap().starts_with(&scene.sentinel_prefix());
        (found.iter().filter(of_it).count() >= count).then_some(())
    })
    .await;
}

async fn compared(hub: &Hub, scene: &Scene, run: (i64, i64)) -> Vec<String> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for message in stated(hub, "outage.changed.v1", 1).await {
        let data = data(hub, &message).await;
        let name = data["equipment"][0]["id"].as_str().unwrap().to_string();
        found.entry(name.clone()).or_default().push(line(&name, &data, run));
    }
    let names = found.keys().chain(scene.expected.keys()).collect::<std::collections::BTreeSet<_>>();
    let lists = |name: &String| (found.get(name).cloned(), scene.expected.get(name).cloned());
    let differ = names.into_iter().map(lists).filter(|(found, expected)| found != expected);
    differ
        .map(|(found, expected)| {
            let (found, expected) = (found.unwrap_or_default(), expected.unwrap_or_default());
            let at = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
            format!("statement {at}: found {:?}, by the README {:?}", found.get(at), expected.get(at))
        })
        .collect()
}

/// As `rules` writes it: the time of the run is `now`.
fn line(name: &str, data: &Value, (begun, ended): (i64, i64)) -> String {
    let is_now = |ms: i64| (begun - 1000..=ended).contains(&ms);
    let at = |field: &str| match data[field].as_str() {
        None => "-".to_string(),
        Some(text) => {
            let ms = OffsetDateTime::parse(text, &Rfc3339).unwrap().unix_timestamp() * 1000;
            if is_now(ms) { rules::NOW.to_string() } else { text.to_string() }
        }
    };
    let id: i64 = data["id"].as_str().unwrap().strip_prefix(&format!("{name}-")).unwrap_or("0").parse().unwrap();
    let id = if is_now(id) { rules::NOW.to_string() } else { id.to_string() };
    let (status, kind) = (data["status"].as_str().unwrap(), data["kind"].as_str().unwrap());
    let (started, restored, changed) = (at("startedAt"), at("restoredAt"), at("changedAt"));
    format!("{name} {id} {status} {} {kind} {started} {restored} {changed}", data["revision"])
}

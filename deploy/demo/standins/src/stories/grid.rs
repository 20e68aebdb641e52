//! A breaker opens in SCADA; whoever is without supply is told, and the CRM knows that they were.

use super::Stage;
use crate::demo::{Options, local, paint, taken};
use busbar_standins::desk::Desk;
use busbar_standins::{asterisk, crm, scada, sms_centre};
use serde_json::{Value, json};
use std::path::Path;

// The same as in deploy/grid-company/busbar.toml.
const HUB_PORT: u16 = 18180;
const CRM_PORT: u16 = 18181;
const SCADA_PORT: u16 = 18182;
const SMS_PORT: u16 = 18183;
const CALLS_PORT: u16 = 18184;
const OTHERS: [u16; 3] = [18190, 18191, 18192];
const STATION: u16 = 128;
const BREAKER: u32 = 14000;
const SECRETS: [(&str, &str); 6] = [
    ("SMS_PASSWORD", "sms-word"),
    ("CALLS_SECRET", "calls-word"),
    ("METERING_TOKEN", "meters-word"),
    ("CONNECTION_TOKEN", "connection-word"),
    ("KNOWLEDGE_KEY", "knowledge-word"),
    ("REPORTING_TOKEN", "reporting-word"),
];

/// Everybody whom the story passes.
struct Cast {
    crm: crm::Crm,
    station: scada::Scada,
    centre: sms_centre::SmsCentre,
    telephony: asterisk::Asterisk,
    /// Connection requests, knowledge base, reporting: they are asked, and have nothing new.
    _others: Vec<Desk>,
}

async fn cast() -> anyhow::Result<Cast> {
    let crm = crm::start_knowing(local(CRM_PORT), knows).await.map_err(|e| taken(CRM_PORT, "the CRM", e))?;
    let station = scada::start(local(SCADA_PORT), STATION, &[BREAKER, BREAKER + 1]).await;
    let station = station.map_err(|e| taken(SCADA_PORT, "SCADA", e))?;
    let centre = sms_centre::start(local(SMS_PORT), "sms-word").await;
    let centre = centre.map_err(|e| taken(SMS_PORT, "the SMS centre", e))?;
    let telephony = asterisk::start(local(CALLS_PORT), "busbar", "calls-word").await;
    let telephony = telephony.map_err(|e| taken(CALLS_PORT, "Asterisk", e))?;
    let _others = super::quiet(&OTHERS).await?;
    Ok(Cast { crm, station, centre, telephony, _others })
}

pub async fn play(options: &Options, log: &Path) -> anyhow::Result<usize> {
    let cast = cast().await?;
    paint::title("A network operator: a breaker opens");
    let mut stage = Stage::open(options, HUB_PORT, &SECRETS, log).await?;
    let Cast { crm, station, centre, telephony, .. } = &cast;
    stage
        .step("the hub has interrogated SCADA: every switch is closed", async || {
            station.is_connected().then(String::new)
        })
        .await?;
    // The interrogation's answers are on their way.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    station.switch(BREAKER, false);
    paint::row("", "ТП-7, яч. 3 opens in SCADA (M_SP_TB_1 over IEC 60870-5-104)");
    stage.step("the CRM has the outage", async || outage(crm, "started")).await?;
    stage
        .step("the CRM was asked whom it concerns", async || {
            crm.ledger()
                .of("outage.affected.lookup.v1")
                .next()
                .map(|asked| format!("metering points {}", asked.data["affected"]["meteringPoints"]))
        })
        .await?;
    stage
        .step("the SMS centre was given the messages (SMPP)", async || {
            let taken = centre.taken();
            (taken.len() >= 2)
                .then(|| taken.iter().map(|sms| format!("{}: {}", sms.to, sms.text)).collect::<Vec<_>>().join("; "))
        })
        .await?;
    stage
        .step("Asterisk was told to call who wants to be called (AMI)", async || {
            let calls = telephony.originated();
            calls.first().map(|call| {
                format!(
                    "{}, {}",
                    call["channel"],
                    call.get("context").or(call.get("application")).cloned().unwrap_or_default()
                )
            })
        })
        .await?;
    stage
        .step("the CRM has a receipt for each of them", async || {
            let ledger = crm.ledger();
            (ledger.count("notification.delivered.v1") >= 3).then(|| "3 of 3 delivered".to_owned())
        })
        .await?;
    closing(&mut stage, &cast).await?;
    stage.close().await
}

async fn closing(stage: &mut Stage, Cast { crm, station, centre, telephony, .. }: &Cast) -> anyhow::Result<()> {
    station.switch(BREAKER, true);
    paint::row("", "ТП-7, яч. 3 closes");
    stage.step("the CRM has that supply is back", async || outage(crm, "restored")).await?;
    stage
        .step("and everybody was told", async || {
            (crm.ledger().count("notification.delivered.v1") >= 6)
                .then(|| format!("{} messages and {} calls in all", centre.taken().len(), telephony.originated().len()))
        })
        .await?;
    call(telephony);
    paint::row("", "a customer calls the contact centre");
    stage
        .step("the CRM knows who calls, before anybody answers", async || {
            let ledger = crm.ledger();
            let started = ledger.of("call.started.v1").find(|call| call.data["direction"] == "inbound")?;
            Some(format!("{} is customer {}", started.data["caller"], started.data["customer"]))
        })
        .await?;
    Ok(())
}

fn outage(crm: &crm::Crm, status: &str) -> Option<String> {
    let ledger = crm.ledger();
    let told = ledger.of("outage.changed.v1").find(|event| event.data["status"] == status)?;
    Some(format!("{}, {} customers, {}", told.data["equipment"][0]["id"], told.data["affected"]["customers"], status))
}

/// What the CRM knows of its customers.
fn knows(event: &crm::Event) -> Option<(&'static str, Value)> {
    let contact = |account: &str, channel: &str, phone: &str| json!({ "account": account, "channel": channel, "recipient": { "phone": phone } });
    match event.kind.as_str() {
        "outage.affected.lookup.v1" => Some((
            "outage.affected.lookup.answer.v1",
            json!({ "outage": event.data["outage"], "contacts": [
                contact("500100200300", "sms", "+79005550117"),
                contact("500100200301", "sms", "+79005550118"),
                contact("500100200302", "call", "+79005550119"),
            ] }),
        )),
        "customer.by-phone.lookup.v1" => Some((
            "customer.by-phone.lookup.answer.v1",
            json!({ "phone": event.data["phone"], "found": true, "customers": [{ "customer": "C-20417", "name": "Озерная П. И." }] }),
        )),
        _ => None,
    }
}

fn call(telephony: &asterisk::Asterisk) {
    telephony.tell(&[
        ("Event", "Newchannel"),
        ("Channel", "PJSIP/trunk-00000042"),
        ("ChannelState", "4"),
        ("ChannelStateDesc", "Ring"),
        ("CallerIDNum", "89005550117"),
        ("CallerIDName", "<unknown>"),
        ("ConnectedLineNum", "<unknown>"),
        ("Context", "from-trunk"),
        ("Exten", "4950000"),
        ("Priority", "1"),
        ("Uniqueid", "1795350900.42"),
        ("Linkedid", "1795350900.42"),
    ]);
}

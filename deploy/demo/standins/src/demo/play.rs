//! Feeds the hub and waits until everything has arrived.

use super::checks::{self, COPY, Check};
use super::inputs::{self, BROKEN, INVOICE, STATEMENT};
use super::observed::{self, Exchanges, Observed};
use super::paint::Progress;
use super::story;
use anyhow::{Context, bail};
use busbar_standins::billing::Billing;
use busbar_standins::crm::Crm;
use busbar_standins::hub::{Hub, drop_file};
use busbar_standins::portal::Portal;
use busbar_standins::terminal::Terminal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long everything may take to arrive; it takes a second or two.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Everything that is running, and where the inputs are.
pub struct Scene {
    pub billing: Billing,
    pub crm: Crm,
    pub portal: Portal,
    pub hub: Hub,
    pub inputs: PathBuf,
    /// The bank's watched folder.
    pub inbox: PathBuf,
}

pub enum Verdict {
    Complete,
    Missing,
}

/// Feeds, waits, tells.
pub async fn play(scene: &Scene) -> anyhow::Result<Verdict> {
    let mut progress = Progress::new();
    progress.show("A statement and a broken one go into the bank's folder …");
    for name in [STATEMENT, BROKEN] {
        drop_input(scene, name, name)?;
    }
    progress.show("The CRM publishes an invoice …");
    let invoice = scene.inputs.join(INVOICE);
    let invoice = std::fs::read(&invoice).with_context(|| invoice.display().to_string())?;
    let accepted = scene.hub.publish(&serde_json::from_slice(&invoice)?).await?;
    progress.show("A payment terminal checks and pays …");
    let exchanges = visit_terminal(&scene.hub).await?;
    // The copy must come second to be one.
    wait_for_intake(scene, STATEMENT).await?;
    drop_input(scene, STATEMENT, COPY)?;

    let expected = inputs::expected();
    let start = Instant::now();
    let mut complete = false;
    let (seen, checks) = loop {
        let seen = observe(scene, exchanges.clone()).await?;
        let checks = checks::all(&seen, &expected);
        let held = checks.iter().filter(|check| check.holds()).count();
        // Twice in a row: something delivered once too often would come now.
        if (complete && held == checks.len()) || start.elapsed() > ARRIVAL_LIMIT {
            break (seen, checks);
        }
        complete = held == checks.len();
        progress.show(&format!("Waiting for what is under way: {held} of {} as expected", checks.len()));
        tokio::time::sleep(LOOK_EVERY).await;
    };
    progress.end();
    story::tell(scene, &seen, &expected, &accepted).await?;
    story::verdict(&checks, &seen);
    let complete = checks.iter().all(Check::holds);
    Ok(if complete { Verdict::Complete } else { Verdict::Missing })
}

fn drop_input(scene: &Scene, input: &str, name: &str) -> anyhow::Result<()> {
    let path = scene.inputs.join(input);
    let content = std::fs::read(&path).with_context(|| path.display().to_string())?;
    drop_file(&scene.inbox, name, &content)?;
    Ok(())
}

async fn visit_terminal(hub: &Hub) -> anyhow::Result<Exchanges> {
    let url = format!("{}/hooks/terminals/osmp", hub.url());
    let terminal = Terminal::new(&url, super::TERMINAL_USER, super::TERMINAL_PASSWORD)?;
    let (known, unknown) = (inputs::TERMINAL_ACCOUNT, inputs::UNKNOWN_ACCOUNT);
    let sum = inputs::TERMINAL_SUM;
    Ok(Exchanges {
        check: terminal.check("900000000101", known, sum).await?,
        check_unknown: terminal.check("900000000102", unknown, sum).await?,
        pay: terminal.pay("900000000101", "20261120143005", known, sum).await?,
        pay_again: terminal.pay("900000000101", "20261120143005", known, sum).await?,
        pay_unknown: terminal.pay("900000000103", "20261120143112", unknown, sum).await?,
    })
}

async fn wait_for_intake(scene: &Scene, name: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < ARRIVAL_LIMIT {
        let intakes = scene.hub.intakes("system=bank").await?;
        if intakes.iter().any(|intake| observed::text(intake, "/name") == name) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("the hub has not taken {name} after {} s", ARRIVAL_LIMIT.as_secs())
}

async fn observe(scene: &Scene, exchanges: Exchanges) -> anyhow::Result<Observed> {
    let (messages, intakes): (Vec<Value>, Vec<Value>) = observed::listings(&scene.hub).await?;
    Ok(Observed {
        exchanges,
        messages,
        intakes,
        billing: scene.billing.ledger(),
        crm: scene.crm.ledger(),
        portal: scene.portal.ledger(),
        done_files: names(&scene.inbox.join("done")),
        failed_files: names(&scene.inbox.join("failed")),
    })
}

/// File names in a folder; none while the folder does not exist.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

//! A customer pays at a terminal; billing, accounting and the portal know, and the receipt is there.

use super::Stage;
use crate::demo::{Options, local, paint, taken};
use busbar_standins::billing::{self, Account};
use busbar_standins::desk::{self, Asked};
use busbar_standins::terminal::Terminal;
use busbar_standins::{crm, portal};
use serde_json::{Value, json};
use std::path::Path;

// The same as in deploy/energy-retailer/busbar.toml.
const HUB_PORT: u16 = 18280;
const BILLING_PORT: u16 = 18281;
const ACCOUNTING_PORT: u16 = 18282;
const CRM_PORT: u16 = 18283;
const PORTAL_PORT: u16 = 18284;
const OTHERS: [u16; 4] = [18285, 18290, 18291, 18292];

const ACCOUNT: &str = "500100200300";
const PORTAL_SECRET: &str = "whsec_ZGVtby1wb3J0YWwtc2VjcmV0LWZvci1sb2NhbGhvc3Q=";
const SECRETS: [(&str, &str); 9] = [
    ("TERMINAL_LOGIN", "terminal:terminal-word"),
    ("BILLING_TOKEN", "billing-word"),
    ("ACCOUNTING_LOGIN", "busbar:accounting-word"),
    ("PORTAL_SECRET", PORTAL_SECRET),
    ("YOOKASSA_SHOP", "100500:test_key"),
    ("QUEUE_SECRET", "queue-word"),
    ("SALES_LOGIN", "busbar:sales-word"),
    ("KNOWLEDGE_KEY", "knowledge-word"),
    ("REPORTING_TOKEN", "reporting-word"),
];
const RECEIPT_KEY: &str = "5d1f0e6c-3a77-4f0e-9d25-b1c6d0e3a902";

/// Everybody whom the story passes.
struct Cast {
    billing: billing::Billing,
    accounting: desk::Desk,
    crm: crm::Crm,
    portal: portal::Portal,
    /// The payment gateway, sales, knowledge base, reporting: they are asked, and have nothing new.
    _others: Vec<desk::Desk>,
}

async fn cast() -> anyhow::Result<Cast> {
    let accounts = [(
        ACCOUNT.to_owned(),
        Account {
            holder: "Озерная П. И.".into(), address: "ул. Липовая, 4".into(), ..Account::default()
        },
    )];
    let setup =
        billing::Options { token: "billing-word".into(), accounts: Some(accounts.into()), ..Default::default() };
    let billing = billing::start(local(BILLING_PORT), setup).await.map_err(|e| taken(BILLING_PORT, "billing", e))?;
    let accounting = desk::start(local(ACCOUNTING_PORT), Box::new(one_c)).await;
    let accounting = accounting.map_err(|e| taken(ACCOUNTING_PORT, "accounting", e))?;
    let crm = crm::start(local(CRM_PORT)).await.map_err(|e| taken(CRM_PORT, "the CRM", e))?;
    let portal =
        portal::start(local(PORTAL_PORT), PORTAL_SECRET).await.map_err(|e| taken(PORTAL_PORT, "the portal", e))?;
    let _others = super::quiet(&OTHERS).await?;
    Ok(Cast { billing, accounting, crm, portal, _others })
}

pub async fn play(options: &Options, log: &Path) -> anyhow::Result<usize> {
    let cast = cast().await?;
    paint::title("An energy retailer: a customer pays at a terminal");
    let mut stage = Stage::open(options, HUB_PORT, &SECRETS, log).await?;
    let terminal =
        Terminal::new(&format!("http://127.0.0.1:{HUB_PORT}/hooks/terminals/osmp"), "terminal", "terminal-word")?;
    let checked = terminal.check("4001", ACCOUNT, "1250.00").await?;
    stage
        .step("the terminal is told that the account may be paid (OSMP check, billing answers)", async || {
            (checked.result == Some(0)).then(|| checked.comment.clone().unwrap_or_default())
        })
        .await?;
    let paid = terminal.pay("4001", "20261122143000", ACCOUNT, "1250.00").await?;
    stage
        .step("the payment is taken", async || {
            (paid.result == Some(0)).then(|| format!("receipt {}", paid.prv_txn.clone().unwrap_or_default()))
        })
        .await?;
    let again = terminal.pay("4001", "20261122143000", ACCOUNT, "1250.00").await?;
    stage
        .step("the terminal asks again, and gets the same answer", async || {
            (again.prv_txn == paid.prv_txn).then(String::new)
        })
        .await?;
    arriving(&mut stage, &cast).await?;
    stage.close().await
}

async fn arriving(stage: &mut Stage, Cast { billing, accounting, crm, portal, .. }: &Cast) -> anyhow::Result<()> {
    stage
        .step("billing has it once", async || {
            let ledger = billing.ledger();
            let entries = ledger.effects.len();
            (entries == 1).then(|| format!("{entries} entry on {ACCOUNT}"))
        })
        .await?;
    stage
        .step("1C has a document, posted", async || {
            let asked = accounting.asked();
            let made = asked.iter().find(|a| a.method == "POST" && a.path.contains("Document_ОплатаОтПотребителя"))?;
            asked.iter().any(|a| a.path.contains("/Post")).then(|| made.body.to_string())
        })
        .await?;
    stage
        .step("its receipt is on the customer's page in the portal", async || {
            let ledger = portal.ledger();
            let shown = ledger.webhooks.iter().find(|w| w.body["type"] == "document.issued.v1")?;
            Some(format!("{} {}", shown.body["data"]["title"], shown.body["data"]["amount"]))
        })
        .await?;
    stage
        .step("the CRM has the payment and the receipt", async || {
            let ledger = crm.ledger();
            (ledger.count("payment.received.v1") == 1 && ledger.count("document.issued.v1") == 1).then(String::new)
        })
        .await?;
    Ok(())
}

/// 1C with one account, which makes a receipt for each payment that was posted.
fn one_c(asked: &Asked, before: &[Asked]) -> (u16, Value) {
    let posted = before.iter().any(|a| a.method == "POST" && a.path.contains("/Post"));
    let made = before
        .iter()
        .find(|a| a.method == "POST" && a.path.contains("Document_ОплатаОтПотребителя") && !a.path.contains("/Post"));
    match asked.method.as_str() {
        "GET" if asked.path.contains("Catalog_ЛицевыеСчета") => {
            (200, json!({ "value": [{ "Ref_Key": "0f3c5a52-1b1e-4a6e-8c53-64f3a8c1d001", "Code": ACCOUNT }] }))
        }
        "GET" if asked.path.contains("Document_ЧекККМ") && posted => {
            let sum = made.map_or(Value::Null, |made| made.body["СуммаДокумента"].clone());
            let receipt = json!({
                "Ref_Key": RECEIPT_KEY, "Number": "000000117", "Date": "2026-11-22T14:30:05", "ЛицевойСчет": ACCOUNT, "СуммаДокумента": sum,
            });
            let skipped = asked.path.contains("$skip=") && !asked.path.contains("$skip=0");
            (200, json!({ "value": if skipped { json!([]) } else { json!([receipt]) } }))
        }
        "GET" if asked.path.contains("(guid'") => match made {
            Some(made) => (200, with(&made.body, "Posted", posted.into())),
            None => {
                (404, json!({ "odata.error": { "code": "9", "message": { "value": "Экземпляр сущности не найден" } } }))
            }
        },
        "GET" => (200, json!({ "value": [] })),
        "POST" if asked.path.contains("/Post") => (200, Value::Null),
        _ => (201, asked.body.clone()),
    }
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[name] = value;
    object
}

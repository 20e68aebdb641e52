//! `busbar bench journal`: whether search and trace take the same time however many messages there are.

use super::{SqlStore, unavailable};
use busbar_core::ports::Store;
use busbar_core::*;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use std::sync::Arc;
use std::time::Instant;

type Result<T> = std::result::Result<T, Problem>;

const BATCH: usize = 256;
/// Of how many runs the median is taken.
const RUNS: usize = 31;
const ACCOUNTS: usize = 5_000;
const AT_MS: i64 = 1_790_000_000_000;
/// Milliseconds from one message that comes in to the next.
const EVERY_MS: i64 = 20;
/// Of so many that come in one has a delivery that fails for good,
const FAILS_EACH: usize = 10;
/// for one of so many causes.
const CAUSES: usize = 12;

/// Fills one journal beside `url` for each of `sizes` messages (SQLite: `<url>.<size>`, PostgreSQL: the schema
/// `bench_<size>`; they must be empty) and times searches of 50 messages and traces in all of them by turns, so that
/// whatever else the machine does slows all of them alike. Returns `{"sizes", "runs", "times": [{"name", "ms", "ratio"}],
/// "ratio-max"}`: medians in milliseconds by size, and the last one's ratio to the first one's.
///
/// # Errors
/// `rejected` when a journal is not empty; `store-unavailable`.
pub async fn journal(url: &str, sizes: &[usize]) -> Result<Value> {
    let mut stores = Vec::new();
    for size in sizes {
        let store = SqlStore::open(&beside(url, *size).await?).await?;
        if !store.messages(&MessageFilter { limit: 1, ..MessageFilter::default() }).await?.is_empty() {
            return Err(Problem::new(Code::Rejected, "the journal is not empty; measure in a new one"));
        }
        let began = Instant::now();
        Fill::default().to(&store, *size).await?;
        tracing::info!(messages = size, seconds = began.elapsed().as_secs_f64(), "a journal is filled");
        stores.push(store);
    }
    let mut times = Vec::new();
    let mut ratio_max: f64 = 0.0;
    for (name, task) in tasks() {
        let ms = measure(&stores, &task).await?;
        let ratio = ms.last().copied().unwrap_or_default() / ms.first().copied().unwrap_or_default().max(1e-6);
        ratio_max = ratio_max.max(ratio);
        times.push(json!({"name": name, "ms": ms, "ratio": ratio}));
    }
    for store in stores {
        store.close().await;
    }
    Ok(json!({"sizes": sizes, "runs": RUNS, "times": times, "ratio-max": ratio_max}))
}

/// The URL of the journal for one size.
async fn beside(url: &str, size: usize) -> Result<String> {
    if url.starts_with("sqlite:") {
        return Ok(format!("{url}.{size}"));
    }
    let mut connection = sqlx::PgConnection::connect(url).await.map_err(unavailable)?;
    let sql = format!("CREATE SCHEMA IF NOT EXISTS bench_{size}");
    connection.execute(sqlx::AssertSqlSafe(sql)).await.map_err(unavailable)?;
    connection.close().await.map_err(unavailable)?;
    let mut url = url::Url::parse(url).map_err(super::internal)?;
    url.query_pairs_mut().append_pair("options[search_path]", &format!("bench_{size}"));
    Ok(url.to_string())
}

/// What was written so far.
#[derive(Default)]
struct Fill {
    messages: usize,
    /// Deliveries of the last batch, to be marked done with the next.
    open: Vec<i64>,
}

impl Fill {
    async fn to(&mut self, store: &SqlStore, size: usize) -> Result<()> {
        while self.messages < size {
            let count = BATCH.min((size - self.messages).div_ceil(2));
            let done = self.open.drain(..).map(done);
            let first = self.messages / 2;
            let commits: Vec<_> = done.chain((first..first + count).map(relayed)).collect();
            for written in store.commit(commits).await? {
                let accepted = written.map_err(|refusal| super::internal(format!("{refusal:?}")))?;
                let ready = accepted.iter().flat_map(|a| &a.deliveries).filter(|d| d.state == DeliveryState::Ready);
                self.open.extend(ready.map(|d| d.id));
            }
            self.messages += 2 * count;
        }
        Ok(())
    }
}

fn done(delivery: i64) -> Commit {
    let state = DeliveryState::Done;
    let at_ms = AT_MS;
    let attempted =
        Attempted { delivery, expected: 0, state, attempts: 1, tries: 1, next_at_ms: 0, error: None, at_ms };
    Commit { attempted: Some(attempted), ..Commit::default() }
}

/// A payment that an adapter turned into a receipt, to be published.
fn relayed(n: usize) -> Commit {
    let key = Some(account(n));
    let out = Planned { system: "portal".into(), key: key.clone(), ..Planned::default() };
    let made = Made { messages: vec![new("receipt.issued.v1", "/bench/till", n, out)], calls: vec![] };
    let planned = Planned { system: "till".into(), key, made: Some(made), ..Planned::default() };
    let mut new = new("payment.received.v1", "/bench/bank", n, planned);
    if n.is_multiple_of(FAILS_EACH) {
        let place = Some(format!("/lines/{n}"));
        let code = format!("cause-{}", n / FAILS_EACH % CAUSES);
        let error = Some(ErrorRecord { code, place, by_adapter: true, ..ErrorRecord::default() });
        new.deliveries.push(Planned { system: "billing".into(), error, ..Planned::default() });
    }
    Commit { messages: vec![new], at_ms: at_ms(n), ..Commit::default() }
}

fn at_ms(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(0).saturating_mul(EVERY_MS).saturating_add(AT_MS)
}

fn account(n: usize) -> String {
    format!("ACC-{:05}", n % ACCOUNTS)
}

fn new(r#type: &str, source: &str, n: usize, planned: Planned) -> NewMessage {
    let message = Message {
        id: format!("{n:012}"),
        source: source.into(),
        r#type: r#type.into(),
        subject: Some(account(n)),
        time: Some("2026-11-22T10:00:00+05:00".into()),
        dataschema: None,
        traceparent: None,
        partitionkey: None,
        correlationid: Some(format!("c-{n:012}")),
        causationid: None,
        extensions: Default::default(),
        data: json!({"account": account(n), "amount": "100.00", "currency": "RUB", "note": "x".repeat(900)}).into(),
    };
    let digest = format!("{type}{n}");
    let (deliveries, journal) = (vec![planned], Journal::Full);
    NewMessage { message: Arc::new(message), marks: digest.into(), deliveries, place: None, stated_by: None, journal }
}

fn searches() -> Vec<(&'static str, MessageFilter)> {
    let any = || MessageFilter { limit: 50, ..MessageFilter::default() };
    let text = |text: &str| Some(text.to_string());
    let few = || MessageFilter { limit: 2, subject: Some(account(77)), ..any() };
    vec![
        ("newest", any()),
        ("by type", MessageFilter { r#type: text("payment.received.v1"), ..any() }),
        ("by source", MessageFilter { source: text("/bench/till"), ..any() }),
        ("by subject", few()),
        ("by id", MessageFilter { id: text("000000001234"), ..any() }),
        ("by system", MessageFilter { system: text("portal"), ..any() }),
        ("by system and state", MessageFilter { system: text("portal"), state: Some(DeliveryState::Done), ..any() }),
        ("by state: parked", MessageFilter { state: Some(DeliveryState::Parked), ..any() }),
        ("by state: done", MessageFilter { state: Some(DeliveryState::Done), ..any() }),
        (
            "by system and a type it never had",
            MessageFilter { system: text("portal"), r#type: text("payment.received.v1"), ..any() },
        ),
        (
            "by source and a type it never had",
            MessageFilter { source: text("/bench/till"), r#type: text("payment.received.v1"), ..any() },
        ),
        ("by subject and system", MessageFilter { system: text("portal"), ..few() }),
        // The smallest journal that is worth a measurement has a minute of messages.
        ("by a time", MessageFilter { since_ms: Some(AT_MS), until_ms: Some(AT_MS + 60_000), ..any() }),
        (
            "by a time and a system",
            MessageFilter {
                since_ms: Some(AT_MS),
                until_ms: Some(AT_MS + 60_000),
                system: text("portal"),
                r#type: text("receipt.issued.v1"),
                ..any()
            },
        ),
    ]
}

/// What is timed.
enum Task {
    Search(Box<MessageFilter>),
    /// The newest messages, one after another, with all that happened to them.
    Trace,
    /// A text that stands in no message of a minute.
    Text(Box<MessageFilter>),
    /// Why deliveries fail.
    Failures,
    /// Fifty deliveries that fail, for this cause or for any.
    Failing(Option<i64>),
}

fn failing(cause: Option<i64>) -> DeliveryFilter {
    DeliveryFilter { states: States::Failing, cause, limit: 50, ..DeliveryFilter::default() }
}

fn tasks() -> Vec<(&'static str, Task)> {
    let searches = searches().into_iter().map(|(name, filter)| (name, Task::Search(Box::new(filter))));
    let place = Some("/lines/0".to_string());
    let error = ErrorRecord { code: "cause-7".into(), place, by_adapter: true, ..ErrorRecord::default() };
    let cause = Cause::of("billing", "payment.received.v1", &error).id();
    let minute =
        MessageFilter { since_ms: Some(AT_MS), until_ms: Some(AT_MS + 60_000), limit: 50, ..MessageFilter::default() };
    let others = [
        ("trace", Task::Trace),
        ("a text, within a minute", Task::Text(Box::new(minute))),
        ("failures by cause", Task::Failures),
        ("failing", Task::Failing(None)),
        ("failing for one cause", Task::Failing(Some(cause))),
    ];
    searches.chain(others).collect()
}

/// Medians in milliseconds, by store.
async fn measure(stores: &[SqlStore], task: &Task) -> Result<Vec<f64>> {
    let mut times = vec![Vec::new(); stores.len()];
    for run in 0..RUNS {
        for (store, times) in stores.iter().zip(&mut times) {
            let seq = match task {
                Task::Search(_) | Task::Text(_) | Task::Failures | Task::Failing(_) => None,
                Task::Trace => {
                    let newest = MessageFilter { limit: 1 + run as u32, ..MessageFilter::default() };
                    store.messages(&newest).await?.last().map(|view| view.seq)
                }
            };
            let began = Instant::now();
            match task {
                Task::Search(filter) => drop(store.messages(filter).await?),
                Task::Trace => drop(store.message(seq.unwrap_or_default()).await?),
                Task::Text(filter) => drop(store.search(filter, "1234.50").await?),
                Task::Failures => drop(store.failures(&FailureFilter::default()).await?),
                Task::Failing(cause) => drop(store.deliveries(&failing(*cause)).await?),
            }
            times.push(began.elapsed());
        }
    }
    Ok(times.into_iter().map(median_ms).collect())
}

fn median_ms(mut times: Vec<std::time::Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

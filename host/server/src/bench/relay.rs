//! `bench relay`: messages of 1 KB from a queue through the hub and out to an exchange, against a bare relay with the
//! same broker, queue type, confirms and window.
//!
//! Both run as processes of their own, one after the other, in every round. The queue is filled first; what counts is
//! how fast the sink's queue grows between the first tenth and the last twentieth. Latency is measured afterwards, at
//! half of the rate that was reached, from the message's `time` to its arrival at the sink.

use super::memory;
use super::scale::Extra;
use crate::amqp::Topology;
use crate::ids::new_id;
use anyhow::Context;
use futures::StreamExt;
use futures::future::join_all;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::process::{Child, Command};

const STEP: Duration = Duration::from_millis(20);
const READY_MAX: Duration = Duration::from_secs(30);
const PREFETCH: u16 = 2_000;

/// What to measure.
pub struct RelayPlan {
    pub amqp: String,
    pub store: String,
    /// `full`, `envelope` or `none`.
    pub journal: String,
    pub adapters: PathBuf,
    pub schemas: PathBuf,
    pub messages: usize,
    pub rounds: usize,
    /// Zero: not measured.
    pub latency: Duration,
    pub extra: Extra,
}

/// One side in one round.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Side {
    pub per_second: f64,
    pub cpu_us_per_message: f64,
    pub peak_memory_mib: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Both sides in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    pub bare: Side,
    pub hub: Side,
    pub ratio: f64,
}

/// # Errors
/// When the broker, the hub or the bare relay fails.
pub async fn relay(plan: &RelayPlan, tell: impl Fn(&Round)) -> anyhow::Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let bare = side(plan, false).await.context("the bare relay")?;
        let hub = side(plan, true).await.context("the hub")?;
        let round = Round { ratio: hub.per_second / bare.per_second, bare, hub };
        tell(&round);
        rounds.push(round);
    }
    Ok(rounds)
}

pub(super) async fn side(plan: &RelayPlan, is_hub: bool) -> anyhow::Result<Side> {
    let bench = Rig::prepare(plan).await?;
    let result = bench.measure(plan, is_hub).await;
    bench.clear().await;
    result
}

struct Rig {
    prefix: String,
    sink: String,
    channel: Channel,
    _connection: Connection,
}

impl Rig {
    async fn prepare(plan: &RelayPlan) -> anyhow::Result<Self> {
        let prefix = format!("bench-{}", new_id());
        let connection =
            Connection::connect(&plan.amqp, ConnectionProperties::default()).await.context("the broker")?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let topology = Topology { prefix: prefix.clone(), ..Topology::default() };
        topology.declare(&connection).await?;
        let sink = format!("{prefix}.sink");
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(sink.as_str().into(), options, arguments).await?;
        let (out, any) = (topology.outgoing(), QueueBindOptions::default());
        channel.queue_bind(sink.as_str().into(), out.as_str().into(), "#".into(), any, FieldTable::default()).await?;
        Ok(Self { prefix, sink, channel, _connection: connection })
    }

    async fn measure(&self, plan: &RelayPlan, is_hub: bool) -> anyhow::Result<Side> {
        for from in (0..plan.messages).step_by(500) {
            self.publish(from..plan.messages.min(from + 500)).await?;
        }
        let folder = tempfile::tempdir()?;
        let mut process = if is_hub { self.hub(plan, folder.path())? } else { self.bare(plan)? };
        let result = self.throughput(plan, &process).await;
        let (per_second, cpu_us_per_message) = match result {
            Ok(found) => found,
            Err(error) => {
                let _ = process.kill().await;
                let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                return Err(error.context(log.chars().take(2_000).collect::<String>()));
            }
        };
        let (p50_ms, p99_ms) = match plan.latency.is_zero() {
            true => (0.0, 0.0),
            false => self.latency(plan, per_second / 2.0).await?,
        };
        let peak = process.id().map_or(0, |id| memory::bytes(&id.to_string(), "VmHWM"));
        process.kill().await?;
        Ok(Side { per_second, cpu_us_per_message, peak_memory_mib: peak as f64 / f64::from(1 << 20), p50_ms, p99_ms })
    }

    fn hub(&self, plan: &RelayPlan, folder: &Path) -> anyhow::Result<Child> {
        std::os::unix::fs::symlink(std::path::absolute(&plan.adapters)?, folder.join("adapters"))?;
        let (schemas, more) = plan.extra.prepare(&std::path::absolute(&plan.schemas)?, folder)?;
        let (schemas, prefix, journal) = (schemas.display().to_string(), &self.prefix, &plan.journal);
        let config = format!(
            "name = \"bench\"\nschemas = {schemas:?}\n[store]\nurl = {:?}\n[amqp]\nurl = {:?}\nprefix = \"{prefix}\"\nprefetch = {PREFETCH}\n\
             publishers = [{{ name = \"*\", sources = [\"*\"], types = [\"*\"] }}]\n\
             [systems.translate]\nadapter = \"translator\"\n[systems.translate.grants]\nemit = [\"payment.rejected.v1\"]\n\
             [systems.translate.config.translations.\"payment.received.v1\"]\ntype = \"payment.rejected.v1\"\n\
             data = {{ reason = {{ code = \"no-account\", text = \"measured\" }}, account = \"/account\", amount = \"/amount\", channel = \"/channel\", paidOn = \"/paidOn\", purpose = \"/purpose\" }}\n\
             [systems.sink]\nvia = \"amqp\"\n\
             [[routes]]\ntypes = [\"payment.received.v1\"]\nto = [\"translate\"]\njournal = \"{journal}\"\n\
             [[routes]]\ntypes = [\"payment.rejected.v1\"]\nto = [\"sink\"]\njournal = \"{journal}\"\n{more}",
            plan.store, plan.amqp
        );
        std::fs::write(folder.join("busbar.toml"), config)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg(folder).args(["--listen", "127.0.0.1:0"]);
        start(command, &folder.join("log"))
    }

    fn bare(&self, plan: &RelayPlan) -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "bare", "--amqp", &plan.amqp, "--prefix", &self.prefix]);
        command.args(["--prefetch", &PREFETCH.to_string()]);
        start(command, Path::new("/dev/null"))
    }

    async fn publish(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let exchange = format!("{}.in", self.prefix);
        let body = data().to_string();
        let sending = numbers.map(|number| {
            let properties = properties(&self.prefix, number);
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let (channel, exchange, body) = (&self.channel, exchange.as_str(), body.as_bytes());
            async move {
                let key = "payment.received.v1".into();
                channel.basic_publish(exchange.into(), key, options, body, properties).await?.await
            }
        });
        for confirmed in join_all(sending).await {
            anyhow::ensure!(confirmed?.is_ack(), "the broker did not take a message");
        }
        Ok(())
    }

    async fn waiting(&self) -> anyhow::Result<usize> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(self.sink.as_str().into(), passive, FieldTable::default()).await?;
        Ok(usize::try_from(queue.message_count())?)
    }

    /// Messages a second, and the process's microseconds of CPU for each.
    async fn throughput(&self, plan: &RelayPlan, process: &Child) -> anyhow::Result<(f64, f64)> {
        let id = process.id().context("it ended")?.to_string();
        let (first, last) = (plan.messages / 10, plan.messages * 19 / 20);
        let mut began = None;
        let started = Instant::now();
        loop {
            let (count, now, cpu) = (self.waiting().await?, Instant::now(), memory::processor_of(&id));
            match began {
                None if count >= first => began = Some((count, now, cpu)),
                Some((from, at, used)) if count >= last => {
                    let done = (count - from) as f64;
                    let cpu_us = (cpu - used).as_secs_f64() * 1e6 / done;
                    return Ok((done / (now - at).as_secs_f64(), cpu_us));
                }
                _ => {}
            }
            let patience = READY_MAX + Duration::from_millis(plan.messages as u64 * 2);
            anyhow::ensure!(started.elapsed() < patience, "only {count} of {} came", plan.messages);
            tokio::time::sleep(STEP).await;
        }
    }

    /// Half and nearly all of the messages take at most so many milliseconds.
    async fn latency(&self, plan: &RelayPlan, per_second: f64) -> anyhow::Result<(f64, f64)> {
        while self.waiting().await? < plan.messages {
            tokio::time::sleep(STEP).await;
        }
        self.channel.queue_purge(self.sink.as_str().into(), QueuePurgeOptions::default()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let sink = self.sink.as_str().into();
        let mut consumer = self.channel.basic_consume(sink, "".into(), options, FieldTable::default()).await?;
        let step = Duration::from_millis(5);
        let together = (per_second * step.as_secs_f64()).max(1.0) as usize;
        let count = (per_second * plan.latency.as_secs_f64()) as usize / together * together;
        let sending = async {
            let mut ticks = tokio::time::interval(step);
            for from in (0..count).step_by(together) {
                ticks.tick().await;
                self.publish(plan.messages + from..plan.messages + from + together).await?;
            }
            anyhow::Ok(())
        };
        let taking = async {
            let mut times = Vec::with_capacity(count);
            while times.len() < count {
                let next = tokio::time::timeout(READY_MAX, consumer.next()).await.context("a message did not come")?;
                let message = next.context("the sink's consumer ended")??;
                times.push(age_ms(&message.properties).context("no time")?);
            }
            anyhow::Ok(times)
        };
        let (_, mut times) = tokio::try_join!(sending, taking)?;
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        Ok((at(0.5), at(0.99)))
    }

    async fn clear(&self) {
        let queues = [format!("{}.in", self.prefix), format!("{}.dead", self.prefix), self.sink.clone()];
        for queue in &queues {
            let _ = self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
        }
        for exchange in ["in", "out", "requests", "dead"].map(|name| format!("{}.{name}", self.prefix)) {
            let _ = self.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await;
        }
    }
}

fn start(mut command: Command, log: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    Ok(command.env("BUSBAR_LOG", "warn,lapin=error").spawn()?)
}

/// About 1 KB.
fn data() -> Value {
    json!({
        "account": "500100200300", "amount": { "value": "1487.60", "currency": "RUB" }, "channel": "bank-statement",
        "paidOn": "2026-11-20", "purpose": "Payment for electricity. ".repeat(34),
    })
}

/// Of a message that no other round has stated: the store may be the same.
fn properties(prefix: &str, number: usize) -> BasicProperties {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let account = format!("account-{}", number % 1_000);
    let id = format!("{prefix}-{number}");
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", id.as_str()),
        ("source", "/load/in"),
        ("type", "payment.received.v1"),
        ("subject", account.as_str()),
        ("partitionkey", account.as_str()),
        ("time", now.as_str()),
    ] {
        headers.insert(format!("cloudEvents:{name}").into(), AMQPValue::LongString(value.into()));
    }
    BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into()).with_headers(headers)
}

fn age_ms(properties: &BasicProperties) -> Option<f64> {
    let headers = properties.headers().as_ref()?;
    let AMQPValue::LongString(text) = headers.inner().get("cloudEvents:time")? else { return None };
    let sent = OffsetDateTime::parse(&text.to_string(), &Rfc3339).ok()?;
    Some((OffsetDateTime::now_utc() - sent).as_seconds_f64() * 1e3)
}

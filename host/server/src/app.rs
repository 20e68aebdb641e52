//! Wires all parts. The only place that knows every one of them.

use crate::amqp::{RabbitTransport, SystemQueue, Topology, run_intake};
use crate::config::model::Via as ViaKind;
use crate::config::{Deployment, System};
use crate::egress::Egress;
use crate::files::Watch;
use crate::hub::{
    Attempter, Committer, Dispatcher, Hub, HubEffects, Questions, SystemClock, SystemSecrets, Via, ViaAmqp, ViaHttp,
    WasmAdapters,
};
use crate::rest::{Api, Hook, Keys, serve};
use crate::store::SqlStore;
use crate::wasm::{Caller, Loaded, Runtime, SystemSpec};
use anyhow::Context;
use busbar_core::ports::{Adapters, Clock, Store, Transport};
use busbar_core::{Policy, Rules};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Deliveries running at once for a system without an adapter.
const VIA_AT_ONCE: usize = 64;

/// A hub at work.
pub struct Running {
    pub address: SocketAddr,
    api: Arc<Api>,
    intake: CancellationToken,
    delivery: CancellationToken,
    tasks: JoinSet<()>,
    deliveries: JoinSet<()>,
}

impl Running {
    /// Stops taking, lets what runs end, and returns; at most `within`.
    pub async fn stop(mut self, within: Duration) {
        self.api.stop();
        self.intake.cancel();
        self.delivery.cancel();
        let drain = async {
            while self.tasks.join_next().await.is_some() {}
            while self.deliveries.join_next().await.is_some() {}
        };
        if tokio::time::timeout(within, drain).await.is_err() {
            tracing::warn!("not everything ended in time; it goes on after the next start");
        }
    }
}

/// The parts that everything else is built from.
struct Base {
    rules: Arc<Rules>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    questions: Arc<OnceLock<Arc<Questions>>>,
    transport: Option<Arc<dyn Transport>>,
    topology: Topology,
}

/// Starts a deployment.
///
/// # Errors
/// With what was being done, when a part cannot start.
pub async fn start(deployment: Deployment, metrics: Option<PrometheusHandle>) -> anyhow::Result<Running> {
    let (intake, delivery) = (CancellationToken::new(), CancellationToken::new());
    let listen = &deployment.config.http.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr()?;
    let store: Arc<dyn Store> = Arc::new(SqlStore::open(&store_url(&deployment)).await.context("opening the store")?);
    let topology = topology(&deployment);
    let transport = transport(&deployment, &topology).await?;
    let base = Base {
        rules: deployment.rules.clone(),
        store,
        clock: Arc::new(SystemClock),
        questions: Arc::new(OnceLock::new()),
        transport,
        topology,
    };
    let adapters: Arc<dyn Adapters> = Arc::new(adapters(&deployment, &base).await?);
    let via = Arc::new(via(&deployment, &base)?);
    let dispatcher =
        Arc::new(Dispatcher::new(deployment.systems.iter().map(|(name, system)| (name.clone(), at_once(system)))));
    let committer = Committer::start(base.store.clone(), dispatcher.clone());
    let questions = Arc::new(Questions {
        rules: base.rules.clone(),
        adapters: adapters.clone(),
        via: via.clone(),
        committer: committer.clone(),
        clock: base.clock.clone(),
    });
    let _ = base.questions.set(questions.clone());
    let attempter = Arc::new(Attempter {
        rules: base.rules.clone(),
        adapters: adapters.clone(),
        via,
        policies: policies(&deployment),
        store: base.store.clone(),
        committer: committer.clone(),
        clock: base.clock.clone(),
        stop: delivery.clone(),
    });
    let deliveries = dispatcher.start(&attempter, &base.store, &base.clock, &delivery);
    let hub = Arc::new(Hub {
        rules: base.rules.clone(),
        store: base.store.clone(),
        committer,
        adapters,
        questions,
        clock: base.clock.clone(),
        spool: deployment.folder.join("data/spool"),
    });
    let api = Arc::new(Api {
        hub: hub.clone(),
        keys: Keys(deployment.config.http.keys.clone()),
        hooks: hooks(&deployment),
        dispatcher,
        transport: base.transport.clone(),
        metrics,
        limits: deployment.config.http.clone(),
        stopping: AtomicBool::new(false),
    });
    let mut tasks = intakes(&deployment, &hub, base, &intake)?;
    tasks.spawn(serve(listener, api.clone(), intake.clone()));
    Ok(Running { address, api, intake, delivery, tasks, deliveries })
}

async fn transport(deployment: &Deployment, topology: &Topology) -> anyhow::Result<Option<Arc<dyn Transport>>> {
    let (Some(config), Some(url)) = (&deployment.config.amqp, deployment.amqp_url.clone()) else { return Ok(None) };
    // Answers and confirms must still come while deliveries drain: it ends with the process.
    let started = RabbitTransport::start(config, url, topology.clone(), CancellationToken::new()).await;
    Ok(Some(Arc::new(started.context("connecting to the broker")?)))
}

/// Everything that takes inputs by itself: the broker's queue and the folders.
fn intakes(
    deployment: &Deployment,
    hub: &Arc<Hub>,
    base: Base,
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    if let Some(transport) = base.transport {
        tasks.spawn(run_intake(hub.clone(), transport, base.topology, stop.clone()));
    }
    for (system, config) in
        deployment.systems.iter().filter_map(|(n, s)| s.config.folder.clone().map(|f| (n.clone(), f)))
    {
        let folder = deployment.folder.join(&config.path);
        let watch = Watch { hub: hub.clone(), system, folder, config, stop: stop.clone() };
        watch.prepare().with_context(|| format!("making {}", watch.folder.display()))?;
        tasks.spawn(watch.run());
    }
    Ok(tasks)
}

/// The store's URL; a relative SQLite file is in the deployment's folder.
pub fn store_url(deployment: &Deployment) -> String {
    let url = deployment.store_url.expose_secret();
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.starts_with('/') => format!("sqlite:{}", deployment.folder.join(path).display()),
        _ => url.to_string(),
    }
}

fn at_once(system: &System) -> usize {
    if system.adapter.is_some() { system.config.limits.concurrency } else { VIA_AT_ONCE }
}

fn policies(deployment: &Deployment) -> BTreeMap<String, Policy> {
    let policy = |system: &System| Policy {
        attempts_max: system.config.policy.attempts,
        backoff_first_ms: system.config.policy.backoff_first_ms,
        backoff_max_ms: system.config.policy.backoff_max_ms,
    };
    deployment.systems.iter().map(|(name, system)| (name.clone(), policy(system))).collect()
}

fn topology(deployment: &Deployment) -> Topology {
    let catalog = &deployment.rules.catalog;
    let queue = |(name, system): (&String, &System)| {
        let types =
            deployment.rules.routes.iter().filter(|r| r.to.contains(name)).flat_map(|r| r.types.iter().cloned());
        let (questions, messages) = types.partition(|t| catalog.answer_type(t).is_some());
        Some(SystemQueue { queue: system.config.queue.clone()?, messages, questions })
    };
    let prefix = deployment.config.amqp.as_ref().map_or_else(|| "busbar".into(), |a| a.prefix.clone());
    Topology { prefix, queues: deployment.systems.iter().filter_map(queue).collect() }
}

async fn adapters(deployment: &Deployment, base: &Base) -> anyhow::Result<WasmAdapters> {
    let cache = deployment.folder.join("data/compiled");
    let runtime = Arc::new(Runtime::new(Some(cache)).context("starting the wasm runtime")?);
    let mut loaded: HashMap<String, Arc<Loaded>> = HashMap::new();
    let mut adapters = WasmAdapters::default();
    for (name, system) in &deployment.systems {
        let (Some(adapter), Some(file)) = (&system.config.adapter, &system.adapter) else { continue };
        let ready = match loaded.get(adapter) {
            Some(ready) => ready.clone(),
            None => {
                let (runtime, wasm) = (runtime.clone(), file.wasm.clone());
                let work = tokio::task::spawn_blocking(move || Loaded::load(&runtime, &wasm));
                let ready = Arc::new(work.await?.with_context(|| format!("loading adapter `{adapter}`"))?);
                loaded.insert(adapter.clone(), ready.clone());
                ready
            }
        };
        let limits = &system.config.limits;
        let effects = HubEffects {
            system: name.clone(),
            secrets: secrets(system),
            egress: Egress::new(
                system.config.grants.private_addresses.clone(),
                limits.body_bytes,
                limits.header_bytes,
            )?,
            store: base.store.clone(),
            clock: base.clock.clone(),
            questions: base.questions.clone(),
        };
        let spec = SystemSpec {
            name: name.clone(),
            source: format!("/{}/{name}", deployment.config.name),
            config: serde_json::Value::Object(system.config.config.clone()).to_string(),
            grants: system.config.grants.clone(),
            limits: limits.clone(),
            rules: base.rules.clone(),
        };
        let caller =
            Caller { runtime: runtime.clone(), loaded: ready, system: Arc::new(spec), effects: Arc::new(effects) };
        adapters.add(name.clone(), caller);
    }
    Ok(adapters)
}

fn secrets(system: &System) -> SystemSecrets {
    let copy = |(name, secret): (&String, &SecretString)| (name.clone(), secret.clone());
    SystemSecrets(system.secrets.iter().map(copy).collect())
}

fn via(deployment: &Deployment, base: &Base) -> anyhow::Result<BTreeMap<String, Via>> {
    let mut all = BTreeMap::new();
    for (name, system) in &deployment.systems {
        let via = match system.config.via {
            Some(ViaKind::Http) => {
                let url = system.config.url.clone().unwrap_or_default();
                // The operator wrote this very address down: it may be a private one.
                let host = url::Url::parse(&url).ok().and_then(|u| u.host_str().map(str::to_string));
                let limits = &system.config.limits;
                Via::Http(Box::new(ViaHttp {
                    url,
                    bearer: system.config.bearer.clone(),
                    secrets: secrets(system),
                    egress: Egress::new(host.into_iter().collect(), limits.body_bytes, limits.header_bytes)?,
                    timeout_ms: limits.http_timeout_ms,
                    clock: base.clock.clone(),
                }))
            }
            Some(ViaKind::Amqp) => Via::Amqp(ViaAmqp {
                transport: base.transport.clone(),
                out: base.topology.outgoing(),
                requests: base.topology.requests(),
                clock: base.clock.clone(),
            }),
            None => continue,
        };
        all.insert(name.clone(), via);
    }
    Ok(all)
}

fn hooks(deployment: &Deployment) -> BTreeMap<String, Hook> {
    let hook = |(name, system): (&String, &System)| {
        let at_once = Semaphore::new((deployment.config.http.concurrency_max / 2).max(1));
        Some((name.clone(), Hook { config: system.config.hook.clone()?, secrets: secrets(system), at_once }))
    };
    deployment.systems.iter().filter_map(hook).collect()
}

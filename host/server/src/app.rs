//! Wires all parts. The only place that knows every one of them.

use crate::amqp::{Allowed, Management, Policies, PolicyWatcher, RabbitTransport, SystemQueue, Topology, run_intake};
use crate::bounds::{Bounds, Watcher};
use crate::config::model::{KnownBy, PublisherConfig, ViaKind};
use crate::console;
use crate::deployment::{Deployment, System, policy, stating, system_rules};
use crate::egress::Egress;
use crate::files::Watch;
use crate::folder::holdup::FilesShown;
use crate::hub::{
    Asker, Attempter, Board, ConnectionShown, Connections, Driver, GivenQueue, Hub, HubEffects, Line, Outbox, Pauses,
    Poller, Questions, Quota, Refusals, Sharing, SystemClock, SystemSecrets, Trouble, Turn, Via, ViaAmqp, ViaHttp,
    WasmAdapters, WriteAhead, WriterThread,
};
use crate::ids::new_id;
use crate::rest::{Api, Hook, Keys, Throttle, router, serve, serve_probes};
use crate::retention::Retention;
use crate::running::Running;
use crate::store::{self, SqlStore};
use crate::tcp::Endpoint;
use crate::wasm::{Caller, Compiler, Loaded, Runtime, SystemSpec};
use anyhow::Context;
use busbar_core::engine::Engine;
use busbar_core::leases::Lease;
use busbar_core::ports::{Adapters, Clock, Store, Transport};
use busbar_core::{Rules, Shards};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The parts that everything else is built from.
struct Base {
    rules: Arc<Rules>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    transport: Option<Arc<dyn Transport>>,
    topology: Topology,
    /// The shards this hub has.
    owned: watch::Sender<Shards>,
    lease: Arc<Lease>,
    /// The sessions' ends of the lines to systems with a connection.
    waiting: BTreeMap<String, GivenQueue>,
    board: Arc<Board<ConnectionShown>>,
    files: Arc<Board<FilesShown>>,
    clock_jumped: Arc<AtomicBool>,
    bounds: Arc<Bounds>,
    policies: Arc<Policies>,
    /// And whether the system may keep a state.
    quotas: BTreeMap<String, (Arc<Quota>, bool)>,
}

/// Starts a deployment.
///
/// # Errors
/// With what was being done, when a part cannot start.
pub async fn start(deployment: Deployment, metrics: Option<PrometheusHandle>) -> anyhow::Result<Running> {
    let (intake, delivery) = (CancellationToken::new(), CancellationToken::new());
    let url = store_url(&deployment);
    let lock = store::lock(&url).context("taking the store")?;
    let listener = listening(&deployment.config.http.listen).await?;
    let address = listener.local_addr()?;
    let probed = futures::future::OptionFuture::from(deployment.config.http.health_listen.as_deref().map(listening));
    let probed = probed.await.transpose()?;
    let writer = WriterThread::start().context("starting the store's thread")?;
    let opened = writer.run(async move { SqlStore::open(&url).await }).await.context("opening the store")?;
    let store = Arc::new(opened.context("opening the store")?);
    let mut base = base(&deployment, store.clone()).await?;
    let engine = Engine::new(system_rules(&deployment));
    let (driver, attempts) = Driver::new(engine, base.store.clone(), writer, base.clock.clone());
    let (asker, asked) = Asker::new();
    let wasm_adapters = Arc::new(adapters(&deployment, &mut base, &driver, &asker).await?);
    let adapters: Arc<dyn Adapters> = wasm_adapters.clone();
    let via = Arc::new(via(&deployment, &base)?);
    let questions = Arc::new(Questions {
        rules: base.rules.clone(),
        adapters: adapters.clone(),
        via: via.clone(),
        committer: driver.clone(),
        clock: base.clock.clone(),
    });
    let attempter = Arc::new(Attempter {
        rules: base.rules.clone(),
        adapters: adapters.clone(),
        via,
        stating: stating(&deployment),
        outboxes: outboxes(&deployment, &base, &driver, &adapters)?,
        store: base.store.clone(),
        stop: delivery.clone(),
    });
    let hub = Arc::new(Hub {
        rules: base.rules.clone(),
        store: base.store.clone(),
        committer: driver.clone(),
        attempter: attempter.clone(),
        adapters,
        questions: questions.clone(),
        clock: base.clock.clone(),
        pauses: Arc::new(Pauses::new(driver.clone(), base.store.clone())),
        spool: deployment.folder.join("data/spool"),
        refusals: Refusals::default(),
    });
    // Before the first attempt.
    hub.pauses.follow().await.context("reading which systems are held up")?;
    let api = api(&deployment, &base, &hub, &store, metrics)?;
    let leases = CancellationToken::new();
    tokio::spawn(questions.take(asked, leases.clone()));
    tokio::spawn(attempter.work(attempts, driver.clone(), leases.clone()));
    let sharing = share(&deployment, &driver, &base, &leases);
    let transport = base.transport.clone();
    let mut tasks = housekeeping(&deployment, &store, &hub, &base, &intake);
    for (connections, endpoint) in connections(&deployment, &hub, &wasm_adapters, &base, &intake).await? {
        tasks.spawn(connections.run(endpoint));
    }
    intakes(&deployment, &hub, base, &intake, &mut tasks)?;
    let certificates = deployment.certificates.clone();
    tasks.spawn(serve(listener, certificates, served(&deployment, &api), api.clone(), intake.clone()));
    // It answers while what runs ends, and goes with the process.
    if let Some(listener) = probed {
        tokio::spawn(serve_probes(listener, api.clone(), CancellationToken::new()));
    }
    Ok(Running { address, api, intake, delivery, leases, tasks, sharing, driver, transport, store, _lock: lock })
}

/// REST, and the console where it is on.
fn served(deployment: &Deployment, api: &Arc<Api>) -> axum::Router {
    let app = router(api.clone());
    if deployment.config.http.console { app.merge(console::router(api.clone())) } else { app }
}

fn api(
    deployment: &Deployment,
    base: &Base,
    hub: &Arc<Hub>,
    store: &SqlStore,
    metrics: Option<PrometheusHandle>,
) -> anyhow::Result<Arc<Api>> {
    Ok(Arc::new(Api {
        hub: hub.clone(),
        keys: Keys::new(&deployment.config.http.keys, &deployment.config.name),
        hooks: hooks(deployment)?,
        driver: hub.committer.clone(),
        transport: base.transport.clone(),
        connections: base.board.clone(),
        files: base.files.clone(),
        clock_jumped: base.clock_jumped.clone(),
        store_health: store.health(),
        bounds: base.bounds.clone(),
        policies: base.policies.clone(),
        throttle: Throttle::default(),
        metrics,
        limits: deployment.config.http.clone(),
        stopping: AtomicBool::new(false),
    }))
}

async fn base(deployment: &Deployment, store: Arc<dyn Store>) -> anyhow::Result<Base> {
    let (topology, policies) = (topology(deployment), Arc::<Policies>::default());
    // Where others may use the store as well, nothing is this hub's before it has a lease.
    let shared = is_shared(deployment);
    let owned = watch::Sender::new(if shared { Shards::NONE } else { Shards::ALL });
    Ok(Base {
        rules: deployment.rules.clone(),
        store,
        clock: Arc::new(SystemClock),
        transport: transport(deployment, &topology, owned.subscribe(), &policies).await?,
        topology,
        owned,
        lease: Arc::new(if shared { Lease::none() } else { Lease::for_ever() }),
        waiting: BTreeMap::new(),
        board: Arc::default(),
        files: Arc::default(),
        clock_jumped: Arc::default(),
        bounds: Arc::default(),
        policies,
        quotas: BTreeMap::new(),
    })
}

/// What goes on beside the messages.
fn housekeeping(
    deployment: &Deployment,
    store: &Arc<SqlStore>,
    hub: &Arc<Hub>,
    base: &Base,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let (clock, clock_jumped) = (base.clock.clone(), base.clock_jumped.clone());
    let (config, folder) = (deployment.config.retention.clone(), deployment.folder.clone());
    let retention = Retention { store: store.clone(), clock, config, folder, clock_jumped };
    let mut tasks = JoinSet::new();
    tasks.spawn(retention.hourly(Turn(base.owned.subscribe()), stop.clone()));
    tasks.spawn(store.clone().keep_asking(stop.clone()));
    tasks.spawn(hub.clone().keep_refusals(stop.clone()));
    tasks.spawn(watcher(deployment, store.clone(), base).run(stop.clone()));
    tasks.spawn(hub.pauses.clone().run(stop.clone()));
    if let Some(certificates) = deployment.certificates.clone() {
        tasks.spawn(certificates.keep_looking(stop.clone()));
    }
    let attempter = hub.attempter.clone();
    tasks.spawn(async move { attempter.clear_up().await });
    tasks
}

fn watcher(deployment: &Deployment, store: Arc<SqlStore>, base: &Base) -> Watcher {
    let url = store_url(deployment);
    let file = url.strip_prefix("sqlite:").map(PathBuf::from);
    let folder = file.and_then(|file| file.parent().map(PathBuf::from)).unwrap_or_else(|| deployment.folder.clone());
    let dead_max = deployment.config.amqp.as_ref().map_or(u64::MAX, |amqp| amqp.dead_max);
    Watcher {
        bounds: base.bounds.clone(),
        store,
        clock: base.clock.clone(),
        disk: (folder, deployment.config.store.free_bytes_min),
        quotas: base.quotas.clone(),
        transport: base.transport.clone().map(|transport| (transport, dead_max)),
        certificates: deployment.certificates.clone(),
    }
}

async fn listening(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
}

/// Starts the deliveries: all of them, or this hub's share where several may use the store.
fn share(deployment: &Deployment, driver: &Arc<Driver>, base: &Base, stop: &CancellationToken) -> JoinSet<()> {
    let mut sharing = JoinSet::new();
    if !is_shared(deployment) {
        driver.start(Shards::ALL, stop.clone());
        return sharing;
    }
    driver.start(Shards::NONE, stop.clone());
    let sharer = Sharing {
        hub: new_id(),
        driver: driver.clone(),
        store: base.store.clone(),
        clock: base.clock.clone(),
        owned: base.owned.clone(),
        lease: base.lease.clone(),
    };
    sharing.spawn(sharer.run(stop.clone()));
    sharing
}

/// Whether other hubs may use the same store.
fn is_shared(deployment: &Deployment) -> bool {
    !deployment.store_url.expose_secret().starts_with("sqlite:")
}

async fn transport(
    deployment: &Deployment,
    topology: &Topology,
    owned: watch::Receiver<Shards>,
    policies: &Arc<Policies>,
) -> anyhow::Result<Option<Arc<dyn Transport>>> {
    let (Some(config), urls) = (&deployment.config.amqp, deployment.amqp_urls.clone()) else { return Ok(None) };
    // Answers and confirms must still come while deliveries drain: it ends with the process.
    let started = RabbitTransport::start(config, urls, topology.clone(), owned, CancellationToken::new()).await;
    let transport = started.context("connecting to the broker")?;
    match (&deployment.amqp_management, deployment.amqp_urls.first()) {
        (Some(url), Some(broker)) => {
            let watcher = PolicyWatcher::new(policies.clone(), Management::new(url, broker)?, topology.kept());
            transport.watch_policies(watcher).await;
        }
        _ => tracing::info!("policies of the broker are not looked at: amqp.management names no address"),
    }
    Ok(Some(Arc::new(transport)))
}

/// Folders that files are written to, by system.
fn outboxes(
    deployment: &Deployment,
    base: &Base,
    driver: &Arc<Driver>,
    adapters: &Arc<dyn Adapters>,
) -> anyhow::Result<BTreeMap<String, Outbox>> {
    let mut all = BTreeMap::new();
    for (name, system) in &deployment.systems {
        let Some(config) = &system.config.out else { continue };
        let outbox = Outbox {
            system: name.clone(),
            folder: deployment.folder.join(&config.path),
            store: base.store.clone(),
            committer: driver.clone(),
            adapters: adapters.clone(),
            clock: base.clock.clone(),
            lease: base.lease.clone(),
            board: base.files.clone(),
            told: Mutex::default(),
        };
        outbox.prepare().with_context(|| format!("making {}", outbox.folder.display()))?;
        all.insert(name.clone(), outbox);
    }
    Ok(all)
}

/// Every system's TCP connection, with its sockets ready.
async fn connections(
    deployment: &Deployment,
    hub: &Arc<Hub>,
    adapters: &WasmAdapters,
    base: &Base,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<(Connections, Endpoint)>> {
    let mut all = Vec::new();
    for (name, system) in &deployment.systems {
        let Some(config) = &system.config.connection else { continue };
        let (Some(caller), Some(given)) = (adapters.caller(name), base.waiting.get(name)) else { continue };
        let endpoint = Endpoint::new(config, system.tls_key.as_ref(), &deployment.folder).await;
        let endpoint = endpoint.with_context(|| format!("the connection of system `{name}`"))?;
        let manifest = system.adapter.as_ref().and_then(|a| a.inspection.manifest.as_ref());
        let connections = Connections {
            hub: hub.clone(),
            caller,
            given: given.clone(),
            at_once: config.connections_max,
            send_timeout: Duration::from_millis(config.send_timeout_ms),
            policy: policy(system),
            turn: Turn(base.owned.subscribe()),
            every_hub: manifest.is_some_and(|m| !m.delivers.is_empty()),
            board: base.board.clone(),
            trouble: Trouble::default(),
            reached: Mutex::default(),
            stop: stop.clone(),
        };
        all.push((connections, endpoint));
    }
    Ok(all)
}

/// Everything that takes inputs by itself: the broker's queue and the folders.
fn intakes(
    deployment: &Deployment,
    hub: &Arc<Hub>,
    base: Base,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let turn = Turn(base.owned.subscribe());
    if let (Some(transport), Some(config)) = (base.transport, &deployment.config.amqp) {
        let allowed = Allowed::new(config, &base.topology, &deployment.config.name);
        tasks.spawn(run_intake(hub.clone(), transport, base.topology, allowed, stop.clone()));
    }
    for (system, config) in
        deployment.systems.iter().filter_map(|(n, s)| s.config.folder.clone().map(|f| (n.clone(), f)))
    {
        let folder = deployment.folder.join(&config.path);
        let (board, stop) = (base.files.clone(), stop.clone());
        let mut watch = Watch { hub: hub.clone(), system, folder, config, board, stop, lock: None };
        watch.prepare().context("taking the folders")?;
        tasks.spawn(watch.run());
    }
    for (name, system) in &deployment.systems {
        if let Some(poll) = &system.config.poll {
            let every = Duration::from_millis(poll.every_ms);
            let (system, policy) = (name.clone(), policy(system));
            let (hub, turn, stop) = (hub.clone(), turn.clone(), stop.clone());
            tasks.spawn(Poller { hub, system, every, policy, turn, stop }.run());
        }
    }
    Ok(())
}

/// The store's URL; a relative SQLite file is in the deployment's folder.
pub fn store_url(deployment: &Deployment) -> String {
    let url = deployment.store_url.expose_secret();
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.starts_with('/') => format!("sqlite:{}", deployment.folder.join(path).display()),
        _ => url.to_string(),
    }
}

fn topology(deployment: &Deployment) -> Topology {
    let catalog = &deployment.rules.catalog;
    let queue = |(name, system): (&String, &System)| {
        let types =
            deployment.rules.routes().iter().filter(|r| r.to.contains(name)).flat_map(|r| r.types.iter().cloned());
        let (questions, messages) = types.partition(|t| catalog.answer_type(t).is_some());
        Some(SystemQueue { queue: system.config.queue.clone()?, messages, questions })
    };
    let config = deployment.config.amqp.as_ref();
    let own = |publisher: &&PublisherConfig| publisher.known_by == KnownBy::Exchange;
    Topology {
        prefix: config.map_or_else(|| "busbar".into(), |amqp| amqp.prefix.clone()),
        queues: deployment.systems.iter().filter_map(queue).collect(),
        publishers: config.iter().flat_map(|amqp| &amqp.publishers).filter(own).map(|p| p.name.clone()).collect(),
    }
}

async fn adapters(
    deployment: &Deployment,
    base: &mut Base,
    driver: &Arc<Driver>,
    asker: &Asker,
) -> anyhow::Result<WasmAdapters> {
    let cache = deployment.folder.join("data/compiled");
    let compiler = Compiler::this(deployment.config.compile.clone());
    let runtime = Arc::new(Runtime::new(Some(cache), compiler).context("starting the wasm runtime")?);
    let with = |system: &System| Some((system.config.adapter.clone()?, system.adapter.as_ref()?.wasm.clone()));
    // Every adapter once, however many systems have it.
    let loaded = Loaded::load_all(&runtime, deployment.systems.values().filter_map(with).collect()).await?;
    let mut adapters = WasmAdapters::default();
    for (name, system) in &deployment.systems {
        let Some(ready) = system.config.adapter.as_ref().and_then(|adapter| loaded.get(adapter)).cloned() else {
            continue;
        };
        let limits = &system.config.limits;
        let quota = Quota::new(name, base.store.clone(), limits);
        base.quotas.insert(name.clone(), (quota.clone(), system.config.grants.state));
        let effects = HubEffects {
            system: name.clone(),
            quota,
            secrets: SystemSecrets::new(&system.secrets)?,
            egress: Egress::new(
                system.config.grants.private_addresses.clone(),
                limits.body_bytes,
                limits.header_bytes,
            )?,
            store: base.store.clone(),
            clock: base.clock.clone(),
            asker: asker.clone(),
            ahead: Some(WriteAhead { committer: driver.clone(), clock: base.clock.clone(), lease: base.lease.clone() }),
        };
        let spec = SystemSpec {
            name: name.clone(),
            source: format!("/{}/{name}", deployment.config.name),
            config: serde_json::Value::Object(system.config.config.clone()).to_string(),
            grants: system.config.grants.clone(),
            limits: limits.clone(),
            instances: system.config.instances.clone(),
            rules: base.rules.clone(),
        };
        let line = system.config.connection.as_ref().map(|config| {
            let (ready, deadline) = (config.ready_timeout_ms, limits.deadline_ms);
            let (line, waiting) =
                Line::new(limits.concurrency, Duration::from_millis(ready), Duration::from_millis(deadline));
            base.waiting.insert(name.clone(), waiting);
            line
        });
        let caller = Caller::new(runtime.clone(), ready, Arc::new(spec), Arc::new(effects));
        adapters.add(name.clone(), Arc::new(caller), line);
    }
    Ok(adapters)
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
                    mode: system.config.mode,
                    bearer: system.config.bearer.clone(),
                    secrets: SystemSecrets::new(&system.secrets)?,
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

fn hooks(deployment: &Deployment) -> anyhow::Result<BTreeMap<String, Hook>> {
    let mut hooks = BTreeMap::new();
    for (name, system) in &deployment.systems {
        let Some(config) = system.config.hook.clone() else { continue };
        let at_once = Semaphore::new((deployment.config.http.concurrency_max / 2).max(1));
        hooks.insert(name.clone(), Hook { config, secrets: SystemSecrets::new(&system.secrets)?, at_once });
    }
    Ok(hooks)
}

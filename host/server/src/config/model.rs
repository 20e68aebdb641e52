//! The shape of `busbar.toml`. `busbar print config-schema` is generated from here, so the comments
//! below are its documentation.

pub use super::access::{KeyConfig, KnownBy, PublisherConfig, Right};
pub use super::connection::{ConnectionConfig, TlsConfig};
pub use super::credentials::CredentialConfig;
pub use super::limits::{CompileConfig, Grants, Limits};
pub use super::tls::{CertificateName, ClientCertificates, HttpTlsConfig};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One deployment: the whole configuration of one utility.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Name of the deployment; what a system states has the CloudEvents source `/<name>/<system>`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]*$"))]
    pub name: String,
    /// Folder of the canonical schemas, relative to this file.
    #[serde(default = "default_schemas")]
    pub schemas: String,
    #[serde(default)]
    pub store: StoreConfig,
    #[serde(default)]
    pub retention: RetentionConfig,
    #[serde(default)]
    pub http: HttpConfig,
    /// Without this section the hub runs on REST, files and hooks alone.
    #[serde(default)]
    pub amqp: Option<AmqpConfig>,
    #[serde(default)]
    pub compile: CompileConfig,
    /// The external systems by name.
    #[serde(default)]
    pub systems: BTreeMap<String, SystemConfig>,
    /// Which message types go to which systems.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
}

fn default_schemas() -> String {
    "../../schemas".into()
}

/// A value written here, or a reference to where it is kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TextOrReference {
    Text(String),
    Reference(Reference),
}

/// One broker, or several nodes of one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BrokerUrls {
    One(TextOrReference),
    Several(#[schemars(length(min = 1))] Vec<TextOrReference>),
}

/// Where a secret is kept. Secrets never stand in `busbar.toml` itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Reference {
    /// Name of an environment variable.
    Env(String),
    /// File, relative to the deployment's folder; a trailing line break is left out.
    File(String),
}

/// The store: messages, deliveries and calls.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StoreConfig {
    /// `sqlite:<path>` relative to the deployment's folder, or `postgres://…`, best by reference.
    pub url: TextOrReference,
    /// Bytes that should be free on the disk of the store (with PostgreSQL of the deployment's folder: the database's own
    /// disk the hub cannot see). An alarm is given before there are fewer.
    pub free_bytes_min: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: TextOrReference::Text("sqlite:data/busbar.db".into()), free_bytes_min: 1 << 30 }
    }
}

/// How long the journal keeps what is finished. A day is a day in UTC, and goes as a whole: one with a delivery that is
/// not done or skipped stays until a person has seen to it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RetentionConfig {
    /// Days that the journal keeps messages, deliveries and calls.
    #[schemars(range(min = 1))]
    pub days: u32,
    /// Days within which a message that comes again is known; not less than `days`.
    #[schemars(range(min = 1))]
    pub dedup_days: u32,
    /// Nothing is let go while the clock is more days than this ahead of the newest time by which the journal went, which
    /// also happens when the hub was off for so long: until the clock is right again, or a person confirms it
    /// (`busbar journal trust-clock`).
    #[schemars(range(min = 1))]
    pub clock_jump_days: u32,
    /// Types that are known for ever; `*` at the end stands for anything.
    pub dedup_forever: Vec<String>,
    /// Whether a day is written to `archive/<day>.ndjson.zst` in the deployment's folder before the journal lets it go.
    pub archive: bool,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let forever = ["payment.*", "refund.*"].map(str::to_string).to_vec();
        Self { days: 90, dedup_days: 400, clock_jump_days: 7, dedup_forever: forever, archive: true }
    }
}

/// The hub's own HTTP side.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// Address and port for `/healthz`, `/readyz` and `/metrics` alone: then they are not served at `listen`, and whoever
    /// fills that with connections does not keep them from answering.
    pub health_listen: Option<String>,
    /// TLS; plain HTTP where absent.
    pub tls: Option<HttpTlsConfig>,
    /// Whether the operators' console is served at `/`, for holders of a key with the right `read`.
    pub console: bool,
    /// Who may call the REST interface.
    pub keys: Vec<KeyConfig>,
    /// Bytes of a request's body.
    #[schemars(range(min = 1024))]
    pub body_bytes_max: usize,
    /// Bytes of a request's headers.
    #[schemars(range(min = 8192))]
    pub header_bytes_max: usize,
    /// Milliseconds within which the headers of a request must have come; so long may a connection be without one. And
    /// those for the handshake of TLS.
    #[schemars(range(min = 1))]
    pub header_timeout_ms: u64,
    /// Milliseconds for a whole request.
    #[schemars(range(min = 1))]
    pub timeout_ms: u64,
    /// Requests served at once; more get 503 with `Retry-After`.
    #[schemars(range(min = 1))]
    pub concurrency_max: usize,
    /// Connections open at once. One more ends the one that has waited longest for a request; where all are being
    /// answered, it waits.
    #[schemars(range(min = 1))]
    pub connections_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            health_listen: None,
            tls: None,
            console: true,
            keys: Vec::new(),
            body_bytes_max: 1 << 20,
            header_bytes_max: 32 << 10,
            header_timeout_ms: 10_000,
            timeout_ms: 60_000,
            concurrency_max: 256,
            connections_max: 1024,
        }
    }
}

/// RabbitMQ.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AmqpConfig {
    /// `amqp://` or `amqps://` with user, password and virtual host, best by reference. Of a cluster a list of its nodes: they
    /// are tried in turn.
    pub url: BrokerUrls,
    /// `http://` or `https://` of RabbitMQ's management, e.g. `http://broker:15672`: then policies that undo what the hub
    /// declares are found. User, password and virtual host are those of `url`, unless this names a user; it needs the
    /// tag `management` or `monitoring`.
    #[serde(default)]
    pub management: Option<TextOrReference>,
    /// Prefix of every exchange and queue.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// Unacknowledged messages the broker may hand out at once.
    #[serde(default = "default_prefetch")]
    #[schemars(range(min = 1))]
    pub prefetch: u16,
    /// Largest message that is taken, in bytes; a larger one goes to `busbar.dead` before it is looked at.
    #[serde(default = "default_amqp_body_bytes_max")]
    #[schemars(range(min = 1))]
    pub body_bytes_max: usize,
    /// Milliseconds to wait for a publisher confirm.
    #[serde(default = "default_confirm_timeout_ms")]
    #[schemars(range(min = 1))]
    pub confirm_timeout_ms: u64,
    /// Messages in `busbar.dead` that are too many: an alarm is given before there are so many. Nothing ever removes them
    /// but a person.
    #[serde(default = "default_dead_max")]
    #[schemars(range(min = 1))]
    pub dead_max: u64,
    /// Attributes that publishers write as headers of just this name, besides those with one of the prefixes
    /// `cloudEvents:`, `cloudEvents_` and `ce-`: some SDKs write extensions so, e.g. `["partitionkey"]`.
    #[serde(default)]
    pub bare_attributes: Vec<String>,
    /// Who may publish to `busbar.in`, and what; nobody else's messages are taken. `[]` where nothing comes in over AMQP.
    pub publishers: Vec<PublisherConfig>,
    /// Queues that answers may go to besides direct reply-to (`amq.rabbitmq.reply-to`), as patterns: `*` at the end
    /// stands for anything.
    #[serde(default)]
    pub reply_queues: Vec<String>,
}

fn default_prefix() -> String {
    "busbar".into()
}

fn default_prefetch() -> u16 {
    1000
}

fn default_amqp_body_bytes_max() -> usize {
    4 << 20
}

fn default_dead_max() -> u64 {
    1_000
}

fn default_confirm_timeout_ms() -> u64 {
    30_000
}

/// How a system that speaks canonical messages itself is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ViaKind {
    /// Messages are published to `busbar.out` with the type as routing key.
    Amqp,
    /// Messages are posted to `url` by the CloudEvents HTTP binding, in the form that `mode` says.
    Http,
}

/// Content mode of the CloudEvents HTTP binding 1.0.2, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpMode {
    /// The data as the body, the attributes as `ce-` headers, percent-encoded as section 3.1.3.2 says. The SDKs of
    /// JavaScript, Go, Java and Rust do not decode that: for text outside ASCII take `structured` there.
    #[default]
    Binary,
    /// The whole event as one JSON object (`application/cloudevents+json`).
    Structured,
}

/// One external system: an adapter with config, grants, limits and policies, or `via`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SystemConfig {
    /// Name of the adapter: `adapters/<name>.wasm` beside this file, with its digest in
    /// `adapters/SHA256SUMS`.
    pub adapter: Option<String>,
    /// For a system that needs no adapter.
    pub via: Option<ViaKind>,
    /// `via = "http"`: where to post.
    pub url: Option<String>,
    /// `via = "http"`: `binary` or `structured`.
    pub mode: HttpMode,
    /// `via = "amqp": a queue that the hub declares and binds for the types routed to the system.
    pub queue: Option<String>,
    /// `via = "http"`: credential sent as bearer token.
    pub bearer: Option<String>,
    /// The adapter's own settings, checked against its schema.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Secrets and OAuth 2.0 clients by name.
    pub credentials: BTreeMap<String, CredentialConfig>,
    pub grants: Grants,
    pub limits: Limits,
    pub policy: PolicyConfig,
    /// Whether each call gets an instance of its own.
    pub instances: Instances,
    /// Files in.
    pub folder: Option<FolderConfig>,
    /// Files out: the messages routed to the system, written by the adapter's `encode`.
    pub out: Option<OutConfig>,
    /// Asked again and again, by the adapter's `poll`.
    pub poll: Option<PollConfig>,
    /// Requests to `/hooks/<system>/…`.
    pub hook: Option<HookConfig>,
    /// A TCP connection, for the adapter's `connection`.
    pub connection: Option<ConnectionConfig>,
}

/// When a failed delivery is tried again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PolicyConfig {
    /// Attempts in all.
    #[schemars(range(min = 1))]
    pub attempts: u32,
    /// Milliseconds before the second attempt; doubles from there.
    #[schemars(range(min = 1))]
    pub backoff_first_ms: u64,
    /// Milliseconds at most.
    #[schemars(range(min = 1))]
    pub backoff_max_ms: u64,
    /// Milliseconds that a system may ask to wait (`Retry-After`) at most; what is longer is cut to this.
    #[schemars(range(min = 1))]
    pub wait_max_ms: u64,
    /// Failures in a row after which the system counts as down: then nothing is sent but a probe now and then, and
    /// no delivery loses attempts.
    #[schemars(range(min = 1))]
    pub breaker_failures: u32,
    /// Milliseconds before the first probe; doubles from there.
    #[schemars(range(min = 1))]
    pub breaker_first_ms: u64,
    /// Milliseconds between probes at most.
    #[schemars(range(min = 1))]
    pub breaker_max_ms: u64,
    /// Deliveries started per second at most, or files where they become files; no limit where absent.
    #[schemars(range(min = 0.001))]
    pub rate_per_second: Option<f64>,
    /// Deliveries started at once after a pause, with `rate-per-second`.
    #[schemars(range(min = 1))]
    pub rate_burst: u32,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        let policy = busbar_core::Policy::default();
        let breaker = busbar_core::engine::BreakerPolicy::default();
        Self {
            attempts: policy.attempts_max,
            backoff_first_ms: policy.backoff_first_ms,
            backoff_max_ms: policy.backoff_max_ms,
            wait_max_ms: policy.wait_max_ms,
            breaker_failures: breaker.failures,
            breaker_first_ms: breaker.open_first_ms,
            breaker_max_ms: breaker.open_max_ms,
            rate_per_second: None,
            rate_burst: 1,
        }
    }
}

/// A folder that is watched for files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FolderConfig {
    /// Relative to the deployment's folder. Files move to `done/` or `failed/` inside it.
    pub path: String,
    /// A file is complete when its size and time stood still for this many milliseconds.
    #[serde(default = "default_settle_ms")]
    pub settle_ms: u64,
    /// Endings of names that are still being written.
    #[serde(default = "default_unfinished")]
    pub unfinished: Vec<String>,
}

fn default_settle_ms() -> u64 {
    1_000
}

fn default_unfinished() -> Vec<String> {
    [".tmp", ".part", ".filepart", ".crdownload"].map(String::from).to_vec()
}

/// When a system is polled.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PollConfig {
    /// Milliseconds from the end of one poll to the next, a tenth more or less.
    #[schemars(range(min = 100))]
    pub every_ms: u64,
}

/// A folder into which files are written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutConfig {
    /// Relative to the deployment's folder. A file is there when it is whole, never before.
    pub path: String,
    /// Milliseconds from one file to the next, while messages wait.
    #[serde(default = "default_out_every_ms")]
    #[schemars(range(min = 100))]
    pub every_ms: u64,
    /// Messages of a file; so many waiting are written at once.
    #[serde(default = "default_messages_max")]
    #[schemars(range(min = 1, max = 10000))]
    pub messages_max: u32,
}

fn default_out_every_ms() -> u64 {
    60_000
}

fn default_messages_max() -> u32 {
    1_000
}

/// Instances of a system's adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Instances {
    /// A fresh one for each call: nothing is left of the call before.
    #[default]
    Fresh,
    /// Kept for further calls, for languages that take long to start. One is dropped after a trap, a
    /// timeout or `calls` calls.
    Warm {
        #[schemars(range(min = 1))]
        calls: u32,
    },
}

/// Who may call a system's hook, checked by the host before the adapter sees anything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HookConfig {
    /// Credential with `user:password` for HTTP basic authentication.
    pub basic: Option<String>,
    /// Credential for `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// The adapter verifies a signature itself, so that the host lets everybody through to it.
    pub open: bool,
}

/// One route.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RouteConfig {
    /// Message types, or `*` for all messages; a question must be named.
    #[schemars(length(min = 1))]
    pub types: Vec<String>,
    /// Names of systems. A question goes to the first.
    #[schemars(length(min = 1))]
    pub to: Vec<String>,
    /// CEL over `id source type subject time partitionkey correlationid data`.
    #[serde(default)]
    pub when: Option<String>,
    /// CEL; deliveries with the same key to the same system are made one at a time, in order.
    /// Default: `partitionkey`, else `subject`.
    #[serde(default)]
    pub key: Option<String>,
    /// What the journal keeps of these messages: `full`; `envelope` (no data once they are delivered, no calls that
    /// went well); `none` (a plain at-least-once relay from AMQP to AMQP, without deduplication; whatever cannot be
    /// relayed at once is kept as `envelope`). A message covered by several routes gets the most that one of them wants.
    #[serde(default)]
    pub journal: JournalMode,
}

/// What the journal keeps of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JournalMode {
    #[default]
    Full,
    Envelope,
    None,
}

/// An adapter's own words about itself: `adapter.toml` and `config.schema.json`, embedded in the
/// component by `busbar adapter build` as the custom section `busbar:adapter`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub description: String,
    /// Message types it states, or `*`: its settings say which.
    pub emits: Vec<String>,
    /// Message types it takes, or `*`.
    pub delivers: Vec<String>,
    pub asks: Vec<String>,
    pub answers: Vec<String>,
    /// Where the format is from.
    pub spec: String,
    /// It looks at all its settings before it refuses a type that they do not map, with `unmapped-type` where they are
    /// right: so `busbar check` can have them checked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub checks_settings: bool,
    /// JSON Schema of its config.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub config_schema: serde_json::Value,
}

//! What a system's adapter may do, and how much of it. Its comments are documentation, as in `model.rs`.

use schemars::JsonSchema;
use serde::Deserialize;

/// What the system's adapter may do. Nothing is ambient.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Grants {
    /// Origins it may call, e.g. `https://billing.example`.
    pub http: Vec<String>,
    /// Host names or addresses among those that may lead to loopback, private or link-local networks.
    pub private_addresses: Vec<String>,
    /// Names of credentials it may use.
    pub credentials: Vec<String>,
    /// Message types it may state.
    pub emit: Vec<String>,
    /// Question types it may ask.
    pub ask: Vec<String>,
    /// Look up messages that it stated earlier.
    pub lookup: bool,
    /// Keep a small state.
    pub state: bool,
    pub clock: bool,
    pub random: bool,
}

/// Limits of one call of the adapter. Reaching one is a clear error and ends the call.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Milliseconds for a call.
    pub deadline_ms: u64,
    /// Milliseconds for decoding one file.
    pub file_deadline_ms: u64,
    /// Core modules that one instance of the adapter is made of.
    #[schemars(range(min = 1, max = 64))]
    pub core_instances: usize,
    /// Memories of an instance.
    #[schemars(range(max = 4))]
    pub memories: usize,
    /// Bytes of memory, summed over the instance.
    pub memory_bytes: usize,
    /// Tables of an instance.
    #[schemars(range(max = 32))]
    pub tables: usize,
    /// Elements of all tables.
    #[schemars(range(max = 100000))]
    pub table_elements: usize,
    /// Handles of resources that are not dropped.
    pub handles: usize,
    /// Bytes that one host call may carry.
    pub host_call_bytes: usize,
    /// Bytes of log text.
    pub log_bytes: usize,
    /// Lines of log in a minute, over all calls; the others are counted, and one line tells how many they were.
    pub log_lines_per_minute: u32,
    /// Outgoing HTTP requests and questions.
    pub calls: usize,
    /// Bytes of a request's or answer's body.
    pub body_bytes: usize,
    /// Bytes of a request's or answer's headers.
    pub header_bytes: usize,
    /// Milliseconds for one outgoing request.
    pub http_timeout_ms: u64,
    /// Messages stated in one call; `file-messages` when decoding.
    pub messages: usize,
    pub file_messages: usize,
    /// Bytes of the data of all messages of one call, files aside.
    pub message_bytes: usize,
    /// Bytes of a file that is encoded.
    pub file_bytes: usize,
    /// Writes to the state.
    pub state_writes: usize,
    /// Bytes of one state value.
    pub state_value_bytes: usize,
    /// Keys that the system's state may have in all, and bytes of keys and values. What is there may be overwritten and
    /// deleted; nothing is added. Calls at the same time may pass it by what they write together.
    pub state_keys: u64,
    pub state_bytes: u64,
    /// Calls of this system's adapter at once; half of what the hub has instances for at most.
    #[schemars(range(min = 1, max = 128))]
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline_ms: 30_000,
            file_deadline_ms: 600_000,
            core_instances: 16,
            memories: 1,
            memory_bytes: 64 << 20,
            tables: 8,
            table_elements: 20_000,
            handles: 1_000,
            host_call_bytes: 8 << 20,
            log_bytes: 64 << 10,
            log_lines_per_minute: 600,
            calls: 32,
            body_bytes: 1 << 20,
            header_bytes: 32 << 10,
            http_timeout_ms: 15_000,
            messages: 1_000,
            file_messages: 2_000_000,
            message_bytes: 8 << 20,
            file_bytes: 256 << 20,
            state_writes: 64,
            state_value_bytes: 64 << 10,
            state_keys: 10_000,
            state_bytes: 16 << 20,
            concurrency: 16,
        }
    }
}

/// Limits of compiling one adapter, in a process of its own. Compiled code is kept, so this is done once for each version of
/// an adapter and of busbar.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CompileConfig {
    /// Bytes of an adapter's file.
    #[schemars(range(min = 1))]
    pub component_bytes: u64,
    /// Milliseconds.
    #[schemars(range(min = 1))]
    pub time_ms: u64,
    /// Bytes of memory, and of the code that comes of it.
    #[schemars(range(min = 1))]
    pub memory_bytes: u64,
}

impl Default for CompileConfig {
    fn default() -> Self {
        Self { component_bytes: 64 << 20, time_ms: 120_000, memory_bytes: 2 << 30 }
    }
}

//! A system's TCP connection: what can be said about it, and the checks. Its comments are documentation, as in `model.rs`.

use super::finding::Report;
use super::model::Reference;
use super::source::Source;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;

/// The system's TCP connection, over which the adapter's `connection` talks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ConnectionConfig {
    /// Connect there: `host:port`; several are tried in turn, the first one first. What the operator writes here may be
    /// a private address.
    pub connect: Vec<String>,
    /// Or let the far end connect: address and port to listen at.
    pub listen: Option<String>,
    /// With `listen`: addresses that may connect; all others are turned away. Needed, as the port is open otherwise.
    pub from: Vec<String>,
    /// With `listen`: connections at once.
    #[schemars(range(min = 1, max = 64))]
    pub connections_max: usize,
    /// TLS; plain TCP where absent.
    pub tls: Option<TlsConfig>,
    /// Milliseconds for connecting, TLS included.
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: u64,
    /// Milliseconds for sending what an adapter gives at once; a far end that does not read is cut off.
    #[schemars(range(min = 1))]
    pub send_timeout_ms: u64,
    /// Milliseconds that a delivery waits for the connection to be ready before it fails for now.
    pub ready_timeout_ms: u64,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            connect: Vec::new(),
            listen: None,
            from: Vec::new(),
            connections_max: 4,
            tls: None,
            connect_timeout_ms: 10_000,
            send_timeout_ms: 15_000,
            ready_timeout_ms: 5_000,
        }
    }
}

/// TLS of a connection.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TlsConfig {
    /// File with the certificates (PEM) of who may have signed the far end's, relative to the deployment's folder. With
    /// `connect` the machine's own roots where absent; with `listen` clients must show a certificate where present.
    pub ca: Option<String>,
    /// File with our own certificate and its chain (PEM). Needed with `listen`.
    pub certificate: Option<String>,
    /// Our private key (PEM), by reference.
    pub key: Option<Reference>,
    /// Name in the far end's certificate, where it is not the host of `connect`.
    pub server_name: Option<String>,
}

/// The checks of `connection` in one system. `only`: its adapter can do nothing else.
pub fn check(config: Option<&ConnectionConfig>, only: bool, source: &Source, at: &str, report: &mut Report) {
    let here = format!("{at}/connection");
    let Some(config) = config else {
        // One with other entries may be there for those.
        if only {
            let remedy = "add `connection = { connect = [\"host:port\"] }`";
            report.error(
                "never-connected",
                source.key(at),
                "the adapter talks over a connection, and there is none",
                remedy,
            );
        }
        return;
    };
    if config.connect.is_empty() == config.listen.is_none() {
        let remedy = "write either `connect = [\"host:port\"]` or `listen = \"address:port\"`";
        report.error("wrong-value", source.key(&here), "a connection is made, or waited for", remedy);
    }
    for (i, address) in config.connect.iter().enumerate().filter(|(_, a)| host_and_port(a).is_none()) {
        let place = source.value_span(&format!("{here}/connect/{i}"));
        report.error("wrong-value", place, format!("`{address}` is no host with a port"), "e.g. `scada.example:2404`");
    }
    if let Some(listen) = &config.listen {
        if listen.parse::<SocketAddr>().is_err() {
            let place = source.value_span(&format!("{here}/listen"));
            report.error("wrong-value", place, format!("`{listen}` is no address with a port"), "e.g. `0.0.0.0:2775`");
        }
        if config.from.is_empty() && config.tls.as_ref().is_none_or(|tls| tls.ca.is_none()) {
            let remedy = "add `from = [\"10.1.2.3\"]`, or `tls.ca` so that clients must show a certificate";
            report.error("open-listener", source.key(&here), "anybody may connect", remedy);
        }
        if config.tls.as_ref().is_some_and(|tls| tls.certificate.is_none() || tls.key.is_none()) {
            let remedy = "add `certificate` and `key`";
            report.error("missing-key", source.key(&format!("{here}/tls")), "a listener shows a certificate", remedy);
        }
    }
    for (i, from) in config.from.iter().enumerate().filter(|(_, f)| f.parse::<std::net::IpAddr>().is_err()) {
        let place = source.value_span(&format!("{here}/from/{i}"));
        report.error("wrong-value", place, format!("`{from}` is no IP address"), "write each address");
    }
}

/// `host:port` or `[v6]:port`.
pub fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty() && !host.contains(['/', '@', ' '])).then_some(())?;
    Some((host.to_string(), port.parse().ok()?))
}

//! Outgoing HTTP. Names are resolved once and every address is checked, redirects are not followed,
//! and everything has a limit.

mod request;

pub use request::{Authorization, HttpFailure, HttpRequest, HttpResponse};

use busbar_core::{Code, Problem};
use futures::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderName, HeaderValue};
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for one system, with the system's own rules about addresses.
pub struct Egress {
    client: reqwest::Client,
    private: Arc<Vec<String>>,
    body_bytes_max: usize,
    header_bytes_max: usize,
}

impl Egress {
    /// `private`: names and addresses that may lead to loopback, private and link-local networks.
    ///
    /// # Errors
    /// `internal` when TLS cannot be set up.
    pub fn new(private: Vec<String>, body_bytes_max: usize, header_bytes_max: usize) -> Result<Self, Problem> {
        let private = Arc::new(private);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .dns_resolver(Arc::new(Guard { private: private.clone() }))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("busbar/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Problem::new(Code::Internal, format!("HTTP client: {e}")))?;
        Ok(Self { client, private, body_bytes_max, header_bytes_max })
    }

    /// Sends one request; `authorization` is a whole header, added here so that no record sees it.
    pub async fn send(
        &self,
        request: HttpRequest,
        authorization: Option<(String, String)>,
    ) -> Result<HttpResponse, HttpFailure> {
        let invalid = |what: &str, e: &dyn std::fmt::Display| HttpFailure::Invalid(format!("{what}: {e}"));
        let url = url::Url::parse(&request.url).map_err(|e| invalid("url", &e))?;
        self.check_literal(&url)?;
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).map_err(|e| invalid("method", &e))?;
        if request.body.len() > self.body_bytes_max {
            return Err(HttpFailure::Invalid(format!("a body over {} bytes (limits.body-bytes)", self.body_bytes_max)));
        }
        let mut bytes = 0;
        let mut built =
            self.client.request(method, url).timeout(Duration::from_millis(request.timeout_ms)).body(request.body);
        for (name, value) in request.headers.into_iter().chain(authorization) {
            bytes += name.len() + value.len();
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|e| invalid("header", &e))?;
            // Whose message ends where is the host's business: that is how requests are smuggled.
            if ["host", "content-length", "transfer-encoding", "connection"].contains(&header.as_str()) {
                continue;
            }
            built = built.header(header, HeaderValue::from_str(&value).map_err(|e| invalid(&name, &e))?);
        }
        if bytes > self.header_bytes_max {
            return Err(HttpFailure::Invalid(format!(
                "headers over {} bytes (limits.header-bytes)",
                self.header_bytes_max
            )));
        }
        let response = built.send().await.map_err(|e| classify(&e))?;
        self.read(response).await
    }

    // The resolver is not asked about literal addresses.
    fn check_literal(&self, url: &url::Url) -> Result<(), HttpFailure> {
        let ip = match url.host() {
            Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(url::Host::Domain(_)) => return Ok(()),
            None => return Err(HttpFailure::Invalid("url: no host".into())),
        };
        match forbidden(ip) {
            Some(kind) if !self.private.contains(&ip.to_string()) => {
                Err(HttpFailure::Denied(format!("{ip} is a {kind} address (grants.private-addresses)")))
            }
            _ => Ok(()),
        }
    }

    async fn read(&self, response: reqwest::Response) -> Result<HttpResponse, HttpFailure> {
        let status = response.status().as_u16();
        let mut headers = Vec::new();
        let mut bytes = 0;
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            bytes += name.as_str().len() + value.len();
            headers.push((name.as_str().to_string(), value));
        }
        let too_large = |most: usize| HttpFailure::TooLarge(u64::try_from(most).unwrap_or(u64::MAX));
        if bytes > self.header_bytes_max {
            return Err(too_large(self.header_bytes_max));
        }
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(|e| HttpFailure::NoAnswer(root(&e)))?);
            if body.len() > self.body_bytes_max {
                return Err(too_large(self.body_bytes_max));
            }
        }
        Ok(HttpResponse { status, headers, body })
    }
}

/// Reading the machine's root certificates takes 20 ms: once, not for each system.
fn tls() -> Result<ClientConfig, Problem> {
    static TLS: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = TLS.get() {
        return Ok(config.clone());
    }
    let config = ClientConfig::with_platform_verifier();
    let config = config.map_err(|e| Problem::new(Code::Internal, format!("root certificates: {e}")))?;
    Ok(TLS.get_or_init(|| config).clone())
}

fn classify(error: &reqwest::Error) -> HttpFailure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(denied) = current.downcast_ref::<Denied>() {
            return HttpFailure::Denied(denied.0.clone());
        }
        cause = current.source();
    }
    if error.is_builder() {
        HttpFailure::Invalid(root(error))
    } else if error.is_connect() {
        HttpFailure::Unreachable(root(error))
    } else if error.is_timeout() {
        HttpFailure::NoAnswer("no whole answer in time".into())
    } else {
        HttpFailure::NoAnswer(root(error))
    }
}

fn root(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        last = current.to_string();
        cause = current.source();
    }
    last
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Denied(String);

struct Guard {
    private: Arc<Vec<String>>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private.clone();
        Box::pin(async move {
            let host = name.as_str().to_string();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let granted = private.iter().any(|p| p.eq_ignore_ascii_case(&host));
            // One bad address refuses the name: whoever answers for it must not choose per request.
            if !granted && let Some((ip, kind)) = found.iter().find_map(|a| forbidden(a.ip()).map(|k| (a.ip(), k))) {
                return Err(Denied(format!("{host} leads to {ip}, a {kind} address (grants.private-addresses)")).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Why an address is not for adapters, if it is not: every range of IANA's special-purpose registries (RFC 6890 and its updates,
/// <https://www.iana.org/assignments/iana-ipv4-special-registry> and `iana-ipv6-special-registry`; a test holds it against npm's
/// ipaddr.js), multicast, what is reserved, and forms of IPv6 that lead to an IPv4 address.
pub fn forbidden(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let segments = ip.segments();
    let embedded = ip.to_ipv4_mapped().or_else(|| match segments {
        // NAT64, RFC 6052.
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Some(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b))),
        _ => None,
    });
    if let Some(v4) = embedded {
        return forbidden_v4(v4);
    }
    match segments {
        _ if ip.is_loopback() => Some("loopback"),
        _ if ip.is_unspecified() => Some("unspecified"),
        _ if ip.is_multicast() => Some("multicast"),
        _ if ip.is_unique_local() => Some("private"),
        // The second is site-local, which some networks still have (RFC 3879).
        _ if ip.is_unicast_link_local() => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("private"),
        // Protocol assignments with Teredo, benchmarking and ORCHID; documentation; 6to4, which has an IPv4 address in it; AS112.
        [0x2001, 0..0x200, ..]
        | [0x2001, 0xdb8, ..]
        | [0x2002, ..]
        | [0x2620, 0x4f, 0x8000, ..]
        | [0x3fff, 0..0x1000, ..] => Some("special-purpose"),
        [0x2000..0x4000, ..] => None,
        // Global unicast is 2000::/3; `::a.b.c.d`, `64:ff9b:1::`, `100::` and `5f00::` are outside of it.
        _ => Some("special-purpose"),
    }
}

fn forbidden_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        _ if ip.is_loopback() => Some("loopback"),
        _ if ip.is_private() => Some("private"),
        // Behind a provider's address translation.
        [100, 64..128, ..] => Some("private"),
        _ if ip.is_link_local() => Some("link-local"),
        [0, ..] => Some("unspecified"),
        [224..=255, ..] => Some("multicast or reserved"),
        // Protocol assignments, documentation, AS112, multicast tunnels, 6to4 relays, benchmarking.
        [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 31, 196, _]
        | [192, 175, 48, _]
        | [192, 52, 193, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..] => Some("special-purpose"),
        _ => None,
    }
}

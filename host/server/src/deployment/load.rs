//! Reads a deployment's folder and checks all of it. Every mistake is found in one go.

use super::adapters::{AdapterFile, check_adapters};
use super::check;
use super::routes::check_routes;
use crate::config::access;
use crate::config::credentials::{Credential, CredentialConfig, OAuth2};
use crate::config::finding::Report;
use crate::config::model::{
    BrokerUrls, ClientCertificates, Config, HttpTlsConfig, Reference, SystemConfig, TextOrReference,
};
use crate::config::source::{Source, escape};
use crate::config::tls;
use crate::tls::{Certificates, ListenerFiles, TlsFile, certificates as read_certificates};
use busbar_core::Rules;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A deployment without mistakes, ready to be run.
pub struct Deployment {
    pub folder: PathBuf,
    pub config: Config,
    pub rules: Arc<Rules>,
    pub systems: BTreeMap<String, System>,
    pub store_url: SecretString,
    /// The broker's nodes; none without an `[amqp]` section.
    pub amqp_urls: Vec<SecretString>,
    pub amqp_management: Option<SecretString>,
    /// What `http.listen` shows, and whom it asks for a certificate.
    pub certificates: Option<Arc<Certificates>>,
}

/// One system with its secrets and, where it has one, its adapter.
pub struct System {
    pub config: SystemConfig,
    pub secrets: BTreeMap<String, Credential>,
    pub adapter: Option<AdapterFile>,
    /// Private key of the system's connection.
    pub tls_key: Option<SecretString>,
}

/// What `folder` says of its systems, unchecked: neither secrets nor adapters are looked at.
///
/// # Errors
/// `busbar.toml` cannot be read, or is none.
pub fn systems(folder: &Path) -> Result<BTreeMap<String, SystemConfig>, String> {
    let path = folder.join("busbar.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (source, syntax) = Source::parse(text);
    if let Some((message, _)) = syntax.into_iter().next() {
        return Err(format!("{}: {message}", path.display()));
    }
    let config: Config = serde_json::from_value(source.value).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(config.systems)
}

/// Reads and checks `folder`. The deployment is there unless the report has errors.
pub fn load(folder: &Path) -> (Option<Deployment>, Report) {
    let path = folder.join("busbar.toml");
    let mut report = Report { path: path.display().to_string(), ..Report::default() };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let remedy = "name the folder that has a `busbar.toml`, e.g. `deploy/demo`";
            report.error("unreadable", 0..0, format!("{}: {error}", path.display()), remedy);
            return (None, report);
        }
    };
    report.text.clone_from(&text);
    let (mut source, syntax) = Source::parse(text);
    for (message, span) in syntax {
        report.error("syntax", span, message, "see toml.io for the syntax");
    }
    check::shape(&mut source, &mut report);
    check::fill(&mut source.value);
    let config: Config = match serde_json::from_value(source.value.clone()) {
        Ok(config) => config,
        Err(error) => {
            // The shape check has named the place already, unless it has a gap.
            if !report.has_errors() {
                report.error("shape", 0..0, error.to_string(), "see `busbar print config-schema`");
            }
            return (None, report);
        }
    };
    let deployment = assemble(folder, config, &source, &mut report);
    (if report.has_errors() { None } else { Some(deployment) }, report)
}

fn assemble(folder: &Path, config: Config, source: &Source, report: &mut Report) -> Deployment {
    let catalog = check::schemas(folder, &config, source, report);
    let mut secrets = Secrets { folder, source, report };
    let store_url = secrets.text(&config.store.url, "/store/url");
    let amqp_urls = config.amqp.as_ref().map(|amqp| secrets.brokers(&amqp.url)).unwrap_or_default();
    let management = config.amqp.as_ref().and_then(|amqp| amqp.management.as_ref());
    let amqp_management = management.map(|url| secrets.management(url, &amqp_urls));
    let certificates = config.http.tls.as_ref().and_then(|tls| secrets.certificates(tls)).map(Arc::new);
    let mut systems = BTreeMap::new();
    for (name, system) in &config.systems {
        let at = format!("/systems/{}", escape(name));
        let found = system.credentials.iter().map(|(credential, reference)| {
            let pointer = format!("{at}/credentials/{}", escape(credential));
            (credential.clone(), secrets.credential(reference, &pointer))
        });
        let found = found.collect();
        let key = system.connection.as_ref().and_then(|c| c.tls.as_ref()).and_then(|tls| tls.key.as_ref());
        let tls_key = key.map(|key| secrets.read(key, &format!("{at}/connection/tls/key")));
        systems.insert(name.clone(), System { config: system.clone(), secrets: found, adapter: None, tls_key });
    }
    check::http(&config, source, report);
    let client_ca = config.http.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
    let authorities = client_ca.and_then(|file| read_certificates(&folder.join(file)).ok()).map(|found| found.len());
    tls::check(&config, authorities, source, report);
    access::check(&config, &catalog, source, report);
    check::systems(&config, source, report);
    check::folders(&config, source, report);
    check_adapters(folder, &config.compile, &catalog, &mut systems, source, report);
    let routes = check_routes(&config, &catalog, &systems, source, report);
    let rules = Arc::new(Rules::new(catalog, routes));
    let folder = folder.to_path_buf();
    Deployment { folder, config, rules, systems, store_url, amqp_urls, amqp_management, certificates }
}

/// What is wrong with the URL of a broker.
fn broker_fault(url: &str) -> Option<String> {
    let parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => return Some(format!("this is no URL: {error}")),
    };
    if !["amqp", "amqps"].contains(&parsed.scheme()) {
        return Some("the URL of a broker begins with `amqp://` or `amqps://`".into());
    }
    match parsed.host() {
        Some(url::Host::Domain(name)) if !name.is_empty() => {}
        // The library takes it for the machine itself.
        Some(url::Host::Ipv6(_)) => return Some("an IPv6 address is not taken here: give it a name".into()),
        Some(url::Host::Ipv4(_)) => {}
        _ => return Some("the URL names no host".into()),
    }
    url.parse::<lapin::uri::AMQPUri>().err().map(|error| format!("this is no URL of a broker: {error}"))
}

struct Secrets<'a> {
    folder: &'a Path,
    source: &'a Source,
    report: &'a mut Report,
}

impl Secrets<'_> {
    fn text(&mut self, from: &TextOrReference, pointer: &str) -> SecretString {
        match from {
            TextOrReference::Text(text) => SecretString::from(text.clone()),
            TextOrReference::Reference(reference) => self.read(reference, pointer),
        }
    }

    fn credential(&mut self, from: &CredentialConfig, pointer: &str) -> Credential {
        let config = match from {
            CredentialConfig::Env(name) => {
                return Credential::Secret(self.read(&Reference::Env(name.clone()), pointer));
            }
            CredentialConfig::File(name) => {
                return Credential::Secret(self.read(&Reference::File(name.clone()), pointer));
            }
            CredentialConfig::Oauth2(config) => config,
        };
        let at = |name: &str| format!("{pointer}/oauth2/{name}");
        match url::Url::parse(&config.token_url).map(|url| url.scheme().to_string()).as_deref() {
            Ok("https") => {}
            Ok("http") => {
                let span = self.source.value_span(&at("token-url"));
                self.report.warning(
                    "plain-http",
                    span,
                    "tokens and secrets go over the network as they are",
                    "use `https`",
                );
            }
            _ => {
                let span = self.source.value_span(&at("token-url"));
                let text = format!("`{}` is no address of a token endpoint", config.token_url);
                self.report.error("wrong-value", span, text, "e.g. `https://login.example/oauth2/token`");
            }
        }
        let refresh_file = match &config.refresh_token {
            Some(Reference::File(file)) => Some(self.folder.join(file)),
            _ => None,
        };
        Credential::OAuth2(Box::new(OAuth2 {
            config: config.clone(),
            client_id: self.text(&config.client_id, &at("client-id")),
            client_secret: self.read(&config.client_secret, &at("client-secret")),
            refresh_token: config.refresh_token.as_ref().map(|token| self.read(token, &at("refresh-token"))),
            refresh_file,
        }))
    }

    fn brokers(&mut self, urls: &BrokerUrls) -> Vec<SecretString> {
        let at = "/amqp/url".to_string();
        let urls: Vec<_> = match urls {
            BrokerUrls::One(url) => vec![(at, url)],
            BrokerUrls::Several(urls) => urls.iter().enumerate().map(|(i, url)| (format!("{at}/{i}"), url)).collect(),
        };
        let mut read = Vec::with_capacity(urls.len());
        for (pointer, url) in urls {
            let url = self.text(url, &pointer);
            // Said already of one that is missing; and what is wrong is said without the password in it.
            if !url.expose_secret().is_empty()
                && let Some(fault) = broker_fault(url.expose_secret())
            {
                let remedy = "write it as `amqp://user:password@host:5672/vhost`, with `%2f` for the virtual host `/`";
                self.report.error("broker-url", self.source.value_span(&pointer), fault, remedy);
            }
            read.push(url);
        }
        read
    }

    fn management(&mut self, url: &TextOrReference, brokers: &[SecretString]) -> SecretString {
        let pointer = "/amqp/management";
        let (url, span) = (self.text(url, pointer), self.source.value_span(pointer));
        let parsed = url::Url::parse(url.expose_secret()).ok().filter(url::Url::has_host);
        match parsed.as_ref().map(url::Url::scheme) {
            // Said already of one that is missing.
            _ if url.expose_secret().is_empty() => {}
            Some("https") => {}
            Some("http") if !brokers.iter().any(|broker| broker.expose_secret().starts_with("amqps:")) => {}
            Some("http") => {
                let text = "the broker's password, kept secret by `amqps`, goes over the network as it is";
                self.report.warning("plain-http", span, text, "use `https`");
            }
            _ => {
                let remedy =
                    "write it as `http://broker:15672`, with `user:password@` where it is not the broker's user";
                self.report.error("management-url", span, "this is no address of RabbitMQ's management", remedy);
            }
        }
        url
    }

    /// What stands in the files of `[http.tls]`, when all of it is right.
    fn certificates(&mut self, tls: &HttpTlsConfig) -> Option<Certificates> {
        let at = |file: TlsFile| format!("/http/tls/{}", file.as_str());
        let file = |name: &Option<String>| name.as_ref().map(|name| self.folder.join(name));
        let (client_ca, client_crl) = (file(&tls.client_ca), file(&tls.client_crl));
        // One that is missing is said already.
        let (certificate, reference) = (file(&tls.certificate)?, tls.key.as_ref()?);
        let key_file = match reference {
            Reference::File(file) => Some(self.folder.join(file)),
            Reference::Env(_) => None,
        };
        let key = self.read(reference, &at(TlsFile::Key));
        let no_key = key.expose_secret().is_empty();
        let required = tls.client_certificates != Some(ClientCertificates::Optional);
        let files = ListenerFiles { certificate, key, key_file, client_ca, client_crl, required };
        let loaded = Certificates::load(files, Duration::from_millis(tls.look_every_ms));
        let faults = match loaded {
            Ok(certificates) => return Some(certificates),
            Err(faults) => faults,
        };
        for (file, fault) in faults.into_iter().filter(|(file, _)| !(no_key && *file == TlsFile::Key)) {
            let place = self.source.value_span(&at(file));
            self.report.error("bad-certificate", place, fault.to_string(), fault.remedy());
        }
        None
    }

    fn read(&mut self, reference: &Reference, pointer: &str) -> SecretString {
        let found = match reference {
            Reference::Env(name) => std::env::var(name).map_err(|_| {
                (format!("environment variable `{name}` is not set"), format!("set `{name}` for the hub's process"))
            }),
            Reference::File(file) => {
                let path = self.folder.join(file);
                let read = std::fs::read_to_string(&path).map(|t| t.trim_end_matches(['\r', '\n']).to_string());
                read.map_err(|e| (format!("{}: {e}", path.display()), "write the secret into that file".into()))
            }
        };
        match found {
            Ok(text) if !text.is_empty() => SecretString::from(text),
            Ok(_) => {
                self.report.error(
                    "missing-secret",
                    self.source.value_span(pointer),
                    "the secret is empty",
                    "give it a value",
                );
                SecretString::from(String::new())
            }
            Err((message, remedy)) => {
                self.report.error("missing-secret", self.source.value_span(pointer), message, remedy);
                SecretString::from(String::new())
            }
        }
    }
}

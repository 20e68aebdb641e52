//! TLS of the hub's own listener, held against clients that others have written: openssl, curl, Python.

mod authority;
mod check;
mod clients;
mod handshakes;
mod identity;
mod renewal;

use crate::hub::Hub;
use authority::{Authority, LONG};
use reqwest::tls::{Certificate, Identity};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A hub over TLS with the authority that signed its certificate, and its clients'. The hub's folder has the authority's in
/// `pki`.
pub struct SecureHub {
    pub hub: Hub,
    pub authority: Authority,
    pub port: u16,
}

impl SecureHub {
    /// `http`: further lines of `[http]`; `tls`: of `[http.tls]`, and all that follows. `prepare`: signs what is needed.
    pub fn start(http: &str, tls: &str, prepare: impl FnOnce(&Authority)) -> Self {
        let section =
            "[http.tls]\ncertificate = \"pki/hub.pem\"\nkey = { file = \"pki/hub.key\" }\nlook-every-ms = 100\n";
        let mut authority = None;
        let hub = Hub::made(http, &format!("{section}{tls}"), |folder| {
            let made = Authority::new(folder.join("pki"), "the authority");
            made.sign_hub("hub", LONG);
            prepare(&made);
            authority = Some(made);
        });
        let port = hub.url.rsplit_once(':').unwrap().1.parse().unwrap();
        let mut secure = Self { hub, authority: authority.unwrap(), port };
        secure.hub.url = format!("https://localhost:{port}");
        secure.hub.client = secure.client(None);
        secure
    }

    /// A client that takes the hub's certificate, and shows that of `file` where there is one.
    pub fn client(&self, file: Option<&str>) -> reqwest::Client {
        client(&self.authority, file).build().unwrap()
    }

    fn pki(&self, file: &str) -> String {
        self.authority.path(file).display().to_string()
    }

    /// What curl gets from `path` of `https://hub.example`, with further arguments.
    pub fn curl(&self, path: &str, more: &[&str]) -> Curl {
        let resolved = format!("hub.example:{}:127.0.0.1", self.port);
        let ca = self.pki("ca.pem");
        let mut arguments = vec!["--resolve", &resolved, "--cacert", &ca];
        arguments.extend(more);
        curl(&format!("https://hub.example:{}{path}", self.port), &arguments)
    }

    /// The arguments by which curl shows a certificate of the authority.
    pub fn shown(&self, file: &str) -> [String; 4] {
        let [pem, key] = ["pem", "key"].map(|ending| self.pki(&format!("{file}.{ending}")));
        ["--cert".into(), pem, "--key".into(), key]
    }

    /// The same as [`SecureHub::curl`], with the certificate of `file`.
    pub fn curl_as(&self, file: &str, path: &str, more: &[&str]) -> Curl {
        let shown = self.shown(file);
        self.curl(path, &[shown.each_ref().map(String::as_str).as_slice(), more].concat())
    }
}

/// What came of a call of curl.
#[derive(Debug)]
pub struct Curl {
    /// 0: there was an answer.
    pub exit: i32,
    pub status: u16,
    pub body: String,
    pub said: String,
}

pub fn curl(url: &str, arguments: &[&str]) -> Curl {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--write-out", "\n%{http_code}", url]);
    let Output { status, stdout, stderr } = curl.args(arguments).output().expect("curl is not installed");
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let (body, code) = text.rsplit_once('\n').unwrap_or_default();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    Curl { exit: status.code().unwrap(), status: code.parse().unwrap(), body: body.to_string(), said }
}

fn client(authority: &Authority, file: Option<&str>) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(30)).tls_info(true);
    let builder = builder.tls_certs_only([Certificate::from_pem(&authority.read("ca.pem")).unwrap()]);
    let Some(file) = file else { return builder };
    let both = [authority.read(&format!("{file}.pem")), authority.read(&format!("{file}.key"))].concat();
    builder.identity(Identity::from_pem(&both).unwrap())
}

/// Puts a file in the place of another.
fn replace(path: &Path, content: &[u8]) {
    let aside: PathBuf = path.with_extension("new");
    std::fs::write(&aside, content).unwrap();
    std::fs::rename(aside, path).unwrap();
}

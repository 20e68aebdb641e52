//! A running hub: the real program, with a deployment of its own in a temporary folder.

mod standin;

pub use standin::{Seen, Standin};

use busbar_server::config::model::CompileConfig;
use busbar_server::rest::key_digest;
use busbar_server::wasm::{Compiler, Loaded, Runtime};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const WAIT_MAX: Duration = Duration::from_secs(20);

/// Rights: publish and ask, anything.
pub const PUBLISHER: &str = "key-of-the-publisher";
/// Rights: read.
pub const READER: &str = "key-of-the-reader";
/// Rights: read, read-personal.
pub const OFFICER: &str = "key-of-the-officer";
/// Rights: read, read-personal, operate.
pub const OPERATOR: &str = "key-of-the-operator";
const SAYS_ANYTHING: &str = r#"["publish", "ask"]
sources = ["*", "/test/cash", "/test/crm", "/test/desk", "/test/judge", "/test/other", "/test/quoted", "/test/types"]
types = ["*"]
questions = ["*"]"#;
/// For the section `[amqp]`: whoever may write to the exchange may say anything.
pub const ANYBODY: &str = r#"
[[amqp.publishers]]
name = "*"
sources = ["*", "/test/cash", "/test/crm", "/test/desk", "/test/judge", "/test/other", "/test/quoted", "/test/types"]
types = ["*"]
questions = ["*"]
"#;
/// `user:password` of the credential `secrets/login`.
pub const LOGIN: (&str, &str) = ("terminal", "pass-of-the-terminal");
/// The credential `secrets/token`.
pub const TOKEN: &str = "token-of-billing";
/// The credential `secrets/signing`.
pub const SIGNING: &str = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBidXNiYXI=";

/// A hub with its folder. Dropped, it is killed and the folder removed.
pub struct Hub {
    pub url: String,
    pub folder: TempDir,
    pub client: reqwest::Client,
    process: Option<(Child, BufReader<ChildStdout>)>,
}

/// What came back over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// A text where it is no JSON.
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Asserts a problem of RFC 9457 with everything the hub promises, and returns its `place`.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], json!(status));
        for field in ["type", "title", "detail", "remedy"] {
            assert!(self.body[field].as_str().is_some_and(|t| !t.is_empty()), "no {field}: {self:?}");
        }
        self.body["place"].as_str().unwrap_or_default().to_string()
    }
}

impl Hub {
    /// A hub with these systems and routes, the rest of its `busbar.toml` as all tests have it.
    pub fn start(toml: &str) -> Self {
        Self::with("", toml)
    }

    /// The same, with further lines in the section `[http]`.
    pub fn with(http: &str, toml: &str) -> Self {
        Self::made(http, toml, |_| ())
    }

    /// The same, with further files in its folder.
    pub fn prepared(toml: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::made("", toml, prepare)
    }

    /// A folder with all that a hub needs.
    pub fn unstarted(toml: &str) -> Self {
        Self::furnished("", toml)
    }

    /// Both.
    pub fn made(http: &str, toml: &str, prepare: impl FnOnce(&Path)) -> Self {
        let mut hub = Self::furnished(http, toml);
        prepare(hub.folder.path());
        hub.run();
        hub
    }

    fn furnished(http: &str, toml: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("busbar-hub-").tempdir().unwrap();
        furnish(folder.path(), &format!("{}{toml}", head(http)));
        Self { url: String::new(), folder, client: client(), process: None }
    }

    fn run(&mut self) {
        assert!(self.try_run(), "not ready:\n{}", self.log());
    }

    /// Starts it, or says that it did not become ready: what it needs may be away just now.
    pub fn try_run(&mut self) -> bool {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        // Should the tests be killed, the hub must not stay.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if rustix::process::geteuid().is_root() {
            // As any other user, it may not read what nobody may.
            let rights = "-dac_override,-dac_read_search";
            command.args(["--bounding-set", rights, "--inh-caps", rights]);
        }
        command.arg("--").arg(binary()).arg("run").arg(self.folder.path());
        command.args(["--listen", "127.0.0.1:0", "--json"]).env_remove("BUSBAR_LOG");
        if let Ok(level) = std::fs::read_to_string(self.path("log-level")) {
            command.env("BUSBAR_LOG", level);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            return false;
        };
        self.url = format!("http://{}", ready["address"].as_str().unwrap());
        self.process = Some((child, stdout));
        true
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn child(&self) -> &Child {
        &self.process.as_ref().unwrap().0
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child().id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it in order and says how.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        self.signal(Signal::TERM);
        let (mut child, _) = self.process.take().unwrap();
        child.wait().unwrap()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again with the same folder.
    pub fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// Bytes of memory, the most it ever had.
    pub fn memory_peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child().id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// How many descriptors and threads it has.
    pub fn descriptors_and_threads(&self) -> (usize, usize) {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.child().id())).unwrap().count();
        (count("fd"), count("task"))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap_or_else(|e| panic!("{e:?}\n{}", self.log()));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }

    pub async fn get(&self, key: &str, path: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.url)).bearer_auth(key)).await
    }

    /// The answer's body, unless the hub does not answer well just now.
    pub async fn try_get(&self, key: &str, path: &str) -> Option<Value> {
        let response = self.client.get(format!("{}{path}", self.url)).bearer_auth(key).send().await.ok()?;
        response.error_for_status().ok()?.json().await.ok()
    }

    /// A body to `/v1/messages` as the publisher.
    pub async fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(format!("{}/v1/messages", self.url)).bearer_auth(PUBLISHER);
        self.send(request.header(CONTENT_TYPE, content_type).body(body)).await
    }

    /// Publishes one event that must be taken; returns its entry in `accepted`.
    pub async fn publish(&self, event: &Value) -> Value {
        let answer = self.post("application/cloudevents+json", event.to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["accepted"][0].clone()
    }

    /// The messages that match, newest first.
    pub async fn messages(&self, query: &str) -> Vec<Value> {
        let answer = self.get(READER, &format!("/v1/messages?limit=500&{query}")).await;
        answer.body["messages"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
    }

    /// One message with deliveries and calls, personal data and all.
    pub async fn trace(&self, seq: &Value) -> Value {
        self.get(OFFICER, &format!("/v1/messages/{}", seq.as_str().unwrap())).await.body
    }

    /// The inputs that match, newest first, personal data and all.
    pub async fn intakes(&self, query: &str) -> Vec<Value> {
        let answer = self.get(OFFICER, &format!("/v1/intakes?limit=500&{query}")).await;
        answer.body["intakes"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
    }

    /// The trace of a message once every delivery of it is in one of these states.
    pub async fn settled(&self, seq: &Value, states: &[&str]) -> Value {
        wait_for(&format!("message {seq} in {states:?}"), async || {
            let trace = self.trace(seq).await;
            let deliveries = trace["deliveries"].as_array()?;
            deliveries.iter().all(|d| states.contains(&d["state"].as_str().unwrap())).then_some(trace.clone())
        })
        .await
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(6000);
            eprintln!("the hub's log:\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}

/// Waits until `condition` gives something; at most 20 s.
pub async fn wait_for<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    wait_for_at_most(what, WAIT_MAX, condition).await
}

/// The same with a limit of its own.
pub async fn wait_for_at_most<T>(what: &str, at_most: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(began.elapsed() < at_most, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A payment of an invented customer, in structured mode.
pub fn payment(id: &str, account: &str, sum: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test/cash", "type": "payment.received.v1", "subject": account,
        "data": {
            "account": account, "amount": { "value": sum, "currency": "RUB" }, "channel": "cash-desk",
            "paidOn": "2026-11-20", "purpose": "Pelageya Ozernaya pays for light",
        },
    })
}

/// A client for local addresses: no proxy, no redirects, and patience.
pub fn client() -> reqwest::Client {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(60)).build().unwrap()
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The program `busbar`: the one that users get, where the whole suite runs (`tests/run.sh`), else the one beside this test.
pub fn binary() -> PathBuf {
    std::env::var_os("BUSBAR_TEST_BINARY").map_or_else(|| beside("busbar"), PathBuf::from)
}

/// A program that was built beside this test.
pub fn beside(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let binary = here.parent().and_then(Path::parent).unwrap().join(name);
    assert!(binary.exists(), "{} is missing: run tests/run.sh, which builds it", binary.display());
    binary
}

/// The folder of built adapters, the hostile one among them.
pub fn adapters() -> PathBuf {
    let given = std::env::var_os("BUSBAR_TEST_ADAPTERS").map(PathBuf::from);
    let places = given.into_iter().chain([root().join("plugins/target/adapters"), root().join("deploy/demo/adapters")]);
    let found = places.into_iter().find(|p| p.join("hostile.wasm").exists());
    found.unwrap_or_else(|| panic!("the adapters are not built: run tests/run.sh, which builds them"))
}

/// One runtime for all tests. It compiles every adapter once, for the hubs as well.
pub static RUNTIME: LazyLock<Arc<Runtime>> =
    LazyLock::new(|| Arc::new(Runtime::new(Some(compiled()), compiler()).unwrap()));

/// Every adapter by name, loaded.
pub static LOADED: LazyLock<BTreeMap<String, Arc<Loaded>>> = LazyLock::new(|| {
    let files = std::fs::read_dir(adapters()).unwrap().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "wasm"));
    let load = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        (name, Arc::new(Loaded::load(&RUNTIME, &std::fs::read(path).unwrap()).unwrap()))
    };
    files.map(load).collect()
});

fn compiled() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}

/// The program of which a part compiles.
pub fn compiler() -> Compiler {
    Compiler { program: binary(), limits: CompileConfig::default() }
}

/// Makes `folder` a deployment: the adapters with their digests, the secrets, and `busbar.toml`.
pub fn furnish(folder: &Path, toml: &str) {
    assert!(!LOADED.is_empty());
    std::os::unix::fs::symlink(adapters(), folder.join("adapters")).unwrap();
    std::fs::create_dir(folder.join("data")).unwrap();
    std::os::unix::fs::symlink(compiled(), folder.join("data/compiled")).unwrap();
    std::fs::create_dir(folder.join("secrets")).unwrap();
    let login = format!("{}:{}", LOGIN.0, LOGIN.1);
    for (name, secret) in [("login", login.as_str()), ("token", TOKEN), ("signing", SIGNING)] {
        std::fs::write(folder.join("secrets").join(name), secret).unwrap();
    }
    std::fs::write(folder.join("busbar.toml"), toml).unwrap();
}

fn head(http: &str) -> String {
    let key = |(name, key, rights): (&str, &str, &str)| {
        format!("[[http.keys]]\nname = \"{name}\"\nsha256 = \"{}\"\nrights = {rights}\n", key_digest(key))
    };
    let keys = [
        ("publisher", PUBLISHER, SAYS_ANYTHING),
        ("reader", READER, r#"["read"]"#),
        ("officer", OFFICER, r#"["read", "read-personal"]"#),
        ("operator", OPERATOR, r#"["read", "read-personal", "operate"]"#),
    ];
    let schemas = root().join("schemas").display().to_string();
    format!("name = \"test\"\nschemas = \"{schemas}\"\n[http]\n{http}\n{}", keys.map(key).concat())
}

//! Private servers on free ports, in temporary folders: PostgreSQL and RabbitMQ as the tests need them.
//!
//! A small shell stands between a test and its server. It reads from a pipe that only the test process
//! holds; when that closes, however the tests ended, it kills the server and removes the folder.
//!
//! `BUSBAR_TESTS_ROOT` names a root of another Debian (tests/trixie.sh): then the servers are its, and with them the versions.

use rand::Rng;
use std::fs::Permissions;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(90);

// setsid: the server's helpers are in one group with it. A word on the pipe is the signal to end with.
const KEEPER: &str = r#"
folder=$1; last=$2; shift 2
setsid "$@" </dev/null &
server=$!
read -r signal
kill -s "${signal:-$last}" -- "-$server" 2>/dev/null
wait "$server"
[ -n "$signal" ] || rm -rf "$folder"
"#;

// Its own view of the file system, in which the programs and libraries are those of the other root. The server keeps all
// else: users, folders and the network are this machine's.
const IN_ROOT: &str = r#"mount --bind "$1/usr" /usr && shift && exec "$@""#;

/// The root that the servers are taken from.
fn servers_root() -> PathBuf {
    std::env::var_os("BUSBAR_TESTS_ROOT").map_or_else(|| "/".into(), PathBuf::from)
}

/// The command for a program of that root.
fn in_root(command: impl IntoIterator<Item = String>) -> Vec<String> {
    let root = servers_root();
    if root == Path::new("/") {
        return command.into_iter().collect();
    }
    let enter = ["unshare", "--mount", "sh", "-c", IN_ROOT, "in-root", root.to_str().unwrap()];
    enter.map(String::from).into_iter().chain(command).collect()
}

/// A running server with its data. Dropped, it is killed and its folder removed.
pub struct Server {
    pub url: String,
    program: Program,
    helper: Option<Program>,
    ready: fn(&Server) -> bool,
    pub port: u16,
    folder: TempDir,
}

/// One program and the shell that keeps it.
struct Program {
    command: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// The signals to end it in order, and at once.
    gentle: &'static str,
    abrupt: &'static str,
    keeper: Option<Child>,
}

impl Program {
    fn start(&mut self, folder: &Path) {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(folder).arg(self.abrupt).args(&self.command);
        keeper.envs(self.environment.iter().map(|(name, value)| (name, value))).current_dir("/");
        // A group of its own: Ctrl-C in a terminal ends the tests, and the keeper sees to the rest.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.keeper = Some(keeper.spawn().unwrap());
    }

    fn end(&mut self, signal: &str) {
        let Some(mut keeper) = self.keeper.take() else { return };
        if let Some(mut pipe) = keeper.stdin.take()
            && !signal.is_empty()
        {
            let _ = writeln!(pipe, "{signal}");
        }
        let _ = keeper.wait();
    }
}

impl Server {
    /// Ends it in order; its data stay.
    pub fn stop(&mut self) {
        self.program.end(self.program.gentle);
    }

    /// Ends it as a crash would; its data stay.
    pub fn kill(&mut self) {
        self.program.end(self.program.abrupt);
    }

    /// Starts it again with the same port and data, after ending it in order where it still runs.
    pub fn restart(&mut self) {
        self.stop();
        self.run();
    }

    fn run(&mut self) {
        let began = Instant::now();
        if let Some(helper) = self.helper.as_mut().filter(|h| h.keeper.is_none()) {
            helper.start(self.folder.path());
        }
        self.program.start(self.folder.path());
        while !(self.ready)(self) {
            assert!(began.elapsed() < START_MAX, "{:?} did not start:\n{}", self.program.command, self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One of another kind: a program that stays in the foreground, and keeps its data in `folder`.
    pub fn kept(url: String, folder: TempDir, command: Vec<String>, ready: fn(&Server) -> bool) -> Self {
        let program = Program { command, environment: vec![], gentle: "TERM", abrupt: "KILL", keeper: None };
        let mut server = Self { url, program, helper: None, ready, port: 0, folder };
        server.run();
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// A PostgreSQL server. `url` names its database `postgres`; the user may create others.
    pub fn postgres() -> Self {
        let folder = tempfile::Builder::new().prefix("busbar-postgres-").tempdir().unwrap();
        std::fs::write(folder.path().join("password"), POSTGRES_PASSWORD).unwrap();
        let data = folder.path().join("data").display().to_string();
        let password = format!("--pwfile={}", folder.path().join("password").display());
        let made = ["--no-sync", "-U", "busbar", "-E", "UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", &password];
        let initdb = as_postgres(&folder, "initdb", &[&["-D", &data][..], &made].concat());
        succeeds(Command::new(&initdb[0]).args(&initdb[1..]).current_dir("/"));
        Self::on_postgres(folder)
    }

    /// One with a copy of the data, which follows this one until it is promoted.
    pub fn standby(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("busbar-standby-").tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let from = ["-R", "-X", "stream", "-c", "fast", "-d", &self.url, "-D", &data];
        let copy = as_postgres(&folder, "pg_basebackup", &from);
        succeeds(Command::new(&copy[0]).args(&copy[1..]).current_dir("/"));
        Self::on_postgres(folder)
    }

    /// Starts a server on the data in `folder`.
    fn on_postgres(folder: TempDir) -> Self {
        let (port, data) = (free_port(), folder.path().join("data").display().to_string());
        let listens = format!("port={port}");
        let options =
            ["-D", &data, "-c", &listens, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="];
        let command = as_postgres(&folder, "postgres", &options);
        let url = format!("postgres://busbar:{POSTGRES_PASSWORD}@127.0.0.1:{port}/postgres");
        let program = Program { command, environment: vec![], gentle: "INT", abrupt: "QUIT", keeper: None };
        let mut server = Self { url, program, helper: None, ready: postgres_ready, port, folder };
        server.run();
        server
    }

    /// Makes an empty database in this PostgreSQL server and returns its URL.
    pub fn database(&self) -> String {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let name = format!("t{}", LAST.fetch_add(1, Ordering::Relaxed));
        psql(&self.url, &format!("CREATE DATABASE {name} TEMPLATE template0"));
        format!("{}/{name}", self.url.trim_end_matches("/postgres"))
    }

    /// Tells a RabbitMQ server something, as its administrator does.
    pub fn rabbitmqctl(&self, arguments: &[&str]) {
        let mut words = vec![rabbitmq_program("rabbitmqctl")];
        words.extend(arguments.iter().map(ToString::to_string));
        let command = in_root(words);
        let environment = self.program.environment.iter().map(|(name, value)| (name, value));
        succeeds(Command::new(&command[0]).args(&command[1..]).envs(environment).current_dir("/"));
    }

    /// Stops all its processes where they are, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let keeper = self.program.keeper.as_ref().unwrap().id();
        let server = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
        let group = format!("-{}", server.trim());
        succeeds(Command::new("kill").args(["-s", if frozen { "STOP" } else { "CONT" }, "--", &group]));
    }

    /// A RabbitMQ server with virtual hosts `t0`, `t1` …; `url` names the default one.
    pub fn rabbitmq() -> Self {
        Self::rabbitmq_with("")
    }

    /// The same with further lines of its configuration.
    pub fn rabbitmq_with(more: &str) -> Self {
        Self::rabbitmq_plugged("", more)
    }

    /// The same with plugins.
    pub fn rabbitmq_plugged(plugins: &str, more: &str) -> Self {
        let mut server = Self::rabbitmq_node(plugins, more, free_port());
        server.run();
        server
    }

    /// A cluster of three nodes. Each can be killed and started again; the names of all are kept by the first one's helper.
    pub fn rabbitmq_cluster() -> [Self; 3] {
        let epmd_port = free_port();
        let mut nodes = [(); 3].map(|()| Self::rabbitmq_node("", "", epmd_port));
        let first = nodes[0].node_name().to_string();
        for (at, node) in nodes.iter_mut().enumerate() {
            let cookie = node.path(".erlang.cookie");
            std::fs::write(&cookie, "ONEOFTHECLUSTER").unwrap();
            std::fs::set_permissions(&cookie, Permissions::from_mode(0o400)).unwrap();
            if at > 0 {
                node.helper = None;
                let key = "cluster_formation.classic_config.nodes";
                let joins = format!("{key}.1 = {first}\n{key}.2 = {}\n", node.node_name());
                let mut config = std::fs::File::options().append(true).open(node.path("rabbitmq.conf")).unwrap();
                config.write_all(joins.as_bytes()).unwrap();
            }
            node.run();
        }
        nodes
    }

    fn node_name(&self) -> &str {
        let environment = &self.program.environment;
        environment.iter().find_map(|(name, value)| (*name == "RABBITMQ_NODENAME").then_some(value)).unwrap()
    }

    fn rabbitmq_node(plugins: &str, more: &str, epmd_port: u16) -> Self {
        let folder = tempfile::Builder::new().prefix("busbar-rabbitmq-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (port, dist_port) = (free_port(), free_port());
        std::fs::write(at("enabled_plugins"), format!("[{plugins}].\n")).unwrap();
        std::fs::write(at("definitions.json"), definitions()).unwrap();
        let config =
            format!("load_definitions = {}\ndisk_free_limit.absolute = 50MB\n{more}\n", at("definitions.json"));
        std::fs::write(at("rabbitmq.conf"), config).unwrap();
        let environment = vec![
            ("HOME", at("")),
            ("ERL_EPMD_PORT", epmd_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_NODENAME", format!("busbar{port}@localhost")),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", dist_port.to_string()),
            ("RABBITMQ_MNESIA_BASE", at("mnesia")),
            ("RABBITMQ_LOG_BASE", at("logs")),
            ("RABBITMQ_LOGS", "-".into()),
            ("RABBITMQ_PID_FILE", at("pid")),
            ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
            ("RABBITMQ_CONF_ENV_FILE", at("none")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
        ];
        // Its own epmd, in the foreground: the one RabbitMQ would start outlives everything.
        let (command, epmd) = (vec![rabbitmq_program("rabbitmq-server")], vec!["epmd".to_string()]);
        let program = |command| Program {
            command: in_root(command),
            environment: environment.clone(),
            gentle: "TERM",
            abrupt: "KILL",
            keeper: None,
        };
        let url = format!("amqp://busbar:busbar@127.0.0.1:{port}/%2f");
        let (program, helper) = (program(command), Some(program(epmd)));
        Self { url, program, helper, ready: rabbitmq_ready, port, folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.program.end("");
        if let Some(helper) = &mut self.helper {
            helper.end("");
        }
    }
}

static POSTGRES: LazyLock<Server> = LazyLock::new(Server::postgres);
static RABBITMQ: LazyLock<Server> = LazyLock::new(Server::rabbitmq);

/// An empty database in the PostgreSQL server that the tests share.
pub fn database() -> String {
    POSTGRES.database()
}

/// Runs SQL as `psql` does.
pub fn psql(url: &str, sql: &str) {
    succeeds(postgres_command("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", "-c", sql, url]));
}

const VHOSTS: usize = 64;

/// A virtual host that no other test uses, in the RabbitMQ server that the tests share.
pub fn vhost() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    assert!(number < VHOSTS, "raise VHOSTS");
    RABBITMQ.url.replace("/%2f", &format!("/t{number}"))
}

const POSTGRES_PASSWORD: &str = "only-for-tests";

/// A program of PostgreSQL, run as the user who may: it refuses to run as root. The folder becomes that user's.
fn as_postgres(folder: &TempDir, program: &str, arguments: &[&str]) -> Vec<String> {
    let is_root = rustix::process::geteuid().is_root();
    let other: &[&str] = match is_root {
        true => &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"],
        false => &["env", "--"],
    };
    if is_root {
        succeeds(Command::new("chown").args(["-R", "postgres"]).arg(folder.path()));
    }
    let program = postgres_bin().join(program).display().to_string();
    in_root([other, &[&program], arguments].concat().into_iter().map(String::from).collect::<Vec<_>>())
}

/// Where the server's programs are, as seen in its root.
fn postgres_bin() -> PathBuf {
    let root = servers_root();
    let versions = std::fs::read_dir(root.join("usr/lib/postgresql")).into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    let found = found.unwrap_or_else(|| panic!("no PostgreSQL: apt-get install postgresql"));
    Path::new("/").join(found.strip_prefix(root).unwrap())
}

/// A command for a program of the server's, which is there in its root.
fn postgres_command(name: &str) -> Command {
    let words = in_root([postgres_bin().join(name).display().to_string()]);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn rabbitmq_program(name: &str) -> String {
    let places =
        ["usr/lib/rabbitmq/bin", "opt/rabbitmq/sbin", "usr/local/sbin"].map(|place| Path::new(place).join(name));
    let found = places.iter().find(|place| servers_root().join(place).exists());
    let found = found.unwrap_or_else(|| panic!("no RabbitMQ: apt-get install rabbitmq-server"));
    Path::new("/").join(found).display().to_string()
}

fn postgres_ready(server: &Server) -> bool {
    let port = server.port.to_string();
    let mut asked = postgres_command("pg_isready");
    asked.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().is_ok_and(|status| status.success())
}

fn rabbitmq_ready(server: &Server) -> bool {
    // The broker greets with a method frame (AMQP 0-9-1, section 2.2.4) once it takes connections.
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", server.port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut first = [0u8];
    stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok()
        && std::io::Read::read_exact(&mut stream, &mut first).is_ok()
        && first == [1]
}

fn definitions() -> String {
    let names = (0..VHOSTS).map(|n| format!("t{n}")).chain(["/".to_string()]);
    let (vhosts, permissions): (Vec<_>, Vec<_>) = names
        .map(|name| {
            let may = |user: &str, configure: &str, write: &str| {
                serde_json::json!({"user": user, "vhost": name, "configure": configure, "write": write, "read": ".*"})
            };
            // A user with few rights, as a system beside the hub should have.
            let clerk = may("clerk", "^answers$", "^(busbar\\.in(\\.desk)?|answers)$");
            (serde_json::json!({"name": name}), [may("busbar", ".*", ".*"), clerk])
        })
        .unzip();
    let permissions = permissions.concat();
    let users = serde_json::json!([
        {"name": "busbar", "password": "busbar", "tags": "administrator"},
        {"name": "clerk", "password": "clerk", "tags": ""},
    ]);
    serde_json::json!({"users": users, "vhosts": vhosts, "permissions": permissions}).to_string()
}

/// Below the ports that the system gives to outgoing connections: while a server is restarted, one of those would take its
/// port.
pub fn free_port() -> u16 {
    let given = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = given.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768_u16);
    let ports = || rand::rng().random_range(first / 2..first);
    std::iter::repeat_with(ports).take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn servers_keep_their_data_over_a_restart_and_leave_nothing() {
    for mut server in [Server::postgres(), Server::rabbitmq()] {
        let (port, folder) = (server.port, server.folder.path().to_path_buf());
        assert!((server.ready)(&server));
        server.kill();
        assert!(!(server.ready)(&server));
        server.restart();
        assert!((server.ready)(&server));
        server.stop();
        assert!(!(server.ready)(&server) && folder.exists());
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!folder.exists());
    }
}

#[tokio::test]
async fn each_virtual_host_is_there_and_alone() {
    let urls = tokio::task::spawn_blocking(|| [vhost(), vhost()]).await.unwrap();
    let open = |url: String| async move {
        let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    };
    let [(_first, one), (_second, other)] = [open(urls[0].clone()).await, open(urls[1].clone()).await];
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let declare = |options| one.queue_declare("q".into(), options, Default::default());
    declare(Default::default()).await.unwrap();
    assert!(declare(passive).await.is_ok());
    assert!(other.queue_declare("q".into(), passive, Default::default()).await.is_err());
}

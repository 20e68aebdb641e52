//! Independent judges: libraries of others, out of the registries, write what the hub and its adapters read, and read what
//! they write, over generated data. The seed is printed; `BUSBAR_SEED` repeats a run. What is not installed says NOT CHECKED
//! (`tests/fixtures/peers/install.sh`).

mod addresses;
mod bank;
mod cloudevents;
mod directory;
mod espi;
mod gateways;
mod iec104;
mod iso20022;
mod oauth2;
mod one;
mod openapi;
mod payment_qr;
mod relay;
mod scim;
mod smpp;
mod webhooks;
mod yookassa;

use crate::conformance::RULES;
use crate::hub::{LOADED, RUNTIME, root};
use busbar_server::cli::{Input, Setup, run_scripted};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// A library of another language behind a command that takes JSON lines and gives JSON lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    Python,
    JavaScript,
    Go,
    Java,
    Rust,
}

impl Judge {
    /// Those that have CloudEvents and Standard Webhooks.
    pub const ALL: [Self; 4] = [Self::Python, Self::JavaScript, Self::Go, Self::Java];

    /// The command, or nothing where it is not installed.
    pub fn command(self, arguments: &[&str]) -> Option<Command> {
        let folder = crate::peers::folder()?;
        let programs = root().join("tests/fixtures/judges");
        let (part, mut command) = match self {
            Self::Python => {
                let mut command = Command::new(folder.join("venv/bin/python"));
                command.arg(programs.join("judge.py"));
                ("python", command)
            }
            Self::JavaScript => {
                let mut command = Command::new("node");
                command.arg(programs.join("judge.js")).env("NODE_PATH", folder.join("node_modules"));
                ("node", command)
            }
            Self::Go => ("go", Command::new(folder.join("judge-go"))),
            Self::Rust => ("rust", Command::new(folder.join("judge-rust"))),
            Self::Java => {
                let mut command = Command::new("java");
                let jars = format!("{0}/target/judge-1.jar:{0}/lib/*", folder.join("java").display());
                command.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", &jars, "Judge"]);
                ("java", command)
            }
        };
        if !folder.join(format!("{part}.installed")).exists() {
            println!("NOT CHECKED: {self:?} is not installed ({}/{part}.log)", folder.display());
            return None;
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        Some(command)
    }

    /// What it answers to these lines.
    pub async fn ask(self, arguments: &[&str], lines: Vec<Value>) -> Option<Vec<Value>> {
        let mut command = self.command(arguments)?;
        let asked = move || {
            let mut child = command.spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let writing = std::thread::spawn(move || lines.iter().for_each(|line| writeln!(input, "{line}").unwrap()));
            let answers: Vec<Value> =
                output.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
            writing.join().unwrap();
            assert!(child.wait().unwrap().success());
            answers
        };
        Some(tokio::task::spawn_blocking(asked).await.unwrap())
    }

    /// One that serves HTTP: its port, and what it says. Dropped, it is gone.
    pub fn serve(self, what: &str) -> Option<Serving> {
        let mut child = self.command(&[what])?.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        let (send, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Some(Serving { child, port: port.trim().parse().unwrap(), heard })
    }
}

pub struct Serving {
    child: Child,
    pub port: u16,
    pub heard: std::sync::mpsc::Receiver<Value>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an adapter does with one input, shown as its cases show it. `setup` is that of a case.
async fn run(adapter: &str, entry: &str, input: impl AsRef<[u8]>, mut setup: Value) -> Value {
    setup["entry"] = entry.into();
    setup["now"] = "2026-11-28T12:00:00Z".into();
    let setup: Setup = serde_json::from_value(setup).unwrap();
    let input = Input { entry: setup.entry.unwrap(), name: "input".into(), bytes: input.as_ref().to_vec() };
    run_scripted(&RUNTIME, &LOADED[adapter], &RULES, setup, input).await.unwrap().show()
}

/// The messages of one type in what [`run`] shows.
fn of_type<'a>(shown: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let messages = shown["messages"].as_array().unwrap_or_else(|| panic!("{shown}"));
    messages.iter().filter(move |message| message["type"] == kind)
}

fn sorted(facts: impl Iterator<Item = String>) -> Vec<String> {
    let mut facts: Vec<_> = facts.collect();
    facts.sort();
    facts
}

/// Numbers of one run: SplitMix64.
pub struct Dice(u64);

impl Dice {
    pub fn thrown(name: &str) -> Self {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        let seed = std::env::var("BUSBAR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
        println!("{name}: BUSBAR_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A line of the report: what was judged by whom, and how it came out.
pub fn report(format: &str, judge: &str, cases: usize, differences: &[String]) {
    println!("JUDGED {format:<44} {judge:<44} {cases:>5} cases, {} differences", differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(cases > 0, "{format}: nothing was judged");
}

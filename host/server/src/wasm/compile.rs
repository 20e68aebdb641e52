//! Compiling a component, in a child process: nobody knows beforehand how long an unknown component keeps the compiler
//! busy, what memory that takes, or whether the compiler lives. The child is this program itself, so that both are of one
//! version; it bounds itself before it reads a byte of the component, and has neither the hub's environment nor its files.

use super::engine::{broken, compiling, internal};
use crate::config::model::CompileConfig;
use busbar_core::{Code, Problem};
use clap::Args;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// What a child says of its failure at most.
const WORDS_BYTES_MAX: u64 = 2_000;
/// Address space of the program itself, and what its allocator reserves and does not use.
const ADDRESSES_BYTES: u64 = 4 << 30;

/// How components become code.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The program `busbar`.
    pub program: PathBuf,
    pub limits: CompileConfig,
}

impl Compiler {
    /// The running program, even where its file was replaced since it started.
    pub fn this(limits: CompileConfig) -> Self {
        Self { program: "/proc/self/exe".into(), limits }
    }

    /// The code of `wasm`, as the engine serializes it.
    ///
    /// # Errors
    /// `compile-limit` with the limit that was reached; `broken-adapter` when it does not compile.
    pub(super) fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, Problem> {
        let [mut input, mut code, words] = [held("component")?, held("code")?, held("words")?];
        input.write_all(wasm).and_then(|()| input.rewind()).map_err(internal)?;
        let mut command = Command::new(&self.program);
        command.arg("compile-component").env_clear().current_dir("/");
        command.args(["--time-ms", &self.limits.time_ms.to_string()]);
        command.args(["--memory-bytes", &self.limits.memory_bytes.to_string()]);
        command.stdin(input).stdout(code.try_clone().map_err(internal)?).stderr(words.try_clone().map_err(internal)?);
        let mut child = command.spawn().map_err(|e| internal(format!("the compiler cannot be started: {e}")))?;
        match self.ended(&mut child) {
            Ok(status) if status.success() => {
                let mut bytes = Vec::new();
                code.rewind().and_then(|()| code.read_to_end(&mut bytes)).map_err(internal)?;
                Ok(bytes)
            }
            Ok(status) => Err(self.failed(status, &said(words))),
            Err(problem) => {
                // Whatever it is busy with, nobody waits for it any more.
                let _ = child.kill();
                let _ = child.wait();
                Err(problem)
            }
        }
    }

    /// How it ended, unless it reached a limit first.
    fn ended(&self, child: &mut Child) -> Result<ExitStatus, Problem> {
        let (began, most) = (Instant::now(), Duration::from_millis(self.limits.time_ms));
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait().map_err(internal)? {
                return Ok(status);
            }
            if began.elapsed() >= most {
                return Err(self.too_slow());
            }
            if memory_bytes(child) > self.limits.memory_bytes {
                return Err(self.too_large());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    fn failed(&self, status: ExitStatus, said: &str) -> Problem {
        match status.signal().map(Signal::from_named_raw) {
            Some(Some(Signal::XCPU)) => self.too_slow(),
            Some(Some(Signal::XFSZ)) => self.too_large(),
            Some(Some(Signal::KILL)) => {
                reached("the machine ended the compiler: it has too little memory for it".into())
            }
            Some(_) => broken(format!("the compiler ended with {status} {said}")),
            None => broken(said.trim_start_matches("error: ")),
        }
    }

    fn too_large(&self) -> Problem {
        reached(format!("compiling it takes more than {} bytes (compile.memory-bytes)", self.limits.memory_bytes))
    }

    fn too_slow(&self) -> Problem {
        reached(format!("compiling it takes longer than {} ms (compile.time-ms)", self.limits.time_ms))
    }
}

fn reached(detail: String) -> Problem {
    Problem::new(Code::CompileLimit, detail)
}

/// What it has of the machine's memory now: the address space would say little, most of it is reserved and not used.
fn memory_bytes(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default().saturating_mul(1024)
}

/// A file in memory alone: it needs no folder, and nobody else can reach it.
fn held(name: &str) -> Result<File, Problem> {
    memfd_create(name, MemfdFlags::CLOEXEC).map(File::from).map_err(internal)
}

fn said(mut words: File) -> String {
    let mut bytes = Vec::new();
    let _ = words.rewind().and_then(|()| words.take(WORDS_BYTES_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).trim().to_string()
}

/// The file of a component, which may be of any size, or no file at all.
///
/// # Errors
/// `compile-limit` when it is too large; `broken-adapter` when it cannot be read.
pub fn read_component(path: &Path, limits: &CompileConfig) -> Result<Vec<u8>, Problem> {
    let most = limits.component_bytes;
    let unreadable = |e: std::io::Error| broken(format!("{}: {e}", path.display()));
    // A pipe would hold the opening up for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(broken(format!("{} is no file", path.display())));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > most {
        return Err(reached(format!("{} is over {most} bytes (compile.component-bytes)", path.display())));
    }
    Ok(bytes)
}

/// What the child is told.
#[derive(Args)]
pub struct ChildArgs {
    #[arg(long)]
    time_ms: u64,
    #[arg(long)]
    memory_bytes: u64,
}

/// The child: a component on standard input, its code on standard output.
///
/// # Errors
/// The component does not compile, or the machine cannot bound the process.
pub fn child(args: &ChildArgs) -> anyhow::Result<ExitCode> {
    // Should the hub be killed, this must not go on for nobody.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Should the machine run out of memory, this is what it can do without.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let seconds = args.time_ms.div_ceil(1000).max(1);
    for (resource, most) in [
        // The hub looks how much memory this has; should it not come to that, this ends all the same.
        (Resource::As, args.memory_bytes.saturating_add(ADDRESSES_BYTES)),
        (Resource::Fsize, args.memory_bytes),
        (Resource::Cpu, seconds),
        (Resource::Core, 0),
    ] {
        bound(resource, most)?;
    }
    let mut wasm = Vec::new();
    std::io::stdin().read_to_end(&mut wasm)?;
    let code = compiling()?.precompile_component(&wasm).map_err(|e| anyhow::anyhow!("{e:#}"))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&code)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// At most so much; what the hub itself was given may be less.
fn bound(resource: Resource, most: u64) -> std::io::Result<()> {
    let given = getrlimit(resource).maximum;
    let most = given.map_or(most, |given| given.min(most));
    // Where both limits of the processor's time are one, the kernel kills without saying why.
    let hard = if matches!(resource, Resource::Cpu) { most.saturating_add(1) } else { most };
    let hard = given.map_or(hard, |given| given.min(hard));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(hard) })?)
}

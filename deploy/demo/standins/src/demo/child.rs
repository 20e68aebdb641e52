//! The hub as a child process: started, awaited, stopped on every way out.

use anyhow::{Context, anyhow, bail};
use busbar_standins::hub::Hub;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The first start compiles the adapters to machine code.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// Longer than the hub needs to finish the deliveries under way.
const STOP_LIMIT: Duration = Duration::from_secs(15);
const LOG_TAIL_LINES: usize = 20;

pub struct HubProcess {
    child: Child,
    log: PathBuf,
}

impl HubProcess {
    /// Runs `busbar run <deployment>` with its output in `log`.
    pub fn start(busbar: &Path, deployment: &Path, secrets: &[(&str, &str)], log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        let child = Command::new(busbar)
            .arg("run")
            .arg(deployment)
            .envs(secrets.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Should this program end without `stop`, the hub does too.
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", busbar.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until the hub says that it is ready.
    pub async fn ready(&mut self, hub: &Hub) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < READY_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                bail!("the hub ended before it was ready: {status}");
            }
            if hub.is_ready().await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(anyhow!("the hub was not ready after {} s", READY_LIMIT.as_secs()))
    }

    /// Resolves when the hub ends by itself.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Asks the hub to end, and ends it when it does not.
    pub async fn stop(mut self) {
        // Taken from the child itself, so it cannot be somebody else's by now.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(process) = id.and_then(rustix::process::Pid::from_raw) {
            // Fails only when the hub has ended already.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            let _ = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        }
        let _ = self.child.kill().await;
    }

    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// The last lines of the hub's log, for a person who must find out why.
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().rev().take(LOG_TAIL_LINES).collect();
    lines.reverse();
    lines.join("\n")
}

//! Folders: a file is taken when it is complete, decoded, and moved to `done/`, `review/` (parts of it
//! wait for a person) or `failed/` with a report beside it. It stays where it is until its messages are durable, so a crash loses nothing,
//! and taking it again changes nothing.

use crate::config::model::FolderConfig;
use crate::hub::{FileResult, Hub};
use busbar_core::{IntakeOutcome, Problem};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(300);
const FILES_AT_A_LOOK_MAX: usize = 10_000;

/// Watches one system's folder until `stop`.
pub struct Watch {
    pub hub: Arc<Hub>,
    pub system: String,
    pub folder: PathBuf,
    pub config: FolderConfig,
    pub stop: CancellationToken,
}

/// What a file looked like, and since when.
type Seen = HashMap<PathBuf, (u64, SystemTime, Instant)>;

impl Watch {
    /// Makes the folders, so that they are there when the hub says that it is ready.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn prepare(&self) -> std::io::Result<()> {
        for outcome in ["", "done", "review", "failed"] {
            std::fs::create_dir_all(self.folder.join(outcome))?;
        }
        Ok(())
    }

    pub async fn run(self) {
        let mut seen = Seen::new();
        while !self.stop.is_cancelled() {
            for path in self.complete(&mut seen) {
                if self.stop.is_cancelled() {
                    return;
                }
                match self.take(&path).await {
                    Ok(()) => drop(seen.remove(&path)),
                    Err(problem) => {
                        tracing::error!(system = self.system, path = %path.display(), %problem, "a file must wait")
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Files that stood still long enough, oldest first.
    fn complete(&self, seen: &mut Seen) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut now_there = Seen::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(system = self.system, folder = %self.folder.display(), %error, "the folder cannot be read");
                return Vec::new();
            }
        };
        for entry in entries.flatten().take(FILES_AT_A_LOOK_MAX) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let unfinished = name.starts_with('.') || self.config.unfinished.iter().any(|end| name.ends_with(end));
            // A link could lead anywhere on the machine.
            let Some(meta) = entry.metadata().ok().filter(|m| m.is_file() && !unfinished) else { continue };
            let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let since = match seen.get(&path) {
                Some((size, time, since)) if *size == meta.len() && *time == changed => *since,
                _ => Instant::now(),
            };
            if since.elapsed() >= Duration::from_millis(self.config.settle_ms) {
                found.push((changed, path.clone()));
            }
            now_there.insert(path, (meta.len(), changed, since));
        }
        *seen = now_there;
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    async fn take(&self, path: &Path) -> Result<(), Problem> {
        let started = Instant::now();
        let result = self.hub.decode_file(&self.system, path).await?;
        let to = match result.intake.outcome {
            IntakeOutcome::Refused => "failed",
            IntakeOutcome::Accepted | IntakeOutcome::Repeated => "done",
            _ => "review",
        };
        let text = report(&self.system, &result, started.elapsed());
        tracing::info!(
            system = self.system,
            file = result.intake.name,
            outcome = result.intake.outcome.as_str(),
            messages = result.intake.messages,
            "a file was taken"
        );
        metrics::counter!("busbar_files_total", "system" => self.system.clone(), "outcome" => result.intake.outcome.as_str()).increment(1);
        let moved = settle(path, &self.folder.join(to), &result.intake.name, &text);
        moved.map_err(|e| {
            Problem::new(busbar_core::Code::FileUnreadable, format!("{} cannot be moved to {to}/: {e}", path.display()))
        })
    }
}

/// Writes the report, then moves the file: whoever sees the file there finds the report as well.
fn settle(path: &Path, folder: &Path, name: &str, report: &str) -> std::io::Result<()> {
    let mut target = folder.join(name);
    let mut number = 1;
    while target.exists() {
        number += 1;
        target = folder.join(format!("{name}.{number}"));
    }
    let mut beside = target.clone().into_os_string();
    beside.push(".report.txt");
    std::fs::write(beside, report)?;
    std::fs::rename(path, target)
}

fn report(system: &str, result: &FileResult, took: Duration) -> String {
    let intake = &result.intake;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("file", &intake.name);
    line("bytes", &result.bytes.to_string());
    line("system", system);
    line("taken", &crate::wasm::rfc3339(intake.at_ms).unwrap_or_default());
    line("took", &format!("{} ms", took.as_millis()));
    let outcome = match intake.outcome {
        IntakeOutcome::Accepted => "accepted",
        IntakeOutcome::Repeated => "repeated: everything in it was known already, nothing changed",
        IntakeOutcome::Refused => "refused: nothing of it was taken over",
        _ => "incomplete: taken, but for entries that wait for a person (busbar messages entries)",
    };
    line("outcome", outcome);
    line("messages", &intake.messages.to_string());
    line("known", &intake.duplicates.to_string());
    if intake.differing > 0 {
        line(
            "differing",
            &format!("{} known ones say something else now; the first statement stands", intake.differing),
        );
    }
    if intake.left_out > 0 {
        line("left out", &intake.left_out.to_string());
    }
    if let Some(error) = &intake.error {
        line("error", &error.code);
        line("place", error.place.as_deref().unwrap_or("the whole file"));
        line("reason", &error.detail);
        line("remedy", "mend the file, or ask its sender for a new one, and put it into the folder again");
    }
    line("intake", &format!("{} (busbar messages intakes, or GET /v1/intakes?id=…)", intake.id));
    text
}

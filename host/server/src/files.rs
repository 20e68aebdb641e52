//! Folders: a file is taken when it is complete, decoded, and moved to `done/`, `review/` (parts of it
//! wait for a person) or `failed/` with a report beside it. It stays where it is until its messages are durable, so a crash loses nothing,
//! and taking it again changes nothing. What cannot be taken waits, and holds nothing else up.

use crate::config::model::FolderConfig;
use crate::folder::holdup::{FilesShown, FolderLog, HeldShown, Holdup};
use crate::folder::{Folder, Look, shown};
use crate::hub::{Board, FileResult, Hub};
use crate::ids::new_id;
use busbar_core::{Code, IntakeOutcome, Problem, visible};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Names that wait, and as many that do not: those that cannot be taken leave room for the others.
const NAMES_AT_A_LOOK_MAX: usize = 10_000;
const OURS: [&str; 3] = ["done", "review", "failed"];
const NAME_BYTES_MAX: usize = 255;
const REPORT: &str = ".report.txt";
/// Files of one name that get numbers; later ones get something unique.
const NUMBERS_MAX: u32 = 1_000;

/// Watches one system's folder until `stop`.
pub struct Watch {
    pub hub: Arc<Hub>,
    pub system: String,
    pub folder: PathBuf,
    pub config: FolderConfig,
    pub board: Arc<Board<FilesShown>>,
    pub stop: CancellationToken,
    /// Held as long as the folder is watched.
    pub lock: Option<File>,
}

/// A name in the folder.
struct SeenName {
    /// How its file stood, and since when.
    look: Option<Look>,
    since: Instant,
    holdup: Option<Holdup>,
    taken: Option<TakenFile>,
}

/// A file whose messages are durable, and which is still to be moved.
struct TakenFile {
    look: Look,
    to: &'static str,
    report: String,
}

type SeenNames = HashMap<OsString, SeenName>;

impl Watch {
    /// Makes the folder and takes it for this process, so that it is there when the hub says that it is ready.
    ///
    /// # Errors
    /// `in-use` when another hub watches it, `file-unreadable` when it cannot be made.
    pub fn prepare(&mut self) -> Result<(), Problem> {
        let folder = std::fs::create_dir_all(&self.folder).and_then(|()| Folder::open(&self.folder));
        let folder = folder.map_err(|e| unreadable(&format!("{}: ", self.folder.display()), &e))?;
        // What its owner may have put in their places is told of when a file is to be moved there.
        OURS.iter().for_each(|name| drop(folder.below(name)));
        match folder.lock() {
            Ok(None) => {
                let detail = format!("another hub, or another system, watches the folder {}", self.folder.display());
                return Err(Problem::new(Code::InUse, detail));
            }
            Ok(lock) => self.lock = lock,
            // The owner's doing, perhaps: it must not keep the hub from starting.
            Err(error) => tracing::warn!(system = self.system, %error, "the folder cannot be locked"),
        }
        Ok(())
    }

    pub async fn run(mut self) {
        let (mut names, mut lines, mut itself) = (SeenNames::new(), FolderLog::default(), None::<Holdup>);
        while !self.stop.is_cancelled() {
            if itself.as_ref().is_none_or(Holdup::is_over) {
                // Reading a large folder takes a while, and nothing else is to wait for that.
                match tokio::task::block_in_place(|| self.look(&mut names, &mut lines)) {
                    Ok((folder, complete)) => {
                        itself = None;
                        self.take_all(&folder, complete, &mut names, &mut lines).await;
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        itself = Some(self.held(&mut lines, OsStr::new("."), itself.take(), reason));
                    }
                }
                self.show(&names, itself.as_ref());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn take_all(&self, folder: &Folder, complete: Vec<OsString>, names: &mut SeenNames, lines: &mut FolderLog) {
        for name in complete {
            let Some(seen) = names.get_mut(&name) else { continue };
            if self.stop.is_cancelled() {
                return;
            }
            let Err(problem) = self.take(folder, &name, seen).await else {
                names.remove(&name);
                continue;
            };
            seen.holdup = Some(self.held(lines, &name, seen.holdup.take(), problem.detail));
            if problem.code != Code::FileUnreadable {
                // The hub cannot go on now, and the others would find the same; a while later the next one is tried.
                return;
            }
        }
    }

    fn held(&self, lines: &mut FolderLog, name: &OsStr, before: Option<Holdup>, reason: String) -> Holdup {
        let (holdup, news) = Holdup::next(before, reason);
        if news {
            lines.warn(&self.system, &shown(name), &holdup.reason);
        }
        holdup
    }

    fn show(&self, names: &SeenNames, itself: Option<&Holdup>) {
        let held = names.iter().filter_map(|(name, seen)| Some((name.as_os_str(), seen.holdup.as_ref()?)));
        let mut held = held.chain(itself.map(|holdup| (OsStr::new("."), holdup)));
        let first = held.next().map(|(name, holdup)| format!("{}: {}", shown(name), holdup.reason));
        let held = held.count() + usize::from(first.is_some());
        let inbox = HeldShown::new(&self.system, "in", held, first);
        self.board.change(&self.system, |shown| shown.inbox = Some(inbox));
    }

    /// The names of files that stood still long enough, oldest first.
    fn look(&mut self, names: &mut SeenNames, lines: &mut FolderLog) -> std::io::Result<(Folder, Vec<OsString>)> {
        let folder = Folder::open(&self.folder)?;
        // Its owner may have removed the lock, or put another folder there.
        if !self.lock.as_ref().is_some_and(|lock| folder.is_locked_by(lock)) {
            self.lock = folder.lock()?;
        }
        if self.lock.is_none() {
            return Err(std::io::Error::other("another hub watches it"));
        }
        let (mut found, mut there, mut held, mut others) = (Vec::new(), SeenNames::new(), 0, 0);
        for name in folder.names()? {
            let ends = |end: &String| name.as_bytes().ends_with(end.as_bytes());
            let ours = OURS.iter().any(|ours| name.as_bytes() == ours.as_bytes());
            if ours || name.as_bytes().starts_with(b".") || self.config.unfinished.iter().any(ends) {
                continue;
            }
            let before = names.remove(&name);
            let (seen, news) = match folder.look(&name) {
                Ok(None) => continue,
                Ok(Some(look)) => (SeenName::file(before, look), false),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => SeenName::held_up(before, e.to_string()),
            };
            let must_wait = seen.holdup.as_ref().is_some_and(|holdup| seen.look.is_none() || !holdup.is_over());
            let count = if must_wait { &mut held } else { &mut others };
            *count += 1;
            if *count > NAMES_AT_A_LOOK_MAX {
                continue;
            }
            if let (true, Some(holdup)) = (news, &seen.holdup) {
                lines.warn(&self.system, &shown(&name), &holdup.reason);
            }
            let still = seen.since.elapsed() >= Duration::from_millis(self.config.settle_ms);
            if let (Some(look), true, false) = (seen.look, still, must_wait) {
                found.push((look, name.clone()));
            }
            there.insert(name, seen);
        }
        *names = there;
        found.sort();
        Ok((folder, found.into_iter().map(|(_, name)| name).collect()))
    }

    async fn take(&self, folder: &Folder, name: &OsStr, seen: &mut SeenName) -> Result<(), Problem> {
        let Some(look) = seen.look else { return Ok(()) };
        // One that could not be moved is not decoded once more for that.
        let taken = match seen.taken.take().filter(|taken| taken.look == look) {
            Some(taken) => taken,
            None => self.decode(folder, name, look).await?,
        };
        let moved = settle(folder, name, &taken).map_err(|e| unreadable(&format!("moving it to {}/: ", taken.to), &e));
        seen.taken = Some(taken);
        moved
    }

    async fn decode(&self, folder: &Folder, name: &OsStr, look: Look) -> Result<TakenFile, Problem> {
        let started = Instant::now();
        let file = folder.read(name, look).map_err(|e| unreadable("", &e))?;
        let result = self.hub.decode_file(&self.system, &shown(name), &file).await?;
        let to = match result.intake.outcome {
            IntakeOutcome::Refused => "failed",
            IntakeOutcome::Accepted | IntakeOutcome::Repeated => "done",
            _ => "review",
        };
        tracing::info!(
            system = self.system,
            file = result.intake.name,
            outcome = result.intake.outcome.as_str(),
            messages = result.intake.messages,
            "a file was taken"
        );
        metrics::counter!("busbar_files_total", "system" => self.system.clone(), "outcome" => result.intake.outcome.as_str()).increment(1);
        Ok(TakenFile { look, to, report: report(&self.system, &result, started.elapsed()) })
    }
}

impl SeenName {
    fn file(before: Option<Self>, look: Look) -> Self {
        let before = before.unwrap_or(Self { look: None, since: Instant::now(), holdup: None, taken: None });
        if before.look == Some(look) {
            return before;
        }
        // What held it up may be gone with the change, but is told only once.
        Self { look: Some(look), since: Instant::now(), holdup: before.holdup.map(Holdup::ended), taken: before.taken }
    }

    /// What is no file, and whether that is news.
    fn held_up(before: Option<Self>, reason: String) -> (Self, bool) {
        let (holdup, news) = Holdup::next(before.and_then(|seen| seen.holdup), reason);
        (Self { look: None, since: Instant::now(), holdup: Some(holdup), taken: None }, news)
    }
}

fn unreadable(what: &str, error: &std::io::Error) -> Problem {
    Problem::new(Code::FileUnreadable, format!("{what}{error}"))
}

/// Writes the report, then moves the file: whoever sees the file there finds the report as well.
fn settle(folder: &Folder, name: &OsStr, taken: &TakenFile) -> std::io::Result<()> {
    let there = folder.below(taken.to)?;
    let numbered = (1..=NUMBERS_MAX).map(|number| if number == 1 { String::new() } else { format!(".{number}") });
    for suffix in numbered.chain([format!(".{}", new_id())]) {
        let Some(new) = name_there(name, &suffix) else { continue };
        if there.has(&new)? {
            continue;
        }
        let mut beside = new.clone();
        beside.push(REPORT);
        // There is no such file, so this is what a hub left that was killed before it moved it.
        there.remove(&beside)?;
        let written = there.create(&beside).and_then(|mut file| file.write_all(taken.report.as_bytes()));
        let moved = written.and_then(|()| folder.rename_looked_at(name, &taken.look, &there, &new));
        match moved {
            Ok(()) => return Ok(()),
            Err(error) => {
                there.remove(&beside)?;
                if error.kind() != std::io::ErrorKind::AlreadyExists {
                    return Err(error);
                }
            }
        }
    }
    Err(std::io::Error::other("every name is taken there"))
}

/// The name with a suffix, so short that its report has a name as well; `None` when that is a report's own name.
fn name_there(name: &OsStr, suffix: &str) -> Option<OsString> {
    let mut bytes = name.as_bytes().to_vec();
    let most = NAME_BYTES_MAX.saturating_sub(suffix.len() + REPORT.len());
    if bytes.len() > most {
        // Not in the middle of a letter.
        let middle = |bytes: &[u8], at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let mut end = most;
        while end > most.saturating_sub(4) && middle(&bytes, end) {
            end -= 1;
        }
        bytes.truncate(end);
    }
    bytes.extend_from_slice(suffix.as_bytes());
    (!bytes.ends_with(REPORT.as_bytes())).then(|| OsString::from_vec(bytes))
}

fn report(system: &str, result: &FileResult, took: Duration) -> String {
    let intake = &result.intake;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{name:<12}{}", visible(value));
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

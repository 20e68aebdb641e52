//! Files out: the deliveries that the engine puts together become one file, by the adapter's `encode`. What is done in which
//! order, so that there is never a second file, [`busbar_core::files`] says.

use super::{Board, Committer};
use crate::folder::Folder;
use crate::folder::holdup::{FilesShown, HeldShown};
use crate::ids::new_id;
use crate::wasm::RESERVED;
use busbar_core::engine::{Ended, attempt_number};
use busbar_core::files::{self, Begun};
use busbar_core::leases::Lease;
use busbar_core::ports::{Adapters, Clock, Store};
use busbar_core::{Call, CallOutcome, Code, Commit, Failure, Problem, StateWrite, StoredDelivery};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::ffi::OsStr;
use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

const NAME_BYTES_MAX: usize = 200;
/// What a killed hub left under a hidden name, and no delivery's record knows, goes after so long.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

const STORE_RETRY: Duration = Duration::from_millis(250);

/// Writes the files of one system.
pub struct Outbox {
    pub system: String,
    pub folder: PathBuf,
    pub store: Arc<dyn Store>,
    pub committer: Committer,
    pub adapters: Arc<dyn Adapters>,
    pub clock: Arc<dyn Clock>,
    pub lease: Arc<Lease>,
    pub board: Arc<Board<FilesShown>>,
    /// Why no file can be written, as it was told.
    pub told: Mutex<Option<String>>,
}

/// What became of the deliveries of a file.
pub struct Filed {
    pub ended: Vec<Ended>,
    /// Not tried.
    pub left: Vec<i64>,
}

/// A file under its hidden name.
struct Part {
    begun: Begun,
    /// An earlier attempt wrote it, and may have given it its name.
    resumed: bool,
    deliveries: Vec<StoredDelivery>,
    left: Vec<i64>,
    /// What the adapter wrote and called while it made the file.
    state: Vec<StateWrite>,
    calls: Vec<Call>,
    bytes: Option<u64>,
}

/// What hubs before 2026-11-29 wrote into their system's state instead of the deliveries' records.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    name: String,
    /// (delivery, attempts made before, version)
    deliveries: Vec<(i64, u32, u32)>,
    calls: Vec<Call>,
    bytes: u64,
}

impl Outbox {
    /// Makes the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)
    }

    /// Makes one file, or goes on with one that was begun. `recorded`: what earlier attempts did, of those that had any.
    pub async fn make(&self, deliveries: Vec<StoredDelivery>, recorded: Vec<(i64, Vec<Call>)>) -> Filed {
        let breaks = self.lease.breaks();
        let mut part = match self.part(deliveries, &recorded).await {
            Ok(part) => part,
            Err(filed) => return filed,
        };
        let at_ms = self.clock.now_ms();
        let started = files::ahead(&part.deliveries, &part.begun, at_ms);
        let state = std::mem::take(&mut part.state);
        let written = self.committer.commit(Commit { started, state, at_ms, ..Commit::default() }).await;
        let taken_over = || Problem::new(Code::StoreUnavailable, "another hub has taken the deliveries over");
        let trouble = match written {
            // While this hub stood still another one may have gone on with it.
            Ok(Ok(_)) if self.lease.holds(breaks, self.clock.now_ms()) => None,
            Ok(Ok(_)) => Some(taken_over()),
            Ok(Err(_)) => {
                // Nothing was written ahead, so that nobody goes on with it; but with what was begun before somebody does.
                if !part.resumed {
                    let _ = self.open().and_then(|folder| folder.remove(OsStr::new(&part.begun.part)));
                }
                Some(taken_over())
            }
            // It may be written ahead all the same: the part stays.
            Err(problem) => Some(problem),
        };
        // In trouble the deliveries' records stay as they are, all of them: where they say that the file was begun, it is gone
        // on with.
        let named = match trouble {
            Some(problem) => Err(Failure::Hub(problem)),
            None => self.name(&part).await,
        };
        self.end(part, named)
    }

    /// The file that comes next: one that was begun, or a new one of all.
    async fn part(&self, deliveries: Vec<StoredDelivery>, recorded: &[(i64, Vec<Call>)]) -> Result<Part, Filed> {
        let begun = match files::unfinished(recorded) {
            Some((begun, ids)) => Some((begun, ids, vec![])),
            None => match self.noted(&deliveries).await {
                Ok(noted) => noted,
                Err(problem) => return Err(self.failed(deliveries, Failure::Hub(problem), vec![])),
            },
        };
        let Some((begun, ids, state)) = begun else { return self.write(deliveries).await };
        let (deliveries, left): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(|d| ids.contains(&d.id));
        let left = left.into_iter().map(|d| d.id).collect();
        Ok(Part { begun, resumed: true, deliveries, left, state, calls: vec![], bytes: None })
    }

    /// Writes a new file under a hidden name.
    async fn write(&self, deliveries: Vec<StoredDelivery>) -> Result<Part, Filed> {
        let first = deliveries.first().map_or(0, |delivery| delivery.id);
        let part = format!("{}{first}-{}.part", self.hidden(), new_id());
        let created = self.open().and_then(|folder| {
            let file = folder.create(OsStr::new(&part))?;
            Ok((folder, file.try_clone()?, file))
        });
        let (folder, synced, file) = match created {
            Ok(created) => created,
            Err(e) => return Err(self.failed(deliveries, self.unwritable("", &e), vec![])),
        };
        let messages: Vec<_> = deliveries.iter().map(|d| d.message.clone()).collect();
        let run = self.adapters.encode(&self.system, &messages, Box::new(BufWriter::new(file))).await;
        let made = run.result.and_then(|name| {
            self.free(&folder, &name)?;
            // The name itself must survive a power cut as well.
            let synced = synced.sync_all().and_then(|()| folder.sync()).and_then(|()| synced.metadata());
            Ok((name, synced.map_err(|e| self.unwritable("", &e))?.len()))
        });
        match made {
            Ok((name, bytes)) => {
                let begun = Begun { name, part };
                let (state, calls, left, bytes) = (run.state, run.calls, vec![], Some(bytes));
                Ok(Part { begun, resumed: false, deliveries, left, state, calls, bytes })
            }
            Err(failure) => {
                // Half of a file is nobody's; should it stay, it is forgotten some time.
                let _ = folder.remove(OsStr::new(&part));
                Err(self.failed(deliveries, failure, run.calls))
            }
        }
    }

    // A file that the far end has not taken yet must not be written over.
    fn free(&self, folder: &Folder, name: &str) -> Result<(), Failure> {
        let plain = Path::new(name).file_name().is_some_and(|n| n == name) && !name.starts_with('.');
        if !plain || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(Failure::Hub(Problem::new(Code::AdapterOther, format!("the adapter named its file {name:?}"))));
        }
        match folder.has(OsStr::new(name)) {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.unwritable(name, &ErrorKind::AlreadyExists.into())),
            Err(e) => Err(self.unwritable(name, &e)),
        }
    }

    /// Gives the file its name. What is said of its call: that it was done now, or before.
    async fn name(&self, part: &Part) -> Result<CallOutcome, Failure> {
        let Begun { name, part: hidden } = &part.begun;
        let named = self.open().and_then(|folder| {
            let there = folder.has(OsStr::new(hidden))?;
            if there {
                folder.rename(OsStr::new(hidden), &folder, OsStr::new(name))?;
            }
            folder.sync().map(|()| there)
        });
        match named {
            Ok(true) => Ok(CallOutcome::Ok),
            Ok(false) if part.resumed => Ok(CallOutcome::Recorded),
            Ok(false) => {
                // Somebody clears the folder up. What nobody can have fetched is made again.
                let at_ms = self.clock.now_ms();
                let started = files::withdrawn(&part.deliveries, &part.begun, at_ms);
                let commit = Commit { started, at_ms, ..Commit::default() };
                // Until it is written, or they are another hub's, the records say that the file is there.
                while self.committer.commit(commit.clone()).await.is_err() {
                    tokio::time::sleep(STORE_RETRY).await;
                }
                Err(self.unwritable(name, &std::io::Error::other("it was removed before it had its name")))
            }
            Err(e) => Err(self.unwritable(name, &e)),
        }
    }

    fn end(&self, part: Part, named: Result<CallOutcome, Failure>) -> Filed {
        let Part { begun, deliveries, left, calls, bytes, .. } = part;
        let (at_ms, messages) = (self.clock.now_ms(), deliveries.len());
        match &named {
            Ok(_) => {
                tracing::info!(system = self.system, file = begun.name, messages, "a file was written");
                metrics::counter!("busbar_files_out_total", "system" => self.system.clone()).increment(1);
                self.show(None);
            }
            Err(failure) => self.tell(failure, messages),
        }
        let answer = json!({ "bytes": bytes, "messages": messages });
        let in_file = |index, delivery, outcome: &CallOutcome| {
            files::call(attempt_number(delivery), &begun, index, outcome.clone(), Some(answer.clone()), at_ms)
        };
        let own = deliveries.iter().enumerate();
        let own = own.map(|(index, d)| named.iter().map(|outcome| in_file(index, d, outcome)).collect()).collect();
        self.filed(deliveries, left, &named.map(drop), own, calls)
    }

    /// No file came of it. A rejection that names a message is that message's alone.
    pub(super) fn failed(&self, mut deliveries: Vec<StoredDelivery>, failure: Failure, calls: Vec<Call>) -> Filed {
        let mut left = Vec::new();
        if let Some(index) = files::at_fault(&failure).filter(|index| *index < deliveries.len()) {
            let at_fault = deliveries.remove(index);
            left = std::mem::replace(&mut deliveries, vec![at_fault]).into_iter().map(|d| d.id).collect();
        }
        self.tell(&failure, deliveries.len());
        let own = deliveries.iter().map(|_| vec![]).collect();
        self.filed(deliveries, left, &Err(failure), own, calls)
    }

    /// `own`: the calls of each delivery; `calls`: those of the adapter, which the first one keeps.
    fn filed(
        &self,
        deliveries: Vec<StoredDelivery>,
        left: Vec<i64>,
        result: &Result<(), Failure>,
        mut own: Vec<Vec<Call>>,
        calls: Vec<Call>,
    ) -> Filed {
        if let (Some(first), Some(delivery)) = (own.first_mut(), deliveries.first()) {
            let attempt = attempt_number(delivery);
            first.extend(calls.into_iter().zip(1..).map(|(call, ordinal)| Call { attempt, ordinal, ..call }));
        }
        let code = result.as_ref().err().map_or("ok", |failure| failure.problem().code.as_str());
        metrics::counter!("busbar_attempts_total", "system" => self.system.clone(), "outcome" => code).increment(1);
        let jitter = rand::random();
        let ended = |(delivery, calls): (StoredDelivery, Vec<Call>)| Ended {
            attempt: attempt_number(&delivery),
            system: delivery.system,
            delivery: delivery.id,
            result: result.clone(),
            messages: vec![],
            state: vec![],
            calls,
            jitter,
        };
        Filed { ended: deliveries.into_iter().zip(own).map(ended).collect(), left }
    }

    /// The file that an earlier version of the hub began, with those of its deliveries that are here, and what takes them out
    /// of its note: others of it may come later, and are in that file as well.
    async fn noted(&self, here: &[StoredDelivery]) -> Result<Option<(Begun, Vec<i64>, Vec<StateWrite>)>, Problem> {
        let key = format!("{RESERVED}file");
        let Some(note) = self.store.state(&self.system, &key).await? else { return Ok(None) };
        let internal = |e: serde_json::Error| Problem::new(Code::Internal, format!("the note of a file: {e}"));
        let mut note: Note = serde_json::from_slice(&note).map_err(internal)?;
        let is_here = |(id, _, _): &(i64, u32, u32)| here.iter().any(|delivery| delivery.id == *id);
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut note.deliveries).into_iter().partition(is_here);
        if now.is_empty() {
            return Ok(None);
        }
        let begun = Begun { name: note.name.clone(), part: format!(".busbar-{}.part", self.system) };
        note.deliveries = later;
        let rest = !note.deliveries.is_empty();
        let value = rest.then(|| serde_json::to_vec(&note)).transpose().map_err(internal)?;
        let ids = now.into_iter().map(|(id, _, _)| id).collect();
        Ok(Some((begun, ids, vec![StateWrite { system: self.system.clone(), key, value }])))
    }

    /// Removes what a killed hub left of files that it had not written ahead.
    pub async fn clear_up(&self) {
        let Ok(folder) = self.open() else { return };
        let Ok(names) = folder.names() else { return };
        let prefix = self.hidden();
        for name in names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&prefix)) {
            let written = std::fs::symlink_metadata(self.folder.join(&name)).and_then(|meta| meta.modified());
            let age = written.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let first = name.get(prefix.len()..).and_then(first_of);
            let (Some(first), true) = (first, age.is_some_and(|age| age > FORGOTTEN)) else { continue };
            let Ok(calls) = self.store.calls(first).await else { continue };
            if files::begun(&calls).is_none_or(|begun| begun.part != name) {
                tracing::info!(system = self.system, file = name, "an unfinished file that nobody knows of is removed");
                let _ = folder.remove(OsStr::new(&name));
            }
        }
    }

    /// Says why no file came of it: of a folder that cannot be written to once.
    fn tell(&self, failure: &Failure, deliveries: usize) {
        let problem = failure.problem();
        let code = problem.code.as_str();
        if problem.code != Code::FileUnreadable {
            return tracing::warn!(system = self.system, code, deliveries, "a file could not be made");
        }
        let reason = problem.to_string();
        if self.show(Some(reason.clone())) {
            tracing::warn!(system = self.system, what = "a file", reason, "it must wait");
        }
    }

    /// Shows why no file can be written, and says whether that is news.
    fn show(&self, reason: Option<String>) -> bool {
        let held = usize::from(reason.is_some());
        let outbox = HeldShown::new(&self.system, "out", held, reason.clone());
        self.board.change(&self.system, |shown| shown.outbox = Some(outbox));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *told != reason;
        *told = reason;
        news
    }

    fn hidden(&self) -> String {
        format!(".busbar-{}-", self.system)
    }

    fn open(&self) -> std::io::Result<Folder> {
        Folder::open(&self.folder)
    }

    fn unwritable(&self, name: &str, error: &std::io::Error) -> Failure {
        let text = format!("{}: {error}", self.folder.join(name).display());
        match error.kind() {
            // The far end has not fetched it: that is no trouble of the folder.
            ErrorKind::AlreadyExists => Failure::Transient { reason: text, retry_after_ms: None },
            _ => Failure::Hub(Problem::new(Code::FileUnreadable, text)),
        }
    }
}

/// The first delivery of a part by its name after the system's. That of a system whose name begins alike has more before it.
fn first_of(rest: &str) -> Option<i64> {
    let (first, id) = rest.strip_suffix(".part")?.split_once('-')?;
    uuid::Uuid::parse_str(id).ok()?;
    first.parse().ok()
}

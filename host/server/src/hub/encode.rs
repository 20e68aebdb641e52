//! Files out: a system's deliveries become one file, by its adapter's `encode`.
//!
//! The file is written whole under a hidden name and synced; then a note of it (name and deliveries) is
//! committed; then it gets its name; then the deliveries are done and the note goes, in one transaction.
//! After a crash the note says what is left to do, so that there is never a second file: while the hidden
//! file is there it has not got its name yet, and when it is not, it has.

use super::Board;
use super::shards::Turn;
use crate::config::model::OutConfig;
use crate::folder::Folder;
use crate::folder::holdup::{FilesShown, HeldShown, Holdup, Lines};
use crate::wasm::RESERVED;
use busbar_core::outcome::decide;
use busbar_core::ports::{Adapters, Clock, Store};
use busbar_core::{
    Attempted, Call, Code, Commit, DeliveryState, ErrorRecord, Failure, Next, Policy, Problem, Refusal, Shards,
    StateWrite, StoredDelivery,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const NAME_BYTES_MAX: usize = 200;

/// Keeps a file that is being made and people's decisions about its deliveries apart.
pub struct Gate {
    pub turn: Turn,
    making: Mutex<()>,
}

impl Gate {
    pub fn new(turn: Turn) -> Arc<Self> {
        Arc::new(Self { turn, making: Mutex::new(()) })
    }

    /// No file is begun while this is held.
    ///
    /// # Errors
    /// One is being made, or another hub makes them.
    pub async fn pass(&self, system: &str, store: &dyn Store) -> Result<Result<MutexGuard<'_, ()>, Refusal>, Problem> {
        if !self.turn.is_mine(system) {
            return Ok(Err(Refusal::Elsewhere));
        }
        let Ok(guard) = self.making.try_lock() else { return Ok(Err(Refusal::UnderWay)) };
        let begun = store.state(system, &key()).await?.is_some();
        Ok(if begun { Err(Refusal::UnderWay) } else { Ok(guard) })
    }
}

/// Writes the files of one system.
pub struct Outbox {
    pub system: String,
    pub folder: PathBuf,
    pub config: OutConfig,
    pub policy: Policy,
    pub store: Arc<dyn Store>,
    pub adapters: Arc<dyn Adapters>,
    pub clock: Arc<dyn Clock>,
    pub gate: Arc<Gate>,
    pub board: Arc<Board<FilesShown>>,
}

/// A file that is whole, and whose deliveries are not done yet.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    name: String,
    /// (delivery, attempts made before, version)
    deliveries: Vec<(i64, u32, u32)>,
    /// What the adapter called while it wrote.
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

    /// Writes files until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let every = Duration::from_millis(self.config.every_ms);
        // What an earlier run left is finished at once, and what waits since then is due.
        let (mut last, mut holdup, mut lines) = (None, None::<Holdup>, Lines::default());
        while !stop.is_cancelled() {
            let due = last.is_none_or(|at: Instant| at.elapsed() >= every);
            let mine = self.gate.turn.is_mine(&self.system) && holdup.as_ref().is_none_or(Holdup::is_over);
            match if mine { Some(self.once(due).await) } else { None } {
                Some(Ok(made)) => {
                    holdup = None;
                    self.show(None);
                    if made {
                        // There may be enough for another one.
                        last = Some(Instant::now());
                        continue;
                    }
                }
                Some(Err(problem)) => {
                    let (next, news) = Holdup::next(holdup.take(), problem.to_string());
                    if news {
                        lines.warn(&self.system, "a file", &next.reason);
                    }
                    self.show(Some(next.reason.clone()));
                    holdup = Some(next);
                }
                None => {}
            }
            tokio::select! {
                () = tokio::time::sleep(every.min(LOOK_EVERY)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn show(&self, reason: Option<String>) {
        let held = usize::from(reason.is_some());
        let outbox = HeldShown::new(&self.system, "out", held, reason);
        self.board.change(&self.system, |shown| shown.outbox = Some(outbox));
    }

    /// Finishes a file that was begun, then makes one of what waits, if `due` or there is enough for one.
    /// Says whether it made one.
    ///
    /// # Errors
    /// `store-unavailable`, `file-unreadable`: it goes on with the next call.
    pub async fn once(&self, due: bool) -> Result<bool, Problem> {
        let _making = self.gate.making.lock().await;
        if let Some(note) = self.store.state(&self.system, &key()).await? {
            let note = serde_json::from_slice(&note).map_err(|e| Problem::new(Code::Internal, format!("note: {e}")))?;
            self.finish(note, false).await?;
        }
        let found = self.store.ready(&self.system, Shards::ALL, 0, self.config.messages_max).await?;
        let mut waiting = found.deliveries;
        if waiting.is_empty() || !(due || waiting.len() >= self.config.messages_max as usize) {
            return Ok(false);
        }
        self.compose(&mut waiting);
        while !waiting.is_empty() {
            match self.write(&waiting).await? {
                Ok(note) => {
                    self.finish(note, true).await?;
                    return Ok(true);
                }
                Err(failure) => self.failed(&mut waiting, failure).await?,
            }
        }
        Ok(false)
    }

    /// Leaves in `waiting` what may go into a file now: due, and not behind another with its key.
    fn compose(&self, waiting: &mut Vec<StoredDelivery>) {
        let (now_ms, mut later) = (self.clock.now_ms(), HashSet::new());
        waiting.retain(|delivery| {
            if held(delivery, &later) {
                return false;
            }
            let due = delivery.next_at_ms <= now_ms;
            if let (false, Some(key)) = (due, &delivery.key) {
                later.insert(key.clone());
            }
            due
        });
    }

    /// Writes the hidden file and its note.
    async fn write(&self, waiting: &[StoredDelivery]) -> Result<Result<Note, Failure>, Problem> {
        let (hidden, folder) = (self.hidden(), self.open()?);
        // What an earlier attempt left, or somebody put there to lead the hub elsewhere.
        let file = folder.remove(OsStr::new(&hidden)).and_then(|()| folder.create(OsStr::new(&hidden)));
        let file = file.map_err(|e| self.unwritable(&hidden, &e))?;
        let synced = file.try_clone().map_err(|e| self.unwritable(&hidden, &e))?;
        let messages: Vec<_> = waiting.iter().map(|d| d.message.clone()).collect();
        let run = self.adapters.encode(&self.system, &messages, Box::new(BufWriter::new(file))).await;
        let name = match run.result.and_then(|name| self.free(&folder, name).map_err(Failure::Hub)) {
            Ok(name) => name,
            Err(failure) => return Ok(Err(failure)),
        };
        let meta = synced.sync_all().and_then(|()| synced.metadata()).map_err(|e| self.unwritable(&hidden, &e))?;
        // The name itself must survive a power cut as well.
        folder.sync().map_err(|e| self.unwritable(&hidden, &e))?;
        let deliveries = waiting.iter().map(|d| (d.id, d.attempts, d.version)).collect();
        let note = Note { name, deliveries, calls: run.calls, bytes: meta.len() };
        let value = serde_json::to_vec(&note).map_err(|e| Problem::new(Code::Internal, e.to_string()))?;
        let state = run.state.into_iter().chain([self.note(Some(value))]).collect();
        self.commit(vec![Commit { state, at_ms: self.clock.now_ms(), ..Commit::default() }]).await?;
        Ok(Ok(note))
    }

    // A file that the far end has not taken yet must not be written over.
    fn free(&self, folder: &Folder, name: String) -> Result<String, Problem> {
        let plain = Path::new(&name).file_name().is_some_and(|n| n == name.as_str()) && !name.starts_with('.');
        if !plain || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(Problem::new(Code::AdapterOther, format!("the adapter named its file {name:?}")));
        }
        match folder.has(OsStr::new(&name)) {
            Ok(false) => Ok(name),
            Ok(true) => Err(self.unwritable(&name, &std::io::ErrorKind::AlreadyExists.into())),
            Err(e) => Err(self.unwritable(&name, &e)),
        }
    }

    /// Gives the file its name, and writes down that its deliveries are done. `fresh`: it cannot have its name yet.
    async fn finish(&self, note: Note, fresh: bool) -> Result<(), Problem> {
        let (hidden, folder) = (self.hidden(), self.open()?);
        let (hidden, name) = (OsStr::new(&hidden), OsStr::new(&note.name));
        if fresh && !folder.has(hidden).map_err(|e| self.unwritable(&note.name, &e))? {
            // Somebody clears the folder up. What nobody can have fetched is made again.
            self.commit(vec![Commit { state: vec![self.note(None)], ..Commit::default() }]).await?;
            return Err(self.unwritable(&note.name, &std::io::Error::other("it was removed before it had its name")));
        }
        let named =
            folder.has(hidden).and_then(|there| if there { folder.rename(hidden, &folder, name) } else { Ok(()) });
        named.and_then(|()| folder.sync()).map_err(|e| self.unwritable(&note.name, &e))?;
        let at_ms = self.clock.now_ms();
        let count = note.deliveries.len();
        let mut commits: Vec<_> = (0u32..)
            .zip(&note.deliveries)
            .map(|(index, (id, attempts, version))| {
                let request = json!({ "name": note.name, "index": index });
                let file = Call {
                    attempt: attempts + 1,
                    ordinal: 0,
                    kind: "file".into(),
                    request,
                    answer: Some(json!({ "bytes": note.bytes, "messages": count })),
                    outcome: "ok".into(),
                    started_at_ms: at_ms,
                    duration_us: 0,
                };
                Commit {
                    calls: vec![file],
                    ..self.attempted((*id, *version), attempts + 1, DeliveryState::Done, 0, None)
                }
            })
            .collect();
        if let Some(first) = commits.first_mut() {
            first.calls.extend(note.calls.into_iter().zip(1..).map(|(call, ordinal)| Call { ordinal, ..call }));
        }
        commits.push(Commit { state: vec![self.note(None)], at_ms, ..Commit::default() });
        self.commit(commits).await?;
        tracing::info!(system = self.system, file = note.name, messages = count, "a file was written");
        metrics::counter!("busbar_files_out_total", "system" => self.system.clone()).increment(1);
        Ok(())
    }

    /// What follows from a failed `encode`. A rejection that names a message is that message's alone, and
    /// the others stay in `waiting`.
    async fn failed(&self, waiting: &mut Vec<StoredDelivery>, failure: Failure) -> Result<(), Problem> {
        let at_fault = at_fault(&failure).filter(|index| *index < waiting.len());
        let (failed, rest) = match at_fault {
            Some(index) => (vec![waiting.remove(index)], std::mem::take(waiting)),
            None => (std::mem::take(waiting), Vec::new()),
        };
        let (jitter, record) = (rand::random(), failure.problem().record());
        let code = failure.problem().code.as_str();
        tracing::warn!(system = self.system, code, deliveries = failed.len(), "a file could not be made of all");
        let mut given_up = HashSet::new();
        let commits: Vec<_> = failed
            .iter()
            .map(|delivery| {
                let attempt = delivery.attempts + 1;
                let (state, next_at_ms) = match decide(&self.policy, delivery.tries + 1, &failure, jitter, false) {
                    Next::Retry { after_ms } => {
                        (DeliveryState::Ready, self.clock.now_ms().saturating_add_unsigned(after_ms))
                    }
                    Next::GiveUp => (given_up_state(delivery), 0),
                };
                if state == DeliveryState::Parked {
                    given_up.extend(delivery.key.clone());
                }
                let attempted =
                    self.attempted((delivery.id, delivery.version), attempt, state, next_at_ms, Some(record.clone()));
                let tries = delivery.tries + 1;
                Commit { attempted: attempted.attempted.map(|a| Attempted { tries, ..a }), ..attempted }
            })
            .collect();
        self.commit(commits).await?;
        // What was behind a parked one waits in the store now.
        *waiting = rest.into_iter().filter(|delivery| !held(delivery, &given_up)).collect();
        Ok(())
    }

    fn attempted(
        &self,
        (delivery, expected): (i64, u32),
        attempts: u32,
        state: DeliveryState,
        next_at_ms: i64,
        error: Option<ErrorRecord>,
    ) -> Commit {
        let at_ms = self.clock.now_ms();
        let attempted = Attempted { delivery, expected, state, attempts, tries: attempts, next_at_ms, error, at_ms };
        Commit { attempted: Some(attempted), at_ms, ..Commit::default() }
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<(), Problem> {
        if commits.is_empty() { Ok(()) } else { self.store.commit(commits).await.map(drop) }
    }

    fn note(&self, value: Option<Vec<u8>>) -> StateWrite {
        StateWrite { system: self.system.clone(), key: key(), value }
    }

    fn hidden(&self) -> String {
        format!(".busbar-{}.part", self.system)
    }

    fn open(&self) -> Result<Folder, Problem> {
        Folder::open(&self.folder).map_err(|e| self.unwritable("", &e))
    }

    fn unwritable(&self, name: &str, error: &std::io::Error) -> Problem {
        Problem::new(Code::FileUnreadable, format!("{}: {error}", self.folder.join(name).display()))
    }
}

fn key() -> String {
    format!("{RESERVED}file")
}

fn held(delivery: &StoredDelivery, keys: &HashSet<String>) -> bool {
    delivery.key.as_ref().is_some_and(|key| keys.contains(key))
}

fn given_up_state(delivery: &StoredDelivery) -> DeliveryState {
    if delivery.key.is_some() { DeliveryState::Parked } else { DeliveryState::Dead }
}

/// The message that a rejection names: `/3`, `/3/data/amount`.
fn at_fault(failure: &Failure) -> Option<usize> {
    let Failure::Rejected(rejection) = failure else { return None };
    rejection.place.as_deref()?.strip_prefix('/')?.split('/').next()?.parse().ok()
}

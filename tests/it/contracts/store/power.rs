//! Power loss on SQLite. A store works while [`vfs`](super::vfs) writes down what its disk is told. Then the power is cut
//! at 200 moments: what was synced is there, of the rest some sectors of 512 bytes are and some are not. The store that
//! finds this must know everything that was confirmed until then, and nothing by halves.

use super::twin::Dice;
use super::vfs::{self, Event};
use super::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const CUTS: usize = 200;
const SESSIONS: usize = 6;
const BATCHES: usize = 40;
const SECTOR: usize = 512;
const SEED: u64 = 20_261_122;

/// A file on the disk: what is certain, and what was said since.
#[derive(Clone, Default)]
struct OnDisk {
    certain: Option<Vec<u8>>,
    said: Vec<Event>,
}

fn apply(content: &mut Vec<u8>, event: &Event, keep: &mut dyn FnMut() -> bool) {
    match event {
        Event::Write { at, bytes, .. } => {
            let mut from = 0;
            while from < bytes.len() {
                // Torn where a sector of the disk ends.
                let to = (((at + from) / SECTOR + 1) * SECTOR - at).min(bytes.len());
                if keep() {
                    content.resize(content.len().max(at + to), 0);
                    content[at + from..at + to].copy_from_slice(&bytes[from..to]);
                }
                from = to;
            }
        }
        Event::Truncate { size, .. } if keep() => content.resize(*size, 0),
        _ => {}
    }
}

impl OnDisk {
    fn sync(&mut self) {
        let mut content = self.certain.take().unwrap_or_default();
        self.said.drain(..).for_each(|event| apply(&mut content, &event, &mut || true));
        self.certain = Some(content);
    }

    /// What is found after a cut: of what is not certain, each write is there, or not, or in part.
    fn after_cut(&self, dice: &mut Dice) -> Option<Vec<u8>> {
        if self.certain.is_none() && dice.one_in(2) {
            return None;
        }
        let mut content = self.certain.clone().unwrap_or_default();
        for event in &self.said {
            let chance = dice.below(3);
            apply(&mut content, event, &mut || match chance {
                0 => true,
                1 => false,
                _ => dice.one_in(2),
            });
        }
        Some(content)
    }
}

/// The disk with everything up to event `cut`; `Confirmed` tells what must be there.
fn disk(events: &[Event], cut: usize, synced: bool) -> (BTreeMap<PathBuf, OnDisk>, usize) {
    let mut files: BTreeMap<PathBuf, OnDisk> = BTreeMap::new();
    let mut confirmed = 0;
    for event in &events[..cut] {
        match event {
            Event::Write { file, .. } | Event::Truncate { file, .. } => {
                files.entry(file.clone()).or_default().said.push(event.clone());
            }
            Event::Sync { file } if synced => files.entry(file.clone()).or_default().sync(),
            Event::Sync { .. } => {}
            Event::Delete { file } => drop(files.remove(file)),
            Event::Confirmed(batch) => confirmed = *batch,
        }
    }
    (files, confirmed)
}

/// Batch `n`, from 1: three messages, a state, an intake; and the deliveries of the one before are done.
fn batch(n: usize, before: &[i64]) -> Vec<Commit> {
    let messages = (0..3).map(|m| new(&format!("{n}-{m}"), &format!("k{m}"))).collect();
    let set = StateWrite { system: "bank".into(), key: "last".into(), value: Some(n.to_string().into_bytes()) };
    let whole = Commit { intake: Some(intake(&format!("i-{n}"))), state: vec![set], ..commit(messages) };
    let done = before.iter().map(|id| Commit { calls: vec![call(1, 0)], ..attempt(*id, DeliveryState::Done, 1) });
    done.chain([whole]).collect()
}

async fn work(url: &str) {
    let mut before: Vec<i64> = vec![];
    for session in 0..SESSIONS {
        let store = SqlStore::open(url).await.unwrap();
        for n in 1 + session * BATCHES..=(session + 1) * BATCHES {
            let written = store.commit(batch(n, &before)).await.unwrap();
            before = written.last().unwrap().as_ref().unwrap().iter().map(|a| a.deliveries[0].id).collect();
            vfs::note(Event::Confirmed(n));
        }
        // Writes everything back into the one file, and removes the other.
        store.close().await;
    }
}

/// Whether the store in `folder` knows the first `confirmed` batches, or one more, and each of them whole.
async fn check(folder: &Path, confirmed: usize) -> Result<(), String> {
    let url = format!("sqlite:{}", folder.join("busbar.db").display());
    let sql = SqlStore::open(&url).await.map_err(|problem| problem.to_string())?;
    let found = whole_batches(&sql).await;
    sql.close().await;
    let last = found?;
    if last == confirmed || last == confirmed + 1 { Ok(()) } else { Err(format!("{last} batches of {confirmed}")) }
}

async fn whole_batches(store: &SqlStore) -> Result<usize, String> {
    let problem = |problem: Problem| problem.to_string();
    let state = store.state("bank", "last").await.map_err(problem)?;
    let last: usize = state.map_or(0, |text| String::from_utf8(text).unwrap().parse().unwrap());
    let any = MessageFilter { limit: 10_000, ..MessageFilter::default() };
    let views = store.messages(&any).await.map_err(problem)?;
    let intakes = store.intakes(&IntakeFilter { limit: 10_000, ..IntakeFilter::default() }).await.map_err(problem)?;
    if (views.len(), intakes.len()) != (3 * last, last) {
        return Err(format!("{} messages and {} intakes of {last} batches", views.len(), intakes.len()));
    }
    for (place, view) in views.iter().enumerate() {
        let (n, m) = (last - place / 3, 2 - place % 3);
        let state = if n == last { DeliveryState::Ready } else { DeliveryState::Done };
        if view.message.id != format!("{n}-{m}") || view.deliveries.len() != 1 || view.deliveries[0].state != state {
            return Err(format!("message {n}-{m} is {view:?}"));
        }
        let calls = store.calls(view.deliveries[0].id).await.map_err(problem)?;
        if calls.len() != usize::from(n < last) {
            return Err(format!("message {n}-{m} has {} calls", calls.len()));
        }
    }
    let ready = store.ready("billing", Shards::ALL, 0, 10).await.map_err(problem)?.deliveries;
    if ready.len() != if last == 0 { 0 } else { 3 } {
        return Err(format!("{} are ready", ready.len()));
    }
    Ok(last)
}

/// Cuts at `cuts` moments; returns what was wrong with each.
async fn cut(events: &[Event], cuts: usize, synced: bool) -> Vec<String> {
    let mut dice = Dice(SEED);
    let mut wrong = Vec::new();
    for _ in 0..cuts {
        let moment = dice.below(events.len() + 1);
        let (files, confirmed) = disk(events, moment, synced);
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in &files {
            if let Some(content) = content.after_cut(&mut dice) {
                std::fs::write(folder.path().join(file.file_name().unwrap()), content).unwrap();
            }
        }
        if let Err(error) = check(folder.path(), confirmed).await {
            wrong.push(format!("cut at {moment} of {}, {confirmed} confirmed: {error}", events.len()));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_when_the_power_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    vfs::record(&path);
    work(&format!("sqlite:{}", path.join("busbar.db").display())).await;
    let events = vfs::events();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|e| wanted(e)).count();
    let (writes, syncs) = (count(|e| matches!(e, Event::Write { .. })), count(|e| matches!(e, Event::Sync { .. })));
    println!("{} events, {writes} writes, {syncs} syncs, seed {SEED}", events.len());
    assert!(syncs >= SESSIONS * BATCHES, "a commit was confirmed without a sync");
    let wrong = cut(&events, CUTS, true).await;
    assert!(wrong.is_empty(), "{} of {CUTS} cuts: {wrong:#?}", wrong.len());
    // The same without a sync ever, as with `synchronous = OFF`: this test must see what is lost.
    let blind = cut(&events, 20, false).await;
    println!("without syncs {} of 20 cuts lose something", blind.len());
    assert!(blind.len() > 10, "{blind:#?}");
}

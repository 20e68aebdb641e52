//! The rules under crashes, delays, duplicates, reorderings and people: one seed is one world, in which hubs drive the
//! engine over a broker, a store and far ends that fail in every way they can. The promises of the design (section 6)
//! are watched at every step. The same seed gives the same run.

mod attempt;
mod broker;
mod dice;
mod far;
mod filing;
mod finish;
mod hub;
mod person;
mod plan;
mod regressions;
mod store;
mod watch;
mod world;

use crate::mutant::{self, Mutant};
pub use regressions::REGRESSIONS;
use world::World;

/// A promise that a run did not keep.
#[derive(Debug)]
pub struct Violation {
    pub seed: u64,
    /// How many things had happened.
    pub step: u64,
    pub promise: &'static str,
    pub detail: String,
    /// Everything that happened, where it was asked for.
    pub log: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, step, promise, detail, .. } = self;
        write!(f, "seed {seed}, step {step}: broken: {promise}: {detail} (BUSBAR_SIM_SEED={seed} replays it)")
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub seeds: u64,
    pub steps: u64,
    pub attempts: u64,
    pub deliveries: u64,
    /// Of everything that happened and when.
    pub hash: u64,
}

/// Runs one seed. `log`: keeps what happened, for a violation.
///
/// # Errors
/// The first promise that was not kept.
pub fn run(seed: u64, log: bool) -> Result<(Ran, Vec<String>), Box<Violation>> {
    let mut world = World::new(seed, log);
    let result = world.run();
    let log = world.log.take().unwrap_or_default();
    match result {
        Ok(()) => {
            let deliveries = world.journal.deliveries().count() as u64;
            let (steps, attempts, hash) = (world.steps, world.watch.attempts, world.hash);
            Ok((Ran { seeds: 1, steps, attempts, deliveries, hash }, log))
        }
        Err(broken) => {
            let (step, promise, detail) = (world.steps, broken.promise, broken.detail);
            Err(Box::new(Violation { seed, step, promise, detail, log }))
        }
    }
}

/// Runs these seeds.
///
/// # Errors
/// The first promise that was not kept.
pub fn run_all(seeds: impl IntoIterator<Item = u64>) -> Result<Ran, Box<Violation>> {
    let mut all = Ran::default();
    for seed in seeds {
        let (ran, _) = run(seed, false)?;
        all.seeds += 1;
        all.steps += ran.steps;
        all.attempts += ran.attempts;
        all.deliveries += ran.deliveries;
        all.hash = all.hash.rotate_left(1) ^ ran.hash;
    }
    Ok(all)
}

/// Breaks one rule and looks for the first of `seeds` that notices.
pub fn hunt(mutant: Mutant, seeds: impl IntoIterator<Item = u64>) -> Option<Box<Violation>> {
    mutant::set(Some(mutant));
    let found = seeds.into_iter().find_map(|seed| run(seed, false).err());
    mutant::set(None);
    found
}

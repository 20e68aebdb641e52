//! What the simulation or its writing found in the rules, each as a broken rule that brings it back and a seed that
//! notices. When the world changes, its seeds change: the list of mutants that the test prints
//! gives new ones.

use crate::mutant::Mutant;

/// Rule, seed and what went wrong without it.
pub const REGRESSIONS: &[(Mutant, u64, &str)] = &[
    (Mutant::OfferTwice, 51, "a read found a delivery before its own commit was heard of, and it was taken twice"),
    (Mutant::ReadRevives, 13, "a delivery finished while a read that had found it was under way, and was made again"),
    (Mutant::BelieveOldReads, 20, "a read from before a release, a parking or a change of shards was believed"),
    (
        Mutant::PassAbandoned,
        2,
        "a delivery that another hub had was dropped, and the next one of its key ran before it",
    ),
    (
        Mutant::ForgetAbandoned,
        2,
        "a delivery was parked and released before its hub heard of the parking, and nobody read it again",
    ),
    (Mutant::MissReleases, 21, "a later delivery was read before the released ones in front of it"),
    (Mutant::IgnoreGaps, 10, "a new delivery passed what another hub, a stream or a late write had written before it"),
    (Mutant::GiveUpOwned, 290, "a claim under way gave up a shard whose deliveries were just being started"),
    (Mutant::OutliveLease, 1466, "a hub that had lost its lease and got a new one sent what it had begun before"),
    (Mutant::AheadIsNoFence, 23, "two hubs wrote the same unsafe call ahead, and both sent it"),
    (Mutant::JudgeAhead, 2, "a retry by a person let later attempts repeat a call without an answer"),
    (Mutant::DecideUnseen, 249, "a second decision, made before the first one was tried, let a call be repeated"),
    (Mutant::ShortenHold, 221, "a shorter wish to be left alone took the place of a longer one"),
    (Mutant::FileOutOfTurn, 1, "what a person had retried went into a file before an earlier one of its key"),
    (Mutant::FileAgain, 8, "a file was made anew for one of those in it, and the first one got its name later"),
    (Mutant::KeepTheOld, 3, "what a person had decided about ran as it had been before"),
];

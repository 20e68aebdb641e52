//! Deliberate breakages of single rules, by which the simulation shows that it would notice (design, section 6).
//! Without the feature `simulation` none of them is compiled in.

macro_rules! mutants {
    ($($name:ident $meaning:literal;)*) => {
        /// One broken rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $(#[doc = $meaning] $name,)* }

        impl Mutant {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What is broken, in a few words.
            pub fn meaning(self) -> &'static str { match self { $(Self::$name => $meaning,)* } }
        }
    };
}

mutants! {
    ConfirmBeforeCommit "an input is confirmed before it is written";
    ConfirmAfterFailedCommit "an input is confirmed although its write failed";
    AcknowledgePastGap "a multiple acknowledgement covers a message that is not committed";
    ForgetDedup "a known (source, id) is taken as new";
    ForgetBatch "what comes twice in one batch is taken twice";
    SeeHeadsOnly "a parking holds nothing but what its batch names";
    TakeHeld "a hub takes a lease that another one has";
    NoFence "an outcome is written although another hub has taken the delivery over";
    OfferWhileBehind "a new delivery is made although earlier ones are not read yet";
    CaughtUpBlindly "a read counts as complete although more came meanwhile";
    ForgetRewind "released deliveries are not read again";
    ForgetAbandoned "what may have been released before its parking was heard of is not read again";
    BelieveOldReads "a read from before a release, a parking or a change of shards is believed";
    MissReleases "a read is believed although something was released before its frontier";
    ReadRevives "a read hands over what was finished while it was under way";
    ForgetOffered "what is written while the last read is under way is forgotten";
    ForgetCut "what does not fit a key's share of the window is forgotten";
    OfferTwice "a delivery that a read has found is taken again when its commit is heard of";
    IgnoreGaps "a new delivery passes what another hub has written before it";
    PassAbandoned "the next delivery of a key starts although another hub has the one before it";
    GiveUpOwned "a claim gives up shards whose deliveries are just being started";
    OutliveLease "a hub sends what it began before its lease was over";
    AheadIsNoFence "two hubs may write the same call ahead";
    JudgeAhead "a decision covers calls that were made after it";
    DecideUnseen "a decision counts although the delivery was made again after the person looked";
    GoOnStopping "a hub that stops begins new attempts";
    ForgetHold "a system that asked to be left alone is called on";
    ShortenHold "a shorter wish to be left alone takes the place of a longer one";
    IgnoreKeys "deliveries with one key run at once";
    IgnoreDueTime "a retry does not wait for its time";
    LastComesFirst "the last one in a lane runs first";
    ParkedIsPassed "a later delivery passes a parked one";
    NewPassesParked "a message that comes in while its key is parked is delivered";
    ReleasePastParked "a release goes past the next parked one";
    ForgetRelease "those that wait behind a parked one are not released";
    ReadyIsJudged "who retries what is tried again anyway lets a call without an answer be repeated";
    DisturbAttempts "a person decides about a delivery while it is being made";
    OperateElsewhere "a person decides at one hub about what another is making";
    KeepTheOld "what a person decided about is made as it was before";
    HoldThePerson "a system's wish to be left alone holds what a person retries";
    OperateOutOfTurn "a parked delivery is retried before an earlier one with its key";
    KeepLostShards "a hub goes on with shards that another has taken";
    NextBeforeOutcome "the next delivery of a key starts before the outcome is written";
    DropOutcome "an outcome is forgotten when its write fails";
    FailureIsSuccess "a rejected delivery counts as done";
    RetryUnknown "a call with unknown outcome is repeated blindly";
    RefusalIsForEver "a refusal that was recorded is the answer of every later attempt";
    ForgetRecord "recorded calls are not handed to the next attempt";
    SendUnwritten "an unsafe call is sent without being written ahead";
    WriteFailedEffects "what a failed attempt stated is written";
    MiscountAttempts "an attempt that a crash cut off is not counted";
    KeyedGoesDead "a delivery with a key that failed for good does not hold its key";
    BurnTriesWhenDown "failures of a system that is down count against the policy";
    BreakerStaysOpen "an open breaker never lets a probe through";
    NoBreaker "a system that is down is called on and on";
    FileAgain "a file that was begun is made anew";
    FileOutOfTurn "what failed or was decided about goes into the next file before what comes before it is read";
    ForgetLeft "what a file leaves out is forgotten";
    MadeOutOfTurn "a delivery made ahead passes an unfinished one with its key";
}

#[cfg(feature = "simulation")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Breaks one rule on this thread, or none.
    pub fn set(mutant: Option<Mutant>) {
        BROKEN.set(mutant);
    }

    pub fn broken(mutant: Mutant) -> bool {
        BROKEN.get() == Some(mutant)
    }
}

#[cfg(feature = "simulation")]
pub use switch::{broken, set};

/// Whether this rule is broken: never, but in the simulation.
#[cfg(not(feature = "simulation"))]
pub const fn broken(_: Mutant) -> bool {
    false
}

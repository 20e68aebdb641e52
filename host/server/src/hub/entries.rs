//! Entries of inputs that were not taken with the others, and what a person decides about them.

use super::Hub;
use busbar_core::ports::LeftOut;
use busbar_core::{
    Code, Commit, Committed, Decided, Decider, Intake, IntakeFilter, IntakeOutcome, Message, Origin, Problem,
    id_of_its_own,
};

/// What an adapter left out of `intake`, as intakes of their own; and counts it there.
pub fn left_out(intake: &mut Intake, left_out: LeftOut) -> Vec<Intake> {
    let (origin, at_ms) = (Origin::input(intake), intake.at_ms);
    intake.left_out = left_out.count;
    let more = left_out.count - left_out.entries.len() as u64;
    let entries = left_out.entries.iter().map(|entry| origin.left_out(entry, at_ms));
    entries.chain((more > 0).then(|| origin.left_out_more(more, at_ms))).collect()
}

/// For the metrics: how many entries wait for a person now that did not before, or came again.
pub fn count(left_out: u64, differing: u64) {
    for (outcome, count) in [(IntakeOutcome::LeftOut, left_out), (IntakeOutcome::Differing, differing)] {
        if count > 0 {
            metrics::counter!("busbar_entries_total", "outcome" => outcome.as_str()).increment(count);
        }
    }
}

/// The same of commits and what became of them.
pub fn count_committed(left_out: u64, committed: &[Committed]) {
    let accepted = committed.iter().flatten().flatten();
    count(left_out, accepted.filter(|accepted| accepted.differs).count() as u64);
}

impl Hub {
    /// Takes what differs from a known message as a fact of its own: the same message under an id that says so.
    /// Returns that id.
    ///
    /// # Errors
    /// `not-found`, `not-open`, whatever admission says, `store-unavailable`.
    pub async fn accept_entry(&self, intake: &str, decider: &Decider) -> Result<String, Problem> {
        let entry = self.entry(intake).await?;
        let event =
            entry.event.ok_or_else(|| not_open(&entry.id, entry.outcome, "it carries no message to be accepted"))?;
        let mut admitted = self.rules.admit(Message::from_structured(event.clone())?, None)?;
        let id = id_of_its_own(&admitted.message.id, admitted.digest());
        admitted = self.rules.admit(Message { id: id.clone(), ..Message::from_structured(event)? }, None)?;
        let decided = self.decided(intake, IntakeOutcome::Accepted, decider);
        let commit = Commit { decided: Some(decided), ..self.plain(vec![admitted]) };
        self.decide(commit, entry.outcome).await.map(|()| id)
    }

    /// Says that nothing more is to be done about an entry.
    ///
    /// # Errors
    /// `not-found`, `not-open`, `store-unavailable`.
    pub async fn dismiss_entry(&self, intake: &str, decider: &Decider) -> Result<(), Problem> {
        let entry = self.entry(intake).await?;
        let decided = self.decided(intake, IntakeOutcome::Dismissed, decider);
        self.decide(Commit { decided: Some(decided), ..self.plain(Vec::new()) }, entry.outcome).await
    }

    fn decided(&self, intake: &str, outcome: IntakeOutcome, decider: &Decider) -> Decided {
        Decided { intake: intake.to_string(), outcome, decider: decider.clone() }
    }

    async fn entry(&self, id: &str) -> Result<Intake, Problem> {
        let filter = IntakeFilter { id: Some(id.to_string()), limit: 1, ..IntakeFilter::default() };
        let found = self.store.intakes(&filter).await?.pop();
        let entry = found.ok_or_else(|| Problem::new(Code::NotFound, format!("no intake `{id}`")))?;
        Ok(entry.intake)
    }

    async fn decide(&self, commit: Commit, was: IntakeOutcome) -> Result<(), Problem> {
        let decided = commit.decided.clone();
        let result = self.committer.commit(commit).await?;
        let outcome = if result.is_ok() { "ok" } else { "refused" };
        let act = decided.as_ref().map_or("", |decided| decided.deed().as_str());
        metrics::counter!("busbar_operations_total", "act" => act, "outcome" => outcome).increment(1);
        let id = decided.map(|decided| decided.intake).unwrap_or_default();
        result.map(drop).map_err(|_| not_open(&id, was, "somebody may have decided meanwhile"))
    }
}

fn not_open(id: &str, outcome: IntakeOutcome, why: &str) -> Problem {
    Problem::new(Code::NotOpen, format!("intake {id} is {}: {why}", outcome.as_str()))
}

//! The front door: what comes in over REST, AMQP and hooks, checked and written down before anybody
//! is told that it arrived.

use super::{Hub, entries};
use crate::ids::new_id;
use busbar_core::ports::{HookRequest, HookResponse};
use busbar_core::{
    Accepted, Code, Commit, Failure, Intake, IntakeKind, IntakeOutcome, Message, NewMessage, OnDiffering, Problem,
    Refusal, StatedBy, Stater,
};

/// A refused input: which message of a batch, and why.
#[derive(Debug)]
pub struct Refused {
    pub index: usize,
    pub problem: Problem,
}

impl Hub {
    /// An intake with nothing in it yet.
    pub fn new_intake(&self, kind: IntakeKind, system: &str, name: &str) -> Intake {
        let name: String = name.chars().take(500).collect();
        Intake::new(new_id(), kind, system, &name, self.clock.now_ms())
    }

    /// Takes messages, all or none, and returns when they are durable.
    ///
    /// # Errors
    /// The first message that is refused, and why; nothing was taken.
    pub async fn accept(&self, stater: &Stater, messages: Vec<Message>) -> Result<Vec<Accepted>, Refused> {
        let mut admitted = Vec::with_capacity(messages.len());
        for (index, message) in messages.into_iter().enumerate() {
            let new = self.admit(stater, message).map_err(|problem| Refused { index, problem })?;
            admitted.push(new);
        }
        for message in &mut admitted {
            self.attempter.make_ahead(message).await;
        }
        let names: Vec<_> = admitted.iter().map(|m| m.message.id.clone()).collect();
        let result = self.committer.commit(self.plain(admitted)).await;
        match result.map_err(|problem| Refused { index: 0, problem })? {
            Ok(accepted) => Ok(accepted),
            Err(refusal) => Err(refused(refusal, &names)),
        }
    }

    /// Looks at a message that somebody outside states.
    ///
    /// # Errors
    /// `forbidden`, and those of [`Rules::admit`].
    pub fn admit(&self, stater: &Stater, message: Message) -> Result<NewMessage, Problem> {
        stater.may_state(&message)?;
        Ok(NewMessage { stated_by: Some(stater.by.clone()), ..self.rules.admit(message, None)? })
    }

    /// A commit of messages alone.
    pub fn plain(&self, messages: Vec<NewMessage>) -> Commit {
        Commit { messages, on_differing: Some(OnDiffering::Refuse), at_ms: self.clock.now_ms(), ..Commit::default() }
    }

    /// Writes down that a message or question of somebody outside was refused.
    pub async fn refuse_stated(&self, kind: IntakeKind, by: &StatedBy, name: &str, problem: &Problem) {
        let intake = Intake { stated_by: Some(by.clone()), ..self.new_intake(kind, by.name(), name) };
        self.refuse_intake(intake, problem).await;
    }

    /// Writes down that an input was refused.
    pub async fn refuse(&self, kind: IntakeKind, system: &str, name: &str, problem: &Problem) {
        self.refuse_intake(self.new_intake(kind, system, name), problem).await;
    }

    async fn refuse_intake(&self, intake: Intake, problem: &Problem) {
        let intake = Intake {
            // A reused id is no mistake of form: two facts, or one that was stated differently, and somebody must look.
            outcome: match problem.code {
                Code::IdReused => IntakeOutcome::Differing,
                _ => IntakeOutcome::Refused,
            },
            error: Some(problem.record()),
            ..intake
        };
        let commit = Commit { at_ms: intake.at_ms, intake: Some(intake), ..Commit::default() };
        if let Err(problem) = self.note_refusal(problem.code, commit).await {
            tracing::warn!(%problem, "a refusal was not written down");
        }
    }

    /// Runs a system's `receive` and returns its answer once everything it stated is durable.
    ///
    /// # Errors
    /// Whatever the adapter or the store says; nothing of the request was taken.
    pub async fn hook(&self, system: &str, request: HookRequest) -> Result<HookResponse, Problem> {
        if let Some(response) = self.hook_once(system, request.clone()).await? {
            return Ok(response);
        }
        let name = format!("{} {}", request.method, request.path);
        // Another request stated the same id meanwhile: the adapter now sees it by `lookup`.
        if let Some(response) = self.hook_once(system, request).await? {
            return Ok(response);
        }
        let problem = reused_problem(None);
        self.refuse(IntakeKind::Hook, system, &name, &problem).await;
        Err(problem)
    }

    async fn hook_once(&self, system: &str, request: HookRequest) -> Result<Option<HookResponse>, Problem> {
        let name = format!("{} {}", request.method, request.path);
        let run = self.adapters.receive(system, request).await;
        let mut intake = self.new_intake(IntakeKind::Hook, system, &name);
        let admitted: Result<(HookResponse, Vec<NewMessage>), Problem> = match run.result {
            Ok(response) => {
                let messages: Result<_, _> =
                    run.emitted.into_iter().map(|e| self.rules.admit_valid(e.message, e.place)).collect();
                messages.map(|m| (response, m))
            }
            // Here it is the caller who could not be authenticated, not the hub.
            Err(Failure::Unauthorized(text)) => Err(Problem::new(Code::Unauthorized, text)),
            Err(failure) => Err(failure.problem()),
        };
        match admitted {
            Ok((response, messages)) => {
                let entries = entries::left_out(&mut intake, run.left_out);
                let plain = self.plain(messages);
                let commit = Commit { intake: Some(intake), entries, state: run.state, calls: run.calls, ..plain };
                Ok(self.committer.commit(commit).await?.ok().map(|_| response))
            }
            Err(problem) => {
                intake.outcome = IntakeOutcome::Refused;
                intake.error = Some(problem.record());
                let commit = Commit { intake: Some(intake), calls: run.calls, ..self.plain(Vec::new()) };
                self.note_refusal(problem.code, commit).await?;
                Err(problem)
            }
        }
    }
}

fn refused(refusal: Refusal, names: &[String]) -> Refused {
    match refusal {
        Refusal::IdReused { index } => Refused { index, problem: reused_problem(names.get(index)) },
        other => Refused { index: 0, problem: Problem::new(Code::Internal, format!("refused: {other:?}")) },
    }
}

/// The problem of a message that reuses an id.
pub fn reused_problem(id: Option<&String>) -> Problem {
    let named = id.map(|id| format!(" `{id}`")).unwrap_or_default();
    Problem::new(Code::IdReused, format!("the id{named} was used before by this source for other content")).at("id")
}

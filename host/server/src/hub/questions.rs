//! Questions: one system asks, the hub finds who answers, and holds both against their schemas.

use super::via::named;
use super::{Committer, Via};
use crate::ids::new_id;
use busbar_core::ports::{Adapters, Clock};
use busbar_core::{Call, Code, Commit, Intake, IntakeKind, IntakeOutcome, Message, Problem, Rules, StatedBy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Of adapters, at once on their way to [`Questions::take`], which hands each on without waiting for its answer: room for
/// what asks in the same moment. More wait until they are taken.
const ON_THEIR_WAY_MAX: usize = 64;

/// A question of an adapter.
pub struct Question {
    question: Message,
    by: StatedBy,
    deadline_ms: u64,
    answer: oneshot::Sender<Result<Message, Problem>>,
}

/// Where adapters ask: those that answer are adapters as well, and are not there yet when one is made.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

impl Asker {
    /// Whoever answers takes the questions from the second one.
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (asker, asked) = mpsc::channel(ON_THEIR_WAY_MAX);
        (Self(asker), asked)
    }

    /// # Errors
    /// As [`Questions::ask`]; `answer-failed` also where nobody takes questions any more.
    pub async fn ask(&self, question: Message, by: StatedBy, deadline_ms: u64) -> Result<Message, Problem> {
        let nobody = || Problem::new(Code::AnswerFailed, "nobody takes the question");
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { question, by, deadline_ms, answer }).await.map_err(|_| nobody())?;
        answered.await.unwrap_or_else(|_| Err(nobody()))
    }
}

/// Where questions go.
pub struct Questions {
    pub rules: Arc<Rules>,
    pub adapters: Arc<dyn Adapters>,
    pub via: Arc<BTreeMap<String, Via>>,
    pub committer: Committer,
    pub clock: Arc<dyn Clock>,
}

impl Questions {
    /// Takes the adapters' questions, each in a task of its own: a slow one holds up no other.
    pub async fn take(self: Arc<Self>, mut asked: mpsc::Receiver<Question>, stop: CancellationToken) {
        while let Some(Some(asked)) = stop.run_until_cancelled(asked.recv()).await {
            let this = self.clone();
            tokio::spawn(async move {
                let Question { question, by, deadline_ms, mut answer } = asked;
                tokio::select! {
                    result = this.ask(question, &by, deadline_ms) => drop(answer.send(result)),
                    // Whoever asked was ended meanwhile.
                    () = answer.closed() => {}
                }
            });
        }
        // Whoever asks now is told that nobody takes it: a receiver that is only dropped leaves lying what was on its way.
        asked.close();
        while asked.recv().await.is_some() {}
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// As [`Rules::answerer`], and `answer-timeout`, `answer-failed`.
    pub async fn ask(&self, question: Message, by: &StatedBy, deadline_ms: u64) -> Result<Message, Problem> {
        let system = self.rules.answerer(&question)?.to_string();
        let deadline = Duration::from_millis(deadline_ms);
        let (result, calls) = match tokio::time::timeout(deadline, self.answer(&system, &question, deadline_ms)).await {
            Ok(found) => found,
            Err(_) => (
                Err(Problem::new(Code::AnswerTimeout, format!("`{system}` did not answer within {deadline_ms} ms"))),
                Vec::new(),
            ),
        };
        let result = result.and_then(|answer| self.check(&question, answer));
        metrics::counter!("busbar_questions_total", "type" => question.r#type.clone(), "outcome" => outcome(&result))
            .increment(1);
        self.write_down(&system, &question, by, &result, calls).await;
        result
    }

    async fn answer(
        &self,
        system: &str,
        question: &Message,
        deadline_ms: u64,
    ) -> (Result<Message, Problem>, Vec<Call>) {
        if let Some(via) = self.via.get(system) {
            return (via.ask(question, deadline_ms).await, Vec::new());
        }
        let run = self.adapters.answer(system, question.clone()).await;
        let failed = |problem: Problem| Problem::new(Code::AnswerFailed, format!("{}: {problem}", named(question)));
        (run.result.map_err(|failure| failed(failure.problem())), run.calls)
    }

    fn check(&self, question: &Message, answer: Message) -> Result<Message, Problem> {
        let wanted = self.rules.catalog.answer_type(&question.r#type).unwrap_or_default();
        let failed = |text: String| Problem::new(Code::AnswerFailed, text);
        if answer.r#type != wanted {
            return Err(failed(format!("answered with `{}`, expected `{wanted}`", answer.r#type)));
        }
        self.rules.catalog.validate(wanted, &answer.data).map_err(|p| failed(p.to_string()))?;
        Ok(answer)
    }

    // The record is for explaining; a question is not held up or failed by it.
    async fn write_down(
        &self,
        system: &str,
        question: &Message,
        by: &StatedBy,
        result: &Result<Message, Problem>,
        calls: Vec<Call>,
    ) {
        let now_ms = self.clock.now_ms();
        let intake = Intake {
            outcome: if result.is_ok() { IntakeOutcome::Accepted } else { IntakeOutcome::Refused },
            error: result.as_ref().err().map(Problem::record),
            stated_by: Some(by.clone()),
            ..Intake::new(new_id(), IntakeKind::Question, system, &named(question), now_ms)
        };
        let commit = Commit { at_ms: intake.at_ms, intake: Some(intake), calls, ..Commit::default() };
        if let Err(problem) = self.committer.submit(commit).await {
            tracing::warn!(%problem, "a question was not written down");
        }
    }
}

fn outcome(result: &Result<Message, Problem>) -> &'static str {
    result.as_ref().err().map_or("ok", |problem| problem.code.as_str())
}

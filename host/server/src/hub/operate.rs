//! What a person does about deliveries that are not finished.

use super::Hub;
use busbar_core::record::may_be_edited;
use busbar_core::{
    Act, Code, Commit, Decider, DeliveryFilter, DeliveryState, DeliveryView, Message, Operation, Problem, Refusal,
    Shards, States,
};

impl Hub {
    /// Retries, edits or skips one delivery; returns when that is durable.
    ///
    /// # Errors
    /// `not-found`, `not-parked`, `store-unavailable`.
    pub async fn operate(&self, delivery: i64, act: Act, decider: &Decider) -> Result<(), Problem> {
        let (seq, view) = self.delivery(delivery).await?;
        self.operate_on(seq, &view, act, decider).await
    }

    /// Puts other data in place of the message's for this delivery, and makes it again.
    ///
    /// # Errors
    /// As [`Self::operate`], and `invalid-data` with the place, when the schema refuses it. `not-parked` also where the
    /// delivery is tried again by itself and something was done by it, or may have been.
    pub async fn edit(&self, delivery: i64, data: serde_json::Value, decider: &Decider) -> Result<(), Problem> {
        let (seq, view) = self.delivery(delivery).await?;
        let missing = || Problem::new(Code::NotFound, "the delivery's message is not in the journal any more");
        let message = self.store.message(seq).await?.ok_or_else(missing)?.message;
        self.rules.catalog.validate(&message.r#type, &data)?;
        // What is written meanwhile counts the delivery's version up, and the decision is refused.
        let calls = self.store.calls(delivery).await?;
        may_be_edited(delivery, view.state, &calls)?;
        self.operate_on(seq, &view, Act::Edit(Box::new(Message { data: data.into(), ..message })), decider).await
    }

    /// One delivery with its message's `seq`.
    ///
    /// # Errors
    /// `not-found`, `store-unavailable`.
    pub async fn delivery(&self, id: i64) -> Result<(i64, DeliveryView), Problem> {
        for state in DeliveryState::ALL {
            let states = States::One(state);
            let filter = DeliveryFilter { id: Some(id), states, limit: 1, ..DeliveryFilter::default() };
            if let Some(found) = self.store.deliveries(&filter).await?.pop() {
                return Ok(found);
            }
        }
        Err(Problem::new(Code::NotFound, format!("no delivery `{id}`")))
    }

    /// The same for one that was looked up. `seq`: its message's.
    ///
    /// # Errors
    /// `not-parked`, `under-way`, `another-hub`, `store-unavailable`.
    pub async fn operate_on(&self, seq: i64, view: &DeliveryView, act: Act, decider: &Decider) -> Result<(), Problem> {
        let operation = Operation {
            delivery: view.id,
            system: view.system.clone(),
            shard: Shards::of(&view.system, view.key.as_deref(), seq),
            act,
            state: view.state,
            seen: view.version,
            decider: decider.clone(),
        };
        let name = operation.act.deed().as_str();
        let commit = Commit { operation: Some(operation), at_ms: self.clock.now_ms(), ..Commit::default() };
        let result = self.committer.commit(commit).await?;
        let outcome = if result.is_ok() { "ok" } else { "refused" };
        metrics::counter!("busbar_operations_total", "act" => name, "outcome" => outcome).increment(1);
        result.map(drop).map_err(|refusal| refused(view, refusal))
    }
}

fn refused(view: &DeliveryView, refusal: Refusal) -> Problem {
    let id = view.id;
    let (code, detail) = match refusal {
        Refusal::Behind { delivery } => (
            Code::NotParked,
            format!("an earlier delivery with the same key, {delivery}, is parked: that one comes first"),
        ),
        Refusal::NotNow { state: Some(state) } => (Code::NotParked, format!("delivery {id} is {} now", state.as_str())),
        Refusal::UnderWay => {
            (Code::UnderWay, format!("delivery {id} is being made just now, or somebody else decides about it"))
        }
        Refusal::Elsewhere => (Code::AnotherHub, format!("delivery {id} is {} at another hub", view.state.as_str())),
        _ => (Code::NotParked, format!("delivery {id} has changed meanwhile")),
    };
    Problem::new(code, detail)
}

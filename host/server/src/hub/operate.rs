//! What a person does about deliveries that failed for good.

use super::Hub;
use busbar_core::{Act, Code, Commit, DeliveryFilter, DeliveryView, Message, Operation, Problem, Refusal};

impl Hub {
    /// Retries, edits or skips one delivery; returns when that is durable.
    ///
    /// # Errors
    /// `not-found`, `not-parked`, `store-unavailable`.
    pub async fn operate(&self, delivery: i64, act: Act, by: &str) -> Result<(), Problem> {
        let (_, view) = self.delivery(delivery).await?;
        self.operate_on(&view, act, by).await
    }

    /// Puts other data in place of the message's for this delivery, and makes it again.
    ///
    /// # Errors
    /// As [`Self::operate`], and `invalid-data` with the place, when the schema refuses it.
    pub async fn edit(&self, delivery: i64, data: serde_json::Value, by: &str) -> Result<(), Problem> {
        let (seq, view) = self.delivery(delivery).await?;
        let missing = || Problem::new(Code::NotFound, "the delivery's message is not in the journal any more");
        let message = self.store.message(seq).await?.ok_or_else(missing)?.message;
        self.rules.catalog.validate(&message.r#type, &data)?;
        self.operate_on(&view, Act::Edit(Box::new(Message { data: data.into(), ..message })), by).await
    }

    /// One delivery with its message's `seq`.
    ///
    /// # Errors
    /// `not-found`, `store-unavailable`.
    pub async fn delivery(&self, id: i64) -> Result<(i64, DeliveryView), Problem> {
        for state in busbar_core::DeliveryState::ALL {
            let filter = DeliveryFilter { id: Some(id), state: Some(state), limit: 1, ..DeliveryFilter::default() };
            if let Some(found) = self.store.deliveries(&filter).await?.pop() {
                return Ok(found);
            }
        }
        Err(Problem::new(Code::NotFound, format!("no delivery `{id}`")))
    }

    /// The same for one that was looked up.
    ///
    /// # Errors
    /// `not-parked`, `store-unavailable`.
    pub async fn operate_on(&self, view: &DeliveryView, act: Act, by: &str) -> Result<(), Problem> {
        let (delivery, system, seen) = (view.id, view.system.clone(), view.version);
        let operation = Operation { delivery, system, act, seen, by: by.to_string() };
        let name = operation.act.name();
        let commit = Commit { operation: Some(operation), at_ms: self.clock.now_ms(), ..Commit::default() };
        let result = self.committer.commit(commit).await?;
        let outcome = if result.is_ok() { "ok" } else { "refused" };
        metrics::counter!("busbar_operations_total", "act" => name, "outcome" => outcome).increment(1);
        result.map(drop).map_err(|refusal| {
            let detail = match refusal {
                Refusal::Behind { delivery } => {
                    format!("an earlier delivery with the same key, {delivery}, is parked: that one comes first")
                }
                Refusal::NotNow { state: Some(state) } => format!("delivery {} is {}", view.id, state.as_str()),
                _ => format!("delivery {} has changed meanwhile", view.id),
            };
            Problem::new(Code::NotParked, detail)
        })
    }
}

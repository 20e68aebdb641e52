//! The SQL of searches. The first given condition of a fixed order is left to the indexes, the others
//! only filter: `column || ''` keeps SQLite, which has no statistics, from starting at a broad one.

use super::rows::text;
use busbar_core::{DeliveryState, IntakeFilter, MessageFilter};

/// A value of a parameter.
pub enum Value {
    Text(String),
    Int(i64),
}

#[derive(Default)]
struct Conditions {
    all: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn equal(&mut self, column: &str, value: &Option<String>) {
        if let Some(value) = value {
            let column = self.column(column);
            let value = self.value(Value::Text(text(value)));
            self.all.push(format!("{column} = {value}"));
        }
    }

    fn column(&self, column: &str) -> String {
        if self.all.is_empty() { column.to_string() } else { format!("({column} || '')") }
    }

    fn clause(&self) -> String {
        if self.all.is_empty() { String::new() } else { format!("WHERE {}", self.all.join(" AND ")) }
    }
}

const MESSAGE: &str = "SELECT seq, received_at_ms, place, intake, event FROM messages";

/// One message, by its `seq`.
pub fn message() -> String {
    format!("{MESSAGE} WHERE seq = $1")
}

/// A page of messages, newest first.
pub fn messages(filter: &MessageFilter) -> (String, Vec<Value>) {
    let (from, seq) = match (&filter.system, filter.state) {
        (None, None) => ("messages m", "m.seq"),
        // `+ 0` keeps SQLite from walking all deliveries by `message_seq` for a few that are ready.
        (_, Some(DeliveryState::Ready)) => (BOTH, "(d.message_seq + 0)"),
        _ => (BOTH, "d.message_seq"),
    };
    let mut conditions = Conditions::default();
    if let Some(id) = &filter.id {
        let id = conditions.value(Value::Text(text(id)));
        conditions.all.push(format!("m.seq IN (SELECT seen.seq FROM seen WHERE seen.id = {id})"));
    }
    conditions.equal("m.subject", &filter.subject);
    let nearly_all = filter.system.is_none() && filter.state == Some(DeliveryState::Done);
    if !nearly_all {
        delivery(&mut conditions, filter);
    }
    conditions.equal("m.type", &filter.r#type);
    conditions.equal("m.source", &filter.source);
    if nearly_all {
        delivery(&mut conditions, filter);
    }
    if let Some(before) = filter.before {
        let before = conditions.value(Value::Int(before));
        conditions.all.push(format!("{seq} < {before}"));
    }
    let limit = conditions.value(Value::Int(filter.limit.into()));
    let page = format!("SELECT DISTINCT {seq} FROM {from} {} ORDER BY {seq} DESC LIMIT {limit}", conditions.clause());
    (format!("{MESSAGE} WHERE seq IN ({page}) ORDER BY seq DESC"), conditions.values)
}

const BOTH: &str = "deliveries d JOIN messages m ON m.seq = d.message_seq";

fn delivery(conditions: &mut Conditions, filter: &MessageFilter) {
    if let Some(state) = filter.state {
        // A literal: only so is the index of one state considered.
        let column = conditions.column("d.state");
        conditions.all.push(format!("{column} = '{}'", state.as_str()));
    }
    if let Some(system) = &filter.system {
        // The few parked and dead ones are looked through by their own index.
        let few = matches!(filter.state, Some(DeliveryState::Parked | DeliveryState::Dead));
        let first = conditions.all.len() == usize::from(filter.state.is_some());
        let column = if first && !few { "d.system" } else { "(d.system || '')" };
        let system = conditions.value(Value::Text(text(system)));
        conditions.all.push(format!("{column} = {system}"));
    }
}

/// Intakes, newest first.
pub fn intakes(filter: &IntakeFilter) -> (String, Vec<Value>) {
    let mut conditions = Conditions::default();
    conditions.equal("id", &filter.id);
    conditions.equal("system", &filter.system);
    conditions.equal("outcome", &filter.outcome);
    let limit = conditions.value(Value::Int(filter.limit.into()));
    let sql = format!(
        "SELECT id, kind, system, name, at_ms, outcome, messages, duplicates, differing, error FROM intakes {} \
         ORDER BY seq DESC LIMIT {limit}",
        conditions.clause()
    );
    (sql, conditions.values)
}

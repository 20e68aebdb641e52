//! The SQL of searches. Each starts at an index that leads to the newest first, so that a page costs the same however
//! many messages there are; `column || ''` keeps a database from starting at a broader one.

use super::text::stored;
use busbar_core::commit::finished;
use busbar_core::{DeliveryFilter, DeliveryState, IntakeFilter, MessageFilter, States};

/// A value of a parameter.
pub enum Value {
    Text(String),
    Int(i64),
}

impl Value {
    fn again(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.clone()),
            Self::Int(number) => Self::Int(*number),
        }
    }
}

pub type Query = (String, Vec<Value>);

#[derive(Default)]
pub struct Conditions {
    all: Vec<String>,
    pub values: Vec<Value>,
}

fn text(text: &str) -> Value {
    Value::Text(stored(text).into_owned())
}

impl Conditions {
    pub fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// `first`: whether an index is to be used for it.
    pub fn equal(&mut self, first: bool, column: &str, value: &Option<String>) {
        if let Some(value) = value {
            let value = self.value(text(value));
            self.all.push(if first { format!("{column} = {value}") } else { format!("({column} || '') = {value}") });
        }
    }

    pub fn below(&mut self, column: &str, before: Option<i64>) {
        if let Some(before) = before {
            let before = self.value(Value::Int(before));
            self.all.push(format!("{column} < {before}"));
        }
    }

    pub fn and(&mut self, condition: String) {
        self.all.push(condition);
    }

    /// Since a time, and before another.
    pub fn within(&mut self, column: &str, since_ms: Option<i64>, until_ms: Option<i64>) {
        for (at_ms, is) in [(since_ms, ">="), (until_ms, "<")] {
            if let Some(at_ms) = at_ms {
                let at_ms = self.value(Value::Int(at_ms));
                self.all.push(format!("{column} {is} {at_ms}"));
            }
        }
    }

    pub fn clause(&mut self) -> String {
        let all = std::mem::take(&mut self.all);
        if all.is_empty() { String::new() } else { format!("WHERE {}", all.join(" AND ")) }
    }
}

pub const MESSAGE: &str =
    "SELECT seq, until, type, source, subject, id, received_at_ms, sweep, place, stated_by, intake, attributes, \
                       data 
                       FROM messages";

/// One message, by its `seq`.
pub fn message() -> String {
    format!("{MESSAGE} WHERE seq = $1")
}

/// The types that come with a value in a column: one step of the index for each.
pub fn types(table: &str, column: &str) -> String {
    format!(
        "WITH RECURSIVE t(type) AS (SELECT min(type) FROM {table} WHERE {column} = $1 \
         UNION ALL SELECT (SELECT min(o.type) FROM {table} o WHERE o.{column} = $1 AND o.type > t.type) FROM t \
         WHERE t.type IS NOT NULL) SELECT type FROM t WHERE type IS NOT NULL"
    )
}

/// Whether a search starts at what one message has alone, so that nothing else matters.
pub fn by_message(filter: &MessageFilter) -> bool {
    filter.id.is_some() || filter.subject.is_some()
}

/// The minute of a time.
pub fn minute_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(60_000)
}

/// The ids that messages of this time can have: two numbers, or none where there are no such messages.
pub fn ids_within(since_ms: Option<i64>, until_ms: Option<i64>) -> Query {
    let mut conditions = Conditions::default();
    let until = until_ms.map(|until_ms| minute_of(until_ms.saturating_sub(1)).saturating_add(1));
    conditions.within("minute", since_ms.map(minute_of), until);
    let clause = conditions.clause();
    (format!("SELECT min(first) AS first, max(last) AS last FROM minutes {clause}"), conditions.values)
}

/// A page of messages, newest first. `types`: those to look at one by one, because the indexes of systems and sources
/// are by type; `None` where no index of these is used.
pub fn messages(filter: &MessageFilter, types: &[Option<String>], first_id: Option<i64>) -> Query {
    let mut conditions = Conditions::default();
    let page = page(&mut conditions, filter, types, first_id);
    (format!("{MESSAGE} WHERE seq IN ({page}) ORDER BY seq DESC"), conditions.values)
}

/// The numbers of the newest messages that fit, the newest first.
fn page(
    conditions: &mut Conditions,
    filter: &MessageFilter,
    types: &[Option<String>],
    first_id: Option<i64>,
) -> String {
    let by_message = by_message(filter);
    let pages: Vec<String> = match (&filter.system, filter.state) {
        (None, None) => types.iter().map(|t| of_messages(conditions, filter, first_id, "", t)).collect(),
        _ if by_message => vec![of_messages(conditions, filter, first_id, BOTH, &None)],
        (None, Some(DeliveryState::Done)) => {
            types.iter().map(|t| of_messages(conditions, filter, first_id, DONE, t)).collect()
        }
        (system, state) => {
            let mut pages = Vec::new();
            let states =
                DeliveryState::ALL.into_iter().filter(|s| !finished(*s) && state.is_none_or(|state| state == *s));
            for state in states {
                pages.push(of_deliveries(conditions, filter, first_id, StartAt::Open(state)));
            }
            match (system, state) {
                (Some(_), None | Some(DeliveryState::Done)) => {
                    pages.extend(
                        types
                            .iter()
                            .map(|t| of_deliveries(conditions, filter, first_id, StartAt::Finished(t.as_ref()))),
                    );
                }
                _ if state.is_none_or(finished) => {
                    pages.push(of_deliveries(conditions, filter, first_id, StartAt::Finished(None)));
                }
                _ => {}
            }
            pages
        }
    };
    // None: there is no such system or source.
    let pages = if pages.is_empty() { "SELECT seq FROM messages WHERE seq < 0".to_string() } else { union(&pages) };
    let limit = filter.limit;
    format!("SELECT seq FROM ({pages}) AS found GROUP BY seq ORDER BY seq DESC LIMIT {limit}")
}

/// The numbers of messages in whose data a text stands, and of the last one that was looked through, where there may be
/// more to be looked through. `contains`: the database's function.
pub fn with_text(
    filter: &MessageFilter,
    types: &[Option<String>],
    first_id: Option<i64>,
    contains: &str,
    wanted: &str,
) -> (Query, Query) {
    let mut conditions = Conditions::default();
    let most = MessageFilter::SCANNED_MAX;
    let all = MessageFilter { limit: u32::try_from(most).unwrap_or(u32::MAX), ..filter.clone() };
    // Found as by any search, so that a rare condition has its index.
    let scanned = page(&mut conditions, &all, types, first_id);
    let horizon = format!("SELECT min(w.seq) AS seq FROM ({scanned}) AS w HAVING count(*) >= {most}");
    let horizon = (horizon, conditions.values.iter().map(Value::again).collect());
    let wanted = conditions.value(text(wanted));
    let limit = filter.limit;
    // Looked up for each: PostgreSQL would rather walk all messages, for it thinks that the text is soon found.
    let data = "(SELECT m.data FROM messages m WHERE m.seq = w.seq)";
    let found = format!(
        "SELECT w.seq FROM ({scanned}) AS w WHERE {contains}({data}, {wanted}) > 0 ORDER BY w.seq DESC LIMIT {limit}"
    );
    ((found, conditions.values), horizon)
}

/// These messages, in no order: for one, PostgreSQL would walk all messages.
pub fn numbered(seqs: &[i64]) -> String {
    let seqs: Vec<_> = seqs.iter().map(i64::to_string).collect();
    format!("{MESSAGE} WHERE seq IN ({})", seqs.join(", "))
}

fn union(pages: &[String]) -> String {
    let pages: Vec<_> = pages.iter().map(|page| format!("SELECT seq FROM ({page}) AS page")).collect();
    pages.join(" UNION ALL ")
}

/// Deliveries of a message are looked up by the ids that can be theirs.
const OWN: &str = "d.id > m.seq AND d.id <= m.until AND d.message_seq = m.seq";
const BOTH: &str = "open deliveries";
const DONE: &str = "deliveries";

/// Starts at messages and looks at the deliveries of each, in `tables`.
fn of_messages(
    conditions: &mut Conditions,
    filter: &MessageFilter,
    first_id: Option<i64>,
    tables: &str,
    of_type: &Option<String>,
) -> String {
    if let Some(id) = &filter.id {
        let id = conditions.value(text(id));
        conditions.all.push(format!("m.seq IN (SELECT seen.seq FROM seen WHERE seen.id = {id})"));
    }
    conditions.equal(filter.id.is_none(), "m.subject", &filter.subject);
    let first = !by_message(filter);
    let r#type = if first && filter.source.is_none() { "lower(m.type)" } else { "m.type" };
    conditions.equal(first, r#type, if of_type.is_some() { of_type } else { &filter.r#type });
    conditions.equal(first, "m.source", &filter.source);
    let walks = filter.id.is_none() && !conditions.all.is_empty();
    match filter.before {
        Some(before) if walks => {
            let before = conditions.value(Value::Int(before.saturating_neg()));
            conditions.all.push(format!("(-m.seq) > {before}"));
        }
        before => conditions.below("m.seq", before),
    }
    if let Some(first) = first_id {
        let first = conditions.value(Value::Int(if walks { first.saturating_neg() } else { first }));
        conditions.and(if walks { format!("(-m.seq) <= {first}") } else { format!("m.seq >= {first}") });
    }
    conditions.within("m.received_at_ms", filter.since_ms, filter.until_ms);
    own_deliveries(conditions, filter, tables);
    let clause = conditions.clause();
    let limit = filter.limit;
    // What is found by the id is sorted; SQLite would rather walk all messages.
    let order = match (&filter.id, walks) {
        (Some(_), _) => "m.seq + 0 DESC",
        (None, true) => "-m.seq",
        (None, false) => "m.seq DESC",
    };
    format!("SELECT m.seq AS seq FROM messages m {clause} ORDER BY {order} LIMIT {limit}")
}

/// Whether a message has a delivery to the filter's system and in its state, in `tables`; nothing where neither is asked for.
fn own_deliveries(conditions: &mut Conditions, filter: &MessageFilter, tables: &str) {
    if !tables.is_empty() && (filter.system.is_some() || filter.state.is_some()) {
        let outer = std::mem::take(&mut conditions.all);
        let mut own = vec![OWN.to_string()];
        conditions.equal(false, "d.system", &filter.system);
        own.append(&mut conditions.all);
        own.extend(filter.state.map(|state| format!("(d.state || '') = '{}'", state.as_str())));
        let own = own.join(" AND ");
        let exists = tables.split(' ').map(|table| format!("EXISTS (SELECT 1 FROM {table} d WHERE {own})"));
        conditions.all = outer;
        conditions.all.push(format!("({})", exists.collect::<Vec<_>>().join(" OR ")));
    }
}

/// Deliveries to start a search at.
#[derive(Clone, Copy)]
enum StartAt<'a> {
    /// Those that are done or skipped; of one type, or all.
    Finished(Option<&'a String>),
    Open(DeliveryState),
}

/// Starts at deliveries.
fn of_deliveries(
    conditions: &mut Conditions,
    filter: &MessageFilter,
    first_id: Option<i64>,
    part: StartAt<'_>,
) -> String {
    let (table, of_type, indexed) = match part {
        StartAt::Finished(of_type) => ("deliveries", of_type.or(filter.r#type.as_ref()), of_type.is_some()),
        StartAt::Open(state) => ("open", filter.r#type.as_ref(), HELD_STATES.contains(&state)),
    };
    conditions.equal(indexed, "d.system", &filter.system);
    conditions.equal(indexed && filter.system.is_some(), "d.type", &of_type.cloned());
    // Literals: only so are the indexes of some states considered.
    match part {
        StartAt::Open(state) if indexed => conditions.and(format!("{HELD} AND d.state = '{}'", state.as_str())),
        StartAt::Open(state) => conditions.and(format!("d.state = '{}'", state.as_str())),
        StartAt::Finished(_) => {
            if let Some(state) = filter.state {
                conditions.and(format!("d.state = '{}'", state.as_str()));
            }
        }
    }
    conditions.below("d.message_seq", filter.before);
    if let Some(first) = first_id {
        let first = conditions.value(Value::Int(first));
        conditions.and(format!("d.message_seq >= {first}"));
    }
    // Looked up for each: no database may think of going from the messages to their deliveries.
    let of_message = |column| format!("(SELECT m.{column} FROM messages m WHERE m.seq = d.message_seq)");
    conditions.within(&of_message("received_at_ms"), filter.since_ms, filter.until_ms);
    conditions.equal(true, &of_message("source"), &filter.source);
    let clause = conditions.clause();
    let limit = filter.limit;
    format!(
        "SELECT d.message_seq AS seq FROM {table} d {clause} GROUP BY d.message_seq \
         ORDER BY d.message_seq DESC LIMIT {limit}"
    )
}

/// What is read of a delivery in `open` or `deliveries`. A finished one is not operated on: its version is of no use.
pub fn delivery(table: &str) -> String {
    let version = if table == "open" { "d.version" } else { "0 AS version" };
    format!(
        "d.id, d.message_seq, d.type, d.system, d.key, d.state, d.attempts, d.next_at_ms, d.updated_at_ms, d.error, d.edited, \
         d.by_whom, {version}"
    )
}

const HELD_STATES: [DeliveryState; 3] = [DeliveryState::Parked, DeliveryState::Waiting, DeliveryState::Dead];
const HELD: &str = "d.state IN ('parked', 'waiting', 'dead')";
const GAVE_UP: &str = "d.state IN ('parked', 'dead')";

/// Deliveries for an operation, by id.
pub fn deliveries(filter: &DeliveryFilter) -> Query {
    let mut conditions = Conditions::default();
    let (table, states) = match filter.states {
        States::One(state) if finished(state) => ("deliveries", format!("d.state = '{}'", state.as_str())),
        States::One(state) => ("open", format!("d.state = '{}'", state.as_str())),
        States::GaveUp => ("open", GAVE_UP.to_string()),
        States::Failing => ("open", format!("({GAVE_UP} OR (d.state = 'ready' AND d.code IS NOT NULL))")),
    };
    conditions.all.push(states);
    if let Some(id) = filter.id {
        let id = conditions.value(Value::Int(id));
        conditions.all.push(format!("d.id = {id}"));
    }
    conditions.equal(false, "d.system", &filter.system);
    conditions.equal(false, "d.type", &filter.r#type);
    conditions.equal(false, "d.code", &filter.code);
    conditions.equal(false, "d.key", &filter.key);
    conditions.within("d.updated_at_ms", filter.since_ms, filter.until_ms);
    if let Some(cause) = filter.cause {
        // Finished ones have none.
        let cause = conditions.value(Value::Int(cause));
        conditions.and(if table == "open" {
            format!("d.cause = {cause} AND d.cause <> 0")
        } else {
            format!("{cause} = 0")
        });
    }
    let after = conditions.value(Value::Int(filter.after));
    conditions.all.push(format!("d.id > {after}"));
    let limit = conditions.value(Value::Int(filter.limit.into()));
    let (columns, clause) = (delivery(table), conditions.clause());
    let sql = format!("SELECT {columns} FROM {table} d {clause} ORDER BY d.id LIMIT {limit}");
    (sql, conditions.values)
}

pub const INTAKE: &str = "SELECT seq, id, kind, system, name, at_ms, outcome, messages, duplicates, differing, left_out, \
                          error, part_of, event, by_whom, stated_by, times, last_at_ms FROM intakes";

/// Intakes, newest first.
pub fn intakes(filter: &IntakeFilter) -> Query {
    let mut conditions = Conditions::default();
    conditions.equal(true, "id", &filter.id);
    conditions.equal(filter.id.is_none(), "system", &filter.system);
    conditions.equal(filter.id.is_none() && filter.system.is_none(), "outcome", &filter.outcome);
    let clause = conditions.clause();
    let limit = conditions.value(Value::Int(filter.limit.into()));
    let sql = format!("{INTAKE} {clause} ORDER BY seq DESC LIMIT {limit}");
    (sql, conditions.values)
}

//! Writes what a [`Plan`] comes to: a statement for each table that gets rows, however many there are.

use super::backend::{Pool, Rows, Tx};
use super::changes::Changes;
use super::days::Days;
use super::facts::Found;
use super::find::minute_of;
use super::health::Health;
use super::internal;
use super::rows::{MessageRow, OpenRow, Texts, record};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use busbar_core::commit::{Names, Plan, finished, ids_max, messages_ids_max};
use busbar_core::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Problem>;

/// The ids of a minute are those from the first one to the last.
const WIDEN: &str = "ON CONFLICT (minute) DO UPDATE SET \
    first = CASE WHEN excluded.first < minutes.first THEN excluded.first ELSE minutes.first END, \
    last = CASE WHEN excluded.last > minutes.last THEN excluded.last ELSE minutes.last END";

/// A transaction that holds the writers' lock.
pub struct Write {
    pub tx: Tx,
    days: Arc<Days>,
    health: Arc<Health>,
    /// Days and types that this transaction made known.
    new_days: BTreeSet<i64>,
    new_types: BTreeSet<i64>,
    /// Deliveries that leave `open`.
    left: u64,
}

impl Write {
    pub async fn begin(pool: &Pool, days: &Arc<Days>) -> Result<Self> {
        let tx = pool.begin().await;
        if tx.is_err() {
            pool.health.note(&tx);
        }
        let (days, health) = (days.clone(), pool.health.clone());
        Ok(Self { tx: tx?, days, health, new_days: BTreeSet::new(), new_types: BTreeSet::new(), left: 0 })
    }

    /// Commits when all is well, else rolls back.
    pub async fn end<T>(self, result: Result<T>) -> Result<T> {
        let Self { tx, days, health, new_days, new_types, left } = self;
        let result = tx.end(result).await;
        health.note(&result);
        if result.is_ok() {
            days.known(new_days, new_types);
            days.left(left);
        }
        result
    }

    /// Writes a batch; the transaction is not committed yet.
    pub async fn batch(&mut self, batch: Vec<Commit>) -> Result<Vec<Committed>> {
        let at_ms = batch.iter().map(time_of).max().unwrap_or_default();
        let ids = batch.iter().map(ids_max).sum();
        let (mut plan, texts) = self.plan(ids, at_ms, Names::of(&batch)).await?;
        let committed = batch.into_iter().map(|c| plan.commit(c)).collect();
        self.rows(Changes::of(plan, texts)?).await?;
        Ok(committed)
    }

    /// Whether a large commit is refused whatever its messages are. Takes the writers' lock.
    pub async fn refuses(&mut self, head: &Commit) -> Result<bool> {
        let (mut plan, _) = self.plan(0, head.at_ms, Names::of([head])).await?;
        Ok(plan.commit(Commit { on_differing: Some(OnDiffering::Keep), ..head.clone() }).is_err())
    }

    /// Writes one chunk of a large commit and counts it.
    pub async fn chunk(&mut self, messages: Vec<NewMessage>, intake: &mut Option<Intake>, at_ms: i64) -> Result<()> {
        let names = Names::of_messages(&messages);
        let (mut plan, texts) = self.plan(messages_ids_max(&messages), at_ms, names).await?;
        let origin = intake.as_ref().map_or_else(|| Origin::delivery(""), Origin::input);
        let accepted = plan.accept(messages, &origin, at_ms);
        if let Some(intake) = intake {
            intake.count(&accepted);
        }
        self.rows(Changes::of(plan, texts)?).await
    }

    /// Writes what a large commit has apart from messages.
    pub async fn rest(&mut self, head: Commit) -> Result<()> {
        let (mut plan, texts) = self.plan(ids_max(&head), head.at_ms, Names::of([&head])).await?;
        plan.rest(head);
        self.rows(Changes::of(plan, texts)?).await
    }

    /// Takes the writers' lock and so many ids, and then looks at what is named.
    async fn plan(&mut self, ids: usize, at_ms: i64, names: Names<'_>) -> Result<(Plan, HashMap<i64, Texts>)> {
        let next = self.reserve(ids, at_ms).await?;
        let Found { facts, texts } = self.find(names).await?;
        Ok((Plan::new(next, ids, facts), texts))
    }

    /// Takes a block of ids of the day, and with it the writers' lock; returns the first one.
    async fn reserve(&mut self, ids: usize, at_ms: i64) -> Result<i64> {
        let ids = i64::try_from(ids).map_err(internal)?;
        let of_day = [(ids, super::days::first_id(super::days::day_of(at_ms)))];
        let rows = Rows::default().int("ids", &of_day, |r| r.0).int("first", &of_day, |r| r.1);
        let sql = "UPDATE counters SET value = CASE WHEN value < r.first THEN r.first ELSE value END + r.ids \
                   FROM {rows} WHERE counters.name = 'seq' RETURNING value";
        let last = self.tx.fetch::<(i64,)>(sql, rows).await?.pop().ok_or_else(|| internal("no counter"))?.0;
        let next = last - ids + 1;
        let day = super::days::day_of_id(next);
        if ids > 0 && self.days.is_new(day) && self.new_days.insert(day) {
            super::days::make(&mut self.tx, day).await?;
        }
        Ok(next)
    }

    /// Makes the partitions of these days.
    pub async fn make_days(&mut self, days: &[i64]) -> Result<()> {
        self.reserve(0, 0).await?;
        for day in days {
            if self.days.is_new(*day) && self.new_days.insert(*day) {
                super::days::make(&mut self.tx, *day).await?;
            }
        }
        Ok(())
    }

    pub async fn rows(&mut self, changes: Changes) -> Result<()> {
        self.messages(&changes).await?;
        self.intakes(&changes.intakes).await?;
        self.decided(&changes.decided).await?;
        self.recurred(changes.recurred).await?;
        self.calls(&changes.calls).await?;
        self.state(changes.state).await?;
        if !changes.restored {
            self.tally(&changes.messages, &changes.deliveries).await?;
        }
        self.deliveries(changes.deliveries).await?;
        self.audit(&changes.audit).await?;
        self.holds(&changes.holds).await?;
        let operations: Vec<_> = Some(changes.operations).filter(|n| *n > 0).into_iter().collect();
        // Each takes an id as well: hubs see at their next write that something has changed.
        let sql = "UPDATE counters SET value = value + r.more FROM {rows} WHERE counters.name IN ('operations', 'seq')";
        self.tx.execute(sql, Rows::default().int("more", &operations, |n| *n)).await
    }

    async fn messages(&mut self, changes: &Changes) -> Result<()> {
        let seen = Rows::default()
            .text("id", &changes.seen, |r| &r.message.id)
            .int("pair", &changes.seen, |r| r.pair.0)
            .int("seq", &changes.seen, |r| r.seq)
            .int("content", &changes.seen, |r| r.content)
            .int("type", &changes.seen, |r| r.r#type);
        self.tx.insert("seen", seen, "").await?;
        let rows = &changes.messages;
        let messages = Rows::default()
            .int("seq", rows, |r| r.seq)
            .int("until", rows, |r| r.until)
            .text("type", rows, |r| &r.message.r#type)
            .text("source", rows, |r| &r.message.source)
            .text("subject", rows, |r| r.message.subject.as_deref().unwrap_or_default())
            .text("id", rows, |r| &r.message.id)
            .int("received_at_ms", rows, |r| r.received_at_ms)
            .int("sweep", rows, |r| i64::from(r.sweep))
            .maybe("place", rows, |r| r.place.as_deref())
            .maybe("stated_by", rows, |r| r.stated_by.as_deref())
            .maybe("intake", rows, |r| r.intake.as_deref())
            .json("attributes", rows, |r| Some(&r.attributes))
            .json("data", rows, |r| r.data.as_deref());
        self.tx.insert("messages", messages, "").await?;
        self.minutes(rows).await?;
        let new = |hash: &i64| self.days.is_new_type(*hash) && !self.new_types.contains(hash);
        let types: Vec<_> = changes.types.iter().filter(|(_, hash)| new(hash)).collect();
        let values = Rows::default().int("hash", &types, |t| *t.1).text("name", &types, |t| t.0);
        self.tx.insert("types", values, "ON CONFLICT (hash) DO NOTHING").await?;
        self.new_types.extend(types.into_iter().map(|(_, hash)| *hash));
        Ok(())
    }

    /// Which ids the messages of a minute have.
    async fn minutes(&mut self, messages: &[MessageRow]) -> Result<()> {
        let mut minutes: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for MessageRow { seq, received_at_ms, .. } in messages {
            let (first, last) = minutes.entry(minute_of(*received_at_ms)).or_insert((*seq, *seq));
            (*first, *last) = ((*first).min(*seq), (*last).max(*seq));
        }
        let minutes: Vec<_> = minutes.into_iter().collect();
        let values = Rows::default().int("minute", &minutes, |m| m.0).int("first", &minutes, |m| m.1.0).int(
            "last",
            &minutes,
            |m| m.1.1,
        );
        self.tx.insert("minutes", values, WIDEN).await
    }

    /// The same for messages behind all that are noted.
    pub async fn lacking_minutes(&mut self) -> Result<()> {
        let sql = format!(
            "INSERT INTO minutes (minute, first, last) SELECT received_at_ms / 60000, min(seq), max(seq) FROM messages \
             WHERE seq > (SELECT coalesce(max(last), -1) FROM minutes) GROUP BY 1 {WIDEN}"
        );
        self.tx.run(&sql).await
    }

    async fn intakes(&mut self, intakes: &[(i64, Intake)]) -> Result<()> {
        let texts = |(_, intake): &(i64, Intake)| {
            let by = intake.stated_by.as_ref().map(ToString::to_string);
            Ok((record(intake.error.as_ref())?, record(intake.event.as_ref())?, by))
        };
        let texts = intakes.iter().map(texts).collect::<Result<Vec<_>>>()?;
        let rows: Vec<_> = intakes.iter().zip(&texts).collect();
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let values = Rows::default()
            .int("seq", &rows, |r| r.0.0)
            .text("id", &rows, |r| &r.0.1.id)
            .text("kind", &rows, |r| r.0.1.kind.as_str())
            .text("system", &rows, |r| &r.0.1.system)
            .text("name", &rows, |r| &r.0.1.name)
            .int("at_ms", &rows, |r| r.0.1.at_ms)
            .text("outcome", &rows, |r| r.0.1.outcome.as_str())
            .int("messages", &rows, |r| number(r.0.1.messages))
            .int("duplicates", &rows, |r| number(r.0.1.duplicates))
            .int("differing", &rows, |r| number(r.0.1.differing))
            .int("left_out", &rows, |r| number(r.0.1.left_out))
            .json("error", &rows, |r| r.1.0.as_deref())
            .maybe("part_of", &rows, |r| r.0.1.part_of.as_deref())
            .json("event", &rows, |r| r.1.1.as_deref())
            .maybe("by_whom", &rows, |r| r.0.1.by.as_deref())
            .maybe("stated_by", &rows, |r| r.1.2.as_deref())
            .int("times", &rows, |r| number(r.0.1.times))
            .int("last_at_ms", &rows, |r| r.0.1.last_at_ms.unwrap_or(0));
        self.tx.insert("intakes", values, "").await
    }

    async fn decided(&mut self, decided: &[(i64, Decided)]) -> Result<()> {
        let values = Rows::default()
            .int("seq", decided, |r| r.0)
            .text("outcome", decided, |r| r.1.outcome.as_str())
            .text("by_whom", decided, |r| &r.1.decider.by);
        let sql = "UPDATE intakes SET outcome = r.outcome, by_whom = r.by_whom FROM {rows} WHERE intakes.seq = r.seq";
        self.tx.execute(sql, values).await
    }

    async fn recurred(&mut self, recurred: BTreeMap<i64, Recurred>) -> Result<()> {
        let rows: Vec<_> = recurred.into_iter().collect();
        let values = Rows::default()
            .int("seq", &rows, |r| r.0)
            .int("times", &rows, |r| i64::try_from(r.1.times).unwrap_or(i64::MAX))
            .int("last_at_ms", &rows, |r| r.1.last_at_ms);
        let sql = "UPDATE intakes SET times = intakes.times + r.times, last_at_ms = r.last_at_ms FROM {rows} \
                   WHERE intakes.seq = r.seq";
        self.tx.execute(sql, values).await
    }

    async fn calls(&mut self, calls: &[((i64, u32, u32), String)]) -> Result<()> {
        let values = Rows::default()
            .int("owner", calls, |r| r.0.0)
            .int("attempt", calls, |r| r.0.1.into())
            .int("ordinal", calls, |r| r.0.2.into())
            .json("record", calls, |r| Some(&r.1));
        let overwrite = "ON CONFLICT (owner, attempt, ordinal) DO UPDATE SET record = excluded.record";
        self.tx.insert("calls", values, overwrite).await
    }

    async fn state(&mut self, state: BTreeMap<(String, String), Option<Vec<u8>>>) -> Result<()> {
        let encoded = state.into_iter().map(|(at, value)| (at, value.map(|v| STANDARD.encode(v))));
        let (set, unset): (Vec<_>, Vec<_>) = encoded.partition(|(_, value)| value.is_some());
        let keys = |rows| Rows::default().text("system", rows, name).text("key", rows, |r| &r.0.1);
        fn name(row: &((String, String), Option<String>)) -> &str {
            &row.0.0
        }
        let overwrite = "ON CONFLICT (system, key) DO UPDATE SET value = excluded.value";
        self.tx.insert("state", keys(&set).json("value", &set, |r| r.1.as_deref()), overwrite).await?;
        let sql = "DELETE FROM state WHERE (system, key) IN (SELECT r.system, r.key FROM {rows})";
        self.tx.execute(sql, keys(&unset)).await
    }

    /// Writes deliveries where they belong, and counts them.
    async fn deliveries(&mut self, rows: Vec<OpenRow>) -> Result<()> {
        let mut depths: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for row in &rows {
            if let Some(was) = row.was {
                *depths.entry((&row.system, was.as_str())).or_default() -= 1;
            }
            *depths.entry((&row.system, row.state.as_str())).or_default() += 1;
        }
        let depths: Vec<_> = depths.into_iter().filter(|(_, more)| *more != 0).collect();
        let values = Rows::default().text("system", &depths, |d| d.0.0).text("state", &depths, |d| d.0.1).int(
            "total",
            &depths,
            |d| d.1,
        );
        let add = "ON CONFLICT (system, state) DO UPDATE SET total = depths.total + excluded.total";
        self.tx.insert("depths", values, add).await?;
        self.causes(&rows).await?;

        let (ended, open): (Vec<&OpenRow>, Vec<_>) = rows.iter().partition(|row| finished(row.state));
        let gone: Vec<_> = ended.iter().filter(|row| row.was.is_some()).map(|row| row.id).collect();
        self.left += gone.len() as u64;
        let sql = "DELETE FROM open WHERE id IN (SELECT r.id FROM {rows})";
        self.tx.execute(sql, Rows::default().int("id", &gone, |id| *id)).await?;
        self.tx.insert("deliveries", shared(&ended), "").await?;
        let (new, old): (Vec<&OpenRow>, Vec<_>) = open.into_iter().partition(|row| row.was.is_none());
        let values = unfinished(&new).int("shard", &new, |r| r.shard());
        self.tx.insert("open", values, "").await?;
        let sql = "UPDATE open SET state = r.state, attempts = r.attempts, tries = r.tries, \
                   next_at_ms = r.next_at_ms, updated_at_ms = r.updated_at_ms, operated = r.operated, version = r.version, cause = r.cause, \
                   error = r.error, code = r.code, edited = r.edited, by_whom = r.by_whom \
                   FROM {rows} WHERE open.id = r.id";
        self.tx.execute(sql, unfinished(&old)).await
    }
}

fn unfinished<'a>(rows: &'a [&'a OpenRow]) -> Rows<'a> {
    shared(rows)
        .int("tries", rows, |r| r.tries.into())
        .int("operated", rows, |r| r.judged.map_or(0, |judged| i64::from(judged) + 1))
        .int("version", rows, |r| r.version.into())
        .int("cause", rows, |r| r.cause.as_ref().map_or(0, |(id, _)| *id))
}

/// The columns of both `open` and `deliveries`.
fn shared<'a>(rows: &'a [&'a OpenRow]) -> Rows<'a> {
    Rows::default()
        .int("id", rows, |r| r.id)
        .int("message_seq", rows, |r| r.message_seq)
        .text("type", rows, |r| &r.r#type)
        .text("system", rows, |r| &r.system)
        .maybe("key", rows, |r| r.key.as_deref())
        .text("state", rows, |r| r.state.as_str())
        .int("attempts", rows, |r| r.attempts.into())
        .int("next_at_ms", rows, |r| r.next_at_ms)
        .int("updated_at_ms", rows, |r| r.updated_at_ms)
        .json("error", rows, |r| r.error.as_deref())
        .maybe("code", rows, |r| r.code.as_deref())
        .json("edited", rows, |r| r.edited.as_deref())
        .maybe("by_whom", rows, |r| r.by.as_deref())
}

fn time_of(commit: &Commit) -> i64 {
    commit.at_ms.max(commit.attempted.as_ref().map_or(0, |a| a.at_ms))
}

//! What the people on duty go by: why deliveries fail, what they decided, and which systems they hold up.

use super::backend::Rows;
use super::find::{Conditions, Query, Value};
use super::read::{self, int, optional, record, select, string};
use super::rows::{OpenRow, parse_state};
use super::write::Write;
use super::{SqlStore, internal};
use busbar_core::audit::{BEGINNING, follow};
use busbar_core::{
    AuditEntry, AuditFilter, AuditRecord, Cause, DeliveryState, ErrorRecord, FailureFilter, FailureGroup, Hold, Pause,
    Problem, States,
};
use sqlx::AnyPool;
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, Problem>;

/// Failing deliveries that are counted at once.
const COUNT_ROWS: i64 = 1_000;
const AUDIT_ROWS: i64 = 1_000;

/// Whether `causes` and `minutes` lack something, or say too much. What an older hub changed otherwise cannot be seen.
const LACKS: &str = "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM counters WHERE name = 'uncounted' AND value <> 0) \
    OR EXISTS (SELECT 1 FROM open WHERE (state IN ('parked', 'dead') OR (state = 'ready' AND code IS NOT NULL)) \
    AND code IS NOT NULL AND cause = 0) \
    OR (SELECT CAST(coalesce(sum(total), 0) AS BIGINT) FROM causes) \
    <> (SELECT count(*) FROM open WHERE cause <> 0 AND state IN ('parked', 'dead', 'ready')) \
    THEN 1 ELSE 0 END AS BIGINT) AS causes, \
    CAST(CASE WHEN EXISTS (SELECT 1 FROM messages WHERE seq > (SELECT coalesce(max(last), -1) FROM minutes)) \
    THEN 1 ELSE 0 END AS BIGINT) AS minutes";

/// How many there are more of a cause in a state.
type Totals = BTreeMap<(i64, &'static str), (Cause, i64)>;

impl Write {
    /// Counts what fails now and did not, and the other way round.
    pub async fn causes(&mut self, rows: &[OpenRow]) -> Result<()> {
        let fails = |state: DeliveryState| States::Failing.has(state, true);
        let mut less: BTreeMap<(i64, &str), i64> = BTreeMap::new();
        let mut more = Totals::new();
        for row in rows {
            let was = row.was.filter(|state| row.was_cause != 0 && fails(*state)).map(|s| (row.was_cause, s.as_str()));
            let cause = row.cause.as_ref().filter(|_| fails(row.state));
            let is = cause.map(|(id, _)| (*id, row.state.as_str()));
            if was == is {
                continue;
            }
            if let Some(was) = was {
                *less.entry(was).or_default() += 1;
            }
            if let (Some(is), Some((_, cause))) = (is, cause) {
                more.entry(is).or_insert_with(|| (cause.clone(), 0)).1 += 1;
            }
        }
        let less: Vec<_> = less.into_iter().collect();
        let gone =
            Rows::default().int("cause", &less, |r| r.0.0).text("state", &less, |r| r.0.1).int("total", &less, |r| r.1);
        let sql = "UPDATE causes SET total = causes.total - r.total FROM {rows} \
                   WHERE causes.cause = r.cause AND causes.state = r.state";
        self.tx.execute(sql, gone).await?;
        self.count(more).await
    }

    async fn count(&mut self, more: Totals) -> Result<()> {
        let more: Vec<_> = more.into_iter().collect();
        let values = Rows::default()
            .int("cause", &more, |r| r.0.0)
            .text("state", &more, |r| r.0.1)
            .text("system", &more, |r| &r.1.0.system)
            .text("type", &more, |r| &r.1.0.r#type)
            .text("code", &more, |r| &r.1.0.code)
            .int("by_adapter", &more, |r| i64::from(r.1.0.by_adapter))
            .maybe("place", &more, |r| r.1.0.place.as_deref())
            .maybe("answer", &more, |r| r.1.0.answer.as_deref())
            .int("total", &more, |r| r.1.1);
        let add = "ON CONFLICT (cause, state) DO UPDATE SET total = causes.total + excluded.total";
        self.tx.insert("causes", values, add).await
    }

    /// Finds out the causes of all that fails: of a journal in which they were not counted, or not all of them.
    pub async fn recount(&mut self) -> Result<()> {
        self.tx.run("DELETE FROM causes; UPDATE counters SET value = 0 WHERE name = 'uncounted'").await?;
        let (mut after, mut totals) = (-1, Totals::new());
        loop {
            let from = [after];
            let sql = format!(
                "SELECT open.id, open.system, open.type, open.state, open.error FROM {{rows}} CROSS JOIN open \
                 WHERE open.id > r.after AND open.code IS NOT NULL ORDER BY open.id LIMIT {COUNT_ROWS}"
            );
            let rows = Rows::default().int("after", &from, |after| *after);
            let found = self.tx.fetch::<(i64, String, String, String, Option<String>)>(&sql, rows).await?;
            let Some(last) = found.last() else { break };
            after = last.0;
            let mut causes = Vec::with_capacity(found.len());
            for (id, system, r#type, state, error) in found {
                let Some(error) = error else { continue };
                let error: ErrorRecord = record(&error)?;
                let cause = Cause::of(&super::text::read(system), &super::text::read(r#type), &error);
                let (state, cause_id) = (parse_state(&state)?, cause.id());
                causes.push((id, cause_id));
                if States::Failing.has(state, true) {
                    totals.entry((cause_id, state.as_str())).or_insert((cause, 0)).1 += 1;
                }
            }
            let rows = Rows::default().int("id", &causes, |c| c.0).int("cause", &causes, |c| c.1);
            self.tx.execute("UPDATE open SET cause = r.cause FROM {rows} WHERE open.id = r.id", rows).await?;
        }
        self.count(totals).await
    }

    async fn catch_up(&mut self, causes: bool, minutes: bool) -> Result<()> {
        // With the writers' lock nothing is counted twice, however many hubs start.
        self.make_days(&[]).await?;
        if minutes {
            self.lacking_minutes().await?;
        }
        if causes { self.recount().await } else { Ok(()) }
    }

    /// Number and hash of the last decision.
    pub async fn audited(&mut self) -> Result<(i64, String)> {
        let one = [1];
        let sql =
            "SELECT a.seq, a.hash FROM {rows} CROSS JOIN (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1) AS a";
        let last = self.tx.fetch::<(i64, String)>(sql, Rows::default().int("one", &one, |n| *n)).await?.pop();
        Ok(last.unwrap_or((0, BEGINNING.to_string())))
    }

    /// Adds decisions to the audit.
    pub async fn audit(&mut self, entries: &[AuditEntry]) -> Result<()> {
        let texts: Vec<_> = entries.iter().map(|entry| (entry.record.text(), entry)).collect();
        let values = Rows::default()
            .int("seq", &texts, |e| e.1.record.seq)
            .int("at_ms", &texts, |e| e.1.record.at_ms)
            .text("by_whom", &texts, |e| &e.1.record.by)
            .text("deed", &texts, |e| e.1.record.deed.as_str())
            .text("system", &texts, |e| &e.1.record.system)
            .int("delivery", &texts, |e| e.1.record.delivery.unwrap_or(0))
            .json("record", &texts, |e| Some(&e.0))
            .text("hash", &texts, |e| &e.1.hash);
        self.tx.insert("audit", values, "").await
    }

    /// What persons held up and let go on, in this order. A pause stands as it was made first.
    pub async fn holds(&mut self, holds: &[(i64, Hold)]) -> Result<()> {
        for (at_ms, Hold { system, paused, decider }) in holds {
            let pause = Pause {
                system: system.clone(),
                by: decider.by.clone(),
                at_ms: *at_ms,
                comment: decider.comment.clone(),
            };
            if *paused {
                self.pauses(&[pause]).await?;
            } else {
                let sql = "DELETE FROM pauses WHERE system IN (SELECT r.system FROM {rows})";
                self.tx.execute(sql, Rows::default().text("system", &[pause], |p| &p.system)).await?;
            }
        }
        Ok(())
    }

    pub async fn pauses(&mut self, pauses: &[Pause]) -> Result<()> {
        let values = Rows::default()
            .text("system", pauses, |p| &p.system)
            .text("by_whom", pauses, |p| &p.by)
            .int("at_ms", pauses, |p| p.at_ms)
            .maybe("comment", pauses, |p| p.comment.as_deref());
        self.tx.insert("pauses", values, "ON CONFLICT (system) DO NOTHING").await
    }
}

pub async fn failures(pool: &AnyPool, filter: &FailureFilter) -> Result<Vec<FailureGroup>> {
    let mut conditions = Conditions::default();
    conditions.equal(false, "c.system", &filter.system);
    conditions.equal(false, "c.type", &filter.r#type);
    conditions.and("c.total > 0".to_string());
    let time = |which| {
        format!(
            "(SELECT {which}(o.updated_at_ms) FROM open o WHERE o.cause = c.cause AND o.state = c.state AND o.cause <> 0)"
        )
    };
    let (first, last, clause) = (time("min"), time("max"), conditions.clause());
    let sql = format!(
        "SELECT c.system, c.type, c.code, c.by_adapter, c.place, c.answer, c.state, c.total, {first} AS first_ms, {last} AS last_ms \
         FROM causes c {clause}"
    );
    let group = |row: &AnyRow| {
        let cause = Cause {
            system: string(row, "system")?,
            r#type: string(row, "type")?,
            code: string(row, "code")?,
            by_adapter: int(row, "by_adapter")? != 0,
            place: optional(row, "place")?,
            answer: optional(row, "answer")?,
        };
        let state = parse_state(&string(row, "state")?)?;
        let (first_ms, last_ms) = (int(row, "first_ms")?, int(row, "last_ms")?);
        Ok(FailureGroup { cause, state, count: read::number(row, "total")?, first_ms, last_ms })
    };
    let mut groups = select(pool, sql, conditions.values).await?.iter().map(group).collect::<Result<Vec<_>>>()?;
    groups.sort_by(|a, b| (&a.cause, a.state.as_str()).cmp(&(&b.cause, b.state.as_str())));
    Ok(groups)
}

pub async fn pauses(pool: &AnyPool) -> Result<Vec<Pause>> {
    let pause = |row: &AnyRow| {
        let (system, by) = (string(row, "system")?, string(row, "by_whom")?);
        Ok(Pause { system, by, at_ms: int(row, "at_ms")?, comment: optional(row, "comment")? })
    };
    let sql = "SELECT system, by_whom, at_ms, comment FROM pauses ORDER BY system".to_string();
    select(pool, sql, vec![]).await?.iter().map(pause).collect()
}

fn audit_query(filter: &AuditFilter) -> Query {
    let mut conditions = Conditions::default();
    let by_delivery = filter.delivery.is_some();
    if let Some(delivery) = filter.delivery {
        let delivery = conditions.value(Value::Int(delivery));
        conditions.and(format!("delivery = {delivery} AND delivery <> 0"));
    }
    conditions.equal(!by_delivery, "system", &filter.system);
    conditions.equal(!by_delivery && filter.system.is_none(), "by_whom", &filter.by);
    conditions.equal(false, "deed", &filter.deed.map(|deed| deed.as_str().to_string()));
    conditions.within("at_ms", filter.since_ms, filter.until_ms);
    conditions.below("seq", filter.before);
    let clause = conditions.clause();
    let limit = conditions.value(Value::Int(filter.limit.into()));
    (format!("SELECT record, hash FROM audit {clause} ORDER BY seq DESC LIMIT {limit}"), conditions.values)
}

pub async fn audit(pool: &AnyPool, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
    let (sql, values) = audit_query(filter);
    let entry = |row: &AnyRow| {
        Ok(AuditEntry {
            record: record::<AuditRecord>(&read::field::<String>(row, "record")?)?,
            hash: string(row, "hash")?,
        })
    };
    select(pool, sql, values).await?.iter().map(entry).collect()
}

/// Entries behind this one, as they stand in the table: the text that was hashed, its hash, and what the columns say.
pub async fn audit_after(pool: &AnyPool, after: i64) -> Result<Vec<(String, String, [String; 6])>> {
    let sql = "SELECT seq, at_ms, by_whom, deed, system, delivery, record, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
    let entry = |row: &AnyRow| {
        let number = |column| int(row, column).map(|number| number.to_string());
        let columns = [
            number("seq")?,
            number("at_ms")?,
            string(row, "by_whom")?,
            string(row, "deed")?,
            string(row, "system")?,
            number("delivery")?,
        ];
        Ok((read::field::<String>(row, "record")?, string(row, "hash")?, columns))
    };
    let rows = select(pool, sql.to_string(), vec![Value::Int(after), Value::Int(AUDIT_ROWS)]).await?;
    rows.iter().map(entry).collect()
}

fn columns(record: &AuditRecord) -> [String; 6] {
    let AuditRecord { seq, at_ms, by, deed, system, delivery, .. } = record;
    let delivery = delivery.unwrap_or(0).to_string();
    [seq.to_string(), at_ms.to_string(), by.clone(), deed.as_str().to_string(), system.clone(), delivery]
}

impl SqlStore {
    /// Reads the whole audit and follows its chain. Gives the number and the hash of its last entry.
    ///
    /// # Errors
    /// `store-unavailable`; in the inner one what is wrong with the chain, in words.
    pub async fn verify_audit(&self) -> Result<std::result::Result<(i64, String), String>> {
        let mut before = (0, BEGINNING.to_string());
        // Whatever its number is: one that somebody put in before the first is shown as well.
        let mut page = audit_after(&self.reader, i64::MIN).await?;
        loop {
            if page.is_empty() {
                return Ok(Ok(before));
            }
            for (text, hash, found) in page {
                match follow(&mut before, &text, &hash) {
                    Ok(record) if columns(&record) == found => {}
                    Ok(record) => return Ok(Err(format!("the columns of entry {} say something else", record.seq))),
                    Err(wrong) => return Ok(Err(wrong)),
                }
            }
            page = audit_after(&self.reader, before.0).await?;
        }
    }

    /// Counts and notes what was written by a hub that kept neither causes nor minutes: before they were there, or beside
    /// the program that brought its tables up to date.
    pub(super) async fn catch_up(&self) -> Result<()> {
        let rows = select(&self.reader, LACKS.to_string(), vec![]).await?;
        let lacks = |column| rows.first().map_or(Ok(false), |row| int(row, column).map(|lacks| lacks != 0));
        let (causes, minutes) = (lacks("causes")?, lacks("minutes")?);
        if !causes && !minutes {
            return Ok(());
        }
        let (writer, days) = (self.writer.clone(), self.days.clone());
        super::whole(async move {
            let mut write = Write::begin(&writer, &days).await?;
            let result = write.catch_up(causes, minutes).await;
            write.end(result).await
        })
        .await
        .map_err(|problem| internal(format!("counting why deliveries fail: {problem}")))
    }
}

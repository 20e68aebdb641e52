//! Reads what a batch must know before it is planned: a few statements, however large the batch is, and none for what
//! does not come up in it.

use super::backend::Rows;
use super::plan::{Facts, Lane};
use super::read::word;
use super::rows::{OpenRecord, Pair, content, parse_state};
use super::text::read;
use super::write::Write;
use busbar_core::*;
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, Problem>;

/// What a batch names.
#[derive(Default)]
struct Named<'a> {
    messages: Vec<&'a NewMessage>,
    /// Keys of new deliveries.
    lanes: BTreeSet<Lane>,
    deliveries: BTreeSet<i64>,
    parked: BTreeSet<i64>,
    operated: BTreeSet<i64>,
    intakes: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    fn messages(&mut self, messages: &'a [NewMessage]) {
        for new in messages {
            self.messages.push(new);
            for planned in &new.deliveries {
                self.lanes.extend(planned.key.clone().map(|key| (planned.system.clone(), key)));
                if let Some(made) = &planned.made {
                    self.messages(&made.messages);
                }
            }
        }
    }

    fn commit(&mut self, commit: &'a Commit) {
        self.messages(&commit.messages);
        let intakes = commit.intake.iter().chain(&commit.entries).map(|i| i.id.as_str());
        let named = commit.decided.iter().map(|d| d.intake.as_str());
        let named = named.chain(commit.recurred.iter().map(|r| r.intake.as_str()));
        self.intakes.extend(intakes.chain(named));
        self.deliveries.extend(commit.started.as_ref().map(|s| s.delivery));
        if let Some(attempted) = &commit.attempted {
            self.deliveries.insert(attempted.delivery);
            if attempted.state == DeliveryState::Parked {
                self.parked.insert(attempted.delivery);
            }
        }
        if let Some(operation) = &commit.operation {
            self.deliveries.insert(operation.delivery);
            self.operated.insert(operation.delivery);
        }
    }
}

impl Write {
    /// What the database knows of everything that `batch` names.
    pub async fn facts<'a>(&mut self, batch: impl IntoIterator<Item = &'a Commit>) -> Result<Facts> {
        let mut named = Named::default();
        batch.into_iter().for_each(|commit| named.commit(commit));
        self.look_up(named).await
    }

    /// The same for messages alone.
    pub async fn facts_of(&mut self, messages: &[NewMessage]) -> Result<Facts> {
        let mut named = Named::default();
        named.messages(messages);
        self.look_up(named).await
    }

    async fn look_up(&mut self, named: Named<'_>) -> Result<Facts> {
        let mut facts = Facts::default();
        self.known_messages(&named, &mut facts).await?;
        let ids = named.intakes.iter().map(|id| id.to_string()).chain(differing(&named, &facts)).collect();
        self.known_intakes(ids, &mut facts).await?;
        let ids: Vec<_> = named.deliveries.iter().copied().collect();
        let sql = format!("SELECT {} FROM {{rows}} CROSS JOIN open WHERE open.id = r.id", OpenRecord::COLUMNS);
        for found in self.tx.fetch::<OpenRecord>(&sql, Rows::default().int("id", &ids, |id| *id)).await? {
            let row = found.row()?;
            facts.open.insert(row.id, row);
        }
        self.known_finished(&named, &mut facts).await?;
        let whole = whole_lanes(&named, &facts);
        self.whole(&whole, &mut facts).await?;
        let rest: Vec<_> = named.lanes.into_iter().filter(|lane| !whole.contains(lane)).collect();
        self.heads(&rest, &mut facts).await?;
        Ok(facts)
    }

    async fn known_messages(&mut self, named: &Named<'_>, facts: &mut Facts) -> Result<()> {
        let pairs: Vec<_> = named.messages.iter().map(|new| (&new.message.id, Pair::of(&new.message))).collect();
        let rows =
            Rows::default().text("id", &pairs, |p| p.0).int("pair", &pairs, |p| p.1.0).int("other", &pairs, |p| p.1.1);
        // CROSS JOIN makes SQLite go from the few rows to the many.
        let sql = "SELECT r.pair, r.other, seen.seq, seen.content FROM {rows} CROSS JOIN seen \
                   WHERE seen.id = r.id AND seen.pair = r.pair";
        for (pair, other, seq, content) in self.tx.fetch(sql, rows).await? {
            facts.known.insert(Pair(pair, other), (seq, content));
        }
        Ok(())
    }

    async fn known_intakes(&mut self, ids: BTreeSet<String>, facts: &mut Facts) -> Result<()> {
        let ids: Vec<_> = ids.into_iter().collect();
        let rows = Rows::default().text("id", &ids, |id| id);
        let sql =
            "SELECT intakes.id, intakes.seq, intakes.outcome FROM {rows} CROSS JOIN intakes WHERE intakes.id = r.id";
        for (id, seq, outcome) in self.tx.fetch::<(String, i64, String)>(sql, rows).await? {
            facts.intakes.insert(read(id), (seq, word(&outcome)?));
        }
        Ok(())
    }

    /// States of finished deliveries: only a refused operation tells them.
    async fn known_finished(&mut self, named: &Named<'_>, facts: &mut Facts) -> Result<()> {
        let ids: Vec<_> = named.operated.iter().copied().filter(|id| !facts.open.contains_key(id)).collect();
        let sql = "SELECT deliveries.id, deliveries.state FROM {rows} CROSS JOIN deliveries WHERE deliveries.id = r.id";
        for (id, state) in self.tx.fetch::<(i64, String)>(sql, Rows::default().int("id", &ids, |id| *id)).await? {
            facts.finished.insert(id, parse_state(&state)?);
        }
        Ok(())
    }

    async fn whole(&mut self, lanes: &BTreeSet<Lane>, facts: &mut Facts) -> Result<()> {
        // An empty one as well: a dead delivery that is retried holds its key again.
        facts.lanes.extend(lanes.iter().map(|lane| (lane.clone(), BTreeMap::new())));
        let lanes: Vec<_> = lanes.iter().collect();
        let sql = |state: &str| {
            format!(
                "SELECT {} FROM {{rows}} CROSS JOIN open \
                 WHERE open.system = r.system AND open.key = r.key AND open.state {state}",
                OpenRecord::COLUMNS
            )
        };
        for state in ["= 'ready' AND open.key IS NOT NULL", "IN ('parked', 'waiting')"] {
            for found in self.tx.fetch::<OpenRecord>(&sql(state), lane_rows(&lanes)).await? {
                let row = found.row()?;
                let lane = row.key.clone().map(|key| (row.system.clone(), key));
                if let Some(lane) = lane {
                    facts.lanes.entry(lane).or_default().insert(row.id, row.state);
                }
                facts.open.insert(row.id, row);
            }
        }
        Ok(())
    }

    /// Whether there is a ready one, and a held one: one of each is enough.
    async fn heads(&mut self, lanes: &[Lane], facts: &mut Facts) -> Result<()> {
        let lanes: Vec<_> = lanes.iter().collect();
        // `+ 0` keeps PostgreSQL from looking for the least id through all that is open: 300 messages a second.
        let head = "SELECT min(open.id + 0) FROM open WHERE open.system = r.system AND open.key = r.key AND open.state";
        let sql = format!(
            "SELECT r.system, r.key, ({head} = 'ready' AND open.key IS NOT NULL), ({head} IN ('parked', 'waiting')) \
             FROM {{rows}}"
        );
        type Head = (String, String, Option<i64>, Option<i64>);
        for (system, key, ready, held) in self.tx.fetch::<Head>(&sql, lane_rows(&lanes)).await? {
            let ready = ready.map(|id| (id, DeliveryState::Ready));
            let found: BTreeMap<_, _> = ready.into_iter().chain(held.map(|id| (id, DeliveryState::Waiting))).collect();
            facts.lanes.insert((read(system), read(key)), found);
        }
        Ok(())
    }
}

fn lane_rows<'a>(lanes: &'a [&'a Lane]) -> Rows<'a> {
    Rows::default().text("system", lanes, |lane| lane.0.as_str()).text("key", lanes, |lane| lane.1.as_str())
}

/// Ids of the entries that known messages with other content come to: they may have come before.
fn differing(named: &Named<'_>, facts: &Facts) -> Vec<String> {
    let origin = Origin::delivery("");
    let differs =
        |new: &&&NewMessage| facts.known.get(&Pair::of(&new.message)).is_some_and(|(_, known)| *known != content(new));
    named.messages.iter().filter(differs).map(|new| origin.differing(new, 0).id).collect()
}

/// Where the batch may park or release deliveries, or end one before another with the same key comes in.
fn whole_lanes(named: &Named<'_>, facts: &Facts) -> BTreeSet<Lane> {
    let touched = facts.open.values().filter_map(|row| {
        let lane = (row.system.clone(), row.key.clone()?);
        let moves = row.judged.is_some() || named.parked.contains(&row.id) || named.operated.contains(&row.id);
        (moves || named.lanes.contains(&lane)).then_some(lane)
    });
    touched.collect()
}

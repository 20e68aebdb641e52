//! Reads what a batch must know before it is planned: a few statements, however large the batch is, and none for what
//! does not come up in it.

use super::backend::Rows;
use super::read::word;
use super::rows::{OpenRecord, Texts, parse_state};
use super::text::read;
use super::write::Write;
use busbar_core::commit::{Facts, KeyLane, Known, Names, Open, Pair};
use busbar_core::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

type Result<T> = std::result::Result<T, Problem>;

/// What the database knows of a batch: what the rules ask for, and the rest of the rows of `open`.
#[derive(Default)]
pub struct Found {
    pub facts: Facts,
    pub texts: HashMap<i64, Texts>,
}

impl Found {
    fn open(&mut self, record: OpenRecord) -> Result<&Open> {
        let (open, texts) = record.parts()?;
        let id = open.id;
        self.texts.insert(id, texts);
        Ok(self.facts.open.entry(id).insert_entry(open).into_mut())
    }
}

impl Write {
    /// What the database knows of everything that is named.
    pub async fn find(&mut self, names: Names<'_>) -> Result<Found> {
        let mut found = Found::default();
        self.known_messages(&names, &mut found.facts).await?;
        self.known_intakes(names.intakes(&found.facts), &mut found.facts).await?;
        let ids: Vec<_> = names.deliveries.iter().copied().collect();
        let sql = format!("SELECT {} FROM {{rows}} CROSS JOIN open WHERE open.id = r.id", OpenRecord::COLUMNS);
        for record in self.tx.fetch::<OpenRecord>(&sql, Rows::default().int("id", &ids, |id| *id)).await? {
            found.open(record)?;
        }
        self.known_finished(&names, &mut found.facts).await?;
        if names.decides {
            found.facts.audited = self.audited().await?;
        }
        let whole = names.whole_lanes(&found.facts);
        self.whole(&whole, &mut found).await?;
        let rest: Vec<_> = names.lanes.into_iter().filter(|lane| !whole.contains(lane)).collect();
        self.heads(&rest, &mut found.facts).await?;
        Ok(found)
    }

    async fn known_messages(&mut self, names: &Names<'_>, facts: &mut Facts) -> Result<()> {
        let pairs: Vec<_> = names.messages.iter().map(|new| (&new.message.id, new.pair())).collect();
        let rows =
            Rows::default().text("id", &pairs, |p| p.0).int("pair", &pairs, |p| p.1.0).int("other", &pairs, |p| p.1.1);
        // CROSS JOIN makes SQLite go from the few rows to the many.
        let sql = "SELECT r.pair, r.other, seen.seq, seen.content FROM {rows} CROSS JOIN seen \
                   WHERE seen.id = r.id AND seen.pair = r.pair";
        for (pair, other, seq, content) in self.tx.fetch(sql, rows).await? {
            facts.known.insert(Pair(pair, other), Known { seq, content });
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
    async fn known_finished(&mut self, names: &Names<'_>, facts: &mut Facts) -> Result<()> {
        let ids: Vec<_> = names.operated.iter().copied().filter(|id| !facts.open.contains_key(id)).collect();
        let sql = "SELECT deliveries.id, deliveries.state FROM {rows} CROSS JOIN deliveries WHERE deliveries.id = r.id";
        for (id, state) in self.tx.fetch::<(i64, String)>(sql, Rows::default().int("id", &ids, |id| *id)).await? {
            facts.finished.insert(id, parse_state(&state)?);
        }
        Ok(())
    }

    async fn whole(&mut self, lanes: &BTreeSet<KeyLane>, found: &mut Found) -> Result<()> {
        // An empty one as well: a dead delivery that is retried holds its key again.
        found.facts.lanes.extend(lanes.iter().map(|lane| (lane.clone(), BTreeMap::new())));
        let lanes: Vec<_> = lanes.iter().collect();
        let sql = |state: &str| {
            format!(
                "SELECT {} FROM {{rows}} CROSS JOIN open \
                 WHERE open.system = r.system AND open.key = r.key AND open.state {state}",
                OpenRecord::COLUMNS
            )
        };
        for state in ["= 'ready' AND open.key IS NOT NULL", "IN ('parked', 'waiting')"] {
            for record in self.tx.fetch::<OpenRecord>(&sql(state), lane_rows(&lanes)).await? {
                let open = found.open(record)?;
                let (id, state, key) = (open.id, open.state, open.key.clone());
                if let Some(lane) = key.map(|key| (open.system.clone(), key)) {
                    found.facts.lanes.entry(lane).or_default().insert(id, state);
                }
            }
        }
        Ok(())
    }

    /// Whether there is a ready one, and a held one: one of each is enough.
    async fn heads(&mut self, lanes: &[KeyLane], facts: &mut Facts) -> Result<()> {
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

fn lane_rows<'a>(lanes: &'a [&'a KeyLane]) -> Rows<'a> {
    Rows::default().text("system", lanes, |lane| lane.0.as_str()).text("key", lanes, |lane| lane.1.as_str())
}

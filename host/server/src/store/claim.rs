//! The leases by which hubs share the work, in the database: [`leases::share`] decides.

use super::backend::{Pool, Rows, Tx};
use super::internal;
use super::text::read;
use busbar_core::Problem;
use busbar_core::leases::{self, Share};
use busbar_core::ports::{Claim, Claimed};
use std::collections::BTreeMap;

/// As [`Store::claim`](busbar_core::ports::Store::claim). Not under the writers' lock: a large file that is being
/// written must not cost a hub its shards.
pub async fn claim(pool: &Pool, claim: Claim) -> Result<Claimed, Problem> {
    let mut tx = pool.begin().await?;
    let result = share(&mut tx, &claim).await;
    tx.end(result).await
}

async fn share(tx: &mut Tx, claim: &Claim) -> Result<Claimed, Problem> {
    let hubs = living(tx, claim).await?;
    // A row that another hub's claim holds right now is not free.
    let skip = if matches!(tx, Tx::Postgres(_)) { "FOR UPDATE OF leases SKIP LOCKED" } else { "" };
    let now = [claim.now_ms];
    let sql = format!(
        "SELECT shard, CASE WHEN until_ms > r.now THEN hub ELSE '' END FROM {{rows}} CROSS JOIN leases \
         ORDER BY shard {skip}"
    );
    let rows = Rows::default().int("now", &now, |now| *now);
    let mut leases = BTreeMap::new();
    for (shard, hub) in tx.fetch::<(i64, String)>(&sql, rows).await? {
        leases.insert(u32::try_from(shard).map_err(internal)?, read(hub));
    }
    let share = leases::share(claim, &leases, hubs);
    write(tx, claim, leases.into_keys(), &share).await?;
    Ok(share.claimed)
}

/// Says that this hub lives (or not), and counts those that do.
async fn living(tx: &mut Tx, claim: &Claim) -> Result<u32, Problem> {
    let until = [(claim.hub.as_str(), if claim.leaving { 0 } else { claim.now_ms + claim.lease_ms }, claim.now_ms)];
    let rows = || Rows::default().text("hub", &until, |r| r.0).int("until_ms", &until, |r| r.1);
    tx.insert("hubs", rows(), "ON CONFLICT (hub) DO UPDATE SET until_ms = excluded.until_ms").await?;
    // Two hubs that clear up at the same time must not wait for one another.
    let skip = if matches!(tx, Tx::Postgres(_)) { "FOR UPDATE OF hubs SKIP LOCKED" } else { "" };
    let now = || Rows::default().int("now", &until, |r| r.2);
    let sql = format!(
        "DELETE FROM hubs WHERE hub IN \
         (SELECT hubs.hub FROM {{rows}} CROSS JOIN hubs WHERE hubs.until_ms <= r.now {skip})"
    );
    tx.execute(&sql, now()).await?;
    let sql = "SELECT count(*) FROM {rows} CROSS JOIN hubs WHERE hubs.until_ms > r.now";
    let count = tx.fetch::<(i64,)>(sql, now()).await?.pop().map_or(0, |row| row.0);
    Ok(u32::try_from(count).map_err(internal)?.max(1))
}

async fn write(tx: &mut Tx, claim: &Claim, leases: impl Iterator<Item = u32>, share: &Share) -> Result<(), Problem> {
    let until_ms = claim.now_ms + claim.lease_ms;
    let row = |shard: u32| match (share.held.has(shard), share.free.has(shard)) {
        (true, _) => Some((shard, claim.hub.as_str(), until_ms)),
        (false, true) => Some((shard, "", 0)),
        (false, false) => None,
    };
    let rows: Vec<_> = leases.filter_map(row).collect();
    let values =
        Rows::default().int("shard", &rows, |r| r.0.into()).text("hub", &rows, |r| r.1).int("until_ms", &rows, |r| r.2);
    let sql = "UPDATE leases SET hub = r.hub, until_ms = r.until_ms FROM {rows} WHERE leases.shard = r.shard";
    tx.execute(sql, values).await
}

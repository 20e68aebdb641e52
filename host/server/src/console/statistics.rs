//! How much came in, and what became of it: day by day, as a picture, a table, and CSV.

use super::Held;
use super::fields::link;
use super::messages::{TextFilter, moment};
use super::page::{self, Shown};
use super::shown::line;
use super::texts::Texts;
use super::viewer::{PageFrame, Viewer};
use crate::rest::{Span, StatisticsRow, csv, statistics_rows};
use askama::Template;
use axum::extract::State;
use busbar_core::statistics::StatisticsFilter;
use std::collections::BTreeMap;

const FILTERS: [&str; 4] = ["system", "type", "since", "until"];
const USUAL_DAYS: i64 = 7;
const DAY_MS: i64 = 86_400_000;
/// Rows of the table; the CSV has all of them.
const ROWS_MAX: usize = 120;
/// Days of the picture: the last ones.
const BARS_MAX: usize = 60;
/// Of the picture, in units of its own.
const HEIGHT: u64 = 120;
const WIDTH: usize = 12;

#[derive(Template)]
#[template(path = "statistics.html")]
struct StatisticsPage {
    t: &'static Texts,
    frame: PageFrame,
    filters: Vec<TextFilter>,
    rows: Vec<DayRow>,
    /// There are more rows than are shown.
    is_cut: bool,
    bars: Vec<Bar>,
    width: usize,
    csv: String,
}

struct DayRow {
    day: String,
    system: Option<String>,
    r#type: String,
    /// In the order of the table's columns.
    counts: [u64; 6],
}

/// What deliveries of one day came to.
struct Bar {
    x: usize,
    day: String,
    done: u64,
    failed: u64,
    /// Heights of the two parts, and where they begin.
    done_height: u64,
    done_y: u64,
    failed_height: u64,
    failed_y: u64,
}

fn day(row: &StatisticsRow) -> String {
    row.from.as_deref().and_then(|from| from.get(..10)).unwrap_or_default().to_string()
}

fn bars(rows: &[StatisticsRow]) -> Vec<Bar> {
    let mut days: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let (done, failed) = days.entry(day(row)).or_default();
        *done += row.done;
        *failed += row.parked + row.dead;
    }
    let most = days.values().map(|(done, failed)| done + failed).max().unwrap_or(0).max(1);
    // What there is at all is to be seen.
    let height = |count: u64| if count == 0 { 0 } else { (count.saturating_mul(HEIGHT) / most).max(1) };
    let bar = |(place, (day, (done, failed))): (usize, (String, (u64, u64)))| {
        let (done_height, failed_height) = (height(done), height(failed));
        let failed_y = HEIGHT.saturating_sub(done_height + failed_height);
        let done_y = HEIGHT.saturating_sub(done_height);
        Bar { x: place * WIDTH, day, done, failed, done_height, done_y, failed_height, failed_y }
    };
    let skipped = days.len().saturating_sub(BARS_MAX);
    days.into_iter().skip(skipped).enumerate().map(bar).collect()
}

pub async fn page(State(console): State<Held>, viewer: Viewer) -> Shown {
    let (t, query) = (viewer.frame.texts(), &viewer.query);
    let usual_ms = viewer.frame.now_ms - USUAL_DAYS * DAY_MS;
    let filter = StatisticsFilter {
        since_ms: Some(moment(query, "since")?.unwrap_or(usual_ms)),
        until_ms: moment(query, "until")?,
        system: query.owned("system"),
        r#type: query.owned("type"),
    };
    let found = statistics_rows(&console.api, &viewer.holder, &filter, Span::Day { zone_ms: 0 }).await?;
    if query.get("format") == Some("csv") {
        return Ok(csv(&found));
    }
    let same = || FILTERS.iter().map(|name| (*name, query.get(name).unwrap_or_default()));
    let text = |(name, label): (&'static str, &'static str)| TextFilter::new(query, name, label);
    let row = |row: &StatisticsRow| DayRow {
        day: day(row),
        system: row.system.as_deref().map(line),
        r#type: line(&row.r#type),
        counts: [row.received, row.bytes, row.done, row.parked, row.dead, row.skipped],
    };
    let bars = bars(&found);
    page::html(&StatisticsPage {
        filters: [("system", t.system), ("type", t.type_), ("since", t.from), ("until", t.until)].map(text).into(),
        // The last day first.
        rows: found.iter().rev().take(ROWS_MAX).map(row).collect(),
        is_cut: found.len() > ROWS_MAX,
        width: bars.len().max(1) * WIDTH,
        bars,
        csv: link("/statistics", same().chain([("format", "csv")])),
        t,
        frame: viewer.frame,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_day() {
        let row = |day: &str, done, parked| StatisticsRow {
            from: Some(format!("{day}T00:00:00.000Z")),
            done,
            parked,
            ..StatisticsRow::default()
        };
        let found =
            [row("2026-11-28", 300, 0), row("2026-11-29", 99, 1), row("2026-11-29", 100, 0), row("2026-11-30", 0, 0)];
        let shown: Vec<_> = bars(&found).iter().map(|b| (b.x, b.done_height, b.failed_height, b.failed_y)).collect();
        assert_eq!(shown, [(0, 120, 0, 0), (12, 79, 1, 40), (24, 0, 0, 120)]);
    }
}

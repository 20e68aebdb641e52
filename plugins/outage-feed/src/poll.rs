//! A poll: the requests, and what is new in their answers. Pure but for `fetch` and the store.

use busbar_sdk::http::{Authorization, Request, Response};
use busbar_sdk::memory::Store;
use busbar_sdk::replies::{Outcome, failure_of, outcome_of_status};
use busbar_sdk::{Draft, Failure, Header, Rejection, draft, header, ids, rejected, rejection};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::list::List;
use crate::mapping::Outage;
use crate::memory::{Memory, Said};
use crate::records;
use crate::settings::{Format, Settings, Table, Vanished};

/// The host allows 1000 messages and 8 MiB of data in a call, and 32 requests.
const MESSAGES_MAX: usize = 500;
const MESSAGE_BYTES_MAX: usize = 4 << 20;
const REQUESTS_MAX: usize = 30;

/// What the next poll needs to ask only for what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cursor {
    /// Digest of the settings: with others the same feed says something else.
    settings: String,
    tags: Vec<Tags>,
}

/// Validators of an answer (RFC 9110, 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tags {
    etag: String,
    modified: String,
}

impl Cursor {
    /// # Errors
    /// `bad-cursor`: another adapter left it.
    pub fn of(bytes: Option<Vec<u8>>, settings: &str) -> Result<Self, Rejection> {
        let digest = ids::derived(&[settings]);
        let cursor = match bytes {
            None => Self::default(),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|_| rejection("bad-cursor", "the cursor kept from the last poll is not this adapter's", ""))?,
        };
        let tags = if cursor.settings == digest { cursor.tags } else { Vec::new() };
        Ok(Self { settings: digest, tags })
    }
}

/// What a poll found.
#[derive(Debug, Default)]
pub struct News {
    pub drafts: Vec<Draft>,
    pub warnings: Vec<String>,
    /// Entries that are no outage as they stand, while the others are.
    pub left_out: Vec<Rejection>,
    pub cursor: Cursor,
    pub more: bool,
}

/// # Errors
/// `not-configured`; a refusal by its status; what [`records`] refuses; `cut-list`, `too-many-outages`,
/// `too-many-pages`.
pub fn run(
    mut settings: Settings,
    cursor: Cursor,
    fetch: &mut impl FnMut(&Request) -> Result<Response, Failure>,
    store: &mut impl Store,
) -> Result<News, Failure> {
    let table = settings.take_table()?;
    if settings.urls.is_empty() {
        return Err(rejected("not-configured", "the settings have no `urls`", "config"));
    }
    let mut feed = Feed { settings: &settings, table: &table, requests: 0, fetch };
    let mut answers = Vec::new();
    for (index, url) in settings.urls.iter().enumerate() {
        answers.push(feed.get(url, cursor.tags.get(index))?);
    }
    if answers.iter().all(Option::is_none) {
        return Ok(News { cursor, ..News::default() });
    }
    let mut tags = Vec::new();
    let mut list = List::default();
    for (index, (url, answer)) in settings.urls.iter().zip(answers).enumerate() {
        let answer = match answer {
            Some(answer) => Some(answer),
            // Another has changed, and an outage may have moved from one to the other.
            None => feed.get(url, None)?,
        };
        let Some(answer) = answer else { continue };
        tags.push(tags_of(&answer));
        list.begin(if settings.urls.len() > 1 { format!("feed {}, ", index + 1) } else { String::new() });
        feed.read(url, &answer, &mut list).map_err(|failure| in_feed(failure, &settings, index))?;
        list.one_each();
    }
    let mut news = News { left_out: std::mem::take(&mut list.left_out), ..News::default() };
    // What is left out is told of at each poll, so it must be read at each.
    let is_settled = note(&settings, list, store, &mut news)? && news.left_out.is_empty();
    // A feed must be seen again while something of it is not settled.
    let tags = if is_settled && table.pages.is_none() { tags } else { Vec::new() };
    news.cursor = Cursor { tags, ..cursor };
    Ok(news)
}

struct Feed<'a, F> {
    settings: &'a Settings,
    table: &'a Table,
    requests: usize,
    fetch: &'a mut F,
}

impl<F: FnMut(&Request) -> Result<Response, Failure>> Feed<'_, F> {
    /// The answer; nothing where it is the one that `tags` is of.
    fn get(&mut self, url: &str, tags: Option<&Tags>) -> Result<Option<Response>, Failure> {
        self.requests += 1;
        if self.requests > REQUESTS_MAX {
            return Err(rejected("too-many-pages", format!("over {REQUESTS_MAX} requests in a poll"), ""));
        }
        let accept = match self.table.format {
            Format::Json => "application/json, application/geo+json, */*;q=0.5",
            Format::Rss | Format::Kml => "application/xml, text/xml, */*;q=0.5",
        };
        let tags = tags.cloned().unwrap_or_default();
        let headers = [("accept", accept), ("if-none-match", &tags.etag), ("if-modified-since", &tags.modified)];
        let headers = headers.iter().filter(|(_, value)| !value.is_empty());
        let authorization = match (self.settings.bearer.as_str(), self.settings.basic.as_str()) {
            ("", "") => None,
            ("", basic) => Some(Authorization::Basic(basic.to_owned())),
            (bearer, _) => Some(Authorization::Bearer(bearer.to_owned())),
        };
        let response = (self.fetch)(&Request {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: headers.map(|(name, value)| Header { name: (*name).into(), value: (*value).into() }).collect(),
            body: Vec::new(),
            authorization,
            timeout_ms: None,
        })?;
        match outcome_of_status(response.status) {
            _ if response.status == 304 && tags != Tags::default() => Ok(None),
            Outcome::Ok => Ok(Some(response)),
            outcome => Err(failure_of(outcome, &response, "GET")),
        }
    }

    fn read(&mut self, url: &str, answer: &Response, list: &mut List) -> Result<(), Failure> {
        let count = self.items(&answer.body, list)?;
        let Some(pages) = &self.table.pages else { return self.rest(url, &answer.body, count, list) };
        let missing = || rejected("not-this-shape", "no number of pages where the table has it", pages.count.as_str());
        let count = records::number(&answer.body, &pages.count)?.ok_or_else(missing)?;
        for page in 2..=count {
            if let Some(answer) = self.get(&with(url, &pages.parameter, page), None)? {
                self.items(&answer.body, list)
                    .map_err(|rejection| at(Failure::Rejected(rejection), &format!("page {page}")))?;
            }
        }
        Ok(())
    }

    /// What a server kept back that gives only so much in an answer, by its own offset (ArcGIS). A list that stays cut
    /// tells of nothing that it lacks.
    fn rest(&mut self, url: &str, first: &[u8], mut count: u64, list: &mut List) -> Result<(), Failure> {
        let cut = |reason: String| rejected("cut-list", reason, self.table.items.as_str());
        let mut body = first.to_vec();
        let mut extent = records::extent(&body);
        while extent.is_cut {
            if url.contains("resultOffset=") {
                return Err(cut("the server gave a part only, and `urls` says which: leave `resultOffset` out".into()));
            }
            let next = self.get(&with(url, "resultOffset", count), None)?.map(|answer| answer.body).unwrap_or_default();
            if next == body {
                return Err(cut(format!("the server gave {count} entries only, and the same again for the rest")));
            }
            let more = self.items(&next, list)?;
            if more == 0 {
                return Err(cut(format!("the server gave {count} entries only, and none of the rest")));
            }
            (body, count) = (next, count + more);
            extent = records::extent(&body);
        }
        match extent.total.filter(|total| *total > count) {
            Some(total) => Err(cut(format!("{count} entries of {total}"))),
            None => Ok(()),
        }
    }

    /// How many entries there were.
    fn items(&self, body: &[u8], list: &mut List) -> Result<u64, Rejection> {
        let mut count = 0;
        let mut take = |item: Value, place: String| {
            count += 1;
            list.take(self.settings, self.table, &item, place)
        };
        match self.table.format {
            Format::Json => records::json(body, &self.table.items, &mut take)?,
            Format::Rss => records::rss(body, &mut take)?,
            Format::Kml => records::kml(body, &mut take)?,
        }
        Ok(count)
    }
}

fn with(url: &str, parameter: &str, value: u64) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}{parameter}={value}")
}

fn tags_of(answer: &Response) -> Tags {
    let value = |name: &str| header(&answer.headers, name).unwrap_or_default().to_owned();
    Tags { etag: value("etag"), modified: value("last-modified") }
}

/// Which of several feeds it was.
fn in_feed(failure: Failure, settings: &Settings, index: usize) -> Failure {
    if settings.urls.len() > 1 { at(failure, &format!("feed {}", index + 1)) } else { failure }
}

fn at(failure: Failure, which: &str) -> Failure {
    let Failure::Rejected(mut rejection) = failure else { return failure };
    let place = rejection.place.take().map_or_else(|| which.to_owned(), |place| format!("{which}, {place}"));
    Failure::Rejected(Rejection { place: Some(place), ..rejection })
}

/// States what is new and remembers it. Whether everything is said and no outage is missing.
fn note(settings: &Settings, list: List, store: &mut impl Store, news: &mut News) -> Result<bool, Rejection> {
    let mut memory = Memory::load(store);
    let mut gone: std::collections::BTreeSet<String> = memory.ids().into_iter().collect();
    let mut bytes = 0;
    gone.retain(|id| !list.unclear.contains(id));
    for outage in list.outages {
        gone.remove(&outage.id);
        let content = outage.content();
        let before = memory.get(&outage.id).cloned();
        let is_said = before.as_ref().is_some_and(|said| said.content == content);
        if is_said {
            memory.set(&outage.id, Said { missed: 0, ..before.unwrap_or_default() });
            continue;
        }
        if news.drafts.len() >= MESSAGES_MAX || bytes > MESSAGE_BYTES_MAX {
            news.more = true;
            continue;
        }
        let version = memory.next_version(&outage.id);
        let stated = stated(&outage, &content, version, before.as_ref());
        bytes += stated.data.len();
        news.drafts.push(stated);
        let Outage { id, kind, status, warnings, .. } = outage;
        news.warnings.extend(warnings);
        memory.set(&id, Said { version, content, kind, status, missed: 0 });
    }
    // An entry without an id may be any of those that seem to be gone.
    let is_settled = !news.more && !list.has_nameless && vanish(settings, gone, &mut memory, news);
    memory.save(store)?;
    Ok(is_settled)
}

fn stated(outage: &Outage, content: &str, version: u32, before: Option<&Said>) -> Draft {
    let mut data = outage.data.clone();
    let goes_on = outage.status == "started" && before.is_some_and(|said| said.status == "started");
    data.insert("status".to_owned(), if goes_on { "updated" } else { outage.status.as_str() }.into());
    data.insert("revision".to_owned(), version.into());
    if let Some(at) = &outage.changed_at {
        data.insert("changedAt".to_owned(), at.clone().into());
    }
    message(&outage.id, content, version, data.into(), Some(&outage.place), outage.changed_at.as_deref())
}

/// Counts the polls without an outage; after enough of them it is over. Whether none is being counted.
fn vanish(settings: &Settings, gone: std::collections::BTreeSet<String>, memory: &mut Memory, news: &mut News) -> bool {
    let mut is_settled = true;
    for id in gone {
        let Some(mut said) = memory.get(&id).cloned() else { continue };
        said.missed = said.missed.saturating_add(1);
        if said.missed < settings.vanished_after || news.drafts.len() >= MESSAGES_MAX {
            is_settled = false;
            memory.set(&id, said);
            continue;
        }
        let is_over = matches!(said.status.as_str(), "restored" | "cancelled" | "closed");
        let status = match settings.vanished {
            Vanished::Ignore => None,
            // Whether it ever began the feed does not tell.
            Vanished::Restored if said.status == "planned" => Some("closed"),
            Vanished::Restored => Some("restored"),
            Vanished::Closed => Some("closed"),
        };
        let mut version = said.version;
        if let Some(status) = status.filter(|_| !is_over) {
            version = memory.next_version(&id);
            let data = json!({ "id": id, "kind": said.kind, "status": status, "revision": version });
            news.drafts.push(message(&id, status, version, data, None, None));
        }
        memory.forget(&id, version);
    }
    is_settled
}

fn message(id: &str, content: &str, version: u32, data: Value, place: Option<&str>, time: Option<&str>) -> Draft {
    Draft {
        subject: Some(id.to_owned()),
        time: time.map(str::to_owned),
        partition_key: Some(id.to_owned()),
        place: place.map(str::to_owned),
        ..draft(
            ids::derived(&["outage-feed", id, content, &version.to_string()]),
            "outage.changed.v1",
            data.to_string(),
        )
    }
}

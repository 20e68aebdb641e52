//! A session: what comes in, and what is said of it. Pure but for the sink and the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use busbar_sdk::memory::Store;
use busbar_sdk::{Failure, Pending, Rejection, Shards, Sink, Step, read_on, rejected};

use crate::apci::{self, Frame};
use crate::asdu::{self, Asdu, Meaning};
use crate::link::Link;
use crate::mapping::{self, Known, News, Position};
use crate::settings::{Address, ClosedWhen, Places, Settings};
use crate::times;

/// The host takes 1000 messages and 8 MiB in a call; a frame has at most 244 objects.
const DRAFTS_MAX: usize = 500;
const DRAFT_BYTES_MAX: usize = 2 << 20;
/// Bytes that wait for the next call.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Points, types and stations that are warned of by name, each once a connection.
const WARNINGS_MAX: usize = 50;
/// An interrogation that has not ended by then is not waited for.
const INTERROGATION_MS: u64 = 60_000;

/// One connection: the next has another.
pub struct Scada {
    settings: Settings,
    points: Places,
    counters: Places,
    stations: BTreeSet<u16>,
    known: Shards<Known>,
    link: Link,
    pending: Pending,
    frames: u64,
    /// Why no more is read; the next call says it.
    broken: Option<Failure>,
    /// Stations to be interrogated.
    wanted: VecDeque<u16>,
    /// When those that were are.
    interrogated: BTreeMap<u16, u64>,
    next_round_ms: Option<u64>,
    warned: BTreeSet<String>,
    ignored: BTreeMap<&'static str, u64>,
}

/// What one call does.
struct Call<'a> {
    now_ms: u64,
    sink: &'a mut dyn Sink,
    step: Step,
    drafts: usize,
    bytes: usize,
}

impl<'a> Call<'a> {
    fn new(now_ms: u64, sink: &'a mut dyn Sink) -> Self {
        Self { now_ms, sink, step: Step::idle(false, None), drafts: 0, bytes: 0 }
    }

    fn emit(&mut self, draft: busbar_sdk::Draft) {
        self.drafts += 1;
        self.bytes += draft.data.len();
        self.sink.emit(draft);
    }

    fn is_full(&self) -> bool {
        self.drafts >= DRAFTS_MAX || self.bytes >= DRAFT_BYTES_MAX
    }
}

impl Scada {
    /// # Errors
    /// `bad-config`.
    pub fn new(settings: Settings, store: &mut dyn Store) -> Result<Self, Rejection> {
        let (points, counters) = settings.check()?;
        Ok(Self {
            stations: settings.stations(),
            settings,
            points,
            counters,
            known: Shards::load("points", store),
            link: Link::default(),
            pending: Pending::default(),
            frames: 0,
            broken: None,
            wanted: VecDeque::new(),
            interrogated: BTreeMap::new(),
            next_round_ms: None,
            warned: BTreeSet::new(),
            ignored: BTreeMap::new(),
        })
    }

    pub fn connected(&mut self, now_ms: u64, sink: &mut dyn Sink, store: &mut dyn Store) -> Result<Step, Failure> {
        let mut call = Call::new(now_ms, sink);
        self.link.start(now_ms, &mut call.step);
        self.finish(call, store)
    }

    /// # Errors
    /// What breaks the protocol, or cannot be read, at its frame. What came before it is said first.
    pub fn bytes(
        &mut self,
        bytes: &[u8],
        now_ms: u64,
        sink: &mut dyn Sink,
        store: &mut dyn Store,
    ) -> Result<Step, Failure> {
        self.pending.push(bytes);
        if self.pending.rest().len() > WAITING_BYTES_MAX && self.broken.is_none() {
            let reason = "more comes than can be said";
            self.broken = Some(rejected("too-much", reason, format!("frame {}", self.frames + 1)));
        }
        self.go_on(now_ms, sink, store)
    }

    /// # Errors
    /// As [`Scada::bytes`].
    pub fn timer(&mut self, now_ms: u64, sink: &mut dyn Sink, store: &mut dyn Store) -> Result<Step, Failure> {
        if self.next_round_ms.is_some_and(|at| now_ms >= at) {
            self.interrogate_all(now_ms);
        }
        self.go_on(now_ms, sink, store)
    }

    /// Says what was of no use, and how much of it.
    pub fn disconnected(&mut self, sink: &mut dyn Sink) {
        let ignored: Vec<String> = self.ignored.iter().map(|(what, count)| format!("{count} {what}")).collect();
        if !ignored.is_empty() {
            sink.warn(&format!("ignored in this connection: {}", ignored.join(", ")));
        }
        self.ignored.clear();
    }

    fn go_on(&mut self, now_ms: u64, sink: &mut dyn Sink, store: &mut dyn Store) -> Result<Step, Failure> {
        if let Some(failure) = self.broken.take() {
            return Err(failure);
        }
        let mut call = Call::new(now_ms, sink);
        self.broken = read_on(|| Ok(!call.is_full() && self.frame(&mut call)?))?;
        self.finish(call, store)
    }

    /// Reads one frame; `false` where none has come whole.
    fn frame(&mut self, call: &mut Call<'_>) -> Result<bool, Rejection> {
        let frame = apci::next(&mut self.pending, self.frames + 1);
        let place = format!("frame {}", self.frames + 1);
        if !matches!(frame, Ok(None)) {
            self.frames += 1;
        }
        let now_ms = call.now_ms;
        match frame? {
            None => return Ok(false),
            Some(Frame::Supervisory(receive)) => self.link.acknowledged(receive, now_ms, &place)?,
            Some(Frame::Unnumbered(function)) => {
                let was_started = self.link.is_started;
                self.link.unnumbered(function, now_ms, &mut call.step);
                if self.link.is_started && !was_started {
                    self.interrogate_all(now_ms);
                }
            }
            Some(Frame::Information(send, receive, bytes)) => {
                let asdu = Asdu::parse(&bytes, &place)?;
                let place = format!("{place}, type {}", asdu.kind);
                // A frame that cannot be read is not acknowledged, and changes nothing.
                let said = self.read(&asdu, now_ms, &place)?;
                self.link.information((send, receive), &self.settings, now_ms, &place)?;
                self.take(&asdu, said, call);
            }
        }
        self.send(call);
        Ok(true)
    }

    /// What is due after a frame; not after all frames of a call, lest it depended on how TCP cut them.
    fn send(&mut self, call: &mut Call<'_>) {
        while self.link.may_send(&self.settings) {
            let Some(station) = self.wanted.pop_front() else { break };
            self.link.interrogate(station, &self.settings, call.now_ms, &mut call.step);
            self.interrogated.insert(station, call.now_ms);
        }
        self.link.tell(&self.settings, call.now_ms, &mut call.step);
    }

    /// The objects of an ASDU that is of use here.
    fn read(&self, asdu: &Asdu<'_>, now_ms: u64, place: &str) -> Result<Vec<Said>, Rejection> {
        let size = match asdu::meaning(asdu.kind) {
            Meaning::Single(size) | Meaning::Double(size) | Meaning::Counter(size) => size,
            _ => return Ok(Vec::new()),
        };
        let zone = self.settings.zone();
        let objects = asdu.objects(size, place)?.into_iter();
        Ok(objects.map(|(address, element)| Said::of(asdu, (asdu.station, address), element, zone, now_ms)).collect())
    }

    fn take(&mut self, asdu: &Asdu<'_>, said: Vec<Said>, call: &mut Call<'_>) {
        if asdu.cause.is_test {
            self.ignore("of a test");
            return;
        }
        let meaning = asdu::meaning(asdu.kind);
        let fits = match meaning {
            Meaning::Single(_) | Meaning::Double(_) => asdu.cause.is_of_a_point(),
            Meaning::Counter(_) => asdu.cause.is_of_a_counter(),
            _ => true,
        };
        if !fits {
            self.ignore("of a cause that their type has not");
            return self.warn(&format!("type {} with cause {} is ignored", asdu.kind, asdu.cause.number), call);
        }
        match meaning {
            Meaning::Single(_) | Meaning::Double(_) => {
                said.iter().for_each(|said| self.point(asdu, said, call));
            }
            Meaning::Counter(_) => said.iter().for_each(|said| self.counter(said, call)),
            Meaning::Unused => self.ignore("measured or other values"),
            Meaning::Command => {
                self.ignore("commands");
                self.warn(&format!("type {} is a command: never sent from here", asdu.kind), call);
            }
            Meaning::System => self.system(asdu, call),
            Meaning::Unknown => {
                self.ignore("of an unknown type");
                self.warn(&format!("type {} is not known and is ignored", asdu.kind), call);
            }
        }
    }

    fn point(&mut self, asdu: &Asdu<'_>, said: &Said, call: &mut Call<'_>) {
        let (station, object) = said.address;
        let Some(point) = self.points.get(&said.address).and_then(|at| self.settings.points.get(*at)) else {
            self.ignore("of points that the settings do not name");
            return self.warn(&format!("point {station}/{object} is not in the settings and is ignored"), call);
        };
        if !said.is_good {
            self.ignore("that the station does not vouch for");
            let reason = "is invalid, substituted, blocked or not topical, and is not believed";
            return self.warn(&format!("point {station}/{object} {reason}"), call);
        }
        let Some(is_on) = said.is_on else {
            self.ignore("of double points between their positions");
            return self.warn(&format!("point {station}/{object} is in no definite position, which is ignored"), call);
        };
        let position = Position {
            is_open: is_on != (point.closed_when == ClosedWhen::On),
            // What is told for another reason has the tag of the telling: many stations write the present moment there.
            tag_ms: said.tag_ms.filter(|_| asdu.cause.is_event()),
            is_event: asdu.cause.is_event(),
            is_ordered: asdu.cause.is_ordered(),
        };
        let name = format!("{station}/{object}");
        let mut known = self.known.get(&name).cloned().unwrap_or_default();
        match mapping::position(&self.settings, point, &mut known, position, call.now_ms) {
            News::None => {}
            News::Outage(draft) => call.emit(*draft),
            News::Doubtful => {
                self.ignore("with an old time tag");
                self.warn(&format!("point {name} was told with an older time tag than before: interrogated"), call);
                self.interrogate(station, call.now_ms);
            }
        }
        if known != Known::default() {
            self.known.set(&name, known);
        }
    }

    fn counter(&mut self, said: &Said, call: &mut Call<'_>) {
        let Some(counter) = self.counters.get(&said.address).and_then(|at| self.settings.counters.get(*at)) else {
            return self.ignore("counters that the settings do not name");
        };
        let reading = said.tag_ms.filter(|_| said.is_good);
        match reading.and_then(|tag| mapping::reading(&self.settings, counter, said.count, tag)) {
            Some(draft) => call.emit(draft),
            None => {
                self.ignore("counters that are no readings");
                let (station, object) = said.address;
                let reason = "is invalid, negative, or has no believable time, and is no reading";
                self.warn(&format!("counter {station}/{object} {reason}"), call);
            }
        }
    }

    fn system(&mut self, asdu: &Asdu<'_>, call: &mut Call<'_>) {
        match (asdu.kind, asdu.cause.number) {
            (asdu::END_OF_INITIALIZATION, _) => {
                self.interrogated.remove(&asdu.station);
                self.interrogate(asdu.station, call.now_ms);
            }
            (asdu::INTERROGATION, 7) if !asdu.cause.is_negative => {}
            (asdu::INTERROGATION, 10) => drop(self.interrogated.remove(&asdu.station)),
            (asdu::INTERROGATION, cause @ (7 | 44..=47)) => {
                self.interrogated.remove(&asdu.station);
                self.warn(&format!("station {} refuses the interrogation, cause {cause}", asdu.station), call);
            }
            _ => self.ignore("system information"),
        }
    }

    fn interrogate_all(&mut self, now_ms: u64) {
        for station in self.stations.clone() {
            self.interrogate(station, now_ms);
        }
        let every = u64::from(self.settings.interrogate_every_s) * 1000;
        self.next_round_ms = (every > 0 && self.settings.interrogate).then_some(now_ms + every);
    }

    /// Asks a station that is ours, unless it is being asked.
    fn interrogate(&mut self, station: u16, now_ms: u64) {
        let asked = self.interrogated.get(&station);
        let is_asked = self.wanted.contains(&station) || asked.is_some_and(|at| now_ms < at + INTERROGATION_MS);
        if self.settings.interrogate && !is_asked && self.stations.contains(&station) {
            self.wanted.push_back(station);
        }
    }

    fn ignore(&mut self, what: &'static str) {
        *self.ignored.entry(what).or_default() += 1;
    }

    fn warn(&mut self, text: &str, call: &mut Call<'_>) {
        if self.warned.len() < WARNINGS_MAX && self.warned.insert(text.to_owned()) {
            call.sink.warn(text);
        }
    }

    fn finish(&mut self, mut call: Call<'_>, store: &mut dyn Store) -> Result<Step, Failure> {
        let now_ms = call.now_ms;
        self.send(&mut call);
        call.step.close = self.link.keep(&self.settings, now_ms, &mut call.step);
        self.known.save(store).map_err(|reason| rejected("too-many-points", reason, ""))?;
        let round = self.next_round_ms.unwrap_or(u64::MAX);
        let deadline = self.link.deadline(&self.settings).min(round);
        let is_more = self.broken.is_some() || call.is_full();
        call.step.wait(now_ms, if is_more { now_ms } else { deadline });
        call.step.ready = self.link.is_started;
        Ok(call.step)
    }
}

/// What an object says.
struct Said {
    address: Address,
    /// Valid, topical, neither substituted nor blocked.
    is_good: bool,
    /// Of points; nothing between the positions.
    is_on: Option<bool>,
    /// Of counters.
    count: i32,
    tag_ms: Option<u64>,
}

impl Said {
    fn of(asdu: &Asdu<'_>, address: Address, element: &[u8], zone: times::Zone, now_ms: u64) -> Self {
        let is_counter = matches!(asdu::meaning(asdu.kind), Meaning::Counter(_));
        let (value, tag) = element.split_at_checked(if is_counter { 5 } else { 1 }).unwrap_or_default();
        let quality = value.last().copied().unwrap_or(0);
        let is_on = match (asdu::meaning(asdu.kind), quality & 3) {
            (Meaning::Single(_), bits) => Some(bits & 1 == 1),
            (_, 1) => Some(false),
            (_, 2) => Some(true),
            _ => None,
        };
        Self {
            address,
            is_good: if is_counter { quality & 0x80 == 0 } else { quality & 0xf0 == 0 },
            is_on,
            count: value.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes)),
            tag_ms: match tag.len() {
                3 => times::short(tag, zone, now_ms),
                7 => times::full(tag, zone, now_ms),
                _ => None,
            },
        }
    }
}

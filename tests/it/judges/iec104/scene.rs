//! Two stations whose points the settings name, and one that they do not: what they tell, and what must become of it.

mod steps;

use super::rules::{Consequence, Switch, Told};
use crate::judges::Dice;
use crate::peers::Peer;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const SWITCHES: [&str; 4] = ["M_SP_NA_1", "M_SP_TB_1", "M_DP_NA_1", "M_DP_TB_1"];
/// Of no use here: counts without time tags, measured values, steps, bits, protection, each with and without a time tag.
const OTHERS: [&str; 16] = [
    "M_ST_NA_1",
    "M_ST_TB_1",
    "M_BO_NA_1",
    "M_BO_TB_1",
    "M_ME_NA_1",
    "M_ME_NB_1",
    "M_ME_NC_1",
    "M_ME_ND_1",
    "M_ME_TD_1",
    "M_ME_TE_1",
    "M_ME_TF_1",
    "M_PS_NA_1",
    "M_EP_TD_1",
    "M_EP_TE_1",
    "M_EP_TF_1",
    "M_IT_NA_1",
];
const QUALITIES: [&str; 4] = ["Invalid", "NonTopical", "Substituted", "Blocked"];
const EVENTS: [(&str, u8); 4] =
    [("SPONTANEOUS", 3), ("SPONTANEOUS", 3), ("RETURN_INFO_REMOTE", 11), ("RETURN_INFO_LOCAL", 12)];
const CAUSES: [(&str, u8); 9] = [
    ("PERIODIC", 1),
    ("BACKGROUND_SCAN", 2),
    ("REQUEST", 5),
    ("INTERROGATED_BY_STATION", 20),
    ("INTERROGATED_BY_GROUP_1", 21),
    ("INTERROGATED_BY_GROUP_16", 36),
    ("REQUESTED_BY_GENERAL_COUNTER", 37),
    ("ACTIVATION_CON", 7),
    ("UNKNOWN_TYPE_ID", 44),
];
const COUNTER_CAUSES: [(&str, bool); 4] = [
    ("SPONTANEOUS", true),
    ("REQUESTED_BY_GENERAL_COUNTER", true),
    ("REQUESTED_BY_GROUP_4_COUNTER", true),
    ("PERIODIC", false),
];
const OF_EACH: u32 = 4;
const COUNTER: u32 = 5000;
const OTHER: u32 = 9000;
const SENTINEL: u32 = 16_777_215;
const MINUTE_MS: i64 = 60_000;

type Address = (u16, u32);

pub struct Scene {
    dice: Dice,
    peer: Peer,
    stations: [u16; 2],
    foreign: u16,
    zone: UtcOffset,
    begun: i64,
    /// Of the events: always later.
    clock: i64,
    kinds: BTreeMap<Address, &'static str>,
    switches: BTreeMap<Address, Switch>,
    /// What each point shows, as the station takes it.
    shown: BTreeMap<Address, Value>,
    asked: usize,
    pub told: usize,
    pub sentinels: usize,
    pub expected: BTreeMap<String, Vec<String>>,
    /// Metering point, second, hundredths.
    pub readings: BTreeSet<(String, i64, i64)>,
}

/// What the station keeps until the link is back, with its tags.
pub type Buffered = Vec<(Address, Value, Option<i64>)>;

impl Scene {
    pub fn new(mut dice: Dice, begun: i64, start: impl FnOnce(Value, Value) -> Option<Peer>) -> Option<Self> {
        let first = 1 + dice.below(30_000) as u16;
        let stations = [first, first + 1 + dice.below(30_000) as u16];
        let foreign = 65_534;
        let (mut kinds, mut switches, mut shown) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (station, (at, kind)) in
            stations.into_iter().flat_map(|s| SWITCHES.into_iter().enumerate().map(move |k| (s, k)))
        {
            for object in (0..OF_EACH).map(|n| at as u32 * 70_000 + n) {
                let (is_closed_when_off, is_normally_open) = (dice.one_in(3), dice.one_in(6));
                let name = format!("{station}-{object}");
                kinds.insert((station, object), kind);
                switches.insert((station, object), Switch::new(name, is_closed_when_off, is_normally_open));
            }
        }
        let sentinel = (stations[0], SENTINEL);
        kinds.insert(sentinel, "M_SP_NA_1");
        switches.insert(sentinel, Switch::new(format!("{}-{SENTINEL}", stations[0]), false, false));
        for (address, switch) in &switches {
            let closed = if switch.is_closed_when_off { 1 } else { 2 };
            let value = if dice.one_in(8) && *address != sentinel { 3 - closed } else { closed };
            shown.insert(*address, json!([address.0, address.1, value, [], null]));
        }
        let others = OTHERS.into_iter().enumerate().map(|(at, kind)| ((stations[0], OTHER + at as u32), kind));
        kinds.extend(others);
        kinds.extend([0, 1, 2].map(|n| ((stations[1], COUNTER + n), "M_IT_TB_1")));
        kinds.extend([((foreign, 0), "M_SP_TB_1"), ((stations[1], 60), "M_DP_TB_1")]);
        let points = kinds.iter().map(|((station, object), kind)| json!([station, object, kind])).collect();
        let peer = start(points, shown.values().cloned().collect())?;
        let zone = UtcOffset::from_whole_seconds(60 * dice.of(&[180, 420, -300, 330])).unwrap();
        let clock = begun - 180 * MINUTE_MS;
        let (expected, readings) = (BTreeMap::new(), BTreeSet::new());
        let mut scene = Self {
            dice,
            peer,
            stations,
            foreign,
            zone,
            begun,
            clock,
            kinds,
            switches,
            shown,
            asked: 0,
            told: 0,
            sentinels: 0,
            expected,
            readings,
        };
        scene.told = scene.kinds.len();
        Some(scene)
    }

    pub fn toml(&self, port: u16, w: u16) -> String {
        let points: String = self.switches.iter().map(|((station, object), switch)| {
            let (name, when) = (&switch.name, if switch.is_closed_when_off { "off" } else { "on" });
            let normal = if switch.is_normally_open { "open" } else { "closed" };
            format!("{{ station = {station}, object = {object}, id = \"{name}\", closed-when = \"{when}\", normal = \"{normal}\" }},\n")
        }).collect();
        let counters: String = [COUNTER, COUNTER + 1]
            .map(|object| {
                format!(
                    "{{ station = {}, object = {object}, metering-point = \"M-{object}\", power-of-ten = -2 }},\n",
                    self.stations[1]
                )
            })
            .concat();
        format!(
            r#"
[systems.scada]
adapter = "iec104"
connection = {{ connect = ["127.0.0.1:{port}"] }}
[systems.scada.config]
w = {w}
utc-offset = "{}{:02}:{:02}"
points = [
{points}]
counters = [
{counters}]
[systems.scada.policy]
backoff-first-ms = 100
backoff-max-ms = 300
[systems.scada.grants]
emit = ["outage.changed.v1", "meter.reading.taken.v1"]
state = true
clock = true
"#,
            if self.zone.is_negative() { '-' } else { '+' },
            self.zone.whole_hours().abs(),
            self.zone.minutes_past_hour().abs()
        )
    }

    pub fn sentinel_prefix(&self) -> String {
        format!("{}-{SENTINEL}-", self.stations[0])
    }

    fn say(&mut self, command: &Value) {
        self.peer.say(&command.to_string());
    }

    fn local(&self, ms: i64) -> String {
        let moment =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap().to_offset(self.zone);
        moment
            .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]"))
            .unwrap()
    }

    fn later(&mut self) -> i64 {
        self.clock += 1 + self.dice.below(15_000) as i64;
        self.clock
    }

    /// Hears the station's general interrogations to their ends: what all of its points show then.
    fn interrogated_at(&mut self, stations: &[u16]) {
        self.asked += stations.len();
        self.say(&json!(["asked", self.asked]));
        assert_eq!(self.peer.heard(), format!("asked {}", self.asked), "general interrogations of the station");
        let told = self.shown.iter().filter(|(address, _)| stations.contains(&address.0));
        let told: Vec<(Address, Value)> = told.map(|(address, shown)| (*address, shown.clone())).collect();
        for (address, shown) in told {
            let doubt = self.must(address, &shown, 20, None);
            assert!(!doubt);
        }
    }

    pub fn interrogated(&mut self) {
        self.interrogated_at(&self.stations.clone());
    }

    /// What must become of what is told; `true` where the station must be interrogated. `tag`: one to be believed.
    fn must(&mut self, address: Address, shown: &Value, cause: u8, tag: Option<i64>) -> bool {
        self.told += 1;
        let coming = self.told as u32;
        let is_on = match shown[2].as_u64().unwrap() {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        let is_vouched_for = shown[3].as_array().unwrap().is_empty();
        let is_ahead = tag.is_some_and(|tag| tag > self.begun);
        let Some(switch) = self.switches.get_mut(&address) else { return false };
        match switch.told(Told { is_on, is_vouched_for, cause, tag, is_ahead, coming }, self.zone) {
            Consequence::Nothing => false,
            Consequence::Doubt => true,
            Consequence::Stated(line) => {
                self.expected.entry(switch.name.clone()).or_default().push(line);
                false
            }
        }
    }
}

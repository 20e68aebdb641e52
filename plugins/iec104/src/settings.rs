//! The system's settings, as in `config.schema.json`.

use std::collections::{BTreeMap, BTreeSet};

use busbar_sdk::dates::Offset;
use busbar_sdk::{Rejection, rejection};
use serde::{Deserialize, Serialize};

use crate::times::Zone;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    pub points: Vec<Point>,
    pub counters: Vec<Counter>,
    pub utc_offset: Offset,
    pub summer_time: bool,
    pub kind: String,
    pub interrogate: bool,
    pub interrogate_every_s: u32,
    pub originator: u8,
    pub any_first_number: bool,
    pub k: u16,
    pub w: u16,
    pub t1_s: u32,
    pub t2_s: u32,
    pub t3_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            counters: Vec::new(),
            utc_offset: Offset::MOSCOW,
            summer_time: true,
            kind: "emergency".to_owned(),
            interrogate: true,
            interrogate_every_s: 0,
            originator: 0,
            any_first_number: false,
            k: 12,
            w: 8,
            t1_s: 15,
            t2_s: 10,
            t3_s: 20,
        }
    }
}

/// Common address and address of an information object.
pub type Address = (u16, u32);
/// Where in a list each address is.
pub type Places = BTreeMap<Address, usize>;

/// A switch.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Point {
    pub station: u16,
    pub object: u32,
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default = "breaker")]
    pub kind: String,
    #[serde(default)]
    pub closed_when: ClosedWhen,
    #[serde(default)]
    pub normal: Normal,
    pub feeder: Option<Feeder>,
    #[serde(default)]
    pub metering_points: Vec<String>,
    #[serde(default)]
    pub accounts: Vec<String>,
    #[serde(default)]
    pub addresses: Vec<PlaceAddress>,
    pub customers: Option<u32>,
    #[serde(default)]
    pub notice: String,
}

fn breaker() -> String {
    "breaker".to_owned()
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosedWhen {
    #[default]
    On,
    Off,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normal {
    #[default]
    Closed,
    Open,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feeder {
    pub id: String,
    #[serde(default)]
    pub name: String,
}

/// As in `outage.changed.v1`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceAddress {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fias: Option<String>,
}

/// A register of a meter.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Counter {
    pub station: u16,
    pub object: u32,
    pub metering_point: String,
    #[serde(default)]
    pub serial_number: String,
    #[serde(default)]
    pub register: String,
    #[serde(default)]
    pub tariff_zone: String,
    #[serde(default = "active")]
    pub quantity: String,
    #[serde(default = "kwh")]
    pub unit: String,
    /// A count is so many units times ten to this.
    #[serde(default)]
    pub power_of_ten: i32,
}

fn active() -> String {
    "active-energy-forward".to_owned()
}

fn kwh() -> String {
    "kWh".to_owned()
}

impl Settings {
    pub fn zone(&self) -> Zone {
        Zone { offset: self.utc_offset, has_summer_time: self.summer_time }
    }

    /// Every station of the points and counters.
    pub fn stations(&self) -> BTreeSet<u16> {
        let counters = self.counters.iter().map(|counter| counter.station);
        self.points.iter().map(|point| point.station).chain(counters).collect()
    }

    /// The places of the points and of the counters.
    ///
    /// # Errors
    /// `bad-config`: an address named twice; times or windows that do not fit.
    pub fn check(&self) -> Result<(Places, Places), Rejection> {
        let refuse = |reason: String| Err(rejection("bad-config", reason, "config"));
        if self.t2_s >= self.t1_s {
            return refuse("`t2-s` must be less than `t1-s`".to_owned());
        }
        let points: Vec<Address> = self.points.iter().map(|point| (point.station, point.object)).collect();
        let counters: Vec<Address> = self.counters.iter().map(|counter| (counter.station, counter.object)).collect();
        let mut seen = BTreeSet::new();
        for address in points.iter().chain(&counters) {
            if !seen.insert(*address) {
                return refuse(format!("the point {}/{} is named twice", address.0, address.1));
            }
        }
        let index = |list: Vec<Address>| list.into_iter().enumerate().map(|(at, address)| (address, at)).collect();
        Ok((index(points), index(counters)))
    }
}

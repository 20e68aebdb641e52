//! `PlannedOutage`, `UnplannedOutage`, `Outage` of IEC 61968-3 -> `outage.changed.v1`.

use busbar_sdk::cim::{Header, cut};
use busbar_sdk::texts::{is_plain, is_uuid, shortened};
use busbar_sdk::{Draft, Rejection, dates, ids, rejection};
use serde_json::{Map, Value, json};

use crate::document::Node;
use crate::mapping::Settings;

const ID_CHARS: usize = 64;
const LIST_MAX: usize = 5000;

pub fn is_one(name: &str) -> bool {
    matches!(name, "Outage" | "PlannedOutage" | "UnplannedOutage")
}

pub fn is_container(name: &str) -> bool {
    matches!(name, "Outages" | "PlannedOutages" | "UnplannedOutages" | "OutagesAndFaults")
}

/// Verbs of IEC 61968-100 by which something is stated or taken back; some senders write none.
pub fn is_verb(verb: &str) -> bool {
    matches!(
        verb.to_ascii_lowercase().as_str(),
        "" | "create"
            | "created"
            | "change"
            | "changed"
            | "execute"
            | "executed"
            | "cancel"
            | "canceled"
            | "cancelled"
            | "delete"
            | "deleted"
            | "close"
            | "closed"
            | "reply"
    )
}

/// # Errors
/// `no-id`, `bad-id`, `bad-status`, `bad-time`, `bad-period`, `bad-value`, `too-many` at the field.
pub fn draft(settings: &Settings, header: &Header, node: &Node) -> Result<Draft, Rejection> {
    let outage = Outage { settings, header, node };
    let id = ["mRID", "Names/name", "name"].iter().find_map(|path| node.text_at(path));
    let id = id.ok_or_else(|| rejection("no-id", "an outage without mRID or name", node.place.clone()))?;
    outage.check_id(id, "mRID")?;
    let kind = outage.kind();
    let status = outage.status(kind)?;
    let mut data = Map::from_iter([
        ("id".to_owned(), id.into()),
        ("kind".to_owned(), kind.into()),
        ("status".to_owned(), status.into()),
    ]);
    outage.times(kind, &mut data)?;
    let cause = ["cause", "reason", "causeKind"].iter().find_map(|path| node.text_at(path));
    if let Some(text) = cause {
        data.insert("cause".to_owned(), json!({ "text": shortened(text, 500) }));
    }
    if let Some(text) = node.text_at("utilityDisclaimer") {
        data.insert("notice".to_owned(), shortened(text, 2000).into());
    }
    outage.equipment(&mut data)?;
    outage.affected(&mut data)?;
    let content = Value::Object(data.clone()).to_string();
    let changed = ["status/dateTime", "lastModifiedDateTime", "createdDateTime"];
    let changed = outage.first_time(&changed)?.or(outage.header_time());
    let revision = changed.map_or(0, |(_, milliseconds)| milliseconds);
    let changed_at = changed.and_then(|(seconds, _)| outage.rfc3339(seconds));
    if let Some(at) = &changed_at {
        data.insert("changedAt".to_owned(), at.clone().into());
        data.insert("revision".to_owned(), revision.into());
    }
    Ok(Draft {
        subject: Some(id.to_owned()),
        time: changed_at,
        partition_key: Some(id.to_owned()),
        place: Some(node.place.clone()).filter(|place| !place.is_empty()),
        ..busbar_sdk::draft(
            ids::derived(&["cim-outage", id, &content, &revision.to_string()]),
            "outage.changed.v1",
            Value::Object(data).to_string(),
        )
    })
}

struct Outage<'a> {
    settings: &'a Settings,
    header: &'a Header,
    node: &'a Node,
}

/// Seconds and milliseconds after 1970.
type Moment = (i64, i64);

impl Outage<'_> {
    fn refuse(&self, code: &str, reason: String, path: &str) -> Rejection {
        rejection(code, reason, format!("{}/{path}", self.node.place))
    }

    fn check_id(&self, id: &str, path: &str) -> Result<(), Rejection> {
        if id.chars().count() <= ID_CHARS && is_plain(id) {
            return Ok(());
        }
        Err(self.refuse("bad-id", format!("an id of over {ID_CHARS} characters, or with control characters"), path))
    }

    fn kind(&self) -> &'static str {
        let said = self.node.text_at("outageKind").or(self.node.text_at("type")).unwrap_or_default();
        let planned = |text: &str| match letters(text).trim_end_matches("outages").trim_end_matches("outage") {
            "unplanned" | "emergency" => Some("emergency"),
            "planned" => Some("planned"),
            _ => None,
        };
        planned(&self.node.name).or_else(|| planned(said)).unwrap_or("unknown")
    }

    fn status(&self, kind: &str) -> Result<&'static str, Rejection> {
        match self.header.verb.to_ascii_lowercase().as_str() {
            "cancel" | "canceled" | "cancelled" | "delete" | "deleted" => return Ok("cancelled"),
            "close" | "closed" => return Ok("closed"),
            _ => {}
        }
        let has = |path: &str| self.node.text_at(path).is_some();
        let is_changed = self.header.verb.to_ascii_lowercase().starts_with("change");
        let by_times = match (has("actualPeriod/end"), has("actualPeriod/start")) {
            (true, _) => "restored",
            (false, false) if kind == "planned" => "planned",
            _ if is_changed => "updated",
            _ => "started",
        };
        let paths = ["statusKind", "outageStatus", "status/value", "status"];
        let Some((path, text)) = paths.iter().find_map(|path| Some((*path, self.node.text_at(path)?))) else {
            return Ok(by_times);
        };
        match letters(text).as_str() {
            // A planned outage is predicted, then confirmed, before it begins.
            "predicted" | "confirmed" | "planned" | "scheduled" if kind == "planned" => Ok(by_times),
            "predicted" => Ok("predicted"),
            "confirmed" | "active" | "started" => Ok(if is_changed { "updated" } else { "started" }),
            "partiallyrestored" => Ok("partially-restored"),
            "restored" => Ok("restored"),
            "closed" => Ok("closed"),
            "cancelled" | "canceled" => Ok("cancelled"),
            _ => Err(self.refuse("bad-status", format!("no OutageStatusKind: `{}`", cut(text)), path)),
        }
    }

    fn first_time(&self, paths: &[&str]) -> Result<Option<Moment>, Rejection> {
        let Some((path, text)) = paths.iter().find_map(|path| Some((*path, self.node.text_at(path)?))) else {
            return Ok(None);
        };
        let refuse = || self.refuse("bad-time", format!("no moment: `{}`", cut(text)), path);
        self.moment(text).map(Some).ok_or_else(refuse)
    }

    fn header_time(&self) -> Option<Moment> {
        self.moment(&self.header.timestamp)
    }

    fn moment(&self, text: &str) -> Option<Moment> {
        let milliseconds = dates::unix_ms(text, self.settings.utc_offset)?;
        Some((milliseconds.div_euclid(1000), milliseconds)).filter(|_| milliseconds >= 0)
    }

    fn rfc3339(&self, seconds: i64) -> Option<String> {
        let local = dates::local_of_unix_seconds(seconds, self.settings.utc_offset)?;
        Some(dates::rfc3339(local, self.settings.utc_offset))
    }

    fn times(&self, kind: &str, data: &mut Map<String, Value>) -> Result<(), Rejection> {
        let planned = self.first_time(&["plannedPeriod/start", "estimatedPeriod/start"])?;
        let began = self.first_time(&["actualPeriod/start"])?;
        let expected = self.first_time(&["ERT", "estimatedPeriod/end", "plannedPeriod/end"])?;
        let over = self.first_time(&["actualPeriod/end"])?;
        if began.zip(over).is_some_and(|(began, over)| over < began) {
            return Err(self.refuse("bad-period", "it ends before it begins".to_owned(), "actualPeriod"));
        }
        let planned = planned.filter(|_| kind == "planned");
        for (name, moment) in [
            ("plannedStartAt", planned),
            ("startedAt", began),
            ("expectedRestorationAt", expected),
            ("restoredAt", over),
        ] {
            if let Some(text) = moment.and_then(|(seconds, _)| self.rfc3339(seconds)) {
                data.insert(name.to_owned(), text.into());
            }
        }
        Ok(())
    }

    fn equipment(&self, data: &mut Map<String, Value>) -> Result<(), Rejection> {
        let mut found = Vec::new();
        let mut nodes = Vec::new();
        leaves(self.node, &|name| equipment_kind(name).is_some(), &mut nodes);
        for node in nodes {
            let kind = equipment_kind(&node.name).flatten();
            let Some(id) = identity(node) else { continue };
            self.check_id(id, &node.name)?;
            let mut one = Map::from_iter([("id".to_owned(), id.into())]);
            if let Some(name) = node.text_at("Names/name").or(node.text_at("name")).filter(|name| *name != id) {
                one.insert("name".to_owned(), shortened(name, 200).into());
            }
            if let Some(kind) = kind {
                one.insert("kind".to_owned(), kind.into());
            }
            found.push(Value::Object(one));
        }
        if found.len() > 1000 {
            return Err(self.refuse("too-many", "over 1000 pieces of equipment".to_owned(), "Equipments"));
        }
        if !found.is_empty() {
            data.insert("equipment".to_owned(), found.into());
        }
        Ok(())
    }

    fn affected(&self, data: &mut Map<String, Value>) -> Result<(), Rejection> {
        let mut affected = Map::new();
        let mut points = Vec::new();
        let is_point = |name: &str| matches!(name, "UsagePoint" | "UsagePoints" | "DeEnergizedUsagePoint");
        let mut nodes = Vec::new();
        leaves(self.node, &is_point, &mut nodes);
        for point in nodes.into_iter().filter_map(identity) {
            self.check_id(point, "UsagePoint")?;
            points.push(Value::from(point));
        }
        let mut addresses = Vec::new();
        find_addresses(self.node, &mut addresses);
        if addresses.len() > LIST_MAX || points.len() > 50_000 {
            return Err(self.refuse("too-many", format!("over {LIST_MAX} addresses or 50000 points"), ""));
        }
        if let Some(area) = self.node.text_at("communityDescriptor").filter(|_| addresses.is_empty()) {
            addresses.push(json!({ "text": shortened(area, 500) }));
        }
        for (name, list) in [("addresses", addresses), ("meteringPoints", points)] {
            if !list.is_empty() {
                affected.insert(name.to_owned(), list.into());
            }
        }
        let served = self.count("originalCustomersServed")?;
        let restored = self.count("customersRestored")?.unwrap_or(0);
        if let Some(count) = self.count("customersAffected")?.or(served.map(|served| served.saturating_sub(restored))) {
            affected.insert("customers".to_owned(), count.into());
        }
        if !affected.is_empty() {
            data.insert("affected".to_owned(), affected.into());
        }
        Ok(())
    }

    fn count(&self, path: &str) -> Result<Option<u32>, Rejection> {
        let Some(text) = self.node.text_at(path) else { return Ok(None) };
        let refuse = || self.refuse("bad-value", format!("no number: `{}`", cut(text)), path);
        text.parse().map(Some).map_err(|_| refuse())
    }
}

/// A word however it is written: `Partially restored`, `PARTIALLY_RESTORED`.
fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase()
}

fn equipment_kind(name: &str) -> Option<Option<&'static str>> {
    match name {
        "Equipment" | "Equipments" => Some(None),
        "OpenedSwitches" | "Switch" => Some(Some("switch")),
        "Feeder" => Some(Some("feeder")),
        "Substation" => Some(Some("substation")),
        "Line" => Some(Some("line")),
        _ => None,
    }
}

/// What has such a name, directly or within another that does: `UsagePoints/UsagePoint`.
fn leaves<'a>(node: &'a Node, is_one: &dyn Fn(&str) -> bool, found: &mut Vec<&'a Node>) {
    for child in node.children.iter().filter(|child| is_one(&child.name)) {
        match child.children.iter().any(|inner| is_one(&inner.name)) {
            true => leaves(child, is_one, found),
            false => found.push(child),
        }
    }
}

fn identity(node: &Node) -> Option<&str> {
    let text = Some(node.text.as_str()).filter(|text| !text.is_empty());
    ["mRID", "Names/name", "name", "ref"].iter().find_map(|path| node.text_at(path)).or(text)
}

/// `StreetAddress` wherever it stands: of the outage's location, of a metering point.
fn find_addresses(node: &Node, found: &mut Vec<Value>) {
    for child in &node.children {
        if child.children.iter().any(|part| matches!(part.name.as_str(), "streetDetail" | "townDetail")) {
            found.extend(address(child).filter(|address| !found.contains(address)));
        } else {
            find_addresses(child, found);
        }
        if found.len() > LIST_MAX {
            return;
        }
    }
}

fn address(node: &Node) -> Option<Value> {
    let text = |path: &str| node.text_at(path);
    let street: Vec<&str> =
        ["type", "name", "suffix"].iter().filter_map(|name| text(&format!("streetDetail/{name}"))).collect();
    let street = street.join(" ");
    let parts =
        [text("townDetail/name"), text("townDetail/section"), Some(street.as_str()), text("streetDetail/number")];
    let joined: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let whole = text("streetDetail/addressGeneral").map_or_else(|| joined.join(", "), str::to_owned);
    let mut address = Map::new();
    if !whole.is_empty() {
        address.insert("text".to_owned(), shortened(&whole, 500).into());
    }
    if let Some(code) = text("streetDetail/code").map(str::to_ascii_lowercase).filter(|code| is_uuid(code)) {
        address.insert("fias".to_owned(), code.into());
    }
    (!address.is_empty()).then_some(Value::Object(address))
}

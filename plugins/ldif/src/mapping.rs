//! Records of an LDIF file -> messages: what each entry is now, where that is news.

use std::collections::{BTreeMap, BTreeSet};

use busbar_sdk::{Draft, Hub, Lines, Rejection, draft, rejection};
use serde_json::{Map, Value as Json, json};

use crate::account::{self, Account};
use crate::dn::{self, Dn};
use crate::fields::{self, Form};
use crate::ldif::{Change, Record, Records, Value, place};
use crate::memory::{Kind, Marks, Memory, RENAMED};
use crate::settings::Settings;

mod changes;
#[cfg(test)]
mod tests;

/// Warnings about single values in one file.
const WARNINGS_MAX: usize = 100;
/// Bytes of entries that wait for an entry they refer to.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Entries of one file that a later record of it may change.
const RECENT_MAX: usize = 2_000;

/// Of what 389 Directory Server keeps of a deleted entry.
const TOMBSTONE_CLASS: &str = "nstombstone";
/// Below it FreeIPA keeps the people it was told to preserve when they were deleted.
const PRESERVED: &str = "cn=deleted users,cn=accounts,cn=provisioning";

/// Decodes a whole file.
///
/// # Errors
/// The first thing that makes the file unfit, with its place; the README lists the codes. What was emitted before
/// counts for nothing then.
pub fn decode(
    settings: &Settings,
    lines: &mut Lines<impl FnMut(u32) -> Vec<u8>>,
    hub: &mut impl Hub,
) -> Result<(), Rejection> {
    let wanted = |attribute: &str| settings.wants(attribute);
    let mut records = Records::new(lines, &wanted);
    let memory = Memory::load(hub);
    let mut decoder = Decoder {
        settings,
        hub,
        memory,
        held: Vec::new(),
        held_bytes: 0,
        held_keys: BTreeSet::new(),
        recent: BTreeMap::new(),
        seen: BTreeMap::new(),
        counts: Counts::default(),
    };
    while let Some(record) = records.next_record()? {
        decoder.record(record)?;
    }
    let (binary_values, referrals) = (records.binary_values, records.referrals);
    decoder.end(binary_values, referrals)
}

#[derive(Default)]
struct Counts {
    records: u64,
    stated: u64,
    unchanged: u64,
    others: u64,
    nobodies: u64,
    left_out: u64,
    unresolved: u64,
    warnings: usize,
}

/// What is to be stated of an entry.
struct Statement {
    line: u64,
    kind: Kind,
    id: String,
    dn: u64,
    data: Map<String, Json>,
    /// Fields whose value is another entry, by its name's key.
    references: Vec<(&'static str, Kind, u64)>,
    marks: Option<Marks>,
}

/// A statement that waits for the end of the file, its data as text.
struct Held {
    statement: Statement,
    data: String,
}

struct Decoder<'a, H: Hub> {
    settings: &'a Settings,
    hub: &'a mut H,
    memory: Memory,
    held: Vec<Held>,
    held_bytes: usize,
    held_keys: BTreeSet<(Kind, String)>,
    recent: BTreeMap<(Kind, String), String>,
    /// Entries of this file: their names' keys and lines.
    seen: BTreeMap<(Kind, String), (u64, u64)>,
    counts: Counts,
}

impl<H: Hub> Decoder<'_, H> {
    fn record(&mut self, record: Record) -> Result<(), Rejection> {
        self.counts.records += 1;
        let dn = Dn::parse(&record.dn);
        if !dn.is_within(&self.settings.base) {
            self.counts.others += 1;
            return Ok(());
        }
        if let Change::Unreadable(entry) = record.change {
            self.leave_out(entry);
            return Ok(());
        }
        if let Change::Whole(values) = &record.change {
            return match self.kind(values) {
                Some(kind) => self.whole(&record, &dn, kind, values),
                None => {
                    self.counts.others += 1;
                    Ok(())
                }
            };
        }
        // A change of what was never stated is of no interest: a group, a computer.
        match self.memory.of_dn(dn.key()).cloned() {
            Some((kind, id)) => self.change(record, &dn, kind, id),
            None if self.is_below_renamed(&dn) => {
                let reason = "the unit above it was renamed, so nobody knows what the entry was called: send all whole";
                Err(rejection("unclear-change", reason, place(record.line)))
            }
            None => {
                self.counts.others += 1;
                Ok(())
            }
        }
    }

    /// Entries below a unit have new names when it gets one, and are known by the old ones.
    fn is_below_renamed(&self, dn: &Dn) -> bool {
        let units = std::iter::successors(dn.parent(), Dn::parent).filter_map(|above| self.memory.of_dn(above.key()));
        let mut marks = units.filter_map(|(kind, id)| self.memory.marks(*kind, id).filter(|_| *kind == Kind::Unit));
        marks.any(|marks| marks.signs & RENAMED != 0)
    }

    fn kind(&self, values: &[Value]) -> Option<Kind> {
        let classes = values.iter().filter(|value| value.attribute == "objectclass");
        let classes: Vec<String> = classes.map(|value| value.text().to_ascii_lowercase()).collect();
        let any = |of: &[String]| classes.iter().any(|class| of.contains(class));
        if any(&self.settings.skipped_classes) || any(&[TOMBSTONE_CLASS.to_owned()]) {
            None
        } else if any(&self.settings.employee_classes) {
            Some(Kind::Employee)
        } else {
            any(&self.settings.unit_classes).then_some(Kind::Unit)
        }
    }

    fn whole(&mut self, record: &Record, dn: &Dn, kind: Kind, values: &[Value]) -> Result<(), Rejection> {
        let Some(status) = self.status(dn, kind, values) else {
            self.counts.nobodies += 1;
            return Ok(());
        };
        let stated_id = fields::candidates(values, self.id_attributes(kind)).next();
        let id = match stated_id {
            Some(value) => match fields::id_text(value) {
                Some(id) => id,
                None => {
                    let reason =
                        format!("the id in `{}` is empty, too long or not what such an id is", value.attribute);
                    self.leave_out(rejection("bad-id", reason, place(value.line)));
                    return Ok(());
                }
            },
            None => dn.derived_id(),
        };
        self.once(record.line, dn, kind, &id)?;
        let mut data = named(kind, &id, &status);
        let mut references = Vec::new();
        let mut marks = Marks::default();
        if kind == Kind::Employee {
            marks.signs = account::against(values, &mut || self.hub.now_ms());
        }
        let settings = self.settings;
        for (number, field) in fields::fields(settings, kind).iter().enumerate() {
            let mut candidates = fields::candidates(values, field.attributes);
            let Some(value) = candidates.next() else { continue };
            // The phone may have had one.
            let is_second = field.form == Form::Extension && data.contains_key(field.name);
            marks.first |= u32::from(field.attributes.first() == Some(&value.attribute)) << number;
            let is_stated = match field.form {
                Form::Reference(of) => {
                    references.push((field.name, of, Dn::parse(&value.text())));
                    true
                }
                _ => self.set(&mut data, field, value),
            };
            marks.several |= u32::from(!is_stated || is_second || candidates.next().is_some()) << number;
        }
        let above = if kind == Kind::Employee { "unit" } else { "parent" };
        if let Some(parent) = dn.parent().filter(|parent| parent.is_unit() && !data.contains_key(above)) {
            references.push((above, Kind::Unit, parent));
        }
        self.memory.learn(dn.key(), kind, &id)?;
        let (line, references_to_come) = (record.line, Vec::new());
        let (dn, marks) = (dn.key(), Some(marks));
        let mut statement = Statement { line, kind, id, dn, data, references: references_to_come, marks };
        named_anyhow(&mut statement, &record.dn);
        self.refer(&mut statement, references);
        self.state_or_hold(statement)
    }

    /// What an employee's or a unit's entry says it is; nothing where it is nobody.
    fn status(&mut self, dn: &Dn, kind: Kind, values: &[Value]) -> Option<String> {
        let account = account::of(values, &mut || self.hub.now_ms());
        let status = match account {
            Some(Account::Nobody) => return None,
            _ if kind == Kind::Unit => "active",
            _ if dn.contains(&Dn::parse(PRESERVED)) => "left",
            Some(account) if account >= Account::Unclear => self.status_of(account),
            Some(Account::Works) => "active",
            _ if account::is_cut_short(values) => "unknown",
            _ => "active",
        };
        Some(status.to_owned())
    }

    fn status_of(&self, account: Account) -> &'_ str {
        match account {
            Account::Unlimited | Account::Works => "active",
            Account::Unclear => "unknown",
            Account::Off => &self.settings.disabled,
            Account::Gone | Account::Nobody => "left",
        }
    }

    /// Two entries of one file with one id are two people of whom one would take the other's place.
    fn once(&mut self, line: u64, dn: &Dn, kind: Kind, id: &str) -> Result<(), Rejection> {
        let (key, _) = *self.seen.entry((kind, id.to_owned())).or_insert((dn.key(), line));
        let first = self.seen.get(&(kind, id.to_owned())).map_or(line, |(_, line)| *line);
        if key == dn.key() {
            return Ok(());
        }
        let reason = format!(
            "the id of this entry is that of the one at line {first} as well: name an attribute that is unique"
        );
        Err(rejection("repeated-id", reason, place(line)))
    }

    fn leave_out(&mut self, entry: Rejection) {
        self.counts.left_out += 1;
        self.hub.leave_out(entry);
    }

    fn id_attributes(&self, kind: Kind) -> &[String] {
        match kind {
            Kind::Employee => &self.settings.employee.id,
            Kind::Unit => &self.settings.unit.id,
        }
    }

    /// Whether it is what the field must be.
    fn set(&mut self, data: &mut Map<String, Json>, field: &fields::Field<'_>, value: &Value) -> bool {
        if fields::set(data, field, value, &self.settings.country_code) {
            return true;
        }
        self.counts.warnings += 1;
        if self.counts.warnings <= WARNINGS_MAX {
            let Value { line, attribute, .. } = value;
            self.hub.warn(&format!("line {line}: {attribute} is no {:?}: left out", field.form));
        }
        false
    }

    /// Puts in what is known of the entries referred to, and notes the others.
    fn refer(&mut self, statement: &mut Statement, references: Vec<(&'static str, Kind, Dn)>) {
        for (field, kind, dn) in references {
            if self.id_attributes(kind).is_empty() {
                statement.data.insert(field.to_owned(), json!(dn.derived_id()));
            } else if let Some(id) = self.id_of(kind, dn.key()) {
                statement.data.insert(field.to_owned(), json!(id));
            } else {
                statement.references.push((field, kind, dn.key()));
            }
        }
    }

    fn id_of(&self, kind: Kind, dn: u64) -> Option<&str> {
        self.memory.of_dn(dn).filter(|(of, _)| *of == kind).map(|(_, id)| id.as_str())
    }

    /// States it now, or at the end of the file when it refers to an entry that may still come.
    fn state_or_hold(&mut self, mut statement: Statement) -> Result<(), Rejection> {
        let key = (statement.kind, statement.id.clone());
        if statement.references.is_empty() && !self.held_keys.contains(&key) {
            self.state(&statement);
            return Ok(());
        }
        let data = Json::Object(std::mem::take(&mut statement.data)).to_string();
        self.held_bytes += data.len() + 200;
        if self.held_bytes > HELD_BYTES_MAX {
            let reason = "too many entries refer to later ones: sort the export, or set no attribute for `manager`";
            return Err(rejection("too-many-references", reason, place(statement.line)));
        }
        self.held_keys.insert(key);
        self.held.push(Held { statement, data });
        Ok(())
    }

    fn state(&mut self, statement: &Statement) {
        let Statement { line, kind, id, dn, data, marks, .. } = statement;
        let mut content = data.clone();
        // The moment alone is no news: a directory touches its entries for reasons of its own.
        content.remove("changedAt");
        let message_id = self.memory.note(*kind, id, *dn, &Json::Object(content).to_string(), *marks);
        let text = Json::Object(data.clone()).to_string();
        if self.recent.len() < RECENT_MAX {
            self.recent.insert((*kind, id.clone()), text.clone());
        }
        let Some(message_id) = message_id else {
            self.counts.unchanged += 1;
            return;
        };
        self.counts.stated += 1;
        self.hub.emit(Draft {
            subject: Some(id.clone()),
            time: data.get("changedAt").and_then(Json::as_str).map(str::to_owned),
            place: Some(place(*line)),
            ..draft(message_id, type_of(*kind), text)
        });
    }

    fn end(mut self, binary_values: u64, referrals: u64) -> Result<(), Rejection> {
        for Held { mut statement, data } in std::mem::take(&mut self.held) {
            statement.data = serde_json::from_str(&data).unwrap_or_default();
            for (field, kind, dn) in std::mem::take(&mut statement.references) {
                match self.id_of(kind, dn) {
                    Some(id) => {
                        let id = json!(id);
                        statement.data.insert(field.to_owned(), id);
                    }
                    None => {
                        // There is a value, only none that can be stated.
                        let mut fields = fields::fields(self.settings, statement.kind).into_iter();
                        let several = fields.position(|of| of.name == field).map_or(0, |number| 1 << number);
                        statement.marks =
                            statement.marks.map(|marks| Marks { several: marks.several | several, ..marks });
                        self.counts.unresolved += 1;
                    }
                }
            }
            self.state(&statement);
        }
        self.memory.save(self.hub)?;
        let Counts { records, stated, unchanged, others, nobodies, left_out, unresolved, warnings } = self.counts;
        self.hub.info(&format!(
            "{records} records: {stated} stated, {unchanged} unchanged, {others} of no interest, {nobodies} of machines or \
             deleted, {left_out} left out; {binary_values} binary values not read, {warnings} values left out, {unresolved} \
             references to unknown entries, {referrals} referrals"
        ));
        Ok(())
    }
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Employee => "employee.changed.v1",
        Kind::Unit => "unit.changed.v1",
    }
}

/// A unit without a name of its own has the first part of its entry's name.
fn named_anyhow(statement: &mut Statement, dn: &str) {
    if statement.kind == Kind::Unit && !statement.data.contains_key("name") {
        let name = dn::first_value(dn).unwrap_or_else(|| statement.id.clone());
        statement.data.insert("name".to_owned(), json!(name.chars().take(300).collect::<String>()));
    }
}

fn named(kind: Kind, id: &str, status: &str) -> Map<String, Json> {
    let name = if kind == Kind::Employee { "employee" } else { "unit" };
    [(name.to_owned(), json!(id)), ("status".to_owned(), json!(status))].into_iter().collect()
}

//! Records of changes: OpenLDAP carries them out, the component reads them, and slapd's own record of them (slapo-auditlog) too;
//! in the end both must say what a whole export says. A change that the README calls unclear may be refused.

use super::people::{Account, Person, Staff, phone};
use super::slapd::{Slapd, another, configs, sign};
use super::texts::{line, relative, respelled, text, unique};
use super::{Dice, Reader, differing, latest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const CHANGES: usize = 150;
const TOGETHER: usize = 25;
/// Fields that name another entry.
const LEADING: [&str; 4] = ["manager", "head", "unit", "parent"];

/// What a change may be: its record without the name, and whose entries get other names by it.
struct Change {
    record: String,
    moved: Vec<String>,
}

fn modify(operation: &str, attribute: &str, values: &[String]) -> Change {
    let values: String = values.iter().map(|value| line(attribute, value)).collect();
    Change { record: format!("changetype: modify\n{operation}: {attribute}\n{values}-\n"), moved: Vec::new() }
}

/// `replace`, `add` or `delete` of an attribute of several values, kept in the model as slapd keeps it.
fn of_values(dice: &mut Dice, attribute: &str, values: &mut Vec<String>, fresh: String) -> Change {
    match dice.below(5) {
        0 if !values.is_empty() => {
            let value = values.remove(dice.below(values.len() as u64) as usize);
            modify("delete", attribute, &[value])
        }
        1 if !values.is_empty() => {
            values.clear();
            modify("delete", attribute, &[])
        }
        2 if !values.contains(&fresh) => {
            values.push(fresh.clone());
            modify("add", attribute, &[fresh])
        }
        3 => {
            *values = vec![fresh, format!("second {}", dice.below(1_000_000))];
            modify("replace", attribute, values)
        }
        _ => {
            *values = vec![fresh];
            modify("replace", attribute, values)
        }
    }
}

fn of_one(dice: &mut Dice, attribute: &str, value: &mut Option<String>, fresh: String) -> Change {
    let is_removed = value.is_some() && dice.one_in(3);
    *value = (!is_removed).then_some(fresh);
    match value {
        Some(fresh) => modify("replace", attribute, std::slice::from_ref(fresh)),
        None => modify("delete", attribute, &[]),
    }
}

/// One sign of several: the person has those that `account` and what was changed before say.
fn of_sign(dice: &mut Dice, person: &mut Person) -> Change {
    use Account::{BeganBefore, BeginsLater, Disabled, Ended, EndsLater};
    let account = dice.of(&[Ended, EndsLater, Disabled, BeganBefore, BeginsLater]);
    let line = sign(account);
    let attribute = line.split(':').next().unwrap();
    let is_there = person.signs.contains(&attribute);
    if is_there && dice.one_in(2) {
        person.signs.retain(|name| *name != attribute);
        return modify("delete", attribute, &[]);
    }
    if !is_there {
        person.signs.push(attribute);
    }
    let operation = if is_there { "replace" } else { dice.of(&["replace", "add"]) };
    Change { record: format!("changetype: modify\n{operation}: {attribute}\n{line}-\n"), moved: Vec::new() }
}

/// What a unit says of itself; or another name for it and with it for all that is below.
fn of_unit(dice: &mut Dice, staff: &mut Staff, number: usize) -> (String, Change) {
    let head = dice.below(staff.people.len() as u64) as usize;
    let head = respelled(dice, &staff.people[head].dn);
    let dn = staff.units[number].dn.clone();
    let change = match dice.below(12) {
        0..4 => modify("replace", "telephoneNumber", &["+7 495 5550177".into()]),
        4..7 => modify("replace", "postalAddress", &[text(dice, 30).replace(['\\', '$'], "")]),
        7..10 => modify("replace", "seeAlso", &[head]),
        _ if staff.units.iter().any(|unit| unit.parent == Some(number)) => modify("replace", "seeAlso", &[head]),
        _ => {
            let name = unique(dice, 800 + number, 60);
            let rdn = relative("ou", &name);
            let new = format!("{rdn},{}", dn.split_once(',').unwrap().1);
            let below = |old: &str| old.strip_suffix(&dn).map(|start| format!("{start}{new}"));
            let units = staff.units.iter_mut().map(|unit| (&unit.name, &mut unit.dn));
            let people = staff.people.iter_mut().map(|person| (&person.login, &mut person.dn));
            let mut moved = Vec::new();
            for (other, dn) in units.chain(people) {
                if let Some(new) = below(dn) {
                    *dn = new;
                    moved.push(other.trim().to_string());
                }
            }
            moved.push(name.trim().to_string());
            staff.units[number].name = name;
            Change { record: format!("changetype: modrdn\n{}deleteoldrdn: 1\n", line("newrdn", &rdn)), moved }
        }
    };
    (dn, change)
}

/// Another name below the same or another unit.
fn of_name(dice: &mut Dice, staff: &mut Staff, number: usize) -> Change {
    let unit = dice.below(staff.units.len() as u64) as usize;
    let above = staff.units[unit].dn.clone();
    let person = &mut staff.people[number];
    let rdn = person.dn.strip_suffix(&format!(",{}", staff.units[person.unit].dn)).unwrap().to_string();
    let moved = vec![person.login.trim().to_string()];
    let (mut rdn, mut deleted) = (rdn, 1);
    match dice.below(4) {
        0 if rdn.starts_with("cn=") && !rdn.contains('+') => {
            person.common = unique(dice, 500 + number, 60);
            rdn = relative("cn", &person.common);
        }
        1 if rdn.starts_with("uid=") => {
            person.login = format!("new{number}-{}", dice.below(1_000_000));
            deleted = dice.below(2);
            rdn = relative("uid", &person.login);
        }
        _ => {}
    }
    let mut record = format!("changetype: modrdn\n{}deleteoldrdn: {deleted}\n", line("newrdn", &rdn));
    if dice.one_in(2) {
        person.unit = unit;
        record.push_str(&line("newsuperior", &respelled(dice, &above)));
    }
    person.dn = format!("{rdn},{}", staff.units[person.unit].dn);
    Change { record, moved }
}

fn change(dice: &mut Dice, staff: &mut Staff, number: usize) -> Change {
    let manager = dice.below(staff.people.len() as u64) as usize;
    let manager_dn = respelled(dice, &staff.people[manager].dn);
    let person = &mut staff.people[number];
    match dice.below(12) {
        0 | 1 => {
            let fresh = text(dice, 100);
            of_values(dice, "title", &mut person.titles, fresh)
        }
        2 => {
            let fresh = format!("n{number}-{}@energo.example", dice.below(1_000_000));
            of_values(dice, "mail", &mut person.mails, fresh)
        }
        3 => {
            let fresh = text(dice, 100);
            of_one(dice, "displayName", &mut person.display, fresh)
        }
        4 => {
            let fresh = format!("{:05}", dice.below(100_000));
            of_one(dice, "employeeNumber", &mut person.number, fresh)
        }
        5 => {
            person.phone = phone(dice);
            let text = person.phone.map(|phone| phone.text.to_string());
            modify("replace", "telephoneNumber", text.as_slice())
        }
        6 => {
            let fresh = format!("{}", 3000 + number);
            of_one(dice, "pager", &mut person.extension, fresh)
        }
        7 => modify("replace", "manager", &[manager_dn]),
        8 | 9 => of_sign(dice, person),
        _ => of_name(dice, staff, number),
    }
}

/// A change of somebody or of a unit, who it is, and whose statements are not what the directory holds where it is refused.
fn any(dice: &mut Dice, staff: &mut Staff) -> (String, Change, String, Vec<String>) {
    if dice.one_in(8) {
        let number = dice.below(staff.units.len() as u64) as usize;
        let before = staff.units[number].name.trim().to_string();
        let (dn, change) = of_unit(dice, staff, number);
        let names = [change.moved.clone(), vec![another(&before), before.clone()]].concat();
        return (dn, change, before, names);
    }
    let number = dice.below(staff.people.len() as u64) as usize;
    let before = staff.people[number].clone();
    let change = change(dice, staff, number);
    let [old, new] = [&before.login, &staff.people[number].login].map(|name| name.trim().to_string());
    (before.dn, change, old.clone(), vec![old, new])
}

/// Of one reader: whose statements are not complete any more, and why.
struct Judged {
    name: &'static str,
    reader: Reader,
    refused: BTreeSet<String>,
    taken: usize,
}

impl Judged {
    async fn read(&mut self, who: &str, names: &[String], bytes: &[u8], differences: &mut Vec<String>) {
        let shown = self.reader.read(self.name, bytes).await;
        let result = &shown["result"];
        // Of whom a change was refused the later ones are not understood either.
        if self.refused.contains(who) {
            self.refused.extend(names.iter().cloned());
        }
        if result == "ok" {
            self.taken += 1;
            return;
        }
        self.refused.extend(names.iter().cloned());
        if result["failure"]["code"] != "unclear-change" {
            differences.push(format!("{}: {result}\n{}", self.name, String::from_utf8_lossy(bytes)));
        }
    }

    /// Against a whole export. `moved`: by them others may be led without a change of theirs.
    async fn end(&mut self, export: &[u8], moved: &BTreeSet<String>, differences: &mut Vec<String>) -> usize {
        let config = &configs()[0];
        let whole = Reader::new(config).read("slapcat", export).await;
        let whole = latest(whole["messages"].as_array().unwrap());
        let stated = latest(&self.reader.known);
        let mut open = BTreeSet::new();
        for id in stated.keys().chain(whole.keys()).collect::<BTreeSet<_>>() {
            let (mut found, mut expected) = (stated.get(id).cloned(), whole.get(id).cloned());
            let has_gone = |data: &Value| data["status"] == "left" || data["status"] == "closed";
            let is_gone = found.as_ref().is_none_or(has_gone) && expected.is_none();
            let is_refused = |data: &Value| data["name"].as_str().is_some_and(|name| self.refused.contains(name));
            let is_unit_away = |data: &Value| data["name"].as_str().is_some_and(|name| moved.contains(name));
            let has_left = |data: &Value| data["status"] == "closed" || is_unit_away(data) || is_refused(data);
            let is_away = |id: &str| moved.contains(id) || stated.get(id).is_some_and(has_left);
            let led_by = |data: &Option<Value>| {
                let led_by = LEADING.map(|field| data.as_ref().and_then(|data| data[field].as_str()).map(String::from));
                led_by.into_iter().flatten().collect::<Vec<_>>()
            };
            // Of somebody whose renaming was refused the new name is not known.
            let is_led = led_by(&found).iter().any(|id| is_away(id))
                || led_by(&expected).iter().any(|id| self.refused.contains(id));
            let is_unknown = found.as_ref().is_some_and(|data| data["status"] == "unknown");
            for data in [&mut found, &mut expected].into_iter().flatten() {
                let data = data.as_object_mut().unwrap();
                data.retain(|field, _| !(is_led && LEADING.contains(&field.as_str())));
                data.retain(|field, _| !(is_unknown && field == "status"));
            }
            let either = || [&found, &expected].into_iter().flatten();
            let is_alone = either().count() == 1 && either().any(is_unit_away);
            let is_open = self.refused.contains(id) || either().any(is_refused) || is_alone;
            if is_led || is_unknown || is_open {
                open.insert(id.clone());
            }
            if !is_gone && !is_open && found != expected {
                let text = differing(found.as_ref(), expected.as_ref());
                differences.push(format!("{}, {id}: {text}", self.name));
            }
        }
        let again = self.reader.read("slapcat", export).await;
        let news = again["messages"].as_array().unwrap();
        let news: Vec<&Value> = news.iter().filter(|m| !open.contains(m["subject"].as_str().unwrap())).collect();
        if let Some(news) = news.first() {
            differences.push(format!("{}: news of the whole export: {news}", self.name));
        }
        stated.len()
    }
}

/// Each change by itself.
pub async fn one_by_one(slapd: &Slapd, staff: &mut Staff, dice: &mut Dice, differences: &mut Vec<String>) -> usize {
    let mut reader = Reader::new(&configs()[0]);
    reader.read("slapcat", &slapd.slapcat()).await;
    let judged = |name| Judged { name, reader: reader.clone(), refused: BTreeSet::new(), taken: 0 };
    let (mut told, mut audited) = (judged("ldapmodify's input"), judged("auditlog"));
    let mut moved = BTreeSet::new();
    for _ in 0..CHANGES {
        let (dn, change, who, names) = any(dice, staff);
        let record = line("dn", &dn) + &change.record + "\n";
        moved.extend(change.moved.iter().cloned());
        let audit = slapd.audit().len();
        slapd.modify(&record);
        told.read(&who, &names, record.as_bytes(), differences).await;
        audited.read(&who, &names, &slapd.audit()[audit..], differences).await;
    }
    let export = slapd.slapcat();
    let cases = told.end(&export, &moved, differences).await + audited.end(&export, &moved, differences).await;
    println!("of {CHANGES} changes {} were taken, the others were unclear", told.taken);
    assert!(told.taken * 2 > CHANGES, "hardly any change was taken");
    assert_eq!(told.refused, audited.refused);
    2 * CHANGES + cases
}

/// Many changes in one file, none of them unclear: whole entries among them, and people who go.
pub async fn together(slapd: &Slapd, staff: &Staff, dice: &mut Dice, differences: &mut Vec<String>) -> usize {
    let mut reader = Reader::new(&configs()[0]);
    reader.read("slapcat", &slapd.slapcat()).await;
    let judged = |name| Judged { name, reader: reader.clone(), refused: BTreeSet::new(), taken: 0 };
    let readers = [judged("ldapmodify's input, together"), judged("auditlog, together")];
    let (mut records, mut moved) = (String::new(), BTreeSet::new());
    let units: BTreeMap<usize, &str> = staff.units.iter().map(|unit| unit.dn.as_str()).enumerate().collect();
    for (number, person) in staff.people.iter().enumerate().take(TOGETHER) {
        let dn = line("dn", &person.dn);
        let replaced = |attribute: &str, value: &str| modify("replace", attribute, &[value.to_string()]).record;
        let is_common = person.dn.starts_with("cn=") && !person.dn.split(',').next().unwrap().contains('+');
        let record = match dice.below(4) {
            0 => {
                replaced("title", &text(dice, 100))
                    + &replaced("mail", "x@energo.example")["changetype: modify\n".len()..]
            }
            1 => {
                moved.insert(person.login.trim().to_string());
                "changetype: delete\n".to_string()
            }
            // A name that nobody had before: nothing refers to it.
            2 if is_common => {
                let above = units[&(dice.below(units.len() as u64) as usize)];
                let rdn = relative("cn", &unique(dice, 600 + number, 60));
                moved.insert(person.login.trim().to_string());
                format!("changetype: moddn\n{}deleteoldrdn: 1\n{}", line("newrdn", &rdn), line("newsuperior", above))
            }
            _ => replaced("telephoneNumber", "+7 495 5550199"),
        };
        let (name, login) = (unique(dice, 700 + number, 60), format!("together{number}"));
        let added = format!("{},{}", relative("cn", &name), units[&0]);
        let added = line("dn", &added) + "changetype: add\nobjectClass: inetOrgPerson\nsn: x\n" + &line("cn", &name);
        records.push_str(&format!("{dn}{record}\n{added}{}\n", line("uid", &login)));
    }
    let audit = slapd.audit().len();
    slapd.modify(&records);
    let audit = slapd.audit().split_off(audit);
    let (export, mut cases) = (slapd.slapcat(), 2 * TOGETHER);
    for (mut judged, bytes) in readers.into_iter().zip([records.as_bytes(), &audit]) {
        judged.read("", &[], bytes, differences).await;
        assert!(judged.refused.is_empty(), "{}: {:?}", judged.name, differences.last());
        cases += judged.end(&export, &moved, differences).await;
    }
    cases
}

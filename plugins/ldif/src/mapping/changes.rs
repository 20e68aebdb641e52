//! Records that change an entry stated earlier: they say what is different, the message must say what is now.

use super::*;
use crate::fields::Field;
use crate::ldif::{Modification, Operation};

impl<H: Hub> Decoder<'_, H> {
    pub(super) fn change(&mut self, record: Record, dn: &Dn, kind: Kind, id: String) -> Result<(), Rejection> {
        let line = record.line;
        self.seen.remove(&(kind, id.clone()));
        match record.change {
            Change::Delete => self.gone(line, dn, kind, id),
            Change::Modify(modifications) => {
                let mut statement = self.last(line, dn, kind, id)?;
                let takes_id = |change: &&Modification| {
                    let is_same = change.values.first().and_then(fields::id_text).is_some_and(|id| id == statement.id);
                    change.operation != Operation::Add
                        && self.id_attributes(kind).contains(&change.attribute)
                        && !is_same
                };
                if let Some(change) = modifications.iter().find(takes_id) {
                    return Err(unclear(change, "the entry's id is changed"));
                }
                for modification in &modifications {
                    self.modify(&mut statement, dn, modification)?;
                }
                named_anyhow(&mut statement, &record.dn);
                self.state_or_hold(statement)
            }
            Change::Rename { rdn, superior, keeps_old } => {
                let new = dn.renamed(&rdn, superior.as_deref());
                let mut statement = self.last(line, dn, kind, id.clone())?;
                let old_rdn = dn::first(&record.dn);
                let new_id = self.id_by_name(line, kind, &id, [&old_rdn, &rdn], [dn, &new])?;
                let pairs = (dn::pairs(&old_rdn), dn::pairs(&rdn));
                let (gone, came) = replaced(line, pairs, keeps_old);
                if new_id != id {
                    if keeps_old {
                        let reason = "the entry keeps its id as a second one (`deleteoldrdn: 0`)";
                        return Err(rejection("unclear-change", reason, place(line)));
                    }
                    self.gone(line, dn, kind, id)?;
                }
                for modification in gone.iter().chain(&came) {
                    self.modify(&mut statement, dn, modification)?;
                }
                self.memory.learn(new.key(), kind, &new_id)?;
                let name = if kind == Kind::Employee { "employee" } else { "unit" };
                statement.data.insert(name.to_owned(), json!(new_id));
                (statement.id, statement.dn) = (new_id, new.key());
                if kind == Kind::Unit {
                    let marks = statement.marks.unwrap_or(Marks { several: u32::MAX, ..Marks::default() });
                    statement.marks = Some(Marks { signs: RENAMED, ..marks });
                }
                self.moved(&mut statement, &new, superior.is_some());
                preserved(&mut statement, dn, &new);
                named_anyhow(&mut statement, &rdn);
                self.state_or_hold(statement)
            }
            Change::Whole(_) | Change::Unreadable(_) => Ok(()),
        }
    }

    /// The entry as it was stated last.
    fn last(&mut self, line: u64, dn: &Dn, kind: Kind, id: String) -> Result<Statement, Rejection> {
        let data = self.last_data(line, kind, &id)?;
        let marks = self.memory.marks(kind, &id);
        Ok(Statement { line, kind, id, dn: dn.key(), data, references: Vec::new(), marks })
    }

    /// The id of an entry after a renaming: another one only where it was the value in the name, or made of the name.
    fn id_by_name(
        &self,
        line: u64,
        kind: Kind,
        id: &str,
        rdns: [&str; 2],
        names: [&Dn; 2],
    ) -> Result<String, Rejection> {
        let [was, is] = rdns.map(|rdn| dn::value_in(rdn, self.id_attributes(kind)));
        let is_derived = id == names[0].derived_id();
        let was_id = was.as_deref().map_or(is_derived, |was| dn::folded(was) == dn::folded(id));
        match is {
            Some(new_id) if was_id && fields::is_id(&new_id) => Ok(new_id),
            Some(_) if was_id => {
                let reason = "the id in the new name is empty, longer than 64 characters or has control characters";
                Err(rejection("bad-id", reason, place(line)))
            }
            None if is_derived => Ok(names[1].derived_id()),
            _ => Ok(id.to_owned()),
        }
    }

    /// The unit above is another one.
    fn moved(&mut self, statement: &mut Statement, dn: &Dn, moved: bool) {
        let above = if statement.kind == Kind::Employee { "unit" } else { "parent" };
        let by_attribute = statement.kind == Kind::Employee && !self.settings.employee.unit.is_empty();
        if !moved || by_attribute {
            return;
        }
        statement.data.remove(above);
        if let Some(parent) = dn.parent().filter(Dn::is_unit) {
            self.refer(statement, vec![(above, Kind::Unit, parent)]);
        }
    }

    fn gone(&mut self, line: u64, dn: &Dn, kind: Kind, id: String) -> Result<(), Rejection> {
        let data = match kind {
            Kind::Employee => named(kind, &id, "left"),
            Kind::Unit => {
                let mut data = named(kind, &id, "closed");
                let last = self.last_data(line, kind, &id).unwrap_or_default();
                let name = last.get("name").cloned().unwrap_or_else(|| json!(id));
                data.insert("name".to_owned(), name);
                data
            }
        };
        self.state_or_hold(Statement { line, kind, id, dn: dn.key(), data, references: Vec::new(), marks: None })
    }

    /// What was stated of the entry last, in this file or before it.
    fn last_data(&mut self, line: u64, kind: Kind, id: &str) -> Result<Map<String, Json>, Rejection> {
        let key = (kind, id.to_owned());
        if self.held_keys.contains(&key) || (self.recent.len() >= RECENT_MAX && !self.recent.contains_key(&key)) {
            let reason =
                "the file changes an entry that it stated itself, with references or thousands of lines before";
            return Err(rejection("unclear-change", reason, place(line)));
        }
        let text = match self.recent.get(&key) {
            Some(text) => Some(text.clone()),
            None => self.memory.last_message(kind, id).and_then(|message| Some(self.hub.lookup(&message)?.data)),
        };
        let data = text.and_then(|text| serde_json::from_str(&text).ok());
        data.ok_or_else(|| {
            let reason = "what the entry was before is not kept any more: send the whole entry";
            rejection("unknown-entry", reason, place(line))
        })
    }

    fn modify(&mut self, statement: &mut Statement, dn: &Dn, change: &Modification) -> Result<(), Rejection> {
        let settings = self.settings;
        let is_employee = statement.kind == Kind::Employee;
        if is_employee && account::is_sign(&change.attribute) && !dn.contains(&Dn::parse(PRESERVED)) {
            self.modify_status(statement, change);
        }
        for (number, field) in fields::fields(settings, statement.kind).iter().enumerate() {
            if let Some(rank) = field.attributes.iter().position(|name| *name == change.attribute) {
                self.modify_field(statement, (1 << number, field), rank, change)?;
            }
        }
        Ok(())
    }

    /// The entry's other signs are not in a change, but whether any of them speaks against the account is known.
    fn modify_status(&mut self, statement: &mut Statement, change: &Modification) {
        let bit = account::bit(&change.attribute);
        let mut marks = statement.marks.unwrap_or(Marks { signs: u32::MAX, ..Marks::default() });
        let said = account::of(&change.values, &mut || self.hub.now_ms()).unwrap_or(Account::Unlimited);
        let speaks = account::against(&change.values, &mut || self.hub.now_ms()) & bit;
        let (was, others) = (marks.signs & bit, marks.signs & !bit & !account::settled_by(&change.attribute));
        let (said, speaks) = match change.operation {
            // Another value of several goes, or all of them.
            Operation::Delete if !change.values.is_empty() && speaks == 0 => return,
            Operation::Delete => (Account::Unlimited, 0),
            Operation::Add => (said, speaks | was),
            Operation::Replace => (said, speaks),
        };
        let before = statement.data.get("status").and_then(Json::as_str).unwrap_or("unknown");
        let status = match said {
            Account::Unlimited | Account::Works if others == 0 => "active",
            said if said >= Account::Off || (others == 0 && said == Account::Unclear) => self.status_of(said),
            Account::Unclear if was == 0 && before != "active" => before,
            Account::Unlimited | Account::Works if was == 0 => before,
            _ => "unknown",
        };
        let status = json!(status);
        statement.data.insert("status".to_owned(), status);
        marks.signs = others | speaks;
        statement.marks = statement.marks.map(|_| marks);
    }

    /// `rank`: which of the field's attributes it is.
    fn modify_field(
        &mut self,
        statement: &mut Statement,
        (bit, field): (u32, &Field<'_>),
        rank: usize,
        change: &Modification,
    ) -> Result<(), Rejection> {
        let filled = statement.data.contains_key(field.name);
        // An extension may also be a part of the phone.
        let alone = field.attributes.len() == 1 && field.form != Form::Extension;
        // Of what was stated before there were marks only what needs none is known.
        let marks = statement.marks.unwrap_or(Marks { several: u32::MAX, ..Marks::default() });
        let (several, is_first) = (marks.several & bit != 0, alone || marks.first & bit != 0);
        let known = statement.marks.is_some() || alone;
        let is_its = is_first == (rank == 0);
        let doubt = |why: &str| Err(unclear(change, why));
        let goes = change.values.is_empty() || change.operation == Operation::Delete;
        match change.operation {
            _ if !known => return doubt("nobody knows which attribute the field came from: send the whole entry"),
            Operation::Replace if rank == 0 && !goes => {}
            Operation::Add if several && !filled => return doubt("a value that was left out comes first"),
            // The first value stays the first, whatever comes behind it.
            Operation::Add if filled && (is_first || rank > 0) => return behind(statement, bit),
            Operation::Add => {}
            Operation::Delete if !change.values.is_empty() => {
                let said = statement.data.get(field.name).map(alike);
                let deleted = |value: &Value| self.value_of(field, value).as_ref().map(alike) == said;
                if !is_its || !change.values.iter().any(deleted) {
                    return Ok(());
                }
                if several {
                    return doubt("it has other values, and which one is the first now is not known");
                }
            }
            _ if !is_its && is_first => return behind(statement, bit),
            _ if !is_its && rank == 0 => return Ok(()),
            _ if rank > 0 && field.attributes.len() > 2 && (filled || several) => {
                return doubt("the field may come from another attribute");
            }
            _ if goes && several && !alone => {
                return doubt("the field may come from another attribute now");
            }
            _ => {}
        }
        statement.data.remove(field.name);
        if field.form == Form::Phone && statement.kind == Kind::Employee {
            self.other_phone(statement);
        }
        let value = change.values.first().filter(|_| !goes);
        let is_stated = match (value, field.form) {
            (None, _) => true,
            (Some(value), Form::Reference(kind)) => {
                let dn = Dn::parse(&value.text());
                let is_by_name = self.id_attributes(kind).is_empty() || self.id_of(kind, dn.key()).is_some();
                if !is_by_name && self.is_below_renamed(&dn) {
                    return doubt("the unit above the entry referred to was renamed: send all whole");
                }
                self.refer(statement, vec![(field.name, kind, dn)]);
                true
            }
            (Some(value), _) => self.set(&mut statement.data, field, value),
        };
        let is_behind = !goes && (change.values.len() > 1 || !is_stated || (filled && !alone));
        let put = |bits: u32, is: bool| if is { bits | bit } else { bits & !bit };
        statement.marks = statement.marks.map(|marks| {
            let (several, first) = (put(marks.several, is_behind), put(marks.first, rank == 0 && !goes));
            Marks { several, first, ..marks }
        });
        Ok(())
    }

    /// The extension was a part of the phone, unless it has an attribute of its own; then the new phone may have another.
    fn other_phone(&self, statement: &mut Statement) {
        let fields = fields::fields(self.settings, Kind::Employee);
        let bit = fields.iter().position(|field| field.form == Form::Extension).map_or(0, |number| 1 << number);
        let own = statement.marks.is_none_or(|marks| (marks.first | marks.several) & bit != 0);
        if own {
            statement.marks = statement.marks.map(|marks| Marks { several: marks.several | bit, ..marks });
        } else {
            statement.data.remove("extension");
        }
    }

    fn value_of(&self, field: &Field<'_>, value: &Value) -> Option<Json> {
        if let Form::Reference(kind) = field.form {
            let dn = Dn::parse(&value.text());
            let derived = self.id_attributes(kind).is_empty().then(|| dn.derived_id());
            return derived.or_else(|| self.id_of(kind, dn.key()).map(str::to_owned)).map(Json::from);
        }
        let mut scratch = Map::new();
        fields::set(&mut scratch, field, value, &self.settings.country_code);
        scratch.remove(field.name)
    }
}

/// What values that a directory takes for equal have in common.
fn alike(value: &Json) -> Json {
    value.as_str().map_or_else(|| value.clone(), |text| json!(dn::folded(text)))
}

/// There is one value more that is not stated.
fn behind(statement: &mut Statement, bit: u32) -> Result<(), Rejection> {
    statement.marks = statement.marks.map(|marks| Marks { several: marks.several | bit, ..marks });
    Ok(())
}

type Pairs = Vec<(String, String)>;

/// What a renaming takes from the entry's attributes, and puts there.
fn replaced(line: u64, (old, new): (Pairs, Pairs), keeps_old: bool) -> (Vec<Modification>, Vec<Modification>) {
    let made = |operation: Operation, (attribute, text): &(String, String)| {
        let value = Value { line, attribute: attribute.clone(), bytes: text.clone().into_bytes() };
        Modification { line, operation, attribute: attribute.clone(), values: vec![value] }
    };
    let gone = old.iter().filter(|pair| !keeps_old && !new.contains(pair));
    let came = new.iter().filter(|pair| !old.contains(pair));
    (gone.map(|pair| made(Operation::Delete, pair)).collect(), came.map(|pair| made(Operation::Add, pair)).collect())
}

/// FreeIPA moves the people whom it preserves, and back.
fn preserved(statement: &mut Statement, old: &Dn, new: &Dn) {
    let (was, is) = (old.contains(&Dn::parse(PRESERVED)), new.contains(&Dn::parse(PRESERVED)));
    if statement.kind == Kind::Employee && was != is {
        let works = statement.marks.is_some_and(|marks| marks.signs == 0);
        let status = if is {
            "left"
        } else if works {
            "active"
        } else {
            "unknown"
        };
        statement.data.insert("status".to_owned(), json!(status));
    }
}

fn unclear(change: &Modification, why: &str) -> Rejection {
    rejection("unclear-change", format!("`{}`: {why}", change.attribute), place(change.line))
}

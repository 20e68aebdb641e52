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
                let data = self.last_data(line, kind, &id)?;
                let mut statement = Statement { line, kind, id, dn: dn.key(), data, references: Vec::new() };
                for modification in &modifications {
                    self.modify(&mut statement, modification)?;
                }
                self.state_or_hold(statement)
            }
            Change::Rename { rdn, superior } => {
                let new = dn.renamed(&rdn, superior.as_deref());
                let mut data = self.last_data(line, kind, &id)?;
                let by_name = dn::value_in(&rdn, self.id_attributes(kind));
                let new_id = match by_name {
                    Some(new_id) if fields::is_id(&new_id) => new_id,
                    Some(_) => {
                        let reason =
                            "the id in the new name is empty, longer than 64 characters or has control characters";
                        return Err(rejection("bad-id", reason, place(line)));
                    }
                    None if id == dn.derived_id() => new.derived_id(),
                    None => id.clone(),
                };
                let name = if kind == Kind::Employee { "employee" } else { "unit" };
                data.insert(name.to_owned(), json!(new_id));
                if new_id != id {
                    self.gone(line, dn, kind, id)?;
                }
                self.memory.learn(new.key(), kind, &new_id)?;
                let mut statement = Statement { line, kind, id: new_id, dn: new.key(), data, references: Vec::new() };
                self.moved(&mut statement, &new, superior.is_some());
                self.state_or_hold(statement)
            }
            Change::Whole(_) | Change::Unreadable(_) => Ok(()),
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
        self.state_or_hold(Statement { line, kind, id, dn: dn.key(), data, references: Vec::new() })
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
            None => self.memory.last_message(kind, id).and_then(|message| self.hub.lookup(&message)),
        };
        let data = text.and_then(|text| serde_json::from_str(&text).ok());
        data.ok_or_else(|| {
            let reason = "what the entry was before is not kept any more: send the whole entry";
            rejection("unknown-entry", reason, place(line))
        })
    }

    fn modify(&mut self, statement: &mut Statement, change: &Modification) -> Result<(), Rejection> {
        let settings = self.settings;
        let ids = self.id_attributes(statement.kind);
        let same_id = change.values.first().and_then(fields::id_text).is_some_and(|id| id == statement.id);
        let takes_it = change.operation != Operation::Add && ids.contains(&change.attribute);
        if takes_it && !same_id {
            return Err(unclear(change, "the entry's id is changed"));
        }
        if statement.kind == Kind::Employee && account::is_sign(&change.attribute) {
            self.modify_status(statement, change);
        }
        for field in fields::fields(settings, statement.kind) {
            if let Some(rank) = field.attributes.iter().position(|name| *name == change.attribute) {
                self.modify_field(statement, &field, rank, change)?;
            }
        }
        if statement.kind == Kind::Unit && !statement.data.contains_key("name") {
            statement.data.insert("name".to_owned(), json!(statement.id));
        }
        Ok(())
    }

    /// The entry's other signs are not in a change: what would need them is unknown.
    fn modify_status(&mut self, statement: &mut Statement, change: &Modification) {
        let said = match change.operation {
            // What such a sign was is in its absence: nothing says any more that the account is off.
            Operation::Delete => Some(Account::Unlimited),
            _ => account::of(&change.values, &mut || self.hub.now_ms()),
        };
        let was_active = statement.data.get("status").and_then(Json::as_str) == Some("active");
        let status = match said.unwrap_or(Account::Unlimited) {
            Account::Unlimited if was_active => "active",
            Account::Unlimited if account::is_whole_sign(&change.attribute) => "active",
            Account::Unlimited => "unknown",
            account => self.status_of(account),
        };
        let status = json!(status);
        statement.data.insert("status".to_owned(), status);
    }

    /// `rank`: which of the field's attributes it is. Of the later ones nobody knows whether the field came from them.
    fn modify_field(
        &mut self,
        statement: &mut Statement,
        field: &Field<'_>,
        rank: usize,
        change: &Modification,
    ) -> Result<(), Rejection> {
        let filled = statement.data.contains_key(field.name);
        match change.operation {
            Operation::Add if filled && (rank > 0 || field.attributes.len() == 1) => return Ok(()),
            Operation::Delete if !filled => return Ok(()),
            Operation::Delete if !change.values.is_empty() => {
                let deleted = |value: &Value| self.value_of(field, value) == statement.data.get(field.name).cloned();
                if change.values.iter().any(deleted) {
                    statement.data.remove(field.name);
                }
                return Ok(());
            }
            _ if rank > 0 && filled => {
                return Err(unclear(change, "the field may come from another attribute: send the whole entry"));
            }
            _ => {}
        }
        statement.data.remove(field.name);
        let Some(value) = change.values.first() else { return Ok(()) };
        match field.form {
            Form::Reference(kind) => self.refer(statement, vec![(field.name, kind, Dn::parse(&value.text()))]),
            _ => self.set(&mut statement.data, field, value),
        }
        Ok(())
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

fn unclear(change: &Modification, why: &str) -> Rejection {
    rejection("unclear-change", format!("`{}`: {why}", change.attribute), place(change.line))
}

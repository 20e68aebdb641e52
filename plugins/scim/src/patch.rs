//! PATCH (RFC 7644, 3.5.2): operations upon a remembered resource.

use serde_json::{Map, Value};

use crate::filter::Filter;
use crate::mapping::{ENTERPRISE, Kind, get};
use crate::schema;

/// Operations of one request.
const OPERATIONS_MAX: usize = 200;

/// Members of one attribute: each new one is compared with all.
const MEMBERS_MAX: usize = 1_000;

/// Why a request is refused: `scimType` and a text for a person.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str, pub String);

fn refuse<T>(kind: &'static str, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(kind, detail.into()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Replace,
    Remove,
}

/// Applies the operations of a request in order; `resource` is only of use when all succeed.
///
/// # Errors
/// The first operation that makes no sense.
pub fn apply(kind: Kind, id: &str, resource: &mut Map<String, Value>, request: &Value) -> Result<(), Refusal> {
    // Inside a bulk request the operations stand alone.
    let operations = request.as_array().or_else(|| get(request.as_object()?, "Operations")?.as_array());
    let Some(operations) = operations.filter(|operations| (1..=OPERATIONS_MAX).contains(&operations.len())) else {
        return refuse("invalidSyntax", format!("1 to {OPERATIONS_MAX} Operations are expected"));
    };
    for operation in operations {
        Target { kind, id, resource }.one(operation)?;
    }
    Ok(())
}

/// The resource that is changed.
struct Target<'a> {
    kind: Kind,
    id: &'a str,
    resource: &'a mut Map<String, Value>,
}

impl Target<'_> {
    fn one(&mut self, request: &Value) -> Result<(), Refusal> {
        let Some(request) = request.as_object() else { return refuse("invalidSyntax", "an operation is an object") };
        let text = |name: &str| get(request, name).and_then(Value::as_str);
        let operation = match text("op").unwrap_or_default().to_ascii_lowercase().as_str() {
            "add" => Operation::Add,
            "replace" => Operation::Replace,
            "remove" => Operation::Remove,
            _ => return refuse("invalidSyntax", "op is add, replace or remove"),
        };
        let value = get(request, "value");
        match (text("path"), value, operation) {
            (None, _, Operation::Remove) => refuse("noTarget", "remove without a path"),
            (None, Some(Value::Object(values)), _) => values.iter().try_for_each(|(path, value)| {
                // A whole resource says what the server alone sets, which is no change of it.
                let is_said = ["meta", "groups"].iter().any(|name| name.eq_ignore_ascii_case(path));
                if is_said { Ok(()) } else { self.at_path(path, operation, Some(value)) }
            }),
            (None, ..) | (Some(_), None, Operation::Add | Operation::Replace) => {
                refuse("invalidValue", "add and replace need a value; without a path it is an object")
            }
            (Some(path), value, _) => self.at_path(path, operation, value),
        }
    }

    fn at_path(&mut self, path: &str, operation: Operation, value: Option<&Value>) -> Result<(), Refusal> {
        let Some(mut path) = Path::parse(path) else { return refuse("invalidPath", "a path that cannot be read") };
        let name = path.attribute.to_ascii_lowercase();
        match (path.schema.is_none(), name.as_str()) {
            (true, "id") if value.and_then(Value::as_str) == Some(self.id) => return Ok(()),
            (true, "id" | "meta" | "groups") => {
                return refuse("mutability", format!("{} is readOnly", path.attribute));
            }
            // Members and passwords are not remembered: see push.rs.
            (true, "schemas" | "members" | "password") => return Ok(()),
            _ => {}
        }
        self.check(&mut path)?;
        let object = match &path.schema {
            None => &mut *self.resource,
            Some(schema) => {
                let key = key_of(self.resource, schema);
                if path.attribute.is_empty() {
                    return whole(self.resource, &key, operation, value);
                }
                match self.resource.entry(key).or_insert_with(|| Value::Object(Map::new())) {
                    Value::Object(extension) => extension,
                    _ => return refuse("invalidPath", "the extension is no object"),
                }
            }
        };
        let key = key_of(object, &path.attribute);
        match (&path.filter, &path.sub) {
            (None, None) => whole(object, &key, operation, value),
            (None, Some(sub)) => below(object, &key, sub, operation, value),
            (Some(filter), sub) => among(object, &key, filter, sub.as_deref(), operation, value),
        }
    }

    /// What no schema has would be taken and lead to nothing. Some providers leave out the URN of the enterprise extension.
    fn check(&self, path: &mut Path) -> Result<(), Refusal> {
        let is_enterprise = path.schema.as_ref().is_some_and(|schema| schema.eq_ignore_ascii_case(ENTERPRISE));
        if path.attribute.is_empty() || path.schema.is_some() && !is_enterprise {
            return Ok(());
        }
        let of_core = schema::of_core(self.kind, &path.attribute).filter(|_| !is_enterprise);
        let attribute = of_core.or_else(|| {
            let found = schema::of_enterprise(self.kind, &path.attribute)?;
            path.schema = Some(ENTERPRISE.to_owned());
            Some(found)
        });
        let Some(attribute) = attribute else {
            return refuse("invalidPath", format!("there is no attribute {}", path.attribute));
        };
        attribute.name.clone_into(&mut path.attribute);
        let Some(sub) = &path.sub else { return Ok(()) };
        match attribute.sub(sub) {
            None => refuse("invalidPath", format!("{} has no {sub}", attribute.name)),
            Some(found) if found.is_read_only => refuse("mutability", format!("{sub} is readOnly")),
            Some(found) => {
                path.sub = Some(found.name.to_owned());
                Ok(())
            }
        }
    }
}

/// The attribute itself.
fn whole(
    object: &mut Map<String, Value>,
    key: &str,
    operation: Operation,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    // Entra removes some of the members by their values.
    if let (Operation::Remove, Some(Value::Array(removed)), Some(Value::Array(members))) =
        (operation, value, object.get_mut(key))
    {
        let id = |value: &Value| value.get("value").cloned().unwrap_or_else(|| value.clone());
        members.retain(|member| !removed.iter().any(|gone| id(gone) == id(member)));
        return Ok(());
    }
    let Some(value) = value.filter(|value| operation != Operation::Remove && !value.is_null()) else {
        object.remove(key);
        return Ok(());
    };
    match (object.get_mut(key), value) {
        (Some(Value::Array(values)), value) if operation == Operation::Add => {
            let added = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            if values.len() + added.len() > MEMBERS_MAX {
                return refuse("invalidValue", format!("more than {MEMBERS_MAX} members of {key}"));
            }
            for value in added {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        (Some(Value::Object(target)), Value::Object(values)) => merge(target, values),
        _ => {
            object.insert(key.to_owned(), value.clone());
        }
    }
    Ok(())
}

/// `name.familyName`; of a list, that of each member.
fn below(
    object: &mut Map<String, Value>,
    key: &str,
    sub: &str,
    operation: Operation,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    if operation == Operation::Remove && !object.contains_key(key) {
        return Ok(());
    }
    match object.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(target) => {
            let sub = key_of(target, sub);
            whole(target, &sub, operation, value)
        }
        Value::Array(members) => members.iter_mut().filter_map(Value::as_object_mut).try_for_each(|member| {
            let sub = key_of(member, sub);
            whole(member, &sub, operation, value)
        }),
        _ => refuse("invalidPath", format!("{key} has no sub-attributes")),
    }
}

/// `emails[type eq "work"]`, with or without `.value`.
fn among(
    object: &mut Map<String, Value>,
    key: &str,
    filter: &Filter,
    sub: Option<&str>,
    operation: Operation,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    let members = match object.entry(key.to_owned()).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(members) => members,
        _ => return refuse("invalidPath", format!("{key} is no list")),
    };
    let matches = |member: &Value| member.as_object().is_some_and(|member| filter.matches(Kind::User, member));
    if operation == Operation::Remove && sub.is_none() {
        members.retain(|member| !matches(member));
        return Ok(());
    }
    if !members.iter().any(matches) && operation != Operation::Remove {
        // Identity providers set the mail at work of a user who has none in this way.
        let Some((attribute, wanted)) = filter.as_equality() else {
            return refuse("noTarget", format!("no member of {key} matches"));
        };
        members.push(Value::Object([(attribute.to_owned(), wanted.clone())].into_iter().collect()));
    }
    for member in members.iter_mut().filter(|member| matches(member)) {
        match (member.as_object_mut(), sub, value) {
            (Some(member), Some(sub), _) => {
                let sub = key_of(member, sub);
                whole(member, &sub, operation, value)?;
            }
            (Some(member), None, Some(Value::Object(values))) => merge(member, values),
            _ => return refuse("invalidValue", format!("a member of {key} is an object")),
        }
    }
    Ok(())
}

fn merge(target: &mut Map<String, Value>, values: &Map<String, Value>) {
    for (name, value) in values {
        let key = key_of(target, name);
        target.insert(key, value.clone());
    }
}

/// The name as the object has it already, in whatever case.
fn key_of(object: &Map<String, Value>, name: &str) -> String {
    object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.to_owned())
}

struct Path {
    schema: Option<String>,
    /// Empty for an extension as a whole.
    attribute: String,
    filter: Option<Filter>,
    sub: Option<String>,
}

impl Path {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (head, filter, tail) = match text.split_once('[') {
            Some((head, rest)) => {
                let (filter, tail) = rest.rsplit_once(']')?;
                (head, Some(Filter::parse(filter)?), tail)
            }
            None => (text, None, ""),
        };
        let (schema, name) = match head.get(..4).filter(|urn| urn.eq_ignore_ascii_case("urn:")) {
            // The version of a schema has a point: `…:2.0:User:employeeNumber`.
            Some(_) => match head.rsplit_once(':')? {
                (_, "User" | "Group") => (Some(head), ""),
                // `…:2.0:User.employeeNumber` is written as well.
                (schema, name) => match name.split_once('.').filter(|(of, _)| matches!(*of, "User" | "Group")) {
                    Some((of, name)) => (head.get(..schema.len() + 1 + of.len()), name),
                    None => (Some(schema), name),
                },
            },
            None => (None, head),
        };
        let core = |schema: &&str| !schema.to_ascii_lowercase().starts_with("urn:ietf:params:scim:schemas:core:");
        let (name, sub) = match (name.split_once('.'), tail.strip_prefix('.')) {
            (Some((name, sub)), None) if filter.is_none() => (name, Some(sub)),
            (None, sub) if tail.is_empty() || sub.is_some() => (name, sub),
            _ => return None,
        };
        let fits = |name: &str| {
            !name.is_empty()
                && name.len() <= 200
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_$".contains(&b))
        };
        if !(fits(name) || (name.is_empty() && schema.is_some() && filter.is_none())) || !sub.is_none_or(fits) {
            return None;
        }
        Some(Self {
            schema: schema.filter(core).map(str::to_owned),
            attribute: name.to_owned(),
            filter,
            sub: sub.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::ENTERPRISE;
    use serde_json::json;

    fn patched(operations: Value) -> Result<Value, Refusal> {
        let mut user = json!({
            "userName": "a", "nickName": "b", "name": {"givenName": "c"},
            "emails": [{"type": "work", "value": "w@example.com"}, {"type": "home", "value": "h@example.org"}],
        });
        let request = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        apply(Kind::User, "7", user.as_object_mut().unwrap(), &request)?;
        Ok(user)
    }

    #[test]
    fn operations() {
        for (operation, pointer, expected) in [
            (json!({"op": "Add", "path": "title", "value": "x"}), "/title", json!("x")),
            (json!({"op": "add", "value": {"nickname": "z"}}), "/nickName", json!("z")),
            (
                json!({"op": "replace", "path": "name.familyName", "value": "f"}),
                "/name",
                json!({"givenName": "c", "familyName": "f"}),
            ),
            (json!({"op": "replace", "value": {"name.givenName": "g"}}), "/name/givenName", json!("g")),
            (json!({"op": "add", "path": "emails", "value": [{"value": "n@x"}]}), "/emails/2/value", json!("n@x")),
            (json!({"op": "replace", "path": "emails", "value": []}), "/emails", json!([])),
            (
                json!({"op": "remove", "path": "emails[type eq \"work\" and value ew \"example.com\"]"}),
                "/emails/0/type",
                json!("home"),
            ),
            (
                json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "n@x"}),
                "/emails/0/value",
                json!("n@x"),
            ),
            (
                json!({"op": "replace", "path": "phoneNumbers[type eq \"work\"].value", "value": "1"}),
                "/phoneNumbers",
                json!([{"type": "work", "value": "1"}]),
            ),
            (
                json!({"op": "add", "path": format!("{ENTERPRISE}:employeeNumber"), "value": "7"}),
                &format!("/{ENTERPRISE}/employeeNumber"),
                json!("7"),
            ),
            (
                json!({"op": "add", "value": {ENTERPRISE: {"department": "d"}}}),
                &format!("/{ENTERPRISE}/department"),
                json!("d"),
            ),
            (
                json!({"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:title", "value": "t"}),
                "/title",
                json!("t"),
            ),
        ] {
            let found = patched(json!([operation])).unwrap();
            assert_eq!(found.pointer(pointer), Some(&expected), "{operation} {found}");
        }
        let removed =
            patched(json!([{"op": "remove", "path": "nickName"}, {"op": "remove", "path": "name.givenName"}])).unwrap();
        assert_eq!((removed.get("nickName"), removed.pointer("/name/givenName")), (None, None));
    }

    #[test]
    fn refusals() {
        for (operation, kind) in [
            (json!({"op": "move", "path": "title", "value": 1}), "invalidSyntax"),
            (json!("x"), "invalidSyntax"),
            (json!({"op": "remove"}), "noTarget"),
            (json!({"op": "add", "path": "title"}), "invalidValue"),
            (json!({"op": "add", "value": "x"}), "invalidValue"),
            (json!({"op": "replace", "path": "id", "value": "x"}), "mutability"),
            (json!({"op": "replace", "path": "emails[", "value": "x"}), "invalidPath"),
            (json!({"op": "replace", "path": "emails[type eq]", "value": "x"}), "invalidPath"),
            (json!({"op": "replace", "path": "a.b.c", "value": "x"}), "invalidPath"),
            (json!({"op": "replace", "path": "", "value": "x"}), "invalidPath"),
            (json!({"op": "replace", "path": "userName.x", "value": "x"}), "invalidPath"),
            (json!({"op": "replace", "path": "userName[x pr]", "value": "x"}), "invalidPath"),
            (json!({"op": "replace", "path": "emails[value co \"zzz\"]", "value": {}}), "noTarget"),
            (json!({"op": "replace", "path": "emails[type eq \"work\"]", "value": 1}), "invalidValue"),
        ] {
            assert_eq!(patched(json!([operation])).map_err(|refusal| refusal.0), Err(kind), "{operation}");
        }
        assert_eq!(patched(json!([])).unwrap_err().0, "invalidSyntax");
    }
}

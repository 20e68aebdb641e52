//! A SCIM resource (RFC 7643) -> the data of a message. Names of attributes are compared without case.

use busbar_sdk::{Rejection, dates, phones, rejection};
use serde_json::{Map, Value, json};

use crate::settings::{Settings, Unit};

pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    User,
    Group,
}

impl Kind {
    pub fn endpoint(self) -> &'static str {
        match self {
            Kind::User => "Users",
            Kind::Group => "Groups",
        }
    }

    pub fn resource_type(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
        }
    }

    pub fn message_type(self) -> &'static str {
        match self {
            Kind::User => "employee.changed.v1",
            Kind::Group => "unit.changed.v1",
        }
    }

    pub fn schema(self) -> &'static str {
        match self {
            Kind::User => USER,
            Kind::Group => GROUP,
        }
    }

    /// The attribute that no resource is without.
    pub fn name_attribute(self) -> &'static str {
        match self {
            Kind::User => "userName",
            Kind::Group => "displayName",
        }
    }
}

/// An attribute, in whatever case it is written.
pub fn get<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// The text of an attribute; nothing for an empty one.
pub fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    get(object, name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// What a resource says it is; `default` where it does not.
///
/// # Errors
/// `unexpected-resource` for another kind of resource.
pub fn kind(resource: &Map<String, Value>, default: Kind, place: &str) -> Result<Kind, Rejection> {
    let schemas = get(resource, "schemas").and_then(Value::as_array);
    let said: Vec<&str> = schemas.into_iter().flatten().filter_map(Value::as_str).collect();
    let has = |schema: &str| said.iter().any(|urn| urn.eq_ignore_ascii_case(schema));
    if has(USER) || (said.is_empty() && default == Kind::User) {
        Ok(Kind::User)
    } else if has(GROUP) || said.is_empty() {
        Ok(Kind::Group)
    } else {
        let said: String = said.join(", ").chars().take(200).collect();
        Err(rejection("unexpected-resource", format!("neither a User nor a Group: {said}"), format!("{place}/schemas")))
    }
}

/// The data of the message that states a resource.
///
/// # Errors
/// `bad-resource` where the name or id is missing or too long.
pub fn data(
    settings: &Settings,
    kind: Kind,
    id: &str,
    resource: &Map<String, Value>,
    place: &str,
) -> Result<Map<String, Value>, Rejection> {
    if id.is_empty() || id.chars().count() > 64 {
        return Err(rejection("bad-resource", "an id of 1 to 64 characters is expected", format!("{place}/id")));
    }
    let name_attribute = kind.name_attribute();
    let name = text(resource, name_attribute).ok_or_else(|| {
        let reason = format!("a {} without {name_attribute}", kind.resource_type());
        rejection("bad-resource", reason, format!("{place}/{name_attribute}"))
    })?;
    let mut data = Map::new();
    match kind {
        Kind::User => user(&mut data, settings, id, name, resource),
        Kind::Group => {
            data.insert("unit".to_owned(), json!(id));
            data.insert("name".to_owned(), json!(name.chars().take(300).collect::<String>()));
            data.insert("status".to_owned(), json!("active"));
        }
    }
    if let Some(moment) = last_modified(resource) {
        data.insert("changedAt".to_owned(), json!(moment));
    }
    Ok(data)
}

/// `meta.lastModified` where it is a time.
pub fn last_modified(resource: &Map<String, Value>) -> Option<&str> {
    let meta = get(resource, "meta")?.as_object()?;
    text(meta, "lastModified").filter(|moment| is_moment(moment))
}

fn user(data: &mut Map<String, Value>, settings: &Settings, id: &str, login: &str, user: &Map<String, Value>) {
    let empty = Map::new();
    let object = |name: &str| get(user, name).and_then(Value::as_object).unwrap_or(&empty);
    let (name, enterprise) = (object("name"), object(ENTERPRISE));
    let status = match is_active(user) {
        Some(true) => "active",
        Some(false) => settings.disabled.as_str(),
        None => "unknown",
    };
    data.insert("employee".to_owned(), json!(id));
    data.insert("status".to_owned(), json!(status));
    let mut put = |field: &str, value: Option<&str>, chars: usize| {
        if let Some(value) = value.filter(|value| value.chars().count() <= chars) {
            data.insert(field.to_owned(), json!(value));
        }
    };
    let parts = ["familyName", "givenName", "middleName"].map(|part| text(name, part));
    let joined = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let full = text(user, "displayName").or_else(|| text(name, "formatted")).or(Some(joined.as_str()));
    put("name", full.filter(|full| !full.is_empty()), 200);
    put("login", Some(login), 128);
    put("position", text(user, "title"), 300);
    put("personnelNumber", text(enterprise, "employeeNumber"), 64);
    let manager = get(enterprise, "manager");
    // Some providers send the id alone.
    let manager = manager.and_then(|value| value.as_str().or_else(|| text(value.as_object()?, "value")));
    put("manager", manager.filter(|id| !id.is_empty()), 64);
    put("unit", unit(settings.unit, user, enterprise), 64);
    put("email", best(user, "emails").filter(|text| is_email(text)), 254);
    let phone = best(user, "phoneNumbers").map(|text| phones::parse(text, &settings.country_code)).unwrap_or_default();
    put("phone", phone.number.as_deref(), 16);
    put("extension", phone.extension.as_deref(), 10);
}

/// Some providers send `"False"`. Nothing for a value that is neither; one that is not there is the usual (RFC 7643, 4.1.1).
fn is_active(user: &Map<String, Value>) -> Option<bool> {
    match get(user, "active") {
        Some(Value::Bool(active)) => Some(*active),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Some(false),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Some(true),
        None | Some(Value::Null) => Some(true),
        Some(_) => None,
    }
}

fn unit<'a>(unit: Unit, user: &'a Map<String, Value>, enterprise: &'a Map<String, Value>) -> Option<&'a str> {
    match unit {
        Unit::Department => text(enterprise, "department"),
        Unit::Division => text(enterprise, "division"),
        Unit::Organization => text(enterprise, "organization"),
        Unit::CostCenter => text(enterprise, "costCenter"),
        Unit::None => None,
        Unit::Group => {
            let groups = get(user, "groups")?.as_array()?.iter().filter_map(Value::as_object);
            let mut direct = groups.filter(|group| text(group, "type").is_none_or(|kind| kind == "direct"));
            match (direct.next(), direct.next()) {
                (Some(group), None) => text(group, "value"),
                _ => None,
            }
        }
    }
}

/// The value at work of a multi-valued attribute: the primary one at work, one at work, the primary one, the first that
/// is not said to be private.
fn best<'a>(user: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let rank = |value: &Map<String, Value>| {
        let primary = get(value, "primary").and_then(Value::as_bool) == Some(true);
        match (text(value, "type").unwrap_or_default().to_ascii_lowercase().as_str(), primary) {
            ("work", true) => Some(0),
            ("work", false) => Some(1),
            // At home; numbers that nobody can be called at (RFC 7643, 4.1.2).
            ("home" | "fax" | "pager", _) => None,
            (_, true) => Some(2),
            _ => Some(3),
        }
    };
    let values = get(user, name)?.as_array()?.iter().filter_map(Value::as_object);
    let ranked = values.filter_map(|value| Some((rank(value)?, text(value, "value")?)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, value)| value)
}

fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    !text.contains(char::is_whitespace)
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

/// `2011-05-13T04:42:34Z`, with a fraction and an offset; as `changedAt` has it.
fn is_moment(text: &str) -> bool {
    let offset = dates::parse_date_time(text).and_then(|(_, offset)| offset);
    offset.is_some() && text.len() <= 35 && text.get(11..13) != Some("24")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_of(user: Value) -> Value {
        Value::Object(data(&Settings::default(), Kind::User, "7", user.as_object().unwrap(), "").unwrap())
    }

    #[test]
    fn a_user_is_an_employee() {
        let user = json!({
            "userName": "o.ilina", "DISPLAYNAME": "Ильина Ольга", "title": "Оператор", "active": "False",
            "emails": [{"value": "home@example.org", "type": "home", "primary": true}, {"value": "o.ilina@example.org", "type": "work"}],
            "phoneNumbers": [{"value": "tel:+7-495-555-01-01;ext=17", "type": "work"}],
            "groups": [{"value": "g1", "type": "direct"}, {"value": "g2", "type": "indirect"}],
            ENTERPRISE: {"employeeNumber": "00417", "manager": "m-1", "department": "Сбыт"},
            "meta": {"lastModified": "2026-11-20T09:30:00+03:00"},
        });
        let expected = json!({
            "employee": "7", "status": "suspended", "name": "Ильина Ольга", "login": "o.ilina", "position": "Оператор",
            "email": "o.ilina@example.org", "phone": "+74955550101", "extension": "17", "unit": "g1",
            "personnelNumber": "00417", "manager": "m-1", "changedAt": "2026-11-20T09:30:00+03:00",
        });
        assert_eq!(data_of(user), expected);
    }

    #[test]
    fn what_is_not_clear_is_left_out() {
        let user = json!({
            "userName": "a", "name": {"familyName": "Громов", "givenName": "Андрей"}, "emails": "x", "phoneNumbers": [{"value": "?"}],
            "groups": [{"value": "g1"}, {"value": "g2"}], "meta": {"lastModified": "yesterday"}, ENTERPRISE: 7,
        });
        assert_eq!(data_of(user), json!({"employee": "7", "status": "active", "name": "Громов Андрей", "login": "a"}));
    }

    #[test]
    fn moments_and_activity() {
        for (active, expected) in [
            (json!(true), "active"),
            (json!("FALSE"), "suspended"),
            (json!(null), "active"),
            (json!("perhaps"), "unknown"),
            (json!(0), "unknown"),
        ] {
            assert_eq!(data_of(json!({"userName": "a", "active": active}))["status"], expected, "{active}");
        }
        for text in ["2011-05-13T04:42:34Z", "2011-08-01T18:29:49.793000Z", "2026-11-20T09:30:00+03:00"] {
            assert!(is_moment(text), "{text}");
        }
        for text in [
            "",
            "2011-05-13",
            "2011-05-13T04:42:34",
            "2011-13-13T04:42:34Z",
            "2011-05-13T04:42:34.Z",
            "2011-05-13T04:42:34+3",
            "2011-05-13T04:42:34Ж",
        ] {
            assert!(!is_moment(text), "{text}");
        }
    }
}

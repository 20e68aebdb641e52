//! The attributes that are kept (RFC 7643, 4.1, 4.2, 4.3): what `/Schemas` says of them, and values in their types.

use serde_json::{Map, Value, json};

use crate::mapping::{ENTERPRISE, GROUP, Kind, USER, get};

/// What the values of an attribute are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    Flag,
    /// An address outside.
    Link,
    /// Of another user.
    Reference,
    /// Several texts under names of their own.
    Complex(&'static [Attribute]),
    /// A list of those.
    List(&'static [Attribute]),
}

#[derive(PartialEq, Eq)]
pub struct Attribute {
    pub name: &'static str,
    pub of: Type,
    /// No resource is without it, and no two have the same.
    pub is_name: bool,
    /// Said by the server alone.
    pub is_read_only: bool,
}

const fn text(name: &'static str) -> Attribute {
    of(name, Type::Text)
}

const fn of(name: &'static str, of: Type) -> Attribute {
    Attribute { name, of, is_name: false, is_read_only: false }
}

const fn name(name: &'static str) -> Attribute {
    Attribute { name, of: Type::Text, is_name: true, is_read_only: false }
}

const VALUES: &[Attribute] = &[text("value"), text("display"), text("type"), of("primary", Type::Flag)];
const NAME: &[Attribute] = &[
    text("formatted"),
    text("familyName"),
    text("givenName"),
    text("middleName"),
    text("honorificPrefix"),
    text("honorificSuffix"),
];
const ADDRESS: &[Attribute] = &[
    text("formatted"),
    text("streetAddress"),
    text("locality"),
    text("region"),
    text("postalCode"),
    text("country"),
    text("type"),
    of("primary", Type::Flag),
];
const MANAGER: &[Attribute] = &[
    text("value"),
    of("$ref", Type::Reference),
    Attribute { name: "displayName", of: Type::Text, is_name: false, is_read_only: true },
];
const OF_USER: &[Attribute] = &[
    name("userName"),
    of("name", Type::Complex(NAME)),
    text("displayName"),
    text("nickName"),
    of("profileUrl", Type::Link),
    text("title"),
    text("userType"),
    text("preferredLanguage"),
    text("locale"),
    text("timezone"),
    of("active", Type::Flag),
    of("emails", Type::List(VALUES)),
    of("phoneNumbers", Type::List(VALUES)),
    of("ims", Type::List(VALUES)),
    of("addresses", Type::List(ADDRESS)),
    of("entitlements", Type::List(VALUES)),
    of("roles", Type::List(VALUES)),
];
const OF_GROUP: &[Attribute] = &[name("displayName")];
const OF_ENTERPRISE: &[Attribute] = &[
    text("employeeNumber"),
    text("costCenter"),
    text("organization"),
    text("division"),
    text("department"),
    of("manager", Type::Complex(MANAGER)),
];
/// Of every resource (3.1), in no schema.
const EXTERNAL_ID: Attribute = text("externalId");

const fn core(kind: Kind) -> &'static [Attribute] {
    match kind {
        Kind::User => OF_USER,
        Kind::Group => OF_GROUP,
    }
}

/// An attribute of the resource itself.
pub fn of_core(kind: Kind, name: &str) -> Option<&'static Attribute> {
    if name.eq_ignore_ascii_case(EXTERNAL_ID.name) { Some(&EXTERNAL_ID) } else { named(core(kind), name) }
}

/// An attribute of the enterprise extension.
pub fn of_enterprise(kind: Kind, name: &str) -> Option<&'static Attribute> {
    if kind == Kind::User { named(OF_ENTERPRISE, name) } else { None }
}

pub fn named(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

impl Attribute {
    pub fn sub(&self, name: &str) -> Option<&'static Attribute> {
        match self.of {
            Type::Complex(subs) | Type::List(subs) => named(subs, name),
            _ => None,
        }
    }

    fn is_list(&self) -> bool {
        matches!(self.of, Type::List(_))
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "name": self.name, "multiValued": self.is_list(), "description": self.name, "required": self.is_name,
            "caseExact": matches!(self.of, Type::Link | Type::Reference),
            "mutability": if self.is_read_only { "readOnly" } else { "readWrite" }, "returned": "default",
            "uniqueness": if self.is_name { "server" } else { "none" },
        });
        let (kind, more) = match self.of {
            Type::Text => ("string", None),
            Type::Flag => ("boolean", None),
            Type::Link => ("reference", Some(("referenceTypes", json!(["external"])))),
            Type::Reference => ("reference", Some(("referenceTypes", json!(["User"])))),
            Type::Complex(subs) | Type::List(subs) => {
                ("complex", Some(("subAttributes", subs.iter().map(Self::shown).collect())))
            }
        };
        shown["type"] = kind.into();
        if let Some((name, value)) = more {
            shown[name] = value;
        }
        shown
    }
}

/// `/Schemas` (RFC 7643, 7).
pub fn schemas() -> Vec<Value> {
    let one = |id: &str, name: &str, attributes: &[Attribute]| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"], "id": id, "name": name, "description": name,
            "attributes": attributes.iter().map(Attribute::shown).collect::<Vec<_>>(),
            "meta": { "resourceType": "Schema" },
        })
    };
    vec![one(USER, "User", OF_USER), one(GROUP, "Group", OF_GROUP), one(ENTERPRISE, "EnterpriseUser", OF_ENTERPRISE)]
}

/// `/ResourceTypes` (RFC 7643, 6).
pub fn resource_types() -> Vec<Value> {
    let one = |kind: Kind, extensions: Value| {
        let mut one = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"], "id": kind.resource_type(),
            "name": kind.resource_type(), "description": kind.resource_type(), "endpoint": format!("/{}", kind.endpoint()),
            "schema": kind.schema(), "meta": { "resourceType": "ResourceType" },
        });
        one["schemaExtensions"] = extensions;
        one
    };
    vec![one(Kind::User, json!([{ "schema": ENTERPRISE, "required": false }])), one(Kind::Group, json!([]))]
}

/// `/ServiceProviderConfig` (RFC 7643, 5).
pub fn provider(results_max: usize) -> Value {
    let no = json!({ "supported": false });
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": results_max },
        "changePassword": no, "sort": no, "etag": no,
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "description": "A key of the hub", "primary": true,
        }],
        "meta": { "resourceType": "ServiceProviderConfig" },
    })
}

/// Puts the values of a resource into their types, and names into their case: `"False"` is false, a manager's id alone is
/// `{"value": …}`, one of a list is a list. What no schema here has stays as it is.
///
/// # Errors
/// The attribute that is of another type, and which.
pub fn typed(kind: Kind, resource: &mut Map<String, Value>) -> Result<(), String> {
    typed_of(resource, "", |name| of_core(kind, name))?;
    let key = resource.keys().find(|key| key.eq_ignore_ascii_case(ENTERPRISE)).cloned();
    if let (Kind::User, Some(Value::Object(mut extension))) = (kind, key.and_then(|key| resource.remove(&key))) {
        typed_of(&mut extension, "", |name| of_enterprise(kind, name))?;
        if !extension.is_empty() {
            resource.insert(ENTERPRISE.to_owned(), Value::Object(extension));
        }
    }
    Ok(())
}

fn typed_of(
    object: &mut Map<String, Value>,
    within: &str,
    find: impl Fn(&str) -> Option<&'static Attribute>,
) -> Result<(), String> {
    for (key, value) in std::mem::take(object) {
        match find(&key) {
            None => drop(object.insert(key, value)),
            Some(attribute) if attribute.is_read_only => {}
            Some(attribute) => {
                let refuse = |what: &str| format!("{within}{} is no {what}", attribute.name);
                if let Some(value) = value_of(attribute, value, within).map_err(|what| refuse(&what))? {
                    object.insert(attribute.name.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

/// Nothing for what is empty.
fn value_of(attribute: &Attribute, value: Value, within: &str) -> Result<Option<Value>, String> {
    match (attribute.of, value) {
        (_, Value::Null) => Ok(None),
        (Type::List(_), Value::Array(values)) => {
            let one = |value| complex(attribute, value, within);
            let values: Vec<Value> =
                values.into_iter().map(one).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
            Ok((!values.is_empty()).then_some(Value::Array(values)))
        }
        (Type::List(_), value) => Ok(complex(attribute, value, within)?.map(|value| json!([value]))),
        (Type::Complex(_), Value::Array(values)) => match <[Value; 1]>::try_from(values) {
            Ok([value]) => complex(attribute, value, within),
            Err(values) if values.is_empty() => Ok(None),
            Err(_) => Err("single value".to_owned()),
        },
        (Type::Complex(_), value) => complex(attribute, value, within),
        (simple, value) => scalar(simple, value),
    }
}

fn complex(attribute: &Attribute, value: Value, within: &str) -> Result<Option<Value>, String> {
    let mut object = match value {
        Value::Null => return Ok(None),
        Value::Object(object) => object,
        value if attribute.sub("value").is_some() => match scalar(Type::Text, value)? {
            Some(value) if value != "" => Map::from_iter([("value".to_owned(), value)]),
            _ => return Ok(None),
        },
        _ => return Err("object".to_owned()),
    };
    typed_of(&mut object, &format!("{within}{}.", attribute.name), |name| attribute.sub(name))?;
    Ok((!object.is_empty()).then_some(Value::Object(object)))
}

fn scalar(simple: Type, value: Value) -> Result<Option<Value>, String> {
    match (simple, value) {
        (_, Value::Null) => Ok(None),
        // Entra writes single values as a list of one.
        (simple, Value::Array(values)) => match <[Value; 1]>::try_from(values) {
            Ok([value]) => scalar(simple, value),
            Err(_) => Err("single value".to_owned()),
        },
        (simple, Value::Object(object)) => match get(&object, "value") {
            Some(value) if !value.is_object() && !value.is_array() => scalar(simple, value.clone()),
            _ => Err("single value".to_owned()),
        },
        (Type::Flag, Value::Bool(flag)) => Ok(Some(flag.into())),
        (Type::Flag, Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true.into())),
        (Type::Flag, Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false.into())),
        (Type::Flag, _) => Err("boolean".to_owned()),
        (_, Value::String(text)) => Ok(Some(text.into())),
        (_, Value::Number(number)) => Ok(Some(number.to_string().into())),
        _ => Err("text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_their_types() {
        for (sent, expected) in [
            (json!({"active": "False"}), json!({"active": false})),
            (json!({"ACTIVE": [{"value": "True"}]}), json!({"active": true})),
            (json!({"title": 7, "nickName": null}), json!({"title": "7"})),
            (json!({"emails": "a@b"}), json!({"emails": [{"value": "a@b"}]})),
            (
                json!({"emails": {"value": "a@b", "primary": "true"}}),
                json!({"emails": [{"value": "a@b", "primary": true}]}),
            ),
            (json!({"name": {"givenname": "A"}}), json!({"name": {"givenName": "A"}})),
            (json!({ENTERPRISE: {"manager": "7"}}), json!({ENTERPRISE: {"manager": {"value": "7"}}})),
            (
                json!({ENTERPRISE: {"manager": [{"value": "7", "displayName": "B"}]}}),
                json!({ENTERPRISE: {"manager": {"value": "7"}}}),
            ),
            (
                json!({ENTERPRISE: {"manager": "", "employeeNumber": 56789}}),
                json!({ENTERPRISE: {"employeeNumber": "56789"}}),
            ),
            (json!({"unknown": [1]}), json!({"unknown": [1]})),
        ] {
            let mut resource = sent.as_object().unwrap().clone();
            typed(Kind::User, &mut resource).unwrap();
            assert_eq!(Value::Object(resource), expected, "{sent}");
        }
        for sent in [
            json!({"active": "maybe"}),
            json!({"active": 1}),
            json!({"title": {"x": 1}}),
            json!({"title": true}),
            json!({"name": "A B"}),
            json!({ENTERPRISE: {"manager": [{"value": "1"}, {"value": "2"}]}}),
            json!({"emails": [{"primary": "no"}]}),
        ] {
            assert!(typed(Kind::User, &mut sent.as_object().unwrap().clone()).is_err(), "{sent}");
        }
    }
}

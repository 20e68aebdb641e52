//! The system's settings, as in `config.schema.json`.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::account;
use crate::dn::Dn;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawSettings {
    base: String,
    employee_classes: Vec<String>,
    unit_classes: Vec<String>,
    skipped_classes: Vec<String>,
    disabled: String,
    country_code: String,
    employee_attributes: EmployeeAttributes,
    unit_attributes: UnitAttributes,
}

impl Default for RawSettings {
    fn default() -> Self {
        Self {
            base: String::new(),
            employee_classes: names(&["person", "organizationalPerson", "inetOrgPerson", "user"]),
            unit_classes: names(&["organizationalUnit", "organization"]),
            skipped_classes: names(&["computer", "contact"]),
            disabled: "suspended".to_owned(),
            country_code: "7".to_owned(),
            employee_attributes: EmployeeAttributes::default(),
            unit_attributes: UnitAttributes::default(),
        }
    }
}

/// For each field the attributes it is taken from; the first that an entry has counts.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EmployeeAttributes {
    pub id: Vec<String>,
    pub personnel_number: Vec<String>,
    pub login: Vec<String>,
    pub name: Vec<String>,
    pub unit: Vec<String>,
    pub position: Vec<String>,
    pub manager: Vec<String>,
    pub phone: Vec<String>,
    pub extension: Vec<String>,
    pub email: Vec<String>,
    pub hired_on: Vec<String>,
    pub left_on: Vec<String>,
    pub changed_at: Vec<String>,
}

impl Default for EmployeeAttributes {
    fn default() -> Self {
        Self {
            id: names(&["uid", "sAMAccountName"]),
            personnel_number: names(&["employeeNumber", "employeeID"]),
            login: names(&["uid", "sAMAccountName"]),
            name: names(&["displayName", "cn"]),
            unit: Vec::new(),
            position: names(&["title"]),
            manager: names(&["manager"]),
            phone: names(&["telephoneNumber"]),
            extension: names(&["ipPhone"]),
            email: names(&["mail"]),
            hired_on: Vec::new(),
            left_on: Vec::new(),
            changed_at: names(&["modifyTimestamp", "whenChanged"]),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct UnitAttributes {
    pub id: Vec<String>,
    pub name: Vec<String>,
    pub head: Vec<String>,
    pub code: Vec<String>,
    pub address: Vec<String>,
    pub phone: Vec<String>,
    pub changed_at: Vec<String>,
}

impl Default for UnitAttributes {
    fn default() -> Self {
        Self {
            id: Vec::new(),
            name: names(&["ou", "o"]),
            head: names(&["managedBy"]),
            code: Vec::new(),
            address: Vec::new(),
            phone: names(&["telephoneNumber"]),
            changed_at: names(&["modifyTimestamp", "whenChanged"]),
        }
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The settings with all names in lower case.
pub struct Settings {
    pub base: Dn,
    pub employee_classes: Vec<String>,
    pub unit_classes: Vec<String>,
    pub skipped_classes: Vec<String>,
    pub disabled: String,
    pub country_code: String,
    pub employee: EmployeeAttributes,
    pub unit: UnitAttributes,
    wanted: BTreeSet<String>,
}

impl Settings {
    pub fn of(raw: RawSettings) -> Self {
        let RawSettings { mut employee_attributes, mut unit_attributes, .. } = raw;
        let e = &mut employee_attributes;
        let u = &mut unit_attributes;
        let lists = [
            &mut e.id,
            &mut e.personnel_number,
            &mut e.login,
            &mut e.name,
            &mut e.unit,
            &mut e.position,
            &mut e.manager,
            &mut e.phone,
            &mut e.extension,
            &mut e.email,
            &mut e.hired_on,
            &mut e.left_on,
            &mut e.changed_at,
            &mut u.id,
            &mut u.name,
            &mut u.head,
            &mut u.code,
            &mut u.address,
            &mut u.phone,
            &mut u.changed_at,
        ];
        let mut wanted: BTreeSet<String> = account::signs().map(str::to_owned).collect();
        for list in lists {
            list.iter_mut().for_each(|name| *name = name.to_ascii_lowercase());
            wanted.extend(list.iter().cloned());
        }
        let lower = |classes: Vec<String>| classes.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self {
            base: Dn::parse(&raw.base),
            employee_classes: lower(raw.employee_classes),
            unit_classes: lower(raw.unit_classes),
            skipped_classes: lower(raw.skipped_classes),
            disabled: raw.disabled,
            country_code: raw.country_code,
            employee: employee_attributes,
            unit: unit_attributes,
            wanted,
        }
    }

    pub fn wants(&self, attribute: &str) -> bool {
        self.wanted.contains(attribute) || account::is_sign(attribute)
    }
}

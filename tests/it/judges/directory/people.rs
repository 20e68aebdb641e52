//! Units and people that are made up, and what the README of ldif says must be stated of them.

use super::texts::{relative, unique};
use super::{Dice, texts};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What tells a directory of the account, by the directory's own means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    Usual,
    /// Switched off by a person.
    Disabled,
    EndsLater,
    Ended,
    BeganBefore,
    BeginsLater,
    /// After wrong passwords.
    Locked,
}

impl Account {
    fn status(self) -> &'static str {
        match self {
            Self::Usual | Self::EndsLater | Self::BeganBefore => "active",
            Self::Disabled | Self::Ended | Self::BeginsLater => "suspended",
            Self::Locked => "unknown",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Unit {
    pub name: String,
    pub parent: Option<usize>,
    pub address: Vec<String>,
    pub phone: Option<Phone>,
    pub head: Option<usize>,
    pub dn: String,
}

#[derive(Clone, Debug)]
pub struct Person {
    pub login: String,
    pub common: String,
    pub display: Option<String>,
    pub titles: Vec<String>,
    pub mails: Vec<String>,
    pub phone: Option<Phone>,
    pub extension: Option<String>,
    pub number: Option<String>,
    pub manager: Option<usize>,
    pub unit: usize,
    pub account: Account,
    /// Attributes that say something of the account.
    pub signs: Vec<&'static str>,
    pub dn: String,
}

pub struct Staff {
    pub units: Vec<Unit>,
    pub people: Vec<Person>,
}

/// What the directory takes.
pub struct Bounds {
    pub base: &'static str,
    pub login: fn(&mut Dice, usize) -> String,
    pub common_chars: usize,
    pub title_chars: usize,
    /// More than one value of a title or an address of mail.
    pub is_multiple: bool,
    pub accounts: &'static [Account],
}

/// A number as people write it, and what it is.
#[derive(Clone, Copy, Debug)]
pub struct Phone {
    pub text: &'static str,
    number: Option<&'static str>,
    extension: Option<&'static str>,
}

pub fn phone(dice: &mut Dice) -> Option<Phone> {
    let (text, number, extension) = dice.of(&[
        ("+7 (495) 555-01-01", Some("+74955550101"), None),
        ("8 495 5550102", Some("+74955550102"), None),
        ("4955550103", Some("+74955550103"), None),
        ("+1 555 0100104", Some("+15550100104"), None),
        ("+7 495 555-01-05 x17", Some("+74955550105"), Some("17")),
        ("8 (495) 5550106, ext. 1800", Some("+74955550106"), Some("1800")),
        ("1407", None, Some("1407")),
    ]);
    (!dice.one_in(4)).then_some(Phone { text, number, extension })
}

impl Staff {
    pub fn made_up(dice: &mut Dice, bounds: &Bounds, units: usize, people: usize) -> Self {
        let mut staff = Self { units: Vec::new(), people: Vec::new() };
        for number in 0..units {
            let parent = (number > 0 && dice.one_in(2)).then(|| dice.below(number as u64) as usize);
            let name = unique(dice, number, 60);
            let above = parent.map_or(bounds.base.to_string(), |parent| staff.units[parent].dn.clone());
            let dn = format!("{},{above}", relative("ou", &name));
            let address = (0..dice.below(4)).map(|_| texts::text(dice, 40)).collect();
            let head = dice.one_in(2).then(|| dice.below(people as u64) as usize);
            staff.units.push(Unit { name, parent, address, phone: phone(dice), head, dn });
        }
        for number in 0..people {
            let person = staff.person(dice, bounds, number, people);
            staff.people.push(person);
        }
        staff
    }

    fn person(&self, dice: &mut Dice, bounds: &Bounds, number: usize, people: usize) -> Person {
        let unit = dice.below(self.units.len() as u64) as usize;
        let (login, common) = ((bounds.login)(dice, number), unique(dice, number, bounds.common_chars));
        let rdn = match dice.below(4) {
            0 if bounds.is_multiple => relative("uid", &login),
            1 if bounds.is_multiple => format!("{}+{}", relative("cn", &common), relative("uid", &login)),
            _ => relative("cn", &common),
        };
        let many = if bounds.is_multiple { 4 } else { 2 };
        let titles = (0..dice.below(many)).map(|other| unique(dice, other as usize, bounds.title_chars)).collect();
        Person {
            display: dice.one_in(2).then(|| texts::text(dice, 150)),
            mails: (0..dice.below(many)).map(|other| format!("a{number}-{other}@energo.example")).collect(),
            phone: phone(dice),
            extension: dice.one_in(3).then(|| format!("{}", 2000 + number)),
            number: dice.one_in(2).then(|| format!("{number:07}")),
            manager: (!dice.one_in(3)).then(|| dice.below(people as u64) as usize),
            account: dice.of(bounds.accounts),
            signs: Vec::new(),
            dn: format!("{rdn},{}", self.units[unit].dn),
            login,
            common,
            titles,
            unit,
        }
    }

    /// The unit that all others are below is one of them.
    pub fn rooted(&mut self, name: &str) {
        let root = self.units.len();
        self.units.iter_mut().filter(|unit| unit.parent.is_none()).for_each(|unit| unit.parent = Some(root));
        let dn = self.units[0].dn.split_once(',').unwrap().1.to_string();
        let (name, address) = (name.to_string(), Vec::new());
        self.units.push(Unit { name, parent: None, address, phone: None, head: None, dn });
    }

    /// By login and by the units' names.
    pub fn expected(&self) -> BTreeMap<String, Value> {
        let units = self.units.iter().map(|unit| self.expected_unit(unit));
        units.chain(self.people.iter().map(|person| self.expected_person(person))).collect()
    }

    fn expected_unit(&self, unit: &Unit) -> (String, Value) {
        let name = unit.name.trim();
        let mut data = json!({ "unit": name, "name": name, "status": "active" });
        if let Some(parent) = unit.parent {
            data["parent"] = self.units[parent].name.trim().into();
        }
        if let Some(head) = unit.head {
            data["head"] = self.people[head].login.trim().into();
        }
        if !unit.address.is_empty() {
            data["address"] = json!({ "text": unit.address.join(", ").trim() });
        }
        if let Some(number) = unit.phone.and_then(|phone| phone.number) {
            data["phone"] = number.into();
        }
        (name.to_string(), data)
    }

    fn expected_person(&self, person: &Person) -> (String, Value) {
        let login = person.login.trim();
        let name = person.display.as_ref().unwrap_or(&person.common).trim();
        let mut data = json!({ "employee": login, "login": login, "name": name, "status": person.account.status() });
        data["unit"] = self.units[person.unit].name.trim().into();
        if let Some(title) = person.titles.first() {
            data["position"] = title.trim().into();
        }
        if let Some(mail) = person.mails.first() {
            data["email"] = mail.as_str().into();
        }
        if let Some(number) = person.phone.and_then(|phone| phone.number) {
            data["phone"] = number.into();
        }
        let of_phone = person.phone.and_then(|phone| phone.extension);
        if let Some(extension) = person.extension.as_deref().or(of_phone) {
            data["extension"] = extension.into();
        }
        if let Some(number) = &person.number {
            data["personnelNumber"] = number.as_str().into();
        }
        if let Some(manager) = person.manager {
            data["manager"] = self.people[manager].login.trim().into();
        }
        (login.to_string(), data)
    }
}

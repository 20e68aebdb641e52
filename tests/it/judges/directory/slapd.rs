//! OpenLDAP's slapd with a folder and a socket of its own.

use super::people::{Account, Bounds, Person, Staff, Unit};
use super::texts::{line, respelled, text, unique};
use super::{Dice, Export, said};
use crate::servers::Server;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

const BASE: &str = "dc=energo,dc=example";
const ADMIN: &str = "cn=admin,dc=energo,dc=example";
const UNITS: usize = 12;
const PEOPLE: usize = 80;

const BOUNDS: Bounds = Bounds {
    base: BASE,
    login: |dice, number| if dice.one_in(3) { unique(dice, number, 30) } else { format!("u{number:03}") },
    common_chars: 60,
    title_chars: 290,
    is_multiple: true,
    accounts: &[
        Account::Usual,
        Account::Usual,
        Account::Usual,
        Account::Disabled,
        Account::EndsLater,
        Account::Ended,
        Account::BeganBefore,
        Account::BeginsLater,
        Account::Locked,
    ],
};

/// Employees by their logins, and by names of entries alone; the address, the head and the extension are where OpenLDAP's schemas
/// have a place.
pub fn configs() -> [Value; 2] {
    let unit = json!({ "address": ["postalAddress"], "head": ["seeAlso"] });
    let employee = |id: &[&str]| json!({ "id": id, "extension": ["pager"] });
    [
        json!({ "unit-attributes": unit, "employee-attributes": employee(&["uid"]) }),
        json!({ "unit-attributes": unit, "employee-attributes": employee(&[]), "base": "DC=energo, dc=EXAMPLE" }),
    ]
}

pub struct Slapd {
    server: Server,
    pub version: String,
}

fn conf(folder: &Path) -> String {
    let schemas = ["core", "cosine", "inetorgperson"].map(|name| format!("include /etc/ldap/schema/{name}.schema\n"));
    let schemas = schemas.concat();
    let folder = folder.display();
    format!(
        "{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload auditlog
database mdb
maxsize 1073741824
suffix \"{BASE}\"
rootdn \"{ADMIN}\"
rootpw invented
directory {folder}/db
dbnosync
overlay ppolicy
ppolicy_default \"cn=policy,{BASE}\"
overlay auditlog
auditlog {folder}/audit.ldif
"
    )
}

impl Slapd {
    pub fn start() -> Option<Self> {
        let program = Path::new("/usr/sbin/slapd");
        if !program.exists() || Command::new("ldapsearch").arg("-VV").output().is_err() {
            println!("NOT CHECKED: no slapd here (Debian's packages slapd and ldap-utils)");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("busbar-slapd-").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("db")).unwrap();
        std::fs::write(folder.path().join("slapd.conf"), conf(folder.path())).unwrap();
        let conf = folder.path().join("slapd.conf").display().to_string();
        let url = format!("ldapi://{}", folder.path().join("ldapi").display().to_string().replace('/', "%2F"));
        let command = ["/usr/sbin/slapd", "-d", "0", "-f", &conf, "-h", &url].map(String::from).to_vec();
        let is_ready = |server: &Server| UnixStream::connect(server.path("ldapi")).is_ok();
        let server = Server::kept(url, folder, command, is_ready);
        let told = Command::new(program).arg("-VV").output().unwrap().stderr;
        let told = String::from_utf8_lossy(&told).into_owned();
        let version = told.split("slapd ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("?");
        Some(Self { server, version: format!("Debian slapd {version}") })
    }

    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.args(["-x", "-H", &self.server.url, "-D", ADMIN, "-w", "invented"]);
        command
    }

    /// Has records of LDIF carried out.
    pub fn modify(&self, records: &str) {
        said(self.client("ldapmodify").args(["-e", "relax"]), records.as_bytes());
    }

    /// All that was changed, as slapd itself writes it down.
    pub fn audit(&self) -> Vec<u8> {
        std::fs::read(self.server.path("audit.ldif")).unwrap_or_default()
    }

    /// All that a search prints; where it is cut off, `ldapsearch` says so in its end.
    pub fn cut_off(&self) -> Vec<u8> {
        self.client("ldapsearch").args(["-z", "10", "-b", BASE]).output().unwrap().stdout
    }

    pub fn exports(&self) -> [Export; 5] {
        let search = |options: &[&str]| {
            let mut command = self.client("ldapsearch");
            said(command.args(options).args(["-b", BASE, "*", "+"]), b"")
        };
        [
            ("slapcat", self.slapcat()),
            ("ldapsearch", search(&[])),
            ("ldapsearch -E pr=20/noprompt", search(&["-E", "pr=20/noprompt"])),
            ("ldapsearch -LLL", search(&["-LLL"])),
            ("ldapsearch -L -o ldif-wrap=no", search(&["-L", "-o", "ldif-wrap=no"])),
        ]
    }

    pub fn slapcat(&self) -> Vec<u8> {
        said(Command::new("/usr/sbin/slapcat").arg("-f").arg(self.server.path("slapd.conf")), b"")
    }

    pub fn filled(&self, dice: &mut Dice) -> Staff {
        let mut staff = Staff::made_up(dice, &BOUNDS, UNITS, PEOPLE);
        for person in &mut staff.people {
            let sign = if person.account == Account::Locked { sign(Account::Disabled) } else { sign(person.account) };
            person.signs = sign.split(':').next().into_iter().filter(|name| !name.is_empty()).collect();
        }
        let mut records = format!(
            "dn: {BASE}\nchangetype: add\nobjectClass: domain\ndc: energo\n\n\
             dn: cn=policy,{BASE}\nchangetype: add\nobjectClass: device\nobjectClass: pwdPolicy\n\
             pwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 2\n\n"
        );
        staff.units.iter().for_each(|unit| records.push_str(&self.unit(dice, &staff, unit)));
        staff.people.iter().for_each(|person| records.push_str(&self.person(dice, &staff, person)));
        self.modify(&records);
        for person in staff.people.iter().filter(|person| person.account == Account::Locked) {
            for _ in 0..3 {
                let mut wrong = Command::new("ldapwhoami");
                wrong.args(["-x", "-H", &self.server.url, "-D", &person.dn, "-w", "wrong"]);
                assert!(!wrong.output().unwrap().status.success());
            }
        }
        staff
    }

    fn unit(&self, dice: &mut Dice, staff: &Staff, unit: &Unit) -> String {
        let mut record = line("dn", &unit.dn) + "changetype: add\nobjectClass: organizationalUnit\n";
        record.push_str(&line("ou", &unit.name));
        if dice.one_in(3) {
            record.push_str(&line("ou", &another(&unit.name)));
        }
        if !unit.address.is_empty() {
            // RFC 4517, 3.3.28: a dollar sign between the lines, in a line it and the backslash in hexadecimal.
            let lines = unit.address.iter().map(|line| line.replace('\\', "\\5C").replace('$', "\\24"));
            record.push_str(&line("postalAddress", &lines.collect::<Vec<_>>().join("$")));
        }
        if unit.address.is_empty() && dice.one_in(2) {
            record.push_str("postalAddress:\nseeAlso:\n");
        }
        if let Some(phone) = &unit.phone {
            record.push_str(&line("telephoneNumber", phone.text));
        }
        if let Some(head) = unit.head {
            record.push_str(&line("seeAlso", &respelled(dice, &staff.people[head].dn)));
        }
        record + "\n"
    }

    fn person(&self, dice: &mut Dice, staff: &Staff, person: &Person) -> String {
        let mut record = line("dn", &person.dn) + "changetype: add\nobjectClass: inetOrgPerson\nsn: x\n";
        let mut put = |attribute: &str, values: &[String]| {
            values.iter().for_each(|value| record.push_str(&line(attribute, value)));
        };
        put("uid", std::slice::from_ref(&person.login));
        put("cn", std::slice::from_ref(&person.common));
        put("displayName", person.display.as_slice());
        put("title", &person.titles);
        put("mail", &person.mails);
        put("employeeNumber", person.number.as_slice());
        put("userPassword", &["invented".to_string()]);
        put("telephoneNumber", &person.phone.iter().map(|phone| phone.text.to_string()).collect::<Vec<_>>());
        put("pager", person.extension.as_slice());
        if let Some(manager) = person.manager {
            put("manager", &[respelled(dice, &staff.people[manager].dn)]);
        }
        if dice.one_in(4) {
            put("title;lang-en", &[text(dice, 40)]);
            put("jpegPhoto", &[text(dice, 400)]);
            put("description", &[text(dice, 300) + "\n" + &text(dice, 300)]);
            // Of these syntaxes a value may be empty; it is none.
            record.push_str("mail:\nhomePostalAddress:\n");
            record.push_str(if person.manager.is_none() { "manager:\n" } else { "" });
        }
        record + sign(person.account) + "\n"
    }
}

/// A second name of a unit.
pub fn another(name: &str) -> String {
    format!("another {}", name.trim())
}

/// slapo-ppolicy(5). The moments are years away from now.
pub fn sign(account: Account) -> &'static str {
    match account {
        Account::Usual | Account::Locked => "",
        Account::Disabled => "pwdAccountLockedTime: 000001010000Z\n",
        Account::EndsLater => "pwdEndTime: 20990101000000Z\n",
        Account::Ended => "pwdEndTime: 20200101000000Z\n",
        Account::BeganBefore => "pwdStartTime: 20200101000000Z\n",
        Account::BeginsLater => "pwdStartTime: 20990101000000Z\n",
    }
}

//! A Samba domain, an Active Directory, in a folder of its own; its LDAP server at an address of its own, as the port cannot be
//! chosen.

use super::people::{Account, Bounds, Person, Staff};
use super::texts::{line, relative, respelled, text, unique};
use super::{Dice, Export, Reader, latest, said};
use crate::servers::Server;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

const BASE: &str = "DC=energo,DC=example";
const TOP: &str = "OU=Energo,DC=energo,DC=example";
const PASSWORD: &str = "Inv3nted-pass!";
const UNITS: usize = 10;
const PEOPLE: usize = 60;
/// Requested by name: it is computed ([MS-ADTS] 3.1.1.4.5.17).
const COMPUTED: &str = "msDS-User-Account-Control-Computed";

const BOUNDS: Bounds = Bounds {
    base: TOP,
    login: |dice, number| format!("{}{number:03}", dice.of(&["u", "И.Петров ", "o'neil-"])),
    common_chars: 50,
    title_chars: 110,
    is_multiple: false,
    accounts: &[
        Account::Usual,
        Account::Usual,
        Account::Usual,
        Account::Disabled,
        Account::EndsLater,
        Account::Ended,
        Account::Locked,
    ],
};

/// Entries by login, by GUID and by SID; units by GUID too, and by their names.
pub fn configs() -> [Value; 3] {
    let unit = json!({ "address": ["postalAddress"] });
    let by_guid = json!({ "address": ["postalAddress"], "id": ["objectGUID"] });
    let base = "ou=energo, dc=Energo,dc=example";
    [
        json!({ "base": base, "unit-attributes": unit }),
        json!({ "base": base, "unit-attributes": by_guid, "employee-attributes": { "id": ["objectGUID"] } }),
        json!({ "base": base, "unit-attributes": unit, "employee-attributes": { "id": ["objectSid"] } }),
    ]
}

pub struct Samba {
    server: Server,
    pub version: String,
}

fn is_here() -> bool {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    let is_here =
        ["samba", "samba-tool", "ldbsearch"].into_iter().all(has) && Path::new("/usr/share/samba/setup").exists();
    if !(is_root && is_here) {
        println!(
            "NOT CHECKED: no Samba here (Debian's packages samba-ad-dc, samba-ad-provision, ldb-tools), or not root"
        );
    }
    is_root && is_here
}

impl Samba {
    pub fn start() -> Option<Self> {
        if !is_here() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("busbar-samba-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut provision = Command::new("samba-tool");
        provision.args(["domain", "provision", "--realm=ENERGO.EXAMPLE", "--domain=ENERGO", "--server-role=dc"]);
        provision.args(["--dns-backend=NONE", "--host-name=dc1", "--host-ip=127.0.0.1"]);
        provision.arg(format!("--adminpass={PASSWORD}")).arg(format!("--targetdir={}", folder.path().display()));
        said(&mut provision, b"");
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let process = std::process::id();
        let address = format!("127.{}.{}.{}", 64 + process / 65_536 % 64, process / 256 % 256, 1 + process % 254);
        let mut command = ["samba", "-i", "-M", "single", "-s", &at("etc/smb.conf")].map(String::from).to_vec();
        let options = [
            ("server services", "ldap".into()),
            ("interfaces", format!("{address}/8")),
            ("bind interfaces only", "yes".into()),
            ("ldap server require strong auth", "no".into()),
            ("tls enabled", "no".into()),
            ("pid directory", at("run")),
            ("ncalrpc dir", at("run/ncalrpc")),
            ("log file", at("run/log")),
        ];
        command.extend(options.map(|(name, value)| format!("--option={name}={value}")));
        let is_ready = |server: &Server| {
            let address = server.url.strip_prefix("ldap://").unwrap();
            TcpStream::connect((address, 389)).is_ok()
        };
        let server = Server::kept(format!("ldap://{address}"), folder, command, is_ready);
        let told = String::from_utf8(said(Command::new("samba").arg("--version"), b"")).unwrap();
        Some(Self { server, version: format!("Debian samba {}", told.trim().trim_start_matches("Version ")) })
    }

    fn ldb(&self) -> PathBuf {
        self.server.path("private/sam.ldb")
    }

    /// As the directory itself, past its access control.
    fn modify(&self, records: &str) {
        said(Command::new("ldbmodify").arg("-H").arg(self.ldb()), records.as_bytes());
    }

    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.args(["-x", "-H", &self.server.url, "-D", "administrator@energo.example", "-w", PASSWORD]);
        command
    }

    pub fn exports(&self) -> [Export; 8] {
        let ldb = |options: &[&str], asked: &[&str]| {
            let mut command = Command::new("ldbsearch");
            said(
                command.arg("-H").arg(self.ldb()).args(["-b", BASE]).args(options).arg("(objectClass=*)").args(asked),
                b"",
            )
        };
        let search = |options: &[&str]| {
            let mut command = self.client("ldapsearch");
            said(command.args(options).args(["-b", BASE, "(objectClass=*)", "*", COMPUTED]), b"")
        };
        [
            ("ldbsearch", ldb(&[], &["*", COMPUTED])),
            ("ldbsearch without what is computed", ldb(&[], &[])),
            ("ldbsearch --extended-dn", ldb(&["--extended-dn"], &["*", COMPUTED])),
            ("ldbsearch --show-binary --show-deleted", ldb(&["--show-binary", "--show-deleted"], &["*", COMPUTED])),
            ("ldapsearch", search(&[])),
            ("ldapsearch -E pr=20/noprompt", search(&["-E", "pr=20/noprompt"])),
            ("ldapsearch -LLL", search(&["-LLL"])),
            ("ldapsearch -L -o ldif-wrap=no", search(&["-L", "-o", "ldif-wrap=no"])),
        ]
    }

    pub fn filled(&self, dice: &mut Dice) -> Staff {
        let mut staff = Staff::made_up(dice, &BOUNDS, UNITS, PEOPLE);
        // The head of a unit is there before the unit is said to have one; so are managers.
        let mut records = format!(
            "dn: {BASE}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: 2\n-\n\n\
             dn: {TOP}\nchangetype: add\nobjectClass: organizationalUnit\n\n"
        );
        for unit in &staff.units {
            records.push_str(&(line("dn", &unit.dn) + "changetype: add\nobjectClass: organizationalUnit\n"));
            if !unit.address.is_empty() {
                let lines = unit.address.iter().map(|line| line.replace('\\', "\\5C").replace('$', "\\24"));
                records.push_str(&line("postalAddress", &lines.collect::<Vec<_>>().join("$")));
            }
            if let Some(phone) = &unit.phone {
                records.push_str(&line("telephoneNumber", phone.text));
            }
            records.push('\n');
        }
        staff.people.iter().for_each(|person| records.push_str(&entry(dice, person)));
        let linked = |dn: &str, attribute: &str, other: &str| {
            format!("{}changetype: modify\nadd: {attribute}\n{}-\n\n", line("dn", dn), line(attribute, other))
        };
        for person in &staff.people {
            let manager = person.manager.map(|manager| respelled(dice, &staff.people[manager].dn));
            records.extend(manager.map(|manager| linked(&person.dn, "manager", &manager)));
        }
        for unit in &staff.units {
            let head = unit.head.map(|head| respelled(dice, &staff.people[head].dn));
            records.extend(head.map(|head| linked(&unit.dn, "managedBy", &head)));
        }
        let gone = format!("{},{TOP}", relative("CN", "Gone"));
        records.push_str(&format!("dn: {gone}\nchangetype: add\nobjectClass: user\nsAMAccountName: gone\n\n"));
        self.modify(&records);
        said(Command::new("ldbdel").arg("-H").arg(self.ldb()).arg(&gone), b"");
        for person in staff.people.iter().filter(|person| person.account == Account::Locked) {
            for _ in 0..3 {
                let mut wrong = Command::new("ldapwhoami");
                wrong.args(["-x", "-H", &self.server.url, "-D", &person.dn, "-w", "wrong"]);
                assert!(!wrong.output().unwrap().status.success());
            }
        }
        // The unit at the top is one, too.
        staff.rooted("Energo");
        staff
    }
}

fn entry(dice: &mut Dice, person: &Person) -> String {
    let mut record = line("dn", &person.dn) + "changetype: add\nobjectClass: user\n";
    let mut put = |attribute: &str, value: Option<&String>| record.extend(value.map(|value| line(attribute, value)));
    put("sAMAccountName", Some(&person.login));
    put("displayName", person.display.as_ref());
    put("title", person.titles.first());
    put("mail", person.mails.first());
    put("employeeID", person.number.as_ref());
    put("telephoneNumber", person.phone.map(|phone| phone.text.to_string()).as_ref());
    put("ipPhone", person.extension.as_ref());
    if dice.one_in(4) {
        put("description", Some(&text(dice, 300)));
        put("jpegPhoto", Some(&text(dice, 400)));
    }
    // Bits of [MS-ADTS] 2.2.16: a normal account, no password required; disabled; its password never expires.
    let bits = match person.account {
        Account::Disabled => dice.of(&["546", "66082"]),
        _ => dice.of(&["544", "66080"]),
    };
    // 100 ns since 1601: 2019, 2080, and the two ways to say never.
    let ends = match person.account {
        Account::Ended => "132000000000000000",
        Account::EndsLater => "151272576000000000",
        _ => dice.of(&["0", "9223372036854775807"]),
    };
    record + &format!("userAccountControl: {bits}\naccountExpires: {ends}\n\n")
}

/// People get other names and go to other units: by GUID they stay whom they are, and only where they are is news.
pub async fn renamed(samba: &Samba, staff: &mut Staff, dice: &mut Dice, differences: &mut Vec<String>) -> usize {
    let config = &configs()[1];
    let mut reader = Reader::new(config);
    reader.read("ldbsearch", &samba.exports()[0].1).await;
    let before = latest(&reader.known);
    for number in 0..10 {
        let unit = dice.below(staff.units.len() as u64) as usize;
        let above = staff.units[unit].dn.clone();
        let person = &mut staff.people[number];
        person.common = unique(dice, 500 + number, 50);
        let dn = format!("{},{above}", relative("CN", &person.common));
        said(Command::new("ldbrename").arg("-H").arg(samba.ldb()).args([&person.dn, &dn]), b"");
        (person.unit, person.dn) = (unit, dn);
    }
    let exports = samba.exports();
    let cases = super::exports_judged(staff, config, &exports, differences).await;
    let shown = reader.read("ldbsearch", &exports[0].1).await;
    let news = latest(shown["messages"].as_array().unwrap());
    for (id, mut data) in news.clone() {
        let Some(mut old) = before.get(&id).cloned() else {
            differences.push(format!("somebody new after a renaming: {data}"));
            continue;
        };
        for data in [&mut data, &mut old] {
            data.as_object_mut().unwrap().retain(|field, _| field != "unit" && field != "name");
        }
        if data != old {
            differences.push(format!("after a renaming: {data}, before it {old}"));
        }
    }
    assert!(!news.is_empty());
    cases + news.len()
}

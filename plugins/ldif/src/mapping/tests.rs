use std::collections::BTreeMap;

use busbar_sdk::TestHub;

use super::*;

#[derive(Default)]
struct Fake(TestHub);

impl Fake {
    /// Decodes a file, and commits what it gave as the hub does.
    fn file(&mut self, config: &str, bytes: &[u8]) -> Result<Vec<Draft>, Rejection> {
        let settings = Settings::of(busbar_sdk::parse_settings(config).unwrap());
        let mut rest = bytes;
        let mut lines = Lines::new(|max| {
            let (now, later) = rest.split_at(rest.len().min(max as usize));
            rest = later;
            now.to_vec()
        });
        let before = self.0.store.clone();
        (self.0.drafts, self.0.left_out) = Default::default();
        decode(&settings, &mut lines, &mut self.0).inspect_err(|_| self.0.store = before)?;
        self.0.commit();
        Ok(std::mem::take(&mut self.0.drafts))
    }

    fn data(&mut self, text: &str) -> Vec<Json> {
        let drafts = self.file("{}", text.as_bytes()).unwrap();
        drafts.iter().map(|draft| serde_json::from_str(&draft.data).unwrap()).collect()
    }
}

const ILINA: &str = "dn: uid=ilina,ou=people,dc=org\nobjectClass: inetOrgPerson\nuid: ilina\ncn: Ilina Olga\n";

#[test]
fn there_and_back_again_is_three_statements() {
    let mut hub = Fake::default();
    let other = ILINA.replace("Ilina Olga", "Petrova Olga");
    let mut ids = BTreeSet::new();
    for (text, news) in [(ILINA, 1), (ILINA, 0), (&other, 1), (&other, 0), (ILINA, 1), (ILINA, 0)] {
        let drafts = hub.file("{}", text.as_bytes()).unwrap();
        assert_eq!(drafts.len(), news);
        ids.extend(drafts.into_iter().map(|draft| draft.id));
    }
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_touched_entry_is_no_news() {
    let mut hub = Fake::default();
    let touched = |second: u32| format!("{ILINA}modifyTimestamp: 202611221011{second:02}Z\n");
    let drafts = hub.file("{}", touched(1).as_bytes()).unwrap();
    assert_eq!(drafts[0].time.as_deref(), Some("2026-11-22T10:11:01+00:00"));
    assert!(hub.file("{}", touched(2).as_bytes()).unwrap().is_empty());
}

#[test]
fn a_failed_file_changes_nothing_and_its_repeat_gives_the_same_ids() {
    let mut hub = Fake::default();
    let broken = format!("{ILINA}\nnonsense\n");
    assert_eq!(hub.file("{}", broken.as_bytes()).unwrap_err().code, "unreadable-line");
    let failed: Vec<_> = hub.0.drafts.iter().map(|draft| draft.id.clone()).collect();
    let good: Vec<_> = hub.file("{}", ILINA.as_bytes()).unwrap().into_iter().map(|draft| draft.id).collect();
    assert_eq!(failed, good);
}

#[test]
fn managers_are_found_before_after_and_in_earlier_files() {
    let mut hub = Fake::default();
    let file = "dn: uid=a,dc=org\nobjectClass: person\nuid: a\nmanager: uid=b,dc=org\n\n\
                dn: uid=b,dc=org\nobjectClass: person\nuid: b\nmanager: uid=c, dc=org\n\n\
                dn: uid=c,dc=org\nobjectClass: person\nuid: c\nmanager: uid=nobody,dc=org\n";
    let managers: BTreeMap<_, _> = hub
        .data(file)
        .into_iter()
        .map(|data| (data["employee"].as_str().unwrap().to_owned(), data["manager"].as_str().map(str::to_owned)))
        .collect();
    let expected = [("a", Some("b")), ("b", Some("c")), ("c", None)];
    assert_eq!(managers, expected.map(|(id, manager)| (id.to_owned(), manager.map(str::to_owned))).into());
    assert!(hub.0.infos.last().unwrap().contains("1 references to unknown"), "{:?}", hub.0.infos);
    let later = "dn: uid=d,dc=org\nobjectClass: person\nuid: d\nmanager: uid=b,dc=org\n";
    assert_eq!(hub.data(later)[0]["manager"], "b");
}

#[test]
fn changes_of_what_was_stated() {
    let mut hub = Fake::default();
    hub.data(&format!("{ILINA}title: Operator\nmail: o@example.org\n"));
    let change = |what: &str| format!("dn: UID=ilina, ou=people, dc=org\nchangetype: modify\n{what}");
    let data = hub.data(&change(
        "replace: title\ntitle: Senior operator\n-\ndelete: mail\n-\nadd: mail\nmail: i@example.org\n-\n",
    ));
    assert_eq!(
        data,
        [
            json!({"employee": "ilina", "status": "active", "name": "Ilina Olga", "login": "ilina", "position": "Senior operator",
            "email": "i@example.org", "unit": Dn::parse("ou=people,dc=org").derived_id()})
        ]
    );
    assert_eq!(hub.data(&change("delete: title\n")).remove(0).get("position"), None);
    assert!(hub.data(&change("delete: mail\nmail: other@example.org\n-\n")).is_empty());
    assert!(hub.data(&change("replace: jpegPhoto\njpegPhoto:: AAAA\n-\n")).is_empty());
    assert_eq!(hub.data(&change("add: userAccountControl\nuserAccountControl: 514\n-\n"))[0]["status"], "suspended");
    assert_eq!(hub.data(&change("replace: cn\ncn: x\n-\n"))[0]["name"], "x");
    hub.data(&change("add: cn\ncn: y\n-\n"));
    let unclear = hub.file("{}", change("delete: cn\ncn: X\n-\n").as_bytes()).unwrap_err();
    assert_eq!((unclear.code.as_str(), unclear.place.as_deref()), ("unclear-change", Some("line 3")));
    let unclear = hub.file("{}", change("replace: uid\nuid: x\n-\n").as_bytes()).unwrap_err();
    assert_eq!(unclear.code, "unclear-change");
    hub.0.known.clear();
    let unknown = hub.file("{}", change("replace: title\ntitle: x\n-\n").as_bytes()).unwrap_err();
    assert_eq!((unknown.code.as_str(), unknown.place.as_deref()), ("unknown-entry", Some("line 1")));
}

#[test]
fn moves_renames_and_departures() {
    let mut hub = Fake::default();
    hub.data(ILINA);
    let moved = "dn: uid=ilina,ou=people,dc=org\nchangetype: moddn\nnewrdn: uid=ilina\ndeleteoldrdn: 1\nnewsuperior: ou=sales,dc=org\n";
    assert_eq!(hub.data(moved)[0]["unit"], Dn::parse("ou=sales,dc=org").derived_id());
    let renamed = "dn: uid=ilina,ou=sales,dc=org\nchangetype: modrdn\nnewrdn: uid=petrova\ndeleteoldrdn: 1\n";
    let kept = hub.file("{}", renamed.replace("rdn: 1", "rdn: 0").as_bytes()).unwrap_err();
    assert_eq!(kept.code, "unclear-change");
    let data = hub.data(renamed);
    assert_eq!(data[1]["login"], "petrova");
    assert_eq!((data[0]["employee"].as_str(), data[0]["status"].as_str()), (Some("ilina"), Some("left")));
    assert_eq!((data[1]["employee"].as_str(), data[1]["status"].as_str()), (Some("petrova"), Some("active")));
    // Not the value in the name is the id: it is still the same one.
    let second = "dn: uid=second,ou=sales,dc=org\nobjectClass: person\nuid: first\nuid: second\n";
    hub.data(second);
    let moved = "dn: uid=second,ou=sales,dc=org\nchangetype: moddn\nnewrdn: uid=second\ndeleteoldrdn: 1\nnewsuperior: ou=people,dc=org\n";
    assert_eq!((hub.data(moved)[0]["employee"].as_str(), hub.0.drafts.len()), (Some("first"), 0));
    let deleted = "dn: uid=petrova,ou=sales,dc=org\nchangetype: delete\n";
    assert_eq!(hub.data(deleted), [json!({"employee": "petrova", "status": "left"})]);
    assert!(hub.data(deleted).is_empty());
    let unit = "dn: ou=sales,dc=org\nobjectClass: organizationalUnit\nou: Sales\n";
    hub.data(unit);
    let renamed = hub.data("dn: ou=sales,dc=org\nchangetype: modrdn\nnewrdn: ou=Shops\ndeleteoldrdn: 1\n");
    assert_eq!((&renamed[0]["status"], &renamed[1]["name"]), (&json!("closed"), &json!("Shops")));
    let below = "dn: uid=petrova,ou=shops,dc=org\nchangetype: modify\nreplace: title\ntitle: x\n-\n";
    assert_eq!(hub.file("{}", below.as_bytes()).unwrap_err().code, "unclear-change");
    let id =
        hub.data("dn: ou=shops,dc=org\nchangetype: modrdn\nnewrdn: ou=Sales\ndeleteoldrdn: 1\n")[1]["unit"].clone();
    let closed = hub.data("dn: ou=Sales,dc=org\nchangetype: delete\n");
    assert_eq!(closed, [json!({"unit": id, "name": "Sales", "status": "closed"})]);
    assert!(hub.data("dn: cn=group,dc=org\nchangetype: delete\n").is_empty());
}

#[test]
fn what_makes_a_file_unfit() {
    let twice = format!("{ILINA}\n{}", ILINA.replace("ou=people", "ou=archive"));
    for (text, code, place) in [
        ("cn: no dn\n", "bad-structure", "line 1"),
        ("version: 2\n", "unsupported-version", "line 1"),
        ("version: 1\n\ndn: a=b\nchangetype: increment\n", "unknown-changetype", "line 4"),
        ("dn: a=b\nchangetype: modrdn\n", "bad-structure", "line 2"),
        ("dn: a=b\nchangetype: modify\nset: x\n", "bad-structure", "line 3"),
        ("dn: a=b\nchangetype: modify\nadd: cn\nmail: x\n", "bad-structure", "line 4"),
        ("dn: a=b\n\n x\n", "bad-structure", "line 3"),
        ("dn:: %%%\n", "bad-base64", "line 1"),
        ("dn: a=b\nsearch: 2\nresult: 4\n", "", ""),
        ("search: 2\nresult: 4 Size limit exceeded\n", "incomplete-export", "line 2"),
        ("dn: a=b\nchangetype: modify\nreplace: title\ntitle:: %\n", "bad-base64", "line 4"),
        ("dn: uid=ilina,ou=people,dc=org\nchangetype: delete", "cut-entry", "line 1"),
        (twice.as_str(), "repeated-id", "line 6"),
    ] {
        match Fake::default().file("{}", text.as_bytes()) {
            Err(rejection) => {
                assert_eq!((rejection.code.as_str(), rejection.place.as_deref()), (code, Some(place)), "{rejection:?}")
            }
            Ok(_) => assert_eq!(code, "", "{:.80}", text),
        }
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_left_out_alone() {
    let long = format!("dn: uid=x\ntitle: {}", " xxxxxxxxxx\n".repeat(7000));
    let values = format!("dn: uid=x\n{}", "mail: a@b\n".repeat(2001));
    let id = format!("dn: uid=x\nobjectClass: person\nuid: {}\n", "x".repeat(65));
    for (entry, code, place) in [
        ("dn: uid=x\nchangetype: add\ntitle:: %%%\n", "bad-base64", "line 8"),
        ("dn: uid=x\njpegPhoto:< file:///etc/passwd\n", "value-by-url", "line 7"),
        ("dn: uid=x\nобъект: 1\n", "unreadable-line", "line 7"),
        (id.as_str(), "bad-id", "line 8"),
        (long.as_str(), "value-too-long", "line 7"),
        (values.as_str(), "too-many-values", "line 2007"),
    ] {
        let mut hub = Fake::default();
        let other = ILINA.replace("ilina", "orlova");
        let drafts = hub.file("{}", format!("{ILINA}\n{entry}cn: x\n y\n\n{other}").as_bytes()).unwrap();
        assert_eq!(drafts.len(), 2, "{code}");
        let [left_out] = &hub.0.left_out[..] else { panic!("{code}: {:?}", hub.0.left_out) };
        assert_eq!((left_out.code.as_str(), left_out.place.as_deref()), (code, Some(place)));
    }
}

/// RFC 2849: each line has an end. A file cut in its last line ends in an entry that may lack what matters.
#[test]
fn what_was_cut_is_not_stated_as_it_is_left() {
    let mut hub = Fake::default();
    let file = format!("{ILINA}\n{}nsAccountLo", ILINA.replace("ilina", "orlova"));
    assert_eq!(hub.file("{}", file.as_bytes()).unwrap().len(), 1);
    assert_eq!(hub.0.left_out[0].code, "unreadable-line");
    let file = format!("{ILINA}\n{}title: Eng", ILINA.replace("ilina", "orlova"));
    assert_eq!(hub.file("{}", file.as_bytes()).unwrap().len(), 0);
    assert_eq!((hub.0.left_out[0].code.as_str(), hub.0.left_out[0].place.as_deref()), ("cut-entry", Some("line 6")));
}

fn status_of(entry: &str) -> Option<String> {
    let file = format!("dn: {}objectClass: person\nuid: x\n", entry.replacen('|', "\n", 1).replace('|', "\n"));
    let data = Fake::default().data(&file);
    data.first().map(|data| data["status"].as_str().unwrap().to_owned())
}

#[test]
fn what_an_entry_is() {
    for (entry, expected) in [
        ("uid=x|", Some("active")),
        ("uid=x|nsAccountLock;adcsn-665dc0ab000100040001;vucsn-665dc0ab000100040000: TRUE|", Some("suspended")),
        ("uid=x|nsAccountLock;vdcsn-665dc0ab000100040000;deleted: TRUE|", Some("active")),
        ("uid=x|nsAccountLock;adcsn-665dc0ab000100040000;deletedattribute;deleted: TRUE|", Some("active")),
        ("uid=x|nsAccountLock: perhaps|", Some("unknown")),
        ("uid=x|sAMAccountName: x|", Some("unknown")),
        ("uid=x|sAMAccountName: x|userAccountControl: 512|", Some("active")),
        ("uid=x|sAMAccountName: x|userAccountControl: 512|accountExpires: 1|", Some("suspended")),
        ("uid=x|sAMAccountName: X$|userAccountControl: 4096|", None),
        ("uid=x|isDeleted: TRUE|", None),
        (
            "nsuniqueid=7dc516c1-21aa11ef-9ce18df7-a8612860,uid=x|objectClass;vucsn-665dc0ab000200010000: nsTombstone|",
            None,
        ),
        ("nsuniqueid=1+uid=x|nsds5ReplConflict: namingConflict uid=x|", None),
        ("uid=x,cn=deleted users,cn=accounts,cn=provisioning,dc=example|", Some("left")),
        ("uid=x|inetUserStatus: deleted|", Some("left")),
        ("uid=x|title;vucsn-665dc0ab000100020000;deleted: Clerk|", Some("active")),
    ] {
        assert_eq!(status_of(entry).as_deref(), expected, "{entry}");
    }
}

#[test]
fn changes_of_the_sign() {
    let mut hub = Fake::default();
    let mut status = |change: &str| {
        let text = format!("dn: uid=ilina,ou=people,dc=org\nchangetype: modify\n{change}\n-\n");
        hub.data(&text).first().map(|data| data["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(status("replace: title"), None);
    hub.data(ILINA);
    let mut status = |change: &str| {
        let text = format!("dn: uid=ilina,ou=people,dc=org\nchangetype: modify\n{change}\n-\n");
        hub.data(&text).first().map(|data| data["status"].as_str().unwrap().to_owned())
    };
    for (change, expected) in [
        ("add: nsAccountLock\nnsAccountLock: TRUE", Some("suspended")),
        ("delete: nsAccountLock", Some("active")),
        ("replace: krbPrincipalExpiration\nkrbPrincipalExpiration: 20201122065959Z", Some("suspended")),
        ("replace: krbPrincipalExpiration\nkrbPrincipalExpiration: 20301122065959Z", Some("active")),
        ("replace: userAccountControl\nuserAccountControl: 512", None),
        ("replace: pwdAccountLockedTime\npwdAccountLockedTime: 20261122065959Z", Some("unknown")),
        // The end that was set may have come by now.
        ("replace: pwdAccountLockedTime", None),
        ("delete: krbPrincipalExpiration", Some("active")),
        ("replace: userAccountControl\nuserAccountControl: 514", Some("suspended")),
        // An account that is off is not on because something else does not speak against it.
        ("replace: accountExpires\naccountExpires: 0", None),
        ("add: nsAccountLock\nnsAccountLock: FALSE", None),
        ("replace: userAccountControl\nuserAccountControl: 66048", Some("active")),
        ("delete: shadowExpire", None),
    ] {
        assert_eq!(status(change).as_deref(), expected, "{change}");
    }
}

#[test]
fn a_large_photograph_costs_nothing() {
    let mut text = format!("{ILINA}jpegPhoto:: AAAA\n");
    for _ in 0..100_000 {
        text.push_str(" QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\n");
    }
    let mut hub = Fake::default();
    assert_eq!(hub.data(&text).len(), 1);
    assert!(hub.0.infos[0].contains("1 binary values not read"), "{:?}", hub.0.infos);
}

/// Whatever the bytes: an answer, and the same one each time.
#[test]
fn mutations_never_trap() {
    let seed = format!(
        "version: 1\n# note\n folded\n{ILINA}title:: 0J7Qv9C10YDQsNGC0L7RgA==\nmanager: uid=b\\2C c,dc=org\n\n\
         dn: uid=ilina,ou=people,dc=org\nchangetype: modify\nreplace: title\ntitle: x\n-\ndelete: mail\n-\n\n\
         dn: uid=ilina,ou=people,dc=org\nchangetype: moddn\nnewrdn: uid=z\ndeleteoldrdn: 0\nnewsuperior: ou=q,dc=org\n\n\
         dn: uid=z,ou=q,dc=org\nchangetype: delete\n\nsearch: 2\nresult: 0 Success\n"
    );
    for end in 0..seed.len() {
        let _ = Fake::default().file("{}", &seed.as_bytes()[..end]);
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..5_000 {
        let mut bytes = seed.clone().into_bytes();
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % bytes.len();
            bytes[at] = match random >> 60 {
                0..=3 => b'\n',
                4..=6 => b' ',
                7 | 8 => b':',
                _ => (random >> 32) as u8,
            };
        }
        let _ = Fake::default().file("{}", &bytes);
    }
}

//! Names of entries (RFC 4514), in one spelling. Blanks at the ends of a value and more than one inside do not make it another
//! (RFC 4518, 2.6.1), nor does case.

use busbar_sdk::ids;

/// A distinguished name: its relative names from the entry itself to the root, in lower case, without escapes and
/// without blanks that mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dn(Vec<String>);

impl Dn {
    /// Any text is some name: what is no name is only never equal to one.
    pub fn parse(text: &str) -> Self {
        let parts: Vec<String> = split(plain(text), ',').iter().map(|part| relative(part)).collect();
        if parts.iter().all(String::is_empty) { Self(Vec::new()) } else { Self(parts) }
    }

    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_first()?;
        (!rest.is_empty()).then(|| Self(rest.to_vec()))
    }

    pub fn is_within(&self, base: &Self) -> bool {
        self.0.ends_with(&base.0)
    }

    /// Whether these relative names stand one after another in it.
    pub fn contains(&self, names: &Self) -> bool {
        self.0.windows(names.0.len().max(1)).any(|part| part == names.0)
    }

    /// The same name with another first part, below another parent where one is given.
    pub fn renamed(&self, rdn: &str, superior: Option<&str>) -> Self {
        let parent = match superior {
            Some(superior) => Self::parse(superior).0,
            None => self.0.get(1..).unwrap_or_default().to_vec(),
        };
        let mut parts = vec![relative(rdn)];
        parts.extend(parent);
        Self(parts)
    }

    /// An id for an entry that has no other: the same for every spelling of the name.
    pub fn derived_id(&self) -> String {
        let mut parts = vec!["ldif-dn"];
        parts.extend(self.0.iter().map(String::as_str));
        ids::derived(&parts)
    }

    /// What the memory keeps of the name.
    pub fn key(&self) -> u64 {
        let parts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        ids::derived_number(&parts, u64::MAX)
    }

    /// Whether the first part names a unit: `ou=…` or `o=…`.
    pub fn is_unit(&self) -> bool {
        self.0.first().is_some_and(|first| first.starts_with("ou=") || first.starts_with("o="))
    }
}

/// The value of one of these attributes (in lower case) in a relative name, as it is written there.
pub fn value_in(rdn: &str, attributes: &[String]) -> Option<String> {
    let pairs = split(rdn, '+');
    let mut pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| attributes.contains(&name.trim().to_ascii_lowercase()))?;
    Some(unescaped(found.1).trim().to_owned()).filter(|value| !value.is_empty())
}

/// The attributes, in lower case, and values of a relative name.
pub fn pairs(rdn: &str) -> Vec<(String, String)> {
    let pairs = split(rdn, '+');
    let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), unescaped(value).trim().to_owned())).collect()
}

/// The first relative name, as it is written.
pub fn first(dn: &str) -> String {
    split(plain(dn), ',').into_iter().next().unwrap_or_default()
}

/// Active Directory may be asked to write `<GUID=…>;<SID=…>;` before a name ([MS-ADTS] 3.1.1.3.4.1.5).
fn plain(dn: &str) -> &str {
    let mut rest = dn.trim();
    while let Some((_, after)) = rest.strip_prefix('<').and_then(|rest| rest.split_once(">;")) {
        rest = after;
    }
    rest
}

/// The value of the first relative name, as it is written.
pub fn first_value(dn: &str) -> Option<String> {
    let value = unescaped(first(dn).split_once('=')?.1).trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// `a=b+c=d` in lower case, its pairs in order.
fn relative(text: &str) -> String {
    let mut pairs: Vec<String> = split(text, '+')
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => format!("{}={}", name.trim().to_lowercase(), folded(&unescaped(value))),
            None => folded(pair),
        })
        .collect();
    pairs.sort();
    pairs.join("+")
}

/// What values that a directory takes for equal have in common.
pub fn folded(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Split at `separator` where it is not escaped.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == separator && !escaped {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    parts
}

/// `\,` and `\2C` are both a comma.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let hex = rest.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = rest.get(2..).unwrap_or_default();
            }
            None => {
                if let Some((next, after)) = rest.split_first() {
                    bytes.push(*next);
                    rest = after;
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name() {
        let dn = Dn::parse("cn=Ильина\\, Ольга,ou=Люди,dc=example,dc=org");
        for text in [
            "CN=Ильина\\2C Ольга, OU=Люди, DC=example, DC=org",
            "cn = ильина\\, ольга ,ou=люди,dc=EXAMPLE,dc=org",
            "cn=\\20Ильина\\,  Ольга\\ ,ou=Люди,dc=example,dc=org",
            "<GUID=5b7b64ad-9508-4bb6-9288-6df8278d9d1b>;<SID=S-1-5-21-1>;CN=Ильина\\, Ольга,OU=Люди,DC=example,DC=org",
        ] {
            assert_eq!(Dn::parse(text), dn, "{text}");
        }
        assert_eq!(Dn::parse("a=1+b=2,dc=x"), Dn::parse("B=2 + A=1, dc=x"));
        assert_ne!(Dn::parse("a=1\\+b=2,dc=x"), Dn::parse("a=1+b=2,dc=x"));
        assert!(Dn::parse("").parent().is_none());
        assert!(dn.is_within(&Dn::parse("dc=example,dc=org")) && dn.is_within(&Dn::parse("")));
        assert!(dn.parent().unwrap().is_unit() && !dn.is_unit());
    }

    #[test]
    fn renaming() {
        let dn = Dn::parse("uid=a,ou=x,dc=org");
        assert_eq!(dn.renamed("uid=b", None), Dn::parse("uid=b,ou=x,dc=org"));
        assert_eq!(dn.renamed("uid=b", Some("ou=y,dc=org")), Dn::parse("uid=b,ou=y,dc=org"));
        assert_eq!(value_in("cn=A+UID=Bee", &["uid".into()]).as_deref(), Some("Bee"));
        assert_eq!(value_in("cn=A", &["uid".into()]), None);
    }
}

//! What a form or a query says: names with texts, some of them more than once.

use url::form_urlencoded;

/// Fields of an address that say what was done just now, and to how many.
pub const DONE: &str = "done";
pub const COUNT: &str = "count";

/// Names and values, in their order.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Of `application/x-www-form-urlencoded`. Spaces around a value are nobody's meaning, and an empty one says nothing.
    pub fn parse(encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded).map(|(name, value)| (name.into_owned(), value.trim().to_string()));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_string)
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// `path` with these fields as its query, without those that are empty.
pub fn link<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields.into_iter().filter(|(_, value)| !value.is_empty()));
    match query.finish() {
        query if query.is_empty() => path.to_string(),
        query => format!("{path}?{query}"),
    }
}

/// The same address without the notice of what was done, and with these fields.
pub fn noting(to: &str, notice: &[(&str, &str)]) -> String {
    let (path, query) = to.split_once('?').unwrap_or((to, ""));
    let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let kept = fields.iter().filter(|(name, _)| ![DONE, COUNT].contains(&name.as_str()));
    link(path, kept.map(|(name, value)| (name.as_str(), value.as_str())).chain(notice.iter().copied()))
}

/// Where a form wants to lead back to, if that is here: a path of this hub, never another host.
pub fn back(to: Option<&str>) -> &str {
    let is_own = |to: &&str| {
        let mut bytes = to.bytes();
        bytes.next() == Some(b'/')
            && !matches!(bytes.next(), Some(b'/' | b'\\'))
            && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    to.filter(is_own).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_this_hub_only() {
        for own in ["/", "/messages?type=a%20b&x=1", "/messages/7#d8"] {
            assert_eq!(back(Some(own)), own);
        }
        let others =
            ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "", "/a\r\nb", "/\t/evil"];
        for other in others {
            assert_eq!(back(Some(other)), "/", "{other}");
        }
        assert_eq!(back(None), "/");
    }

    #[test]
    fn fields_come_as_they_were_sent() {
        let fields = Fields::parse("id=1&id=2&type=+a%2Bb+&empty=&%D0%B8=%D0%B9".as_bytes());
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((fields.get("type"), fields.get("empty"), fields.get("и")), (Some("a+b"), None, Some("й")));
        assert_eq!(link("/m", [("a", "1&2"), ("b", "")]), "/m?a=1%262");
        assert_eq!(link("/m", [("b", "")]), "/m");
        assert_eq!(noting("/m?a=1%262&done=skip&count=2", &[(DONE, "retry")]), "/m?a=1%262&done=retry");
        assert_eq!(noting("/m?done=skip", &[]), "/m");
    }
}

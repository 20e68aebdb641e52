//! Parameters of a request: its query and, of a POST, the form in its body.

use crate::{HookRequest, header};

/// More parameters than any protocol here has.
const PARAMETERS_MAX: usize = 100;

/// The decoded pairs in their order; nothing for another method than GET and POST, a body that is no form, too many of them, or one name
/// with two values: a mistake or an attack, and neither is to be guessed at. Upper and lower case are the same name.
pub fn parameters(request: &HookRequest) -> Option<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = pairs(request.query.as_bytes());
    match request.method.as_str() {
        "GET" => {}
        "POST" if is_form(request) => pairs.extend(self::pairs(&request.body)),
        "POST" if request.body.is_empty() => {}
        _ => return None,
    }
    let contradicts = |(index, (name, value)): (usize, &(String, String))| {
        pairs.iter().take(index).any(|(other, text)| other.eq_ignore_ascii_case(name) && text != value)
    };
    if pairs.len() > PARAMETERS_MAX || pairs.iter().enumerate().any(contradicts) {
        return None;
    }
    Some(pairs)
}

/// The pairs as a form, or as a query.
pub fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn pairs(form: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(form).into_owned().take(PARAMETERS_MAX + 1).collect()
}

/// The pairs with the bytes that were sent, for forms in another encoding than UTF-8; nothing for too many of them. Of a name that
/// is there twice the first counts.
pub fn raw(form: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let decoded = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        percent_encoding::percent_decode(&spaced).collect::<Vec<u8>>()
    };
    let mut pairs = Vec::new();
    for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = decoded(parts.next().unwrap_or_default());
        let value = decoded(parts.next().unwrap_or_default());
        pairs.push((String::from_utf8_lossy(&name).into_owned(), value));
        if pairs.len() > PARAMETERS_MAX {
            return None;
        }
    }
    Some(pairs)
}

/// Whether the body says that it is a form, or says nothing.
pub fn is_form(request: &HookRequest) -> bool {
    header(&request.headers, "content-type")
        .is_none_or(|value| value.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, query: &str, body: &str) -> HookRequest {
        HookRequest { method: method.into(), path: "/".into(), query: query.into(), headers: vec![], body: body.into() }
    }

    #[test]
    fn written() {
        assert_eq!(encoded(&[("a", "я x"), ("b", "&=")]), "a=%D1%8F+x&b=%26%3D");
        assert_eq!(encoded(&[]), "");
    }

    #[test]
    fn of_query_and_form() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let found = parameters(&request("POST", "a=1", "b=%D1%8F+x&A=1"));
        assert_eq!(found, Some(vec![pair("a", "1"), pair("b", "я x"), pair("A", "1")]));
        assert_eq!(parameters(&request("GET", "a=1&A=2", "")), None);
        assert_eq!(parameters(&request("PUT", "a=1", "")), None);
        assert_eq!(parameters(&request("GET", &"a&".repeat(101), "")), None);
    }

    #[test]
    fn with_the_bytes_that_were_sent() {
        let pair = |name: &str, value: &[u8]| (name.to_owned(), value.to_owned());
        assert_eq!(
            raw(b"a=%c4%E0+1&b&=x&c=1=2&&"),
            Some(vec![pair("a", b"\xC4\xE0 1"), pair("b", b""), pair("", b"x"), pair("c", b"1=2"),])
        );
        assert_eq!(raw(b"%zz=%"), Some(vec![pair("%zz", b"%")]));
        assert_eq!(raw("a&".repeat(101).as_bytes()), None);
    }
}

//! Descriptions of RSS and KML: HTML for people, with lines of `Label: value`.

use serde_json::{Map, Value};

/// Tags that end a line.
const BREAKS: [&str; 9] = ["br", "p", "div", "li", "tr", "ul", "table", "h1", "h2"];
/// Labels of one description.
const LABELS_MAX: usize = 100;

/// The text without tags, and the values of its labels; of a label that repeats, the first.
pub fn read(html: &str) -> (String, Map<String, Value>) {
    let plain = plain(html);
    let lines: Vec<&str> = plain.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut labels = Map::new();
    for (label, value) in lines.iter().filter_map(|line| line.split_once(':')).take(LABELS_MAX) {
        labels.entry(label.trim()).or_insert_with(|| value.trim().into());
    }
    (lines.join("\n"), labels)
}

fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        rest = if from.starts_with('<') { tag(from, &mut text) } else { entity(from, &mut text) };
    }
    text.push_str(rest);
    text
}

fn tag<'a>(from: &'a str, text: &mut String) -> &'a str {
    let Some((tag, rest)) = from.split_once('>') else {
        text.push_str(from);
        return "";
    };
    let name = tag.trim_start_matches(['<', '/']);
    let name = name.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default();
    if BREAKS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        text.push('\n');
    }
    rest
}

fn entity<'a>(from: &'a str, text: &mut String) -> &'a str {
    for (name, sign) in [
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&nbsp;", " "),
    ] {
        if let Some(rest) = from.strip_prefix(name) {
            text.push_str(sign);
            return rest;
        }
    }
    text.push('&');
    from.get(1..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_labels() {
        let (text, labels) = read(
            "<strong>Area: </strong>A &amp; B&nbsp;C<BR/><p>When/where: at 9:00</p>no label<br>Area: other < 5 & x",
        );
        assert_eq!(text, "Area: A & B C\nWhen/where: at 9:00\nno label\nArea: other < 5 & x");
        assert_eq!(Value::from(labels), serde_json::json!({"Area": "A & B C", "When/where": "at 9:00"}));
        assert_eq!(read("<").0, "<");
    }
}

//! A piece of a line as a profile writes it, e.g. `#FILESUM {sum}`: read and written by the same template.

/// A template longer than this is a mistake in the settings.
const TEMPLATE_BYTES_MAX: usize = 200;

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// What stands between braces.
    Value(String),
}

/// Fixed text with values between braces.
#[derive(Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// # Errors
    /// What is wrong with the template, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("is longer than {TEMPLATE_BYTES_MAX} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("has a `{` without its `}`")?;
            let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(format!("`{{{name}}}` is no name of a value"));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            } else if matches!(parts.last(), Some(Part::Value(_))) {
                return Err("has two values with nothing between them".to_owned());
            }
            parts.push(Part::Value(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err("has a `}` without its `{`".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The names of its values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Value(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text by which a line is known to be this one: up to the first value, blank or `delimiter`.
    pub fn key(&self, delimiter: char) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => {
                let text = text.trim_start();
                text.split(|c: char| c.is_whitespace() || c == delimiter).next().unwrap_or_default()
            }
            _ => "",
        }
    }

    /// The fixed text before the first value.
    pub fn prefix(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The values in `text`, or nothing when its fixed text is another. Blanks of the template stand for any number of
    /// blanks, Latin letters for both cases.
    pub fn capture<'t>(&self, text: &'t str) -> Option<Vec<(&str, &'t str)>> {
        let mut values = Vec::new();
        let mut rest = text.trim();
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(fixed) => rest = rest.get(fixed_end(rest, fixed)?..)?,
                Part::Value(name) => {
                    let value_end = match parts.peek() {
                        Some(Part::Text(fixed)) => {
                            let starts = rest.char_indices().map(|(at, _)| at);
                            let mut ends =
                                starts.filter(|at| rest.get(*at..).is_some_and(|t| fixed_end(t, fixed).is_some()));
                            ends.next()?
                        }
                        _ => rest.len(),
                    };
                    values.push((name.as_str(), rest.get(..value_end)?.trim()));
                    rest = rest.get(value_end..)?;
                }
            }
        }
        rest.trim().is_empty().then_some(values)
    }

    /// The text with its values put in; the name of a value that there is none of.
    ///
    /// # Errors
    /// That name.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Value(name) => text.push_str(&value(name).ok_or(name.as_str())?),
            }
        }
        Ok(text)
    }
}

/// Where `fixed` ends in `text`, which must begin with it.
fn fixed_end(text: &str, fixed: &str) -> Option<usize> {
    let mut rest = text;
    for wanted in fixed.chars() {
        if wanted.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        let mut chars = rest.chars();
        if !chars.next()?.eq_ignore_ascii_case(&wanted) {
            return None;
        }
        rest = chars.as_str();
    }
    Some(text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (text, line, values) in [
            ("#FILESUM {sum}", "#FILESUM    1530.76 ", vec![("sum", "1530.76")]),
            ("#TYPE 7", "#type\t7", vec![]),
            ("=|{count}|{sum}", "=|2|1530.75", vec![("count", "2"), ("sum", "1530.75")]),
            ("CounterVal_{register}:{reading}", "counterval_2:5321,5", vec![("register", "2"), ("reading", "5321,5")]),
            ("{account}", "  7 8 ", vec![("account", "7 8")]),
            ("CLIENTNO:{account}", "CLIENTNO:", vec![("account", "")]),
        ] {
            assert_eq!(template(text).capture(line), Some(values), "{text}");
        }
        for (text, line) in [("#TYPE 7", "#TYPE 9"), ("#TYPE 7", "#TYPE 77"), ("=|{count}|{sum}", "=|2"), ("a{b}", "")]
        {
            assert_eq!(template(text).capture(line), None, "{text}");
        }
        let amount = template("1:{amount}");
        let filled = amount.fill(|name| (name == "amount").then(|| "5.00".to_owned()));
        assert_eq!(filled.as_deref(), Ok("1:5.00"));
        assert_eq!(template("{x}").fill(|_| None), Err("x"));
    }

    #[test]
    fn keys() {
        for (text, key) in [("#TYPE 7", "#TYPE"), ("=|{count}", "="), ("={count};{sum}", "="), ("{sum}", ""), ("", "")]
        {
            assert_eq!(template(text).key('|'), key, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["{", "}", "{}", "{a}{b}", "{A}", "{a b}", "a}b"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse(&"x".repeat(201)).is_err());
    }
}

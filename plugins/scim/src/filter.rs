//! Filters of SCIM (RFC 7644, 3.4.2.2), as far as paths of PATCH and searches by name use them.

use serde_json::{Map, Value};

use crate::mapping::{ENTERPRISE, Kind, get};

/// Parentheses within parentheses.
const DEPTH_MAX: usize = 10;
/// Characters of a filter.
const LENGTH_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    Compare { attribute: String, operator: Operator, value: Value },
    Present(String),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Filter {
    /// Nothing for what is no filter.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0 };
        let filter = parser.or(0)?;
        (parser.next == parser.tokens.len()).then_some(filter)
    }

    /// Of several values of an attribute one is enough (RFC 7644, 3.4.2.2). `kind`: whose attributes full names are of.
    pub fn matches(&self, kind: Kind, object: &Map<String, Value>) -> bool {
        match self {
            Filter::And(left, right) => left.matches(kind, object) && right.matches(kind, object),
            Filter::Or(left, right) => left.matches(kind, object) || right.matches(kind, object),
            Filter::Not(inner) => !inner.matches(kind, object),
            Filter::Present(attribute) => !found(object, &plain_path(kind, attribute)).is_empty(),
            Filter::Compare { attribute, operator, value } => {
                let found = found(object, &plain_path(kind, attribute));
                match found.is_empty() {
                    true => compare(&Value::Null, *operator, value),
                    false => found.into_iter().any(|found| compare(found, *operator, value)),
                }
            }
        }
    }

    /// `attribute eq value` and nothing else.
    pub fn as_equality(&self) -> Option<(&str, &Value)> {
        match self {
            Filter::Compare { attribute, operator: Operator::Equal, value } => Some((attribute, value)),
            _ => None,
        }
    }
}

/// The names of a path, without the URN of the resource's own schema; that of an extension is the first (RFC 7644, 3.10).
pub fn plain_path(kind: Kind, path: &str) -> Vec<String> {
    let is_of = |urn: &str| path.get(..urn.len()).is_some_and(|start| start.eq_ignore_ascii_case(urn));
    let (mut names, rest) = if is_of(kind.schema()) {
        (Vec::new(), path.get(kind.schema().len()..).unwrap_or_default())
    } else if is_of(ENTERPRISE) {
        (vec![ENTERPRISE.to_owned()], path.get(ENTERPRISE.len()..).unwrap_or_default())
    } else {
        (Vec::new(), path)
    };
    let rest = rest.trim_start_matches([':', '.']);
    names.extend(rest.split('.').filter(|name| !name.is_empty()).map(str::to_owned));
    names
}

/// Every value there; of a list those of its members, of a member its `value`.
fn found<'a>(object: &'a Map<String, Value>, path: &[String]) -> Vec<&'a Value> {
    let Some((first, rest)) = path.split_first() else { return Vec::new() };
    let values = match get(object, first) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
    };
    let below = |value: &'a Value| match (value.as_object(), rest) {
        (Some(inner), []) => get(inner, "value").map_or_else(|| vec![value], |value| vec![value]),
        (Some(inner), rest) => found(inner, rest),
        (None, []) => vec![value],
        (None, _) => Vec::new(),
    };
    values.into_iter().flat_map(below).collect()
}

fn compare(found: &Value, operator: Operator, value: &Value) -> bool {
    if let (Value::String(found), Value::String(value)) = (found, value) {
        // Most attributes are compared without case (RFC 7643, 2.2).
        let (found, value) = (found.to_lowercase(), value.to_lowercase());
        return match operator {
            Operator::Equal => found == value,
            Operator::NotEqual => found != value,
            Operator::Contains => found.contains(&value),
            Operator::StartsWith => found.starts_with(&value),
            Operator::EndsWith => found.ends_with(&value),
            Operator::Greater => found > value,
            Operator::GreaterOrEqual => found >= value,
            Operator::Less => found < value,
            Operator::LessOrEqual => found <= value,
        };
    }
    // Some providers write `"True"`.
    let same = match (found, value) {
        (Value::Bool(flag), Value::String(text)) => text.eq_ignore_ascii_case(&flag.to_string()),
        _ => found == value,
    };
    match operator {
        Operator::Equal => same,
        Operator::NotEqual => !same,
        _ => false,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(Value),
    Open,
    Close,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    if text.chars().count() > LENGTH_MAX {
        return None;
    }
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' => {
                tokens.push(if first == '(' { Token::Open } else { Token::Close });
                1
            }
            '"' => {
                let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                tokens.push(Token::Text(values.next()?.ok()?));
                values.byte_offset()
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '[' | ']'));
                let word = rest.get(..end.unwrap_or(rest.len()))?;
                if word.is_empty() {
                    return None;
                }
                tokens.push(Token::Word(word.to_owned()));
                word.len()
            }
        };
        rest = rest.get(length..)?.trim_start();
    }
    Some(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.next), Some(Token::Word(text)) if text.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Option<Filter> {
        let mut left = self.and(depth)?;
        while self.take_word("or") {
            left = Filter::Or(Box::new(left), Box::new(self.and(depth)?));
        }
        Some(left)
    }

    fn and(&mut self, depth: usize) -> Option<Filter> {
        let mut left = self.single(depth)?;
        while self.take_word("and") {
            left = Filter::And(Box::new(left), Box::new(self.single(depth)?));
        }
        Some(left)
    }

    fn single(&mut self, depth: usize) -> Option<Filter> {
        if depth > DEPTH_MAX {
            return None;
        }
        let negated = self.take_word("not");
        if negated || self.tokens.get(self.next) == Some(&Token::Open) {
            let opened = self.take()? == Token::Open;
            let inner = self.or(depth + 1).filter(|_| opened)?;
            let closed = self.take()? == Token::Close;
            let filter = if negated { Filter::Not(Box::new(inner)) } else { inner };
            return closed.then_some(filter);
        }
        let Token::Word(attribute) = self.take()? else { return None };
        let Token::Word(operator) = self.take()? else { return None };
        let operator = match operator.to_ascii_lowercase().as_str() {
            "pr" => return Some(Filter::Present(attribute)),
            "eq" => Operator::Equal,
            "ne" => Operator::NotEqual,
            "co" => Operator::Contains,
            "sw" => Operator::StartsWith,
            "ew" => Operator::EndsWith,
            "gt" => Operator::Greater,
            "ge" => Operator::GreaterOrEqual,
            "lt" => Operator::Less,
            "le" => Operator::LessOrEqual,
            _ => return None,
        };
        let value = match self.take()? {
            Token::Text(value) => value,
            Token::Word(word) => serde_json::from_str(&word.to_ascii_lowercase()).ok()?,
            _ => return None,
        };
        Some(Filter::Compare { attribute, operator, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters() {
        let email = json!({"type": "work", "value": "b@example.com", "primary": true, "name": {"x": "y"}});
        let email = email.as_object().unwrap();
        for (text, expected) in [
            (r#"type eq "work" and value ew "example.com""#, true),
            (r#"type eq"WORK""#, true),
            (r#"TYPE eq "home" or primary eq true"#, true),
            (r#"type eq "home" or primary eq true and value co "zzz""#, false),
            (r#"(type eq "home" or primary eq True) and not (value sw "x")"#, true),
            (r#"name.x eq "y" and display ne "q""#, true),
            (r#"display pr"#, false),
            (r#"value ge "b" and value lt "c" and primary ne false"#, true),
        ] {
            assert_eq!(Filter::parse(text).map(|filter| filter.matches(Kind::User, email)), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter() {
        let deep = format!("{}a pr{}", "(".repeat(50), ")".repeat(50));
        for text in [
            "",
            "a",
            "a eq",
            "a eq b",
            r#"a xx "b""#,
            r#"a eq "b"#,
            "(a pr",
            "a pr)",
            "not a pr",
            "[",
            r#"a eq "b" and"#,
            &deep,
        ] {
            assert_eq!(Filter::parse(text), None, "{text}");
        }
        assert_eq!(Filter::parse(&format!("a eq \"{}\"", "x".repeat(2000))), None);
    }
}

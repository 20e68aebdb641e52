//! Texts and numbers of jq where the crate `jaq` has another mind: one text is one value, and a whole number has no point.

use jaq_core::Error;
use jaq_json::{Num, Val, read};
use std::borrow::Cow;

/// The filter that [`interpolated`] puts behind what stands in a text.
pub const WHOLE: &str = "whole_number";
/// Above it a float may stand for another whole number than the one that was meant (IEEE 754, binary64).
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

pub type Found = Result<Val, Error<Val>>;

fn text(value: &Val) -> Option<Cow<'_, str>> {
    match value {
        Val::TStr(bytes) => Some(String::from_utf8_lossy(bytes)),
        _ => None,
    }
}

/// Exactly one JSON value, as libjq's `fromjson`.
///
/// # Errors
/// What is none, or several.
pub fn from_json(value: &Val) -> Found {
    let fails = || Error::str(format_args!("{value} is not one JSON value"));
    let text = text(value).ok_or_else(fails)?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|_| fails())?;
    read::parse_single(text.as_bytes()).map_err(|_| fails())
}

/// A number, or a text that is one by JSON's own grammar (RFC 8259, section 6): no blanks, no comma, not empty.
///
/// # Errors
/// What is none.
pub fn to_number(value: &Val) -> Found {
    let fails = || Error::str(format_args!("{value} is no number"));
    if let Val::Num(_) = value {
        return Ok(value.clone());
    }
    let text = text(value).ok_or_else(fails)?;
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(&text).is_ok();
    if is_number { read::parse_single(text.as_bytes()).map_err(|_| fails()) } else { Err(fails()) }
}

pub fn to_text(value: Val) -> Val {
    match value {
        Val::TStr(_) => value,
        other => Val::from(whole(other).to_string()),
    }
}

/// Floats that are whole numbers become such: jq writes 125000, not 125000.0. Numbers that were read stay as written.
pub fn whole(value: Val) -> Val {
    match value {
        Val::Num(Num::Float(float)) if float.fract() == 0.0 && float.abs() <= EXACT_MAX => {
            #[allow(clippy::cast_possible_truncation)]
            let integer = float as i64;
            Val::Num(Num::from_integral(integer))
        }
        Val::Arr(items) if items.iter().any(has_float) => items.iter().cloned().map(whole).collect(),
        Val::Obj(fields) if fields.values().any(has_float) => {
            let mut fields = (*fields).clone();
            fields.values_mut().for_each(|field| *field = whole(std::mem::take(field)));
            Val::obj(fields)
        }
        other => other,
    }
}

fn has_float(value: &Val) -> bool {
    match value {
        Val::Num(Num::Float(_)) => true,
        Val::Arr(items) => items.iter().any(has_float),
        Val::Obj(fields) => fields.values().any(has_float),
        _ => false,
    }
}

/// The expression with [`WHOLE`] behind each `\(…)` in a text: what stands there is written by jaq itself.
pub fn interpolated(code: &str) -> Cow<'_, str> {
    if !code.contains("\\(") {
        return code.into();
    }
    let mut out = String::with_capacity(code.len() + 32);
    // What surrounds the place: a text, or so many open parentheses within one.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut chars = code.chars().peekable();
    let mut is_text = false;
    while let Some(char) = chars.next() {
        match char {
            '"' => is_text = !is_text,
            '\\' if is_text && chars.peek() == Some(&'(') => {
                chars.next();
                out.push_str("\\((");
                open.push(Some(0));
                is_text = false;
                continue;
            }
            '\\' if is_text => {
                out.push(char);
                out.extend(chars.next());
                continue;
            }
            '(' if !is_text => {
                if let Some(Some(depth)) = open.last_mut() {
                    *depth += 1;
                }
            }
            ')' if !is_text => match open.last_mut() {
                Some(Some(0)) => {
                    open.pop();
                    is_text = true;
                    out.push_str(")|");
                    out.push_str(WHOLE);
                }
                Some(Some(depth)) => *depth -= 1,
                _ => {}
            },
            _ => {}
        }
        out.push(char);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jq;
    use busbar_sdk::Rejection;

    fn run(code: &str, input: &str) -> Result<String, String> {
        let value: Result<Val, Rejection> = jq::evaluate(code, jq::parse(input).unwrap(), "config, x");
        value.map(|value| value.to_string()).map_err(|rejection| rejection.code)
    }

    /// What libjq gives (PyPI jq 1.13.0), one after another; an error where it says so.
    #[test]
    fn a_text_is_one_number_or_none() {
        for (text, expected) in [
            ("125.50", Some("125.50")),
            ("-7", Some("-7")),
            ("1e3", Some("1e3")),
            ("", None),
            ("125 00", None),
            ("2026-11-28", None),
            ("1,5", None),
            (" 1", None),
            ("1 ", None),
            ("0x10", None),
            ("nan", None),
            ("null", None),
            ("[1]", None),
            ("+1", None),
            ("1.", None),
        ] {
            let input = serde_json::json!({ "sum": text }).to_string();
            assert_eq!(run(".sum|tonumber", &input).ok().as_deref(), expected, "tonumber of {text:?}");
            assert_eq!(
                run("[.sum|tonumber?]|length", &input).as_deref(),
                Ok(if expected.is_some() { "1" } else { "0" })
            );
            let fallback = run(r#".sum|(tonumber? // "bad")"#, &input).unwrap();
            assert_eq!(fallback, expected.unwrap_or("\"bad\""), "{text:?}");
        }
        assert_eq!(run(".sum|tonumber", r#"{"sum":12.50}"#).as_deref(), Ok("12.50"));
    }

    #[test]
    fn a_text_is_one_value_of_json_or_none() {
        for (text, expected) in [
            (r#"{"a":1}"#, Some(r#"{"a":1}"#)),
            ("[1,2]", Some("[1,2]")),
            (" null ", Some("null")),
            ("", None),
            ("1 2", None),
            ("2026-11-28", None),
            ("{}{}", None),
            ("1,5", None),
        ] {
            let input = serde_json::json!({ "x": text }).to_string();
            assert_eq!(run(".x|fromjson", &input).ok().as_deref(), expected, "fromjson of {text:?}");
        }
    }

    #[test]
    fn a_whole_number_has_no_point() {
        let input = r#"{"minor":12500000,"read":125000.0,"half":1}"#;
        for (code, expected) in [
            (".minor / 100", "125000"),
            ("{a: (.minor / 100), b: [.half / 2]}", r#"{"a":125000,"b":[0.5]}"#),
            (".minor / 100 | tostring", r#""125000""#),
            (r#""\(.minor / 100) руб""#, r#""125000 руб""#),
            (r#""(\(.half / 2 * 2)) \("in \(.minor / (50 * 2))")""#, r#""(1) in 125000""#),
            (r#"@base64 "\(.minor / 100)""#, r#""MTI1MDAw""#),
            (r#""no \\(.x) here""#, r#""no \\(.x) here""#),
            (".read", "125000.0"),
            (".half / 3", "0.3333333333333333"),
        ] {
            assert_eq!(run(code, input).as_deref(), Ok(expected), "{code}");
        }
    }
}

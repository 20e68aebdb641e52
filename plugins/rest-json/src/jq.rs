//! jq expressions through the crate `jaq`, without clock, environment or anything else ambient.

use crate::numbers;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use busbar_sdk::{Rejection, money, rejection};
use jaq_core::load::{Arena, Error as LoadError, File, Loader, parse::Def};
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Compiler, Ctx, Error, Filter, Vars, data, unwrap_valr};
use jaq_json::{Val, read};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986, 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Definitions of the standard library that need what is left out here: regular expressions, dates, floating point
/// mathematics, HTML, standard error.
const LEFT_OUT: [&str; 35] = [
    "stderr",
    "debug",
    // Ours are stricter.
    "tonumber",
    "tostring",
    "halt",
    "halt_error",
    "logb",
    "significand",
    "pow10",
    "drem",
    "nexttoward",
    "scalb",
    "gamma",
    "capture_of_match",
    "test",
    "scan_",
    "match",
    "capture",
    "splits",
    "sub",
    "gsub",
    "scan",
    "todate",
    "fromdate",
    "@html",
    "@htmld",
    "@urid",
    "nan",
    "infinite",
    "isnan",
    "isinfinite",
    "isfinite",
    "isnormal",
    "finites",
    "normals",
];

pub(crate) type Data = data::JustLut<Val>;

/// JSON text as a value. The host and [`crate::mapping`] have bounded its depth.
pub fn parse(text: &str) -> Option<Val> {
    read::parse_single(text.as_bytes()).ok()
}

/// The one value that the expression gives for `input`.
///
/// # Errors
/// At `place`: `bad-mapping` when the expression does not compile, `mapping-failed` when it fails or gives no value or
/// several.
pub fn evaluate(code: &str, input: Val, place: &str) -> Result<Val, Rejection> {
    if let Some(value) = plain(code, &input) {
        return Ok(value);
    }
    let filter = compiled(code, place)?;
    let context = Ctx::<Data>::new(&filter.lut, Vars::new([]));
    let mut values = filter.id.run((context, input)).map(unwrap_valr);
    let failed = |reason: String| rejection("mapping-failed", format!("`{code}`: {reason}"), place);
    match (values.next(), values.next()) {
        (Some(Ok(value)), None) => Ok(numbers::whole(value)),
        // jaq puts the value concerned into its message, which may be long.
        (Some(Err(error)), _) | (_, Some(Err(error))) => Err(failed(error.to_string().chars().take(200).collect())),
        (None, _) => Err(failed("gives no value".to_owned())),
        (Some(Ok(_)), Some(Ok(_))) => Err(failed("gives more than one value".to_owned())),
    }
}

/// # Errors
/// `bad-mapping` when the expression does not compile.
pub fn check(code: &str, place: &str) -> Result<(), Rejection> {
    compiled(code, place).map(drop)
}

/// What a plain path such as `.data.account` leads to: most of a mapping's expressions, and compiling one takes longer
/// than all else that is done with it. Nothing where it is more than that, or leads through what is no object.
fn plain(code: &str, input: &Val) -> Option<Val> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    code.strip_prefix('.')?.split('.').try_fold(input.clone(), |value, name| match value {
        Val::Obj(fields) if is_name(name) => Some(fields.get(&Val::from(name.to_owned())).cloned().unwrap_or_default()),
        _ => None,
    })
}

/// Reading jq's own definitions takes ten times as long as everything else, and most mappings need none of them.
fn compiled(code: &str, place: &str) -> Result<Filter<Data>, Rejection> {
    let core = || jaq_core::defs().filter(is_kept).collect();
    let all = || jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).filter(is_kept).collect();
    let tiers: [&dyn Fn() -> Vec<Def<&'static str>>; 3] = [&Vec::new, &core, &all];
    let mut undefined = String::new();
    for defs in tiers {
        match compiled_with(code, defs(), place)? {
            Ok(filter) => return Ok(filter),
            Err(text) => undefined = text,
        }
    }
    Err(rejection("bad-mapping", format!("`{code}`: {undefined}"), place))
}

fn is_kept(def: &Def<&str>) -> bool {
    let with_flags = def.name == "split" && def.args.len() == 2;
    !LEFT_OUT.contains(&def.name) && !with_flags
}

/// The inner error names what is not defined.
fn compiled_with(
    code: &str,
    defs: Vec<Def<&'static str>>,
    place: &str,
) -> Result<Result<Filter<Data>, String>, Rejection> {
    let arena = Arena::default();
    let whole = numbers::interpolated(code);
    let modules = Loader::new(defs).load(&arena, File { code: &*whole, path: () }).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(|(_, error)| load_error(&whole, error)).collect();
        rejection("bad-mapping", format!("`{code}`: {}", texts.join("; ")), place)
    })?;
    Ok(Compiler::default().with_funs(natives()).compile(modules).map_err(|errors| {
        let undefined = errors.iter().flat_map(|(_, errors)| errors);
        let texts: Vec<String> = undefined.map(|(name, what)| format!("no {} {name}", what.as_str())).collect();
        texts.join("; ")
    }))
}

fn natives() -> impl Iterator<Item = Fun<Data>> {
    let funs = jaq_core::funs().chain(jaq_std::base_funs()).chain(jaq_json::funs());
    // jaq's own `fromjson` reads a text as a series of values: of none, of two, of one and then an error.
    funs.filter(|fun| !["halt", "fromjson"].contains(&fun.0)).chain(own_funs())
}

/// The value as JSON. jaq's values are more than JSON: bytes, NaN, objects with any keys.
///
/// # Errors
/// `mapping-failed` at `place` for what JSON cannot say.
pub fn json_text(value: &Val, place: &str) -> Result<String, Rejection> {
    let text = value.to_string();
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(rejection("mapping-failed", format!("{text} is no JSON"), place)),
    }
}

/// A text, number or boolean as text; nothing for null, arrays and objects.
pub fn scalar_text(value: &Val) -> Option<String> {
    match value {
        Val::TStr(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Val::Bool(_) | Val::Num(_) => Some(value.to_string()),
        _ => None,
    }
}

/// As one segment of a path or one value of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `@uri` and `@base64`, and money in whole minor units: `"12.50" | to_minor` is 1250, `1250 | from_minor` is `"12.50"`.
/// `null`, `true` and `false` are jq's own, here so that a mapping with them needs no definitions.
fn own_funs() -> impl Iterator<Item = Fun<Data>> {
    [
        run::<Data>(("null", v(0), |_| bome(Ok(Val::Null)))),
        run::<Data>(("true", v(0), |_| bome(Ok(Val::Bool(true))))),
        run::<Data>(("false", v(0), |_| bome(Ok(Val::Bool(false))))),
        run::<Data>(("fromjson", v(0), |cv| bome(numbers::from_json(&cv.1)))),
        run::<Data>(("tonumber", v(0), |cv| bome(numbers::to_number(&cv.1)))),
        run::<Data>(("tostring", v(0), |cv| bome(Ok(numbers::to_text(cv.1))))),
        run::<Data>((numbers::WHOLE, v(0), |cv| bome(Ok(numbers::whole(cv.1))))),
        run::<Data>(("encode_uri", v(0), |cv| bome(text_of(&cv.1).map(|text| Val::from(encoded(&text)))))),
        run::<Data>(("encode_base64", v(0), |cv| bome(text_of(&cv.1).map(|text| Val::from(STANDARD.encode(text)))))),
        run::<Data>(("decode_base64", v(0), |cv| {
            bome(text_of(&cv.1).and_then(|text| {
                let bytes = STANDARD.decode(text).map_err(Error::str)?;
                String::from_utf8(bytes).map(Val::from).map_err(Error::str)
            }))
        })),
        run::<Data>(("to_minor", v(0), |cv| {
            bome(text_of(&cv.1).and_then(|text| {
                let minor = money::parse_minor(&text).and_then(|minor| isize::try_from(minor).ok());
                minor.map(Val::from).ok_or_else(|| Error::str(format_args!("{text} is no sum with two decimals")))
            }))
        })),
        run::<Data>(("from_minor", v(0), |cv| {
            bome(text_of(&cv.1).and_then(|text| {
                let minor = text.parse::<i64>();
                minor.map(|minor| Val::from(money::format_minor(i128::from(minor)))).map_err(Error::str)
            }))
        })),
    ]
    .into_iter()
}

fn text_of(value: &Val) -> Result<String, Error<Val>> {
    scalar_text(value).ok_or_else(|| Error::str(format_args!("{value} is no text")))
}

fn load_error(code: &str, error: &LoadError<&str>) -> String {
    let at = |part: &str| jaq_core::load::span(code, part).start;
    match error {
        LoadError::Io(_) => "modules are not available".to_owned(),
        LoadError::Lex(errors) => errors
            .iter()
            .map(|(expected, found)| format!("expected {} at byte {}", expected.as_str(), at(found)))
            .collect::<Vec<_>>()
            .join(", "),
        LoadError::Parse(errors) => errors
            .iter()
            .map(|(expected, found)| match *found {
                "" => format!("expected {} at the end", expected.as_str()),
                found => format!("expected {} before `{found}`", expected.as_str()),
            })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests;

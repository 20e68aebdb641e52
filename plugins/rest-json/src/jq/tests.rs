use super::*;

fn run(code: &str, input: &str) -> Result<String, (String, String)> {
    evaluate(code, parse(input).unwrap(), "config, x")
        .map(|value| value.to_string())
        .map_err(|rejection| (rejection.code, rejection.reason))
}

#[test]
fn money_stays_what_it_is() {
    assert_eq!(run(".a", r#"{"a":"1234.50"}"#).unwrap(), r#""1234.50""#);
    assert_eq!(run(".a|tostring", r#"{"a":1234.50}"#).unwrap(), r#""1234.50""#);
    assert_eq!(run("{a:.a}", r#"{"a":12345678901234567890.10}"#).unwrap(), r#"{"a":12345678901234567890.10}"#);
    assert_eq!(run(".a|to_minor", r#"{"a":"1234.50"}"#).unwrap(), "123450");
    assert_eq!(run(".a|from_minor", r#"{"a":-5}"#).unwrap(), r#""-0.05""#);
    assert_eq!(run(".a|to_minor", r#"{"a":"1.234"}"#).unwrap_err().0, "mapping-failed");
}

#[test]
fn a_plain_path_means_what_it_means_to_jq() {
    for input in [r#"{"a":{"b":[1,"x"],"_c9":null}}"#, r#"{"a":null}"#, "{}", "null", "[]", r#""text""#, "7"] {
        for code in [".a", ".a.b", ".a._c9", ".a.b.c", ".", ".a.", ".a..b", ". a", ".9", ".a[0]", ".ы", "..", ".a b"] {
            assert_eq!(run(code, input).ok(), run(&format!("{code}|."), input).ok(), "{code} of {input}");
        }
    }
}

#[test]
fn no_native_function_means_something_else_once_the_definitions_are_there() {
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).filter(is_kept);
    let both: Vec<_> = defs
        .map(|def| (def.name, def.args.len()))
        .filter(|(name, args)| natives().any(|(native, own, _)| native == *name && own.len() == *args))
        .collect();
    // These are ours, and mean the same.
    assert_eq!(both, [("true", 0), ("false", 0), ("null", 0)]);
    for code in ["null", "true", "false", "[.a, null]|length", "if .a == null then true else false end"] {
        let with_all = format!("({code})|[.]|flatten|if length == 1 then .[0] else . end");
        assert_eq!(run(code, "{}"), run(&with_all, "{}"), "{code}");
    }
}

#[test]
fn the_usual_things_work() {
    let input = r#"{"n":"Ёлка & К","items":[{"s":"a","v":2},{"s":"b","v":1}],"x":null}"#;
    for (code, expected) in [
        (r#"@uri "\(.n)""#, r#""%D0%81%D0%BB%D0%BA%D0%B0%20%26%20%D0%9A""#),
        (r#""ab"|@base64"#, r#""YWI=""#),
        (".items|map(.v)|add", "3"),
        (".items|sort_by(.v)|.[0].s", r#""b""#),
        (".x // \"none\"", r#""none""#),
        ("if .x then 1 else 2 end", "2"),
        ("[.items[]|select(.v>1)|.s]|join(\",\")", r#""a""#),
        ("with_entries(select(.value != null))|keys", r#"["items","n"]"#),
        (".n|ascii_downcase|startswith(\"Ё\")", "true"),
        ("\"31.12.2026\"|split(\".\")|reverse|join(\"-\")", r#""2026-12-31""#),
        ("reduce .items[] as $i (0; .+$i.v)", "3"),
        (".items|to_entries|length", "2"),
        (".x|type", r#""null""#),
    ] {
        assert_eq!(run(code, input).as_deref(), Ok(expected), "{code}");
    }
}

#[test]
fn only_json_leaves() {
    for code in ["0/0", "{(.a|tostring):1}", "{(.a):1}", "\"x\"|tobytes"] {
        let value = evaluate(code, parse(r#"{"a":1}"#).unwrap(), "").unwrap();
        let good = code.contains("tostring");
        assert_eq!(json_text(&value, "").is_ok(), good, "{code} gives {value}");
    }
}

#[test]
fn mistakes_are_told_apart() {
    for (code, expected) in [
        ("{", "bad-mapping"),
        (".a |", "bad-mapping"),
        ("nosuch", "bad-mapping"),
        ("now", "bad-mapping"),
        ("env", "bad-mapping"),
        ("halt", "bad-mapping"),
        ("$ENV", "bad-mapping"),
        ("input", "bad-mapping"),
        ("include \"a\"; 1", "bad-mapping"),
        ("error(\"x\")", "mapping-failed"),
        (".a.b", "mapping-failed"),
        ("empty", "mapping-failed"),
        ("1,2", "mapping-failed"),
    ] {
        assert_eq!(run(code, r#"{"a":1}"#).unwrap_err().0, expected, "{code}");
    }
    let (_, reason) = run("nosuch", "1").unwrap_err();
    assert_eq!(reason, "`nosuch`: no filter nosuch");
}

/// The README lists what is left out; none of it compiles, in any number of arguments.
#[test]
fn what_is_left_out_is_what_the_readme_says() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("Left out, so that").unwrap();
    let (list, _) = rest.split_once("`tonumber` and").unwrap();
    let names: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let forms = match name.split_once('/') {
            Some((name, "2")) => vec![format!("{name}(\"a\"; \"b\")")],
            _ => vec![
                name.to_owned(),
                format!("{name}(\"a\")"),
                format!("{name}(\"a\"; \"b\")"),
                format!("{name} \"a\""),
            ],
        };
        for code in forms {
            assert_eq!(run(&code, "{}").map_err(|(code, _)| code), Err("bad-mapping".to_owned()), "{code}");
        }
    }
    // And these, which one might think of as well, are there.
    for code in [
        "ascii_downcase",
        "ltrimstr(\"a\")",
        "limit(1; 1)",
        "first(1, 2)",
        "@base64",
        "@uri",
        "@json",
        "@text",
        "@sh",
        "tojson",
        "floor",
        "explode",
        "split(\"a\")",
        "any",
        "all",
        "unique",
        "group_by(.)",
        "min_by(.)",
        "paths",
        "getpath([])",
        "ascii_upcase",
        "trim",
        "abs",
        "round",
    ] {
        if let Err((code_of_it, reason)) = run(&format!("[\"a\" | try ({code}) catch null]"), "{}") {
            assert_ne!(code_of_it, "bad-mapping", "{code}: {reason}");
        }
    }
}

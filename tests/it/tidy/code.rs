//! Rules about Rust sources.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

pub fn file(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX}: split it"));
    }
    if path.ends_with("/mod.rs") {
        faults.push(format!("{path}: call it after its module, beside its folder"));
    }
    faults
}

pub fn functions(path: &str, text: &str) -> Vec<String> {
    struct Functions(Vec<(String, usize, usize)>);
    impl Functions {
        fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
            let (from, to) = (signature.span().start().line, block.span().end().line);
            self.0.push((signature.ident.to_string(), from, to + 1 - from));
        }
    }
    impl Visit<'_> for Functions {
        fn visit_item_fn(&mut self, item: &syn::ItemFn) {
            self.add(&item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &syn::ImplItemFn) {
            self.add(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
        fn visit_trait_item_fn(&mut self, item: &syn::TraitItemFn) {
            if let Some(block) = &item.default {
                self.add(&item.sig, block);
            }
            visit::visit_trait_item_fn(self, item);
        }
    }
    let parsed = match syn::parse_file(text) {
        Ok(parsed) => parsed,
        Err(e) => return vec![format!("{path}:{}: {e}", e.span().start().line)],
    };
    let mut found = Functions(Vec::new());
    found.visit_file(&parsed);
    let long = found.0.into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(name, from, lines)| format!("{path}:{from}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}"))
        .collect()
}

/// Panics by design, outside `#[cfg(test)]`. Read as tokens, so that the arguments of macros are seen
/// and comments and texts are not.
pub fn panics(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if let Ok(tokens) = text.parse() {
        scan(tokens, &mut |line, what| faults.push(format!("{path}:{line}: `{what}` in the host; give an error")));
    }
    faults
}

fn scan(tokens: TokenStream, fault: &mut impl FnMut(usize, String)) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        match token {
            TokenTree::Punct(p) if p.as_char() == '#' && next.is_some_and(is_cfg_test) => {
                // The item that follows ends with its braces or a semicolon.
                at += tokens.iter().skip(at).take_while(|t| !ends_item(t)).count();
            }
            TokenTree::Ident(name) => {
                let name = name.to_string();
                let after_dot = at > 0 && tokens.get(at - 1).is_some_and(|t| is_punct(t, '.'));
                let called = next.is_some_and(|t| is_group(t, Delimiter::Parenthesis));
                let is_macro = next.is_some_and(|t| is_punct(t, '!'));
                if (["unwrap", "expect"].contains(&name.as_str()) && after_dot && called)
                    || (["panic", "todo", "unimplemented"].contains(&name.as_str()) && is_macro)
                {
                    fault(token.span().start().line, name);
                }
            }
            TokenTree::Group(group) => scan(group.stream(), fault),
            _ => {}
        }
        at += 1;
    }
}

fn is_cfg_test(token: &TokenTree) -> bool {
    is_group(token, Delimiter::Bracket) && token.to_string().replace(' ', "") == "[cfg(test)]"
}

fn ends_item(token: &TokenTree) -> bool {
    is_group(token, Delimiter::Brace) || is_punct(token, ';')
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == wanted)
}

fn is_group(token: &TokenTree, wanted: Delimiter) -> bool {
    matches!(token, TokenTree::Group(g) if g.delimiter() == wanted)
}

const WORLD: &[&str] = &["net", "fs", "process", "env", "thread", "SystemTime", "Instant"];

/// Sockets, files, processes, environment and clocks of the standard library.
pub fn world(path: &str, text: &str) -> Vec<String> {
    let found = below(text, "std", WORLD).into_iter();
    found.map(|(line, name)| format!("{path}:{line}: core uses std's `{name}`; take it by a port")).collect()
}

/// Where one of `names` stands in a path that begins with, or goes through, `root`: `root::a::b` or `root::{a, b::{c}}`.
pub fn below(text: &str, root: &str, names: &[&str]) -> Vec<(usize, String)> {
    fn idents(token: TokenTree, found: &mut Vec<String>) {
        match token {
            TokenTree::Ident(name) => found.push(name.to_string()),
            TokenTree::Group(group) => group.stream().into_iter().for_each(|t| idents(t, found)),
            _ => {}
        }
    }
    fn search(tokens: TokenStream, root: &str, names: &[&str], faults: &mut Vec<(usize, String)>) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(name) if name == root => {
                    let mut found = Vec::new();
                    let mut rest = tokens.iter().skip(at + 1);
                    // What follows `::` is a part of the path, and nothing else is.
                    while rest.next().is_some_and(|t| is_punct(t, ':')) && rest.next().is_some_and(|t| is_punct(t, ':'))
                    {
                        rest.next().cloned().into_iter().for_each(|t| idents(t, &mut found));
                    }
                    let line = token.span().start().line;
                    found.retain(|name| names.contains(&name.as_str()));
                    faults.extend(found.into_iter().map(|name| (line, name)));
                }
                TokenTree::Group(group) => search(group.stream(), root, names, faults),
                _ => {}
            }
        }
    }
    let mut faults = Vec::new();
    if let Ok(tokens) = text.parse() {
        search(tokens, root, names, &mut faults);
    }
    faults
}

/// JSON of a body, read without forgiving the byte order mark that some software writes before it.
pub fn marked_bodies(path: &str, text: &str) -> Vec<String> {
    let reads = |line: &str| {
        let argument = line.split_once("serde_json::from_slice").and_then(|(_, rest)| rest.split_once('('));
        argument.is_some_and(|(_, rest)| rest.split(')').next().is_some_and(|name| name.ends_with("body")))
    };
    let found = text.lines().enumerate().filter(|(_, line)| reads(line) && !line.contains("without_bom"));
    found.map(|(n, _)| format!("{path}:{}: JSON of a body; read `without_bom` of it", n + 1)).collect()
}

#[test]
fn bad_sources_are_seen() {
    assert_eq!(file("a.rs", &"\n".repeat(500)), Vec::<String>::new());
    assert_eq!(file("a.rs", &"\n".repeat(501)).len(), 1);
    assert_eq!(file("host/core/src/route/mod.rs", "").len(), 1);

    let of = |lines: usize| format!("{{\n{}}}\n", "let _ = 1;\n".repeat(lines - 2));
    let source =
        |lines| format!("/// Doc\n#[inline]\nfn plain() {}impl A {{ async fn of_impl() {}}}\n", of(lines), of(lines));
    assert_eq!(functions("a.rs", &source(70)), Vec::<String>::new());
    let found = functions("a.rs", &source(71));
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("a.rs:3: `plain` has 71 lines"), "{found:?}");
    assert_eq!(functions("a.rs", &format!("trait T {{ fn t() {}}}", of(71))).len(), 1);
    assert_eq!(functions("a.rs", &format!("mod m {{ fn outer() {{ fn inner() {}}}}}", of(80))).len(), 2);
    assert_eq!(functions("a.rs", "fn broken( {").len(), 1);
}

#[test]
fn panics_are_seen_outside_tests_only() {
    let bad =
        "fn a() {\n b.unwrap();\n c\n  .expect(\"x\");\n panic!(\"x\");\n select! { _ = d.unwrap() => todo!() }\n}";
    let found = panics("a.rs", bad);
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[0].starts_with("a.rs:2: `unwrap`"), "{found:?}");
    let good = "// b.unwrap()\nfn a() { \"panic!()\"; b.unwrap_or_default(); b.expect; }\n\
                #[cfg(test)]\nuse x;\n#[cfg(test)]\nmod tests { fn t() { b.unwrap(); panic!() } }";
    assert_eq!(panics("a.rs", good), Vec::<String>::new());
    let after = "#[cfg(test)]\nmod tests { fn t() { b.unwrap() } }\nfn a() { b.unwrap() }";
    assert_eq!(panics("a.rs", after).len(), 1);
}

#[test]
fn the_world_is_seen_in_core() {
    for bad in [
        "use std::fs;",
        "use std::net::TcpStream;",
        "use std::{fmt, env};",
        "use std::time::{Duration, Instant};",
        "use std::{sync::Arc, time::{Duration, SystemTime}};",
        "fn a() { std::process::exit(1) }",
        "fn a() { format!(\"{:?}\", std::env::args()) }",
    ] {
        assert_eq!(world("a.rs", bad).len(), 1, "{bad}");
    }
    let good = "use std::{fmt, sync::Arc};\nuse std::time::Duration;\n// std::fs\nfn fs() { net(\"std::env\") }";
    assert_eq!(world("a.rs", good), Vec::<String>::new());
}

#[test]
fn bodies_are_seen_that_no_mark_may_precede() {
    for bad in ["serde_json::from_slice(&response.body)?;", "serde_json::from_slice::<Vec<Value>>(body).ok()"] {
        assert_eq!(marked_bodies("a.rs", bad).len(), 1, "{bad}");
    }
    for good in ["serde_json::from_slice(without_bom(&response.body))?;", "serde_json::from_slice(&bytes)"] {
        assert_eq!(marked_bodies("a.rs", good), Vec::<String>::new());
    }
}

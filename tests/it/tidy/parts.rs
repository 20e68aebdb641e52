//! The parts of `host/server`: which one knows which. The table in `host/README.md` says it, and the code's own paths are
//! held against it.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};

const SOURCES: &str = "host/server/src/";

/// Parts with the parts that each may know; `everything` is all of them that do not know everything themselves.
pub type Known = BTreeMap<String, BTreeSet<String>>;

/// The table of `host/README.md`: lines that begin with a part's name and end with what it knows.
pub fn known(readme: &str) -> Known {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(|word| part(word).to_string()).collect::<Vec<_>>();
    let table = readme.lines().skip_while(|line| !line.starts_with("| part of `server/src`")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|')).map(cells);
    let row = |row: Vec<String>| {
        let name = words(row.get(1)?).into_iter().next()?;
        Some((name, words(row.get(3)?).into_iter().collect()))
    };
    let mut all: Known = rows.filter_map(row).collect();
    let others = all.iter().filter(|(_, knows)| !knows.contains("everything"));
    let others: Vec<_> = others.map(|(name, _)| name.clone()).collect();
    for knows in all.values_mut() {
        if knows.remove("everything") {
            knows.extend(others.iter().cloned());
        }
    }
    all
}

/// `hub/driver.rs` and `hub.rs` are of the part `hub`.
fn part(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// Paths `crate::x` and `crate::{x, y}`, of a `use` or not, by line.
fn paths(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if name == "crate" => match tokens.get(at + 3) {
                Some(TokenTree::Ident(part)) => found.push((part.span().start().line, part.to_string())),
                Some(TokenTree::Group(group)) => {
                    let mut first = true;
                    for token in group.stream() {
                        match &token {
                            TokenTree::Ident(part) if first => {
                                found.push((part.span().start().line, part.to_string()));
                                first = false;
                            }
                            TokenTree::Punct(p) if p.as_char() == ',' => first = true,
                            _ => {}
                        }
                    }
                }
                _ => {}
            },
            TokenTree::Group(group) => paths(group.stream(), found),
            _ => {}
        }
    }
}

/// What a file of `host/server` knows that its part must not.
pub fn walls(known: &Known, path: &str, text: &str) -> Vec<String> {
    let Some(own) = path.strip_prefix(SOURCES).map(part).filter(|own| !["lib", "main"].contains(own)) else {
        return vec![];
    };
    let Some(allowed) = known.get(own) else { return vec![format!("{path}: host/README.md has no part `{own}`")] };
    let mut found = Vec::new();
    if let Ok(tokens) = text.parse() {
        paths(tokens, &mut found);
    }
    let strange = found.into_iter().filter(|(_, other)| other != own && !allowed.contains(other));
    strange.map(|(line, other)| format!("{path}:{line}: `{own}` does not know `{other}` (host/README.md)")).collect()
}

/// Parts that know each other, directly or through others.
pub fn circles(known: &Known) -> Vec<String> {
    let mut open = known.clone();
    while let Some(leaf) = open.iter().find(|(_, knows)| knows.is_empty()).map(|(name, _)| name.clone()) {
        open.remove(&leaf);
        for knows in open.values_mut() {
            knows.remove(&leaf);
        }
    }
    open.into_iter()
        .map(|(name, knows)| format!("`{name}` is in a circle, or knows what is no part: {knows:?}"))
        .collect()
}

/// Rows that say more than the code does.
pub fn unused(known: &Known, sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut unused = Vec::new();
    for (name, knows) in known.iter().filter(|(name, _)| !["app", "cli"].contains(&name.as_str())) {
        let own = sources.iter().filter(|(path, _)| path.strip_prefix(SOURCES).map(part) == Some(name));
        let mut found = Vec::new();
        own.filter_map(|(_, text)| text.parse().ok()).for_each(|tokens| paths(tokens, &mut found));
        let used: BTreeSet<_> = found.into_iter().map(|(_, other)| other).collect();
        unused.extend(knows.difference(&used).map(|other| format!("host/README.md: `{name}` does not use `{other}`")));
    }
    unused
}

#[test]
fn a_wall_with_a_hole_is_seen() {
    let readme = "| part of `server/src` | one reason | knows |\n|---|---|---|\n| `app.rs` | wires | `everything` |\n\
                  | `hub/` | drives | `wasm` |\n| `wasm/` | runs | |\n\nelse";
    let known = known(readme);
    assert_eq!(known["app"].len(), 2, "{known:?}");
    let good = "use crate::wasm::{Caller, Run};\nuse super::x;\nfn f() { crate::hub::g() }";
    assert_eq!(walls(&known, "host/server/src/hub/driver.rs", good), Vec::<String>::new());
    for bad in ["use crate::app::start;", "use crate::{wasm::Run, app::start};", "fn f() { vec![crate::app::start()] }"]
    {
        assert_eq!(walls(&known, "host/server/src/hub.rs", bad).len(), 1, "{bad}");
    }
    assert_eq!(walls(&known, "host/server/src/new.rs", "").len(), 1, "a part without a row");
    assert!(circles(&known).is_empty());
    let mut round = known.clone();
    round.get_mut("wasm").unwrap().insert("hub".into());
    assert_eq!(circles(&round).len(), 3, "{:?}", circles(&round));
    let sources = BTreeMap::from([("host/server/src/hub.rs".to_string(), "use crate::app;".to_string())]);
    assert_eq!(unused(&known, &sources).len(), 1);
}

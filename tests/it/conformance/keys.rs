//! That the list of `tests/keys.sh` does not rot: each part of a key is deleted there by hand, to see that a test notices.

use super::adapters;
use super::identity::states_money;
use crate::hub::root;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    key: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    adapter: String,
    part: String,
    /// In the adapter's folder.
    file: String,
    text: String,
    without: String,
    /// The adapter's own test that must notice; conformance::identity where there is none.
    native: Option<String>,
}

#[test]
fn each_part_of_a_key_is_where_the_list_has_it() {
    let text = std::fs::read_to_string(root().join("tests/fixtures/keys.toml")).unwrap();
    let keys: Keys = toml::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for Key { adapter, part, file, text, without, native } in &keys.key {
        let folder = root().join("plugins").join(adapter);
        let source = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        if source.matches(text.as_str()).count() != 1 || text == without {
            wrong.push(format!("{adapter}, {part}: {file} has not once `{text}`, which would become `{without}`"));
        }
        let tests = std::fs::read_to_string(folder.join("src/mapping/tests.rs")).unwrap_or_default();
        if native.as_ref().is_some_and(|native| !tests.contains(&format!("fn {native}("))) {
            wrong.push(format!("{adapter}, {part}: there is no test {native:?}"));
        }
    }
    let named: BTreeSet<&str> = keys.key.iter().map(|key| key.adapter.as_str()).collect();
    let missing = adapters().filter(|adapter| states_money(adapter) && !named.contains(adapter.as_str()));
    wrong.extend(missing.map(|adapter| format!("{adapter} states money, and keys.toml has no part of its key")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

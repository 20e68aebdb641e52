//! The project's own order, over every file that git knows or would add. Each rule is a function that
//! lists what is wrong, and each is shown here that it sees a bad example.

mod code;
mod delivery;
mod layers;
mod names;
mod parts;
mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    let tests = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_string());
    Path::new(&tests).parent().unwrap().to_path_buf()
}

/// Paths from the root, `/` between.
fn files() -> BTreeSet<String> {
    let asked = ["-c", "core.quotepath=off", "ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(asked).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    // A file that was removed but not yet from the index is not there any more.
    listed.lines().filter(|path| root().join(path).is_file()).map(str::to_string).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn fails_if_any(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn each(wanted: impl Fn(&str) -> bool, rule: impl Fn(&str, &str) -> Vec<String>) {
    let found = files().into_iter().filter(|path| wanted(path));
    fails_if_any(found.flat_map(|path| rule(&path, &read(&path))).collect());
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_host_source(path: &str) -> bool {
    is_rust(path) && path.starts_with("host/") && path.contains("/src/")
}

#[test]
fn files_are_short_and_named_after_their_module() {
    each(is_rust, code::file);
}

#[test]
fn functions_are_short() {
    each(is_rust, code::functions);
}

#[test]
fn the_host_does_not_panic() {
    each(|path| is_host_source(path) && !path.ends_with("/tests.rs"), code::panics);
}

#[test]
fn core_does_not_touch_the_world() {
    each(|path| is_host_source(path) && path.starts_with("host/core/"), code::world);
}

#[test]
fn the_server_holds_no_rule_of_delivery() {
    each(|path| is_host_source(path) && path.starts_with("host/server/"), delivery::rules);
}

#[test]
fn a_name_means_one_thing() {
    let sources = files().into_iter().filter(|path| is_host_source(path));
    fails_if_any(names::shared(&sources.map(|path| (path.clone(), read(&path))).collect()));
}

#[test]
fn dependencies_point_one_way() {
    each(|path| path.ends_with("Cargo.toml"), layers::dependencies);
}

#[test]
fn parts_know_what_the_table_says() {
    let known = parts::known(&read("host/README.md"));
    let sources = files().into_iter().filter(|path| is_host_source(path) && path.starts_with("host/server/"));
    let sources = sources.map(|path| (path.clone(), read(&path))).collect();
    let faults = parts::circles(&known).into_iter().chain(parts::unused(&known, &sources));
    let walls = sources.iter().flat_map(|(path, text)| parts::walls(&known, path, text));
    fails_if_any(faults.chain(walls).collect());
}

#[test]
fn the_root_holds_only_what_the_layout_names() {
    fails_if_any(layers::root_entries(&files()));
}

#[test]
fn adapters_have_one_shape() {
    fails_if_any(shape::adapters(
        &files(),
        &std::fs::read_to_string(root().join("plugins/README.md")).unwrap_or_default(),
    ));
}

#[test]
fn adapters_read_bodies_with_a_byte_order_mark() {
    each(|path| is_rust(path) && path.starts_with("plugins/") && !path.ends_with("tests.rs"), code::marked_bodies);
}

#[test]
fn schema_examples_do_what_they_say() {
    let schemas = files().into_iter().filter(|path| path.starts_with("schemas/") && path.ends_with(".json"));
    fails_if_any(shape::schemas(&schemas.map(|path| (path.clone(), read(&path))).collect()));
}

#!/usr/bin/env bash
# jaq's division gives a number with a point even when it comes out even.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check jq==1.13.0
mkdir src
cat > Cargo.toml <<'END'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[profile.dev]
debug = false

[dependencies]
jaq-core = "=3.1.2"
jaq-json = "=2.0.3"
jaq-std = "=3.0.4"

[workspace]
END
cat > src/main.rs <<'END'
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{data, unwrap_valr, Compiler, Ctx, Vars};
use jaq_json::{read, Val};

fn main() {
    let arena = Arena::default();
    let loader = Loader::new(jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()));
    let file = File { code: &*std::env::args().nth(1).unwrap(), path: () };
    let modules = loader.load(&arena, file).unwrap();
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let filter = Compiler::default().with_funs(funs).compile(modules).unwrap();
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let input = read::parse_single(br#"{"kopecks":12500}"#).unwrap();
    println!("jaq {}", filter.id.run((context, input)).map(unwrap_valr).next().unwrap().unwrap());
}
END

echo "crates jaq-core 3.1.2, jaq-json 2.0.3, jaq-std 3.0.4; PyPI jq 1.13.0"
echo "12500 / 100 is 125 for jq and 125.0 for jaq, also inside of a text made from it."
expected='jaq {"sum":125.0,"text":"125.0 rub"}
jq  {"sum": 125, "text": "125 rub"}'
code='{sum: (.kopecks / 100), text: "\(.kopecks / 100) rub"}'
seen=$(CARGO_TARGET_DIR=$work/target cargo run -q -- "$code"
    python/bin/python -c 'import jq, sys; print("jq ", jq.compile(sys.argv[1]).input_text("{\"kopecks\":12500}").text())' "$code")
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

#!/usr/bin/env bash
# jaq reads a text as a series of values where jq insists on exactly one.
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
    for code in ["tonumber", "fromjson"] {
        for text in ["\"\"", "\"125 00\"", "\"2026-11-28\""] {
            let arena = Arena::default();
            let loader = Loader::new(jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()));
            let modules = loader.load(&arena, File { code, path: () }).unwrap();
            let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
            let filter = Compiler::default().with_funs(funs).compile(modules).unwrap();
            let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
            let input = read::parse_single(text.as_bytes()).unwrap();
            let results: Vec<_> = filter.id.run((context, input)).map(unwrap_valr).take(9).collect();
            let shown: Vec<_> = results.iter().map(|r| r.as_ref().map_or("an error".into(), Val::to_string)).collect();
            println!("jaq {code} {text}: {} [{}]", shown.len(), shown.join(", "));
        }
    }
}
END
cat > ask.py <<'END'
import jq

for code in ["tonumber", "fromjson"]:
    for text in ["", "125 00", "2026-11-28"]:
        try:
            print(f'jq  {code} "{text}":', jq.compile(code).input_value(text).all())
        except ValueError:
            print(f'jq  {code} "{text}": an error')
END

echo "crates jaq-core 3.1.2, jaq-json 2.0.3, jaq-std 3.0.4; PyPI jq 1.13.0"
echo "A text that is not one number is an error to jq. To jaq it is a series: of none for an empty text, of two or three for others,"
echo "so that a field disappears or an object is made several times over, without any error."
expected='jaq tonumber "": 0 []
jaq tonumber "125 00": 2 [125, 0]
jaq tonumber "2026-11-28": 3 [2026, -11, -28]
jaq fromjson "": 0 []
jaq fromjson "125 00": 2 [125, 0]
jaq fromjson "2026-11-28": 3 [2026, -11, -28]
jq  tonumber "": an error
jq  tonumber "125 00": an error
jq  tonumber "2026-11-28": an error
jq  fromjson "": an error
jq  fromjson "125 00": an error
jq  fromjson "2026-11-28": an error'
seen=$(CARGO_TARGET_DIR=$work/target cargo run -q && python/bin/python ask.py)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

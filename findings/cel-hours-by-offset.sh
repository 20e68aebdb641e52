#!/usr/bin/env bash
# The crate cel asks a timestamp for its hour in the offset that it was written with, not in UTC.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat > Cargo.toml <<'END'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[profile.dev]
debug = false

[dependencies]
cel = { version = "=0.15.0", default-features = false, features = ["chrono"] }

[workspace]
END
cat > src/main.rs <<'END'
fn main() {
    for text in ["2026-11-28T02:00:00+05:00", "2026-11-27T21:00:00Z"] {
        for part in ["getHours()", "getDate()", "getHours('UTC')"] {
            let program = cel::Program::compile(&format!("timestamp('{text}').{part}")).unwrap();
            println!("{text} {part}: {:?}", program.execute(&cel::Context::default()));
        }
    }
    let same = cel::Program::compile("timestamp('2026-11-28T02:00:00+05:00') == timestamp('2026-11-27T21:00:00Z')").unwrap();
    println!("the same: {:?}", same.execute(&cel::Context::default()));
}
END

echo "crate cel 0.15.0"
echo "Without a zone, CEL's getHours, getDate and the others are about UTC. Here two equal timestamps have different hours and dates,"
echo "by the offset in their texts."
expected="2026-11-28T02:00:00+05:00 getHours(): Ok(Int(2))
2026-11-28T02:00:00+05:00 getDate(): Ok(Int(28))
2026-11-28T02:00:00+05:00 getHours('UTC'): Ok(Int(21))
2026-11-27T21:00:00Z getHours(): Ok(Int(21))
2026-11-27T21:00:00Z getDate(): Ok(Int(27))
2026-11-27T21:00:00Z getHours('UTC'): Ok(Int(21))
the same: Ok(Bool(true))"
seen=$(CARGO_TARGET_DIR=$work/target cargo run -q)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

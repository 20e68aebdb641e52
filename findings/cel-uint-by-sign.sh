#!/usr/bin/env bash
# The crate cel counts down from a negative number of JSON but not from a positive one.
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
cel = { version = "=0.15.0", default-features = false, features = ["json"] }
serde_json = "=1.0.154"

[workspace]
END
cat > src/main.rs <<'END'
fn main() {
    let minus = cel::Program::compile("balance - 1").unwrap();
    for text in ["-5", "5", "5.0"] {
        let mut context = cel::Context::default();
        context.add_variable("balance", serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap();
        println!("balance {text}: balance - 1 is {:?}", minus.execute(&context));
    }
}
END

echo "crate cel 0.15.0"
echo "An integer of JSON becomes an int when it is negative and a uint otherwise, and uint minus int has no overload: an expression over"
echo "one field works or fails by the sign of the value. (A number with a point is a double, which CEL does not mix with int either.)"
expected='balance -5: balance - 1 is Ok(Int(-6))
balance 5: balance - 1 is Err(UnsupportedBinaryOperator("sub", UInt(5), Int(1)))
balance 5.0: balance - 1 is Err(UnsupportedBinaryOperator("sub", Float(5.0), Int(1)))'
seen=$(CARGO_TARGET_DIR=$work/target cargo run -q)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

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
cat > ask.go <<'END'
package main

import (
	"fmt"

	"github.com/google/cel-go/cel"
)

func main() {
	env, err := cel.NewEnv()
	if err != nil {
		panic(err)
	}
	for _, part := range []string{"getHours()", "getDate()"} {
		tree, issues := env.Compile("timestamp('2026-11-28T02:00:00+05:00')." + part)
		if issues.Err() != nil {
			panic(issues.Err())
		}
		program, err := env.Program(tree)
		if err != nil {
			panic(err)
		}
		value, _, err := program.Eval(cel.NoVars())
		if err != nil {
			panic(err)
		}
		fmt.Printf("cel-go: 2026-11-28T02:00:00+05:00 %s: %v\n", part, value)
	}
}
END
go mod init finding 2>/dev/null
go get github.com/google/cel-go/cel@v0.26.1 2>/dev/null

echo "crate cel 0.15.0, Go github.com/google/cel-go v0.26.1"
echo "Without a zone, CEL's getHours, getDate and the others are about UTC, and cel-go has it so. With the crate two equal timestamps have"
echo "different hours and dates, by the offset in their texts."
expected="2026-11-28T02:00:00+05:00 getHours(): Ok(Int(2))
2026-11-28T02:00:00+05:00 getDate(): Ok(Int(28))
2026-11-28T02:00:00+05:00 getHours('UTC'): Ok(Int(21))
2026-11-27T21:00:00Z getHours(): Ok(Int(21))
2026-11-27T21:00:00Z getDate(): Ok(Int(27))
2026-11-27T21:00:00Z getHours('UTC'): Ok(Int(21))
the same: Ok(Bool(true))
cel-go: 2026-11-28T02:00:00+05:00 getHours(): 21
cel-go: 2026-11-28T02:00:00+05:00 getDate(): 27"
seen=$(CARGO_TARGET_DIR=$work/target cargo run -q && go run ask.go)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

#!/usr/bin/env bash
# Are the tests of what is one fact worth anything? Deletes each part of the keys in tests/fixtures/keys.toml, one at a time and in a
# copy, and says which test notices. Fails where none does. By hand, after tests/run.sh: about half a minute for each part.
#   tests/keys.sh [adapter]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
only="${1:-}"
target="${CARGO_TARGET_DIR:-$root/target}"
copy="$target/keys/copy"
rm -rf "$copy" && mkdir -p "$copy"
trap 'rm -rf "$copy"' EXIT

# What CARGO_TARGET_DIR has is the tree's own; the copy has another folder, which all its builds share and later runs find.
cargo build --quiet --locked -p busbar-server
test="$(cargo test --quiet --locked -p busbar-tests --test it --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\/it-[^"]*\)".*/\1/p' | tail -1)"
git ls-files -z --cached --others --exclude-standard plugins wit | xargs -0 cp --parents -t "$copy"
built="${BUSBAR_TEST_ADAPTERS:-$root/plugins/target/adapters}"
export CARGO_TARGET_DIR="$target/keys" BUSBAR_PLUGINS_TARGET_DIR="$target/keys" BUSBAR_TEST_ADAPTERS="$copy/adapters"

# Does something notice that the adapter is as it is now?
noticed() {
  local adapter="$1" native="$2"
  if [ -n "$native" ]; then
    (cd "$copy/plugins" && cargo test --quiet --locked -p "$adapter" --lib --no-run) >>"$copy/log" 2>&1 || return 2
    ! (cd "$copy/plugins" && cargo test --quiet --locked -p "$adapter" --lib "$native") >>"$copy/log" 2>&1
  else
    rm -rf "$copy/adapters" && cp -r "$built" "$copy/adapters"
    "$target/debug/busbar" adapter build "$adapter" --plugins "$copy/plugins" --into "$copy/adapters" >>"$copy/log" 2>&1 || return 2
    ! "$test" conformance::identity >>"$copy/log" 2>&1
  fi
}

# As they are, the tests must pass: otherwise each deletion would seem noticed.
while IFS=$'\t' read -r adapter native; do
  : >"$copy/log"
  if noticed "$adapter" "$native" || [ $? -ne 1 ]; then
    cat "$copy/log" >&2
    echo "$adapter: ${native:-conformance::identity} fails with nothing deleted" >&2
    exit 1
  fi
done < <(python3 - "$only" <<'PYTHON'
import sys, tomllib
keys = [key for key in tomllib.load(open("tests/fixtures/keys.toml", "rb"))["key"] if sys.argv[1] in ("", key["adapter"])]
for native, adapter in {(key.get("native", ""), key["adapter"] if "native" in key else ""): key["adapter"] for key in keys}.items():
    print(adapter, native[0], sep="\t")
PYTHON
)

missed=0
for index in $(python3 - "$only" <<'PYTHON'
import sys, tomllib
keys = tomllib.load(open("tests/fixtures/keys.toml", "rb"))["key"]
print(*(index for index, key in enumerate(keys) if sys.argv[1] in ("", key["adapter"])))
PYTHON
); do
  IFS=$'\t' read -r adapter part file native < <(python3 - "$index" "$copy/plugins" <<'PYTHON'
import pathlib, sys, tomllib
key = tomllib.load(open("tests/fixtures/keys.toml", "rb"))["key"][int(sys.argv[1])]
path = pathlib.Path(sys.argv[2], key["adapter"], key["file"])
text = path.read_text(encoding="utf-8")
assert text.count(key["text"]) == 1, key
path.write_text(text.replace(key["text"], key["without"]), encoding="utf-8")
print(key["adapter"], key["part"], key["file"], key.get("native", ""), sep="\t")
PYTHON
  )
  : >"$copy/log"
  result=0
  noticed "$adapter" "$native" || result=$?
  case "$result" in
    0) said="noticed by ${native:-conformance::identity}" ;;
    1) said="NOT NOTICED" missed=$((missed + 1)) ;;
    *) said="DOES NOT BUILD" missed=$((missed + 1)) && tail -20 "$copy/log" >&2 ;;
  esac
  printf '%-22s %-48s %s\n' "$adapter" "$part" "$said"
  cp "$root/plugins/$adapter/$file" "$copy/plugins/$adapter/$file"
done

printf '%d not noticed\n' "$missed"
[ "$missed" -eq 0 ]

#!/usr/bin/env bash
# jq reads no time with a fraction of a second or an offset, though RFC 3339 has both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check jq==1.13.0
cat > ask.py <<'END'
import jq

for text in ["2026-11-28T10:00:00Z", "2026-11-28T10:00:00.5Z", "2026-11-28T15:00:00+05:00"]:
    try:
        print(text, jq.compile("fromdate").input_value(text).first())
    except ValueError as error:
        print(text, "error:", str(error).split(" ", 2)[2])
END

echo "PyPI jq 1.13.0"
echo "fromdate takes one form of RFC 3339 only: whole seconds and a Z. The other two times are valid and raise an error."
expected='2026-11-28T10:00:00Z 1795860000
2026-11-28T10:00:00.5Z error: does not match format "%Y-%m-%dT%H:%M:%SZ"
2026-11-28T15:00:00+05:00 error: does not match format "%Y-%m-%dT%H:%M:%SZ"'
seen=$(python/bin/python ask.py)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

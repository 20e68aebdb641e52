#!/usr/bin/env bash
# The CloudEvents SDK for JavaScript cuts the time of an event to milliseconds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" cloudevents@10.0.0
cat > ask.js <<'END'
const { HTTP } = require('cloudevents');
const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/scada', 'ce-type': 'trip', 'content-type': 'application/json' };
for (const time of ['2026-11-28T10:00:00.123456Z', '2026-11-28T10:00:00.123999Z']) {
  console.log(time, '->', HTTP.binary(HTTP.toEvent({ headers: { ...headers, 'ce-time': time }, body: '{}' })).headers['ce-time']);
}
END

echo "npm cloudevents 10.0.0"
echo "Two events of one millisecond, told apart by microseconds, have the same time once they went through the library."
expected='2026-11-28T10:00:00.123456Z -> 2026-11-28T10:00:00.123Z
2026-11-28T10:00:00.123999Z -> 2026-11-28T10:00:00.123Z'
seen=$(node ask.js)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

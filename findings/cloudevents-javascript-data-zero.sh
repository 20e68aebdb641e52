#!/usr/bin/env bash
# The CloudEvents SDK for JavaScript drops data that is 0, false or an empty text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" cloudevents@10.0.0
cat > ask.js <<'END'
const { HTTP } = require('cloudevents');
for (const data of [0, false, '', 1, true]) {
  const attributes = { specversion: '1.0', id: '1', source: '/meters', type: 'reading', datacontenttype: 'application/json' };
  const body = JSON.stringify({ ...attributes, data });
  const event = HTTP.toEvent({ headers: { 'content-type': 'application/cloudevents+json' }, body });
  const again = JSON.parse(HTTP.structured(event).body);
  console.log(JSON.stringify(data), '->', 'data' in again ? JSON.stringify(again.data) : 'no data');
}
END

echo "npm cloudevents 10.0.0"
echo "Any JSON value may be data. A structured event with data 0, false or \"\" is read and written again without data; 1 and true stay."
expected='0 -> no data
false -> no data
"" -> no data
1 -> 1
true -> true'
seen=$(node ask.js)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

#!/usr/bin/env bash
# Data that is a JSON text leaves the CloudEvents SDKs for Python and JavaScript without its quotes in binary mode.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check cloudevents==2.2.0
npm install --silent --no-audit --no-fund --prefix "$work" cloudevents@10.0.0
cat > ask.py <<'END'
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

for body in ['"paid"', "false", '{"state":"paid"}']:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/bank", "ce-type": "state", "content-type": "application/json"}
    again = http.to_binary(http.from_binary(http.HTTPMessage(headers, body.encode()), JSONFormat(), CloudEvent), JSONFormat())
    print("Python:", again.headers["content-type"], body, "->", again.body.decode())
END
cat > ask.js <<'END'
const { HTTP } = require('cloudevents');
for (const body of ['"paid"', '{"state":"paid"}']) {
  const named = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/bank', 'ce-type': 'state' };
  const again = HTTP.binary(HTTP.toEvent({ headers: { ...named, 'content-type': 'application/json' }, body }));
  console.log('JavaScript:', again.headers['content-type'], body, '->', again.body);
}
END

echo "PyPI cloudevents 2.2.0, npm cloudevents 10.0.0"
echo "Read and written again in binary mode, the body \"paid\" of application/json becomes paid, which is no JSON; Python's false becomes"
echo "False. Objects pass unharmed."
expected='Python: application/json "paid" -> paid
Python: application/json false -> False
Python: application/json {"state":"paid"} -> {"state": "paid"}
JavaScript: application/json "paid" -> paid
JavaScript: application/json {"state":"paid"} -> {"state":"paid"}'
seen=$(python/bin/python ask.py && node ask.js)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

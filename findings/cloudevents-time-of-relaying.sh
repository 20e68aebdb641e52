#!/usr/bin/env bash
# The CloudEvents SDKs for Python and JavaScript give an event without a time the time at which they read it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check cloudevents==2.2.0
npm install --silent --no-audit --no-fund --prefix "$work" cloudevents@10.0.0
cat > ask.py <<'END'
import json
from datetime import datetime, timezone

from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

body = b'{"specversion":"1.0","id":"1","source":"/meters","type":"reading"}'
event = http.from_structured(http.HTTPMessage({"content-type": "application/cloudevents+json"}, body), JSONFormat(), CloudEvent)
time = datetime.fromisoformat(json.loads(http.to_structured(event, JSONFormat()).body)["time"].replace("Z", "+00:00"))
print("Python: written again with the time of now:", abs((datetime.now(timezone.utc) - time).total_seconds()) < 60)
END
cat > ask.js <<'END'
const { HTTP } = require('cloudevents');
const body = '{"specversion":"1.0","id":"1","source":"/meters","type":"reading"}';
const event = HTTP.toEvent({ headers: { 'content-type': 'application/cloudevents+json' }, body });
const time = JSON.parse(HTTP.structured(event).body).time;
console.log('JavaScript: written again with the time of now:', Math.abs(Date.now() - Date.parse(time)) < 60000);
END

echo "PyPI cloudevents 2.2.0, npm cloudevents 10.0.0"
echo "time is optional and says when something happened. An event that came without one goes on with the moment of its relaying."
expected='Python: written again with the time of now: True
JavaScript: written again with the time of now: true'
seen=$(python/bin/python ask.py && node ask.js)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

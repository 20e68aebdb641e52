#!/usr/bin/env bash
# The CloudEvents SDK for Python takes an attribute that is null in JSON for a wrong one instead of for none.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check cloudevents==2.2.0
cat > ask.py <<'END'
import json

from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

for name in ["subject", "time", "tenant"]:
    body = json.dumps({"specversion": "1.0", "id": "1", "source": "/meters", "type": "reading", name: None}).encode()
    message = http.HTTPMessage({"content-type": "application/cloudevents+json"}, body)
    try:
        event = http.from_structured(message, JSONFormat(), CloudEvent)
        again = json.loads(http.to_structured(event, JSONFormat()).body)
        print(f"{name}: taken, written again as", again.get(name, "nothing"))
    except Exception as error:
        print(f"{name}: {type(error).__name__}")
END

echo "PyPI cloudevents 2.2.0"
echo "The JSON format lets a sender write null for an attribute that is not set, and a receiver has to read it as not set."
echo "A null subject or time raises an error (two kinds of it); a null extension stays in the event as None."
expected='subject: CloudEventValidationError
time: TypeError
tenant: taken, written again as None'
seen=$(python/bin/python ask.py)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

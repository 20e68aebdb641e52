#!/usr/bin/env bash
# The CloudEvents SDK for Python writes a boolean in an HTTP header in Python's spelling.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check cloudevents==2.2.0
cat > ask.py <<'END'
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

attributes = {"specversion": "1.0", "id": "1", "source": "/meters", "type": "reading", "urgent": True, "estimated": False}
headers = http.to_binary(CloudEvent(attributes=attributes, data={}), JSONFormat()).headers
print("ce-urgent:", headers["ce-urgent"])
print("ce-estimated:", headers["ce-estimated"])
END

echo "PyPI cloudevents 2.2.0"
echo "In binary mode over HTTP a Boolean attribute is to be its canonical string, true or false. It is True or False."
expected='ce-urgent: True
ce-estimated: False'
seen=$(python/bin/python ask.py)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

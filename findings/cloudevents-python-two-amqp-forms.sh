#!/usr/bin/env bash
# The two AMQP bindings of the CloudEvents SDK for Python agree neither on names nor on how a time is written.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check cloudevents==2.2.0
cat > ask.py <<'END'
from datetime import datetime, timezone

from cloudevents.core.bindings import amqp, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

time = datetime(2026, 11, 28, 10, 0, 0, 123456, timezone.utc)
event = CloudEvent(attributes={"specversion": "1.0", "id": "1", "source": "/meters", "type": "reading", "time": time}, data={})
for name, headers in [
    ("rabbitmq", rabbitmq.to_binary(event, JSONFormat()).headers),
    ("amqp", amqp.to_binary(event, JSONFormat()).application_properties),
]:
    print(name, {key: headers[key] for key in sorted(headers) if key.endswith(("id", "time"))})
END

echo "PyPI cloudevents 2.2.0"
echo "One event, two bindings of one package: names begin with ce- or with cloudEvents_, the time is a text with microseconds or an"
echo "integer of milliseconds. Who listens for one form on a broker does not see events in the other."
expected="rabbitmq {'ce-id': '1', 'ce-time': '2026-11-28T10:00:00.123456Z'}
amqp {'cloudEvents_id': '1', 'cloudEvents_time': 1795860000123}"
seen=$(python/bin/python ask.py)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

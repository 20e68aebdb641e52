#!/usr/bin/env bash
# The PyPI package c104 drops the offset of a datetime, and writes what it shows as if it were the machine's local time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check c104==2.2.1
cat > "$work/ask.py" <<'END_OF_PYTHON'
import os
import socket
import sys
import time
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

import c104

listening = socket.create_server(("127.0.0.1", 0))
port = listening.getsockname()[1]
listening.close()
server = c104.Server(ip="127.0.0.1", port=port)
point = server.add_station(common_address=1).add_point(io_address=1, type=c104.Type.M_SP_TB_1)
server.start()
client = socket.create_connection(("127.0.0.1", port))
client.settimeout(5)
client.sendall(bytes.fromhex("680407000000"))
client.recv(6)
time.sleep(0.2)
print("c104", version("c104"), "TZ", os.environ["TZ"])
moment = datetime(2026, 3, 4, 12, 0, tzinfo=timezone.utc)
seen = []
for zone in [timezone.utc, timezone(timedelta(hours=3)), timezone(timedelta(hours=-5))]:
    local = moment.astimezone(zone)
    point.info = c104.SingleInfo(True, c104.Quality(), local)
    point.transmit(cause=c104.Cot.SPONTANEOUS)
    frame = client.recv(23)
    # CP56Time2a: milliseconds, minute, hour.
    written, read = f"{frame[19] & 31:02}:{frame[18] & 63:02}", point.info.recorded_at
    print(f"{local.isoformat()} is written as {written}, and read back as {read}", flush=True)
    seen.append(written)
os._exit(0 if seen == sys.argv[1:] else 1)
END_OF_PYTHON

echo "One moment, given in three zones, on machines of two zones. The library takes what a datetime shows for local time of the machine,"
echo "whatever offset it has, and writes that in UTC: three time tags of one moment, none or one of them right."
run() { TZ=$1 "$work/venv/bin/python" "$work/ask.py" "${@:2}" || { echo "changed: the offset counts" >&2; exit 1; }; }
run UTC 12:00 15:00 07:00
run Asia/Yekaterinburg 07:00 10:00 02:00

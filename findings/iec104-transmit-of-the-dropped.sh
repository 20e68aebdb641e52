#!/usr/bin/env bash
# The PyPI package c104 says of events that it transmitted them, and drops those that its queue has no room for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check c104==2.2.1
cat > "$work/ask.py" <<'END_OF_PYTHON'
import os
import socket
import time
from importlib.metadata import version

import c104

listening = socket.create_server(("127.0.0.1", 0))
port = listening.getsockname()[1]
listening.close()
server = c104.Server(ip="127.0.0.1", port=port)
point = server.add_station(common_address=1).add_point(io_address=1, type=c104.Type.M_ME_NB_1)
server.start()
client = socket.create_connection(("127.0.0.1", port))
client.settimeout(1)
client.sendall(bytes.fromhex("680407000000"))
client.recv(6)
time.sleep(0.2)
count = 5000
said = 0
for number in range(count):
    point.value = c104.Int16(number)
    said += point.transmit(cause=c104.Cot.SPONTANEOUS)
values, buffer = [], b""
try:
    while True:
        buffer += client.recv(65536)
        while len(buffer) > 1 and len(buffer) >= buffer[1] + 2:
            frame, buffer = buffer[: buffer[1] + 2], buffer[buffer[1] + 2 :]
            if frame[2] & 1 == 0:
                values.append(int.from_bytes(frame[15:17], "little"))
        # All that came is acknowledged at once.
        client.sendall(bytes([0x68, 4, 1, 0]) + (2 * len(values)).to_bytes(2, "little"))
except TimeoutError:
    pass
missing = sorted(set(range(count)) - set(values))
print("c104", version("c104"))
print(f"{count} values, transmit() returned True {said} times; {len(values)} came, the first {values[0]}, the last {values[-1]}")
print("a row without gaps is missing:", missing == list(range(missing[0], missing[-1] + 1)) if missing else False, flush=True)
os._exit(0 if said == count and 0 < len(missing) and values[-1] == count - 1 else 1)
END_OF_PYTHON

echo "A burst of events, of which the client acknowledges each. For all of them transmit() returns True, which its documentation gives as"
echo "\"successfully send\"; of those that wait, the oldest give way to the newest, and no call, callback or log says so."
"$work/venv/bin/python" "$work/ask.py" || { echo "changed: nothing was dropped, or transmit() said so" >&2; exit 1; }

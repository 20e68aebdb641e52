#!/usr/bin/env bash
# The CloudEvents SDK for JavaScript makes HTTP headers that Node refuses to send.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" cloudevents@10.0.0
cat > ask.js <<'END'
const http = require('http');
const { CloudEvent, HTTP } = require('cloudevents');
for (const subject of ['substation 5', 'подстанция 5']) {
  const { headers, body } = HTTP.binary(new CloudEvent({ source: '/scada', type: 'trip', subject, data: {} }));
  const server = http.createServer((request, response) => response.end()).listen(0, '127.0.0.1', () => {
    try {
      http.request({ port: server.address().port, method: 'POST', headers }, (answer) => {
        console.log(headers['ce-subject'], '-> sent');
        answer.resume();
        server.close();
      }).end(body);
    } catch (error) {
      console.log(headers['ce-subject'], '->', error.code);
      server.close();
    }
  });
}
END

echo "npm cloudevents 10.0.0, Node $(node --version)"
echo "The HTTP binding has characters outside of printable ASCII percent-encoded. The library leaves them as they are, and Node's own"
echo "client throws at such a header."
expected='substation 5 -> sent
подстанция 5 -> ERR_INVALID_CHAR'
seen=$(node ask.js | sort)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

#!/usr/bin/env bash
# The npm package smpp writes the GSM alphabet under the data_coding that means ASCII.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" smpp@0.5.1
cat > ask.js <<'END'
const smpp = require('smpp');
for (const text of ['a@b', '5 $', '[1]']) {
  // At the end of a submit_sm: data_coding, the default message, the length, the octets.
  const pdu = new smpp.PDU('submit_sm', { short_message: text }).toBuffer();
  let start = pdu.length - 1;
  while (pdu[start - 1] !== pdu.length - start) start--;
  const ascii = Buffer.from(text).toString('hex');
  console.log(text, 'data_coding', pdu[start - 3], 'octets', pdu.subarray(start).toString('hex'), 'in ASCII', ascii);
}
END

echo "npm smpp 0.5.1"
echo "SMPP 3.4 has data_coding 1 for IA5, that is ASCII, and 0 for the default alphabet of the SMS centre. A text without data_coding is"
echo "written in GSM 03.38 under 1: a receiver that takes 1 as ASCII reads control characters for @, \$ and brackets."
expected='a@b data_coding 1 octets 610062 in ASCII 614062
5 $ data_coding 1 octets 352002 in ASCII 352024
[1] data_coding 1 octets 1b3c311b3e in ASCII 5b315d'
seen=$(node ask.js)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

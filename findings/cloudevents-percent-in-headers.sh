#!/usr/bin/env bash
# Three CloudEvents SDKs read one HTTP header in two ways: percent-encoding is decoded by one of them only.
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

headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/scada", "ce-type": "trip", "ce-subject": "%D0%9B%2010"}
print("Python:", http.from_binary(http.HTTPMessage(headers, b"{}"), JSONFormat(), CloudEvent).get_subject())
END
cat > ask.js <<'END'
const { HTTP } = require('cloudevents');
const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/scada', 'ce-type': 'trip', 'ce-subject': '%D0%9B%2010' };
console.log('JavaScript:', HTTP.toEvent({ headers, body: '{}' }).subject);
END
cat > ask.go <<'END'
package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/cloudevents/sdk-go/v2/binding"
	protocol "github.com/cloudevents/sdk-go/v2/protocol/http"
)

func main() {
	request, _ := http.NewRequest("POST", "http://localhost/", http.NoBody)
	headers := map[string]string{"specversion": "1.0", "id": "1", "source": "/scada", "type": "trip", "subject": "%D0%9B%2010"}
	for name, value := range headers {
		request.Header.Set("ce-"+name, value)
	}
	event, err := binding.ToEvent(context.Background(), protocol.NewMessageFromHttpRequest(request))
	if err != nil {
		panic(err)
	}
	fmt.Println("Go:", event.Subject())
}
END
go mod init finding 2>/dev/null
go get github.com/cloudevents/sdk-go/v2@v2.16.2 2>/dev/null

echo "PyPI cloudevents 2.2.0, npm cloudevents 10.0.0, Go github.com/cloudevents/sdk-go/v2 v2.16.2"
echo "The HTTP binding of CloudEvents 1.0.2 has a receiver decode percent-encoded header values (3.1.3.2). Of ce-subject: %D0%9B%2010"
echo "Python makes the subject, Go and JavaScript keep the encoded text as the subject."
expected='Python: Л 10
JavaScript: %D0%9B%2010
Go: %D0%9B%2010'
seen=$(python/bin/python ask.py && node ask.js && go run ask.go)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

#!/usr/bin/env bash
# One webhook secret is a key to two libraries of Standard Webhooks and an error to the third: base64 without padding.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check standardwebhooks==1.1.0
npm install --silent --no-audit --no-fund --prefix "$work" standardwebhooks@1.1.1
cat > ask.py <<'END'
import sys
from datetime import datetime, timezone

from standardwebhooks.webhooks import Webhook

print("Python:", Webhook(sys.argv[1]).sign("msg_1", datetime.fromtimestamp(1795860000, timezone.utc), "{}"))
END
cat > ask.js <<'END'
const { Webhook } = require('standardwebhooks');
console.log('JavaScript:', new Webhook(process.argv[2]).sign('msg_1', new Date(1795860000000), '{}'));
END
cat > ask.go <<'END'
package main

import (
	"fmt"
	"os"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	hook, err := standardwebhooks.NewWebhook(os.Args[1])
	if err != nil {
		fmt.Println("Go:", err)
		return
	}
	signature, _ := hook.Sign("msg_1", time.Unix(1795860000, 0), []byte("{}"))
	fmt.Println("Go:", signature)
}
END
go mod init finding 2>/dev/null
go get github.com/standard-webhooks/standard-webhooks/libraries@v0.0.1 2>/dev/null

echo "PyPI standardwebhooks 1.1.0, npm standardwebhooks 1.1.1, Go github.com/standard-webhooks/standard-webhooks/libraries v0.0.1"
echo "With = at its end the secret gives the same signature in all three. Without, Python and JavaScript sign as before, Go refuses it."
secret=whsec_$(printf 'only a key for this script' | base64)
expected='with padding
Python: v1,W5nMgy1HChdqjY8pixgf/lEA7jzabAGeNXSsu88HBdQ=
JavaScript: v1,W5nMgy1HChdqjY8pixgf/lEA7jzabAGeNXSsu88HBdQ=
Go: v1,W5nMgy1HChdqjY8pixgf/lEA7jzabAGeNXSsu88HBdQ=
without
Python: v1,W5nMgy1HChdqjY8pixgf/lEA7jzabAGeNXSsu88HBdQ=
JavaScript: v1,W5nMgy1HChdqjY8pixgf/lEA7jzabAGeNXSsu88HBdQ=
Go: unable to create webhook, err: illegal base64 data at input byte 32'
ask() {
    python/bin/python ask.py "$1" && node ask.js "$1" && go run ask.go "$1"
}
seen=$(echo "with padding" && ask "$secret" && echo "without" && ask "${secret%%=*}")
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

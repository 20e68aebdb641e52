#!/usr/bin/env bash
# The CloudEvents SDK for Go hides JSON data in base64 when it is given as bytes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > ask.go <<'END'
package main

import (
	"encoding/json"
	"fmt"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

func main() {
	text := `{"sum":125}`
	for _, data := range []any{[]byte(text), json.RawMessage(text)} {
		event := cloudevents.NewEvent()
		event.SetID("1")
		event.SetSource("/bank")
		event.SetType("paid")
		if err := event.SetData("application/json", data); err != nil {
			panic(err)
		}
		written, err := json.Marshal(event)
		if err != nil {
			panic(err)
		}
		var members map[string]any
		if err := json.Unmarshal(written, &members); err != nil {
			panic(err)
		}
		fmt.Printf("%T: %v data %v data_base64 %v\n", data, members["datacontenttype"], members["data"], members["data_base64"])
	}
}
END
go mod init finding 2>/dev/null
go get github.com/cloudevents/sdk-go/v2@v2.16.2 2>/dev/null

echo "Go github.com/cloudevents/sdk-go/v2 v2.16.2"
echo "JSON set as []byte is written as data_base64 though datacontenttype is application/json; the same bytes as json.RawMessage are data."
expected='[]uint8: application/json data <nil> data_base64 eyJzdW0iOjEyNX0=
json.RawMessage: application/json data map[sum:125] data_base64 <nil>'
seen=$(go run ask.go)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }

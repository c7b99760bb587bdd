package passcode_test

import (
	"encoding/json"
	"testing"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// FuzzResult reads what a subject may bring to whoever waits for a result there.
// What is read is written again without a change, always with metadata that is an
// object.
func FuzzResult(f *testing.F) {
	f.Add([]byte(`{"request_id":"r","status":"sent","final":true,"metadata":null,"queued_at":"2026-01-02T03:04:05.678+08:00"}`))
	f.Add([]byte(`{"status":"rate_limited","error":{"code":"phone_limit","class":"phone_limited","message":"\u0000\ud800"},"retry_after_seconds":-1}`))
	f.Add([]byte(`{"STATUS":"sent","status":"unknown","attempts":1e2,"metadata":{"a":"b"},"expires_at":"9999-12-31T23:59:59-01:00"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second passcode.Result
		if json.Unmarshal(data, &first) != nil {
			return
		}
		once, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(once, &members); err != nil || len(members["metadata"]) == 0 || members["metadata"][0] != '{' {
			t.Fatalf("metadata is no object: %v", err)
		}
		if err := json.Unmarshal(once, &second); err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		twice, err := json.Marshal(second)
		if err != nil || string(once) != string(twice) {
			t.Fatal("a result changed on its way out and in again")
		}
		if in := first.In(first.Status); in.Final != first.Status.Final() {
			t.Fatal("final does not match the status")
		}
	})
}

package passcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// harmless matches every text that a refusal may consist of: the name of a
// member and a rule. Sizes and positions are the only parts that vary, so no
// piece of a job's values can stand in an error.
var harmless = regexp.MustCompile(`^(request_id|phone|code|usage_type|params|expires_at|reply_to|client_ip|metadata|job): (` +
	strings.Join([]string{
		`is required`, `must not be empty`, `must be a string`,
		`must be 1 to 64 of A-Z a-z 0-9 _ -`,
		`must be 4 to 6 ASCII letters or digits`,
		`must be an object of strings(; a value is not a string)?`,
		`must be an RFC 3339 time`,
		`must be in the years 1970 to 9999`,
		`must be a subject without wildcards, spaces or empty tokens`,
		`must be an IP address`,
		`must have at most 16 entries, has \d{1,4}`,
		`must be at most 2048 bytes of keys and values, has \d{4,5}`,
		`must be at most 8192 bytes, has \d{4,9}`,
		`must be UTF-8`,
		`must be one JSON object(; the JSON breaks at byte \d{1,9})?`,
	}, "|") + `)$`)

var codeRule = regexp.MustCompile(`^[A-Za-z0-9]{4,6}$`)

// seeds are jobs, good and broken, around whose bytes the fuzzer looks.
func seeds(f *testing.F) [][]byte {
	return [][]byte{
		with(nil).encode(f),
		with(members{
			"usage_type": "SignIn", "params": members{"a": "b"}, "expires_at": "2026-03-01T08:00:00.5+08:00",
			"reply_to": "_INBOX.a.b", "client_ip": "2001:db8::1", "metadata": members{"k": "v"},
		}).encode(f),
		with(members{"phone": 13, "code": []string{testCode}, "params": members{testPhone: 1}, "metadata": entries(17, 200)}).encode(f),
		with(members{"expires_at": "9999-12-31T23:59:59-01:00"}).encode(f),
		[]byte(`null`), []byte(`[]`), []byte(``), []byte(`{"request_id":"a`), []byte("{\"code\":\"\xff\"}"),
	}
}

var position = regexp.MustCompile(`at byte \d+`)

// sameJSONBreak reports whether two refusals differ by no more than where the JSON breaks.
func sameJSONBreak(a, b error) bool {
	return b != nil && position.ReplaceAllString(a.Error(), "") == position.ReplaceAllString(b.Error(), "")
}

func FuzzDecode(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		job, err := passcode.Decode(data)
		if !bytes.Equal(before, data) {
			t.Fatal("Decode changed its input")
		}
		if len(data) < passcode.MaxJobBytes { // white space keeps it from the short way
			slow, slowErr := passcode.Decode(append([]byte(" "), data...))
			if !reflect.DeepEqual(slow, job) || err == nil && slowErr != nil || err != nil && !sameJSONBreak(err, slowErr) {
				t.Fatalf("the short way through a job differs: %v, not %v", err, slowErr)
			}
		}
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkKeepsRules(t, job)
		again, err := job.Encode()
		if err != nil {
			// What the worker fills in and how JSON escapes a character can make
			// a job longer than it came; nothing else may refuse it.
			if problems := refusal(t, err); len(problems) != 1 || !strings.HasPrefix(problems[0].Rule, "must be at most") {
				t.Fatalf("a decoded job does not encode: %v", err)
			}
			return
		}
		back, err := passcode.Decode(again)
		if err != nil {
			t.Fatalf("an encoded job does not decode: %v", err)
		}
		if !reflect.DeepEqual(canonical(back), canonical(job)) {
			t.Fatal("a job changed on its way out and in again")
		}
	})
}

// FuzzDecodeHides breaks the bytes around a known phone and passcode, which may
// then stand anywhere: as a key, in the wrong member, in half an object.
func FuzzDecodeHides(f *testing.F) {
	for _, data := range seeds(f) {
		text := strings.ReplaceAll(string(data), testPhone, "PHONE")
		f.Add(strings.ReplaceAll(text, testCode, "CODE"))
	}
	f.Add(`{"request_id":"PHONE","phone":{"CODE":"PHONE"},"code":PHONE,"params":{"PHONE":CODE},"expires_at":"CODE"}`)
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "PHONE", testPhone)
		job, err := passcode.Decode([]byte(strings.ReplaceAll(text, "CODE", testCode)))
		if err == nil {
			return
		}
		checkRefusal(t, err)
		for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprint(job.Phone, job.Code)} {
			if strings.Contains(shown, testPhone[3:]) || strings.Contains(shown, testCode) {
				t.Fatal("a refusal shows the phone or the passcode")
			}
		}
	})
}

func refusal(t *testing.T, err error) []passcode.Problem {
	t.Helper()
	var invalid *passcode.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
		t.Fatalf("error is %T, want *InvalidError with problems", err)
	}
	return invalid.Problems
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	for _, p := range refusal(t, err) {
		if !harmless.MatchString(p.Field + ": " + p.Rule) {
			t.Fatalf("the problem of field %q is no known sentence", p.Field)
		}
	}
}

func checkKeepsRules(t *testing.T, job passcode.Job) {
	t.Helper()
	ok := passcode.ValidRequestID(job.RequestID) &&
		!job.Phone.IsZero() &&
		codeRule.MatchString(job.Code.Reveal()) &&
		job.UsageType != "" &&
		(job.ReplyTo == "" || passcode.ValidSubject(job.ReplyTo)) &&
		len(job.Metadata) <= passcode.MaxMetadataEntries &&
		!slices.Contains(strings.Split(job.ReplyTo, "."), ">")
	if !ok {
		t.Fatal("Decode let a job through that breaks a rule")
	}
}

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

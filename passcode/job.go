// Package passcode is the vocabulary that producers of passcode jobs share with
// the worker: the job, its result, their statuses and rules, and their JSON.
//
// It imports the standard library alone, so that a producer can use it without
// taking on any of the worker's dependencies.
package passcode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"
)

// Limits of a job, and its default.
const (
	MaxJobBytes        = 8 << 10
	MaxRequestIDLen    = 64
	MaxMetadataEntries = 16
	MaxMetadataBytes   = 2 << 10   // of keys and values
	DefaultUsageType   = "Generic" // of a job that names none
)

// Job asks for one passcode to be sent to one phone.
type Job struct {
	RequestID string            // the deduplication key: 1 to 64 of A-Z a-z 0-9 _ -
	Phone     Phone             // one number, E.164 or national digits, as the producer wrote it
	Code      Passcode          // 4 to 6 ASCII letters or digits
	UsageType string            // picks the template
	Params    map[string]string // further template variables
	ExpiresAt time.Time         // when the code stops being worth sending; zero leaves it to the worker
	ReplyTo   string            // a subject for the result besides the standard one
	ClientIP  string            // the end user's address
	Metadata  map[string]string // echoed in the result
}

// Encode returns the job as it goes on the wire, phone and passcode in clear. An error
// is an [*InvalidError]: the job breaks a rule.
func (j Job) Encode() ([]byte, error) {
	wire := map[string]any{
		"request_id": j.RequestID, "phone": j.Phone.Reveal(), "code": j.Code.Reveal(),
		"usage_type": j.UsageType, "reply_to": j.ReplyTo, "client_ip": j.ClientIP,
	}
	if len(j.Params) > 0 {
		wire["params"] = j.Params
	}
	if len(j.Metadata) > 0 {
		wire["metadata"] = j.Metadata
	}
	if !j.ExpiresAt.IsZero() {
		// In UTC, since RFC 3339 can't write every zone.
		wire["expires_at"] = j.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	for _, optional := range []string{"usage_type", "reply_to", "client_ip"} {
		if wire[optional] == "" {
			delete(wire, optional)
		}
	}

	// json would write another text in place of one that is not UTF-8.
	var bad problems
	for _, name := range slices.Sorted(maps.Keys(wire)) {
		if !utf8.ValidString(fmt.Sprint(wire[name])) {
			bad.add(name, "must be UTF-8")
		}
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // six bytes for one would make a job too long
	if err := encoder.Encode(wire); err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	data := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if _, err := Decode(data); err != nil {
		return nil, err
	}
	return data, nil
}

// Decode reads a job and checks every rule that needs no settings; the worker judges whether the phone is valid and
// the reply subject allowed. Its error is an [*InvalidError] that names every member that is wrong. The job
// returned beside it holds the members that could be read, so that a refusal can be announced.
func Decode(data []byte) (Job, error) {
	var bad problems
	if len(data) > MaxJobBytes {
		bad.add("job", "must be at most %d bytes, has %d", MaxJobBytes, len(data))
	}
	if !utf8.Valid(data) {
		bad.add("job", "must be UTF-8")
	}
	members := plainMembers(data)
	if members == nil {
		if err := json.Unmarshal(data, &members); err != nil || members == nil { // the literal null
			bad.add("job", "must be one JSON object%s", whereJSONBroke(err))
			return Job{}, bad.err()
		}
	}

	d := decoder{members: members, bad: &bad}
	job := Job{
		RequestID: d.valid("request_id", d.required("request_id"), ValidRequestID, "must be 1 to %d of A-Z a-z 0-9 _ -", MaxRequestIDLen),
		Phone:     NewPhone(d.required("phone")),
		Code:      NewPasscode(d.valid("code", d.required("code"), validCode, "must be 4 to 6 ASCII letters or digits")),
		UsageType: d.text("usage_type"),
		Params:    d.textMap("params"),
		ExpiresAt: d.time("expires_at"),
		ReplyTo:   d.valid("reply_to", d.text("reply_to"), ValidSubject, "must be a subject without wildcards, spaces or empty tokens"),
		ClientIP:  d.valid("client_ip", d.text("client_ip"), validIP, "must be an IP address"),
		Metadata:  d.metadata(),
	}
	if job.UsageType == "" {
		job.UsageType = DefaultUsageType
	}
	return job, bad.err()
}

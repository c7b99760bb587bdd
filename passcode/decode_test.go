package passcode_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// The phone and the passcode of this package's tests. They stand in one place,
// so that every test can look for them where they must not appear.
const (
	testPhone = "+8613812345678"
	testCode  = "749302"
)

// members is a job as a producer may write it, before it becomes JSON.
type members map[string]any

// with returns a valid job with some members changed.
func with(changes members) members {
	job := members{"request_id": "01JD-a_Z", "phone": testPhone, "code": testCode}
	maps.Copy(job, changes)
	return job
}

// without returns a valid job that lacks a member.
func without(name string) members {
	job := with(nil)
	delete(job, name)
	return job
}

func (m members) encode(t testing.TB) []byte {
	t.Helper()
	data, err := json.Marshal(m)
	require.NoError(t, err)
	return data
}

// invalid returns the problems of a job that must be refused.
func invalid(t testing.TB, err error) []passcode.Problem {
	t.Helper()
	var refusal *passcode.InvalidError
	require.ErrorAs(t, err, &refusal)
	require.NotEmpty(t, refusal.Problems)
	return refusal.Problems
}

func entries(n, size int) map[string]string {
	m := make(map[string]string, n)
	for i := range n {
		key := fmt.Sprintf("k%02d", i)
		m[key] = strings.Repeat("v", size-len(key))
	}
	return m
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	type job = passcode.Job
	rows := []struct {
		sentence string
		job      members
		want     func(*job) // beside request_id, phone, code and Generic
	}{
		{"request_id, phone and code are enough", with(nil), func(*job) {}},
		{"an empty usage_type is Generic", with(members{"usage_type": ""}), func(*job) {}},
		{"usage_type is free text", with(members{"usage_type": "Ünïcode / 注册"}), func(j *job) { j.UsageType = "Ünïcode / 注册" }},
		{"a request id may have one character", with(members{"request_id": "-"}), func(j *job) { j.RequestID = "-" }},
		{"a request id may have 64 characters", with(members{"request_id": strings.Repeat("x", 64)}), func(j *job) { j.RequestID = strings.Repeat("x", 64) }},
		{"a phone may be national digits", with(members{"phone": testPhone[3:]}), func(j *job) { j.Phone = passcode.NewPhone(testPhone[3:]) }},
		{"what a phone holds is judged by the worker, not here", with(members{"phone": "1, 2"}), func(j *job) { j.Phone = passcode.NewPhone("1, 2") }},
		{"a code keeps its leading zeros", with(members{"code": "000930"}), func(j *job) { j.Code = passcode.NewPasscode("000930") }},
		{"a code may have 4 characters", with(members{"code": "7a9Z"}), func(j *job) { j.Code = passcode.NewPasscode("7a9Z") }},
		{"a code may be letters alone", with(members{"code": "aZbYcX"}), func(j *job) { j.Code = passcode.NewPasscode("aZbYcX") }},
		{"params are strings by name", with(members{"params": members{"app": "Shop", "n": ""}}), func(j *job) { j.Params = map[string]string{"app": "Shop", "n": ""} }},
		{"expires_at is read in any zone", with(members{"expires_at": "2026-03-01T16:00:00+08:00"}), func(j *job) { j.ExpiresAt = day }},
		{"expires_at keeps its fraction of a second", with(members{"expires_at": "2026-03-01T08:00:00.000000001Z"}), func(j *job) { j.ExpiresAt = day.Add(1) }},
		{"reply_to is any subject that can be published to", with(members{"reply_to": "_INBOX.aZ9.1"}), func(j *job) { j.ReplyTo = "_INBOX.aZ9.1" }},
		{"client_ip may be IPv4", with(members{"client_ip": "203.0.113.7"}), func(j *job) { j.ClientIP = "203.0.113.7" }},
		{"client_ip may be IPv6", with(members{"client_ip": "2001:db8::1"}), func(j *job) { j.ClientIP = "2001:db8::1" }},
		{"metadata may have 16 entries of 2 KiB together", with(members{"metadata": entries(16, 128)}), func(j *job) { j.Metadata = entries(16, 128) }},
		{
			"null counts as absent",
			with(members{"usage_type": nil, "params": nil, "expires_at": nil, "reply_to": nil, "client_ip": nil, "metadata": nil}), func(*job) {},
		},
		{"unknown members are ignored", with(members{"Phone": "other", "locale": []int{1}, "x": members{"y": 1}}), func(*job) {}},
	}
	for _, row := range rows {
		got, err := passcode.Decode(row.job.encode(t))
		require.NoError(t, err, row.sentence)
		want := job{RequestID: "01JD-a_Z", Phone: passcode.NewPhone(testPhone), Code: passcode.NewPasscode(testCode), UsageType: "Generic"}
		row.want(&want)
		assert.Equal(t, want, got, row.sentence)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const (
		text, texts = "must be a string", "must be an object of strings"
		id          = "must be 1 to 64 of A-Z a-z 0-9 _ -"
		code        = "must be 4 to 6 ASCII letters or digits"
		subject     = "must be a subject without wildcards, spaces or empty tokens"
	)
	for _, row := range []struct {
		field, rule string
		values      []any
	}{
		{"request_id", "is required", []any{nil}},
		{"request_id", "must not be empty", []any{""}},
		{"request_id", text, []any{7}},
		// A dot would part a subject, a wildcard match others.
		{"request_id", id, []any{strings.Repeat("x", 65), "a.b", ">", "a b", "é"}},
		{"phone", "is required", []any{nil}},
		{"phone", "must not be empty", []any{""}},
		{"phone", text, []any{86138, []string{testPhone}}},
		{"code", "is required", []any{nil}},
		{"code", "must not be empty", []any{""}},
		{"code", text, []any{749302}}, // a number loses its leading zeros
		{"code", code, []any{"749", "7493021", "749 02", "74-302", "١٢"}},
		{"usage_type", text, []any{true}},
		{"params", texts, []any{"a", []string{"a"}}},
		{"params", texts + "; a value is not a string", []any{members{"n": 5}, members{"n": nil}}},
		{"expires_at", text, []any{1764000000}},
		{"expires_at", "must be an RFC 3339 time", []any{"", "2026-03-01T08:00:00", "2026-02-30T08:00:00Z"}},
		// A zero time would read as none.
		{"expires_at", "must be in the years 1970 to 9999", []any{"9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00Z"}},
		{"reply_to", text, []any{1}},
		// A line break would inject a command.
		{"reply_to", subject, []any{"a.*", "a.>", "a b", "a\r\nPUB b 0", "a..b", "a.", strings.Repeat("s", 256)}},
		{"client_ip", text, []any{1}},
		{"client_ip", "must be an IP address", []any{"localhost", "203.0.113.7:80"}},
		{"metadata", texts, []any{1}},
		{"metadata", texts + "; a value is not a string", []any{members{"n": 5}}},
		{"metadata", "must have at most 16 entries, has 17", []any{entries(17, 8)}},
		{"metadata", "must be at most 2048 bytes of keys and values, has 2049", []any{members{"k": strings.Repeat("v", 2048)}}},
	} {
		for _, value := range row.values {
			_, err := passcode.Decode(with(members{row.field: value}).encode(t))
			assert.Equal(t, []passcode.Problem{{Field: row.field, Rule: row.rule}}, invalid(t, err), "%v", value)
			assert.EqualError(t, err, "invalid job: "+row.field+": "+row.rule)
		}
	}
	for _, name := range []string{"request_id", "phone", "code"} {
		_, err := passcode.Decode(without(name).encode(t))
		assert.Equal(t, []passcode.Problem{{Field: name, Rule: "is required"}}, invalid(t, err))
	}
}

func TestDecodeRefusesWhatIsNoJob(t *testing.T) {
	t.Parallel()
	padded := func(size int) string {
		job := string(with(nil).encode(t))
		return job[:len(job)-1] + `,"x":"` + strings.Repeat("p", size-len(job)-len(`,"x":""`)) + `"}`
	}
	_, err := passcode.Decode([]byte(padded(passcode.MaxJobBytes)))
	require.NoError(t, err, "8 KiB exactly is allowed")

	rows := []struct{ sentence, data, rule string }{
		{"no bytes", "", "must be one JSON object; the JSON breaks at byte 0"},
		{"half an object", `{"request_id":"a"`, "must be one JSON object; the JSON breaks at byte 17"},
		{"two objects", `{}{}`, "must be one JSON object; the JSON breaks at byte 3"},
		{"a list of jobs", `[{}]`, "must be one JSON object"},
		{"a string", `"` + testPhone + `"`, "must be one JSON object"},
		{"null", `null`, "must be one JSON object"},
		{"more than 8 KiB", padded(passcode.MaxJobBytes + 1), "must be at most 8192 bytes, has 8193"},
		{"not UTF-8", strings.Replace(string(with(members{"usage_type": "X"}).encode(t)), "X", "\xff", 1), "must be UTF-8"},
	}
	for _, row := range rows {
		_, err := passcode.Decode([]byte(row.data))
		assert.Equal(t, []passcode.Problem{{Field: "job", Rule: row.rule}}, invalid(t, err), row.sentence)
	}
}

func TestDecodeNamesEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	job := members{
		"request_id": "a b", "code": "1", "usage_type": 1, "params": 1, "expires_at": "soon",
		"reply_to": ">", "client_ip": "here", "metadata": 1,
	}
	_, err := passcode.Decode(job.encode(t))
	fields := make([]string, 0, len(job))
	for _, p := range invalid(t, err) {
		fields = append(fields, p.Field)
	}
	assert.ElementsMatch(t, []string{
		"request_id", "phone", "code", "usage_type", "params", "expires_at", "reply_to", "client_ip", "metadata",
	}, fields)
}

func TestDecodeReturnsWhatCouldBeReadBesideTheRefusal(t *testing.T) {
	t.Parallel()
	job, err := passcode.Decode(with(members{"code": "no code", "reply_to": "a.b"}).encode(t))
	invalid(t, err)
	assert.Equal(t, "01JD-a_Z", job.RequestID, "the refusal is announced under it")
	assert.Equal(t, "a.b", job.ReplyTo, "and there")
	assert.Empty(t, job.Code.Reveal(), "what is wrong is not handed on")

	job, err = passcode.Decode(with(members{"request_id": "a.>", "metadata": entries(17, 8)}).encode(t))
	invalid(t, err)
	assert.Empty(t, job.RequestID, "a bad id must never become part of a subject or a key")
	assert.Nil(t, job.Metadata)
}

func TestInvalidIsAnInvalidError(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("refused: %w", passcode.Invalid("phone", "must be one valid number"))
	var refusal *passcode.InvalidError
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, []passcode.Problem{{Field: "phone", Rule: "must be one valid number"}}, refusal.Problems)
	assert.EqualError(t, err, "refused: invalid job: phone: must be one valid number")
}

func TestValidSubject(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{"a", "passcode.result.x", "_INBOX.a.b", "$KV.x", "a*b", "é", strings.Repeat("s", 255)} {
		assert.True(t, passcode.ValidSubject(subject), "%q can be published to", subject)
	}
	for _, subject := range []string{"", ".", "a.", ".a", "*", "a.>", "a\tb", "a\x00b", "a\x7fb", strings.Repeat("s", 256)} {
		assert.False(t, passcode.ValidSubject(subject), "%q can't be published to", subject)
	}
}

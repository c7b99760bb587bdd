package passcode_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/passcode"
)

func validJob() passcode.Job {
	return passcode.Job{
		RequestID: "01JD-a_Z",
		Phone:     passcode.NewPhone(testPhone),
		Code:      passcode.NewPasscode(testCode),
		UsageType: "SignIn",
		Params:    map[string]string{"app": "Shop"},
		ExpiresAt: time.Date(2026, 3, 1, 8, 0, 0, 123, time.UTC),
		ReplyTo:   "_INBOX.a.b",
		ClientIP:  "203.0.113.7",
		Metadata:  map[string]string{"tenant": "t1"},
	}
}

func TestEncodeWritesTheMembersOfTheWireFormat(t *testing.T) {
	t.Parallel()
	data, err := validJob().Encode()
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"request_id": "01JD-a_Z", "phone": "`+testPhone+`", "code": "`+testCode+`", "usage_type": "SignIn",
		"params": {"app": "Shop"}, "expires_at": "2026-03-01T08:00:00.000000123Z", "reply_to": "_INBOX.a.b",
		"client_ip": "203.0.113.7", "metadata": {"tenant": "t1"}
	}`, string(data))
}

func TestEncodeLeavesOutWhatIsNotSet(t *testing.T) {
	t.Parallel()
	job := passcode.Job{RequestID: "a", Phone: passcode.NewPhone(testPhone), Code: passcode.NewPasscode(testCode)}
	data, err := job.Encode()
	require.NoError(t, err)
	var wire map[string]any
	require.NoError(t, json.Unmarshal(data, &wire))
	assert.Equal(t, map[string]any{"request_id": "a", "phone": testPhone, "code": testCode}, wire)
}

func TestEncodeRefusesWhatDecodeWouldRefuse(t *testing.T) {
	t.Parallel()
	rows := []struct {
		sentence string
		change   func(*passcode.Job)
		fields   []string
	}{
		{"a job without members", func(j *passcode.Job) { *j = passcode.Job{} }, []string{"request_id", "phone", "code"}},
		{"a request id with a dot", func(j *passcode.Job) { j.RequestID = "a.b" }, []string{"request_id"}},
		{"no phone", func(j *passcode.Job) { j.Phone = passcode.Phone{} }, []string{"phone"}},
		{"a code that is too long", func(j *passcode.Job) { j.Code = passcode.NewPasscode(testCode + "1") }, []string{"code"}},
		{"a reply subject with a wildcard", func(j *passcode.Job) { j.ReplyTo = "a.>" }, []string{"reply_to"}},
		{"a client address that is none", func(j *passcode.Job) { j.ClientIP = "here" }, []string{"client_ip"}},
		{"too much metadata", func(j *passcode.Job) { j.Metadata = entries(17, 8) }, []string{"metadata"}},
		{"more than 8 KiB", func(j *passcode.Job) { j.UsageType = strings.Repeat("u", passcode.MaxJobBytes) }, []string{"job"}},
		{"a text that is not UTF-8, rather than another text", func(j *passcode.Job) { j.UsageType = "a\xff" }, []string{"usage_type"}},
		{"params and metadata that are not UTF-8", func(j *passcode.Job) {
			j.Params, j.Metadata = map[string]string{"\xff": ""}, map[string]string{"": "\xff"}
		}, []string{"metadata", "params"}},
		{"an expiry that RFC 3339 can't write", func(j *passcode.Job) { j.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"expires_at"}},
	}
	for _, row := range rows {
		job := validJob()
		row.change(&job)
		data, err := job.Encode()
		assert.Nil(t, data)
		fields := []string{}
		for _, p := range invalid(t, err) {
			fields = append(fields, p.Field)
		}
		assert.Equal(t, row.fields, fields, row.sentence)
		assert.NotContains(t, err.Error(), testCode)
		assert.NotContains(t, err.Error(), testPhone[3:])
	}
}

func TestEncodeMakesNoJobLongerThanItIs(t *testing.T) {
	t.Parallel()
	job := validJob()
	job.UsageType = strings.Repeat("<&>", 2000)
	data, err := job.Encode()
	require.NoError(t, err, "6000 characters are within 8 KiB")
	assert.Contains(t, string(data), job.UsageType)
}

func TestEncodeWritesTheInstantWhateverTheZone(t *testing.T) {
	t.Parallel()
	job := validJob()
	// RFC 3339 has no seconds in a zone: local mean time of Shanghai, +08:05:43.
	job.ExpiresAt = job.ExpiresAt.In(time.FixedZone("LMT", 8*3600+5*60+43))
	data, err := job.Encode()
	require.NoError(t, err)
	back, err := passcode.Decode(data)
	require.NoError(t, err)
	assert.True(t, back.ExpiresAt.Equal(job.ExpiresAt))
}

// canonical is the job as every writing of it is read.
func canonical(j passcode.Job) passcode.Job {
	j.ExpiresAt = j.ExpiresAt.UTC()
	for _, m := range []*map[string]string{&j.Params, &j.Metadata} {
		if len(*m) == 0 {
			*m = nil
		}
	}
	return j
}

// drawJob draws jobs that keep every rule.
func drawJob(t *rapid.T) passcode.Job {
	text := rapid.StringN(0, 40, 160)
	texts := rapid.MapOfN(rapid.StringN(0, 8, 32), rapid.StringN(0, 16, 64), 0, 8)
	seconds := rapid.Int64Range(1, 4e9).Draw(t, "expires_at")
	zone := time.FixedZone("", rapid.IntRange(-14*60, 14*60).Draw(t, "zone")*60)
	return passcode.Job{
		RequestID: rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, "request_id"),
		Phone:     passcode.NewPhone(rapid.StringN(1, 24, 96).Draw(t, "phone")),
		Code:      passcode.NewPasscode(rapid.StringMatching(`[A-Za-z0-9]{4,6}`).Draw(t, "code")),
		UsageType: "u" + text.Draw(t, "usage_type"),
		Params:    texts.Draw(t, "params"),
		ExpiresAt: time.Unix(seconds, rapid.Int64Range(0, 999999999).Draw(t, "nanos")).In(zone),
		ReplyTo:   rapid.StringMatching(`([a-zA-Z0-9_]{1,8}(\.[a-zA-Z0-9_]{1,8}){0,4})?`).Draw(t, "reply_to"),
		ClientIP:  rapid.SampledFrom([]string{"", "203.0.113.7", "2001:db8::1"}).Draw(t, "client_ip"),
		Metadata:  texts.Draw(t, "metadata"),
	}
}

func TestEncodeAndDecodeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		job := drawJob(t)
		data, err := job.Encode()
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		back, err := passcode.Decode(data)
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if !reflect.DeepEqual(canonical(back), canonical(job)) {
			t.Fatalf("decoded job differs from the encoded one")
		}
	})
}

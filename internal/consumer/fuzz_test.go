package consumer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// FuzzJob takes any message from the stream through the whole way, with its headers. It leaves the stream by
// one end: a final record that matches what was sent, or a dead letter of its very bytes; and nobody but Aliyun
// is told its number and passcode.
func FuzzJob(f *testing.F) {
	const sound = `{"request_id":"r-1","phone":"PHONE","code":"CODE"}`
	f.Add(sound, "", "", "")
	f.Add(sound, "1", "", "2026-11-22T03:04:05.000000001Z")
	f.Add(sound, "1", "", "0000-01-01T00:00:00+23:00")
	f.Add(sound, "1", "", "9999-12-31T23:59:59-23:00")
	f.Add(sound, "", "", "PHONE CODE")
	f.Add(sound, "3", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "")
	f.Add(sound, "99999999999999999999", "PHONE\r\nX: y", "")
	f.Add(`{"request_id":"r-1","phone":"PHONE","code":"CODE","reply_to":"passcode.send"}`, "", "", "")
	f.Add(`{"request_id":"r-1","phone":"PHONE","code":"CODE","reply_to":"_INBOX.a","expires_at":"2000-01-01T00:00:00Z","params":{"CODE":"PHONE"}}`, "", "", "")
	f.Add(`{"request_id":"r-1","phone":"PHONE,PHONE","code":"CODE CODE"}`, "-1", "", "")
	f.Add(`{"code":"CODE","phone":["PHONE"]}`, "", "", "")
	f.Add(`PHONE CODE`, "", "", "")
	f.Add(`{"request_id":"r-1","phone":"PHONE","code":"CODE"`, "1", "", "")
	const phone, code = "+8613812345678", "004213"
	fill := strings.NewReplacer("PHONE", phone, "CODE", code)
	f.Fuzz(func(t *testing.T, text, replay, trace, attempted string) {
		body := fill.Replace(text)
		job, invalid := passcode.Decode([]byte(body))
		if invalid == nil && job.Code.Reveal() != code || strings.Contains(job.RequestID, code) || strings.Contains(job.RequestID, phone[3:]) {
			t.Skip("another code than the one looked for, or a producer that makes it the request's name")
		}
		w := newWorld(t, answer{out: domain.Outcome{Class: passcode.ClassOK, Code: "OK", BizID: "1^0"}, accept: true})
		seq := w.publish(body, map[string]string{
			domain.HeaderReplay: fill.Replace(replay), "traceparent": fill.Replace(trace), "tracestate": fill.Replace(trace),
			domain.HeaderAttemptedAt: fill.Replace(attempted),
		})
		w.run()
		require.True(t, w.jobs[seq].done)
		require.LessOrEqual(t, w.calls, 1)
		require.LessOrEqual(t, len(w.dead), 1)
		require.True(t, len(w.dead) == 1 || len(w.records) == 1, "it vanished")
		for _, letter := range w.dead {
			require.Equal(t, body, string(letter.Body))
			require.Equal(t, passcode.ReasonInvalid, letter.Reason)
			require.Zero(t, w.calls)
			// Of the trace internal/deadletter passes on what is one.
			letter.Body, letter.TraceParent, letter.TraceState = nil, "", ""
			requireHidden(t, fmt.Sprintf("%+v", letter), code, phone)
		}
		for _, rec := range w.recorded {
			_, err := json.Marshal(rec)
			require.NoError(t, err, "it could not be stored")
		}
		for id, at := range w.records {
			require.True(t, passcode.ValidRequestID(id))
			require.True(t, at.rec.Final)
			require.Equal(t, at.rec.Status == passcode.StatusSent, w.calls == 1, at.rec.Status)
			require.GreaterOrEqual(t, at.rec.Replays, 0)
			at.rec.Metadata, at.rec.UsageType = nil, "" // the producer's own words, echoed
			record, err := json.Marshal(at.rec)
			require.NoError(t, err)
			requireHidden(t, string(record), code, phone)
		}
		for subject := range w.announced {
			require.True(t, passcode.ValidSubject(subject))
			require.True(t, strings.HasPrefix(subject, "passcode.result.") || strings.HasPrefix(subject, "_INBOX."), subject)
		}
		if job.UsageType == passcode.DefaultUsageType && job.ReplyTo == "" {
			requireHidden(t, w.log.String(), code, phone)
		}
	})
}

func requireHidden(t *testing.T, text, code, phone string) {
	t.Helper()
	require.NotContains(t, text, code)
	require.NotContains(t, text, phone[3:])
}

// A producer's header, which could end the count of replays: its dead letter would
// then pass as replayed before, and be removed.
func TestReplaysOf(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{
		"": 0, "1": 1, "1000000": domain.MaxReplays, "1000001": 0, "-1": 0, "x": 0, "1.5": 0, " 1": 0,
		"9223372036854775807": 0, "99999999999999999999": 0, "-99999999999999999999": 0,
	} {
		assert.Equal(t, want, replaysOf(header), header)
	}
}

func FuzzReplaysOf(f *testing.F) {
	f.Add("1")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, header string) {
		n := replaysOf(header)
		if n < 0 || n > domain.MaxReplays {
			t.Fatal(n)
		}
		if n > 0 && replaysOf(strconv.Itoa(n)) != n {
			t.Fatalf("%d is not read back", n)
		}
	})
}

func TestTraceID(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "0af7651916cd43dd8448eb211c80319c", traceID("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	for _, bad := range []string{"", "00-short-b7ad6b7169203331-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-ZZf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		assert.Empty(t, traceID(bad))
	}
}

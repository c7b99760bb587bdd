package deadletter

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// FuzzStored reads a whole message of the stream, as anybody may have written it,
// and plans its replay. Phone and passcode may stand anywhere in it.
func FuzzStored(f *testing.F) {
	header := func(more string) string {
		return "NATS/1.0\r\nPasscode-Reason: config\r\nPasscode-Attempts: 1\r\nPasscode-Replays: 0\r\nPasscode-Request-Id: r-1\r\n" +
			"Passcode-Origin-Stream: S\r\nPasscode-Origin-Seq: 7\r\nPasscode-Queued-At: 2026-01-02T03:04:05Z\r\n" + more + "\r\n"
	}
	const job = `{"request_id":"r-1","phone":"PHONE","code":"CODE"}`
	f.Add("d.config.r-1", header(""), []byte(job), "", 0, int64(0))
	f.Add("d.config.r-1", strings.Replace(header(""), "Replays: 0", "Replays: 9223372036854775807", 1), []byte(job), "dead_lettered", 3, int64(time.Hour))
	f.Add("d.config.PHONE", header("Passcode-Body-Truncated: true\r\nPasscode-Body-Size: 999\r\n"), []byte(job[:20]), "sent", 0, int64(0))
	f.Add("d.config.r-1", header("Passcode-Attempted-At: 0000-01-01T00:00:00+23:00\r\n"), []byte(job), "", 0, int64(time.Hour))
	f.Add("d.config.r-1", header("Passcode-Attempted-At: 2026-01-02T03:04:05Z\r\n"), []byte(job), "", 0, int64(time.Hour))
	f.Add("d.x\x1b[2J.y", "NATS/1.0\r\nPasscode-Reason: CODE\r\n\r\n", []byte("PHONE"), "unknown", 1, int64(-1))
	f.Add("d.config.r-1", header(""), []byte(`{"request_id":"r-1","phone":"PHONE","code":"CODE","expires_at":"9999-12-31T23:59:59Z","metadata":{"a":"PHONE"}}`), "dead_lettered", 0, int64(1)<<62)
	const phone, code = "+8613800000001", "pq7z9x"
	fill := strings.NewReplacer("PHONE", phone, "CODE", code)
	now := time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, subject, headers string, body []byte, status string, replays int, ttl int64) {
		parsed, err := nats.DecodeHeadersMsg([]byte(headers))
		if err != nil {
			parsed = nil
		}
		body = []byte(fill.Replace(string(body)))
		s := newStored("d", &jetstream.RawStreamMsg{Subject: subject, Sequence: 9, Time: now, Header: parsed, Data: body})
		for _, shown := range []string{s.ID, string(s.Reason), s.ErrorCode, s.ErrorMessage, s.Worker, s.Origin.Subject} {
			require.False(t, strings.ContainsFunc(shown, unicode.IsControl), "it would be printed: %q", shown)
		}
		if s.Err != nil {
			require.ErrorIs(t, s.Err, ErrCorrupt)
		}
		_, err = json.Marshal([]time.Time{s.DeadAt, s.AttemptedAt, s.Origin.QueuedAt})
		require.NoError(t, err, "lists can't show it")

		var record *passcode.Result
		if slices.Contains(passcode.Statuses(), passcode.Status(status)) && replays >= 0 && replays <= domain.MaxReplays {
			stands := passcode.Result{RequestID: "r-1", Replays: replays}.In(passcode.Status(status))
			record = &stands
		}
		life := Life{TTL: time.Duration(max(ttl, 0) % int64(1000*time.Hour)), PasscodeTTL: 10 * time.Minute}
		plan := Decide(s, record, now, life)
		shown := fmt.Sprint(plan.Cause, plan.Why, s.Err)
		require.NotContains(t, shown, phone[3:])
		require.NotContains(t, shown, code)
		switch plan.Action {
		case Refused:
			require.NotEmpty(t, plan.Cause)
			require.NotEmpty(t, plan.Why)
		case Already: // it is removed, unread
			require.NoError(t, s.Err)
			require.NotNil(t, record)
			require.Greater(t, record.Replays, s.Replays, "the record is of a later replay than the dead letter")
		case Replayed:
			checkReplay(t, s, record, plan, now)
		case Gone, Failed:
			t.Fatalf("a plan is neither: %s", plan.Action)
		default:
			t.Fatalf("action %q", plan.Action)
		}
	})
}

// checkReplay: what is published is the very job, alive, under its own name.
func checkReplay(t *testing.T, s Stored, record *passcode.Result, plan Plan, now time.Time) {
	t.Helper()
	require.False(t, s.Truncated)
	require.True(t, record == nil || record.Status.Replayable())
	require.Positive(t, plan.Number)
	require.Equal(t, s.Replays+1, plan.Number)
	require.True(t, plan.ExpiresAt.After(now))
	published, err := passcode.Decode(plan.Body)
	require.NoError(t, err)
	was, err := s.Job()
	require.NoError(t, err)
	require.Equal(t, was.Phone, published.Phone)
	require.Equal(t, was.Code, published.Code)
	require.Equal(t, was.RequestID, published.RequestID)
	require.True(t, passcode.ValidRequestID(s.Request()))
	require.Equal(t, published.RequestID, s.Request())
}

// FuzzParse: whatever the headers of a stored message, reading neither panics
// nor gives what could not be written again, and writing that again changes
// nothing of it.
func FuzzParse(f *testing.F) {
	f.Add("NATS/1.0\r\nPasscode-Reason: invalid\r\nPasscode-Attempts: 0\r\nPasscode-Replays: 0\r\n"+
		"Passcode-Origin-Stream: S\r\nPasscode-Origin-Seq: 7\r\nPasscode-Queued-At: 2026-01-02T03:04:05.678+08:00\r\n\r\n", []byte("job"))
	f.Add("NATS/1.0\r\nPasscode-Reason: invalid\r\nPasscode-Attempts: 0\r\nPasscode-Replays: 0\r\nPasscode-Origin-Stream: S\r\n"+
		"Passcode-Origin-Seq: 7\r\nPasscode-Body-Truncated: true\r\nPasscode-Body-Size: 9\r\n\r\n", []byte("job"))
	f.Add("NATS/1.0\r\n\r\n", []byte{})
	store := &Store{Stream: "D", Subject: "d", Worker: "w"}
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		header, err := nats.DecodeHeadersMsg([]byte(text))
		if err != nil {
			t.Skip("no headers")
		}
		entry, err := Parse(header, body)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Empty(t, invalid(entry.DeadLetter))
		require.GreaterOrEqual(t, entry.BodySize, len(entry.Body))
		if y := entry.Origin.QueuedAt.Year(); y < 1 || y > 9999 {
			t.Skip("no worker's clock stands there")
		}
		msg := store.message(entry.DeadLetter, time.Unix(0, 0), 1<<30, false)
		again, err := Parse(msg.Header, msg.Data)
		require.NoError(t, err)
		require.Equal(t, entry.DeadLetter, again.DeadLetter)
	})
}

package request

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/passcode"
)

var pageTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestNextCommand: every status says what there is to do, and where an operator
// is needed, with which command.
func TestNextCommand(t *testing.T) {
	t.Parallel()
	failed := func(class passcode.Class) *passcode.Error {
		return &passcode.Error{Code: "code", Class: class, Message: "message"}
	}
	rows := []struct {
		status  passcode.Status
		err     *passcode.Error
		dead    bool
		expired bool
		says    []string
	}{
		{status: passcode.StatusSending, says: []string{"may be in progress", "worker.ack_wait"}},
		{status: passcode.StatusRetrying, err: failed(passcode.ClassThrottled), says: []string{"Another attempt follows"}},
		{status: passcode.StatusRetrying, err: failed(passcode.ClassAccount), says: []string{"whole account", `"worker resume"`}},
		{status: passcode.StatusInDoubt, says: []string{"being asked"}},
		{status: passcode.StatusSent, says: []string{"nothing is left to do"}},
		{status: passcode.StatusDelivered, says: []string{"nothing is left to do"}},
		{status: passcode.StatusUndelivered, says: []string{"could not deliver"}},
		{status: passcode.StatusRateLimited, says: []string{`"worker limits show PHONE"`}},
		{status: passcode.StatusExpired, says: []string{"asks for a new one"}},
		{status: passcode.StatusRejected, says: []string{"now or later"}},
		{status: passcode.StatusRejected, dead: true, says: []string{`"worker dlq show r1"`}},
		{
			status: passcode.StatusDeadLettered, err: failed(passcode.ClassConfig), dead: true,
			says: []string{`"worker dlq show r1"`, "Fix the template", `"worker dlq replay --id r1"`},
		},
		{
			status: passcode.StatusDeadLettered, err: failed(passcode.ClassTransient), dead: true, expired: true,
			says: []string{`"worker dlq show r1"`, `"worker dlq replay --id r1 --ttl 10m" tries again`, "still waits"},
		},
		{
			status: passcode.StatusDeadLettered, err: failed(passcode.ClassPoison), dead: true,
			says: []string{`"worker dlq show r1"`, "may have been sent", `"worker dlq replay --id r1"`, "asks Aliyun first"},
		},
		{
			status: passcode.StatusUnknown, dead: true, expired: true,
			says: []string{"may have been sent", `"worker dlq replay --id r1 --ttl 10m"`},
		},
		{status: passcode.StatusDeadLettered, err: failed(passcode.ClassConfig), says: []string{"is gone", "ask for a new passcode"}},
	}
	seen := map[passcode.Status]bool{}
	for _, row := range rows {
		seen[row.status] = true
		rec := passcode.Result{RequestID: "r1", Error: row.err, ExpiresAt: pageTime.Add(time.Minute)}.In(row.status)
		now := pageTime
		if row.expired {
			now = pageTime.Add(time.Minute)
		}
		text := nextCommand(rec, row.dead, now)
		for _, word := range row.says {
			assert.Contains(t, text, word, row.status)
		}
		assert.Equal(t, row.expired, strings.Contains(text, "--ttl"), text)
	}
	for _, status := range passcode.Statuses() {
		assert.True(t, seen[status], "%s has a row", status)
	}
}

// TestShowRequest: the page of a request that was throttled, doubtful and found.
func TestShowRequest(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return pageTime.Add(time.Duration(ms) * time.Millisecond) }
	base := passcode.Result{
		RequestID: "r1", Phone: "+852****6366", UsageType: "Sign\u202eIn\u200b", QueuedAt: at(0), ExpiresAt: at(600_000), StreamSeq: 42, Worker: "vm-1",
	}
	state := func(ms int, status passcode.Status, attempts int, change func(*passcode.Result)) passcode.Result {
		rec := base
		rec.UpdatedAt, rec.Attempts = at(ms), attempts
		change(&rec)
		return rec.In(status)
	}
	history := []passcode.Result{
		state(12, passcode.StatusSending, 1, func(*passcode.Result) {}),
		state(80, passcode.StatusRetrying, 1, func(r *passcode.Result) {
			r.Error = &passcode.Error{Code: "Throttling.User", Class: passcode.ClassThrottled}
			r.NextAttemptAt = at(580)
		}),
		state(600, passcode.StatusSending, 2, func(*passcode.Result) {}),
		state(5600, passcode.StatusInDoubt, 2, func(r *passcode.Result) {
			r.Error = &passcode.Error{Code: "timeout", Class: passcode.ClassInDoubt}
		}),
		state(10_601, passcode.StatusInDoubt, 2, func(r *passcode.Result) { r.LookupBeganAt, r.Worker = at(10_601), "vm-2" }),
		state(10_650, passcode.StatusSent, 2, func(r *passcode.Result) {
			r.Recovered, r.Interruptions, r.Worker = true, 1, "vm-2\x1b[31m"
		}),
	}
	var out bytes.Buffer
	require.NoError(t, showRequest(&out, history, at(70_650), []string{"Nothing is left to do."}))
	assert.Equal(t, `request        r1
status         sent (final)
phone          +852****6366
usage type     SignIn
attempts       2
interruptions  1 (workers that went away while they held it)
recovered      a look-up settled a doubtful send
queued         2026-11-22 12:00:00 UTC, 1m11s ago
updated        2026-11-22 12:00:10 UTC, 1m ago
expires        2026-11-22 12:10:00 UTC, in 8m49s
job            stream sequence 42
worker         vm-2 [31m

Nothing is left to do.

TIME (UTC)               GAP     STATUS    ATTEMPT  WHAT, BY WHOM
2026-11-22 12:00:00.012  +12ms   sending   1        vm-1
2026-11-22 12:00:00.080  +68ms   retrying  1        throttled Throttling.User, again in 500ms, vm-1
2026-11-22 12:00:00.600  +520ms  sending   2        vm-1
2026-11-22 12:00:05.600  +5s     in_doubt  2        in_doubt timeout, vm-1
2026-11-22 12:00:10.601  +5s     in_doubt  2        asking Aliyun, vm-2
2026-11-22 12:00:10.650  +49ms   sent      2        found by look-up, vm-2 [31m
`, out.String())

	out.Reset()
	for len(history) < broker.ResultHistory {
		history = append(history, history[len(history)-1])
	}
	require.NoError(t, showRequest(&out, history, at(70_650), nil))
	assert.Contains(t, out.String(), "what came before is not kept")
}

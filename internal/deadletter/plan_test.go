package deadletter_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const goodJob = `{"phone":"+8613800000001","code":"pq7z9x",  "request_id":"01JD-x_Y","extra":[1]}`

// entryOf is a dead letter with the job given, otherwise as letter makes it.
func entryOf(body string, change func(*deadletter.Entry)) deadletter.Stored {
	e := deadletter.Entry{DeadLetter: letter(body), DeadAt: deadAt, BodySize: len(body)}
	e.Replays = 1
	if change != nil {
		change(&e)
	}
	return deadletter.Stored{Seq: 9, Entry: e}
}

func recordIn(status passcode.Status, replays int) *passcode.Result {
	r := passcode.Result{RequestID: "01JD-x_Y", Replays: replays}.In(status)
	return &r
}

// now is a minute after the job of letter was queued.
var now = queuedAt.Add(time.Minute)

func TestDecide(t *testing.T) {
	t.Parallel()
	expiring := func(at time.Time) string {
		return strings.Replace(goodJob, `"extra"`, `"expires_at":"`+at.Format(time.RFC3339Nano)+`","extra"`, 1)
	}
	for _, test := range []struct {
		name   string
		stored deadletter.Stored
		record *passcode.Result
		ttl    time.Duration
		action deadletter.Action
		cause  string
	}{
		{"dead-lettered is replayed", entryOf(goodJob, nil), recordIn(passcode.StatusDeadLettered, 1), 0, deadletter.Replayed, ""},
		{"unknown is replayed", entryOf(goodJob, nil), recordIn(passcode.StatusUnknown, 1), 0, deadletter.Replayed, ""},
		{"no record is replayed", entryOf(goodJob, nil), nil, 0, deadletter.Replayed, ""},
		{"sent is refused with that word", entryOf(goodJob, nil), recordIn(passcode.StatusSent, 1), 0, deadletter.Refused, "sent"},
		{"delivered too", entryOf(goodJob, nil), recordIn(passcode.StatusDelivered, 0), 0, deadletter.Refused, "delivered"},
		{"rejected too", entryOf(goodJob, nil), recordIn(passcode.StatusRejected, 1), 0, deadletter.Refused, "rejected"},
		{"rate limited too", entryOf(goodJob, nil), recordIn(passcode.StatusRateLimited, 1), 0, deadletter.Refused, "rate_limited"},
		{"in progress is refused", entryOf(goodJob, nil), recordIn(passcode.StatusInDoubt, 1), 0, deadletter.Refused, deadletter.CauseInProgress},
		{"taken up before is removed", entryOf(goodJob, nil), recordIn(passcode.StatusSent, 2), 0, deadletter.Already, ""},
		{"taken up before and dead again is removed", entryOf(goodJob, nil), recordIn(passcode.StatusDeadLettered, 2), 0, deadletter.Already, ""},
		{"taken up and in progress is removed", entryOf(goodJob, nil), recordIn(passcode.StatusSending, 2), 0, deadletter.Already, ""},
		{"expired is refused", entryOf(expiring(now), nil), recordIn(passcode.StatusDeadLettered, 1), 0, deadletter.Refused, deadletter.CauseExpired},
		{"expired gets a new life", entryOf(expiring(now), nil), nil, time.Minute, deadletter.Replayed, ""},
		{"expired and sent stays refused", entryOf(expiring(now), nil), recordIn(passcode.StatusSent, 1), time.Minute, deadletter.Refused, "sent"},
		{
			"its time in the stream counts where it names none", entryOf(goodJob, func(e *deadletter.Entry) { e.Origin.QueuedAt = now.Add(-10 * time.Minute) }),
			nil, 0, deadletter.Refused, deadletter.CauseExpired,
		},
		{
			"no time known at all is expired", entryOf(goodJob, func(e *deadletter.Entry) { e.Origin.QueuedAt = time.Time{} }),
			nil, 0, deadletter.Refused, deadletter.CauseExpired,
		},
		{"a job that breaks the rules", entryOf(`{"request_id":"01JD-x_Y"}`, nil), nil, time.Minute, deadletter.Refused, deadletter.CauseInvalid},
		{"no job", entryOf(``, nil), nil, time.Minute, deadletter.Refused, deadletter.CauseInvalid},
		{"a job cut off", entryOf(goodJob, func(e *deadletter.Entry) { e.Truncated = true }), nil, 0, deadletter.Refused, deadletter.CauseTruncated},
		{"another request's job", entryOf(goodJob, func(e *deadletter.Entry) { e.RequestID = "other" }), nil, 0, deadletter.Refused, deadletter.CauseCorrupt},
		{"no dead letter", deadletter.Stored{Err: deadletter.ErrCorrupt}, nil, 0, deadletter.Refused, deadletter.CauseCorrupt},
	} {
		plan := deadletter.Decide(test.stored, test.record, now, deadletter.Life{TTL: test.ttl, PasscodeTTL: 10 * time.Minute})
		assert.Equal(t, test.action, plan.Action, test.name)
		assert.Equal(t, test.cause, plan.Cause, test.name)
		assert.Equal(t, test.action != deadletter.Replayed, plan.Why != "", test.name)
		assert.NotContains(t, plan.Why, "pq7z9x", test.name)
		if test.action == deadletter.Replayed {
			assert.Equal(t, 2, plan.Number, test.name)
			assert.True(t, plan.ExpiresAt.After(now), test.name)
		}
	}
}

func TestAReplayKeepsTheJobsLife(t *testing.T) {
	t.Parallel()
	life := deadletter.Life{PasscodeTTL: 10 * time.Minute}
	read := func(plan deadletter.Plan) map[string]any {
		require.Equal(t, deadletter.Replayed, plan.Action)
		var members map[string]any
		require.NoError(t, json.Unmarshal(plan.Body, &members))
		return members
	}

	// A job that names its expiry goes out as it came, to the byte.
	own := strings.Replace(goodJob, `"extra"`, `"expires_at":"`+now.Add(time.Hour).Format(time.RFC3339Nano)+`","extra"`, 1)
	plan := deadletter.Decide(entryOf(own, nil), nil, now, life)
	assert.Equal(t, own, string(plan.Body))
	assert.True(t, plan.ExpiresAt.Equal(now.Add(time.Hour)))
	plan = deadletter.Decide(entryOf(own, nil), nil, now, deadletter.Life{TTL: time.Minute})
	assert.Equal(t, own, string(plan.Body), "--ttl never shortens a life")

	// One that doesn't would begin its time anew in the stream.
	plan = deadletter.Decide(entryOf(goodJob, nil), nil, now, life)
	members := read(plan)
	assert.True(t, plan.ExpiresAt.Equal(queuedAt.Add(10*time.Minute)))
	assert.Equal(t, plan.ExpiresAt.Format(time.RFC3339Nano), members["expires_at"])
	assert.Equal(t, "pq7z9x", members["code"])
	assert.Equal(t, "+8613800000001", members["phone"])
	assert.Equal(t, "01JD-x_Y", members["request_id"])

	plan = deadletter.Decide(entryOf(goodJob, nil), nil, now, deadletter.Life{TTL: time.Hour, PasscodeTTL: time.Minute})
	assert.Equal(t, now.Add(time.Hour).Truncate(time.Millisecond).Format(time.RFC3339Nano), read(plan)["expires_at"])
}

// What may have been sent is told apart from what was surely not: by the request's
// record, and by the dead letter where that is gone.
func TestDecideWhetherAliyunIsAsked(t *testing.T) {
	t.Parallel()
	unknown, poison, refused := recordIn(passcode.StatusUnknown, 1), recordIn(passcode.StatusDeadLettered, 1), recordIn(passcode.StatusDeadLettered, 1)
	for _, r := range []*passcode.Result{unknown, poison, refused} {
		r.AttemptedAt = attemptedAt
	}
	poison.Error, refused.Error = &passcode.Error{Class: passcode.ClassPoison}, &passcode.Error{Class: passcode.ClassConfig}
	never := func(e *deadletter.Entry) { e.AttemptedAt = time.Time{} }
	for _, test := range []struct {
		name   string
		stored deadletter.Stored
		record *passcode.Result
		want   bool
	}{
		{"unknown", entryOf(goodJob, never), unknown, true},
		{"poison", entryOf(goodJob, never), poison, true},
		{"refused", entryOf(goodJob, nil), refused, false},
		{"no attempt", entryOf(goodJob, nil), recordIn(passcode.StatusDeadLettered, 1), false},
		{"an attempt, and no record", entryOf(goodJob, nil), nil, true},
		{"neither", entryOf(goodJob, never), nil, false},
		{"not replayed", entryOf(goodJob, nil), recordIn(passcode.StatusSent, 1), false},
	} {
		assert.Equal(t, test.want, deadletter.Decide(test.stored, test.record, now, deadletter.Life{PasscodeTTL: 10 * time.Minute}).Asks, test.name)
	}
}

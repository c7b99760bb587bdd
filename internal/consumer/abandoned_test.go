package consumer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

var ranOut = domain.Abandonment{Deliveries: 3}

// abandon has a worker of its own end a job that the server gave up on.
func (w *world) abandon(seq uint64, why domain.Abandonment) {
	w.as(func(c *Consumer, d *worldDelivery) { c.Abandoned(w.ctx, d, why) }, seq)
}

// abandonedCase is a job that the server gave up on, and what becomes of it.
type abandonedCase struct {
	name   string
	record *passcode.Result // what was there; nil for none
	header map[string]string
	body   string
	dead   passcode.Reason
	want   passcode.Status // of the record afterwards; empty for none
	place  bool            // the phone's place, taken before, stays taken
}

func abandonedCases() []abandonedCase {
	own := func(status passcode.Status) *passcode.Result {
		rec := sending(1).In(status)
		rec.AttemptedAt = noon
		rec.StreamSeq = 1
		return &rec
	}
	others := func(status passcode.Status) *passcode.Result {
		rec := own(status)
		rec.StreamSeq = 99
		return rec
	}
	doubt := own(passcode.StatusInDoubt)
	*doubt = lookingUp(*doubt, noon)
	replay := map[string]string{domain.HeaderReplay: "1"}
	attempted := map[string]string{domain.HeaderReplay: "1", domain.HeaderAttemptedAt: noon.Format(time.RFC3339Nano)}
	return []abandonedCase{
		{name: "no worker had it", dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, place: true},
		{name: "waiting for another attempt, so nothing was sent", record: own(passcode.StatusRetrying), dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered},
		{name: "in doubt, so it may have been sent", record: own(passcode.StatusInDoubt), dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, place: true},
		{name: "a worker went away at its look-up", record: doubt, dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, place: true},
		{name: "a worker went away at its attempt", record: own(passcode.StatusSending), dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, place: true},
		{name: "sent, and only the ack was lost", record: own(passcode.StatusSent), want: passcode.StatusSent, place: true},
		{name: "dead-lettered, and only the ack was lost", record: own(passcode.StatusDeadLettered), want: passcode.StatusDeadLettered, place: true},
		{name: "a duplicate of a request that is done", record: others(passcode.StatusSent), want: passcode.StatusSent, place: true},
		{name: "a duplicate of a request under way", record: others(passcode.StatusRetrying), want: passcode.StatusRetrying, place: true},
		{name: "a replay that no worker had", record: others(passcode.StatusUnknown), header: attempted, dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, place: true},
		{name: "a replay that no worker had, whose record is gone", header: attempted, dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, place: true},
		{name: "a replay of what was sent", record: others(passcode.StatusSent), header: replay, want: passcode.StatusSent, place: true},
		{name: "an invalid job", body: `{"request_id":"r1","phone":"+1","code":"004213"}`, dead: passcode.ReasonInvalid, want: passcode.StatusRejected, place: true},
		{name: "a job that can't be read", body: `{`, dead: passcode.ReasonInvalid, place: true},
	}
}

func (a abandonedCase) world(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, answerOK)
	body := a.body
	if body == "" {
		body = job("r1")
	}
	w.publish(body, a.header)
	w.places["r1"] = true
	if a.record != nil {
		w.records["r1"] = stored{*a.record, 1}
	}
	w.now = w.now.Add(time.Minute)
	return w
}

func (a abandonedCase) check(t *testing.T, w *world) {
	t.Helper()
	require.True(t, w.jobs[1].done, "it is gone from the stream: %v", w.effects)
	require.Equal(t, a.want, w.record("r1").Status, "%v", w.effects)
	require.Equal(t, a.place, w.places["r1"], "place in the limits")
	require.Zero(t, w.calls, "nothing is sent")
	if a.dead == "" {
		require.Empty(t, w.dead)
		return
	}
	require.Len(t, w.dead, 1)
	letter := w.dead[0]
	require.Equal(t, a.dead, letter.Reason)
	require.Equal(t, string(w.jobs[1].body), string(letter.Body))
	if a.dead == passcode.ReasonPoison {
		require.Equal(t, "max_deliveries", letter.ErrorCode)
		require.Contains(t, letter.ErrorMessage, "after 3 deliveries")
		require.Contains(t, letter.ErrorMessage, "set it back to -1", "the mend")
		require.Equal(t, letter.ErrorCode, w.record("r1").Error.Code)
		require.Equal(t, passcode.ClassPoison, w.record("r1").Error.Class, "so that a replay asks Aliyun first")
		require.Equal(t, letter.Replays, w.record("r1").Replays)
		require.Equal(t, letter.AttemptedAt, w.record("r1").AttemptedAt)
		require.Equal(t, a.record != nil || a.header != nil, domain.MayBeSent(w.record("r1")))
	}
}

// TestAbandoned: the worker dies at any effect, and the job is brought to it
// again: there is one dead letter where one belongs, and it is there before the
// record and the record before the job is gone.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	for _, a := range abandonedCases() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			calm := a.world(t)
			calm.abandon(1, ranOut)
			a.check(t, calm)
			for dieAt := range calm.effects {
				for _, before := range []bool{true, false} {
					w := a.world(t)
					w.dieAt, w.dieBefore = dieAt, before
					w.abandon(1, ranOut)
					if !w.jobs[1].done {
						w.abandon(1, ranOut)
					}
					a.check(t, w)
				}
			}
		})
	}
}

// TestAbandonedWhileACallMayBeUnderWay: what the worker at it learns is waited for.
func TestAbandonedWhileACallMayBeUnderWay(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	p.CallBound = 10 * time.Second
	why := abandonedError(ranOut)
	doubt := lookingUp(sending(1).In(passcode.StatusInDoubt), noon.Add(time.Minute))
	for _, row := range []struct {
		rec  passcode.Result
		at   time.Duration
		want summary
	}{
		{sending(1), 4 * time.Second, summary{Finish: finishNak, Delay: 6 * time.Second}},
		{sending(1), -time.Hour, summary{Finish: finishNak, Delay: 10 * time.Second}},
		{doubt, 65 * time.Second, summary{Finish: finishNak, Delay: 5 * time.Second}},
		{doubt, 70 * time.Second, summary{
			Status: passcode.StatusDeadLettered, Dead: passcode.ReasonPoison, Finish: finishTerm, Attempts: 1, Class: passcode.ClassPoison,
		}},
		{sending(2).In(passcode.StatusRetrying), 0, summary{
			Status: passcode.StatusDeadLettered, Dead: passcode.ReasonPoison, Finish: finishTerm, Release: true, Attempts: 2, Class: passcode.ClassPoison,
		}},
	} {
		v := p.settleAbandoned(row.rec, why, noon.Add(row.at))
		assert.Empty(t, cmp.Diff(row.want, summarise(v)), "%s after %s", row.rec.Status, row.at)
	}
}

// TestAbandonedHere: a job that this very worker is handling is left to it.
func TestAbandonedHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	seq := w.publish(job("r1"), nil)
	w.as(func(c *Consumer, d *worldDelivery) {
		release, ok := c.leases.hold(d)
		require.True(t, ok)
		defer release()
		c.Abandoned(w.ctx, d, ranOut)
	}, seq)
	assert.Equal(t, []string{"nak"}, w.effects)
}

// TestSuspected: what may be outstanding is left alone until long after its code
// expired.
func TestSuspected(t *testing.T) {
	t.Parallel()
	suspected := domain.Abandonment{Suspected: true}
	w := newWorld(t, answerOK)
	seq := w.publish(job("r1"), nil)
	w.now = w.now.Add(testPolicy().PasscodeTTL + overdue - time.Second)
	w.abandon(seq, suspected)
	assert.Equal(t, []string{"nak"}, w.effects)
	w.now = w.now.Add(time.Second)
	w.abandon(seq, suspected)
	require.Len(t, w.dead, 1)
	assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
	assert.True(t, w.jobs[seq].done)
}

// TestAbandonedWithAnUnusableRecord is a dead letter all the same.
func TestAbandonedWithAnUnusableRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.unusable = domain.ErrCorrupt
	w.abandon(w.publish(job("r1"), nil), ranOut)
	require.Len(t, w.dead, 1)
	assert.Equal(t, "record_corrupt", w.dead[0].ErrorCode)
	assert.True(t, w.jobs[1].done)
}

// TestLost: what is left of a job that somebody terminated is where it was.
func TestLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	origin := domain.Origin{Stream: "PASSCODE", Seq: 7, Subject: "passcode.send"}
	require.NoError(t, w.consumer().Lost(t.Context(), origin, domain.Abandonment{Terminated: true, Reason: "Unacknowledged message was deleted"}))
	require.Len(t, w.dead, 1)
	assert.Equal(t, domain.DeadLetter{
		Reason: passcode.ReasonPoison, ErrorCode: "terminated", Origin: origin,
		ErrorMessage: "somebody other than a worker took the job out of the stream (Unacknowledged message was deleted)",
	}, w.dead[0])
	assert.Contains(t, w.log.String(), "level=ERROR")
}

package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestDuplicates: a repeated request never sends twice.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	for range 100 {
		w.publish(job("r1"), nil)
	}
	w.run()
	assert.Equal(t, 1, w.calls)
	assert.Equal(t, 99, w.unused, "a permit not used is returned")
	again := w.announced["passcode.result.r1"]
	require.Len(t, again, 99)
	for _, r := range again {
		assert.True(t, r.Duplicate)
		assert.Equal(t, passcode.StatusSent, r.Status)
		assert.Equal(t, "B^0", r.BizID)
	}
	assert.False(t, w.record("r1").Duplicate, "never stored")
}

// TestFinalAndDeliveredAgain: the acknowledgement was lost, and the announcement perhaps with it, as when the
// broker's leader dies. The result is announced again, as what it is, and nothing is sent.
func TestFinalAndDeliveredAgain(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerOK)
	w.run()
	assert.Empty(t, w.announced["passcode.result.r1"], "the server does it")
	w.jobs[1].done = false
	w.deliver(1)
	assert.True(t, w.jobs[1].done)
	assert.Equal(t, 1, w.calls)
	assert.Equal(t, []passcode.Result{w.record("r1")}, w.announced["passcode.result.r1"])
}

// TestDuplicateOfARequestInProgress is dropped; its owner goes on.
func TestDuplicateOfARequestInProgress(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerRefused, answerOK)
	w.deliver(1) // retrying now
	second := w.publish(job("r1"), nil)
	w.deliver(second)
	assert.True(t, w.jobs[second].done)
	assert.Empty(t, w.announced["passcode.result.r1"])
	w.run()
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
	assert.Len(t, w.accepted, 1)
}

// TestReplayOfASentRequest is refused by the worker too, whatever the tool says.
func TestReplayOfASentRequest(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerOK)
	w.publish(job("r1"), map[string]string{domain.HeaderReplay: "1"})
	w.run()
	assert.Equal(t, 1, w.calls)
}

// TestRepeatOfARequestWhoseJobIsGone: somebody purged the stream, or deleted it, and the producer publishes the
// job again. Whatever had become of the request, it comes to its end, and nothing is sent twice.
func TestRepeatOfARequestWhoseJobIsGone(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		sentence string
		answers  []answer
		dieOn    string // at the first delivery
		left     passcode.Status
	}{
		{"it waits for another attempt", []answer{answerRefused, answerOK}, "", passcode.StatusRetrying},
		{"it is in doubt, and Aliyun has the message", []answer{answerTakenAndDropped, answerOK}, "", passcode.StatusInDoubt},
		{"it is in doubt, and Aliyun has nothing", []answer{answerDropped, answerOK}, "", passcode.StatusInDoubt},
		{"its worker died before it sent", []answer{answerOK}, "send", passcode.StatusSending},
	} {
		for _, place := range []string{"behind the first", "in the first's place", "in the place of another's job"} {
			t.Run(row.sentence+", "+place, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, row.answers...)
				if row.dieOn != "" {
					w.dieOn = []string{row.dieOn}
				}
				w.publish(job("r1"), nil)
				w.deliver(1)
				w.dieOn = nil
				require.Equal(t, row.left, w.record("r1").Status)
				expires, queued := w.record("r1").ExpiresAt, w.record("r1").QueuedAt
				delete(w.jobs, 1)
				switch place {
				case "in the first's place":
					w.seq = 0
				case "in the place of another's job":
					w.seq = 0
					w.publish(job("r2"), nil)
				}
				w.now = w.now.Add(time.Second)
				again := w.publish(job("r1"), nil)
				w.run()
				rec := w.record("r1")
				assert.Equal(t, passcode.StatusSent, rec.Status)
				assert.Equal(t, again, rec.StreamSeq)
				assert.Equal(t, expires, rec.ExpiresAt, "a repeat gives its code no new life")
				assert.Equal(t, queued, rec.QueuedAt, "look-ups ask from there on")
				assert.Len(t, slices.DeleteFunc(w.accepted, func(id string) bool { return id != "r1" }), 1)
			})
		}
	}
}

// TestReplayOfARequestWhoseJobIsGone: the job of a replay may be what is gone, and
// what repeats it a job that is none; or the other way round.
func TestReplayOfARequestWhoseJobIsGone(t *testing.T) {
	t.Parallel()
	replay := map[string]string{domain.HeaderReplay: "1"}
	for name, headers := range map[string][2]map[string]string{
		"a replay's, and a producer repeats it": {replay, nil},
		"a producer's, and a replay repeats it": {nil, replay},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, answerRefused, answerOK)
			w.publish(job("r1"), headers[0])
			w.deliver(1)
			require.Equal(t, passcode.StatusRetrying, w.record("r1").Status)
			delete(w.jobs, 1)
			w.seq = 0
			w.publish(job("r1"), headers[1])
			w.run()
			assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
			assert.Len(t, w.accepted, 1)
		})
	}
}

// TestOwnerIsLookedForAgain: while the broker doesn't say whether the owner is there, the repeated job waits.
func TestOwnerIsLookedForAgain(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerRefused, answerOK)
	w.deliver(1)
	delete(w.jobs, 1)
	again := w.publish(job("r1"), nil)
	w.fail = map[string]int{"find owner": 1}
	w.deliver(again)
	assert.False(t, w.jobs[again].done)
	w.run()
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
}

// TestRepeatForAnotherNumberIsDropped even where the owner's job is gone: a look-up
// would ask about the wrong one.
func TestRepeatForAnotherNumberIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	rec := sending(1)
	rec.RequestID, rec.Phone, rec.StreamSeq = "r1", "+86139****0000", 7
	w.records["r1"] = stored{rec, 1}
	seq := w.publish(job("r1"), nil)
	w.run()
	assert.True(t, w.jobs[seq].done)
	assert.Equal(t, rec, w.record("r1"))
	assert.Zero(t, w.calls)
}

var ranOut = domain.Undeliverable{Deliveries: 3}

// endUndeliverable has a worker of its own end a job that the server no longer delivers.
func (w *world) endUndeliverable(seq uint64, why domain.Undeliverable) {
	w.as(func(c *Consumer, d *worldDelivery) { c.Undeliverable(w.ctx, d, why) }, seq)
}

// undeliverableCase is a job that the server no longer delivers, and what becomes of it.
type undeliverableCase struct {
	name     string
	record   *passcode.Result // what was there; nil for none
	header   map[string]string
	body     string
	dead     passcode.Reason
	want     passcode.Status // of the record afterwards; empty for none
	reserved bool            // the reservation, made before, stays
}

func undeliverableCases() []undeliverableCase {
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
	return []undeliverableCase{
		{name: "no worker had it", dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, reserved: true},
		{name: "waiting for another attempt, so nothing was sent", record: own(passcode.StatusRetrying), dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered},
		{name: "in doubt, so it may have been sent", record: own(passcode.StatusInDoubt), dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, reserved: true},
		{name: "a worker went away at its look-up", record: doubt, dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, reserved: true},
		{name: "a worker went away at its attempt", record: own(passcode.StatusSending), dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, reserved: true},
		{name: "sent, and only the ack was lost", record: own(passcode.StatusSent), want: passcode.StatusSent, reserved: true},
		{name: "dead-lettered, and only the ack was lost", record: own(passcode.StatusDeadLettered), want: passcode.StatusDeadLettered, reserved: true},
		{name: "a duplicate of a request that is done", record: others(passcode.StatusSent), want: passcode.StatusSent, reserved: true},
		{name: "a duplicate of a request in progress", record: others(passcode.StatusRetrying), want: passcode.StatusRetrying, reserved: true},
		{name: "a replay that no worker had", record: others(passcode.StatusUnknown), header: attempted, dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, reserved: true},
		{name: "a replay that no worker had, whose record is gone", header: attempted, dead: passcode.ReasonPoison, want: passcode.StatusDeadLettered, reserved: true},
		{name: "a replay of what was sent", record: others(passcode.StatusSent), header: replay, want: passcode.StatusSent, reserved: true},
		{name: "an invalid job", body: `{"request_id":"r1","phone":"+1","code":"004213"}`, dead: passcode.ReasonInvalid, want: passcode.StatusRejected, reserved: true},
		{name: "a job that can't be read", body: `{`, dead: passcode.ReasonInvalid, reserved: true},
	}
}

func (a undeliverableCase) world(t *testing.T) *world {
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

func (a undeliverableCase) check(t *testing.T, w *world) {
	t.Helper()
	require.True(t, w.jobs[1].done, "it is gone from the stream: %v", w.effects)
	require.Equal(t, a.want, w.record("r1").Status, "%v", w.effects)
	require.Equal(t, a.reserved, w.places["r1"], "reservation")
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
		require.Contains(t, letter.ErrorMessage, "set it back to -1", "the fix")
		require.Equal(t, letter.ErrorCode, w.record("r1").Error.Code)
		require.Equal(t, passcode.ClassPoison, w.record("r1").Error.Class, "so that a replay asks Aliyun first")
		require.Equal(t, letter.Replays, w.record("r1").Replays)
		require.Equal(t, letter.AttemptedAt, w.record("r1").AttemptedAt)
		require.Equal(t, a.record != nil || a.header != nil, domain.MayBeSent(w.record("r1")))
	}
}

// TestUndeliverable: the worker dies at any effect, and the job is brought to it again: there is one dead
// letter where one belongs, and it is there before the record and the record before the job is gone.
func TestUndeliverable(t *testing.T) {
	t.Parallel()
	for _, a := range undeliverableCases() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			calm := a.world(t)
			calm.endUndeliverable(1, ranOut)
			a.check(t, calm)
			for dieAt := range calm.effects {
				for _, before := range []bool{true, false} {
					w := a.world(t)
					w.dieAt, w.dieBefore = dieAt, before
					w.endUndeliverable(1, ranOut)
					if !w.jobs[1].done {
						w.endUndeliverable(1, ranOut)
					}
					a.check(t, w)
				}
			}
		})
	}
}

// TestUndeliverableWhileACallMayBeInProgress: what the worker at it learns is waited for.
func TestUndeliverableWhileACallMayBeInProgress(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	p.CallBound = 10 * time.Second
	doubt := lookingUp(sending(1).In(passcode.StatusInDoubt), noon.Add(time.Minute))
	for _, row := range []struct {
		rec  passcode.Result
		at   time.Duration
		want summary
	}{
		{sending(1), 4 * time.Second, summary{Disposition: nak, Delay: 6 * time.Second}},
		{sending(1), -time.Hour, summary{Disposition: nak, Delay: 10 * time.Second}},
		{doubt, 65 * time.Second, summary{Disposition: nak, Delay: 5 * time.Second}},
		{doubt, 70 * time.Second, summary{
			Status: passcode.StatusDeadLettered, Letter: passcode.ReasonPoison, Disposition: term, Attempts: 1, Class: passcode.ClassPoison,
		}},
		{sending(2).In(passcode.StatusRetrying), 0, summary{
			Status: passcode.StatusDeadLettered, Letter: passcode.ReasonPoison, Disposition: term, Release: true, Attempts: 2, Class: passcode.ClassPoison,
		}},
	} {
		d := p.decide(row.rec, judged{state: domain.ClaimResumed, goal: goalEnd, why: &ranOut}, noon.Add(row.at))
		assert.Empty(t, cmp.Diff(row.want, summarise(d)), "%s after %s", row.rec.Status, row.at)
	}
}

// TestUndeliverableHere: a job that this very worker is handling is left to it.
func TestUndeliverableHere(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerOK)
	w.as(func(c *Consumer, d *worldDelivery) {
		require.True(t, c.hold(c.newTask(d)))
		c.Undeliverable(w.ctx, d, ranOut)
	}, 1)
	assert.Equal(t, []string{"nak"}, w.effects)
}

// TestSuspected: what may be outstanding is left alone until long after its code expired.
func TestSuspected(t *testing.T) {
	t.Parallel()
	suspected := domain.Undeliverable{Suspected: true}
	w := newJob(t, answerOK)
	w.now = w.now.Add(testPolicy().PasscodeTTL + overdue - time.Second)
	w.endUndeliverable(1, suspected)
	assert.Equal(t, []string{"nak"}, w.effects)
	w.now = w.now.Add(time.Second)
	w.endUndeliverable(1, suspected)
	require.Len(t, w.dead, 1)
	assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
	assert.True(t, w.jobs[1].done)
}

// TestLost: what is left of a job that somebody terminated is where it was.
func TestLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	gone := &worldDelivery{w: w, m: &message{}, seq: 7}
	require.NoError(t, w.consumer().Lost(t.Context(), gone, domain.Undeliverable{Terminated: true, Reason: "Unacknowledged message was deleted"}))
	require.Len(t, w.dead, 1)
	assert.Equal(t, domain.DeadLetter{
		Reason: passcode.ReasonPoison, ErrorCode: "terminated", Origin: gone.Origin(),
		ErrorMessage: "somebody other than a worker took the job out of the stream (Unacknowledged message was deleted)",
	}, w.dead[0])
	assert.Contains(t, w.log.String(), "level=ERROR")
}

// TestAReservationAhead is given back by a job whose request is another's, and made again if it is old.
func TestAReservationAhead(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerOK)
	rec := sending(1).In(passcode.StatusSent)
	rec.StreamSeq = 99
	w.records["r1"] = stored{rec, 5}
	w.run()
	assert.Equal(t, []string{"reserve ahead", "claim", "release", "announce", "announce", "ack"}, w.effects)
	assert.Empty(t, w.places)

	w = newJob(t, answerOK)
	w.before = func(effect string) {
		if effect == "announce" { // of the claim
			w.before, w.now = nil, w.now.Add(retry.Request.Try)
		}
	}
	w.run()
	assert.Equal(t, []string{"reserve ahead", "claim", "announce", "reserve", "send", "record sent", "announce", "ack"}, w.effects)
}

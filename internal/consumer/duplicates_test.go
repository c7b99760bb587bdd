package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	for range 100 {
		w.publish(job("r1"), nil)
	}
	w.run()
	assert.Equal(t, 1, w.calls)
	assert.Equal(t, 99, w.turnsBack, "a turn not used is given back")
	again := w.announced["passcode.result.r1"]
	require.Len(t, again, 99)
	for _, r := range again {
		assert.True(t, r.Duplicate)
		assert.Equal(t, passcode.StatusSent, r.Status)
		assert.Equal(t, "B^0", r.BizID)
	}
	assert.False(t, w.record("r1").Duplicate, "never stored")
}

func TestFinalAndDeliveredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.publish(job("r1"), nil)
	w.run()
	assert.Empty(t, w.announced["passcode.result.r1"], "the server does it")
	w.jobs[1].done = false
	w.deliver(1)
	assert.True(t, w.jobs[1].done)
	assert.Equal(t, 1, w.calls)
	assert.Equal(t, []passcode.Result{w.record("r1")}, w.announced["passcode.result.r1"])
}

func TestDuplicateOfARequestUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerRefused, answerOK)
	w.publish(job("r1"), nil)
	w.deliver(1) // retrying now
	second := w.publish(job("r1"), nil)
	w.deliver(second)
	assert.True(t, w.jobs[second].done)
	assert.Empty(t, w.announced["passcode.result.r1"])
	w.run()
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
	assert.Len(t, w.accepted, 1)
}

func TestReplayOfASentRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.publish(job("r1"), nil)
	w.publish(job("r1"), map[string]string{domain.HeaderReplay: "1"})
	w.run()
	assert.Equal(t, 1, w.calls)
}

// TestRepeatOfARequestWhoseJobIsGone: somebody purged the stream, or deleted it, and
// the producer publishes the job again. Whatever had become of the request, it comes
// to its end, and nothing is sent twice.
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

// TestOwnerIsLookedForAgain: while the broker doesn't say whether the owner is there,
// the repeated job waits.
func TestOwnerIsLookedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerRefused, answerOK)
	w.publish(job("r1"), nil)
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

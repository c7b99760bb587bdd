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

func TestPoison(t *testing.T) {
	t.Parallel()
	for name, deadly := range map[string][]string{
		"an attempt":          {"send"},
		"a look-up":           {"look up"},
		"whatever is asked":   {"send", "look up"},
		"an end of a look-up": {"record sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, answerDropped)
			if name == "an end of a look-up" {
				w.answers = []answer{answerTakenAndDropped}
			}
			w.publish(job("r1"), nil)
			w.dieOn = deadly
			w.run()
			rec := w.record("r1")
			require.Equal(t, passcode.StatusDeadLettered, rec.Status, "%v", w.effects)
			assert.Equal(t, passcode.ClassPoison, rec.Error.Class)
			assert.Equal(t, testPolicy().MaxInterruptions, rec.Interruptions)
			require.Len(t, w.dead, 1)
			assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
			assert.True(t, w.places["r1"], "it may have been sent, so the place stays taken")
			deaths := 0
			for _, effect := range w.effects {
				if slices.Contains(deadly, effect) {
					deaths++
				}
			}
			assert.Equal(t, testPolicy().MaxInterruptions, deaths)
		})
	}
}

func TestSuspectsAreHandledOneAtATime(t *testing.T) {
	t.Parallel()
	for _, status := range []passcode.Status{passcode.StatusInDoubt, passcode.StatusRetrying} {
		for interruptions := range 3 {
			w := newWorld(t, answerOK)
			seq := w.publish(job("r1"), nil)
			rec := sending(1).In(status)
			rec.StreamSeq, rec.Interruptions, rec.AttemptedAt = seq, interruptions, noon.Add(-time.Minute)
			w.records["r1"] = stored{rec, 1}
			c := w.consumer()
			deliver := func() {
				c.handle(t.Context(), t.Context(), &worldDelivery{w: w, m: w.jobs[seq], seq: seq}, func() {})
			}
			c.alone.Lock() // another suspect's call is under way
			deliver()
			handedBack := slices.Equal(w.effects, []string{"claim", "nak"})
			assert.Equal(t, interruptions == 2, handedBack, "%s, %d interruptions: %v", status, interruptions, w.effects)
			c.alone.Unlock()
			deliver()
			assert.Contains(t, []passcode.Status{passcode.StatusSent, passcode.StatusRetrying}, w.record("r1").Status)
			assert.True(t, c.alone.TryLock(), "and the next one may")
		}
	}
}

func TestLostAnswerToTheNoteOfALookup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerTakenAndDropped)
	w.publish(job("r1"), nil)
	w.deliver(1)
	w.next()
	w.loseAnswer = "record in_doubt"
	w.deliver(1)
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status, "%v", w.effects)
	assert.Zero(t, w.record("r1").Interruptions)
}

func TestPanicBeforeTheClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.publish(`{"request_id":"r1","phone":"+86panic","code":"004213"}`, nil)
	w.publish(job("r2"), nil)
	w.run()
	require.Len(t, w.dead, 1)
	assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
	assert.Equal(t, passcode.StatusSent, w.record("r2").Status)
	assert.NotContains(t, w.log.String(), "a bug", "a panic's value may quote the job")
}

func TestUnusableRecord(t *testing.T) {
	t.Parallel()
	for _, err := range []error{domain.ErrCorrupt, domain.ErrUnstorable} {
		w := newWorld(t, answerOK)
		w.unusable = err
		w.publish(job("r1"), nil)
		w.run()
		require.Len(t, w.dead, 1)
		assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
		assert.Equal(t, "record_corrupt", w.dead[0].ErrorCode)
		assert.Zero(t, w.calls)
	}
}

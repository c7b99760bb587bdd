package consumer

import (
	"testing"

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

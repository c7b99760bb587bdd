package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestBrokerTroubleCostsNoJobAnything: each operation on the broker fails a few
// times, in each story; the job ends as it would have, with as many messages and
// no attempt more.
func TestBrokerTroubleCostsNoJobAnything(t *testing.T) {
	t.Parallel()
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calm := s.world(t)
				calm.run()
				names := map[string]bool{}
				for _, name := range calm.effects {
					names[name] = true
				}
				delete(names, "send") // these two are not the broker
				delete(names, "look up")
				for name := range names {
					w := s.world(t)
					w.fail = map[string]int{name: 3}
					w.run()
					// A reply subject is told as well as can be: the record is what counts.
					if name != "announce" {
						s.check(t, w, false)
					}
					assert.Equal(t, calm.calls, w.calls, "calls when %q fails", name)
					assert.Equal(t, calm.record("r1").Attempts, w.record("r1").Attempts, "attempts when %q fails", name)
				}
			})
		})
	}
}

// TestTroubleWithTheGate hands the job back, before anything is written.
func TestTroubleWithTheGate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	c := w.consumer()
	c.gate = brokenGate{}
	seq := w.publish(job("r1"), nil)
	c.handle(t.Context(), t.Context(), &worldDelivery{w: w, m: w.jobs[seq], seq: seq}, func() {})
	assert.Equal(t, []string{"nak"}, w.effects)
	assert.Equal(t, handBackDelay, w.jobs[seq].due.Sub(w.now))

	stopping, stop := context.WithCancel(t.Context())
	stop()
	c.handle(t.Context(), stopping, &worldDelivery{w: w, m: w.jobs[seq], seq: seq}, func() {})
	assert.Equal(t, w.now, w.jobs[seq].due, "a stopping worker hands it back at once")
}

type brokenGate struct{}

func (brokenGate) Admit(context.Context) (domain.Admission, error) {
	return domain.Admission{}, errTrouble
}

func (brokenGate) Trip(context.Context, string, string) (time.Time, error) {
	return time.Time{}, errTrouble
}
func (brokenGate) Passed(context.Context) error   { return errTrouble }
func (brokenGate) GiveBack(context.Context) error { return errTrouble }

// TestPanicAfterTheClaim leaves the job to its next delivery, which takes it for
// an interruption.
func TestPanicAfterTheClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.before = func(effect string) {
		if effect == "reserve" {
			w.before = nil
			w.mu.Unlock() // the panic takes the place of the effect
			defer w.mu.Lock()
			panic("13812345678")
		}
	}
	w.publish(job("r1"), nil)
	w.run()
	rec := w.record("r1")
	assert.Equal(t, passcode.StatusSent, rec.Status)
	assert.Equal(t, 1, rec.Interruptions)
	require.Len(t, w.accepted, 1)
	assert.NotContains(t, w.log.String(), "13812345678")
	assert.Contains(t, w.log.String(), "panic while handling a job")
}

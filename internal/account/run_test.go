package account

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
)

func TestWatchCarriesEveryChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		a, b := newReplica(t, m, "a"), newReplica(t, m, "b")
		stop := running(t, b.Breaker)
		defer stop()
		synctest.Wait()

		a.trips(initial)
		synctest.Wait()
		b.waits(initial)
		elapse(initial)
		a.admits(probe)
		synctest.Wait()
		assert.Equal(t, PhaseProbing, b.State().Phase)
		a.passes()
		synctest.Wait()
		b.admits(allowed)
	})
}

// TestWorkerDiedBeforeThePause: the document says paused, the consumer is not.
func TestWorkerDiedBeforeThePause(t *testing.T) {
	t.Parallel()
	for name, tellsRunning := range map[string]bool{"seen at the start": false, "seen while running": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(time.Now)
				a := newReplica(t, m, "a")
				trip := func() {
					a.trips(initial)
					m.PauseUntil(time.Time{}) // as if a had died in between
				}
				if !tellsRunning {
					trip()
				}
				stop := running(t, newReplica(t, m, "b").Breaker)
				defer stop()
				synctest.Wait()
				until := time.Now().UTC().Add(initial)
				if tellsRunning {
					trip()
					elapse(lookAfter)
				}
				synctest.Wait()
				assert.Equal(t, until, m.PausedUntil())
			})
		})
	}
}

// failingQueue can't be asked for anything until it is mended.
type failingQueue struct {
	queue
	mended atomic.Bool
}

func (q *failingQueue) paused(ctx context.Context) (time.Duration, time.Time, error) {
	if !q.mended.Load() {
		return 0, time.Time{}, errBroker
	}
	return q.queue.paused(ctx)
}

// interruptedQueue lets something happen before the consumer is paused.
type interruptedQueue struct {
	queue
	before func()
}

func (q *interruptedQueue) pauseUntil(ctx context.Context, until time.Time) error {
	q.before()
	return q.queue.pauseUntil(ctx, until)
}

// TestPauseEndedMeanwhile: an operator ends the pause between its record and the
// pause of the consumer, which must not bring it back.
func TestPauseEndedMeanwhile(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := NewMemory(c.Now)
	a, operator := newReplica(t, m, "a"), newReplica(t, m, "operator")
	a.queue = &interruptedQueue{memoryQueue{m}, func() {
		operator.syncs()
		require.NoError(t, operator.ProbeNow(t.Context()))
	}}
	a.trips(0)
	assert.Zero(t, m.PausedUntil())
	operator.admits(probe)

	// The same while a pause is mended.
	operator.trips(2 * initial)
	a.syncs()
	m.PauseUntil(time.Time{})
	require.NoError(t, a.mend(t.Context()))
	assert.Zero(t, m.PausedUntil())
}

func TestPauseThatFailsIsMended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		a := newReplica(t, m, "a")
		q := &failingQueue{queue: memoryQueue{m}}
		a.queue = q
		stop := running(t, a.Breaker)
		defer stop()

		began := time.Now().UTC()
		until, err := a.Trip(t.Context(), "code", "text")
		require.ErrorIs(t, err, ErrUnavailable)
		assert.ErrorContains(t, err, "not yet paused")
		assert.Equal(t, began.Add(initial), until, "the gate is closed none the less")
		assert.Equal(t, bucket.Patience, time.Since(began))
		assert.Zero(t, m.PausedUntil())

		elapse(time.Second)
		synctest.Wait()
		q.mended.Store(true)
		elapse(lookAgain + time.Second)
		synctest.Wait()
		assert.Equal(t, until, m.PausedUntil())
	})
}

func TestResumeThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		a := newReplica(t, m, "a")
		a.trips(initial)
		a.queue = &failingQueue{queue: memoryQueue{m}}
		err := a.ProbeNow(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		assert.ErrorContains(t, err, "stays paused for now")
		a.admits(probe)
	})
}

func TestWatchStartsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		a, h := hooked(t, m, Options{Worker: "a"})
		b := newReplica(t, m, "b")
		failures := 3
		h.watching = func(context.Context) error {
			if failures--; failures >= 0 {
				return errors.New("the stream is away")
			}
			return nil
		}
		stop := running(t, a.Breaker)
		defer stop()
		b.trips(initial)
		elapse(lastWatchRetry)
		synctest.Wait()
		a.waits(initial - lastWatchRetry)
	})
}

// TestSilentWatch: the state is read now and then beside the watch.
func TestSilentWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		a, h := hooked(t, m, Options{Worker: "a"})
		b := newReplica(t, m, "b")
		h.watching = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		h.beforeGet = failing(1, errBroker)
		stop := running(t, a.Breaker)
		defer stop()
		b.trips(initial)
		elapse(2*reloadEvery - 1) // the first reading fails
		synctest.Wait()
		a.admits(allowed)
		elapse(1)
		synctest.Wait()
		a.waits(initial - 2*reloadEvery)
	})
}

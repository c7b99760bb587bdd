package account

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

var errBroker = fmt.Errorf("no leader: %w", nats.ErrTimeout)

func TestWatchCarriesEveryChange(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, b replica) {
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

		a.trips(initial)
		synctest.Wait()
		b.waits(initial)
		m.Delete(stateKey) // by an operator
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
			bubble(t, func(t *testing.T, m *broker, a, b replica) {
				trip := func() {
					a.trips(initial)
					m.pauseUntil(time.Time{}) // as if a had died in between
				}
				if !tellsRunning {
					trip()
				}
				stop := running(t, b.Breaker)
				defer stop()
				synctest.Wait()
				until := time.Now().UTC().Add(initial)
				if tellsRunning {
					trip()
					elapse(lookAfter)
				}
				synctest.Wait()
				assert.Equal(t, until, m.pausedUntil())
			})
		})
	}
}

// TestPauseEndedMeanwhile: an operator ends the pause between its record and the
// pause of the consumer, which must not bring it back.
func TestPauseEndedMeanwhile(t *testing.T) {
	t.Parallel()
	_, m, a, operator := pair(t)
	interrupt := func() {
		m.onConsumer(func(op string) error {
			if op == "pause" {
				m.onConsumer(nil)
				operator.syncs()
				operator.resumes()
			}
			return nil
		})
	}
	interrupt()
	a.trips(0)
	assert.Zero(t, m.pausedUntil())
	operator.admits(probe)

	// The same where a pause is made up for.
	operator.trips(2 * initial)
	a.syncs()
	m.pauseUntil(time.Time{})
	interrupt()
	assert.Equal(t, lookEvery, a.tend(t.Context()))
	assert.Zero(t, m.pausedUntil())
}

func TestPauseThatFailsIsMadeUpFor(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, _ replica) {
		m.onConsumer(func(string) error { return errBroker })
		stop := running(t, a.Breaker)
		defer stop()

		began := time.Now().UTC()
		until, err := a.Trip(t.Context(), "code", "text")
		require.ErrorIs(t, err, retry.ErrGaveUp)
		assert.ErrorContains(t, err, "not yet paused")
		assert.Equal(t, began.Add(initial), until, "the breaker is closed none the less")
		assert.Equal(t, retry.Request.Total, time.Since(began))
		assert.Zero(t, m.pausedUntil())

		elapse(time.Second)
		synctest.Wait()
		m.onConsumer(nil)
		elapse(lookAgain + time.Second)
		synctest.Wait()
		assert.Equal(t, until, m.pausedUntil())
	})
}

func TestResumeThatFails(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, _ replica) {
		a.trips(initial)
		m.onConsumer(func(string) error { return errBroker })
		_, err := a.Resume(t.Context())
		require.ErrorIs(t, err, retry.ErrGaveUp)
		a.admits(probe)
		err = a.Passed(t.Context())
		require.ErrorIs(t, err, retry.ErrGaveUp)
		assert.ErrorContains(t, err, "stays paused for now")
		a.admits(allowed)
	})
}

func TestWatchStartsAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, b replica) {
		m.Script(map[buckettest.Op][]buckettest.Fault{buckettest.Watch: {buckettest.Refuse, buckettest.Refuse}})
		stop := running(t, a.Breaker)
		defer stop()
		b.trips(initial)
		elapse(lookEvery - time.Second)
		synctest.Wait()
		a.waits(initial - lookEvery + time.Second)
	})
}

// TestSilentWatch: the state is read now and then beside the watch.
func TestSilentWatch(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, b replica) {
		ended := make(chan struct{})
		m.Inject(func(op buckettest.Op, _ string) buckettest.Fault {
			if op == buckettest.Watch {
				<-ended
			}
			return buckettest.None
		})
		stop := running(t, a.Breaker)
		synctest.Wait() // for its first look
		b.trips(initial)
		elapse(lookEvery - 1)
		synctest.Wait()
		a.admits(allowed)
		elapse(1)
		synctest.Wait()
		a.waits(initial - lookEvery)
		close(ended)
		stop()
	})
}

package account

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

// bucketFails has every request to the bucket fail.
func (m *broker) bucketFails() { m.Always(buckettest.Refuse, buckettest.Get, buckettest.Write) }

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, _ replica) {
		lose := func() {
			m.Script(map[buckettest.Op][]buckettest.Fault{buckettest.Write: {buckettest.LoseAnswer}})
		}
		lose()
		until, err := a.Trip(t.Context(), "code", "text")
		require.NoError(t, err)
		assert.Equal(t, 1, a.State().Level, "tripped once")
		assert.Equal(t, until, m.pausedUntil())

		elapse(initial)
		lose()
		a.admits(probe)
		lose()
		a.inconclusive()
		lose()
		a.admits(probe)
		lose()
		a.passes()
		a.admits(allowed)
		assert.Equal(t, 5, m.Writes(), "each change is stored once")
	})
}

// TestBrokerAway: the last known state counts, and nobody waits for long.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, _ replica) {
		var logged strings.Builder
		a.log = slog.New(slog.NewTextHandler(&logged, nil))
		m.bucketFails()
		a.admits(allowed)

		began := time.Now()
		until, err := a.Trip(t.Context(), "code", "text")
		require.ErrorIs(t, err, retry.ErrGaveUp)
		require.ErrorIs(t, err, buckettest.ErrRefused)
		assert.ErrorContains(t, err, "account: trip")
		assert.Equal(t, retry.Request.Total, time.Since(began))
		assert.Equal(t, shortWait, time.Until(until))
		a.admits(allowed)

		m.Inject(nil)
		a.trips(initial)
		elapse(initial)
		m.bucketFails()
		began = time.Now()
		a.waits(shortWait)
		assert.Equal(t, retry.Probe.Total, time.Since(began))
		assert.Contains(t, logged.String(), "gave up on the broker after 2s")

		m.Inject(nil)
		a.admits(probe)
		m.bucketFails()
		require.ErrorIs(t, a.Passed(t.Context()), retry.ErrGaveUp)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the job's lease"))
		defer cancel()
		err = a.Inconclusive(ctx)
		assert.ErrorContains(t, err, "the job's lease")
	})
}

// TestOneClaimAtATime: while one caller waits for the broker the others don't.
func TestOneClaimAtATime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *broker, a, _ replica) {
		a.trips(initial)
		elapse(initial)
		release := make(chan struct{})
		m.Inject(func(buckettest.Op, string) buckettest.Fault { <-release; return buckettest.None })
		first := make(chan domain.Admission, 1)
		go func() {
			got, err := a.Admit(t.Context())
			assert.NoError(t, err)
			first <- got
		}()
		synctest.Wait()
		a.waits(shortWait)
		close(release)
		assert.Equal(t, probe, <-first)
	})
}

func TestLostRaces(t *testing.T) {
	t.Parallel()
	c, m, a, b := pair(t)
	// between lets b act between a's decision and a's write.
	between := func(act func()) {
		m.Inject(func(op buckettest.Op, _ string) buckettest.Fault {
			if op == buckettest.Write {
				m.Inject(nil)
				act()
			}
			return buckettest.None
		})
	}

	between(func() { b.trips(initial) })
	a.trips(initial)
	assert.Equal(t, 1, m.Writes(), "b's trip is the one")

	c.Move(initial)
	between(func() { b.admits(probe) })
	a.waits(shortWait)

	c.Move(timeout)
	between(func() { b.passes() })
	a.admits(allowed) // the probe got through after all

	b.syncs()
	b.trips(initial)
	a.syncs()
	c.Move(initial)
	between(func() { b.admits(probe); b.trips(2 * initial) })
	a.waits(2 * initial)

	c.Move(2 * initial)
	a.admits(probe)
	c.Move(timeout)
	between(func() { b.syncs(); b.admits(probe) })
	a.passes() // too late: b probes
	a.waits(shortWait)
}

// TestStaleOpen: a replica whose watch was cut off all along still trips a breaker
// that was closed and opened again meanwhile.
func TestStaleOpen(t *testing.T) {
	t.Parallel()
	c, _, a, b := pair(t)
	b.trips(initial)
	c.Move(initial)
	b.admits(probe)
	b.passes()
	a.trips(initial)
	assert.Equal(t, PhasePaused, a.State().Phase)
}

// TestLostState: the bucket drops what is old, or is recreated.
func TestLostState(t *testing.T) {
	t.Parallel()
	c, m, a, _ := pair(t)

	a.trips(initial)
	c.Move(initial)
	m.Recreate()
	a.admits(probe) // one probe, as if nothing had been lost
	m.Recreate()
	a.passes()
	a.admits(allowed)
	m.Recreate()
	a.trips(initial)
	assert.EqualValues(t, 1, m.Entry(stateKey).Revision)
	assert.Equal(t, c.Now().Add(initial), m.pausedUntil())
}

// TestStaleReading: an answer that is older than what is known opens nothing.
func TestStaleReading(t *testing.T) {
	t.Parallel()
	c, m, a, _ := pair(t)
	a.trips(initial)
	m.Always(buckettest.Stale, buckettest.Get)
	a.syncs()
	a.waits(initial)
	c.Move(initial)
	a.admits(probe)
	a.syncs()
	a.waits(shortWait)
}

func TestCorruptStateOpensAndIsLogged(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	_, m, a, _ := pair(t)
	m.Put(stateKey, []byte("rubbish"))
	a.syncs()
	a.admits(allowed)
	a.trips(initial)
	a.log = slog.New(slog.NewTextHandler(&logged, nil))
	m.Put(stateKey, []byte("rubbish"))
	a.syncs()
	assert.Contains(t, logged.String(), "level=ERROR")
	assert.NotContains(t, logged.String(), "rubbish")
	a.admits(allowed)
}

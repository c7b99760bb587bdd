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

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

var errBroker = errors.New("no leader")

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		a, h := hooked(t, m, Options{Worker: "a"})
		lose := func() { h.afterSwap = failing(1, retry.ErrNoAnswer) }

		lose()
		until, err := a.Trip(t.Context(), "code", "text")
		require.NoError(t, err)
		assert.Equal(t, 1, a.State().Level, "tripped once")
		assert.Equal(t, until, m.PausedUntil())

		elapse(initial)
		lose()
		a.admits(probe)
		lose()
		a.givesBack()
		lose()
		a.admits(probe)
		lose()
		a.passes()
		a.admits(allowed)
		assert.EqualValues(t, 5, m.revision, "each change is stored once")
	})
}

// TestBrokerAway: the last known state counts, and nobody waits for long.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		var logged strings.Builder
		a, h := hooked(t, m, Options{Worker: "a", Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		h.beforeGet, h.beforeSwap = failing(-1, errBroker), failing(-1, errBroker)
		a.admits(allowed)

		began := time.Now()
		until, err := a.Trip(t.Context(), "code", "text")
		require.ErrorIs(t, err, ErrUnavailable)
		assert.ErrorContains(t, err, "gate: trip")
		assert.ErrorContains(t, err, "gave up on the broker after 8s")
		assert.ErrorContains(t, err, "no leader")
		assert.Equal(t, bucket.Patience, time.Since(began))
		assert.Equal(t, shortWait, time.Until(until))
		a.admits(allowed)

		h.beforeGet, h.beforeSwap = nil, nil
		a.trips(initial)
		elapse(initial)
		h.beforeGet, h.beforeSwap = failing(-1, errBroker), failing(-1, errBroker)
		began = time.Now()
		a.waits(shortWait)
		assert.Equal(t, claimPatience, time.Since(began))
		assert.Contains(t, logged.String(), "gave up on the broker after 2s")

		h.beforeGet, h.beforeSwap = nil, nil
		a.admits(probe)
		h.beforeGet, h.beforeSwap = failing(-1, errBroker), failing(-1, errBroker)
		require.ErrorIs(t, a.Passed(t.Context()), ErrUnavailable)
		require.ErrorIs(t, a.GiveBack(t.Context()), ErrUnavailable)

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the job's lease"))
		defer cancel()
		err = a.Passed(ctx)
		assert.ErrorContains(t, err, "the job's lease")
		assert.NotErrorIs(t, err, ErrUnavailable)
	})
}

// TestOneClaimAtATime: while one caller waits for the broker the others don't.
func TestOneClaimAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		a, h := hooked(t, m, Options{})
		a.trips(initial)
		elapse(initial)
		release := make(chan struct{})
		h.beforeSwap = func() error { <-release; return nil }
		first := make(chan domain.Admission, 1)
		go func() {
			got, err := a.Admit(t.Context())
			assert.NoError(t, err)
			first <- got
		}()
		synctest.Wait()
		a.waits(shortWait)

		// A change waits for its turn, within its bound.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, a.ProbeNow(ctx), context.DeadlineExceeded)
		close(release)
		assert.Equal(t, probe, <-first)
	})
}

func TestLostRaces(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := NewMemory(c.Now)
	a, h := hooked(t, m, Options{Worker: "a"})
	b := newReplica(t, m, "b")
	// between lets b act between a's decision and a's write.
	between := func(act func()) {
		h.beforeSwap = func() error { h.beforeSwap = nil; act(); return nil }
	}

	between(func() { b.trips(initial) })
	a.trips(initial)
	assert.EqualValues(t, 1, m.revision, "b's trip is the one")

	c.move(initial)
	between(func() { b.admits(probe) })
	a.waits(shortWait)

	c.move(timeout)
	between(func() { b.passes() })
	a.admits(allowed) // the probe got through after all

	b.syncs()
	b.trips(initial)
	a.syncs()
	c.move(initial)
	between(func() { b.admits(probe); b.trips(2 * initial) })
	a.waits(2 * initial)

	c.move(2 * initial)
	a.admits(probe)
	c.move(timeout)
	between(func() { b.syncs(); b.admits(probe) })
	a.passes() // too late: b probes
	a.waits(shortWait)
}

// TestStaleOpen: a replica whose watch was cut off all along still trips a gate
// that was closed and opened again meanwhile.
func TestStaleOpen(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := NewMemory(c.Now)
	a, b := newReplica(t, m, "a"), newReplica(t, m, "b")
	b.trips(initial)
	c.move(initial)
	b.admits(probe)
	b.passes()
	a.trips(initial)
	assert.Equal(t, PhasePaused, a.State().Phase)
}

// TestForgottenDocument: the bucket drops what is old, or is made anew.
func TestForgottenDocument(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := NewMemory(c.Now)
	forget := func() { m.data, m.revision = nil, 0 }
	a := newReplica(t, m, "a")

	a.trips(initial)
	c.move(initial)
	forget()
	a.admits(probe) // one probe, as if nothing had been lost
	forget()
	a.passes()
	a.admits(allowed)
	forget()
	a.trips(initial)
	assert.EqualValues(t, 1, m.revision)
	assert.Equal(t, c.Now().Add(initial), m.PausedUntil())
}

// TestFollowerBehind: an answer that is older than what is known opens nothing.
func TestFollowerBehind(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := NewMemory(c.Now)
	a, h := hooked(t, m, Options{})
	a.trips(initial)
	behind := &Memory{now: c.Now, changed: make(chan struct{})}
	h.store = &split{reads: memoryStore{behind}, writes: memoryStore{m}}
	a.syncs()
	a.waits(initial)
	c.move(initial)
	a.admits(probe)
	a.syncs()
	a.waits(shortWait)
}

// split reads from one store and writes to another.
type split struct{ reads, writes store }

func (s *split) TTL() time.Duration { return 0 }

func (s *split) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	return s.reads.Get(ctx, key)
}

func (s *split) Swap(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	return s.writes.Swap(ctx, key, data, revision)
}

func (s *split) Watch(ctx context.Context, key string, on func([]byte, uint64)) error {
	return s.writes.Watch(ctx, key, on)
}

func TestCorruptDocumentOpensAndIsLogged(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	m := NewMemory(newClock().Now)
	m.data, m.revision = []byte("rubbish"), 7
	a, _ := hooked(t, m, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	a.admits(allowed)
	assert.Contains(t, logged.String(), "level=ERROR")
	assert.NotContains(t, logged.String(), "rubbish")
	a.trips(initial)
	assert.EqualValues(t, 8, m.revision)
}

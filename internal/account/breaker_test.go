package account

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

func TestOpenLetsThrough(t *testing.T) {
	t.Parallel()
	_, m, a, _ := pair(t)
	a.admits(allowed)
	a.passes()
	a.inconclusive()
	a.admits(allowed)
	assert.Zero(t, m.Writes(), "nothing is written while all is well")
	assert.False(t, a.State().Closed())
}

func TestTripStopsEverything(t *testing.T) {
	t.Parallel()
	c, m, a, b := pair(t)
	a.trips(initial)
	assert.Equal(t, c.Now().Add(initial), m.pausedUntil())
	a.waits(initial)
	b.syncs()
	b.waits(initial)
	c.Move(initial - 1)
	a.waits(1)
	got := b.State()
	assert.NotEmpty(t, got.ID)
	assert.Equal(t, State{
		ID: got.ID, Phase: PhasePaused, Since: c.Now().Add(1 - initial), Until: c.Now().Add(1), Level: 1,
		Code: "isv.AMOUNT_NOT_ENOUGH", Message: "no balance", Worker: "a",
	}, got)
	assert.True(t, got.Closed())
}

// TestBurst: many calls are in flight when the account fails; one pause comes of it.
func TestBurst(t *testing.T) {
	t.Parallel()
	c, m, a, b := pair(t)
	a.trips(initial)
	c.Move(5 * time.Second)
	a.trips(initial - 5*time.Second)
	b.trips(initial - 5*time.Second) // b has not heard of it yet
	assert.Equal(t, 1, b.State().Level)
	assert.Equal(t, 1, m.Writes())
	assert.Equal(t, c.Now().Add(initial-5*time.Second), m.pausedUntil())
}

func TestOneProbeThenOpen(t *testing.T) {
	t.Parallel()
	c, _, a, b := pair(t)
	a.trips(initial)
	b.syncs()
	c.Move(initial)
	b.admits(probe)
	a.waits(shortWait)
	b.waits(shortWait)
	assert.True(t, a.State().Closed())
	a.passes() // of a call that began before the trip
	b.waits(shortWait)

	b.passes()
	b.admits(allowed)
	a.syncs()
	a.admits(allowed)
	assert.Equal(t, State{Phase: PhaseOpen, ID: a.State().ID, Since: c.Now(), Worker: "b"}, a.State())
}

func TestPausesGrowAndStartAgain(t *testing.T) {
	t.Parallel()
	c, _, a, _ := pair(t)
	began := c.Now()
	a.trips(initial)
	for _, pause := range []time.Duration{
		initial, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, longest, longest, longest,
	} {
		a.waits(pause)
		c.Move(pause)
		a.admits(probe)
		c.Move(time.Second)
		a.trips(min(2*pause, longest))
		assert.Equal(t, began, a.State().Since, "since the first trip")
	}
	c.Move(longest)
	a.admits(probe)
	a.passes()
	a.trips(initial)
}

// TestAnotherFailureWhileProbing: only the probe's own failure begins a pause.
func TestAnotherFailureWhileProbing(t *testing.T) {
	t.Parallel()
	c, _, a, b := probing(t)
	b.trips(shortWait)
	c.Move(timeout - time.Second/2)
	b.trips(time.Second / 2)
	a.trips(2 * initial)
}

func TestProberThatDied(t *testing.T) {
	t.Parallel()
	c, _, a, b := probing(t)
	b.syncs()
	c.Move(timeout - 1)
	b.waits(1)
	c.Move(1)
	b.admits(probe)

	// a was only slow; the probe is not its own any more.
	a.passes()
	a.inconclusive()
	a.trips(shortWait)
	b.waits(shortWait)
	b.passes()
	a.syncs()
	a.admits(allowed)
}

func TestAnInconclusiveProbeLetsTheNext(t *testing.T) {
	t.Parallel()
	_, _, a, b := probing(t)
	b.syncs()
	b.inconclusive() // not b's to give
	b.waits(shortWait)

	a.inconclusive()
	a.inconclusive()
	b.syncs()
	b.admits(probe)
	a.waits(shortWait)
	b.trips(2 * initial)
	assert.Equal(t, 2, b.State().Level, "an inconclusive probe raises no level")
}

func TestResumeProbesTheAccount(t *testing.T) {
	t.Parallel()
	c, m, a, operator := pair(t)
	operator.resumes() // nothing to end
	assert.Zero(t, m.Writes())

	a.trips(initial)
	c.Move(time.Second)
	operator.syncs()
	operator.resumes()
	assert.Zero(t, m.pausedUntil(), "the consumer resumes")
	a.syncs()
	a.admits(probe)
	operator.resumes() // the probe in hand stays the only one
	operator.waits(shortWait)
	a.trips(2 * initial)
}

func TestOperatorsPauseIsNotShortened(t *testing.T) {
	t.Parallel()
	c, m, a, _ := pair(t)
	night := c.Now().Add(8 * time.Hour)
	m.pauseUntil(night)
	a.trips(initial)
	assert.Equal(t, night, m.pausedUntil())
	c.Move(initial)
	a.admits(probe)
	a.passes()
	assert.Equal(t, night, m.pausedUntil())

	m.pauseUntil(c.Now().Add(time.Second))
	a.trips(initial)
	assert.Equal(t, c.Now().Add(initial), m.pausedUntil(), "a shorter one is lengthened")
}

// TestPassedResumesEarly: the probe may get through before the server's pause is
// over, where its clock is behind.
func TestPassedResumesEarly(t *testing.T) {
	t.Parallel()
	c, m, a, _ := pair(t)
	a.trips(initial)
	c.Move(initial)
	m.pauseUntil(c.Now().Add(slack / 2))
	a.admits(probe)
	a.passes()
	assert.Zero(t, m.pausedUntil())
}

// TestClockFarAhead: a replica that is a year ahead stops the others for no longer
// than the longest pause.
func TestClockFarAhead(t *testing.T) {
	t.Parallel()
	c, m, ahead, a := pair(t)
	ahead.now = func() time.Time { return c.Now().AddDate(1, 0, 0) }
	_, err := ahead.Trip(t.Context(), "x", "")
	require.NoError(t, err)
	a.syncs()
	a.waits(longest)
	c.Move(longest)
	a.admits(probe)
	assert.True(t, m.pausedUntil().IsZero(), "the pause is measured on the server's clock")
}

func TestExactlyOneProbeOverAllReplicas(t *testing.T) {
	t.Parallel()
	const replicas, each = 5, 40
	c := fake.NewClock()
	m := newBroker(c.Now)
	breakers := make([]replica, replicas)
	for i := range breakers {
		breakers[i] = newReplica(t, m, string(rune('a'+i)))
		running(t, breakers[i].Breaker)
	}
	// The others are told of a pause by their watch.
	told := func(level int) {
		for _, r := range breakers {
			require.Eventually(t, func() bool { return r.State().Level == level }, 5*time.Second, time.Millisecond)
		}
	}
	breakers[0].trips(initial)
	told(1)
	pause := initial
	for round := range 4 {
		c.Move(pause)
		probers := make(chan replica, replicas*each)
		var wg sync.WaitGroup
		for i := range replicas * each {
			wg.Go(func() {
				r := breakers[i%replicas]
				got, err := r.Admit(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, got.Probe, got.Allowed, "nothing but the probe is sent")
				if got.Probe {
					probers <- r
				}
			})
		}
		wg.Wait()
		require.Len(t, probers, 1, "round %d", round)
		pause *= 2
		(<-probers).trips(pause)
		told(round + 2)
	}
}

func TestAdmitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, _, a, _ := pair(t)
	a.trips(initial)
	c.Move(initial)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := a.Admit(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, domain.Admission{}, got)
}

func TestTextsFromOutsideAreBounded(t *testing.T) {
	t.Parallel()
	_, m, a, b := pair(t)
	_, err := a.Trip(t.Context(), strings.Repeat("x", 10_000), "\xff"+strings.Repeat("余额", 10_000))
	require.NoError(t, err)
	assert.LessOrEqual(t, len(m.Entry(stateKey).Value), maxStateBytes)
	b.syncs()
	assert.Equal(t, PhasePaused, b.State().Phase)
	assert.Equal(t, strings.Repeat("x", maxCodeBytes), b.State().Code)
	assert.True(t, strings.HasSuffix(b.State().Message, "额") || strings.HasSuffix(b.State().Message, "余"))
}

package account

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	initial = firstPause
	longest = longestPause
	timeout = probeTimeout
)

var (
	allowed = domain.Admission{Allowed: true}
	probe   = domain.Admission{Allowed: true, Probe: true}
)

// elapse lets time pass in a synctest bubble, where that takes no time.
func elapse(d time.Duration) { <-time.After(d) }

// broker stands in for the broker: a bucket, and a consumer that can be paused.
// Replicas that use the same one are replicas of one another.
type broker struct {
	*buckettest.Fake
	now func() time.Time

	mu     sync.Mutex
	until  time.Time
	before func(op string) error // of a request about the consumer, which it may fail
}

func newBroker(now func() time.Time) *broker { return &broker{Fake: buckettest.New(now), now: now} }

// pausedUntil is the end of the consumer's pause; zero where it is not paused.
func (m *broker) pausedUntil() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.until.After(m.now()) {
		return time.Time{}
	}
	return m.until.UTC()
}

// pauseUntil pauses the consumer as an operator would; the zero time resumes it.
func (m *broker) pauseUntil(until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until = until
}

// onConsumer is called before each request about the consumer, "look" or "pause",
// and may have it fail.
func (m *broker) onConsumer(before func(op string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = before
}

func (m *broker) request(ctx context.Context, op string) error {
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		if err := before(op); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *broker) Paused(ctx context.Context) (time.Duration, time.Time, error) {
	if err := m.request(ctx, "look"); err != nil {
		return 0, time.Time{}, err
	}
	now := m.now()
	return max(m.pausedUntil().Sub(now), 0), now, nil
}

func (m *broker) Pause(ctx context.Context, until time.Time) error {
	if err := m.request(ctx, "pause"); err != nil {
		return err
	}
	m.pauseUntil(until)
	return nil
}

// state is what is stored of the account.
func (m *broker) state(t require.TestingT) State {
	s, err := decode(m.Entry(stateKey).Value)
	require.NoError(t, err)
	return s
}

// replica is a breaker with shorthands for what the tests do with it.
type replica struct {
	*Breaker
	t testing.TB
}

func newReplica(t testing.TB, m *broker, worker string) replica {
	t.Helper()
	b, err := New(t.Context(), m.Bucket(), m, Options{Worker: worker, Now: m.now})
	require.NoError(t, err)
	return replica{b, t}
}

// pair returns two replicas of one broker, and the clock of all three.
func pair(t testing.TB) (c *fake.Clock, m *broker, a, b replica) {
	t.Helper()
	c = fake.NewClock()
	m = newBroker(c.Now)
	return c, m, newReplica(t, m, "a"), newReplica(t, m, "b")
}

// bubble runs a test on two replicas of one broker in virtual time.
func bubble(t *testing.T, test func(t *testing.T, m *broker, a, b replica)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newBroker(time.Now)
		test(t, m, newReplica(t, m, "a"), newReplica(t, m, "b"))
	})
}

// probing is [pair] after a pause, with a holding the probe.
func probing(t testing.TB) (c *fake.Clock, m *broker, a, b replica) {
	t.Helper()
	c, m, a, b = pair(t)
	a.trips(initial)
	c.Move(initial)
	a.admits(probe)
	return c, m, a, b
}

func (r replica) admits(want domain.Admission) {
	r.t.Helper()
	got, err := r.Admit(r.t.Context())
	require.NoError(r.t, err)
	require.Equal(r.t, want, got)
}

func (r replica) waits(d time.Duration) {
	r.t.Helper()
	r.admits(domain.Admission{Wait: d})
}

// trips closes the breaker and checks for how long.
func (r replica) trips(wait time.Duration) {
	r.t.Helper()
	until, err := r.Trip(r.t.Context(), "isv.AMOUNT_NOT_ENOUGH", "no balance")
	require.NoError(r.t, err)
	require.Equal(r.t, wait, until.Sub(r.now()))
}

func (r replica) passes() {
	r.t.Helper()
	require.NoError(r.t, r.Passed(r.t.Context()))
}

func (r replica) inconclusive() {
	r.t.Helper()
	require.NoError(r.t, r.Inconclusive(r.t.Context()))
}

// syncs brings the breaker up to date, as its watch would.
func (r replica) syncs() {
	r.t.Helper()
	require.NoError(r.t, r.reload(r.t.Context()))
}

// running starts Run and stops it with the test, or when the function returned
// is called.
func running(t testing.TB, g *Breaker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { g.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		done.Wait()
	})
	t.Cleanup(stop)
	return stop
}

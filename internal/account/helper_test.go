package account

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	initial = 30 * time.Second
	longest = 15 * time.Minute
	timeout = 15 * time.Second
)

var (
	allowed = domain.Admission{Allowed: true}
	probe   = domain.Admission{Allowed: true, Probe: true}
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// elapse lets time pass in a synctest bubble, where that takes no time.
func elapse(d time.Duration) { <-time.After(d) }

// replica is a gate with shorthands for what the tests do with it.
type replica struct {
	*Breaker
	t testing.TB
}

func newReplica(t testing.TB, m *Memory, worker string) replica {
	t.Helper()
	g, err := m.Breaker(t.Context(), Options{Worker: worker})
	require.NoError(t, err)
	return replica{g, t}
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

// trips closes the gate and checks for how long.
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

func (r replica) givesBack() {
	r.t.Helper()
	require.NoError(r.t, r.GiveBack(r.t.Context()))
}

// syncs brings the gate up to date, as its watch would.
func (r replica) syncs() {
	r.t.Helper()
	require.NoError(r.t, r.reload(r.t.Context()))
}

// running starts Run and stops it with the test, or when the function returned
// is called.
func running(t testing.TB, g *Breaker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// hooks is a store whose requests a test can make fail or interrupt.
type hooks struct {
	store
	beforeGet, beforeSwap, afterSwap func() error // afterSwap: an answer lost on its way
	watching                         func(ctx context.Context) error
}

func call(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (h *hooks) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := call(h.beforeGet); err != nil {
		return nil, 0, err
	}
	return h.store.Get(ctx, key)
}

func (h *hooks) Swap(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	if err := call(h.beforeSwap); err != nil {
		return 0, err
	}
	revision, err := h.store.Swap(ctx, key, data, revision)
	if err == nil {
		err = call(h.afterSwap)
	}
	return revision, err
}

func (h *hooks) Watch(ctx context.Context, key string, on func([]byte, uint64)) error {
	if h.watching != nil {
		if err := h.watching(ctx); err != nil {
			return err
		}
	}
	return h.store.Watch(ctx, key, on)
}

// hooked returns a replica whose store can be made to fail.
func hooked(t testing.TB, m *Memory, o Options) (replica, *hooks) {
	t.Helper()
	h := &hooks{store: memoryStore{m}}
	o.Now = m.now
	g, err := newBreaker(t.Context(), h, memoryQueue{m}, o)
	require.NoError(t, err)
	return replica{g, t}, h
}

// failing returns a hook that fails n times; -1: always.
func failing(n int, err error) func() error {
	return func() error {
		if n == 0 {
			return nil
		}
		n--
		return err
	}
}

package ratelimit

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// epoch is where the tests' clocks start.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

var (
	phoneA = passcode.NewPhone("+8613812345678")
	phoneB = passcode.NewPhone("+8613912345678")
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: epoch} }

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

// anyLimiter is what both implementations offer.
type anyLimiter interface {
	Reserve(ctx context.Context, phone passcode.Phone, requestID string, attempt uint64) (domain.Reservation, error)
	Release(ctx context.Context, phone passcode.Phone, requestID string, attempt uint64) error
	CloseFor(ctx context.Context, phone passcode.Phone, d time.Duration) error
	Show(ctx context.Context, phone passcode.Phone) (State, error)
	ResetPhone(ctx context.Context, phone passcode.Phone) error
}

var (
	_ anyLimiter = (*Limiter)(nil)
	_ anyLimiter = (*Memory)(nil)
)

func rules(t testing.TB, texts ...string) []domain.Rule {
	t.Helper()
	list := make([]domain.Rule, len(texts))
	for i, text := range texts {
		rule, err := domain.ParseRule(text)
		require.NoError(t, err)
		list[i] = rule
	}
	return list
}

const testBucket = "limits"

// makeBucket makes the limits bucket as provisioning would.
func makeBucket(t testing.TB, js jetstream.JetStream, ttl time.Duration) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: testBucket, TTL: ttl})
	require.NoError(t, err)
	return kv
}

// opened is the bucket as a limiter uses it.
func opened(t testing.TB, js jetstream.JetStream) *bucket.Bucket {
	t.Helper()
	b, err := bucket.Open(t.Context(), js, testBucket)
	require.NoError(t, err)
	return b
}

func openOn(t testing.TB, js jetstream.JetStream, list []domain.Rule, now func() time.Time) *Limiter {
	t.Helper()
	l, err := Open(t.Context(), js, Options{Bucket: testBucket, Rules: list, Now: now})
	require.NoError(t, err)
	return l
}

// mapStore is a bucket in memory whose requests a test can make fail.
type mapStore struct {
	mu       sync.Mutex
	revision uint64
	values   map[string]stored
	puts     int
	// beforeSwap and afterSwap run without the lock; an error of afterSwap is an
	// answer lost on its way: the value is stored.
	beforeSwap, afterSwap func(key string) error
	beforeGet             func(key string) error
}

type stored struct {
	value    []byte
	revision uint64
}

func newMapStore() *mapStore { return &mapStore{values: make(map[string]stored)} }

func run(hook func(string) error, key string) error {
	if hook == nil {
		return nil
	}
	return hook(key)
}

func (s *mapStore) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, context.Cause(ctx)
	}
	if err := run(s.beforeGet, key); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key].value, s.values[key].revision, nil
}

func (s *mapStore) Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	if err := run(s.beforeSwap, key); err != nil {
		return 0, err
	}
	next, err := s.swap(key, value, revision)
	if err != nil {
		return 0, err
	}
	return next, run(s.afterSwap, key)
}

func (s *mapStore) swap(key string, value []byte, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[key].revision != revision {
		return 0, bucket.ErrConflict
	}
	s.set(key, value)
	return s.revision, nil
}

// set stores without asking, as an operator with the nats command could.
func (s *mapStore) set(key string, value []byte) {
	s.revision++
	s.puts++
	s.values[key] = stored{value, s.revision}
}

func (s *mapStore) Remove(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}

func (s *mapStore) writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

// openMap opens a limiter on a mapStore.
func openMap(t testing.TB, s *mapStore, list []domain.Rule, now func() time.Time) *Limiter {
	t.Helper()
	l, err := open(t.Context(), s, Options{Rules: list, Now: now}, KeyRefresh)
	require.NoError(t, err)
	return l
}

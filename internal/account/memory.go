package account

import (
	"context"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
)

// Memory stands in for the broker in tests: gates that were made by one Memory
// are replicas of one another.
type Memory struct {
	now func() time.Time

	mu          sync.Mutex
	memoryValue               // of the account's key
	note        memoryValue   // of the operator's
	changed     chan struct{} // closed and replaced with every change
	paused      time.Time
	ttl         time.Duration
}

type memoryValue struct {
	data     []byte
	revision uint64
}

// NewMemory returns a broker that knows of no trouble. A nil now means [time.Now].
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, changed: make(chan struct{})}
}

// Breaker returns a gate of one more replica. Bucket, Stream and Consumer don't matter.
func (m *Memory) Breaker(ctx context.Context, o Options) (*Breaker, error) {
	if o.Now == nil {
		o.Now = m.now
	}
	return newBreaker(ctx, memoryStore{m}, memoryQueue{m}, o)
}

// PausedUntil returns the end of the consumer's pause; zero where it is not paused.
func (m *Memory) PausedUntil() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.paused.After(m.now()) {
		return time.Time{}
	}
	return m.paused.UTC()
}

// PauseUntil pauses the consumer as an operator would; the zero time resumes it.
func (m *Memory) PauseUntil(until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = until
}

func (m *Memory) value(name string) *memoryValue {
	if name == pauseKey {
		return &m.note
	}
	return &m.memoryValue
}

type memoryStore struct{ m *Memory }

func (s memoryStore) TTL() time.Duration { return s.m.ttl }

func (s memoryStore) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	v := s.m.value(key)
	return v.data, v.revision, nil
}

func (s memoryStore) Swap(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	v := s.m.value(key)
	if v.revision != revision {
		return 0, bucket.ErrConflict
	}
	*v = memoryValue{data, revision + 1}
	close(s.m.changed)
	s.m.changed = make(chan struct{})
	return revision + 1, nil
}

func (s memoryStore) Watch(ctx context.Context, key string, on func([]byte, uint64)) error {
	for seen := uint64(0); ; {
		s.m.mu.Lock()
		v, changed := *s.m.value(key), s.m.changed
		s.m.mu.Unlock()
		if v.revision != seen {
			seen = v.revision
			on(v.data, v.revision)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

type memoryQueue struct{ m *Memory }

func (q memoryQueue) paused(ctx context.Context) (time.Duration, time.Time, error) {
	if ctx.Err() != nil {
		return 0, time.Time{}, context.Cause(ctx)
	}
	now := q.m.now()
	if until := q.m.PausedUntil(); !until.IsZero() {
		return until.Sub(now), now, nil
	}
	return 0, now, nil
}

func (q memoryQueue) pauseUntil(_ context.Context, until time.Time) error {
	q.m.PauseUntil(until)
	return nil
}

func (q memoryQueue) resume(context.Context) error {
	q.m.PauseUntil(time.Time{})
	return nil
}

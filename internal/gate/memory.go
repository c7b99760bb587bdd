package gate

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

	mu       sync.Mutex
	data     []byte
	revision uint64
	changed  chan struct{} // closed and replaced with every change
	paused   time.Time
}

// NewMemory returns a broker that knows of no trouble. A nil now means [time.Now].
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, changed: make(chan struct{})}
}

// Gate returns a gate of one more replica. Bucket, Stream and Consumer don't matter.
func (m *Memory) Gate(ctx context.Context, o Options) (*Gate, error) {
	if o.Now == nil {
		o.Now = m.now
	}
	return newGate(ctx, memoryStore{m}, memoryQueue{m}, o)
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

type memoryStore struct{ m *Memory }

func (s memoryStore) Get(ctx context.Context, _ string) ([]byte, uint64, error) {
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.m.data, s.m.revision, nil
}

func (s memoryStore) Swap(ctx context.Context, _ string, data []byte, revision uint64) (uint64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.revision != revision {
		return 0, bucket.ErrConflict
	}
	s.m.data, s.m.revision = data, revision+1
	close(s.m.changed)
	s.m.changed = make(chan struct{})
	return s.m.revision, nil
}

func (s memoryStore) Watch(ctx context.Context, _ string, on func([]byte, uint64)) error {
	for seen := uint64(0); ; {
		s.m.mu.Lock()
		data, revision, changed := s.m.data, s.m.revision, s.m.changed
		s.m.mu.Unlock()
		if revision != seen {
			seen = revision
			on(data, revision)
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

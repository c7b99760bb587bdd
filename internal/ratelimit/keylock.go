package ratelimit

import (
	"context"
	"sync"
)

// keyLock lets one goroutine at a time hold a key. It keeps the calls of one
// process for one phone from fighting over its document, which compare-and-swap
// would settle too, only with a lost write for each but one.
type keyLock struct {
	mu    sync.Mutex
	slots map[string]*slot
}

// slot is the lock of one key; it exists while somebody holds or awaits it.
type slot struct {
	held  chan struct{}
	users int
}

// lock waits for the key until ctx ends.
func (l *keyLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	if l.slots == nil {
		l.slots = make(map[string]*slot)
	}
	s := l.slots[key]
	if s == nil {
		s = &slot{held: make(chan struct{}, 1)}
		l.slots[key] = s
	}
	s.users++
	l.mu.Unlock()

	select {
	case s.held <- struct{}{}:
		return func() { <-s.held; l.leave(key, s) }, nil
	case <-ctx.Done():
		l.leave(key, s)
		return nil, context.Cause(ctx)
	}
}

func (l *keyLock) leave(key string, s *slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(l.slots, key)
	}
}

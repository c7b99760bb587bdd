package ledger

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// Op is a request that a ledger makes to its bucket.
type Op string

// The requests to a bucket.
const (
	OpCreate  Op = "create"
	OpUpdate  Op = "update"
	OpGet     Op = "get"
	OpHistory Op = "history"
	// OpAnnounce is the announcement of a record whose own was perhaps lost.
	OpAnnounce Op = "announce"
)

// Fault is what goes wrong with one request to a [Memory] bucket.
type Fault int

// The faults.
const (
	FaultNone Fault = iota
	// FaultRefuse: nothing is done, and the request fails.
	FaultRefuse
	// FaultLoseAnswer: it is done, and the request fails.
	FaultLoseAnswer
	// FaultStale: a get is answered with the value before the last one, or with
	// none where there is only one, as a follower that lags behind would.
	FaultStale
)

// Memory is a [Ledger] on a bucket in memory, for tests: the same logic and the
// same guarantees, and faults on request.
type Memory struct {
	*Ledger
	bucket *memoryBucket
}

// NewMemory returns an empty one. The clock is that of the bucket, by which
// records expire; see [Memory.Retain].
func NewMemory(now func() time.Time) *Memory {
	bucket := &memoryBucket{
		now:    now,
		fault:  func(Op, string) Fault { return FaultNone },
		values: map[string][]memoryValue{},
	}
	return &Memory{Ledger: &Ledger{store: bucket, policy: retry.Default()}, bucket: bucket}
}

// Inject has f decide on the fault of each request from now on. The key is the
// request id.
func (m *Memory) Inject(f func(op Op, key string) Fault) {
	m.bucket.mu.Lock()
	defer m.bucket.mu.Unlock()
	m.bucket.fault = f
}

// Retain has values expire after d, as a bucket's TTL does; 0, the default,
// keeps them for ever.
func (m *Memory) Retain(d time.Duration) {
	m.bucket.mu.Lock()
	defer m.bucket.mu.Unlock()
	m.bucket.retention = d
}

// Announced returns the records that were announced from here, in their order:
// none where no answer was lost, since then the bucket does it.
func (m *Memory) Announced() [][]byte {
	m.bucket.mu.Lock()
	defer m.bucket.mu.Unlock()
	return slices.Clone(m.bucket.announced)
}

// Put stores any bytes under a key, past all checks.
func (m *Memory) Put(key string, value []byte) {
	m.bucket.mu.Lock()
	defer m.bucket.mu.Unlock()
	m.bucket.put(key, value)
}

// Delete removes a key.
func (m *Memory) Delete(key string) {
	m.bucket.mu.Lock()
	defer m.bucket.mu.Unlock()
	delete(m.bucket.values, key)
}

type memoryValue struct {
	value    []byte
	revision uint64
	at       time.Time
}

// memoryHistory is how many values of a key are kept.
const memoryHistory = 64

type memoryBucket struct {
	now func() time.Time

	mu        sync.Mutex
	fault     func(Op, string) Fault
	retention time.Duration
	last      uint64
	values    map[string][]memoryValue // oldest first
	announced [][]byte
}

func (b *memoryBucket) create(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.write(ctx, OpCreate, key, value, 0, jetstream.ErrKeyExists)
}

func (b *memoryBucket) update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.write(ctx, OpUpdate, key, value, revision, jetstream.ErrKeyRevisionMismatch)
}

func (b *memoryBucket) write(
	ctx context.Context, op Op, key string, value []byte, expected uint64, mismatch error,
) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := b.fault(op, key)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if fault == FaultRefuse {
		return 0, nats.ErrNoResponders
	}
	var current uint64
	if live := b.live(key); len(live) > 0 {
		current = live[len(live)-1].revision
	}
	var revision uint64
	err := mismatch
	if current == expected {
		revision, err = b.put(key, value), nil
	}
	if fault == FaultLoseAnswer {
		return 0, nats.ErrTimeout
	}
	return revision, err
}

func (b *memoryBucket) get(ctx context.Context, key string) ([]byte, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := b.fault(OpGet, key)
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	live := b.live(key)
	switch fault {
	case FaultRefuse, FaultLoseAnswer:
		return nil, 0, nats.ErrTimeout
	case FaultStale:
		live = live[:max(len(live)-1, 0)]
	case FaultNone:
	}
	if len(live) == 0 {
		return nil, 0, jetstream.ErrKeyNotFound
	}
	last := live[len(live)-1]
	return slices.Clone(last.value), last.revision, nil
}

func (b *memoryBucket) history(ctx context.Context, key string) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := b.fault(OpHistory, key)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if fault != FaultNone {
		return nil, nats.ErrTimeout
	}
	live := b.live(key)
	if len(live) == 0 {
		return nil, jetstream.ErrKeyNotFound
	}
	var values [][]byte
	for _, v := range live {
		values = append(values, slices.Clone(v.value))
	}
	return values, nil
}

// since: nothing is ever missing.
func (b *memoryBucket) since(context.Context) (time.Time, error) { return time.Time{}, nil }

func (b *memoryBucket) announce(key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault(OpAnnounce, key) != FaultNone {
		return nats.ErrReconnectBufExceeded
	}
	b.announced = append(b.announced, slices.Clone(value))
	return nil
}

func (b *memoryBucket) put(key string, value []byte) uint64 {
	b.last++
	kept := append(b.live(key), memoryValue{value: slices.Clone(value), revision: b.last, at: b.now()})
	b.values[key] = kept[max(len(kept)-memoryHistory, 0):]
	return b.last
}

// live returns the values that have not expired.
func (b *memoryBucket) live(key string) []memoryValue {
	values := b.values[key]
	if b.retention == 0 {
		return values
	}
	oldest := b.now().Add(-b.retention)
	return slices.DeleteFunc(slices.Clone(values), func(v memoryValue) bool { return !v.at.After(oldest) })
}

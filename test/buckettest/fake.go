// Package buckettest is a key-value bucket in memory, for tests of what is kept in
// one. It stands in for the broker behind the real [bucket.Bucket], and fails as
// one when told to.
package buckettest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
)

// Op is a request to the bucket.
type Op string

// The requests.
const (
	Get      Op = "get"
	Write    Op = "write"
	Remove   Op = "remove"
	Watch    Op = "watch"
	History  Op = "history"
	Announce Op = "announce"
)

// Fault is what goes wrong with one request.
type Fault int

// The faults.
const (
	None Fault = iota
	// Refuse: nothing is done, and the caller knows it.
	Refuse
	// LoseRequest: nothing is done, and the caller doesn't know it.
	LoseRequest
	// LoseAnswer: it is done, and the caller doesn't know it.
	LoseAnswer
	// Conflict: a write is refused as if somebody else had been faster.
	Conflict
	// Stale: a get is answered with the value before the last one, or with none
	// where there is only one, as by a leader that was just cut off.
	Stale
)

// Errors of requests that fail.
var (
	ErrRefused = nats.ErrNoResponders
	ErrLost    = nats.ErrTimeout
)

// history is how many values of a key are kept.
const history = 64

// Fake is a bucket in memory. Its methods may be called by many goroutines.
type Fake struct {
	now func() time.Time

	mu        sync.Mutex
	inject    func(Op, string) Fault
	ttl       time.Duration
	last      uint64
	writes    int
	values    map[string][]value // oldest first
	announced [][]byte
	changed   chan struct{} // closed and replaced with every change
}

type value struct {
	data     []byte // nil: the mark of a deletion
	revision uint64
	at       time.Time
}

// New returns an empty bucket, whose values age by a clock; nil means [time.Now].
func New(now func() time.Time) *Fake {
	if now == nil {
		now = time.Now
	}
	return &Fake{now: now, values: map[string][]value{}, changed: make(chan struct{})}
}

// Bucket returns the bucket as the adapters use it.
func (f *Fake) Bucket() *bucket.Bucket { return bucket.New(f) }

// Inject has decide say what goes wrong with each request from now on; nil:
// nothing. It is called before the request is carried out, and may use the bucket
// or block.
func (f *Fake) Inject(decide func(op Op, key string) Fault) { f.locked(func() { f.inject = decide }) }

// Script gives the requests of each kind the faults listed, one each, and none
// after them.
func (f *Fake) Script(faults map[Op][]Fault) {
	var mu sync.Mutex
	f.Inject(func(op Op, _ string) Fault {
		mu.Lock()
		defer mu.Unlock()
		if len(faults[op]) == 0 {
			return None
		}
		next := faults[op][0]
		faults[op] = faults[op][1:]
		return next
	})
}

// Always has the requests of each kind listed fail with a fault.
func (f *Fake) Always(fault Fault, ops ...Op) {
	f.Inject(func(op Op, _ string) Fault {
		if slices.Contains(ops, op) {
			return fault
		}
		return None
	})
}

// Retain has values expire after d, as a bucket's TTL does; 0 keeps them for ever.
func (f *Fake) Retain(d time.Duration) { f.locked(func() { f.ttl = d }) }

// Put stores any bytes under a key, as an operator could.
func (f *Fake) Put(key string, data []byte) {
	f.locked(func() { f.put(key, append([]byte{}, data...)) })
}

// Delete removes a key and leaves a mark.
func (f *Fake) Delete(key string) { f.locked(func() { f.put(key, nil) }) }

// Drop removes a key without a trace, as its age does.
func (f *Fake) Drop(key string) {
	f.locked(func() {
		delete(f.values, key)
		f.tell()
	})
}

// Recreate empties the bucket, which counts its revisions from the start again.
func (f *Fake) Recreate() {
	f.locked(func() {
		f.values, f.last = map[string][]value{}, 0
		f.tell()
	})
}

// Entry returns what is stored under a key.
func (f *Fake) Entry(key string) (entry bucket.Entry) {
	f.locked(func() { entry = entryOf(f.live(key)) })
	return entry
}

// Keys returns the keys that have a value.
func (f *Fake) Keys() (keys []string) {
	f.locked(func() {
		for key := range f.values {
			if entryOf(f.live(key)).Value != nil {
				keys = append(keys, key)
			}
		}
	})
	return keys
}

// Writes counts the writes that were made, those past all checks included.
func (f *Fake) Writes() (n int) {
	f.locked(func() { n = f.writes })
	return n
}

// Announced returns the values that were announced by the bucket's user, in their
// order. What the broker would announce by itself isn't among them.
func (f *Fake) Announced() (values [][]byte) {
	f.locked(func() { values = slices.Clone(f.announced) })
	return values
}

func (f *Fake) locked(use func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	use()
}

// do carries one request out, with its fault.
func (f *Fake) do(ctx context.Context, op Op, key string, request func(Fault) error) error {
	var inject func(Op, string) Fault
	f.locked(func() { inject = f.inject })
	fault := None
	if inject != nil {
		fault = inject(op, key)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch fault {
	case Refuse:
		return ErrRefused
	case LoseRequest:
		return ErrLost
	case LoseAnswer:
		_ = request(fault) // whatever came of it
		return ErrLost
	default:
		return request(fault)
	}
}

// Get implements [bucket.Server], as do the methods below.
func (f *Fake) Get(ctx context.Context, key string) (entry bucket.Entry, err error) {
	err = f.do(ctx, Get, key, func(fault Fault) error {
		live := f.live(key)
		if fault == Stale {
			live = live[:max(len(live)-1, 0)]
		}
		entry = entryOf(live)
		return nil
	})
	return entry, err
}

// Swap implements [bucket.Server].
func (f *Fake) Swap(ctx context.Context, key string, data []byte, revision uint64) (next uint64, err error) {
	err = f.do(ctx, Write, key, func(fault Fault) error {
		if fault == Conflict || entryOf(f.live(key)).Revision != revision {
			return bucket.ErrConflict
		}
		next = f.put(key, append([]byte{}, data...))
		return nil
	})
	return next, err
}

// Begin implements [bucket.Server]. The request is carried out at once.
func (f *Fake) Begin(key string, data []byte, revision uint64) func(context.Context) (uint64, error) {
	next, err := f.Swap(context.Background(), key, data, revision)
	return func(context.Context) (uint64, error) { return next, err }
}

// Remove implements [bucket.Server].
func (f *Fake) Remove(ctx context.Context, key string) error {
	return f.do(ctx, Remove, key, func(Fault) error { f.put(key, nil); return nil })
}

// Watch implements [bucket.Server].
func (f *Fake) Watch(ctx context.Context, key string, on func(bucket.Entry)) error {
	if err := f.do(ctx, Watch, key, func(Fault) error { return nil }); err != nil {
		return err
	}
	for seen := uint64(0); ; {
		f.mu.Lock()
		entry, changed := entryOf(f.values[key]), f.changed
		f.mu.Unlock()
		if entry.Revision > seen {
			seen = entry.Revision
			on(entry)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// History implements [bucket.Server].
func (f *Fake) History(ctx context.Context, key string) (values [][]byte, err error) {
	err = f.do(ctx, History, key, func(Fault) error {
		for _, v := range f.live(key) {
			if v.data != nil {
				values = append(values, slices.Clone(v.data))
			}
		}
		return nil
	})
	return values, err
}

// Since implements [bucket.Server]: nothing is ever missing.
func (f *Fake) Since(context.Context) (time.Time, error) { return time.Time{}, nil }

// Announce implements [bucket.Server].
func (f *Fake) Announce(key string, data []byte) error {
	return f.do(context.Background(), Announce, key, func(Fault) error {
		f.announced = append(f.announced, slices.Clone(data))
		return nil
	})
}

// TTL implements [bucket.Server].
func (f *Fake) TTL() (ttl time.Duration) {
	f.locked(func() { ttl = f.ttl })
	return ttl
}

func (f *Fake) put(key string, data []byte) uint64 {
	f.last++
	f.writes++
	kept := append(f.live(key), value{data, f.last, f.now()})
	f.values[key] = kept[max(len(kept)-history, 0):]
	f.tell()
	return f.last
}

func (f *Fake) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// live returns the values that have not expired.
func (f *Fake) live(key string) []value {
	if f.ttl == 0 {
		return f.values[key]
	}
	oldest := f.now().Add(-f.ttl)
	return slices.DeleteFunc(slices.Clone(f.values[key]), func(v value) bool { return !v.at.After(oldest) })
}

func entryOf(values []value) bucket.Entry {
	if len(values) == 0 {
		return bucket.Entry{}
	}
	last := values[len(values)-1]
	return bucket.Entry{Value: slices.Clone(last.data), Revision: last.revision}
}

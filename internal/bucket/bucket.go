// Package bucket is a key-value bucket of the broker whose values change by compare-and-swap alone: [Bucket.Change]
// reads, decides, writes, begins again where somebody else was faster, and recognises its own write whose answer
// was lost. Requests are repeated as package retry says.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// Errors of a bucket; match with errors.Is.
var (
	// ErrConflict: somebody else changed the value since it was read.
	ErrConflict = errors.New("changed by somebody else meanwhile")
	// ErrMissing: there is no such bucket.
	ErrMissing = errors.New("there is no bucket")
)

// Entry is what a bucket holds under a key.
type Entry struct {
	// Value is nil where there is none.
	Value []byte
	// Revision is what the next write goes over: 0 where there never was a value,
	// after a deletion that of its mark.
	Revision uint64
	// Own is true for a value that [Bucket.Change] wrote in an earlier try, whose answer was lost.
	Own bool
}

// Server carries out one request at a time, without repeating it: the broker, or what stands in for it in tests.
type Server interface {
	// Get reads a key's newest entry from the leader. That there is no value is no error.
	Get(ctx context.Context, key string) (Entry, error)
	// Swap stores a value if revision is still the newest, and returns the next one, or [ErrConflict].
	Swap(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	// Begin sends the request of a Swap. wait, to be called once, waits for its answer.
	Begin(key string, value []byte, revision uint64) (wait func(context.Context) (next uint64, err error))
	// Remove drops a value, whatever it is.
	Remove(ctx context.Context, key string) error
	// Watch calls on with the entry of a key and its every change, until ctx ends
	// or the watch fails. It never returns nil.
	Watch(ctx context.Context, key string, on func(Entry)) error
	// History returns the values that the bucket still holds of a key, oldest first.
	History(ctx context.Context, key string) (values [][]byte, err error)
	// Since returns the time of the oldest value, or of the bucket's creation where none was ever dropped.
	Since(ctx context.Context) (time.Time, error)
	// Announce publishes a value as the server does with each value that it stores,
	// where the bucket is republished.
	Announce(key string, value []byte) error
	// TTL is how long the bucket kept a value when it was opened; 0: for ever.
	TTL() time.Duration
}

// Bucket is one bucket, whose requests are repeated in trouble. It may be used by many goroutines.
type Bucket struct{ server Server }

// New returns the bucket of a server.
func New(server Server) *Bucket { return &Bucket{server} }

// Open looks a bucket up. Where there is none the error wraps [ErrMissing].
func Open(ctx context.Context, js jetstream.JetStream, name string) (*Bucket, error) {
	found, err := retry.Value(ctx, func(ctx context.Context) (natsServer, error) { return lookUp(ctx, js, name) })
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w %q; it must be provisioned first", ErrMissing, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", name, err)
	}
	return New(found), nil
}

// TTL is [Server.TTL].
func (b *Bucket) TTL() time.Duration { return b.server.TTL() }

// Get is [Server.Get].
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	return retry.Value(ctx, func(ctx context.Context) (Entry, error) { return b.server.Get(ctx, key) })
}

// Begin makes one try to store a value under a key of which nothing is known. The caller may do something else before
// it calls made, once, which gives [ErrConflict] where there is something.
func (b *Bucket) Begin(key string, value []byte) (made func(context.Context) error) {
	wait := b.server.Begin(key, value, 0)
	return func(ctx context.Context) error {
		return retry.Once(ctx, func(ctx context.Context) error {
			_, err := wait(ctx)
			return err
		})
	}
}

// Remove is [Server.Remove].
func (b *Bucket) Remove(ctx context.Context, key string) error {
	return retry.Do(ctx, func(ctx context.Context) error { return b.server.Remove(ctx, key) })
}

// Watch is [Server.Watch]; it is not repeated.
func (b *Bucket) Watch(ctx context.Context, key string, on func(Entry)) error {
	return b.server.Watch(ctx, key, on)
}

// History is [Server.History].
func (b *Bucket) History(ctx context.Context, key string) ([][]byte, error) {
	return retry.Value(ctx, func(ctx context.Context) ([][]byte, error) { return b.server.History(ctx, key) })
}

// Since is [Server.Since].
func (b *Bucket) Since(ctx context.Context) (time.Time, error) {
	return retry.Value(ctx, b.server.Since)
}

// Announce is [Server.Announce].
func (b *Bucket) Announce(ctx context.Context, key string, value []byte) error {
	return retry.Do(ctx, func(context.Context) error { return b.server.Announce(key, value) })
}

// Package bucket is a key-value bucket of the broker whose values change by
// compare-and-swap alone: [Bucket.Change] reads, decides, writes, begins again
// where somebody else was faster, and recognises its own write whose answer was
// lost. Requests are repeated as package retry says.
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
	// Own is true for a value that [Bucket.Change] wrote in an earlier try, whose
	// answer was lost.
	Own bool
}

// Server carries out one request at a time, without repeating it: the broker, or
// what stands in for it in tests.
type Server interface {
	// Get reads a key's newest entry. That there is no value is no error.
	Get(ctx context.Context, key string) (Entry, error)
	// Swap stores a value if revision is still the newest, and returns the next
	// one, or [ErrConflict].
	Swap(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	// Remove drops a value, whatever it is.
	Remove(ctx context.Context, key string) error
	// Watch is [Bucket.Watch].
	Watch(ctx context.Context, key string, on func(Entry)) error
	// History is [Bucket.History].
	History(ctx context.Context, key string) (values [][]byte, err error)
	// Since is [Bucket.Since].
	Since(ctx context.Context) (time.Time, error)
	// Announce is [Bucket.Announce].
	Announce(key string, value []byte) error
	// TTL is [Bucket.TTL].
	TTL() time.Duration
}

// Bucket is one bucket. It may be used by many goroutines.
type Bucket struct{ server Server }

// New returns the bucket of a server.
func New(server Server) *Bucket { return &Bucket{server} }

// Open looks a bucket up. Where there is none the error wraps [ErrMissing] and says
// so for people.
func Open(ctx context.Context, js jetstream.JetStream, name string) (*Bucket, error) {
	var found natsServer
	err := retry.Do(ctx, func(ctx context.Context) (err error) {
		found, err = lookUp(ctx, js, name)
		return err
	})
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w %q; it must be provisioned first", ErrMissing, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", name, err)
	}
	return New(found), nil
}

// TTL is how long the bucket keeps a value, as it was when the bucket was opened;
// 0: for ever.
func (b *Bucket) TTL() time.Duration { return b.server.TTL() }

// Get reads a key's entry from the bucket's leader. That there is no value is no
// error.
func (b *Bucket) Get(ctx context.Context, key string) (entry Entry, err error) {
	err = retry.Do(ctx, func(ctx context.Context) (err error) {
		entry, err = b.server.Get(ctx, key)
		return err
	})
	return entry, err
}

// Remove drops a value, whatever it is.
func (b *Bucket) Remove(ctx context.Context, key string) error {
	return retry.Do(ctx, func(ctx context.Context) error { return b.server.Remove(ctx, key) })
}

// Watch calls on with the entry of a key and its every change, until ctx ends or
// the watch fails. It never returns nil.
func (b *Bucket) Watch(ctx context.Context, key string, on func(Entry)) error {
	return b.server.Watch(ctx, key, on)
}

// History returns the values that the bucket still holds of a key, oldest first.
func (b *Bucket) History(ctx context.Context, key string) (values [][]byte, err error) {
	err = retry.Do(ctx, func(ctx context.Context) (err error) {
		values, err = b.server.History(ctx, key)
		return err
	})
	return values, err
}

// Since returns the time of the oldest value, or of the bucket's creation where
// none was ever dropped.
func (b *Bucket) Since(ctx context.Context) (since time.Time, err error) {
	err = retry.Do(ctx, func(ctx context.Context) (err error) {
		since, err = b.server.Since(ctx)
		return err
	})
	return since, err
}

// Announce publishes a value as the server does with each value that it stores,
// where the bucket is republished.
func (b *Bucket) Announce(ctx context.Context, key string, value []byte) error {
	return retry.Do(ctx, func(context.Context) error { return b.server.Announce(key, value) })
}

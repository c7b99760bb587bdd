// Package bucket is a key-value bucket of the broker as the adapters use it that
// change one value under compare-and-swap: each request bounded, its error
// classified, and repeated together with what it depends on.
//
// A request whose answer was lost may have been carried out. So a step that is
// repeated by [Retry] reads before it writes, and recognises its own earlier
// write.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
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

var errWatchEnded = errors.New("the watch ended")

// Bucket is one bucket. It may be used by many goroutines.
type Bucket struct {
	nc  *nats.Conn
	kv  jetstream.KeyValue
	ttl time.Duration
}

// Open looks a bucket up, until it succeeds or ctx ends. Where there is none the
// error wraps [ErrMissing] and says so for people.
func Open(ctx context.Context, js jetstream.JetStream, name string) (*Bucket, error) {
	var b Bucket
	err := Retry(ctx, func(ctx context.Context) error {
		return Request(ctx, "look up the bucket", func(ctx context.Context) error {
			kv, err := js.KeyValue(ctx, name)
			if err != nil {
				return err
			}
			status, err := kv.Status(ctx)
			if err != nil {
				return err
			}
			b = Bucket{nc: js.Conn(), kv: kv, ttl: status.TTL()}
			return nil
		})
	})
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w %q; it must be provisioned first", ErrMissing, name)
	}
	if err != nil {
		return nil, err
	}
	return &b, nil
}

// TTL is how long the bucket keeps a value, as it was when the bucket was opened;
// 0: for ever.
func (b *Bucket) TTL() time.Duration { return b.ttl }

// Get returns a value, and the revision for the swap that goes over it: empty and
// mostly 0 where there is none. After a deletion the revision is that of its mark.
// The bucket's leader answers; see [Newest].
func (b *Bucket) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	err = Request(ctx, "read", func(ctx context.Context) (err error) {
		value, revision, err = Newest(ctx, b.nc, b.kv.Bucket(), key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		return err
	})
	return value, revision, err
}

// Swap stores a value if revision is still the newest, 0: if there never was one.
// It returns the new revision, or [ErrConflict].
func (b *Bucket) Swap(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error) {
	err = Request(ctx, "write", func(ctx context.Context) (err error) {
		next, err = b.kv.Update(ctx, key, value, revision)
		return err
	})
	return next, err
}

// Remove drops a value, whatever it is.
func (b *Bucket) Remove(ctx context.Context, key string) error {
	return Request(ctx, "remove", func(ctx context.Context) error { return b.kv.Purge(ctx, key) })
}

// Watch calls on with the value of a key and its every change, empty where it was
// deleted, until ctx ends or the watch fails. It never returns nil.
func (b *Bucket) Watch(ctx context.Context, key string, on func(value []byte, revision uint64)) error {
	// The context of a watch lasts as long as the watch, so its start is bounded
	// from outside.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tooLong := fmt.Errorf("%w after %s", retry.ErrGaveUp, Patience)
	bound := time.AfterFunc(Patience, func() { cancel(tooLong) })
	defer bound.Stop()
	watcher, err := b.kv.Watch(ctx, key)
	if err != nil {
		return classify(ctx, "watch", err)
	}
	// An error here means that the watch is over already.
	defer func() { _ = watcher.Stop() }()
	if !bound.Stop() {
		return tooLong
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case found, open := <-watcher.Updates():
			switch {
			case !open:
				return errWatchEnded
			case found == nil: // all that was stored at the start has been seen
			case found.Operation() == jetstream.KeyValuePut:
				on(found.Value(), found.Revision())
			default:
				on(nil, found.Revision())
			}
		}
	}
}

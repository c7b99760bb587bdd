package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// key is where the document lies in the bucket.
const key = "account"

const (
	// requestTimeout bounds one request to the broker, patience a whole call with
	// its retries, claimPatience the claim of a probe, for which a job is waiting.
	requestTimeout = 2 * time.Second
	patience       = 8 * time.Second
	claimPatience  = 2 * time.Second

	firstRetry = 2 * time.Millisecond
	lastRetry  = 250 * time.Millisecond
)

// ErrUnavailable is wrapped by every error that says the broker could not be
// asked; whether the change was made is then open.
var ErrUnavailable = errors.New("account gate unavailable")

var (
	errConflict      = errors.New("changed by somebody else meanwhile")
	errNoAnswer      = fmt.Errorf("no answer from the broker within %s", requestTimeout)
	errPatience      = fmt.Errorf("gave up after %s", patience)
	errClaimPatience = fmt.Errorf("gave up after %s", claimPatience)
	errWatchEnded    = errors.New("the watch ended")
)

// store keeps the document.
type store interface {
	// load returns the document; nothing and revision 0 where there is none.
	load(ctx context.Context) (data []byte, revision uint64, err error)
	// swap stores a document if revision is still the newest and returns its
	// revision, or errConflict.
	swap(ctx context.Context, data []byte, revision uint64) (uint64, error)
	// watch calls on with the document and its every change, empty where it was
	// deleted, until ctx ends or the watch fails.
	watch(ctx context.Context, on func(data []byte, revision uint64)) error
}

// queue is the consumer on the server.
type queue interface {
	// paused returns how much of a pause is left, 0 for none, and the server's time.
	paused(ctx context.Context) (left time.Duration, now time.Time, err error)
	pauseUntil(ctx context.Context, until time.Time) error
	resume(ctx context.Context) error
}

func lookUpBucket(ctx context.Context, js jetstream.JetStream, name string) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	kv, err := js.KeyValue(ctx, name)
	return kv, classify(ctx, "look up the bucket", err)
}

// kvStore is a store on a bucket of the broker. Each request is bounded.
type kvStore struct{ kv jetstream.KeyValue }

func (s kvStore) load(ctx context.Context) ([]byte, uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	found, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, classify(ctx, "read", err)
	}
	return found.Value(), found.Revision(), nil
}

func (s kvStore) swap(ctx context.Context, data []byte, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	var err error
	if revision == 0 {
		revision, err = s.kv.Create(ctx, key, data) // unlike Update, it also follows a deletion
	} else {
		revision, err = s.kv.Update(ctx, key, data, revision)
	}
	return revision, classify(ctx, "write", err)
}

func (s kvStore) watch(ctx context.Context, on func([]byte, uint64)) error {
	// The context of a watch lasts as long as the watch, so its start is bounded
	// from outside.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bound := time.AfterFunc(patience, func() { cancel(errPatience) })
	defer bound.Stop()
	watcher, err := s.kv.Watch(ctx, key)
	if err != nil {
		return classify(ctx, "watch", err)
	}
	// An error here means that the watch is over already.
	defer func() { _ = watcher.Stop() }()
	if !bound.Stop() {
		return errPatience
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

// serverQueue is the consumer of a JetStream server; 2.11 is the first that can
// pause it.
type serverQueue struct {
	js               jetstream.JetStream
	stream, consumer string
}

func (q serverQueue) paused(ctx context.Context) (time.Duration, time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	consumer, err := q.js.Consumer(ctx, q.stream, q.consumer)
	if err != nil {
		return 0, time.Time{}, classify(ctx, "look at the consumer", err)
	}
	info := consumer.CachedInfo() // read just now, by Consumer
	if !info.Paused {
		return 0, info.TimeStamp, nil
	}
	return info.PauseRemaining, info.TimeStamp, nil
}

func (q serverQueue) pauseUntil(ctx context.Context, until time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	_, err := q.js.PauseConsumer(ctx, q.stream, q.consumer, until)
	return classify(ctx, "pause the consumer", err)
}

func (q serverQueue) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	_, err := q.js.ResumeConsumer(ctx, q.stream, q.consumer)
	return classify(ctx, "resume the consumer", err)
}

// classify turns an error of the broker into one of this package: a conflict, one
// that no retry can mend, or trouble that may pass.
func classify(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return errConflict
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConsumerNotFound),
		errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrBucketNotFound):
		return backoff.Permanent(fmt.Errorf("%s: %w", what, err))
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// retry runs step until it succeeds, fails for good, or ctx ends. Its error is
// that of the last run, since it says more than the end of ctx does.
func retry(ctx context.Context, step func() error) error {
	policy := newBackOff(firstRetry, lastRetry)
	var last error
	err := backoff.Retry(func() error {
		last = step()
		return last
	}, backoff.WithContext(policy, ctx))
	if err == nil {
		return nil
	}
	return last
}

func newBackOff(first, longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxElapsedTime(0), // the caller's context is the bound
	)
}

// failed words the error of a call: which of the bounds ended it, and the last
// thing that went wrong. ctx is the call's own, bounded by us.
func failed(ctx context.Context, call string, last error) error {
	ended := context.Cause(ctx)
	switch {
	case ended == nil:
		return fmt.Errorf("gate: %s: %w: %w", call, ErrUnavailable, last)
	case errors.Is(ended, errPatience), errors.Is(ended, errClaimPatience):
		return fmt.Errorf("gate: %s: %w: %w; at last: %w", call, ErrUnavailable, ended, last)
	default: // the caller's own bound
		return fmt.Errorf("gate: %s: %w; at last: %w", call, ended, last)
	}
}

package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// requestTimeout bounds one request to the broker, patience a whole call of
	// the limiter with all its retries and its wait for other calls on that phone.
	requestTimeout = 2 * time.Second
	patience       = 8 * time.Second

	// A lost compare-and-swap is worth another try within milliseconds; a broker
	// that is electing a leader needs longer.
	firstRetry = 2 * time.Millisecond
	lastRetry  = 250 * time.Millisecond
)

// ErrUnavailable is wrapped by every error that says the bucket could not be
// used; whether a place was taken is then open. Calling again is safe.
var ErrUnavailable = errors.New("limits bucket unavailable")

var (
	errConflict = errors.New("changed by somebody else meanwhile")
	errNoAnswer = fmt.Errorf("no answer from the broker within %s", requestTimeout)
	errPatience = fmt.Errorf("gave up after %s", patience)
)

// store is a bucket as the limiter uses it.
type store interface {
	// get returns a value and its revision; revision 0 means that there is none.
	get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// put stores a value if revision is still the newest, 0: if there is none. It
	// returns errConflict otherwise.
	put(ctx context.Context, key string, value []byte, revision uint64) error
	// remove drops a value, whatever it is.
	remove(ctx context.Context, key string) error
}

// lookUpBucket returns a bucket and how long it keeps its values, 0: for ever.
func lookUpBucket(ctx context.Context, js jetstream.JetStream, name string) (jetstream.KeyValue, time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		return nil, 0, classify(ctx, "look up the bucket", err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, 0, classify(ctx, "look up the bucket", err)
	}
	return kv, status.TTL(), nil
}

// kvStore is a store on a bucket of the broker. Each request is bounded.
type kvStore struct{ kv jetstream.KeyValue }

func (s kvStore) get(ctx context.Context, key string) ([]byte, uint64, error) {
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

func (s kvStore) put(ctx context.Context, key string, value []byte, revision uint64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	var err error
	if revision == 0 {
		_, err = s.kv.Create(ctx, key, value) // unlike Update, it also follows a deletion
	} else {
		_, err = s.kv.Update(ctx, key, value, revision)
	}
	return classify(ctx, "write", err)
}

func (s kvStore) remove(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	return classify(ctx, "remove", s.kv.Purge(ctx, key))
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
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrInvalidKey),
		errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrBucketNotFound),
		errors.Is(err, nats.ErrMaxPayload):
		return backoff.Permanent(fmt.Errorf("%s: %w", what, err))
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// retry runs step until it succeeds, fails for good, or ctx ends. Its error is
// that of the last run, since it says more than the end of ctx does.
func retry(ctx context.Context, step func() error) error {
	policy := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstRetry),
		backoff.WithMaxInterval(lastRetry),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxElapsedTime(0), // ctx is the bound
	)
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

// failed words the error of a call: which of the bounds ended it, and the last
// thing that went wrong. ctx is the call's, bounded by patience.
func failed(ctx context.Context, call string, last error) error {
	ended := context.Cause(ctx)
	switch {
	case ended == nil:
		return fmt.Errorf("ratelimit: %s: %w: %w", call, ErrUnavailable, last)
	case errors.Is(ended, errPatience):
		return fmt.Errorf("ratelimit: %s: %w: %w; at last: %w", call, ErrUnavailable, errPatience, last)
	default: // the caller's own bound
		return fmt.Errorf("ratelimit: %s: %w; at last: %w", call, ended, last)
	}
}

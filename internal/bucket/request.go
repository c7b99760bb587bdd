package bucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/retry"
)

const (
	// Patience bounds a whole call of an adapter with all its requests, their
	// repetitions and its wait for other calls; see [retry.Within].
	Patience = 8 * time.Second

	// requestTimeout bounds one request to the broker.
	requestTimeout = 2 * time.Second
)

var errNoAnswer = fmt.Errorf("%w (%s)", retry.ErrNoAnswer, requestTimeout)

// policy differs from that of a single request in two ways. A lost
// compare-and-swap is worth another try, and within milliseconds; a broker that
// is electing a leader needs longer. And an error that nobody has thought of
// counts as one that passes: the callers can do nothing better than wait, and do
// so for seconds only.
var policy = retry.Policy{
	First: 2 * time.Millisecond, Longest: 250 * time.Millisecond,
	Passes: func(err error) bool {
		var final *backoff.PermanentError
		return !errors.As(err, &final)
	},
}

// Retry runs step until it succeeds, ctx ends, or it fails with an error that no
// retry can mend: one of [Request]'s, or one marked by [backoff.Permanent]. Where
// ctx ended it, the error wraps its cause and the last error of step.
func Retry(ctx context.Context, step func(context.Context) error) error {
	return policy.Do(ctx, step)
}

// Request makes one request to the broker, named what in its error, within two
// seconds. Its error is [ErrConflict], or marked as one that no retry can mend,
// or trouble that may pass.
func Request(ctx context.Context, what string, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	return classify(ctx, what, request(ctx))
}

func classify(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return ErrConflict
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrMaxPayload),
		errors.Is(err, jetstream.ErrInvalidKey), errors.Is(err, jetstream.ErrBucketNotFound),
		errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound):
		return backoff.Permanent(fmt.Errorf("%s: %w", what, err))
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// Failed words the error of an adapter's call. It wraps the adapter's own
// unavailable unless the bound that ended ctx was the caller's: then the broker is
// not to blame, or not yet.
func Failed(ctx context.Context, call string, unavailable, err error) error {
	ended := context.Cause(ctx)
	if ended != nil && !errors.Is(ended, retry.ErrGaveUp) && errors.Is(err, ended) {
		return fmt.Errorf("%s: %w", call, err)
	}
	return fmt.Errorf("%s: %w: %w", call, unavailable, err)
}

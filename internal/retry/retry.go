// Package retry repeats a request to the broker that failed for a reason that
// passes: a lost connection, a leader being elected, no answer in time.
//
// A try that failed may still have been carried out, only its answer lost. So
// what is repeated must be safe to repeat, or the caller must look at what an
// earlier try may have left.
package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors that tell which bound ended a request; match with errors.Is.
var (
	// ErrNoAnswer: one try had no answer within [Policy.Try].
	ErrNoAnswer = errors.New("the broker did not answer in time")
	// ErrGaveUp: the tries together took longer than [Policy.Total].
	ErrGaveUp = errors.New("gave up on the broker")
	// ErrAgain marks an error as one that passes: wrap it to have [Policy.Do]
	// try again.
	ErrAgain = errors.New("worth another try")
)

// Policy says how long to try.
type Policy struct {
	// Try bounds one request. A connection that breaks does not end the
	// requests under way on it; they wait this long for an answer that never
	// comes. 0 leaves it to op, whose requests are then bounded one by one.
	Try time.Duration
	// Total bounds all tries together; 0 leaves that to the context.
	Total time.Duration
	// First is the pause after the first failure; it doubles up to Longest. Each
	// pause varies by half, so that many workers don't come back as one.
	First   time.Duration
	Longest time.Duration
	// Passes says which errors are worth another try; nil means [Temporary].
	Passes func(error) bool
}

// Default suits a request that a job in hand waits for: two seconds a try, fifteen
// in all. That is longer than a cluster takes to elect a leader, four to nine
// seconds and seldom a second round, and well within the time that the broker
// leaves a worker to acknowledge a job.
func Default() Policy {
	return Policy{Try: 2 * time.Second, Total: 15 * time.Second, First: 20 * time.Millisecond, Longest: time.Second}
}

// Do calls op until it succeeds, fails for good (see [Policy.Passes]), the context
// ends or [Policy.Total] has passed. The context given to op ends after
// [Policy.Try]. An error that ended the tries wraps the bound that did it (the
// context's cause or [ErrGaveUp]) and the last try's own error.
func (p Policy) Do(ctx context.Context, op func(context.Context) error) error {
	if p.Total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = Within(ctx, p.Total)
		defer cancel()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	passes := p.Passes
	if passes == nil {
		passes = Temporary
	}
	var pauses *backoff.ExponentialBackOff // made at the first failure: most requests have none
	var last error
	for {
		err := p.try(ctx, op)
		ended := ctx.Err()
		switch {
		case err == nil:
			return nil
		case ended != nil && (errors.Is(err, ended) || errors.Is(err, context.Cause(ctx))):
			return endedBy(ctx, last) // the bound fell into this try
		case !passes(err):
			return err
		}
		if pauses == nil {
			pauses = Pauses(p.First, p.Longest)
		}
		select {
		case <-ctx.Done():
			return endedBy(ctx, err)
		case <-time.After(pauses.NextBackOff()):
		}
		last = err
	}
}

// Within bounds several requests together, as [Policy.Total] bounds those of one
// call of Do. The context's cause wraps [ErrGaveUp].
func Within(ctx context.Context, total time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, total, fmt.Errorf("%w after %s", ErrGaveUp, total))
}

// Pauses returns the pauses between tries, which never end: see [Policy.First].
func Pauses(first, longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first), backoff.WithMaxInterval(longest),
		backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxElapsedTime(0), // the context bounds it
	)
}

func endedBy(ctx context.Context, last error) error {
	if last == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w; last try: %w", context.Cause(ctx), last)
}

func (p Policy) try(ctx context.Context, op func(context.Context) error) error {
	if p.Try == 0 {
		return op(ctx)
	}
	tryCtx, cancel := context.WithTimeoutCause(ctx, p.Try, ErrNoAnswer)
	defer cancel()
	err := op(tryCtx)
	if errors.Is(err, context.DeadlineExceeded) && tryCtx.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (%s)", ErrNoAnswer, p.Try)
	}
	return err
}

// Temporary reports whether a request that failed with err is worth repeating
// unchanged.
func Temporary(err error) bool {
	for _, passes := range []error{
		ErrAgain, ErrNoAnswer,
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrStaleConnection,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse, jetstream.ErrServerShutdown,
		// Half an answer: what was asked may or may not have been done.
		jetstream.ErrInvalidJSAck, jetstream.ErrInvalidJetStreamResponse, jetstream.ErrConsumerCreationResponseEmpty,
	} {
		if errors.Is(err, passes) {
			return true
		}
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount,
		clusteringRequired, accountNotFound, notInClusters:
		return false // 503 by number, yet settings that don't mend themselves
	case notAssigned, notLeader, memoryExceeded, storageExceeded, streamOffline, consumerOffline,
		streamOfflineReason, consumerOfflineReason:
		return true // 500 by number, yet a state that a cluster passes through
	case duplicateInProcess:
		return true // 409: an earlier try with this message id is being replicated, or is lost yet
	}
	return api.Code == 503 || api.Code == 429
}

// NeverSent reports whether a request that failed with err surely was not carried
// out: it did not leave this process, or nobody was there to take it. Of any
// other failed request the answer alone may be lost.
func NeverSent(err error) bool {
	for _, unsent := range []error{
		nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting,
		nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, unsent) {
			return true
		}
	}
	return false
}

// Error codes that jetstream has no names for; they are those of nats-server's
// server/errors.json.
const (
	notAssigned           jetstream.ErrorCode = 10007
	notLeader             jetstream.ErrorCode = 10009
	clusteringRequired    jetstream.ErrorCode = 10010
	memoryExceeded        jetstream.ErrorCode = 10028
	accountNotFound       jetstream.ErrorCode = 10035
	notInClusters         jetstream.ErrorCode = 10036
	storageExceeded       jetstream.ErrorCode = 10047
	streamOffline         jetstream.ErrorCode = 10118
	duplicateInProcess    jetstream.ErrorCode = 10158
	consumerOffline       jetstream.ErrorCode = 10119
	streamOfflineReason   jetstream.ErrorCode = 10194
	consumerOfflineReason jetstream.ErrorCode = 10195
)

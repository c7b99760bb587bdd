package bucket

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/retry"
)

var (
	errBroker      = errors.New("no leader")
	errUnavailable = errors.New("the thing is unavailable")
	errLease       = errors.New("the job's lease ended")
)

func TestRequestIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := Request(t.Context(), "read", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, retry.ErrNoAnswer)
		require.EqualError(t, err, "read: the broker did not answer in time (2s)")
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestRequestClassifies(t *testing.T) {
	t.Parallel()
	for err, final := range map[error]bool{
		nats.ErrConnectionClosed:      true,
		nats.ErrMaxPayload:            true,
		jetstream.ErrInvalidKey:       true,
		jetstream.ErrBucketNotFound:   true,
		jetstream.ErrStreamNotFound:   true,
		jetstream.ErrConsumerNotFound: true,
		nats.ErrNoResponders:          false,
		nats.ErrTimeout:               false,
		errBroker:                     false, // whatever nobody has thought of
	} {
		got := Request(t.Context(), "write", func(context.Context) error { return err })
		require.ErrorIs(t, got, err)
		require.EqualError(t, got, "write: "+err.Error())
		assert.Equal(t, !final, policy.Passes(got), "%v", err)
	}
	for _, lost := range []error{jetstream.ErrKeyExists, jetstream.ErrKeyRevisionMismatch} {
		got := Request(t.Context(), "write", func(context.Context) error { return lost })
		assert.Equal(t, ErrConflict, got)
		assert.True(t, policy.Passes(got))
	}
	require.NoError(t, Request(t.Context(), "write", func(context.Context) error { return nil }))
}

func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		errs := []error{ErrConflict, errBroker, ErrConflict, nil}
		began := time.Now()
		require.NoError(t, Retry(t.Context(), func(context.Context) error {
			err := errs[0]
			errs = errs[1:]
			return err
		}))
		assert.Empty(t, errs)
		assert.Less(t, time.Since(began), 25*time.Millisecond, "a lost race is tried again soon")

		tries := 0
		err := Retry(t.Context(), func(context.Context) error { tries++; return backoff.Permanent(errBroker) })
		require.ErrorIs(t, err, errBroker)
		assert.Equal(t, 1, tries)
	})
}

// TestFailed: whose bound ended a call decides what its error says.
func TestFailed(t *testing.T) {
	t.Parallel()
	fails := func(context.Context) error { return errBroker }
	for name, test := range map[string]struct {
		step  func(context.Context) error
		lease time.Duration
		want  string
		is    []error
		isNot []error
	}{
		"our patience": {
			step: fails, want: "thing: do: the thing is unavailable: gave up on the broker after 8s; last try: no leader",
			is: []error{errUnavailable, retry.ErrGaveUp, errBroker}, isNot: []error{errLease},
		},
		"the caller's bound": {
			step: fails, lease: time.Second, want: "thing: do: the job's lease ended; last try: no leader",
			is: []error{errLease, errBroker}, isNot: []error{errUnavailable, retry.ErrGaveUp},
		},
		"the caller's bound within a request": {
			step: func(ctx context.Context) error {
				return Request(ctx, "read", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			},
			lease: time.Second, want: "thing: do: the job's lease ended", is: []error{errLease}, isNot: []error{errUnavailable},
		},
		"nothing but the error": {
			step: func(context.Context) error { return backoff.Permanent(errBroker) }, lease: time.Second,
			want: "thing: do: the thing is unavailable: no leader", is: []error{errUnavailable, errBroker}, isNot: []error{errLease},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.lease != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, test.lease, errLease)
					defer cancel()
				}
				ctx, cancel := retry.Within(ctx, Patience)
				defer cancel()
				err := Failed(ctx, "thing: do", errUnavailable, Retry(ctx, test.step))
				if test.want != "" {
					require.EqualError(t, err, test.want)
				}
				for _, is := range test.is {
					require.ErrorIs(t, err, is)
				}
				for _, isNot := range test.isNot {
					assert.NotErrorIs(t, err, isNot)
				}
			})
		})
	}
}

// TestFailedForGoodAsTheCallerLeft: an error that has nothing to do with the end
// of the caller's context is not hidden by it.
func TestFailedForGoodAsTheCallerLeft(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errLease)
	err := Failed(ctx, "thing: do", errUnavailable, errBroker)
	require.ErrorIs(t, err, errUnavailable)
	assert.NotErrorIs(t, err, errLease)
}

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

var errFinal = errors.New("no such thing")

// fails returns an op whose tries end with these errors, the last one for ever, and
// the number of its tries.
func fails(errs ...error) (op func(context.Context) error, tries *int) {
	tries = new(int)
	return func(context.Context) error {
		*tries++
		return errs[min(*tries, len(errs))-1]
	}, tries
}

// hangs waits for its context.
func hangs(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestSucceedsOnceTheTroubleHasPassed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op, tries := fails(nats.ErrTimeout, nats.ErrNoResponders, retry.ErrAgain, nats.ErrTimeout, nil)
		value, err := retry.Value(t.Context(), func(ctx context.Context) (int, error) {
			err := op(ctx)
			return *tries, err
		})
		require.NoError(t, err)
		assert.Equal(t, 5, value, "the last try's")
	})
}

func TestPausesGrowToTheLongest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		p := retry.Policy{Try: time.Second, First: 100 * time.Millisecond, Longest: 400 * time.Millisecond}
		err := p.Do(t.Context(), func(context.Context) error {
			if at = append(at, time.Now()); len(at) < 7 {
				return nats.ErrNoResponders
			}
			return nil
		})
		require.NoError(t, err)
		for i, mean := range []time.Duration{100, 200, 400, 400, 400, 400} {
			mean *= time.Millisecond
			pause := at[i+1].Sub(at[i])
			assert.GreaterOrEqual(t, pause, mean/2, "pause %d", i)
			assert.LessOrEqual(t, pause, mean*3/2, "pause %d", i)
		}
	})
}

func TestAFinalErrorIsReturnedAtOnceAndUnchanged(t *testing.T) {
	t.Parallel()
	op, tries := fails(errFinal)
	assert.Equal(t, errFinal, retry.Do(t.Context(), op))
	assert.Equal(t, 1, *tries)
}

func TestTheErrorTellsWhichBoundEndedIt(t *testing.T) {
	t.Parallel()
	fail := func(context.Context) error { return nats.ErrNoResponders }
	shutdown := errors.New("shutting down")

	for name, test := range map[string]struct {
		op     func(context.Context) error
		total  time.Duration
		bound  time.Duration // of the caller's context; 0: none
		is     []error
		isNot  error
		lasted time.Duration
	}{
		"total, no answers": {op: hangs, total: 10 * time.Second, is: []error{retry.ErrGaveUp}, lasted: 10 * time.Second},
		"total, refusals":   {op: fail, total: 10 * time.Second, is: []error{retry.ErrGaveUp, nats.ErrNoResponders}, lasted: 10 * time.Second},
		"caller, no answer": {op: hangs, total: 10 * time.Second, bound: 500 * time.Millisecond, is: []error{shutdown}, isNot: retry.ErrGaveUp, lasted: 500 * time.Millisecond},
		"caller, refusals":  {op: fail, total: 10 * time.Second, bound: 5 * time.Second, is: []error{shutdown, nats.ErrNoResponders}, isNot: retry.ErrGaveUp, lasted: 5 * time.Second},
		"caller alone":      {op: fail, bound: time.Hour, is: []error{shutdown, nats.ErrNoResponders}, lasted: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.bound > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, test.bound, shutdown)
					defer cancel()
				}
				p := retry.Request
				p.Total = test.total
				began := time.Now()
				err := p.Do(ctx, test.op)
				for _, want := range test.is {
					require.ErrorIs(t, err, want)
				}
				if test.isNot != nil {
					require.NotErrorIs(t, err, test.isNot)
				}
				assert.Equal(t, test.lasted, time.Since(began))
			})
		})
	}
}

func TestATryThatHangsIsCutOffAndRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ops := []func(context.Context) error{hangs, func(context.Context) error { return nil }}
		began := time.Now()
		require.NoError(t, retry.Do(t.Context(), func(ctx context.Context) error {
			op := ops[0]
			ops = ops[1:]
			return op(ctx)
		}))
		assert.Empty(t, ops)
		assert.Less(t, time.Since(began), retry.Request.Try+100*time.Millisecond)
	})
}

func TestTheCallerMaySayWhatPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op, tries := fails(errors.New("unknown"), errors.New("unknown"), errFinal)
		p := retry.Policy{First: time.Millisecond, Longest: time.Second, Passes: func(err error) bool { return !errors.Is(err, errFinal) }}
		err := p.Do(t.Context(), func(ctx context.Context) error {
			_, bounded := ctx.Deadline()
			assert.False(t, bounded, "without Try and Total")
			return op(ctx)
		})
		assert.Equal(t, errFinal, err)
		assert.Equal(t, 3, *tries)
	})
}

func TestBoundBoundsSeveralCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := retry.Bound(t.Context())
		began := time.Now()
		for range 2 {
			err := retry.Do(ctx, func(context.Context) error { return nats.ErrNoResponders })
			require.ErrorIs(t, err, retry.ErrGaveUp)
			assert.ErrorContains(t, err, "after 15s")
		}
		assert.Equal(t, retry.Request.Total, time.Since(began))
		err := retry.Do(ctx, func(context.Context) error { t.Error("tried, though the time is over"); return nil })
		require.ErrorIs(t, err, retry.ErrGaveUp)
	})
}

func TestNothingIsTriedOnceTheContextHasEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("stopped by the operator")
	cancel(cause)
	err := retry.Do(ctx, func(context.Context) error { t.Error("tried"); return nil })
	require.ErrorIs(t, err, cause)
}

func TestTheContextNamesThePolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		unknown := errors.New("unknown")
		var observed []error
		observe := func(err error) { observed = append(observed, err) }
		ctx := retry.Settle.Context(retry.Observe(t.Context(), observe))
		op, _ := fails(unknown, fmt.Errorf("lost a race: %w", retry.ErrAgain), nats.ErrTimeout, nil)
		require.NoError(t, retry.Do(ctx, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			assert.Equal(t, 2*time.Second, time.Until(deadline))
			return op(ctx)
		}))
		assert.Equal(t, []error{unknown, nats.ErrTimeout}, observed, "a lost race is no trouble")

		began := time.Now()
		for range 2 { // one bound for both
			err := retry.Do(ctx, func(context.Context) error { return unknown })
			require.ErrorIs(t, err, retry.ErrGaveUp)
		}
		assert.InDelta(t, retry.Settle.Total, time.Since(began), float64(time.Second))

		for _, final := range []error{
			domain.ErrConflict, domain.ErrCorrupt, domain.ErrNotFound, domain.ErrUnstorable,
			nats.ErrConnectionClosed, retry.Permanent(nats.ErrTimeout),
		} {
			ctx := retry.Settle.Context(retry.Observe(t.Context(), func(error) { t.Error("tried again") }))
			require.ErrorIs(t, retry.Do(ctx, func(context.Context) error { return final }), final)
		}
		require.EqualError(t, retry.Permanent(unknown), "unknown")
		err := retry.Do(t.Context(), func(context.Context) error { return unknown })
		assert.Equal(t, unknown, err, "the default policy repeats what is known to pass alone")
	})
}

func TestLoopsDoNotNest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner, outer, observed := 0, 0, 0
		began := time.Now()
		err := retry.Start.Do(retry.Observe(t.Context(), func(error) { observed++ }), func(ctx context.Context) error {
			outer++
			return retry.Do(ctx, func(ctx context.Context) error {
				if inner++; inner < 3 {
					return hangs(ctx)
				}
				return nil
			})
		})
		require.NoError(t, err)
		assert.Equal(t, []int{3, 3, 2}, []int{inner, outer, observed})
		assert.Less(t, time.Since(began), 6*time.Second, "each of the tries was bounded")
	})
}

func TestTheTimerMayBeReplaced(t *testing.T) {
	t.Parallel()
	at := make(chan time.Time)
	close(at)
	var pauses []time.Duration
	ctx := retry.WithTimer(t.Context(), func(d time.Duration) <-chan time.Time { pauses = append(pauses, d); return at })
	ctx = retry.Settle.Context(ctx)
	op, _ := fails(nats.ErrTimeout, nats.ErrTimeout, nats.ErrTimeout, nil)
	require.NoError(t, retry.Do(ctx, op))
	assert.Len(t, pauses, 3)
}

func TestInterval(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{1: 500, 2: 1000, 3: 2000, 4: 3000, 1000: 3000} {
		assert.Equal(t, want*time.Millisecond, retry.Interval(500*time.Millisecond, 2, 3*time.Second, failures), failures)
	}
}

func TestTemporary(t *testing.T) {
	t.Parallel()
	api := func(code int, errCode jetstream.ErrorCode) error {
		return fmt.Errorf("nats: %w", &jetstream.APIError{Code: code, ErrorCode: errCode})
	}
	for _, err := range []error{
		nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, nats.ErrReconnectBufExceeded,
		jetstream.ErrInvalidJSAck, // half an answer
		fmt.Errorf("stale: %w", retry.ErrAgain),
		api(503, 10008), // the cluster is not available
		api(500, 10009), // no leader
		api(503, 10163), // the last sequence is not ready
		api(429, 10167), // too many requests
		api(409, 10158), // the same message id is in process
		api(503, 10077), // the store failed
		api(500, 10118), // the stream is offline
	} {
		assert.True(t, retry.Temporary(err), "%#v", err)
	}
	for _, err := range []error{
		nil, errFinal, nats.ErrConnectionClosed, nats.ErrMaxPayload, jetstream.ErrJetStreamNotEnabled, context.DeadlineExceeded,
		api(400, 10071), api(400, 10164), // a lost compare-and-swap, of one server and of several
		api(503, 10039), // no JetStream for the account
		api(500, 10074), // replicas without a cluster
	} {
		assert.False(t, retry.Temporary(err), "%#v", err)
	}
}

func TestNeverSent(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nats.ErrReconnectBufExceeded, fmt.Errorf("x: %w", jetstream.ErrNoStreamResponse), nats.ErrNoResponders} {
		assert.True(t, retry.NeverSent(err), err)
		assert.True(t, retry.Temporary(err), err)
	}
	for _, err := range []error{nil, nats.ErrTimeout, retry.ErrNoAnswer, jetstream.ErrInvalidJSAck, &jetstream.APIError{Code: 503}} {
		assert.False(t, retry.NeverSent(err), err)
	}
}

package dlq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
)

func seqs(n int) []uint64 {
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i + 1)
	}
	return all
}

func TestReplaysKeepThePace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pace   command.Pace
		n      int
		effort time.Duration // of one replay, besides its permit
	}{
		{500, 2500, 0},
		{500, 2500, 20 * time.Millisecond},
		{100, 300, 50 * time.Millisecond},
		{2, 20, 10 * time.Millisecond},
		{1.0 / 60, 5, 0},
	} {
		t.Run(fmt.Sprintf("%v a second, %v each", test.pace, test.effort), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var permits []time.Time
				failure := paced(t.Context(), test.pace, seqs(test.n),
					func(ctx context.Context, _ uint64, permit permit) deadletter.Step {
						<-time.After(time.Duration(rand.Int64N(int64(test.effort) + 1))) // as long as the broker's answer takes
						err := permit(ctx)
						return deadletter.Step{Plan: deadletter.Plan{Action: deadletter.Replayed, ExpiresAt: time.Now()}, Err: err}
					},
					func(one deadletter.Step) error { permits = append(permits, one.ExpiresAt); return one.Err })
				require.NoError(t, failure)
				require.Len(t, permits, test.n)
				planned := time.Duration(float64(test.n) / float64(test.pace) * float64(time.Second))
				assert.InEpsilon(t, planned.Seconds(), time.Since(began).Seconds()+1/float64(test.pace), 0.03)
				slices.SortFunc(permits, time.Time.Compare)
				for i, at := range permits { // never ahead of the pace by more than it may catch up
					due := time.Duration(float64(i)/float64(test.pace)*float64(time.Second)) - catchUp - time.Millisecond
					assert.GreaterOrEqual(t, at.Sub(began), due, i)
				}
			})
		})
	}
}

func TestRefusalsTakeNoPermit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := 0
		require.NoError(t, paced(t.Context(), 1, seqs(1000), func(context.Context, uint64, permit) deadletter.Step {
			return deadletter.Step{Plan: deadletter.Plan{Action: deadletter.Refused}}
		}, func(deadletter.Step) error { n++; return nil }))
		assert.Equal(t, 1000, n)
		assert.Zero(t, time.Since(began))
	})
}

// TestPacedStoppedWhileReading: a step that a signal cut off before it began fails
// with the signal's own error.
func TestPacedStoppedWhileReading(t *testing.T) {
	t.Parallel()
	stop, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupt signal received")
	require.NoError(t, paced(stop, 1, seqs(1000), func(ctx context.Context, _ uint64, _ permit) deadletter.Step {
		cancel(interrupted)
		return deadletter.Step{Err: fmt.Errorf("read dead letter 1: %w", context.Cause(ctx))}
	}, func(step deadletter.Step) error {
		assert.Fail(t, "nothing was begun", step.Err)
		return nil
	}))
}

func TestAReplayThatIsStoppedTellsOfWhatWasBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stop, cancel := context.WithCancel(t.Context())
		var begun atomic.Int64
		told := 0
		require.NoError(t, paced(stop, 100, seqs(1000), func(ctx context.Context, _ uint64, permit permit) deadletter.Step {
			if err := permit(ctx); err != nil {
				return deadletter.Step{Err: err}
			}
			if begun.Add(1) == 50 {
				cancel()
			}
			return deadletter.Step{Plan: deadletter.Plan{Action: deadletter.Replayed}}
		}, func(one deadletter.Step) error { told++; return one.Err }))
		assert.Less(t, begun.Load(), int64(100))
		assert.EqualValues(t, begun.Load(), told)
	})
}

func TestTheFirstFailureEndsAReplay(t *testing.T) {
	t.Parallel()
	broken := errors.New("the broker is away")
	tried := 0
	err := paced(t.Context(), 1, seqs(1000), func(_ context.Context, seq uint64, _ permit) deadletter.Step {
		tried++
		if seq == 3 {
			return deadletter.Step{Plan: deadletter.Plan{Action: deadletter.Failed}, Err: broken}
		}
		return deadletter.Step{Plan: deadletter.Plan{Action: deadletter.Refused}}
	}, func(deadletter.Step) error { return nil })
	require.ErrorIs(t, err, broken)
	assert.Less(t, tried, 10)
}

func TestInOrder(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	var got []uint64
	for r := range inOrder(t.Context(), 7, seqs(500), func(n uint64) uint64 {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		return n * 2
	}) {
		got = append(got, r/2)
	}
	assert.Equal(t, seqs(500), got)
	assert.LessOrEqual(t, most.Load(), int64(7))

	n := 0
	for range inOrder(t.Context(), 3, seqs(100), func(n uint64) uint64 { return n }) {
		if n++; n == 10 {
			break // what is in hand is waited for, and no more is begun
		}
	}
	assert.Equal(t, 10, n)
}

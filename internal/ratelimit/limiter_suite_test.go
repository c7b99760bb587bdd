package ratelimit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

// TestConformance holds the limiter to its word on a real bucket and on the one in
// memory alike.
func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		suite(t, func(t *testing.T, list []domain.Rule, now func() time.Time) *Limiter {
			l, _ := faked(t, list, now)
			return l
		})
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		suite(t, func(t *testing.T, list []domain.Rule, now func() time.Time) *Limiter {
			_, js := brokertest.Start(t)
			makeBucket(t, js, BucketTTL(list))
			return openOn(t, js, list, now)
		})
	})
}

// fixture is one limiter with a clock of its own.
type fixture struct {
	*testing.T
	*Limiter
	*fake.Clock
}

// granted and denied reserve and check the answer.
func (f fixture) granted(id string) {
	f.Helper()
	reserves(f, f.Limiter, id)
}

func (f fixture) denied(id, rule string, wait time.Duration) {
	f.Helper()
	got, err := f.Reserve(f.Context(), phoneA, id, 1, false)
	require.NoError(f, err)
	require.Equal(f, domain.Reservation{Rule: rule, RetryAfter: wait}, got, id)
}

// suite is what every limiter must do.
func suite(t *testing.T, open func(*testing.T, []domain.Rule, func() time.Time) *Limiter) {
	each := func(name string, texts []string, check func(f fixture)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake.NewClock()
			check(fixture{t, open(t, rules(t, texts...), c.Now), c})
		})
	}

	each("slides and is exact to one", []string{"2/1m"}, func(f fixture) {
		f.granted("a")
		f.Move(40 * time.Second)
		f.granted("b")
		f.denied("c", "2/1m", 20*time.Second)
		f.Move(20*time.Second - 1)
		f.denied("c", "2/1m", 1)
		f.Move(1)
		f.granted("c")
		f.denied("d", "2/1m", 40*time.Second)
	})
	each("names the rule that binds longest", []string{"1/1m", "3/1h"}, func(f fixture) {
		f.granted("a")
		f.denied("b", "1/1m", time.Minute)
		f.Move(time.Minute)
		f.granted("b")
		f.Move(time.Minute)
		f.granted("c")
		f.denied("d", "3/1h", 58*time.Minute)
	})
	each("moves the reservation of a later attempt", []string{"2/1m"}, func(f fixture) {
		f.granted("a")
		f.Move(50 * time.Second)
		f.granted("a")
		f.Move(30 * time.Second) // the first attempt's minute is over, the second's is not
		f.granted("b")
		f.denied("c", "2/1m", 30*time.Second)
	})
	each("denies a move into a full window and keeps the reservation", []string{"1/1m", "2/1h"}, func(f fixture) {
		f.granted("a")
		f.Move(time.Minute)
		f.granted("b")
		f.Move(time.Second)
		f.denied("a", "1/1m", 59*time.Second)
		f.Move(59 * time.Second)
		f.denied("c", "2/1h", 58*time.Minute) // a's counts still
		require.NoError(f, f.Release(f.Context(), phoneA, "a", 1))
		f.granted("c")
	})
	each("leaves it where it is for a repeat within a millisecond", []string{"1/1m"}, func(f fixture) {
		f.granted("a")
		f.Move(time.Millisecond - 1)
		f.granted("a")
		f.denied("b", "1/1m", time.Minute-time.Millisecond+1)
		f.Move(1)
		f.granted("a")
		f.denied("b", "1/1m", time.Minute)
	})
	each("releases no reservation of a later attempt", []string{"1/1m"}, func(f fixture) {
		attempt := func(n uint64) {
			got, err := f.Reserve(f.Context(), phoneA, "a", n, false)
			require.NoError(f, err)
			require.True(f, got.Allowed)
		}
		attempt(1)
		attempt(2) // another worker's, at the very same time
		require.NoError(f, f.Release(f.Context(), phoneA, "a", 1))
		f.denied("b", "1/1m", time.Minute)
		f.Move(time.Second)
		attempt(1) // that first worker is late once more
		require.NoError(f, f.Release(f.Context(), phoneA, "a", 1))
		f.denied("b", "1/1m", time.Minute)
		require.NoError(f, f.Release(f.Context(), phoneA, "a", 3))
		f.granted("b")
	})
	each("closes, and never for less", []string{"5/1m"}, func(f fixture) {
		ctx := f.Context()
		f.granted("a")
		require.NoError(f, f.CloseFor(ctx, phoneA, time.Hour))
		require.NoError(f, f.CloseFor(ctx, phoneA, time.Minute))
		require.NoError(f, f.CloseFor(ctx, phoneA, 0))
		require.NoError(f, f.CloseFor(ctx, phoneA, -time.Hour))
		f.denied("b", "closed", time.Hour)
		f.denied("a", "closed", time.Hour)
		require.NoError(f, f.Release(ctx, phoneA, "a", 1))
		f.Move(time.Hour - 1)
		f.denied("b", "closed", 1)
		f.Move(1)
		f.granted("b")
	})
	each("closes for a day at most", nil, func(f fixture) {
		f.granted("a")
		f.granted("b")
		require.NoError(f, f.CloseFor(f.Context(), phoneA, 1000*time.Hour))
		f.denied("a", "closed", MaxClosure)
	})
	each("does not let a slow clock slip past", []string{"1/1m"}, func(f fixture) {
		f.granted("a")
		f.Move(-10 * time.Minute)
		f.denied("b", "1/1m", 11*time.Minute)
		f.granted("a") // nothing to move
		f.Move(11 * time.Minute)
		f.granted("b")
	})
	each("keeps phones apart", []string{"1/1m"}, func(f fixture) {
		f.granted("a")
		got, err := f.Reserve(f.Context(), phoneB, "b", 1, false)
		require.NoError(f, err)
		assert.True(f, got.Allowed)
	})
	each("shows", []string{"1/1m", "5/1h"}, func(f fixture) {
		ctx := f.Context()
		empty, err := f.Show(ctx, phoneA)
		require.NoError(f, err)
		assert.Equal(f, State{
			Windows: []Window{
				{Rule: domain.Rule{Max: 1, Window: time.Minute}, Max: 1},
				{Rule: domain.Rule{Max: 5, Window: time.Hour}, Max: 5},
			},
			Entries: []Entry{},
		}, empty)

		f.granted("a")
		f.Move(time.Minute)
		f.granted("b")
		f.Move(30 * time.Second)
		require.NoError(f, f.CloseFor(ctx, phoneA, time.Second))
		state, err := f.Show(ctx, phoneA)
		require.NoError(f, err)
		assert.Equal(f, State{
			Windows: []Window{
				{domain.Rule{Max: 1, Window: time.Minute}, 1, 1, epoch.Add(2 * time.Minute)},
				{domain.Rule{Max: 5, Window: time.Hour}, 2, 5, epoch.Add(time.Hour)},
			},
			ClosedUntil: epoch.Add(91 * time.Second),
			NextAllowed: epoch.Add(2 * time.Minute),
			Entries:     []Entry{{"a", epoch, 1}, {"b", epoch.Add(time.Minute), 1}},
		}, state)

		f.Move(time.Hour)
		state, err = f.Show(ctx, phoneA)
		require.NoError(f, err)
		assert.Equal(f, empty, state)
	})
	each("reserves ahead for a phone of which nothing is known", []string{"1/1h"}, func(f fixture) {
		ctx := f.Context()
		ahead := func(id string) (made, known bool) { return f.ReserveAhead(ctx, phoneA, id)() }
		made, known := ahead("a")
		assert.True(f, made)
		assert.False(f, known)
		made, known = ahead("a") // a repeat moves nothing
		assert.False(f, made)
		assert.True(f, known)
		f.denied("b", "1/1h", time.Hour)
		got, err := f.Reserve(ctx, phoneA, "a", 7, true)
		require.NoError(f, err)
		assert.True(f, got.Allowed, "it is the request's own")
		require.NoError(f, f.Release(ctx, phoneA, "a", 0))
		f.denied("b", "1/1h", time.Hour) // an attempt holds it now
		require.NoError(f, f.Release(ctx, phoneA, "a", 7))
		made, known = ahead("b")
		assert.False(f, made, "something is known of a phone whose windows are empty")
		assert.True(f, known)
		f.granted("b")
	})
	each("gives back what was reserved ahead", []string{"1/1h"}, func(f fixture) {
		made, _ := f.ReserveAhead(f.Context(), phoneA, "a")()
		assert.True(f, made)
		require.NoError(f, f.Release(f.Context(), phoneA, "a", 0))
		f.granted("b")
	})
	each("reserves nothing ahead without rules", nil, func(f fixture) {
		made, known := f.ReserveAhead(f.Context(), phoneA, "a")()
		assert.False(f, made)
		assert.False(f, known)
	})
	each("refuses what is no phone or request", []string{"1/1h"}, func(f fixture) {
		ctx := f.Context()
		for _, phone := range []string{"", "13812345678", "8613812345678"} {
			_, err := f.Reserve(ctx, passcode.NewPhone(phone), "a", 1, false)
			require.ErrorContains(f, err, "E.164")
			require.NotContains(f, err.Error(), "13812345678")
		}
		for _, id := range []string{"", "a b", "ü"} {
			_, err := f.Reserve(ctx, phoneA, id, 1, false)
			require.ErrorContains(f, err, "request id")
		}
	})
	each("ends with its context", []string{"1/1h"}, func(f fixture) {
		ctx, cancel := context.WithCancel(f.Context())
		cancel()
		got, err := f.Reserve(ctx, phoneA, "a", 1, false)
		require.ErrorIs(f, err, context.Canceled)
		assert.Zero(f, got)
	})
}

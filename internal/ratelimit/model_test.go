package ratelimit

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

// model is the rules in their plainest form: it counts again each time, and finds
// the wait by trying every instant at which anything changes.
type model struct {
	rules    []domain.Rule
	reserved map[string]int64 // request → when its reservation was made
	closed   int64
}

func newModel(list []domain.Rule) *model {
	return &model{rules: list, reserved: make(map[string]int64)}
}

// allowed says whether the others leave room for id at an instant.
func (m *model) allowed(id string, at int64) bool {
	if at < m.closed {
		return false
	}
	for _, rule := range m.rules {
		used := 0
		for other, taken := range m.reserved {
			if other != id && at-taken < int64(rule.Window) {
				used++
			}
		}
		if used >= rule.Max {
			return false
		}
	}
	return true
}

// latest is the newest time known.
func (m *model) latest(now int64) int64 {
	for _, taken := range m.reserved {
		now = max(now, taken)
	}
	return now
}

// forget drops what has left every window. It only matters where the clock is set
// back afterwards: what a write dropped does not come to life again.
func (m *model) forget(now int64) {
	maps.DeleteFunc(m.reserved, func(_ string, taken int64) bool {
		return !slices.ContainsFunc(m.rules, func(r domain.Rule) bool { return now-taken < int64(r.Window) })
	})
}

func (m *model) reserve(id string, local int64) (allowed bool, retryAfter time.Duration) {
	now := m.latest(local)
	if m.allowed(id, now) {
		if taken, has := m.reserved[id]; len(m.rules) > 0 && (!has || now-taken >= int64(time.Millisecond)) {
			m.forget(now)
			m.reserved[id] = now
		}
		return true, 0
	}
	first := int64(0)
	consider := func(at int64) {
		if at > now && m.allowed(id, at) && (first == 0 || at < first) {
			first = at
		}
	}
	consider(m.closed)
	for _, taken := range m.reserved {
		for _, rule := range m.rules {
			consider(taken + int64(rule.Window))
		}
	}
	return false, time.Duration(first - local)
}

func (m *model) release(id string, now int64) {
	if _, has := m.reserved[id]; has {
		m.forget(m.latest(now))
		delete(m.reserved, id)
	}
}

func (m *model) closeFor(d time.Duration, now int64) {
	if until := now + int64(min(d, MaxClosure)); d > 0 && until > m.closed {
		m.forget(m.latest(now))
		m.closed = until
	}
}

// drawRules draws up to four rules, short enough that random walks cross them.
func drawRules(t *rapid.T) []domain.Rule {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) domain.Rule {
		return domain.Rule{
			Max:    rapid.IntRange(1, 6).Draw(t, "max"),
			Window: time.Duration(rapid.SampledFrom([]int64{1, 10, 60, 600, 3600}).Draw(t, "window")) * time.Second,
		}
	}), 0, 4).Draw(t, "rules")
}

// drawStep draws how far the clock moves: often not at all, sometimes to the
// very edge of a window, now and then back.
func drawStep(t *rapid.T) time.Duration {
	return rapid.OneOf(
		rapid.Just(time.Duration(0)),
		rapid.SampledFrom([]time.Duration{
			1, time.Millisecond - 1, time.Millisecond, time.Second - 1, time.Second, time.Second + 1,
			10 * time.Second, time.Minute - 1, time.Minute, 10 * time.Minute, time.Hour, -time.Second, -time.Minute,
		}),
		rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "ns"))
		}),
	).Draw(t, "step")
}

// walk drives a limiter and the model through the same random history.
func walk(t *rapid.T, length int, list []domain.Rule, c *fake.Clock, l *Limiter, phone passcode.Phone) {
	m := newModel(list)
	ctx := t.Context()
	id := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("r%d", rapid.IntRange(0, 9).Draw(t, "id")) })
	for range length {
		c.Move(drawStep(t))
		now := c.Now().UnixNano()
		switch rapid.SampledFrom([]string{"reserve", "reserve", "reserve", "reserve", "release", "close", "reset"}).Draw(t, "do") {
		case "reserve":
			request := id.Draw(t, "request")
			want, wait := m.reserve(request, now)
			got, err := l.Reserve(ctx, phone, request, 1, false)
			require.NoError(t, err)
			require.Equal(t, want, got.Allowed)
			require.Equal(t, wait, got.RetryAfter)
			requireNamed(t, list, got)
		case "release":
			request := id.Draw(t, "request")
			m.release(request, now)
			require.NoError(t, l.Release(ctx, phone, request, 1))
		case "close":
			d := time.Duration(rapid.Int64Range(-1, int64(time.Minute)).Draw(t, "closed for"))
			m.closeFor(d, now)
			require.NoError(t, l.CloseFor(ctx, phone, d))
		case "reset":
			if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
				m.reserved, m.closed = make(map[string]int64), 0
				require.NoError(t, l.ResetPhone(ctx, phone))
			}
		}
	}
	state, err := l.Show(ctx, phone)
	require.NoError(t, err)
	for _, w := range state.Windows {
		require.LessOrEqual(t, w.Used, w.Max)
		require.Equal(t, w.Used == 0, w.NextFree.IsZero())
		if w.Used == w.Max && state.NextAllowed.Before(w.NextFree) {
			t.Fatalf("%s is used up until %s, and a request is allowed at %s", w.Rule, w.NextFree, state.NextAllowed)
		}
	}
}

// requireNamed checks that a denial names a rule in force, and a grant none.
func requireNamed(t *rapid.T, list []domain.Rule, r domain.Reservation) {
	if r.Allowed {
		require.Empty(t, r.Rule)
		return
	}
	names := []string{domain.RuleClosed}
	for _, rule := range list {
		names = append(names, rule.String())
	}
	require.Contains(t, names, r.Rule)
	require.Positive(t, r.RetryAfter)
}

// TestAgainstModel: with answers lost as well, the model can't tell the difference.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which the pauses between tries take no time
		rapid.Check(struct{ testing.TB }{t}, func(t *rapid.T) {
			list, c := drawRules(t), fake.NewClock()
			l, f := faked(t, list, c.Now)
			faults := rapid.SliceOfN(rapid.SampledFrom([]buckettest.Fault{
				buckettest.None, buckettest.None, buckettest.Refuse, buckettest.LoseRequest, buckettest.LoseAnswer, buckettest.Conflict,
			}), 0, 20).Draw(t, "faults")
			f.Script(map[buckettest.Op][]buckettest.Fault{buckettest.Write: faults, buckettest.Get: slices.DeleteFunc(slices.Clone(faults), func(f buckettest.Fault) bool { return f == buckettest.Conflict })})
			walk(t, 60, list, c, l, phoneA)
		})
	})
}

// TestNoWindowHoldsTooMany states the limit itself, apart from the model: in
// whatever order requests come, are tried again and released, no stretch of time
// as long as a window ever holds more reservations than its rule allows.
func TestNoWindowHoldsTooMany(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list, c := drawRules(t), fake.NewClock()
		doc := document{}
		held := make(map[string]int64) // every reservation not released, also those the document has dropped
		for i := range 80 {
			c.Move(max(drawStep(t), 0))
			id := fmt.Sprintf("r%d", rapid.IntRange(0, i).Draw(t, "request"))
			now, next := c.Now().UnixNano(), document{Entries: slices.Clone(doc.Entries)}
			if rapid.IntRange(0, 9).Draw(t, "do") == 0 {
				if next.release(id, 1, now, list) {
					doc = next
				}
				delete(held, id)
				continue
			}
			answer, changed := next.reserve(id, 1, now, list)
			if changed {
				held[id], doc = now, next
			}
			require.False(t, changed && !answer.Allowed, "a denial changes nothing")
		}
		for _, rule := range list {
			for _, end := range held {
				used := 0
				for _, at := range held {
					if at <= end && end-at < int64(rule.Window) {
						used++
					}
				}
				require.LessOrEqual(t, used, rule.Max, "window %s", rule)
			}
		}
	})
}

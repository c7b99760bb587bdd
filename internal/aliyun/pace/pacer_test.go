package pace

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// callTimeout is the longest that a call takes.
const callTimeout = 5 * time.Second

// run lets callers take permits for a while of fake time and counts them.
func run(t *testing.T, p *pacer, callers int, d time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var calls atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				if _, err := p.Pace(ctx); err != nil {
					return
				}
				calls.Add(1)
			}
		})
	}
	wg.Wait()
	return int(calls.Load())
}

// pass lets fake time pass.
func pass(d time.Duration) { <-time.After(d) }

func take(t *testing.T, p *pacer, n int) {
	t.Helper()
	for range n {
		_, err := p.Pace(t.Context())
		require.NoError(t, err)
	}
}

func TestPaceKeepsToTheCap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cap     float64
		callers int
	}{{1, 1}, {10, 1}, {10, 50}, {100, 7}, {2500, 256}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPacer(test.cap, time.Now)
			calls := run(t, p, test.callers, 10*time.Second)
			assert.InDelta(t, test.cap*10, calls, test.cap*0.3+2)
			assert.LessOrEqual(t, float64(calls), test.cap*(10+burstSeconds)+1)
			assert.InDelta(t, test.cap, p.Rate(), 0)
		})
	}
}

func TestPaceHalvesWhatWasObservedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(0, time.Now)
		began := time.Now()
		take(t, p, 400)
		assert.Zero(t, time.Since(began), "without a cap nobody waits")
		assert.True(t, math.IsInf(p.Rate(), 1))
		p.throttled(time.Now())
		assert.InDelta(t, 200, p.Rate(), 0.1)
		assert.InDelta(t, 200, run(t, p, 64, time.Second), 12)
	})
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(1000, time.Now)
		run(t, p, 8, 2*time.Second)
		p.throttled(time.Now())
		assert.InDelta(t, 500, p.Rate(), 30)
	})
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(1000, time.Now)
		take(t, p, 20) // far below what was allowed
		p.throttled(time.Now())
		assert.InDelta(t, 10, p.Rate(), 0.1)
	})
}

func TestABurstOfRefusalsCutsThePaceOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(0, time.Now)
		began := time.Now()
		take(t, p, 256)
		for range 256 {
			p.throttled(began)
		}
		assert.InDelta(t, 128, p.Rate(), 0.1)

		// Answers that come in much later, to calls from before the cut.
		pass(3 * time.Second)
		before := p.Rate()
		p.throttled(began)
		assert.InDelta(t, before, p.Rate(), 0)

		// One to a new call cuts again.
		run(t, p, 4, 2*time.Second)
		before = p.Rate()
		p.throttled(time.Now())
		assert.InDelta(t, before/2, p.Rate(), before/8)
	})
}

func TestPaceAfterCuts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(100, time.Now)
		run(t, p, 4, 2*time.Second)
		p.throttled(time.Now())
		low := p.Rate()
		pass(5 * time.Second)
		assert.InDelta(t, (low+5*paceStep)*math.Pow(paceGrowth, 5), p.Rate(), 0.001)
		pass(10 * time.Second)
		assert.InDelta(t, 100, p.Rate(), 0, "half a pace is whole again in less than 15 seconds")
		assert.InDelta(t, 1000, run(t, p, 4, 10*time.Second), 25)

		slow := newPacer(0.5, time.Now)
		slow.throttled(time.Now())
		assert.InDelta(t, 0.5, slow.Rate(), 0, "the floor is not above the cap")

		uncapped := newPacer(0, time.Now)
		for range 20 {
			uncapped.throttled(time.Now())
			pass(2 * cutInterval)
			assert.GreaterOrEqual(t, uncapped.Rate(), Min)
		}
		pass(5 * time.Minute)
		assert.True(t, math.IsInf(uncapped.Rate(), 1))
	})
}

func TestACutReachesThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(1000, time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var calls atomic.Int64
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				if _, err := p.Pace(ctx); err == nil {
					calls.Add(1)
				}
			})
		}
		pass(50 * time.Millisecond)
		p.throttled(time.Now())
		before := calls.Load()
		wg.Wait()
		assert.Less(t, calls.Load()-before, int64(100), "the waiting ones keep to the new pace")
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(0.1, time.Now)
		cause := errors.New("too long")
		take(t, p, 1)
		var wg sync.WaitGroup
		for range 3 { // one waits for the token, two for its place
			wg.Go(func() {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
				defer cancel()
				release, err := p.Pace(ctx)
				assert.ErrorIs(t, err, cause)
				assert.Nil(t, release)
			})
		}
		wg.Wait()
		take(t, p, 1)
	})
}

func TestAnUnusedPermitIsTakenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(1, time.Now)
		release, err := p.Pace(t.Context())
		require.NoError(t, err)
		release()
		began := time.Now()
		take(t, p, 1)
		assert.Zero(t, time.Since(began))
		take(t, p, 1)
		assert.InDelta(t, 1, time.Since(began).Seconds(), 0.01)

		began = time.Now()
		for range 1000 {
			release, err := p.Pace(t.Context())
			require.NoError(t, err)
			time.AfterFunc(time.Millisecond, release) // while the next one waits already
		}
		assert.LessOrEqual(t, time.Since(began), 3*time.Second)
	})
}

// Whatever the order of calls, released permits and refusals, the pace stays within
// its bounds, and no second lets through more than the cap and one burst.
func TestPaceKeepsItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		limit := rapid.SampledFrom([]float64{0, 1, 5, 50, 4000}).Draw(t, "cap")
		p := newPacer(limit, func() time.Time { return now })
		top := limit
		if limit == 0 {
			top = math.Inf(1)
		}
		start, taken, released := now, 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"permit": func(*rapid.T) {
				if p.take() == 0 {
					taken++
				}
			},
			"release": func(*rapid.T) {
				if released < taken {
					released++
					p.release()
				}
			},
			"refusal": func(t *rapid.T) {
				p.throttled(now.Add(-time.Duration(rapid.IntRange(0, 3000).Draw(t, "ago")) * time.Millisecond))
			},
			"": func(t *rapid.T) {
				rate := p.Rate()
				if rate > top || rate < min(Min, top) {
					t.Fatalf("rate %v of cap %v", rate, top)
				}
				gone := now.Sub(start).Seconds()
				if used := taken - released; float64(used) > top*(gone+burstSeconds)+1 {
					t.Fatalf("%d calls in %v s", used, gone)
				}
			},
		})
	})
}

// TestAHeldPaceStaysAtItsFloor, and recovers from there as after a cut.
func TestAHeldPaceStaysAtItsFloor(t *testing.T) {
	t.Parallel()
	for _, limit := range []float64{0, 1, 100} {
		synctest.Test(t, func(t *testing.T) {
			p := newPacer(limit, time.Now)
			floor := Min
			if limit > 0 {
				floor = min(floor, limit)
			}
			take(t, p, 1)
			p.hold()
			assert.Zero(t, p.Rate(), "no call is made")
			p.throttled(time.Now())
			assert.InDelta(t, floor*600, run(t, p, 2, 10*time.Minute), 2)
			p.resume()
			assert.InDelta(t, floor, p.Rate(), 0.01)
			pass(10 * time.Second)
			assert.InDelta(t, min((floor+10*paceStep)*math.Pow(paceGrowth, 10), p.cap), p.Rate(), 0.01)
		})
	}
}

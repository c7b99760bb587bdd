package pace

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

var (
	noAnswer = domain.Outcome{Class: passcode.ClassInDoubt, Code: answer.CodeTimeout}
	refused  = domain.Outcome{Class: passcode.ClassTransient, Code: answer.CodeRefused, Message: answer.Texts[answer.CodeRefused]}
	notMade  = domain.Outcome{Class: passcode.ClassTransient, Code: answer.CodeTooLate, NotMade: true}
	taken    = domain.Outcome{Class: passcode.ClassOK, Code: "OK", BizID: "B^0", ProviderRequestID: "P"}
	away     = domain.Outcome{Class: passcode.ClassTransient, Code: "ServiceUnavailable", ProviderRequestID: "P"}
	slowDown = domain.Outcome{Class: passcode.ClassThrottled, Code: "Throttling.User", ProviderRequestID: "P"}
	barred   = domain.Outcome{Class: passcode.ClassRecipient, Code: "isv.MOBILE_NUMBER_ILLEGAL", ProviderRequestID: "P"}
	unknown  = domain.Outcome{Class: passcode.ClassConfig, Code: "no_template"}
)

func breakerOf(t *testing.T) (*OutageBreaker, *pacer) {
	t.Helper()
	b := New(0, callTimeout, time.Now, slog.New(slog.DiscardHandler))
	return b, b.pacer
}

// fail has calls for so many requests fail, spread over a while.
func fail(b *OutageBreaker, requests int, over time.Duration, out domain.Outcome) {
	for i := range requests {
		b.Observe(fmt.Sprintf("r%d", i), time.Now(), out)
		pass(over / time.Duration(requests))
	}
}

// TestBreakerOpens has a row for what opens it and what doesn't.
func TestBreakerOpens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		calls func(b *OutageBreaker)
		opens bool
	}{
		{"many requests, for long", func(b *OutageBreaker) { fail(b, 40, 10*time.Second, refused) }, true},
		{"doubtful ones too", func(b *OutageBreaker) { fail(b, 40, 10*time.Second, noAnswer) }, true},
		{"calls that began together and were given up together", func(b *OutageBreaker) {
			began := time.Now()
			pass(callTimeout)
			for i := range openAfter {
				b.Observe(fmt.Sprintf("r%d", i), began, noAnswer)
			}
		}, true},
		{"a lone job, however often", func(b *OutageBreaker) {
			for range 1000 {
				b.Observe("r1", time.Now(), refused)
				pass(time.Second)
			}
		}, false},
		{"many, for a moment", func(b *OutageBreaker) { fail(b, 5000, silentTime-time.Second, refused) }, false},
		{"many that said the service is away, for very long", func(b *OutageBreaker) { fail(b, 80, 2*failedTime, away) }, true},
		{"the same, but not for so long", func(b *OutageBreaker) { fail(b, 5000, failedTime-time.Second, away) }, false},
		{"silence, and such an answer in between", func(b *OutageBreaker) {
			fail(b, openAfter-1, 10*time.Second, refused)
			b.Observe("away", time.Now(), away)
			fail(b, openAfter-1, 10*time.Second, refused)
		}, false},
		{"look-ups are answered", func(b *OutageBreaker) {
			for range 10 {
				fail(b, openAfter, silentTime/2, noAnswer)
				b.ObserveLookup()
			}
		}, false},
		{"throttled, however long: the pacer is for that", func(b *OutageBreaker) { fail(b, 5000, time.Hour, slowDown) }, false},
		{"one answer in between, whatever it says", func(b *OutageBreaker) {
			fail(b, openAfter-1, 10*time.Second, refused)
			b.Observe("barred", time.Now(), barred)
			fail(b, openAfter-1, 10*time.Second, refused)
		}, false},
		{"calls that were not made", func(b *OutageBreaker) { fail(b, 40, 10*time.Second, notMade) }, false},
		{"refusals of ours say nothing either way", func(b *OutageBreaker) {
			fail(b, openAfter-1, 10*time.Second, refused)
			b.Observe("unknown", time.Now(), unknown)
			b.Observe("one more", time.Now(), refused)
		}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, p := breakerOf(t)
				began := time.Now()
				row.calls(b)
				assert.Equal(t, row.opens, b.State().Open)
				assert.Equal(t, !row.opens, b.Admit("x") == (domain.Admission{Allowed: true}))
				assert.Equal(t, row.opens, p.Rate() == 0)
				if row.opens {
					assert.Equal(t, began, b.State().Since)
					assert.NotEmpty(t, b.State().Code)
				}
			})
		})
	}
}

// TestBreakerProbes: one call after each pause, each pause longer, and one answer
// lets all pass.
func TestBreakerProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, p := breakerOf(t)
		fail(b, openAfter, silentTime, refused)
		b.Observe("r0", time.Now(), refused)
		require.True(t, b.State().Open)
		for _, pause := range []time.Duration{1, 2, 4, 8, 15, 15} {
			pause *= time.Second
			assert.Equal(t, domain.Admission{Wait: pause}, b.Admit("early"))
			assert.Equal(t, time.Now().Add(pause), b.State().NextProbe)
			pass(pause)
			assert.Equal(t, domain.Admission{Allowed: true, Probe: true}, b.Admit("probe"))
			assert.False(t, b.Admit("another").Allowed)
			b.Observe("another", time.Now(), refused) // from before it opened
			b.Observe("another", time.Now(), taken)
			assert.False(t, b.Admit("another").Allowed, "old news")
			b.Observe("probe", time.Now(), refused)
		}
		pass(lastPause)
		require.True(t, b.Admit("probe").Probe)
		b.Observe("probe", time.Now(), barred)
		assert.Equal(t, Outage{}, b.State())
		assert.Equal(t, domain.Admission{Allowed: true}, b.Admit("x"))
		assert.InDelta(t, Min, p.Rate(), 0.01, "slowly at first")

		fail(b, openAfter-1, 2*silentTime, refused)
		assert.False(t, b.State().Open, "the streak begins again")
	})
}

// TestProbesAsk: a look-up without an answer ends a probe like a call without one,
// any answer lets the call be made, and each eighth is made in any case.
func TestProbesAsk(t *testing.T) {
	t.Parallel()
	silent := &answer.Failure{Class: passcode.ClassTransient, Code: answer.CodeTimeout}
	synctest.Test(t, func(t *testing.T) {
		b, _ := breakerOf(t)
		assert.Equal(t, domain.Admission{Allowed: true}, b.Asked("r1", silent), "nothing is known against it")
		fail(b, openAfter+1, silentTime+time.Second, refused)
		wait := lastPause
		for round := range 2 {
			for range blindEach {
				pass(wait)
				require.True(t, b.Admit("probe").Probe)
				may := b.Asked("probe", silent)
				require.False(t, may.Allowed)
				wait = may.Wait
				assert.Equal(t, domain.Admission{Wait: wait}, b.Admit("another"))
				assert.Equal(t, answer.CodeTimeout, b.State().Code)
			}
			assert.Equal(t, lastPause, wait)
			pass(wait)
			require.True(t, b.Admit("probe").Probe)
			assert.Equal(t, domain.Admission{Allowed: true, Probe: true}, b.Asked("probe", silent), round)
			b.Observe("probe", time.Now(), noAnswer)
		}

		for name, err := range map[string]error{
			"found or not":              nil,
			"busy":                      &answer.Failure{Class: passcode.ClassThrottled, Code: "Throttling", Answered: true},
			"away, by its own word":     &answer.Failure{Class: passcode.ClassTransient, Code: "ServiceUnavailable", Answered: true},
			"refused here or by theirs": &answer.Failure{Class: passcode.ClassConfig, Code: "Forbidden"},
		} {
			pass(lastPause)
			require.True(t, b.Admit("probe").Probe, name)
			assert.Equal(t, domain.Admission{Allowed: true, Probe: true}, b.Asked("probe", err), name)
			assert.Equal(t, 2*callTimeout, b.Admit("another").Wait, "the call has as long as any")
			b.Observe("probe", time.Now(), noAnswer)
			assert.True(t, b.State().Open, name)
		}

		pass(lastPause)
		require.True(t, b.Admit("slow").Probe)
		pass(2 * callTimeout)
		require.True(t, b.Admit("probe").Probe)
		assert.Equal(t, domain.Admission{Wait: 2 * callTimeout}, b.Asked("slow", nil), "another has taken its place")
		assert.True(t, b.Asked("probe", nil).Allowed)
		b.Observe("probe", time.Now(), taken)
		assert.Equal(t, Outage{}, b.State())
	})
}

// TestBreakersProbeIsNotLost where no call is made with it, or nothing is ever
// heard of it.
func TestBreakersProbeIsNotLost(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		with func(b *OutageBreaker)
		wait time.Duration
	}{
		"not called":       {func(b *OutageBreaker) { b.NotCalled("probe") }, 0},
		"not made":         {func(b *OutageBreaker) { b.Observe("probe", time.Now(), notMade) }, 0},
		"refused here":     {func(b *OutageBreaker) { b.Observe("probe", time.Now(), unknown) }, 0},
		"another's":        {func(b *OutageBreaker) { b.NotCalled("another") }, 2 * callTimeout},
		"never heard of":   {func(*OutageBreaker) {}, 2 * callTimeout},
		"failed (a pause)": {func(b *OutageBreaker) { b.Observe("probe", time.Now(), noAnswer) }, 2 * firstPause},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, _ := breakerOf(t)
				fail(b, openAfter+1, silentTime+time.Second, refused)
				pass(lastPause)
				require.True(t, b.Admit("probe").Probe)
				end.with(b)
				if end.wait > 0 {
					assert.Equal(t, end.wait, b.Admit("next").Wait)
					pass(end.wait)
				}
				assert.True(t, b.Admit("next").Probe)
			})
		})
	}
}

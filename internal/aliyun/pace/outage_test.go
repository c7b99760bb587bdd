package pace

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/consumer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

// An hour without Aliyun, under jobs that come steadily.
const (
	arrivals = 4 // jobs a second
	replicas = 2
	goesAt   = time.Minute
	backAt   = goesAt + outageLasts
	lastJob  = backAt + 2*time.Minute
	ttl      = 10 * time.Minute
)

// fate is how Aliyun fails, and how long that takes.
type fate struct {
	name  string
	out   domain.Outcome
	takes time.Duration
	// doubtful is how many requests may end as unknown, tried how many as
	// exhausted: they were being sent when it began, or were probes.
	doubtful, tried int
	// answers: Aliyun throttles, so it is there, and the breaker stays closed. Each
	// job makes its attempts, at the pacer's floor.
	answers bool
}

// TestAnHourWithoutAliyun: the jobs wait, their codes expire in time, no more
// calls are made than find out whether Aliyun is back, and then the pace grows
// from its floor. The pipeline is the real one but for the network and the broker.
func TestAnHourWithoutAliyun(t *testing.T) {
	t.Parallel()
	for _, f := range []fate{
		{"connection refused", domain.Outcome{Class: passcode.ClassTransient, Code: answer.CodeRefused}, time.Millisecond, 0, 10, false},
		{"no answer", domain.Outcome{Class: passcode.ClassInDoubt, Code: answer.CodeTimeout}, callTimeout, 150, 0, false},
		{"unavailable", domain.Outcome{Class: passcode.ClassTransient, Code: "ServiceUnavailable", ProviderRequestID: "P"}, 20 * time.Millisecond, 0, 40 * arrivals, false},
		{"throttled", domain.Outcome{Class: passcode.ClassThrottled, Code: "Throttling", ProviderRequestID: "P"}, 20 * time.Millisecond, 0, 1000, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOutage(t, f)
				defer o.stop()
				o.publishUntil(goesAt + outageLasts/2)
				assert.Equal(t, []bool{!f.answers, !f.answers}, o.open())
				o.publishUntil(lastJob)
				assert.Equal(t, []bool{false, false}, o.open())
				pass(5 * time.Second)
				assert.Zero(t, o.jobs.left(), "all is done soon after it is back")
				o.checkResults(t)
				o.checkPace(t)
				o.stop()
				told := strings.Count(o.log.String(), "level=ERROR")
				assert.Equal(t, !f.answers, told == replicas, "told %d times, and once by each worker that stopped", told)
			})
		})
	}
}

// outage is a system of a few workers that loses its Aliyun.
type outage struct {
	fate
	t        *testing.T
	began    time.Time
	jobs     *stream
	records  *ledger.Ledger
	breakers []*OutageBreaker
	log      bytes.Buffer // of all workers; complete when they have stopped
	stop     func()

	mu       sync.Mutex
	calls    []time.Duration // of SendSms, since began
	accepted map[string]int
}

func newOutage(t *testing.T, f fate) *outage {
	t.Helper()
	o := &outage{
		fate: f, t: t, began: time.Now(), jobs: newStream(), records: ledger.New(buckettest.New(nil).Bucket()), accepted: map[string]int{},
	}
	limits := buckettest.New(nil).Bucket()
	limiter, err := ratelimit.New(t.Context(), limits, ratelimit.Options{Rules: []domain.Rule{{Max: 1, Window: time.Minute}}})
	require.NoError(t, err)
	logger := slog.New(slog.NewTextHandler(&o.log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range replicas {
		accountBreaker, err := account.New(ctx, limits, neverPaused{}, account.Options{})
		require.NoError(t, err)
		breaker := New(0, callTimeout, time.Now, logger)
		o.breakers = append(o.breakers, breaker)
		c := consumer.New(consumer.Options{
			Source: source{o.jobs, make(chan struct{})}, Ledger: o.records, Limiter: limiter,
			Sender: outageSender{breaker, o}, Outage: breaker, Account: accountBreaker,
			WriteDeadLetter: nobody{}.Write, Announce: nobody{}.Announce, ParsePhone: nobody{}.Parse,
			Metrics: telemetry.NewMetrics(nil), Logger: slog.New(slog.DiscardHandler),
			Policy: consumer.Policy{ // of the default settings
				PasscodeTTL: ttl, MaxAttempts: 6, MaxInterruptions: 5,
				Backoff:   consumer.Backoff(500*time.Millisecond, 2, 0.5, 30*time.Second),
				Lookups:   []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second},
				CallBound: 2 * callTimeout, Resend: true,
			},
			Worker: fmt.Sprintf("w%d", i), ResultSubject: "passcode.result", Concurrency: 256,
			AckWait: 30 * time.Second, CallFence: callTimeout, ShutdownTimeout: 30 * time.Second, Now: time.Now,
		}, consumer.EffectsInOrder)
		running.Go(func() { accountBreaker.Run(ctx) })
		running.Go(func() { assert.NoError(t, c.Run(ctx, context.Background())) })
	}
	o.stop = func() {
		cancel()
		running.Wait()
	}
	return o
}

func (o *outage) publishUntil(end time.Duration) {
	for time.Since(o.began) < end {
		o.jobs.publish()
		pass(time.Second / arrivals)
	}
}

func (o *outage) open() (open []bool) {
	for _, s := range o.breakers {
		open = append(open, s.State().Open)
		assert.Equal(o.t, open[len(open)-1], s.Rate() == 0)
	}
	return open
}

func (o *outage) down() bool {
	now := time.Since(o.began)
	return now >= goesAt && now < backAt
}

// called is one SendSms.
func (o *outage) called(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, time.Since(o.began))
	if o.down() {
		return false
	}
	o.accepted[id]++
	return true
}

// checkResults: every request came to an end, those that could be sent were, and
// the others expired in time.
func (o *outage) checkResults(t *testing.T) {
	t.Helper()
	count := map[string]int{}
	late := time.Duration(0)
	for seq := range o.jobs.seq {
		id := fmt.Sprintf("r%d", seq+1)
		r, _, err := o.records.Get(t.Context(), id)
		require.NoError(t, err)
		require.True(t, r.Final, "%s: %s", id, r.Status)
		require.Equal(t, r.Status == passcode.StatusSent, o.accepted[id] == 1, "%s: %s, accepted %d times", id, r.Status, o.accepted[id])
		count[string(r.Status)]++
		if r.Status == passcode.StatusExpired {
			late = max(late, r.UpdatedAt.Sub(r.ExpiresAt))
		}
		// A minute is what the backlog takes.
		if queued := r.QueuedAt.Sub(o.began); (queued < goesAt-callTimeout || queued > backAt-ttl+time.Minute) && r.Attempts <= 1 {
			require.Equal(t, passcode.StatusSent, r.Status, id)
		}
	}
	t.Logf("%s: %v; expired at the latest %s after their time", o.name, count, late.Round(time.Millisecond))
	assert.LessOrEqual(t, late, callTimeout+3*time.Second, "a probe asks for so long")
	assert.LessOrEqual(t, count["dead_lettered"], o.tried)
	assert.LessOrEqual(t, count["unknown"], o.doubtful)
	assert.Greater(t, count["expired"], int((outageLasts-ttl).Seconds())*arrivals-o.doubtful-o.tried-100, "what could not wait until it was back")
}

// checkPace: single calls while Aliyun is away, and a ramp when it is back.
func (o *outage) checkPace(t *testing.T) {
	t.Helper()
	perSecond := make([]int, int((lastJob+time.Minute)/time.Second))
	var first time.Duration // call that was answered again
	for _, at := range o.calls {
		perSecond[int(at/time.Second)]++
		if first == 0 && at >= backAt {
			first = at
		}
	}
	sum := func(from, to time.Duration) (n int) {
		for _, in := range perSecond[int(from/time.Second):int(to/time.Second)] {
			n += in
		}
		return n
	}
	var table strings.Builder
	for from := goesAt - 20*time.Second; from < lastJob; {
		to := from + 10*time.Second
		if from >= goesAt+time.Minute && from < backAt-10*time.Second {
			to = backAt - 10*time.Second
		}
		fmt.Fprintf(&table, "%8s to %8s: %7.2f calls a second\n", from, to, float64(sum(from, to))/(to-from).Seconds())
		from = to
	}
	t.Logf("Aliyun goes at %s and is back at %s\n%s", goesAt, backAt, table.String())

	assert.LessOrEqual(t, first-backAt, lastPause+2*time.Second, "it is noticed")
	from, to := goesAt+time.Minute, backAt
	calls := replicas * (int((to-from)/lastPause) + 5)
	if o.answers {
		calls = replicas * (Min + 1) * int((to-from)/time.Second)
	}
	assert.LessOrEqual(t, sum(from, to), calls, "calls while it is away")
	for second := first.Truncate(time.Second); second < lastJob; second += time.Second {
		s := (second - first).Seconds() + 1
		if o.answers {
			s++ // the pace grows since the last refusal, and not since the first answer
		}
		ramp := replicas * ((Min+paceStep*s)*math.Pow(paceGrowth, s) + 1)
		assert.LessOrEqual(t, float64(sum(second, second+time.Second)), ramp, "in the second at %s", second)
	}
	assert.LessOrEqual(t, sum(first.Truncate(time.Second), first+3*time.Second), 3*4*arrivals, "at first, not four times as many as usual")
	assert.InDelta(t, 10*arrivals, sum(lastJob-11*time.Second, lastJob-time.Second), 1, "all as usual in the end")
}

// outageSender stands for Aliyun and the network; when it may be called is decided as
// in the real sender.
type outageSender struct {
	*OutageBreaker
	o *outage
}

func (s outageSender) Send(_ context.Context, msg domain.Message, _ time.Time) domain.Outcome {
	began := time.Now()
	takes, out := s.o.takes, s.o.out
	if s.o.called(msg.RequestID) {
		takes = 50 * time.Millisecond
		out = domain.Outcome{Class: passcode.ClassOK, Code: "OK", BizID: "B^0", ProviderRequestID: "P"}
	}
	pass(takes)
	s.Observe(msg.RequestID, began, out)
	return out
}

func (s outageSender) Lookup(_ context.Context, _ passcode.Phone, id string, _ time.Time) (domain.Finding, error) {
	if s.o.down() {
		pass(s.o.takes)
		failure := &answer.Failure{Class: s.o.out.Class, Code: s.o.out.Code, Answered: s.o.out.ProviderRequestID != ""}
		if failure.Class == passcode.ClassInDoubt {
			failure.Class = passcode.ClassTransient
		}
		return domain.Finding{}, failure
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.o.accepted[id] > 0 {
		return domain.Finding{State: domain.Accepted}, nil
	}
	return domain.Finding{}, nil
}

// neverPaused is a consumer for an account that nothing happens to.
type neverPaused struct{}

func (neverPaused) Paused(context.Context) (time.Duration, time.Time, error) {
	return 0, time.Now(), nil
}
func (neverPaused) Pause(context.Context, time.Time) error { return nil }

// nobody takes dead letters and announcements, of which the records tell too, and
// finds every number in order.
type nobody struct{}

func (nobody) Write(context.Context, domain.DeadLetter) error { return nil }
func (nobody) Announce(string, passcode.Result) error         { return nil }
func (nobody) Parse(p passcode.Phone) (passcode.Phone, error) { return p, nil }

package consumer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue is a Source over a channel.
type queue struct {
	jobs    chan domain.Delivery
	drained chan struct{}
}

func newQueue(jobs ...*queued) *queue {
	q := &queue{jobs: make(chan domain.Delivery, len(jobs)+1), drained: make(chan struct{})}
	for _, j := range jobs {
		q.jobs <- j
	}
	return q
}

func (q *queue) Next(ctx context.Context) (domain.Delivery, error) {
	select {
	case d := <-q.jobs: // what is buffered comes out even when drained
		return d, nil
	default:
	}
	select {
	case d := <-q.jobs:
		return d, nil
	case <-q.drained:
		return nil, domain.ErrDrained
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (q *queue) Drain() { close(q.drained) }

// queued is a delivery that notes what was done with it.
type queued struct {
	seq      uint64
	extended atomic.Int32
	mu       sync.Mutex
	end      string
	at       time.Time
}

func (d *queued) Body() []byte              { return []byte(job(fmt.Sprintf("r%d", d.seq))) }
func (d *queued) Header(string) string      { return "" }
func (d *queued) Ack() error                { return d.ended("ack") }
func (d *queued) Nak(t time.Duration) error { return d.ended("nak " + t.String()) }
func (d *queued) Term(string) error         { return d.ended("term") }
func (d *queued) Extend() error             { d.extended.Add(1); return nil }
func (d *queued) Origin() domain.Origin {
	return domain.Origin{Stream: "PASSCODE", Seq: d.seq, QueuedAt: time.Now()}
}

func (d *queued) ended(how string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end, d.at = d.end+how, time.Now()
	return nil
}

// outcome is what was done with the delivery, and when.
func (d *queued) outcome() (end string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.end, d.at
}

// pass lets time pass, on the clock of the synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func jobsQueued(n int) []*queued {
	all := make([]*queued, n)
	for i := range all {
		all[i] = &queued{seq: uint64(i + 1)}
	}
	return all
}

// slowSender takes its time for each call.
type slowSender struct {
	takes      time.Duration
	pace       chan struct{} // nil: no pacing; else a permit is taken from it
	calls      atomic.Int32
	atOnce     atomic.Int32
	mostAtOnce atomic.Int32
}

func (s *slowSender) Pace(ctx context.Context) (func(), error) {
	if s.pace == nil {
		return func() {}, nil
	}
	select {
	case <-s.pace:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *slowSender) Send(ctx context.Context, _ domain.Message, _ time.Time) domain.Outcome {
	s.calls.Add(1)
	n := s.atOnce.Add(1)
	defer s.atOnce.Add(-1)
	for most := s.mostAtOnce.Load(); n > most && !s.mostAtOnce.CompareAndSwap(most, n); most = s.mostAtOnce.Load() {
	}
	select {
	case <-time.After(s.takes):
		return domain.Outcome{Class: passcode.ClassOK, Code: "OK", BizID: "B^0", ProviderRequestID: "P"}
	case <-ctx.Done():
		return domain.Outcome{Class: passcode.ClassInDoubt, Code: "canceled"}
	}
}

func (s *slowSender) Lookup(context.Context, passcode.Phone, string, time.Time) (domain.Finding, error) {
	return domain.Finding{}, nil
}

// start runs a consumer of eight handlers over jobs, on a world for all the rest. stop waits for its end.
func start(t *testing.T, force context.Context, sender Sender, jobs ...*queued) (began time.Time, stop func() error) {
	t.Helper()
	o := newWorld(t, answerOK).options()
	o.Source, o.Sender, o.Concurrency = newQueue(jobs...), sender, 8
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(o, EffectsInOrder).Run(ctx, force) }()
	return time.Now(), func() error {
		cancel()
		return <-done
	}
}

func TestConcurrencyIsBoundedAndUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		jobs := jobsQueued(40)
		sender := &slowSender{takes: time.Second}
		began, stop := start(t, context.Background(), sender, jobs...)
		pass(5*time.Second + time.Millisecond)
		for _, j := range jobs {
			end, at := j.outcome()
			assert.Equal(t, "ack", end)
			assert.LessOrEqual(t, at.Sub(began), 5*time.Second)
		}
		assert.EqualValues(t, 8, sender.mostAtOnce.Load())
		require.NoError(t, stop())
	})
}

// TestShutdown: what is in flight is finished, the rest goes back at once.
func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		jobs := jobsQueued(100)
		sender := &slowSender{takes: 3 * time.Second}
		began, stop := start(t, context.Background(), sender, jobs...)
		pass(time.Second)
		require.NoError(t, stop())
		assert.Equal(t, 3*time.Second, time.Since(began), "no longer than the calls in flight take")
		for i, j := range jobs {
			end, at := j.outcome()
			if i < 8 {
				assert.Equal(t, "ack", end)
				continue
			}
			assert.Equal(t, "nak 0s", end)
			assert.Equal(t, time.Second, at.Sub(began), "requeued at once")
		}
		assert.EqualValues(t, 8, sender.calls.Load())
	})
}

// TestShutdownWhileWaitingForAPermit: a job that was not begun goes back at once.
func TestShutdownWhileWaitingForAPermit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		jobs := jobsQueued(3)
		sender := &slowSender{pace: make(chan struct{})}
		began, stop := start(t, context.Background(), sender, jobs...)
		pass(time.Second)
		require.NoError(t, stop())
		for _, j := range jobs {
			end, at := j.outcome()
			assert.Equal(t, "nak 0s", end)
			assert.Equal(t, time.Second, at.Sub(began))
		}
	})
}

// TestShutdownIsBounded by the timeout, and by a second signal.
func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	for name, forced := range map[string]bool{"timeout": false, "second signal": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sender := &slowSender{takes: time.Hour}
				force, now := context.WithCancel(t.Context())
				defer now()
				began, stop := start(t, force, sender, jobsQueued(3)...)
				want := 21 * time.Second
				if forced {
					want = 2 * time.Second
					time.AfterFunc(want, now)
				}
				pass(time.Second)
				require.ErrorIs(t, stop(), ErrForced)
				assert.Equal(t, want, time.Since(began))
			})
		})
	}
}

// TestLeaseIsRenewed while a call is in progress, and no longer.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		jobs := jobsQueued(1)
		sender := &slowSender{takes: 65 * time.Second}
		_, stop := start(t, context.Background(), sender, jobs...)
		pass(64 * time.Second)
		renewed := jobs[0].extended.Load()
		assert.GreaterOrEqual(t, renewed, int32(5), "at least once in each third of the lease, but for the last")
		pass(5 * time.Minute)
		assert.LessOrEqual(t, jobs[0].extended.Load(), renewed+1)
		require.NoError(t, stop())
	})
}

// TestSameJobTwice: a job that is being handled here already is not handled a
// second time when the broker delivers it again.
func TestSameJobTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, again := &queued{seq: 1}, &queued{seq: 1}
		sender := &slowSender{takes: 3 * time.Second}
		_, stop := start(t, context.Background(), sender, first, again)
		pass(4 * time.Second)
		one, _ := first.outcome()
		other, _ := again.outcome()
		assert.ElementsMatch(t, []string{"ack", "nak 1s"}, []string{one, other}, "whichever came first")
		assert.EqualValues(t, 1, sender.calls.Load())
		require.NoError(t, stop())
	})
}

// TestKnowingBeatsDoubting: a worker that lost its lease during a call, and whose attempt another worker took
// for doubtful, still records what it knows. One whose request has moved on keeps its hands off.
func TestKnowingBeatsDoubting(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name      string
		meanwhile func(rec passcode.Result) passcode.Result
		want      passcode.Status
		acked     bool
	}{
		{"doubted meanwhile", func(r passcode.Result) passcode.Result { return r.In(passcode.StatusInDoubt) }, passcode.StatusSent, true},
		{"attempted again meanwhile", func(r passcode.Result) passcode.Result {
			r.Attempts, r.AttemptedAt = 2, r.AttemptedAt.Add(time.Minute)
			return r.In(passcode.StatusSending)
		}, passcode.StatusSending, false},
		{"ended meanwhile", func(r passcode.Result) passcode.Result { return r.In(passcode.StatusUnknown) }, passcode.StatusUnknown, false},
		{"replayed meanwhile", func(r passcode.Result) passcode.Result {
			r.Replays, r.StreamSeq = 1, 50
			return r.In(passcode.StatusSending)
		}, passcode.StatusSending, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newJob(t, answerOK)
			w.before = func(effect string) {
				if effect != "record sent" {
					return
				}
				w.before = nil
				found := w.records["r1"]
				w.records["r1"] = stored{row.meanwhile(found.rec), found.revision + 1}
			}
			w.deliver(1)
			assert.Equal(t, row.want, w.record("r1").Status)
			assert.Equal(t, row.acked, w.jobs[1].done)
		})
	}
}

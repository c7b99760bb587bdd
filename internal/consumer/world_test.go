package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// world is everything around a consumer, in memory, with a clock of its own: the stream, the records, the
// limits, the dead letters, and Aliyun. It can let the worker die before or after any single effect on it.
type world struct {
	t   *testing.T
	now time.Time
	log bytes.Buffer

	mu      sync.Mutex
	jobs    map[uint64]*message
	seq     uint64
	records map[string]stored
	places  map[string]bool
	// phoneKnown is true once the limiter knows something of the phone.
	phoneKnown bool
	closed     time.Duration
	dead       []domain.DeadLetter
	// announced are the results published by the worker itself, by subject.
	announced map[string][]passcode.Result
	// recorded are the states the server announces, in order.
	recorded []passcode.Result

	// answers are what Aliyun does with each call, the last one repeated.
	answers []answer
	calls   int
	// accepted are the request ids of the messages that Aliyun took, acceptedAt is when it took the last.
	accepted     []string
	acceptedAt   time.Time
	lookupErr    int       // so many look-ups fail
	since        time.Time // from when on no record is missing
	denied       *domain.Reservation
	tripped      int
	passed       int
	inconclusive int
	unused       int // permits
	outage       OutageBreaker
	accounts     AccountBreaker
	unusable     error // what every claim ends with
	noResend     bool  // doubtful requests become unknown
	shut         bool  // the account breaker lets nobody through

	effects   []string
	dieAt     int      // the effect at which the worker dies; -1 never
	dieOn     []string // the names of effects before which it dies every time
	dieBefore bool     // before the effect, or after it
	died      bool
	fail      map[string]int // so many effects of that name fail, as in trouble with the broker
	// before is called ahead of each effect, to let others act meanwhile.
	before func(effect string)
	// loseAnswer names an effect that has its effect and fails all the same, once.
	loseAnswer string
	ctx        context.Context
	cancel     context.CancelFunc
}

type stored struct {
	rec      passcode.Result
	revision uint64
}

// answer is one call's outcome, and whether Aliyun took the message.
type answer struct {
	out    domain.Outcome
	accept bool
	lost   bool // the row never shows in a look-up
}

type message struct {
	body       []byte
	header     map[string]string
	queued     time.Time
	due        time.Time
	done       bool
	termed     string
	deliveries uint64
}

var errTrouble = errors.New("no answer from the broker")

var errDied = errors.New("the worker died")

func newWorld(t *testing.T, answers ...answer) *world {
	t.Helper()
	w := &world{
		t: t, now: noon, dieAt: -1,
		jobs: map[uint64]*message{}, records: map[string]stored{}, places: map[string]bool{},
		announced: map[string][]passcode.Result{}, answers: answers,
		outage: &breaker{admission: domain.Admission{Allowed: true}},
	}
	w.accounts = worldAccount{w}
	return w
}

// newJob returns a world whose stream has the one job of request r1.
func newJob(t *testing.T, answers ...answer) *world {
	t.Helper()
	w := newWorld(t, answers...)
	w.publish(job("r1"), nil)
	return w
}

// effect lets the worker die at its appointed effect, and reports it as an error from then on.
func (w *world) effect(name string, do func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.died {
		return errDied
	}
	if w.fail[name] > 0 {
		w.fail[name]--
		return errTrouble
	}
	if w.before != nil {
		w.before(name)
	}
	n := len(w.effects)
	w.effects = append(w.effects, name)
	if slices.Contains(w.dieOn, name) || n == w.dieAt && w.dieBefore {
		w.die()
		return errDied
	}
	do()
	if n == w.dieAt {
		w.die()
		return errDied
	}
	if name == w.loseAnswer {
		w.loseAnswer = ""
		return errTrouble
	}
	return nil
}

func (w *world) locked(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// retried makes an effect as an adapter does, under the policy that its caller named.
func (w *world) retried(ctx context.Context, name string, do func()) error {
	return retry.Do(ctx, func(context.Context) error { return w.effect(name, do) })
}

func (w *world) die() {
	w.died = true
	w.cancel()
}

func (w *world) publish(body string, header map[string]string) uint64 {
	w.seq++
	w.jobs[w.seq] = &message{body: []byte(body), header: header, queued: w.now, due: w.now}
	return w.seq
}

func job(id string) string {
	return fmt.Sprintf(`{"request_id":%q,"phone":"+8613812345678","code":"004213","reply_to":"_INBOX.x"}`, id)
}

// run delivers what is due, again and again, until nothing is left in the
// stream. Each delivery is made by a consumer of its own, as after a restart.
func (w *world) run() {
	w.t.Helper()
	for range 200 {
		seq := w.next()
		if seq == 0 {
			return
		}
		w.deliver(seq)
	}
	require.Fail(w.t, "the jobs are never done", "%v", w.effects)
}

// next returns the job that is due first, with the clock set to that time.
func (w *world) next() uint64 {
	var first uint64
	for seq, m := range w.jobs {
		if m.done {
			continue
		}
		if first == 0 || m.due.Before(w.jobs[first].due) || m.due.Equal(w.jobs[first].due) && seq < first {
			first = seq
		}
	}
	if first != 0 && w.jobs[first].due.After(w.now) {
		w.now = w.jobs[first].due
	}
	return first
}

func (w *world) deliver(seq uint64) {
	w.jobs[seq].due = w.now.Add(30 * time.Second) // the lease
	w.jobs[seq].deliveries++
	w.as(func(c *Consumer, d *worldDelivery) {
		c.Handle(w.ctx, w.ctx, d, func() { w.unused++ })
	}, seq)
}

// as has a worker of its own, whose life ends with w.ctx, do something about a job.
func (w *world) as(do func(c *Consumer, d *worldDelivery), seq uint64) {
	w.ctx, w.cancel = context.WithCancel(context.Background())
	defer w.cancel()
	w.died = false
	do(w.consumer(), &worldDelivery{w: w, m: w.jobs[seq], seq: seq})
	w.now = w.now.Add(time.Millisecond)
}

func (w *world) consumer() *Consumer {
	policy := testPolicy()
	policy.Resend = !w.noResend
	o := w.options()
	o.Policy, o.Logger = policy, slog.New(slog.NewTextHandler(&w.log, nil))
	o.Now = func() time.Time { return w.now }
	return New(o, EffectsInOrder)
}

func (w *world) options() Options {
	return Options{
		Ledger: worldLedger{w}, Limiter: worldLimiter{w}, Sender: worldSender{w}, Account: w.accounts, Outage: w.outage,
		Waits: w.waits, ParsePhone: parsePhone, Announce: w.announce, WriteDeadLetter: w.writeDeadLetter,
		Metrics: telemetry.NewMetrics(nil),
		Logger:  slog.New(slog.DiscardHandler), Policy: testPolicy(), Worker: "w1",
		ResultSubject: "passcode.result",
		MayReplyTo: func(s string) bool {
			return strings.HasPrefix(s, "_INBOX.") || strings.HasPrefix(s, "passcode.result.")
		},
		Concurrency: 1, AckWait: 30 * time.Second, CallFence: 5 * time.Second,
		ShutdownTimeout: 20 * time.Second, Now: time.Now,
	}
}

func (w *world) record(id string) passcode.Result { return w.records[id].rec }

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
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// world is everything around a consumer, in memory, with a clock of its own: the
// stream, the records, the limits, the dead letters, and Aliyun. It can let the
// worker die before or after any single effect on it.
type world struct {
	t   *testing.T
	now time.Time
	log bytes.Buffer

	mu      sync.Mutex
	jobs    map[uint64]*message
	seq     uint64
	records map[string]stored
	places  map[string]bool
	closed  time.Duration
	dead    []domain.DeadLetter
	// announced are the results published by the worker itself, by subject.
	announced map[string][]passcode.Result
	// recorded are the states the server announces, in order.
	recorded []passcode.Result

	// answers are what Aliyun does with each call, the last one repeated.
	answers []answer
	calls   int
	// accepted are the request ids of the messages that Aliyun took, acceptedAt is
	// when it took the last.
	accepted   []string
	acceptedAt time.Time
	lookupErr  int       // so many look-ups fail
	since      time.Time // from when on no record is missing
	denied     *domain.Reservation
	tripped    int
	passed     int
	givenBack  int
	turnsBack  int
	unusable   error // what every claim ends with
	noResend   bool  // doubtful requests become unknown
	shut       bool  // the gate lets nobody through

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
	// lost: the row never shows in a look-up.
	lost bool
}

type message struct {
	body   []byte
	header map[string]string
	queued time.Time
	due    time.Time
	done   bool
	termed string
	// deliveries counts them, as the server does.
	deliveries uint64
}

var errTrouble = errors.New("no answer from the broker")

var errDied = errors.New("the worker died")

func newWorld(t *testing.T, answers ...answer) *world {
	t.Helper()
	return &world{
		t: t, now: noon, dieAt: -1,
		jobs: map[uint64]*message{}, records: map[string]stored{}, places: map[string]bool{},
		announced: map[string][]passcode.Result{}, answers: answers,
	}
}

// effect lets the worker die at its appointed effect, and reports it as an error
// from then on.
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
		c.handle(w.ctx, w.ctx, d, func() { w.turnsBack++ })
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
	return New(Options{
		Jobs: worldJobs{w}, Ledger: worldLedger{w}, Limiter: worldLimiter{w}, Sender: worldSender{w},
		DeadLetters: worldDead{w}, Gate: worldGate{w}, Numbers: worldNumbers{},
		Announcer: worldAnnouncer{w}, Metrics: nopMetrics{},
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
		Policy: policy, Worker: "w1", ResultSubject: "passcode.result",
		ReplySubjects: []string{"passcode.result.>", "_INBOX.>"},
		Concurrency:   1, AckWait: 30 * time.Second, CallFence: 5 * time.Second,
		ShutdownTimeout: time.Second,
		Now:             func() time.Time { return w.now },
	})
}

func (w *world) record(id string) passcode.Result { return w.records[id].rec }

type worldDelivery struct {
	w   *world
	m   *message
	seq uint64
}

func (d *worldDelivery) Body() []byte              { return d.m.body }
func (d *worldDelivery) Header(name string) string { return d.m.header[name] }
func (d *worldDelivery) Extend() error             { return nil }
func (d *worldDelivery) Origin() domain.Origin {
	return domain.Origin{Stream: "PASSCODE", Seq: d.seq, Subject: "passcode.send", QueuedAt: d.m.queued, Deliveries: d.m.deliveries}
}
func (d *worldDelivery) Ack() error { return d.w.effect("ack", func() { d.m.done = true }) }
func (d *worldDelivery) Nak(delay time.Duration) error {
	return d.w.effect("nak", func() { d.m.due = d.w.now.Add(delay) })
}

func (d *worldDelivery) Term(reason string) error {
	return d.w.effect("term", func() { d.m.done, d.m.termed = true, reason })
}

type worldJobs struct{ w *world }

func (j worldJobs) Waits(_ context.Context, seq uint64, id string) (waits bool, err error) {
	err = j.w.effect("find owner", func() {
		m, ok := j.w.jobs[seq]
		waits = ok && !m.done && strings.Contains(string(m.body), fmt.Sprintf("%q", id))
	})
	return waits, err
}

type worldLedger struct{ w *world }

func (l worldLedger) Claim(_ context.Context, first passcode.Result) (c domain.Claim, err error) {
	if l.w.unusable != nil {
		return c, l.w.unusable
	}
	err = l.w.effect("claim", func() {
		found, ok := l.w.records[first.RequestID]
		if !ok {
			c = domain.Claim{State: domain.ClaimWon, Record: first, Revision: l.put(first, 0)}
			return
		}
		c = domain.Claim{State: domain.Judge(first, found.rec), Record: found.rec, Revision: found.revision}
		if c.State == domain.ClaimReopened {
			c.Record = ledger.Reopen(first, found.rec)
			c.Revision = l.put(c.Record, found.revision)
		}
	})
	return c, err
}

func (l worldLedger) put(rec passcode.Result, revision uint64) uint64 {
	l.w.records[rec.RequestID] = stored{rec, revision + 1}
	l.w.recorded = append(l.w.recorded, rec)
	return revision + 1
}

func (l worldLedger) Update(_ context.Context, rec passcode.Result, revision uint64) (next uint64, err error) {
	conflict := false
	err = l.w.effect("record "+string(rec.Status), func() {
		if l.w.records[rec.RequestID].revision != revision {
			conflict = true
			return
		}
		next = l.put(rec, revision)
	})
	if conflict {
		return 0, domain.ErrConflict
	}
	return next, err
}

func (l worldLedger) Since(context.Context) (time.Time, error) { return l.w.since, nil }

func (l worldLedger) Get(_ context.Context, id string) (passcode.Result, uint64, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.unusable != nil {
		return passcode.Result{}, 0, l.w.unusable
	}
	found, ok := l.w.records[id]
	if !ok {
		return passcode.Result{}, 0, domain.ErrNotFound
	}
	return found.rec, found.revision, nil
}

type worldLimiter struct{ w *world }

func (l worldLimiter) Reserve(_ context.Context, _ passcode.Phone, id string, _ uint64) (res domain.Reservation, err error) {
	if l.w.denied != nil {
		return *l.w.denied, nil
	}
	err = l.w.effect("reserve", func() { l.w.places[id] = true })
	return domain.Reservation{Allowed: true}, err
}

func (l worldLimiter) Release(_ context.Context, _ passcode.Phone, id string, _ uint64) error {
	return l.w.effect("release", func() { delete(l.w.places, id) })
}

func (l worldLimiter) CloseFor(_ context.Context, _ passcode.Phone, d time.Duration) error {
	return l.w.effect("close phone", func() { l.w.closed = d })
}

type worldSender struct{ w *world }

func (s worldSender) Pace(context.Context) (func(), error) { return func() {}, nil }

func (s worldSender) Send(_ context.Context, msg domain.Message, notAfter time.Time) domain.Outcome {
	require.Equal(s.w.t, "+8613812345678", msg.Phone.Reveal())
	require.Equal(s.w.t, "004213", msg.Code.Reveal())
	require.True(s.w.t, notAfter.After(s.w.now))
	var out domain.Outcome
	err := s.w.effect("send", func() {
		a := s.w.answers[min(s.w.calls, len(s.w.answers)-1)]
		s.w.calls++
		out = a.out
		if a.accept {
			id := msg.RequestID
			if a.lost {
				id = "lost"
			}
			s.w.accepted, s.w.acceptedAt = append(s.w.accepted, id), s.w.now
		}
	})
	if err != nil {
		return domain.Outcome{Class: passcode.ClassInDoubt, Code: "canceled", Message: "canceled"}
	}
	return out
}

func (s worldSender) Lookup(_ context.Context, _ passcode.Phone, id string, attemptedAt time.Time) (f domain.Finding, err error) {
	err = s.w.effect("look up", func() {
		// What was taken earlier may stand under a day that isn't asked for.
		if slices.Contains(s.w.accepted, id) && !attemptedAt.After(s.w.acceptedAt) {
			f.State = domain.Accepted
		}
	})
	if s.w.lookupErr > 0 {
		s.w.lookupErr--
		return domain.Finding{}, errors.New("look-up failed")
	}
	return f, err
}

type worldDead struct{ w *world }

func (d worldDead) Write(_ context.Context, letter domain.DeadLetter) error {
	return d.w.effect("dead letter", func() {
		same := func(l domain.DeadLetter) bool {
			return l.Origin.Seq == letter.Origin.Seq && l.Replays == letter.Replays && l.Reason == letter.Reason
		}
		if !slices.ContainsFunc(d.w.dead, same) { // the stream drops repeats
			d.w.dead = append(d.w.dead, letter)
		}
	})
}

type worldGate struct{ w *world }

func (g worldGate) Admit(context.Context) (domain.Admission, error) {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	if g.w.shut {
		return domain.Admission{Wait: time.Hour}, nil
	}
	return domain.Admission{Allowed: true, Probe: g.w.tripped > g.w.passed}, nil
}

func (g worldGate) Trip(context.Context, string, string) (until time.Time, err error) {
	err = g.w.effect("trip", func() { g.w.tripped++ })
	return g.w.now.Add(30 * time.Second), err
}

func (g worldGate) Passed(context.Context) error {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	g.w.passed = g.w.tripped
	return nil
}

func (g worldGate) GiveBack(context.Context) error {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	g.w.givenBack++
	return nil
}

// worldNumbers takes the one number of these tests and refuses every other.
type worldNumbers struct{}

func (worldNumbers) Parse(p passcode.Phone) (passcode.Phone, error) {
	if strings.TrimPrefix(p.Reveal(), "+86") == "panic" {
		panic("a bug")
	}
	if p.Reveal() != "+8613812345678" {
		return passcode.Phone{}, passcode.Invalid("phone", "must be one valid number")
	}
	return p, nil
}

type worldAnnouncer struct{ w *world }

func (a worldAnnouncer) Announce(subject string, r passcode.Result) error {
	return a.w.effect("announce", func() { a.w.announced[subject] = append(a.w.announced[subject], r) })
}

type nopMetrics struct{}

func (nopMetrics) Status(passcode.Status)                {}
func (nopMetrics) Attempt(passcode.Class, time.Duration) {}
func (nopMetrics) Sent(time.Duration)                    {}
func (nopMetrics) InFlight(int)                          {}
func (nopMetrics) Lookup(string)                         {}
func (nopMetrics) Delivery(string)                       {}
func (nopMetrics) DeadLetter(passcode.Reason)            {}
func (nopMetrics) Denied(string)                         {}
func (nopMetrics) Abandoned(string)                      {}
func (nopMetrics) Trouble(string)                        {}

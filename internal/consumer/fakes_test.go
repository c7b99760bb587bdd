package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// The parts of the world that a consumer is given.

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
	assert.NotEmpty(d.w.t, reason, "a worker says why")
	return d.w.effect("term", func() { d.m.done, d.m.termed = true, reason })
}

func (w *world) waits(_ context.Context, seq uint64, id string) (waits bool, err error) {
	err = w.effect("find owner", func() {
		m, ok := w.jobs[seq]
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

// Update knows its own write again where an answer was lost, as the ledger does.
func (l worldLedger) Update(ctx context.Context, rec passcode.Result, revision uint64) (next uint64, err error) {
	err = retry.Do(ctx, func(context.Context) error {
		conflict := false
		err := l.w.effect("record "+string(rec.Status), func() {
			switch found := l.w.records[rec.RequestID].revision; {
			case found == revision:
				next = l.put(rec, revision)
			case next == 0 || found != next:
				conflict = true
			}
		})
		if conflict {
			return domain.ErrConflict
		}
		return err
	})
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

func (l worldLimiter) ReserveAhead(_ context.Context, _ passcode.Phone, id string) func() (made, known bool) {
	made := false
	err := l.w.effect("reserve ahead", func() {
		if made = l.w.denied == nil && !l.w.phoneKnown; made {
			l.w.places[id], l.w.phoneKnown = true, true
		}
	})
	return func() (bool, bool) { return err == nil && made, err == nil && !made }
}

func (l worldLimiter) Reserve(_ context.Context, _ passcode.Phone, id string, _ uint64, _ bool) (res domain.Reservation, err error) {
	if l.w.denied != nil {
		return *l.w.denied, nil
	}
	err = l.w.effect("reserve", func() { l.w.places[id], l.w.phoneKnown = true, true })
	return domain.Reservation{Allowed: true}, err
}

func (l worldLimiter) Release(ctx context.Context, _ passcode.Phone, id string, _ uint64) error {
	return l.w.retried(ctx, "release", func() { delete(l.w.places, id) })
}

func (l worldLimiter) CloseFor(ctx context.Context, _ passcode.Phone, d time.Duration) error {
	return l.w.retried(ctx, "close phone", func() { l.w.closed = d })
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

type worldAccount struct{ w *world }

func (a worldAccount) Admit(context.Context) (domain.Admission, error) {
	may := domain.Admission{Wait: time.Hour}
	a.w.locked(func() {
		if !a.w.shut {
			may = domain.Admission{Allowed: true, Probe: a.w.tripped > a.w.passed}
		}
	})
	return may, nil
}

func (a worldAccount) Trip(context.Context, string, string) (until time.Time, err error) {
	err = a.w.effect("trip", func() { a.w.tripped++ })
	return a.w.now.Add(30 * time.Second), err
}

func (a worldAccount) Passed(context.Context) error {
	a.w.locked(func() { a.w.passed = a.w.tripped })
	return nil
}

func (a worldAccount) Inconclusive(context.Context) error {
	a.w.locked(func() { a.w.inconclusive++ })
	return nil
}

func (w *world) announce(subject string, r passcode.Result) error {
	return w.effect("announce", func() { w.announced[subject] = append(w.announced[subject], r) })
}

func (w *world) writeDeadLetter(ctx context.Context, letter domain.DeadLetter) error {
	return w.retried(ctx, "dead letter", func() {
		same := func(l domain.DeadLetter) bool {
			return l.Origin.Seq == letter.Origin.Seq && l.Replays == letter.Replays && l.Reason == letter.Reason
		}
		if !slices.ContainsFunc(w.dead, same) { // the stream drops repeats
			w.dead = append(w.dead, letter)
		}
	})
}

// parsePhone takes the one number of these tests and refuses every other.
func parsePhone(p passcode.Phone) (passcode.Phone, error) {
	if strings.TrimPrefix(p.Reveal(), "+86") == "panic" {
		panic("a bug")
	}
	if p.Reveal() != "+8613812345678" {
		return passcode.Phone{}, passcode.Invalid("phone", "must be one valid number")
	}
	return p, nil
}

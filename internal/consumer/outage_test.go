package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// breaker is one that holds calls back, or lets a probe pass.
type breaker struct {
	admission domain.Admission
	notCalled []string
	// silent is how many look-ups of probes told that Aliyun is silent, and wait how
	// long that closes the breaker.
	silent int
	wait   time.Duration
}

func (b *breaker) Admit(string) domain.Admission { return b.admission }
func (b *breaker) Asked(_ string, err error) domain.Admission {
	if err != nil {
		b.silent++
		return domain.Admission{Wait: b.wait}
	}
	return b.admission
}
func (b *breaker) NotCalled(id string) { b.notCalled = append(b.notCalled, id) }

// handled is what became of one delivery, with a breaker.
func (w *world) handled(seq uint64, b *breaker) (effects []string) {
	before := len(w.effects)
	w.outage = b
	w.as(func(c *Consumer, d *worldDelivery) {
		c.Handle(w.ctx, w.ctx, d, func() { w.unused++ })
	}, seq)
	return w.effects[before:]
}

// TestHeldJobs: while the breaker is open each job goes as far as it comes without
// a call to send it, and what would need one waits, at no cost to it.
func TestHeldJobs(t *testing.T) {
	t.Parallel()
	const wait = 3 * time.Second
	waits, again := []string{"nak"}, []string{"announce", "announce", "ack"}
	held := [2]time.Duration{maxHold, maxHold + time.Second}
	rows := []struct {
		name    string
		status  passcode.Status // of the record; empty: there is none
		at      time.Duration   // of its next attempt, or its last one
		header  map[string]string
		other   bool // the record is of another job
		ttl     time.Duration
		effects []string
		waits   [2]time.Duration // at least and at most
		unused  int              // permits
	}{
		{name: "new", effects: waits, waits: held},
		{name: "new, and expires soon", ttl: time.Second, effects: waits, waits: [2]time.Duration{time.Second, time.Second}},
		{name: "retrying", status: passcode.StatusRetrying, at: time.Second, effects: waits, waits: held},
		{name: "retrying much later", status: passcode.StatusRetrying, at: time.Minute, effects: waits, waits: [2]time.Duration{time.Minute, time.Minute}},
		{name: "in doubt, and found by its look-up", status: passcode.StatusInDoubt, at: -5 * time.Second,
			effects: []string{"record in_doubt", "announce", "look up", "record sent", "announce", "ack"}, unused: 1},
		{name: "its worker went away", status: passcode.StatusSending,
			effects: []string{"record in_doubt", "announce", "nak"}, waits: [2]time.Duration{5 * time.Second, 5 * time.Second}, unused: 1},
		{name: "sent, and the ack was lost", status: passcode.StatusSent, effects: again, unused: 1},
		{name: "repeats one that was sent", other: true, status: passcode.StatusSent, effects: again, unused: 1},
		{name: "repeats one in progress", other: true, status: passcode.StatusRetrying, effects: []string{"ack"}, unused: 1},
		{name: "replays a dead letter", other: true, header: map[string]string{domain.HeaderReplay: "1"}, status: passcode.StatusDeadLettered,
			effects: waits, waits: held},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, answerOK)
			w.accepted, w.acceptedAt = []string{"r1"}, noon
			seq := w.publish(job("r1"), row.header)
			if row.ttl > 0 {
				w.jobs[seq].queued = noon.Add(row.ttl - testPolicy().PasscodeTTL)
			}
			if row.status != "" {
				owner := seq
				if row.other {
					owner += 100
				}
				rec := passcode.Result{
					RequestID: "r1", StreamSeq: owner, Attempts: 1, QueuedAt: noon, ExpiresAt: noon.Add(10 * time.Minute), Worker: "w2",
				}.In(row.status)
				switch row.status {
				case passcode.StatusRetrying:
					rec.NextAttemptAt = noon.Add(row.at)
				case passcode.StatusInDoubt, passcode.StatusSending:
					rec.AttemptedAt = noon.Add(row.at)
				}
				w.records["r1"] = stored{rec, 1}
			}
			b := &breaker{admission: domain.Admission{Wait: wait}}
			assert.Equal(t, row.effects, w.handled(seq, b))
			assert.Zero(t, w.calls)
			assert.Equal(t, row.unused, w.unused, "a job that waits uses its permit up")
			assert.Empty(t, b.notCalled)
			if row.waits[1] > 0 {
				delay := w.jobs[seq].due.Sub(noon)
				assert.GreaterOrEqual(t, delay, row.waits[0])
				assert.LessOrEqual(t, delay, row.waits[1])
			}
			if row.status == "" {
				assert.Empty(t, w.records, "nothing is written")
			}
		})
	}
}

// TestHeldJobsExpire as such, those that made attempts with their last error.
func TestHeldJobsExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerRefused)
	b := &breaker{admission: domain.Admission{Allowed: true}}
	tried := w.publish(job("tried"), nil)
	w.handled(tried, b)
	require.Equal(t, passcode.StatusRetrying, w.record("tried").Status)
	w.publish(job("new"), nil)
	b.admission = domain.Admission{Wait: 15 * time.Second}
	for seq := w.next(); seq != 0; seq = w.next() {
		w.handled(seq, b)
	}
	for id, attempts := range map[string]int{"tried": 1, "new": 0} {
		r := w.record(id)
		assert.Equal(t, passcode.StatusExpired, r.Status, id)
		assert.Equal(t, attempts, r.Attempts, id)
		assert.Less(t, r.UpdatedAt.Sub(r.ExpiresAt), time.Second, id)
	}
	assert.Equal(t, "connection_refused", w.record("tried").Error.Code)
	assert.Empty(t, w.places)
	assert.Empty(t, w.dead)
}

// TestBreakersProbe is made by a job that needs a call, and left by others.
func TestBreakersProbe(t *testing.T) {
	t.Parallel()
	probe := func() *breaker { return &breaker{admission: domain.Admission{Allowed: true, Probe: true}} }

	w, b := newWorld(t, answerOK), probe()
	w.handled(w.publish(job("r1"), nil), b)
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
	assert.Empty(t, b.notCalled, "the sender tells the breaker")

	w.handled(w.publish(job("r1"), nil), b)
	assert.Equal(t, []string{"r1"}, b.notCalled, "a duplicate makes no call")

	w, b = newWorld(t, answerOK), probe()
	w.shut = true
	w.handled(w.publish(job("r1"), nil), b)
	assert.Equal(t, []string{"r1"}, b.notCalled, "the account is closed")

	w, b = newWorld(t, answerOK), probe()
	w.denied = &domain.Reservation{Rule: "1/1m", RetryAfter: time.Minute}
	w.handled(w.publish(job("r1"), nil), b)
	assert.Equal(t, []string{"r1"}, b.notCalled, "the phone is over its limit")
}

// TestAProbeAsksFirst: where Aliyun is silent the job stays as it came.
func TestAProbeAsksFirst(t *testing.T) {
	t.Parallel()
	probe := func() *breaker {
		return &breaker{admission: domain.Admission{Allowed: true, Probe: true}, wait: 4 * time.Second}
	}

	w, b := newWorld(t, answerOK), probe()
	w.lookupErr = 1
	seq := w.publish(job("r1"), nil)
	assert.Equal(t, []string{"look up", "nak"}, w.handled(seq, b))
	assert.Equal(t, 1, b.silent)
	assert.Empty(t, b.notCalled, "that was its end")
	assert.Empty(t, w.records)
	assert.GreaterOrEqual(t, w.jobs[seq].due.Sub(w.now), maxHold)
	assert.Zero(t, w.unused, "a job that waits uses its permit up")

	assert.Equal(t, []string{"look up", "reserve ahead", "claim", "announce", "send", "record sent", "announce", "ack"}, w.handled(seq, b))
	assert.Equal(t, 1, w.calls)

	// Its code runs out meanwhile.
	w, b = newWorld(t, answerOK), probe()
	w.before = func(effect string) {
		if effect == "look up" {
			w.now = w.now.Add(time.Hour)
		}
	}
	w.handled(w.publish(job("r1"), nil), b)
	assert.Equal(t, passcode.StatusExpired, w.record("r1").Status)
	assert.Equal(t, []string{"r1"}, b.notCalled)
	assert.Zero(t, w.calls)

	// The look-up of a job in doubt is another: it is made in any case, noted first.
	w, b = newWorld(t, answerDropped, answerOK), probe()
	b.admission.Probe = false
	seq = w.publish(job("r1"), nil)
	w.handled(seq, b)
	require.Equal(t, passcode.StatusInDoubt, w.record("r1").Status)
	b.admission.Probe = true
	w.now = w.jobs[seq].due
	w.lookupErr = 1
	assert.Equal(t, []string{"look up", "record in_doubt", "announce", "look up", "record in_doubt", "announce", "nak"}, w.handled(seq, b))
	assert.Equal(t, 1, w.record("r1").Lookups)
	assert.Equal(t, 1, b.silent)
}

// TestALookUpIsAsOldAsItsQuestion: what a worker that was frozen with an answer
// makes of it when it wakes. Found by test/chaos, seed 3.
func TestALookUpIsAsOldAsItsQuestion(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerTakenAndDropped, answerOK)
	w.handled(1, &breaker{admission: domain.Admission{Allowed: true}})
	require.Equal(t, passcode.StatusInDoubt, w.record("r1").Status)
	w.now = w.jobs[1].due
	accepted := w.accepted
	w.accepted = nil // not listed yet
	w.before = func(effect string) {
		if effect == "record in_doubt" || effect == "record retrying" {
			if slices.Contains(w.effects, "look up") {
				w.accepted = accepted
			}
		}
		if effect == "look up" {
			w.now = w.now.Add(time.Hour / 10) // past all look-ups, while the answer is on its way
		}
	}
	w.handled(1, &breaker{admission: domain.Admission{Allowed: true}})
	r := w.record("r1")
	assert.Equal(t, passcode.StatusInDoubt, r.Status)
	assert.Equal(t, 1, r.Lookups)
	w.before = nil
	w.run()
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
	assert.Equal(t, 1, w.calls)
}

// TestHeldJobsMeetTrouble with the broker: they are requeued.
func TestHeldJobsMeetTrouble(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerOK)
	w.unusable = errTrouble
	assert.Equal(t, []string{"nak"}, w.handled(1, &breaker{admission: domain.Admission{Wait: time.Second}}))
	assert.Equal(t, 1, w.unused)
}

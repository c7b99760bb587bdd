package consumer

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestBrokerTroubleCostsNoJobAnything: each operation on the broker fails a few times, in each story; the job
// ends as it would have, with as many messages and no attempt more.
func TestBrokerTroubleCostsNoJobAnything(t *testing.T) {
	t.Parallel()
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calm := s.world(t)
				calm.run()
				names := map[string]bool{}
				for _, name := range calm.effects {
					names[name] = true
				}
				delete(names, "send") // these two are not the broker
				delete(names, "look up")
				for name := range names {
					w := s.world(t)
					w.fail = map[string]int{name: 3}
					w.run()
					// A reply subject is told as well as can be: the record is what counts.
					if name != "announce" {
						s.check(t, w, false)
					}
					assert.Equal(t, calm.calls, w.calls, "calls when %q fails", name)
					assert.Equal(t, calm.record("r1").Attempts, w.record("r1").Attempts, "attempts when %q fails", name)
				}
			})
		})
	}
}

// TestTroubleWithTheAccountBreaker requeues the job, before anything is written.
func TestTroubleWithTheAccountBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.accounts = brokenAccount{}
	c := w.consumer()
	seq := w.publish(job("r1"), nil)
	c.Handle(t.Context(), t.Context(), &worldDelivery{w: w, m: w.jobs[seq], seq: seq}, func() {})
	assert.Equal(t, []string{"nak"}, w.effects)
	assert.Equal(t, requeueDelay, w.jobs[seq].due.Sub(w.now))

	stopping, stop := context.WithCancel(t.Context())
	stop()
	c.Handle(t.Context(), stopping, &worldDelivery{w: w, m: w.jobs[seq], seq: seq}, func() {})
	assert.Equal(t, w.now, w.jobs[seq].due, "a stopping worker requeues it at once")
}

type brokenAccount struct{ AccountBreaker }

func (brokenAccount) Admit(context.Context) (domain.Admission, error) {
	return domain.Admission{}, errTrouble
}

// TestPanicAfterTheClaim leaves the job to its next delivery, which takes it for an interruption.
func TestPanicAfterTheClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.phoneKnown = true // so nothing is reserved ahead
	w.before = func(effect string) {
		if effect == "reserve" {
			w.before = nil
			w.mu.Unlock() // the panic takes the place of the effect
			defer w.mu.Lock()
			panic("13812345678")
		}
	}
	w.publish(job("r1"), nil)
	w.run()
	rec := w.record("r1")
	assert.Equal(t, passcode.StatusSent, rec.Status)
	assert.Equal(t, 1, rec.Interruptions)
	require.Len(t, w.accepted, 1)
	assert.NotContains(t, w.log.String(), "13812345678")
	assert.Contains(t, w.log.String(), "panic while handling a job")
}

// TestPoison: a job that takes its workers down is given up after exactly so many,
// whichever call it is that does it.
func TestPoison(t *testing.T) {
	t.Parallel()
	for name, deadly := range map[string][]string{
		"an attempt":          {"send"},
		"a look-up":           {"look up"},
		"whatever is asked":   {"send", "look up"},
		"an end of a look-up": {"record sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, answerDropped)
			if name == "an end of a look-up" {
				w.answers = []answer{answerTakenAndDropped}
			}
			w.publish(job("r1"), nil)
			w.dieOn = deadly
			w.run()
			rec := w.record("r1")
			require.Equal(t, passcode.StatusDeadLettered, rec.Status, "%v", w.effects)
			assert.Equal(t, passcode.ClassPoison, rec.Error.Class)
			assert.Equal(t, testPolicy().MaxInterruptions, rec.Interruptions)
			require.Len(t, w.dead, 1)
			assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
			assert.True(t, w.places["r1"], "it may have been sent, so the reservation stays")
			deaths := 0
			for _, effect := range w.effects {
				if slices.Contains(deadly, effect) {
					deaths++
				}
			}
			assert.Equal(t, testPolicy().MaxInterruptions, deaths)
		})
	}
}

// TestSuspectsAreHandledOneAtATime, so that the one to blame doesn't make poison of the others.
func TestSuspectsAreHandledOneAtATime(t *testing.T) {
	t.Parallel()
	for _, status := range []passcode.Status{passcode.StatusInDoubt, passcode.StatusRetrying} {
		for interruptions := range 3 {
			w := newJob(t, answerOK)
			rec := sending(1).In(status)
			rec.StreamSeq, rec.Interruptions, rec.AttemptedAt = 1, interruptions, noon.Add(-time.Minute)
			w.records["r1"], w.jobs[1].deliveries = stored{rec, 1}, 2
			c := w.consumer()
			deliver := func() {
				c.Handle(t.Context(), t.Context(), &worldDelivery{w: w, m: w.jobs[1], seq: 1}, func() {})
			}
			c.alone.Lock() // another suspect's call is in progress
			deliver()
			requeued := slices.Equal(w.effects, []string{"claim", "nak"})
			assert.Equal(t, interruptions == 2, requeued, "%s, %d interruptions: %v", status, interruptions, w.effects)
			c.alone.Unlock()
			deliver()
			assert.Contains(t, []passcode.Status{passcode.StatusSent, passcode.StatusRetrying}, w.record("r1").Status)
			assert.True(t, c.alone.TryLock(), "and the next one may")
		}
	}
}

// TestLostAnswerToTheNoteOfALookup is no interruption: the worker knows its own write again.
func TestLostAnswerToTheNoteOfALookup(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerTakenAndDropped)
	w.deliver(1)
	w.next()
	w.loseAnswer = "record in_doubt"
	w.deliver(1)
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status, "%v", w.effects)
	assert.Zero(t, w.record("r1").Interruptions)
}

// TestPanicBeforeTheClaim is a dead letter at once, and the worker lives.
func TestPanicBeforeTheClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.publish(`{"request_id":"r1","phone":"+86panic","code":"004213"}`, nil)
	w.publish(job("r2"), nil)
	w.run()
	require.Len(t, w.dead, 1)
	assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
	assert.Equal(t, passcode.StatusSent, w.record("r2").Status)
	assert.NotContains(t, w.log.String(), "a bug", "a panic's value may quote the job")
}

// TestUnusableRecord: a job whose record can't be read or written is a dead letter, not an endless round.
func TestUnusableRecord(t *testing.T) {
	t.Parallel()
	run := func(w *world) { w.run() }
	end := func(w *world) { w.endUndeliverable(1, ranOut) }
	for _, row := range []struct {
		err error
		do  func(w *world)
	}{{domain.ErrCorrupt, run}, {domain.ErrUnstorable, run}, {domain.ErrCorrupt, end}} {
		w := newJob(t, answerOK)
		w.unusable = row.err
		row.do(w)
		assert.True(t, w.jobs[1].done)
		require.Len(t, w.dead, 1)
		assert.Equal(t, passcode.ReasonPoison, w.dead[0].Reason)
		assert.Equal(t, "record_corrupt", w.dead[0].ErrorCode)
		assert.Zero(t, w.calls)
	}
}

// purge takes every record away, as somebody does who purges the bucket or deletes it.
func (w *world) purge() {
	w.records = map[string]stored{}
	w.since = w.now.Add(1) // the clock stands still during a delivery
}

// TestRecordsPurgedAtAnyEffect: before each effect of each story, with the worker
// dying there and without. The job ends, and no message goes out twice.
func TestRecordsPurgedAtAnyEffect(t *testing.T) {
	t.Parallel()
	for _, s := range stories() {
		if strings.Contains(s.name, "replay of a dead letter") {
			continue // of a request without an attempt; with its record it loses that it was ever there
		}
		if strings.Contains(s.name, "whose first job is gone") {
			continue // the record is all that is left of what that job did
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			calm := s.world(t)
			calm.run()
			for n := range calm.effects {
				for _, dies := range []bool{false, true} {
					w := s.world(t)
					effects := 0
					w.before = func(string) {
						if effects == n {
							w.purge()
						}
						effects++
					}
					if dies {
						w.dieAt, w.dieBefore = n, true
					}
					w.run()
					assert.LessOrEqual(t, len(w.accepted), 1, "purged before %d: %v", n, w.effects)
					rec, replies := w.record("r1"), w.announced["_INBOX.x"]
					if rec.RequestID == "" && len(replies) > 0 {
						rec = replies[len(replies)-1] // purged once it was recorded and announced
					}
					if s.dead == passcode.ReasonInvalid && rec.RequestID == "" {
						continue // the same, of a job whose reply subject is not trusted
					}
					require.True(t, rec.Final, "purged before %d, %q: %v", n, calm.effects[n], w.effects)
					if s.sent == 1 {
						assert.Equal(t, passcode.StatusSent, rec.Status)
						assert.Len(t, w.accepted, 1)
					}
				}
			}
		})
	}
}

// TestNoRecordOfARedelivery: a job older than no missing record is sent at once. Otherwise Aliyun is asked, and
// without aliyun.in_doubt.resend an operator decides.
func TestNoRecordOfARedelivery(t *testing.T) {
	t.Parallel()
	for younger, want := range map[time.Duration]passcode.Status{0: passcode.StatusSent, 1: passcode.StatusUnknown} {
		w := newJob(t, answerOK)
		w.jobs[1].deliveries = 1
		w.since, w.noResend = w.now.Add(younger), true
		w.run()
		assert.Equal(t, want, w.record("r1").Status)
		assert.Equal(t, younger > 0, slices.Contains(w.effects, "look up"))
		if want == passcode.StatusUnknown {
			assert.Empty(t, w.accepted)
			require.Len(t, w.dead, 1)
			assert.Equal(t, codeLost, w.dead[0].ErrorCode)
		}
	}
}

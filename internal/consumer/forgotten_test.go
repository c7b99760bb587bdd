package consumer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// purge takes every record away, as somebody does who purges the bucket or
// deletes it.
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

// TestHandedBackBeforeItsClaim: a job without a record that is older than none of
// them is sent at once.
func TestHandedBackBeforeItsClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.jobs[w.publish(job("r1"), nil)].deliveries = 1
	w.since = w.now
	w.run()
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
	assert.NotContains(t, w.effects, "look up")
}

// TestForgottenAndNeverSentAgain: without aliyun.in_doubt.resend it is an operator
// who decides.
func TestForgottenAndNeverSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.jobs[w.publish(job("r1"), nil)].deliveries = 1
	w.since = w.now.Add(1)
	w.noResend = true
	w.run()
	assert.Equal(t, passcode.StatusUnknown, w.record("r1").Status)
	assert.Empty(t, w.accepted)
	require.Len(t, w.dead, 1)
	assert.Equal(t, codeForgotten, w.dead[0].ErrorCode)
}

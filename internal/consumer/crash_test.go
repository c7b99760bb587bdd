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

// What Aliyun may answer, in these tests.
var (
	answerOK = answer{accept: true, out: domain.Outcome{
		Class: passcode.ClassOK, Code: "OK", BizID: "B^0", ProviderRequestID: "P",
	}}
	answerRefused   = refusal(passcode.ClassTransient, "connection_refused")
	answerThrottled = refusal(passcode.ClassThrottled, "Throttling.User")
	answerConfig    = refusal(passcode.ClassConfig, "isv.SMS_TEMPLATE_ILLEGAL")
	answerRecipient = refusal(passcode.ClassRecipient, "isv.MOBILE_NUMBER_ILLEGAL")
	answerAccount   = refusal(passcode.ClassAccount, "isv.AMOUNT_NOT_ENOUGH")
	answerLimited   = answer{out: domain.Outcome{
		Class: passcode.ClassPhoneLimited, Code: "isv.BUSINESS_LIMIT_CONTROL", Window: time.Hour, ProviderRequestID: "P",
	}}
	// The connection broke: after Aliyun took the message, or before.
	answerTakenAndDropped = answer{accept: true, out: refusal(passcode.ClassInDoubt, "eof").out}
	answerDropped         = refusal(passcode.ClassInDoubt, "eof")
)

func refusal(class passcode.Class, code string) answer {
	return answer{out: domain.Outcome{Class: class, Code: code, Message: code}}
}

// story is a job and what it must end as, however often its worker dies.
type story struct {
	name     string
	answers  []answer
	prepare  func(w *world)
	late     bool // the job is delivered after its code has expired
	want     passcode.Status
	dead     passcode.Reason
	sent     int  // messages that Aliyun took in the end
	reserved bool // the reservation stays
	// orUnlike: a death in the middle may lead to this status too, where what
	// the dead worker knew is gone and asking again is all that is left.
	orUnlike []passcode.Status
}

func stories() []story {
	return []story{
		{name: "sent", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1, reserved: true},
		{name: "retried, then sent", answers: []answer{answerThrottled, answerOK}, want: passcode.StatusSent, sent: 1, reserved: true},
		{name: "exhausted", answers: []answer{answerRefused}, want: passcode.StatusDeadLettered, dead: passcode.ReasonExhausted, orUnlike: []passcode.Status{passcode.StatusUnknown}},
		{name: "config", answers: []answer{answerConfig}, want: passcode.StatusDeadLettered, dead: passcode.ReasonConfig},
		{name: "recipient", answers: []answer{answerRecipient}, want: passcode.StatusRejected},
		{name: "limited by Aliyun", answers: []answer{answerLimited}, want: passcode.StatusRateLimited},
		{name: "account, then sent", answers: []answer{answerAccount, answerAccount, answerOK}, want: passcode.StatusSent, sent: 1, reserved: true},
		{name: "taken and dropped", answers: []answer{answerTakenAndDropped}, want: passcode.StatusSent, sent: 1, reserved: true},
		{name: "dropped, then sent", answers: []answer{answerDropped, answerOK}, want: passcode.StatusSent, sent: 1, reserved: true},
		{name: "dropped every time", answers: []answer{answerDropped}, want: passcode.StatusUnknown, dead: passcode.ReasonUnknown, reserved: true},
		{name: "limited by us", answers: []answer{answerOK}, want: passcode.StatusRateLimited,
			prepare: func(w *world) { w.denied = &domain.Reservation{Rule: "1/1m", RetryAfter: time.Minute} }},
		{name: "expired on arrival", answers: []answer{answerOK}, want: passcode.StatusExpired, late: true},
		{name: "invalid", answers: []answer{answerOK}, want: passcode.StatusRejected, dead: passcode.ReasonInvalid,
			prepare: func(w *world) { w.jobs[1].body = []byte(`{"request_id":"r1","phone":"+1","code":"004213"}`) }},
		{name: "a repeat whose first job is gone", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1, reserved: true,
			prepare: func(w *world) { w.ownerless(passcode.StatusRetrying) }},
		{name: "a repeat whose first job is gone, and that was sent", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1,
			prepare: func(w *world) {
				w.ownerless(passcode.StatusInDoubt)
				w.accepted, w.acceptedAt = []string{"r1"}, w.now
			}},
		{name: "a replay of a dead letter", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1, reserved: true, prepare: (*world).replayedDead},
		{name: "a replay of an unknown that was sent", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1,
			prepare: func(w *world) { w.replayed(sentUnknown) }},
		{name: "a replay of an unknown that was sent, taken up too late", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1, late: true,
			prepare: func(w *world) { w.replayed(sentUnknown) }},
		{name: "a replay of an unknown whose record is gone, and that was sent", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1,
			prepare: func(w *world) { w.replayed(sentUnrecorded) }},
		{name: "a replay of an unknown whose record is gone, and that was sent, taken up too late", answers: []answer{answerOK},
			want: passcode.StatusSent, sent: 1, late: true,
			prepare: func(w *world) { w.replayed(sentUnrecorded) }},
		{name: "a replay of an unknown whose record is gone", answers: []answer{answerOK}, want: passcode.StatusSent, sent: 1, reserved: true,
			prepare: func(w *world) {
				w.replayed(sentUnrecorded)
				w.accepted = nil
			}},
		{name: "a replay of a dead letter, taken up too late", answers: []answer{answerOK}, want: passcode.StatusExpired, late: true,
			orUnlike: []passcode.Status{passcode.StatusUnknown}, prepare: (*world).replayedDead},
	}
}

// replayedDead makes the job the replay of a dead letter.
func (w *world) replayedDead() {
	w.jobs[1].header = map[string]string{domain.HeaderReplay: "1"}
	w.records["r1"] = stored{passcode.Result{RequestID: "r1", StreamSeq: 99}.In(passcode.StatusDeadLettered), 5}
}

const (
	sentUnknown    = true
	sentUnrecorded = false
)

// replayed makes the job a replay of a request that became unknown and that Aliyun
// had taken, an hour before; with its record, or without.
func (w *world) replayed(recorded bool) {
	w.acceptedAt, w.accepted = noon.Add(-time.Hour), []string{"r1"}
	w.jobs[1].header = map[string]string{domain.HeaderReplay: "1", domain.HeaderAttemptedAt: w.acceptedAt.Format(time.RFC3339Nano)}
	if recorded {
		w.records["r1"] = stored{passcode.Result{RequestID: "r1", StreamSeq: 99, AttemptedAt: w.acceptedAt}.In(passcode.StatusUnknown), 5}
	}
}

// ownerless leaves the request as it stands, with one attempt made, and its job gone from the stream.
func (w *world) ownerless(status passcode.Status) {
	rec := sending(1).In(status)
	rec.Phone, rec.StreamSeq = "+86138****5678", 99
	w.records["r1"], w.phoneKnown = stored{rec, 5}, true
}

func (s story) world(t *testing.T) *world {
	t.Helper()
	w := newJob(t, s.answers...)
	if s.prepare != nil {
		s.prepare(w)
	}
	if s.late {
		w.now = w.now.Add(time.Hour)
	}
	return w
}

func (s story) check(t *testing.T, w *world, died bool) {
	t.Helper()
	rec := w.record("r1")
	if !died || !slices.Contains(s.orUnlike, rec.Status) {
		require.Equal(t, s.want, rec.Status, "effects: %v", w.effects)
		require.Equal(t, s.dead != "", len(w.dead) == 1, "dead letters: %v", w.dead)
		if s.dead != "" {
			require.Equal(t, s.dead, w.dead[0].Reason)
		}
	}
	require.True(t, rec.Final)
	require.Len(t, w.accepted, s.sent, "messages that Aliyun took; effects: %v", w.effects)
	if !died {
		require.Equal(t, s.reserved, w.places["r1"], "reservation")
	}
	if s.sent == 0 && rec.Status != passcode.StatusUnknown {
		require.False(t, w.places["r1"], "the reservation is given up")
	}
	replies := w.announced["_INBOX.x"]
	if s.dead != passcode.ReasonInvalid { // an invalid job's reply subject is not trusted
		require.NotEmpty(t, replies)
		require.Equal(t, rec.Status, replies[len(replies)-1].Status, "the final result reached the reply subject")
	}
	require.NotContains(t, w.log.String(), "13812345678")
	require.NotContains(t, w.log.String(), "004213")
}

// TestEveryStory follows each story with nobody dying.
func TestEveryStory(t *testing.T) {
	t.Parallel()
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := s.world(t)
			w.run()
			s.check(t, w, false)
		})
	}
}

// TestDyingAtAnyEffect lets the worker die before and after every single effect of every story, and again at
// every effect of what follows. Whatever it had done, the next delivery finishes the job rightly: one final
// record, one dead letter where one belongs, and never two messages.
func TestDyingAtAnyEffect(t *testing.T) {
	t.Parallel()
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			died := 0
			for dieAt := 0; ; dieAt++ {
				reached := false
				for _, before := range []bool{true, false} {
					w := s.world(t)
					w.dieAt, w.dieBefore = dieAt, before
					w.run()
					if len(w.effects) <= dieAt {
						continue
					}
					reached = true
					died++
					s.check(t, w, true)
				}
				if !reached {
					break
				}
			}
			require.Greater(t, died, 3)
		})
	}
}

// TestOrderOfEffects pins the order on which the above rests.
func TestOrderOfEffects(t *testing.T) {
	t.Parallel()
	rows := map[string][]string{
		"sent":              {"reserve ahead", "claim", "announce", "send", "record sent", "announce", "ack"},
		"config":            {"reserve ahead", "claim", "announce", "send", "dead letter", "release", "record dead_lettered", "announce", "term"},
		"limited by Aliyun": {"reserve ahead", "claim", "announce", "send", "close phone", "release", "record rate_limited", "announce", "ack"},
		"taken and dropped": {"reserve ahead", "claim", "announce", "send", "record in_doubt", "announce", "nak", "claim", "record in_doubt", "announce", "look up", "record sent", "announce", "ack"},
		"invalid":           {"dead letter", "claim", "announce", "term"},
	}
	for _, s := range stories() {
		want, ok := rows[s.name]
		if !ok {
			continue
		}
		w := s.world(t)
		if s.name == "invalid" {
			w.jobs[1].body = []byte(`{"request_id":"r1","phone":"+1","code":"004213","reply_to":"_INBOX.x"}`)
		}
		w.run()
		assert.Equal(t, want, w.effects, s.name)
	}
}

// TestUnreadable: a job without a readable request id leaves a dead letter and no record.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	for _, body := range []string{"", "{", "[]", "null", `{"request_id":"a b","phone":"+8613812345678","code":"004213"}`} {
		w.publish(body, nil)
	}
	w.run()
	require.Len(t, w.dead, 5)
	for _, d := range w.dead {
		assert.Equal(t, passcode.ReasonInvalid, d.Reason)
		assert.Empty(t, d.RequestID)
		assert.Contains(t, d.ErrorMessage, ":", "names field and rule")
	}
	assert.Empty(t, w.records)
}

// TestAllProblemsOfAJobAreNamed, those found by the settings' rules included.
func TestAllProblemsOfAJobAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, answerOK)
	w.publish(`{"request_id":"r1","phone":"13812345678,13912345678","code":"1234567","reply_to":"$JS.API.STREAM.DELETE.X"}`, nil)
	w.run()
	message := w.record("r1").Error.Message
	for _, field := range []string{"phone:", "code:", "reply_to:"} {
		assert.Contains(t, message, field)
	}
	assert.NotContains(t, message, "138")
	assert.Empty(t, w.announced, "nothing is published where a job may not send it")
}

// TestInvalidJobLeavesAnotherJobsRecordAlone.
func TestInvalidJobLeavesAnotherJobsRecordAlone(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerOK)
	w.publish(`{"request_id":"r1","phone":"x","code":"004213"}`, nil)
	w.run()
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
	require.Len(t, w.dead, 1)
	require.Len(t, w.announced["passcode.result.r1"], 1)
	assert.Equal(t, passcode.StatusSent, w.announced["passcode.result.r1"][0].Status)
}

// TestLookupsThatFail are asked again and count for none.
func TestLookupsThatFail(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerTakenAndDropped)
	w.lookupErr = 4
	w.run()
	rec := w.record("r1")
	assert.Equal(t, passcode.StatusSent, rec.Status)
	assert.True(t, rec.Recovered)
	assert.Equal(t, 1, w.calls)
}

// TestAccountClosed: the job goes back untouched, before anything is claimed.
func TestAccountClosed(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerOK)
	w.shut = true
	w.deliver(1)
	assert.Equal(t, []string{"nak"}, w.effects)
	assert.LessOrEqual(t, w.jobs[1].due.Sub(w.now), 6*time.Second, "soon enough to notice that the account is open again early")
}

// TestProbe: what a probe learns is told to the account breaker, and a probe that made no call is returned.
func TestProbe(t *testing.T) {
	t.Parallel()
	w := newJob(t, answerAccount, answerOK)
	w.run()
	assert.Equal(t, 1, w.tripped)
	assert.Equal(t, 1, w.passed)
	assert.Zero(t, w.inconclusive)
	assert.Equal(t, passcode.StatusSent, w.record("r1").Status)
	assert.Equal(t, 1, w.record("r1").Attempts, "the account's refusal was no attempt")

	w = newWorld(t, answerAccount, answerOK)
	w.tripped = 1
	w.publish(job("r1"), nil)
	w.records["r1"] = stored{passcode.Result{RequestID: "r1", StreamSeq: 99}.In(passcode.StatusSent), 1}
	w.run()
	assert.Equal(t, 1, w.inconclusive, "a duplicate tells nothing about the account")
}

package consumer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func testPolicy() Policy {
	return Policy{
		PasscodeTTL:      10 * time.Minute,
		MaxAttempts:      3,
		MaxInterruptions: 2,
		Backoff:          func(_ string, attempt int) time.Duration { return time.Duration(attempt) * time.Second },
		Lookups:          []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second},
		Resend:           true,
	}
}

// sending is a record during its nth attempt, begun at noon.
func sending(n int) passcode.Result {
	return passcode.Result{
		RequestID: "r1", Attempts: n, AttemptedAt: noon, QueuedAt: noon, UpdatedAt: noon,
		ExpiresAt: noon.Add(10 * time.Minute), StreamSeq: 7, NextAttemptAt: noon,
	}.In(passcode.StatusSending)
}

// summary is the part of a decision that the tables below compare.
type summary struct {
	Status       passcode.Status
	Letter       passcode.Reason
	Disposition  disposition
	Delay        time.Duration
	Release      bool
	CloseFor     time.Duration
	Attempts     int
	Class        passcode.Class
	RetryAfter   int64
	Certain      bool
	AccountWorks bool // by the outcome
}

func summarise(d decision) summary {
	s := summary{
		Status: d.record.Status, Letter: d.letter, Disposition: d.disposition, Delay: d.delay, Release: d.release,
		CloseFor: d.closeFor, Attempts: d.record.Attempts,
		RetryAfter: d.record.RetryAfterSeconds, Certain: d.certain,
	}
	if d.record.Error != nil {
		s.Class = d.record.Error.Class
	}
	return s
}

// expireRetrying decides on one whose code has run out.
func (p Policy) expireRetrying(rec passcode.Result, now time.Time) decision {
	return p.decide(rec.In(passcode.StatusRetrying), judged{state: domain.ClaimResumed, goal: goalExpire}, now)
}

// TestSettle has a row for each sentence on what an outcome leads to.
func TestSettle(t *testing.T) {
	t.Parallel()
	answered := func(class passcode.Class) domain.Outcome {
		return domain.Outcome{Class: class, Code: "some.code", Message: "why", ProviderRequestID: "P1"}
	}
	unanswered := func(class passcode.Class) domain.Outcome {
		return domain.Outcome{Class: class, Code: "timeout", Message: "why"}
	}
	limited := answered(passcode.ClassPhoneLimited)
	limited.Window = time.Hour
	nearExpiry := func(n int) passcode.Result {
		r := sending(n)
		r.ExpiresAt = noon.Add(2500 * time.Millisecond)
		return r
	}
	rows := []struct {
		sentence string
		rec      passcode.Result
		out      domain.Outcome
		want     summary
	}{
		{"ok is sent, and the job is done", sending(1),
			domain.Outcome{Class: passcode.ClassOK, Code: "OK", BizID: "B^0", ProviderRequestID: "P1"},
			summary{Status: passcode.StatusSent, Disposition: ack, AccountWorks: true, Attempts: 1, Certain: true}},
		{"transient is retried after the backoff", sending(2), unanswered(passcode.ClassTransient),
			summary{Status: passcode.StatusRetrying, Disposition: nak, Delay: 2 * time.Second, Attempts: 2, Class: passcode.ClassTransient, Certain: true}},
		{"transient on the last attempt is a dead letter and gives its reservation up", sending(3), unanswered(passcode.ClassTransient),
			summary{Status: passcode.StatusDeadLettered, Letter: passcode.ReasonExhausted, Disposition: term, Release: true, Attempts: 3, Class: passcode.ClassTransient, Certain: true}},
		{"transient is expired when the next attempt would come after expiry", nearExpiry(2), unanswered(passcode.ClassTransient),
			summary{Status: passcode.StatusExpired, Disposition: ack, Release: true, Attempts: 2, Class: passcode.ClassTransient, Certain: true}},
		{"transient is retried when the next attempt comes before expiry", nearExpiry(1), unanswered(passcode.ClassTransient),
			summary{Status: passcode.StatusRetrying, Disposition: nak, Delay: time.Second, Attempts: 1, Class: passcode.ClassTransient, Certain: true}},
		{"a call that was not made counts no attempt, not even the last", sending(3),
			domain.Outcome{Class: passcode.ClassTransient, Code: "too_late", NotMade: true},
			summary{Status: passcode.StatusRetrying, Disposition: nak, Delay: 2 * time.Second, Attempts: 2, Class: passcode.ClassTransient, Certain: true}},
		{"throttled is like transient and tells nothing about the account", sending(1), answered(passcode.ClassThrottled),
			summary{Status: passcode.StatusRetrying, Disposition: nak, Delay: time.Second, Attempts: 1, Class: passcode.ClassThrottled, Certain: true}},
		{"in doubt waits for the first look-up and keeps the reservation", sending(1), unanswered(passcode.ClassInDoubt),
			summary{Status: passcode.StatusInDoubt, Disposition: nak, Delay: 4 * time.Second, Attempts: 1, Class: passcode.ClassInDoubt}},
		{"in doubt on the last attempt is looked up too", sending(3), unanswered(passcode.ClassInDoubt),
			summary{Status: passcode.StatusInDoubt, Disposition: nak, Delay: 4 * time.Second, Attempts: 3, Class: passcode.ClassInDoubt}},
		{"phone_limited is rate limited, closes the phone and gives its reservation up", sending(1), limited,
			summary{Status: passcode.StatusRateLimited, Disposition: ack, Release: true, CloseFor: time.Hour, AccountWorks: true, Attempts: 1, Class: passcode.ClassPhoneLimited, RetryAfter: 3600, Certain: true}},
		{"recipient is rejected without a dead letter", sending(1), answered(passcode.ClassRecipient),
			summary{Status: passcode.StatusRejected, Disposition: ack, Release: true, AccountWorks: true, Attempts: 1, Class: passcode.ClassRecipient, Certain: true}},
		{"config is a dead letter at once", sending(1), answered(passcode.ClassConfig),
			summary{Status: passcode.StatusDeadLettered, Letter: passcode.ReasonConfig, Disposition: term, Release: true, AccountWorks: true, Attempts: 1, Class: passcode.ClassConfig, Certain: true}},
		{"config that no call found out says nothing about the account", sending(1), unanswered(passcode.ClassConfig),
			summary{Status: passcode.StatusDeadLettered, Letter: passcode.ReasonConfig, Disposition: term, Release: true, Attempts: 1, Class: passcode.ClassConfig, Certain: true}},
		{"a class nobody thought of is a dead letter", sending(1), answered("martian"),
			summary{Status: passcode.StatusDeadLettered, Letter: passcode.ReasonConfig, Disposition: term, Release: true, AccountWorks: true, Attempts: 1, Class: "martian", Certain: true}},
		{"account counts no attempt, waits and trips the account breaker", sending(1), answered(passcode.ClassAccount),
			summary{Status: passcode.StatusRetrying, Disposition: nak, Delay: requeueDelay, Attempts: 0, Class: passcode.ClassAccount, Certain: true}},
		{"account on the last attempt waits too", sending(3), answered(passcode.ClassAccount),
			summary{Status: passcode.StatusRetrying, Disposition: nak, Delay: requeueDelay, Attempts: 2, Class: passcode.ClassAccount, Certain: true}},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			now := noon.Add(time.Second)
			d := testPolicy().decide(row.rec, called{Outcome: row.out}, now)
			got := summarise(d)
			got.AccountWorks = showsAccountWorks(row.out)
			assert.Empty(t, cmp.Diff(row.want, got))
			assert.Equal(t, d.record.Status.Final(), d.record.Final)
			assert.Equal(t, now, d.record.UpdatedAt)
			if d.record.Status == passcode.StatusRetrying && row.out.Class != passcode.ClassAccount {
				assert.Equal(t, now.Add(d.delay), d.record.NextAttemptAt)
			} else {
				assert.Zero(t, d.record.NextAttemptAt)
			}
			assert.Equal(t, row.out.ProviderRequestID, d.record.ProviderRequestID)
		})
	}
}

func TestSettleFinding(t *testing.T) {
	t.Parallel()
	doubt := func(lookups int) passcode.Result {
		r := sending(1).In(passcode.StatusInDoubt)
		r.Lookups = lookups
		return r
	}
	lastAttempt := doubt(2)
	lastAttempt.Attempts = 3
	short := doubt(2)
	short.ExpiresAt = noon.Add(20 * time.Second)
	noResend := testPolicy()
	noResend.Resend = false
	rows := []struct {
		sentence string
		policy   Policy
		rec      passcode.Result
		found    domain.Finding
		after    time.Duration
		want     summary
		lookups  int
	}{
		{"found is sent", testPolicy(), doubt(0), domain.Finding{State: domain.Accepted}, 5 * time.Second,
			summary{Status: passcode.StatusSent, Disposition: ack, Attempts: 1, Certain: true}, 0},
		{"found is sent even after the code expired", testPolicy(), short, domain.Finding{State: domain.Accepted}, 30 * time.Second,
			summary{Status: passcode.StatusSent, Disposition: ack, Attempts: 1, Certain: true}, 2},
		{"found as failed is undelivered", testPolicy(), doubt(0), domain.Finding{State: domain.Undelivered, ErrorCode: "MOBILE_IN_BLACK"}, 5 * time.Second,
			summary{Status: passcode.StatusUndelivered, Disposition: ack, Attempts: 1, Class: passcode.ClassRecipient, Certain: true}, 0},
		{"not found at first waits for the second look-up", testPolicy(), doubt(0), domain.Finding{}, 5 * time.Second,
			summary{Status: passcode.StatusInDoubt, Disposition: nak, Delay: 10 * time.Second, Attempts: 1}, 1},
		{"a late look-up stands for those that were due", testPolicy(), doubt(0), domain.Finding{}, 16 * time.Second,
			summary{Status: passcode.StatusInDoubt, Disposition: nak, Delay: 14 * time.Second, Attempts: 1}, 2},
		{"never found is attempted again", testPolicy(), doubt(2), domain.Finding{}, 30 * time.Second,
			summary{Status: passcode.StatusRetrying, Disposition: nak, Attempts: 1}, 3},
		{"a very late look-up stands for all", testPolicy(), doubt(0), domain.Finding{}, time.Minute,
			summary{Status: passcode.StatusRetrying, Disposition: nak, Attempts: 1}, 3},
		{"never found is unknown where the code has expired", testPolicy(), short, domain.Finding{}, 30 * time.Second,
			summary{Status: passcode.StatusUnknown, Letter: passcode.ReasonUnknown, Disposition: term, Attempts: 1, Class: passcode.ClassInDoubt}, 3},
		{"never found is unknown where resend is off", noResend, doubt(2), domain.Finding{}, 30 * time.Second,
			summary{Status: passcode.StatusUnknown, Letter: passcode.ReasonUnknown, Disposition: term, Attempts: 1, Class: passcode.ClassInDoubt}, 3},
		{"never found is unknown where no attempt is left", testPolicy(), lastAttempt, domain.Finding{}, 30 * time.Second,
			summary{Status: passcode.StatusUnknown, Letter: passcode.ReasonUnknown, Disposition: term, Attempts: 3, Class: passcode.ClassInDoubt}, 3},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			d := row.policy.decide(row.rec, answered{row.found}, noon.Add(row.after))
			assert.Empty(t, cmp.Diff(row.want, summarise(d)))
			assert.Equal(t, row.lookups, d.record.Lookups)
			assert.Equal(t, row.found.State != domain.NotFound, d.record.Recovered)
		})
	}
}

// TestNothingIsSentWhileAnotherWorkersCallMayStillGoOut, even where the look-ups are over sooner.
func TestNothingIsSentWhileAnotherWorkersCallMayStillGoOut(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	p.Lookups, p.CallBound = []time.Duration{time.Second}, 10*time.Second
	rec := p.settleInterrupted(sending(1), noon.Add(time.Second)).record
	d := p.decide(rec, answered{domain.Finding{}}, noon.Add(2*time.Second))
	assert.Empty(t, cmp.Diff(summary{
		Status: passcode.StatusInDoubt, Disposition: nak, Delay: 8 * time.Second, Attempts: 1, Class: passcode.ClassInDoubt,
	}, summarise(d)))
	d = p.decide(d.record, answered{domain.Finding{}}, noon.Add(10*time.Second))
	assert.Equal(t, passcode.StatusRetrying, d.record.Status)

	own := p.decide(sending(1), called{Outcome: domain.Outcome{Class: passcode.ClassInDoubt, Code: "eof"}}, noon).record
	d = p.decide(own, answered{domain.Finding{}}, noon.Add(2*time.Second))
	assert.Equal(t, passcode.StatusRetrying, d.record.Status, "a call of ours is over when its outcome is known")
}

func TestSettleNoAnswer(t *testing.T) {
	t.Parallel()
	rec := sending(1).In(passcode.StatusInDoubt)
	p := testPolicy()

	d := p.decide(rec, unanswered{}, noon.Add(6*time.Second))
	assert.Empty(t, cmp.Diff(summary{Status: passcode.StatusInDoubt, Disposition: nak, Delay: 2 * time.Second, Attempts: 1}, summarise(d)),
		"a failed look-up tells nothing and is asked again")

	d = p.decide(rec, unanswered{}, noon.Add(5*time.Minute))
	assert.Equal(t, nak, d.disposition, "past the planned look-ups it is still asked, while the code is worth it")

	d = p.decide(rec, unanswered{}, rec.ExpiresAt)
	assert.Equal(t, passcode.StatusUnknown, d.record.Status)
	assert.Equal(t, passcode.ReasonUnknown, d.letter)

	rec.ExpiresAt = noon.Add(time.Second)
	d = p.decide(rec, unanswered{}, noon.Add(6*time.Second))
	assert.Equal(t, nak, d.disposition, "the planned look-ups are made even where the code has expired")
}

func TestSettleInterrupted(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	d := p.settleInterrupted(sending(1), noon.Add(time.Second))
	assert.Empty(t, cmp.Diff(summary{
		Status: passcode.StatusInDoubt, Disposition: nak, Delay: 4 * time.Second, Attempts: 1, Class: passcode.ClassInDoubt,
	}, summarise(d)), "a claimed job whose worker went away is in doubt")
	assert.Equal(t, 1, d.record.Interruptions)

	d = p.settleInterrupted(d.record, noon.Add(time.Minute))
	assert.Empty(t, cmp.Diff(summary{
		Status: passcode.StatusDeadLettered, Letter: passcode.ReasonPoison, Disposition: term, Attempts: 1, Class: passcode.ClassPoison,
	}, summarise(d)), "max_interruptions make it poison; the reservation stays, since it may have been sent")

	doubt := lookingUp(sending(1).In(passcode.StatusInDoubt), noon.Add(15*time.Second))
	doubt.Lookups = 1
	doubt.Error = &passcode.Error{Code: "eof", Class: passcode.ClassInDoubt}
	d = p.settleInterrupted(doubt, noon.Add(20*time.Second))
	assert.Empty(t, cmp.Diff(summary{
		Status: passcode.StatusInDoubt, Disposition: nak, Attempts: 1, Class: passcode.ClassInDoubt,
	}, summarise(d)), "a look-up whose worker went away is made again at once")
	assert.Equal(t, 1, d.record.Lookups, "it tells nothing, so it counts for none of the planned ones")
	assert.Equal(t, "eof", d.record.Error.Code, "why the attempt is in doubt stays")
	assert.Equal(t, 1, d.record.Interruptions)

	d = p.settleInterrupted(lookingUp(d.record, noon.Add(20*time.Second)), noon.Add(time.Minute))
	assert.Equal(t, passcode.ReasonPoison, d.letter, "look-ups count like attempts")
	assert.Equal(t, passcode.ClassPoison, d.record.Error.Class)

	early := p.settleInterrupted(sending(1), noon.Add(-time.Hour))
	assert.Equal(t, 5*time.Second, early.delay, "a clock that runs ahead elsewhere doesn't put the look-up off")
}

// lookingUp is a doubtful record with a look-up in progress.
func lookingUp(rec passcode.Result, since time.Time) passcode.Result {
	rec.LookupBeganAt = since
	return rec
}

// TestALookupThatEndedIsNoInterruption, in whatever way it ended.
func TestALookupThatEndedIsNoInterruption(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	began := noon.Add(5 * time.Second)
	rec := lookingUp(sending(1).In(passcode.StatusInDoubt), began)
	assert.True(t, interrupted(rec))
	assert.True(t, interrupted(sending(1)))
	expired := rec
	expired.ExpiresAt = noon
	for name, d := range map[string]decision{
		"accepted":           p.decide(rec, answered{domain.Finding{State: domain.Accepted}}, began),
		"undelivered":        p.decide(rec, answered{domain.Finding{State: domain.Undelivered}}, began),
		"not found":          p.decide(rec, answered{domain.Finding{}}, began),
		"never found":        p.decide(rec, answered{domain.Finding{}}, noon.Add(time.Minute)),
		"failed":             p.decide(rec, unanswered{}, began),
		"failed for good":    p.decide(expired, unanswered{}, noon.Add(time.Minute)),
		"given up as poison": p.settleInterrupted(p.settleInterrupted(rec, began).record, began),
	} {
		assert.Zero(t, d.record.LookupBeganAt, name)
		assert.NotEmpty(t, d.record.Status, "%s: it is written", name)
		assert.False(t, interrupted(d.record), name)
	}
}

func TestSettleDeniedAndExpired(t *testing.T) {
	t.Parallel()
	p := testPolicy()
	d := p.decide(sending(1), called{Outcome: denied(domain.Reservation{Rule: "3/1h", RetryAfter: 59*time.Minute + time.Millisecond})}, noon)
	assert.Empty(t, cmp.Diff(summary{
		Status: passcode.StatusRateLimited, Disposition: ack, Release: true, Attempts: 0,
		Class: passcode.ClassPhoneLimited, RetryAfter: 3541, Certain: true,
	}, summarise(d)), "the wait is rounded up; no attempt was made")
	assert.Equal(t, "phone_limit", d.record.Error.Code)
	assert.Contains(t, d.record.Error.Message, "3/1h")

	d = p.expireRetrying(sending(0), noon)
	assert.Empty(t, cmp.Diff(summary{
		Status: passcode.StatusExpired, Disposition: ack, Release: true, Class: passcode.ClassExpired, Certain: true,
	}, summarise(d)))

	failed := sending(2)
	failed.Error = &passcode.Error{Code: "isp.SYSTEM_ERROR", Class: passcode.ClassTransient}
	d = p.expireRetrying(failed, noon)
	assert.Equal(t, "isp.SYSTEM_ERROR", d.record.Error.Code, "the reason why it was not sent in time stays")
}

func TestBackoffGrowsForEachRequestAndSpreadsRequests(t *testing.T) {
	t.Parallel()
	interval := Backoff(500*time.Millisecond, 2, 0.5, 30*time.Second)
	least, most := time.Hour, time.Duration(0)
	for i := range 1000 {
		id := "request-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		previous := time.Duration(0)
		for attempt := 1; attempt <= 6; attempt++ {
			d := interval(id, attempt)
			assert.Greater(t, d, previous, "the gaps grow")
			assert.Equal(t, d, interval(id, attempt), "every replica computes the same")
			base := 500 * time.Millisecond << (attempt - 1)
			assert.InDelta(t, 1, float64(d)/float64(base), 0.5)
			previous = d
		}
		least, most = min(least, interval(id, 1)), max(most, interval(id, 1))
	}
	assert.Less(t, least, 270*time.Millisecond)
	assert.Greater(t, most, 730*time.Millisecond)
	assert.LessOrEqual(t, interval("x", 1000), 45*time.Second, "capped, and quick to compute")
}

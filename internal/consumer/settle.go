package consumer

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Policy is what the settings say about the life of a request.
type Policy struct {
	PasscodeTTL      time.Duration   // how long a code without expires_at is worth sending
	MaxAttempts      int             // before a job is given up
	MaxInterruptions int             // how many workers a job may take down with it
	Lookups          []time.Duration // when Aliyun is asked, after a doubtful attempt; ascending
	Resend           bool            // attempt again if no look-up found anything
	// Backoff says how long to wait after a failed attempt, the first being 1.
	Backoff func(requestID string, attempt int) time.Duration
	// CallBound is how long after its claim an attempt may be in progress. No attempt follows another worker's
	// sooner.
	CallBound time.Duration
}

// showsAccountWorks reports whether a call shows that Aliyun handles this account's requests.
func showsAccountWorks(out domain.Outcome) bool {
	switch out.Class {
	case passcode.ClassAccount, passcode.ClassTransient, passcode.ClassThrottled, passcode.ClassInDoubt:
		return false
	default:
		return out.ProviderRequestID != ""
	}
}

// settle decides after a call to Aliyun. rec is the record during the call: sending, with the attempt counted.
func (p Policy) settle(rec passcode.Result, out domain.Outcome, until, now time.Time) decision {
	rec.Error = failure(out.Code, out.Class, out.Message)
	if out.NotMade {
		rec.Attempts-- // trouble and limits of ours cost the job no attempt
	} else {
		rec.ProviderRequestID = out.ProviderRequestID
	}
	d := decision{store: true, certain: true}

	switch out.Class {
	case passcode.ClassOK:
		rec.Error, rec.BizID = nil, out.BizID
		d.record = rec.In(passcode.StatusSent)
	case passcode.ClassTransient, passcode.ClassThrottled:
		return p.tryAgain(d, rec, now)
	case passcode.ClassPhoneLimited:
		// Rounded up, so that a producer that waits as told is not refused again.
		rec.RetryAfterSeconds = int64((out.Window + time.Second - 1) / time.Second)
		d.release = true // also of an earlier attempt's reservation
		if !out.NotMade {
			d.closeFor = out.Window
		}
		d.record = rec.In(passcode.StatusRateLimited)
	case passcode.ClassRecipient:
		d.release, d.record = true, rec.In(passcode.StatusRejected)
	case passcode.ClassAccount:
		// The call will be made again, however long the account stays closed, so it is no attempt.
		rec.Attempts--
		rec.NextAttemptAt = until
		d.record, d.disposition, d.delay = rec.In(passcode.StatusRetrying), nak, requeueDelay
	case passcode.ClassInDoubt:
		d.certain = false
		rec.Lookups = 0
		d.record, d.disposition, d.delay = rec.In(passcode.StatusInDoubt), nak, p.untilLookup(rec, now)
	default: // config, and any unknown class: a person must look
		d.release, d.letter = true, passcode.ReasonConfig
		d.record, d.disposition = rec.In(passcode.StatusDeadLettered), term
	}
	return d
}

// tryAgain decides on a further attempt after one that surely sent nothing.
func (p Policy) tryAgain(d decision, rec passcode.Result, now time.Time) decision {
	wait := p.Backoff(rec.RequestID, rec.Attempts)
	next := now.Add(wait)
	switch {
	case rec.Attempts >= p.MaxAttempts:
		d.release, d.letter = true, passcode.ReasonExhausted
		d.record, d.disposition = rec.In(passcode.StatusDeadLettered), term
	case !next.Before(rec.ExpiresAt):
		d.release, d.record = true, rec.In(passcode.StatusExpired)
	default:
		rec.NextAttemptAt = next
		d.record, d.disposition, d.delay = rec.In(passcode.StatusRetrying), nak, wait
	}
	return d
}

// denied is the outcome of a call that our own limit refused.
func denied(res domain.Reservation) domain.Outcome {
	message := "the limit " + res.Rule + " of this phone is used up"
	if res.Rule == domain.RuleClosed {
		message = "Aliyun closed this phone for a while"
	}
	return domain.Outcome{
		NotMade: true, Class: passcode.ClassPhoneLimited, Code: "phone_limit", Message: message, Window: res.RetryAfter,
	}
}

// unreserved is the outcome of a call that was not made for lack of an answer from the limiter.
var unreserved = domain.Outcome{
	NotMade: true, Class: passcode.ClassTransient, Code: "broker", Message: "the phone's limits could not be read",
}

// expire decides when a code expired with nothing in doubt. The last attempt's error stays: it says why the code
// was not sent in time.
func (p Policy) expire(rec passcode.Result) decision {
	if rec.Error == nil {
		rec.Error = failure("expired", passcode.ClassExpired, "the passcode expired before it could be sent")
	}
	return decision{store: true, record: rec.In(passcode.StatusExpired), release: true, certain: true}
}

// interrupted reports whether a redelivered job's record shows that a worker went away during an attempt or a
// look-up.
func interrupted(rec passcode.Result) bool {
	return rec.Status == passcode.StatusSending ||
		rec.Status == passcode.StatusInDoubt && !rec.LookupBeganAt.IsZero()
}

// settleInterrupted decides on such a job. An attempt is in doubt from now on; a look-up is made again.
func (p Policy) settleInterrupted(rec passcode.Result, now time.Time) decision {
	rec.LookupBeganAt = time.Time{}
	rec.Interruptions++
	d := decision{store: true, level: slog.LevelWarn, note: "a worker went away while it held this job"}
	if rec.Interruptions >= p.MaxInterruptions {
		rec.Error = failure(codeInterrupted, passcode.ClassPoison, fmt.Sprintf("%d workers went away while they held this job", rec.Interruptions))
		d.letter, d.record, d.disposition = passcode.ReasonPoison, rec.In(passcode.StatusDeadLettered), term
		return d
	}
	if rec.Status == passcode.StatusSending {
		rec.Lookups = 0
		rec.Error = failure(codeInterrupted, passcode.ClassInDoubt, "the worker went away while a call may have been in progress")
	}
	d.record, d.disposition, d.delay = rec.In(passcode.StatusInDoubt), nak, p.untilLookup(rec, now)
	return d
}

// lookUpWhenDue has Aliyun asked what became of a doubtful attempt, if it is time.
func (p Policy) lookUpWhenDue(rec passcode.Result, now time.Time) decision {
	if wait := p.untilLookup(rec, now); wait > earlyBy {
		return requeue(wait)
	}
	return decision{next: stageLookUp}
}

// settleFinding decides after a look-up that was answered.
func (p Policy) settleFinding(rec passcode.Result, found domain.Finding, now time.Time) decision {
	// The answer is as old as the question: a worker may have been frozen in between.
	asked := now
	if !rec.LookupBeganAt.IsZero() {
		asked = rec.LookupBeganAt
	}
	rec.LookupBeganAt = time.Time{}
	switch found.State {
	case domain.Accepted:
		rec.Error, rec.Recovered = nil, true
		return decision{store: true, record: rec.In(passcode.StatusSent), certain: true}
	case domain.Undelivered:
		rec.Recovered = true
		rec.Error = failure(cmp.Or(found.ErrorCode, "undelivered"), passcode.ClassRecipient,
			"Aliyun accepted the message and the carrier could not deliver it")
		return decision{store: true, record: rec.In(passcode.StatusUndelivered), certain: true}
	}

	// One look-up stands for all whose time has come.
	sinceAttempt := asked.Sub(rec.AttemptedAt)
	rec.Lookups++
	for rec.Lookups < len(p.Lookups) && p.Lookups[rec.Lookups] <= sinceAttempt {
		rec.Lookups++
	}
	if rec.Lookups < len(p.Lookups) {
		return decision{store: true, record: rec, disposition: nak, delay: p.untilLookup(rec, now)}
	}
	if interrupted := rec.Error != nil && rec.Error.Code == codeInterrupted; interrupted && sinceAttempt < p.CallBound {
		// The worker that made the attempt may be frozen, and its call may still go out.
		return decision{store: true, record: rec, disposition: nak, delay: p.CallBound - max(sinceAttempt, 0)}
	}
	// Without an attempt of its own the doubt is about the previous replay, and an operator asked for this one.
	// After a lost record, though, nobody asked.
	lost := rec.Error != nil && rec.Error.Code == codeLost
	resend := p.Resend || rec.Attempts == 0 && !lost
	if !resend || !now.Before(rec.ExpiresAt) || rec.Attempts >= p.MaxAttempts {
		return p.giveUpDoubt(rec)
	}
	// Like a transient failure whose wait is over already.
	rec.NextAttemptAt = now
	return decision{store: true, record: rec.In(passcode.StatusRetrying), disposition: nak}
}

// settleNoAnswer decides after a failed look-up. It counts for none of the planned ones, and is made again until
// the code has expired and the last planned look-up is past.
func (p Policy) settleNoAnswer(rec passcode.Result, now time.Time) decision {
	rec.LookupBeganAt = time.Time{}
	last := rec.AttemptedAt
	if n := len(p.Lookups); n > 0 {
		last = last.Add(p.Lookups[n-1])
	}
	if !now.Before(rec.ExpiresAt) && !now.Before(last) {
		return p.giveUpDoubt(rec)
	}
	// The delay grows with the time since the attempt.
	delay := p.Backoff(rec.RequestID, 1+int(now.Sub(rec.AttemptedAt)/(5*time.Second)))
	return decision{store: true, record: rec, disposition: nak, delay: delay}
}

// giveUpDoubt ends a doubtful request. Its reservation stays, because the message may have been sent.
func (p Policy) giveUpDoubt(rec passcode.Result) decision {
	if rec.Error == nil {
		rec.Error = failure("not_found", passcode.ClassInDoubt, "no look-up found the message")
	}
	return decision{store: true, letter: passcode.ReasonUnknown, record: rec.In(passcode.StatusUnknown), disposition: term}
}

// untilLookup is how long until the record's next planned look-up. It is bounded, in case the clock of the
// worker that made the attempt runs ahead.
func (p Policy) untilLookup(rec passcode.Result, now time.Time) time.Duration {
	if rec.Lookups >= len(p.Lookups) {
		return 0
	}
	planned := p.Lookups[rec.Lookups]
	return min(max(rec.AttemptedAt.Add(planned).Sub(now), 0), planned)
}

// endUndeliverable decides on a request whose job the server no longer delivers. A worker whose call is in
// progress may still record what became of it, so that is waited for.
func (p Policy) endUndeliverable(rec passcode.Result, why domain.Undeliverable, now time.Time) decision {
	if interrupted(rec) {
		began := slices.MaxFunc([]time.Time{rec.AttemptedAt, rec.LookupBeganAt}, time.Time.Compare)
		if left := began.Add(p.CallBound).Sub(now); left > 0 {
			return requeue(min(left, p.CallBound))
		}
	}
	// In any other state a message may have been sent, and the reservation stays.
	surelyNotSent := rec.Status == passcode.StatusRetrying
	rec.LookupBeganAt = time.Time{}
	rec.Error = undeliverableError(why)
	return decision{
		letter: passcode.ReasonPoison, release: surelyNotSent, disposition: term,
		store: true, record: rec.In(passcode.StatusDeadLettered),
		level: slog.LevelError, note: "the server no longer delivers a job: it becomes a dead letter",
	}
}

// undeliverableError says why a job was given up, and how to fix it.
func undeliverableError(why domain.Undeliverable) *passcode.Error {
	if why.Terminated {
		message := "somebody other than a worker took the job out of the stream"
		if why.Reason != "" {
			message += " (" + why.Reason + ")"
		}
		return failure("terminated", passcode.ClassPoison, message)
	}
	times := ""
	if why.Deliveries > 0 {
		times = fmt.Sprintf(" after %d deliveries", why.Deliveries)
	}
	return failure("max_deliveries", passcode.ClassPoison, "the server stopped delivering the job"+times+
		", because the consumer's max_deliver is set: set it back to -1, then replay the job")
}

// Backoff returns the wait after each attempt: exponential, and spread by up to factor either way. The spread is
// derived from the request id. So requests that failed together come back apart, the gaps of one request always
// grow, and every replica computes the same.
func Backoff(initial time.Duration, multiplier, factor float64, maxInterval time.Duration) func(string, int) time.Duration {
	return func(requestID string, attempt int) time.Duration {
		interval := retry.Interval(initial, multiplier, maxInterval, attempt)
		return time.Duration(float64(interval) * (1 + factor*spread(requestID)))
	}
}

// spread maps a request id evenly onto [-1, 1).
func spread(requestID string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(requestID)) // a hash never fails
	// FNV mixes the last bytes badly, and ids that count up differ only there.
	x := h.Sum64() * 0x9E3779B97F4A7C15
	return float64(x>>11)/(1<<52) - 1
}

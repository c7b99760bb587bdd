package consumer

import (
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// finish is what becomes of the message, after all else is stored.
type finish int

const (
	finishAck  finish = iota // the job is done
	finishTerm               // the job is given up; an operator has it
	finishNak                // the job is to come again after a delay
)

// signal is what an outcome tells about the whole account.
type signal int

const (
	signalNothing signal = iota // the call said nothing about the account
	signalPassed                // Aliyun dealt with the request, so the account works
	signalTrip                  // nothing can be sent for this account now
)

// verdict is what is to be done about a job. It is decided here, by pure
// functions of what happened, the record, the clock and the policy, and carried
// out elsewhere (see apply).
type verdict struct {
	// record is the request's next state.
	record passcode.Result
	// dead is the reason for a dead letter, empty for none.
	dead passcode.Reason
	// release gives the request's place in the phone's limits back.
	release bool
	// closeFor closes the phone in our limiter, because Aliyun did.
	closeFor time.Duration
	// certain is true where it is known what became of the last attempt.
	certain bool
	signal  signal
	finish  finish
	// delay is how long to wait with finishNak.
	delay time.Duration
}

// Words of ours where an error's code is not Aliyun's.
const (
	codeInvalid     = "invalid_job"
	codePhoneLimit  = "phone_limit"
	codeExpired     = "expired"
	codeInterrupted = "worker_interrupted"
	codeNotFound    = "not_found"
	codeUndelivered = "undelivered"
	codePanic       = "panic"
	codeCorrupt     = "record_corrupt"
	codeForgotten   = "record_lost"
	codeUnrecorded  = "record_expired"
)

// settleOutcome decides after a call to Aliyun. rec is the record as it stood
// during the call: sending, with the attempt counted.
func (p Policy) settleOutcome(rec passcode.Result, out domain.Outcome, now time.Time) verdict {
	rec.UpdatedAt = now
	rec.NextAttemptAt = time.Time{}
	rec.ProviderRequestID = out.ProviderRequestID
	rec.Error = &passcode.Error{Code: out.Code, Class: out.Class, Message: out.Message}
	v := verdict{certain: true}
	if out.ProviderRequestID != "" {
		v.signal = signalPassed
	}

	switch out.Class {
	case passcode.ClassOK:
		rec.Error = nil
		rec.BizID = out.BizID
		v.record, v.finish = rec.In(passcode.StatusSent), finishAck

	case passcode.ClassTransient, passcode.ClassThrottled:
		v.signal = signalNothing
		if out.NotMade {
			rec.Attempts-- // trouble of ours costs the job no attempt
		}
		return p.again(v, rec, p.Backoff(rec.RequestID, rec.Attempts), now)

	case passcode.ClassPhoneLimited:
		rec.RetryAfterSeconds = seconds(out.Window)
		v.release, v.closeFor = true, out.Window
		v.record, v.finish = rec.In(passcode.StatusRateLimited), finishAck

	case passcode.ClassRecipient:
		v.release = true
		v.record, v.finish = rec.In(passcode.StatusRejected), finishAck

	case passcode.ClassAccount:
		// The call reached nobody's phone and will be made again, however long
		// the account stays closed: it is no attempt.
		rec.Attempts--
		v.signal = signalTrip
		v.record, v.finish = rec.In(passcode.StatusRetrying), finishNak

	case passcode.ClassInDoubt:
		v.signal, v.certain = signalNothing, false
		rec.Lookups = 0
		v.record, v.finish = rec.In(passcode.StatusInDoubt), finishNak
		v.delay = p.untilLookup(rec, now)

	default: // config, and any class nobody thought of: a person must look
		v.release = true
		v.dead = passcode.ReasonConfig
		v.record, v.finish = rec.In(passcode.StatusDeadLettered), finishTerm
	}
	return v
}

// again decides on a further attempt after one that surely sent nothing.
func (p Policy) again(v verdict, rec passcode.Result, wait time.Duration, now time.Time) verdict {
	next := now.Add(wait)
	switch {
	case rec.Attempts >= p.MaxAttempts:
		v.release = true
		v.dead = passcode.ReasonExhausted
		v.record, v.finish = rec.In(passcode.StatusDeadLettered), finishTerm
	case !next.Before(rec.ExpiresAt):
		v.release = true
		v.record, v.finish = rec.In(passcode.StatusExpired), finishAck
	default:
		rec.NextAttemptAt = next
		v.record, v.finish, v.delay = rec.In(passcode.StatusRetrying), finishNak, wait
	}
	return v
}

// settleDenied decides where our own limit refused the request. The attempt
// that the claim counted was not made.
func (p Policy) settleDenied(rec passcode.Result, res domain.Reservation, now time.Time) verdict {
	rec.UpdatedAt = now
	rec.NextAttemptAt = time.Time{}
	rec.Attempts--
	rec.RetryAfterSeconds = seconds(res.RetryAfter)
	rec.Error = &passcode.Error{
		Code:    codePhoneLimit,
		Class:   passcode.ClassPhoneLimited,
		Message: "the limit " + res.Rule + " of this phone is used up",
	}
	if res.Rule == domain.RuleClosed {
		rec.Error.Message = "Aliyun closed this phone for a while"
	}
	return verdict{
		record:  rec.In(passcode.StatusRateLimited),
		release: true, // an earlier attempt of the same request may hold a place
		certain: true,
		finish:  finishAck,
	}
}

// settleExpired decides where the code ran out before an attempt, with nothing
// in doubt.
func (p Policy) settleExpired(rec passcode.Result, now time.Time) verdict {
	rec.UpdatedAt = now
	rec.NextAttemptAt = time.Time{}
	rec.Error = expiredError(rec)
	return verdict{record: rec.In(passcode.StatusExpired), release: true, certain: true, finish: finishAck}
}

// expiredError keeps the last attempt's error, which says why the code could
// not be sent in time.
func expiredError(rec passcode.Result) *passcode.Error {
	if rec.Error != nil {
		return rec.Error
	}
	return &passcode.Error{
		Code:    codeExpired,
		Class:   passcode.ClassExpired,
		Message: "the passcode expired before it could be sent",
	}
}

// interrupted reports whether a redelivered job's record tells of a worker that
// went away with a call to Aliyun under way: an attempt, or a look-up.
func interrupted(rec passcode.Result) bool {
	return rec.Status == passcode.StatusSending ||
		rec.Status == passcode.StatusInDoubt && !rec.LookupBeganAt.IsZero()
}

// settleInterrupted decides on such a job. An attempt may have been made, and is
// in doubt from now on; a look-up is made again.
func (p Policy) settleInterrupted(rec passcode.Result, now time.Time) verdict {
	rec.UpdatedAt = now
	rec.NextAttemptAt, rec.LookupBeganAt = time.Time{}, time.Time{}
	rec.Interruptions++
	if rec.Interruptions >= p.MaxInterruptions {
		rec.Error = &passcode.Error{
			Code:    codeInterrupted,
			Class:   passcode.ClassPoison,
			Message: fmt.Sprintf("%d workers went away while they held this job", rec.Interruptions),
		}
		return verdict{
			dead:   passcode.ReasonPoison,
			record: rec.In(passcode.StatusDeadLettered),
			finish: finishTerm,
		}
	}
	if rec.Status == passcode.StatusSending {
		rec.Lookups = 0
		rec.Error = &passcode.Error{
			Code:    codeInterrupted,
			Class:   passcode.ClassInDoubt,
			Message: "the worker went away while a call may have been under way",
		}
	}
	return verdict{
		record: rec.In(passcode.StatusInDoubt),
		finish: finishNak,
		delay:  p.untilLookup(rec, now),
	}
}

// settleFinding decides after a look-up that was answered.
func (p Policy) settleFinding(rec passcode.Result, found domain.Finding, now time.Time) verdict {
	// The answer is as old as the question: a worker may have been frozen with it in
	// its hands, and what Aliyun lists since then is not in it.
	asked := now
	if !rec.LookupBeganAt.IsZero() {
		asked = rec.LookupBeganAt
	}
	rec.UpdatedAt = now
	rec.NextAttemptAt, rec.LookupBeganAt = time.Time{}, time.Time{}
	switch found.State {
	case domain.Accepted:
		rec.Error = nil
		rec.Recovered = true
		return verdict{record: rec.In(passcode.StatusSent), certain: true, finish: finishAck}
	case domain.Undelivered:
		rec.Recovered = true
		rec.Error = &passcode.Error{
			Code:    orElse(found.ErrorCode, codeUndelivered),
			Class:   passcode.ClassRecipient,
			Message: "Aliyun accepted the message and the carrier could not deliver it",
		}
		return verdict{record: rec.In(passcode.StatusUndelivered), certain: true, finish: finishAck}
	}

	// One look-up stands for all whose time has come.
	sinceAttempt := asked.Sub(rec.AttemptedAt)
	rec.Lookups++
	for rec.Lookups < len(p.Lookups) && p.Lookups[rec.Lookups] <= sinceAttempt {
		rec.Lookups++
	}
	if rec.Lookups < len(p.Lookups) {
		return verdict{record: rec, finish: finishNak, delay: p.untilLookup(rec, now)}
	}
	if interrupted := rec.Error != nil && rec.Error.Code == codeInterrupted; interrupted && sinceAttempt < p.CallBound {
		// The worker that made the attempt may not be gone but frozen, and its
		// call may still go out.
		return verdict{record: rec, finish: finishNak, delay: p.CallBound - max(sinceAttempt, 0)}
	}
	// Without an attempt of its own the doubt is about the life before, and an
	// operator has asked for this one: that is no sending again by ourselves. Of a
	// life whose record was lost we know only that nobody has asked.
	resend := p.Resend || rec.Attempts == 0 && !lost(rec)
	if !resend || !now.Before(rec.ExpiresAt) || rec.Attempts >= p.MaxAttempts {
		return p.unknown(rec)
	}
	// Nothing reached Aliyun that it knows of: like a transient failure, with a
	// wait of its own already behind it.
	rec.NextAttemptAt = now
	return verdict{record: rec.In(passcode.StatusRetrying), finish: finishNak}
}

// lost reports whether the doubt is about what stood in a record that is gone.
func lost(rec passcode.Result) bool { return rec.Error != nil && rec.Error.Code == codeForgotten }

// settleLookupFailed decides where a look-up got no answer. It is asked again
// until the code expires and the last planned look-up is past; a failed look-up
// counts for none of the planned ones, because it told nothing.
func (p Policy) settleLookupFailed(rec passcode.Result, now time.Time) verdict {
	rec.UpdatedAt, rec.LookupBeganAt = now, time.Time{}
	last := rec.AttemptedAt
	if n := len(p.Lookups); n > 0 {
		last = last.Add(p.Lookups[n-1])
	}
	if !now.Before(rec.ExpiresAt) && !now.Before(last) {
		return p.unknown(rec)
	}
	// Doubled for each planned look-up's worth of time that has gone by.
	return verdict{record: rec, finish: finishNak, delay: p.Backoff(rec.RequestID, 1+int(now.Sub(rec.AttemptedAt)/(5*time.Second)))}
}

// unknown gives a doubtful request up. The place in the limits stays taken,
// because the message may have gone out.
func (p Policy) unknown(rec passcode.Result) verdict {
	rec.NextAttemptAt = time.Time{}
	if rec.Error == nil {
		rec.Error = &passcode.Error{
			Code:    codeNotFound,
			Class:   passcode.ClassInDoubt,
			Message: "no look-up found the message",
		}
	}
	return verdict{dead: passcode.ReasonUnknown, record: rec.In(passcode.StatusUnknown), finish: finishTerm}
}

// untilLookup is how long until the record's next planned look-up. It is never
// longer than planned from now on, should the clock of the worker that made the
// attempt run ahead of ours.
func (p Policy) untilLookup(rec passcode.Result, now time.Time) time.Duration {
	if rec.Lookups >= len(p.Lookups) {
		return 0
	}
	planned := p.Lookups[rec.Lookups]
	return min(max(rec.AttemptedAt.Add(planned).Sub(now), 0), planned)
}

// seconds rounds up, so that a producer that waits as told is not refused again.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

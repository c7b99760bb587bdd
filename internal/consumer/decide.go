package consumer

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// disposition is what becomes of the message, after all else is stored.
type disposition int

const (
	ack  disposition = iota // the job is done
	term                    // the job is given up; an operator has it
	nak                     // the job is to come again after a delay
)

// decision is what becomes of a job. executor.carryOut carries it out.
type decision struct {
	// What is done, in the order of EffectsInOrder.
	letter    passcode.Reason // of a dead letter; empty: none
	closeFor  time.Duration   // Aliyun closed the phone for so long
	release   bool            // the request's reservation is released
	store     bool            // record is written, which has the server announce it
	record    passcode.Result // the request's next state
	certain   bool            // it is known what became of the last attempt
	again     bool            // the record is announced once more
	duplicate bool            // and as a duplicate's result

	// How the job goes on after that.
	next        stage // stageEnd: it doesn't, and the message is disposed of
	goal        goal  // from now on; goalSend: as before
	alone       bool  // no other suspect may make a call meanwhile
	disposition disposition
	delay       time.Duration // of a nak
	holds       bool          // the job waits for the end of an outage, and uses its permit up

	// What is counted and logged.
	delivery string // a kind of delivery
	level    slog.Level
	note     string
	why      error
}

const (
	// Codes of our own that decide makes and reads again.
	codeInterrupted = "worker_interrupted"
	codeLost        = "record_lost"

	requeueDelay = time.Second           // how soon a job comes again that can't be handled now
	maxPauseWait = 5 * time.Second       // only spreads the return of jobs: the pause on the server holds them back
	maxHold      = time.Second           // short, because another worker may be able to send
	overdue      = 10 * time.Minute      // so long after its code expired, nobody will end a job in the stream
	earlyBy      = 50 * time.Millisecond // allows for clocks that differ a little
)

// decide says what becomes of a job after an event. rec is its request's record, or the job's first one if that
// isn't known yet. It is the only place that judges.
func (p Policy) decide(rec passcode.Result, e event, now time.Time) decision {
	next := rec
	next.UpdatedAt, next.NextAttemptAt = now, time.Time{}
	switch e := e.(type) {
	case decoded:
		return p.unlessExpired(rec, next, stageOutage, now)
	case refused:
		next.Error = failure("invalid_job", passcode.ClassInvalid, e.why.Error())
		return refuse(decision{
			letter: passcode.ReasonInvalid, record: next.In(passcode.StatusRejected), delivery: "invalid", note: "job refused",
		})
	case undelivered:
		if left := rec.ExpiresAt.Add(overdue).Sub(now); e.why.Suspected && left > 0 {
			return requeue(left)
		}
		return decision{next: stageRead, goal: goalEnd}
	case panicked:
		if e.claimed {
			// The record says sending, so the next delivery counts it as an interruption.
			return requeueAfter(errors.New("the job made its handler panic"))
		}
		next.Error = failure("panic", passcode.ClassPoison, "the job made its handler panic")
		return refuse(decision{letter: passcode.ReasonPoison, record: next.In(passcode.StatusDeadLettered)})
	case failed:
		if !unusable(e.why) {
			return requeueAfter(e.why)
		}
		// The job would come back for ever.
		next.Error = failure("record_corrupt", passcode.ClassPoison, "the request's record can't be read or written")
		return decision{
			letter: passcode.ReasonPoison, record: next.In(passcode.StatusDeadLettered), disposition: term,
			level: slog.LevelError, note: "the request's record can't be used", why: e.why,
		}
	case probed:
		return p.unlessExpired(rec, next, stageAccount, now)
	case silent:
		return decision{next: stageRead, goal: goalHold}
	case delayed:
		return requeue(heldFor(rec, min(e.wait, maxPauseWait)))

	case judged:
		d := p.judge(rec, next, e, now)
		switch {
		case e.goal == goalRefuse:
			// The worker that wrote the record may have died before it replied.
			return decision{again: d.again, duplicate: d.duplicate, disposition: term}
		case e.goal == goalHold && !d.holds:
			d.delivery = deliveries[e.state]
		}
		return d
	case dated:
		return p.sendUnlessLost(rec, e.since, now)
	case ownerFound:
		if e.waits {
			return dropped
		}
		return takeOver

	case called:
		return p.settle(next, e.Outcome, e.until, now)
	case answered:
		return p.settleFinding(next, e.Finding, now)
	case unanswered:
		return p.settleNoAnswer(next, now)
	default:
		panic(fmt.Sprintf("no decision on %T", e))
	}
}

// unlessExpired has a job go on, unless its code has expired.
func (p Policy) unlessExpired(rec, next passcode.Result, to stage, now time.Time) decision {
	if now.Before(rec.ExpiresAt) {
		return decision{next: to}
	}
	first := p.expire(next).record
	if rec.Replays > 0 {
		// The replay may open a request that was perhaps sent. Until that is known, its record
		// must not say that it ended unsent.
		first = next.In(passcode.StatusSending)
		first.AttemptedAt = now
		first = afterPreviousReplay(rec, first)
	}
	return decision{record: first, next: stageClaim, goal: goalExpire}
}

// judge decides by who owns the request. next is rec as it changes now.
func (p Policy) judge(rec, next passcode.Result, e judged, now time.Time) decision {
	switch e.state {
	case domain.ClaimWon, domain.ClaimReopened:
		return p.judgeOwn(rec, next, e, now)
	case domain.ClaimResumed:
		d := p.judgeResumed(rec, next, e, now)
		// Two of its workers went away, so it is a suspect. A worker's end is counted for every job in its
		// hands. If suspects made their calls at the same time, innocent ones would become poison too.
		d.alone = d.next != stageEnd && rec.Interruptions >= 2
		return d
	case domain.ClaimDuplicate:
		return decision{again: true, duplicate: true, note: "duplicate of a finished request"}
	default:
		// The owner of the request ends and announces it. If the owner is gone from the stream, nobody would,
		// so this job takes over.
		switch {
		case !e.samePhone: // look-ups would ask about another number than the owner's
			return dropped
		case e.sameSequence: // so this job stands in its owner's place
			return takeOver
		default:
			return decision{next: stageFindOwner}
		}
	}
}

var (
	dropped  = decision{note: "duplicate of a request in progress"}
	takeOver = decision{next: stageTakeOver, level: slog.LevelWarn, note: "the request's job is gone from the stream; this one takes over"}
)

// deliveries are the kinds of a delivery in the metrics.
var deliveries = [...]string{
	domain.ClaimWon: "new", domain.ClaimReopened: "reopened", domain.ClaimResumed: "redelivered",
	domain.ClaimDuplicate: "duplicate", domain.ClaimInProgress: "under_way",
}

// judgeOwn decides on a job whose request is new, or was opened by it again.
func (p Policy) judgeOwn(rec, next passcode.Result, e judged, now time.Time) decision {
	switch e.goal {
	case goalEnd:
		return refuse(p.endUndeliverable(next, *e.why, now))
	case goalHold:
		return hold(rec, e.hold, now)
	case goalExpire:
		var d decision
		switch {
		case rec.Final:
			d.note = "request expired"
			d.release = e.redelivered // a worker may have died after it had reserved ahead, before its claim
		case rec.Status == passcode.StatusInDoubt: // a replay, which may have been sent before
			d = p.lookUpWhenDue(rec, now)
		default:
			next.Attempts, next.AttemptedAt = 0, time.Time{} // there was no attempt
			d = p.expire(next)
		}
		d.delivery = "expired"
		return d
	default:
		if e.state == domain.ClaimWon && e.redelivered {
			return decision{next: stageRecordsAge}
		}
		return p.sendUnlessLost(rec, time.Time{}, now)
	}
}

// sendUnlessLost decides on a job whose record was just created. If it was delivered before and is older than
// the oldest record, its earlier record may have been deleted. Usually such a job was requeued before its claim,
// but nothing tells, so Aliyun is asked before it is sent.
func (p Policy) sendUnlessLost(rec passcode.Result, since, now time.Time) decision {
	switch {
	case rec.QueuedAt.Before(since):
		next := rec.In(passcode.StatusInDoubt)
		// Any attempt was begun before since.
		next.Attempts, next.AttemptedAt, next.UpdatedAt = 0, slices.MinFunc([]time.Time{since, now}, time.Time.Compare), now
		next.Error = failure(codeLost, passcode.ClassInDoubt, "the request's earlier record is gone from the broker")
		d := p.lookUpWhenDue(next, now)
		d.store, d.record = true, next
		d.level, d.note = slog.LevelWarn, "the job came before and its record is gone; Aliyun is asked before it is sent"
		return d
	case rec.Status == passcode.StatusInDoubt:
		return p.lookUpWhenDue(rec, now)
	default:
		return decision{next: stageReserve}
	}
}

// judgeResumed decides on a job that owns its request and was delivered before.
func (p Policy) judgeResumed(rec, next passcode.Result, e judged, now time.Time) decision {
	switch {
	case rec.Final: // only the announcement or the ack was lost, or the release of an expired request's reservation
		d := decision{again: true, release: rec.Status == passcode.StatusExpired}
		if rec.Status.Replayable() {
			d.disposition = term
		}
		return d
	case e.goal == goalEnd:
		return p.endUndeliverable(next, *e.why, now)
	case e.goal == goalHold && rec.Status == passcode.StatusRetrying:
		return hold(rec, e.hold, now)
	case interrupted(rec):
		return p.settleInterrupted(next, now)
	case rec.Status == passcode.StatusInDoubt:
		return p.lookUpWhenDue(rec, now)
	case e.goal == goalExpire:
		return p.expire(next)
	}
	// A job that waits for the account goes on as soon as the account breaker admits it.
	waitsForAccount := rec.Error != nil && rec.Error.Class == passcode.ClassAccount
	if wait := rec.NextAttemptAt.Sub(now); wait > earlyBy && !waitsForAccount {
		// Delivered early, as after a restart of the broker. The bound is for a clock that ran ahead.
		return requeue(min(wait, p.Backoff(rec.RequestID, rec.Attempts)))
	}
	return decision{next: stageCount}
}

// stillHolds reports whether what was decided on mine may be stored over a record that another worker wrote
// meanwhile. It may if the other took the same attempt for doubtful, after this worker had lost its lease, and
// this worker knows what became of it: knowing beats doubting.
func (d decision) stillHolds(mine, stored passcode.Result) bool {
	return d.certain && !stored.Final && domain.Owns(stored, mine.StreamSeq, mine.Replays) &&
		stored.AttemptedAt.Equal(mine.AttemptedAt) &&
		(stored.Status == passcode.StatusSending || stored.Status == passcode.StatusInDoubt)
}

// refuse ends a job that can't be handled: its dead letter first, then its record, if its request id can be read
// and no other job owns the request.
func refuse(d decision) decision {
	d.next, d.goal, d.store, d.disposition = stageClaim, goalRefuse, false, term
	if d.record.RequestID == "" {
		d.next = stageEnd
	}
	return d
}

func requeue(delay time.Duration) decision { return decision{disposition: nak, delay: delay} }

func requeueAfter(why error) decision {
	d := decision{disposition: nak, delay: requeueDelay, delivery: "handed_back", level: slog.LevelWarn, note: "job requeued", why: why}
	switch {
	case errors.Is(why, errStopping):
		d.delay, d.level = 0, slog.LevelDebug
	case errors.Is(why, domain.ErrConflict):
		d.level = slog.LevelInfo // another worker moved the request on
	}
	return d
}

// heldFor spreads the return of jobs that wait.
func heldFor(rec passcode.Result, wait time.Duration) time.Duration {
	return wait + time.Duration((1+spread(rec.RequestID))/2*float64(requeueDelay))
}

// hold requeues a job until the outage breaker may let it pass and its attempt is due, or its code has expired.
func hold(rec passcode.Result, wait time.Duration, now time.Time) decision {
	wait = max(heldFor(rec, min(wait, maxHold)), rec.NextAttemptAt.Sub(now))
	d := requeue(max(min(wait, rec.ExpiresAt.Sub(now)), time.Millisecond))
	d.holds = true
	return d
}

// afterPreviousReplay is the first record of a job. If an earlier replay had an attempt, the record is in doubt
// about it, because records expire sooner than dead letters. If there still is a record, the ledger goes by that.
func afterPreviousReplay(rec, first passcode.Result) passcode.Result {
	if rec.Replays == 0 || rec.AttemptedAt.IsZero() {
		return first
	}
	first = first.In(passcode.StatusInDoubt)
	first.Attempts, first.AttemptedAt = 0, rec.AttemptedAt
	first.Error = failure("record_expired", passcode.ClassInDoubt, "the replayed request had an attempt, and its record has expired since")
	return first
}

func failure(code string, class passcode.Class, message string) *passcode.Error {
	return &passcode.Error{Code: code, Class: class, Message: message}
}

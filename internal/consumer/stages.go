package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// stage is a place in stages.
type stage int

const (
	stageEnd stage = iota
	stageDecode
	stageOutage
	stageAccount
	stageClaim
	stageRead
	stageRecordsAge
	stageFindOwner
	stageTakeOver
	stageCount
	stageReserve
	stageSend
	stageLookUp
)

// stages are what a job goes through. Each does one thing with the world and returns what happened. After
// passed, the job goes on to the next stage of this list. Any other event is judged by decide, and the
// decision names the stage at which the job goes on, or ends it.
var stages = [...]func(*task, context.Context, decision) (event, error){
	// Every job passes these. Nothing is written for it before its claim.
	stageDecode:  (*task).decode,  // a job that breaks the rules, or whose code has expired, ends
	stageOutage:  (*task).outage,  // while Aliyun answers nothing, jobs wait
	stageAccount: (*task).account, // while the account is closed, jobs wait
	stageClaim:   (*task).claim,   // the request's record is created or found

	// What the claim, or the record, leads to.
	stageRead:       (*task).read,       // instead of a claim, if nothing may be sent
	stageRecordsAge: (*task).recordsAge, // may the record of a redelivered job be lost?
	stageFindOwner:  (*task).findOwner,  // is the job that owns the request still there?
	stageTakeOver:   (*task).takeOver,   // if not, this one takes over

	// An attempt.
	stageCount:   (*task).count,   // a further one is counted
	stageReserve: (*task).reserve, // within the phone's limits
	stageSend:    (*task).send,    // the call
	stageLookUp:  (*task).lookUp,  // what became of a doubtful one
}

// goal is what a job is in hand for.
type goal int

const (
	goalSend   goal = iota // it is to be sent
	goalExpire             // its code has run out, so nothing may be sent
	goalHold               // Aliyun answers nothing, so nothing may be sent now
	goalEnd                // the server no longer delivers it
	goalRefuse             // it can't be handled, and has its dead letter
)

// event is what happened to a job: one of the types below.
type event any

type (
	passed   struct{}               // nothing happened, and the job goes on to the next stage
	failed   struct{ why error }    // an operation did, so the job can't go on here and now
	panicked struct{ claimed bool } // our own code did, on this job

	decoded     struct{}                             // the job can be handled
	refused     struct{ why *passcode.InvalidError } // it breaks the rules
	undelivered struct{ why *domain.Undeliverable }  // the server no longer delivers it
	probed      struct{}                             // Aliyun answers again; asking it took time
	silent      struct{}                             // Aliyun answers nothing
	delayed     struct{ wait time.Duration }         // it can't go on for so long

	// judged: the request's record was claimed, or read.
	judged struct {
		state                   domain.ClaimState
		goal                    goal
		redelivered             bool                  // the server delivered the job before
		samePhone, sameSequence bool                  // as the owner of the request
		hold                    time.Duration         // with goalHold
		why                     *domain.Undeliverable // with goalEnd
	}
	dated      struct{ since time.Time } // no record is missing that was written after that time
	ownerFound struct{ waits bool }      // whether the job that owns the request is in the stream

	// called: a call to Aliyun ended. If the account is closed, until is when the next may be made.
	called struct {
		domain.Outcome
		until time.Time
	}
	answered   struct{ domain.Finding } // a look-up was
	unanswered struct{}                 // a look-up failed
)

// task is one job on its way through the stages.
type task struct {
	domain.Delivery
	c        *Consumer
	stopping context.Context // ends when the worker begins to stop

	// The permission to make one call to Aliyun: from the pacer, and from the two breakers.
	permit       func() // returns it to the pacer; nil: a call used it, or it was returned
	probe        bool   // the outage breaker waits to be told of the call
	accountProbe bool   // so does the account breaker

	goal      goal
	origin    domain.Origin
	job       passcode.Job
	phone     passcode.Phone        // canonical; zero if the job is invalid
	hold      time.Duration         // for how long the outage breaker sends nothing
	why       *domain.Undeliverable // why the server no longer delivers the job; nil: it does
	replays   int                   // of the request, this one included
	attempted time.Time             // when the previous replay's last attempt began; zero: there was none

	rec      passcode.Result // the request's record; before the claim, the job's first one
	revision uint64          // of that record; 0: it isn't known to be stored
	reserved bool            // within the phone's limits, since begun
	known    bool            // something is, of the phone
	alone    bool            // no other suspect may make a call meanwhile
	renewed  time.Time       // when its lease was
	begun    time.Time       // rec.AttemptedAt with the monotonic clock's reading, which a stored record loses
}

// outage asks the outage breaker. A probe begins with a look-up: while Aliyun is silent, a send would leave
// the request in doubt, and a look-up leaves nothing. Its finding is not used here.
func (t *task) outage(ctx context.Context, _ decision) (event, error) {
	may := t.c.Outage.Admit(t.rec.RequestID)
	if may.Probe {
		t.probe = true
		_, err := t.c.Sender.Lookup(ctx, t.phone, t.rec.RequestID, t.c.Now())
		may = t.c.Outage.Asked(t.rec.RequestID, err)
		t.probe = may.Allowed
	}
	switch {
	case !may.Allowed:
		t.hold = may.Wait
		return silent{}, nil
	case may.Probe:
		return probed{}, nil
	default:
		return passed{}, nil
	}
}

// account comes before the claim, so that a job that has to wait is requeued at no cost.
func (t *task) account(context.Context, decision) (event, error) {
	admission, err := t.c.Account.Admit(t.stopping)
	switch {
	case err != nil && t.stopping.Err() != nil:
		return nil, errStopping
	case err != nil:
		return nil, t.c.ended("admit", nothing, err)
	case !admission.Allowed:
		return delayed{admission.Wait}, nil
	}
	t.accountProbe = admission.Probe
	return passed{}, nil
}

func (t *task) claim(ctx context.Context, d decision) (event, error) {
	first := d.record
	if t.goal == goalSend {
		t.begun = t.c.Now()
		first = t.rec.In(passcode.StatusSending)
		first.Attempts, first.AttemptedAt, first.UpdatedAt = 1, t.begun, t.begun
		first = afterPreviousReplay(t.rec, first)
	}
	wait := t.reserveAhead(ctx)
	claim, err := t.c.Ledger.Claim(ctx, first)
	t.reserved, t.known = wait()
	if err = t.c.ended("claim", records, err); err != nil {
		return nil, err
	}
	t.rec, t.revision = claim.Record, claim.Revision
	t.c.Metrics.Delivery(deliveries[claim.State])
	switch {
	case claim.State.Own():
		t.stored()
	case t.reserved: // for a request that is another job's
		t.reserved = false
		err = t.c.retry(ctx, "release", limits, func(ctx context.Context) error {
			return t.c.Limiter.Release(ctx, t.phone, t.rec.RequestID, 0)
		})
	}
	return t.judged(claim.State), err
}

// reserveAhead has a new job reserve while it claims, instead of after that. Nothing is sent before both have
// succeeded. It is not done for a job that came before, because its request may have a reservation.
func (t *task) reserveAhead(ctx context.Context) (wait func() (made, known bool)) {
	if t.goal != goalSend || t.origin.Deliveries > 1 || t.replays > 0 {
		return func() (bool, bool) { return false, false }
	}
	return t.c.Limiter.ReserveAhead(ctx, t.phone, t.rec.RequestID)
}

// stored counts a record that was just stored, which the server announces by itself.
func (t *task) stored() {
	t.c.Metrics.Status(t.rec.Status)
	t.reply(t.rec)
}

// read takes a job as far as it comes without a claim.
func (t *task) read(ctx context.Context, _ decision) (event, error) {
	rec, revision, err := t.c.Ledger.Get(ctx, t.rec.RequestID)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return t.judged(domain.ClaimWon), nil
	case err != nil && t.goal == goalHold:
		return nil, t.c.ended("admit", nothing, err)
	case err != nil:
		return nil, t.c.ended("abandoned", records, err)
	}
	state := domain.Judge(t.rec, rec)
	if !state.Own() {
		t.rec, t.revision = rec, revision
	}
	return t.judged(state), nil
}

func (t *task) judged(state domain.ClaimState) event {
	return judged{
		state: state, goal: t.goal, redelivered: t.origin.Deliveries > 1, hold: t.hold, why: t.why,
		samePhone: t.rec.Phone == t.phone.Masked(), sameSequence: t.rec.StreamSeq == t.origin.Seq,
	}
}

func (t *task) recordsAge(ctx context.Context, _ decision) (event, error) {
	var since time.Time
	err := t.c.retry(ctx, "recover", records, func(ctx context.Context) (err error) {
		since, err = t.c.Ledger.Since(ctx)
		return err
	})
	return dated{since}, err
}

func (t *task) findOwner(ctx context.Context, _ decision) (event, error) {
	waits, err := t.c.Waits(ctx, t.rec.StreamSeq, t.rec.RequestID)
	return ownerFound{waits}, t.c.ended("find owner", jobs, err)
}

// takeOver makes the job the owner of the record, which otherwise stays as it is. The job's next delivery is
// a redelivery and goes on from there, as after a frozen worker.
//
// If the owner has ended meanwhile, the record has changed and the update fails. If the replica that answered
// findOwner was behind, two jobs are at one request for a while, as after a lost lease, and the record decides.
func (t *task) takeOver(ctx context.Context, _ decision) (event, error) {
	rec := t.rec
	rec.StreamSeq, rec.Replays, rec.UpdatedAt = t.origin.Seq, t.replays, t.c.Now()
	return delayed{requeueDelay / 2}, t.move(ctx, "recover", rec)
}

// move makes rec the job's record. It retries for long, because the job's next delivery can't tell a write of
// unknown result from a worker that went away.
func (t *task) move(ctx context.Context, name string, rec passcode.Result) error {
	rec.Worker = t.c.Worker
	return t.c.retry(ctx, name, records, func(ctx context.Context) error { return t.update(ctx, rec) })
}

func (t *task) update(ctx context.Context, rec passcode.Result) error {
	revision, err := t.c.Ledger.Update(ctx, rec, t.revision)
	if err == nil {
		t.rec, t.revision = rec, revision
	}
	return err
}

func (t *task) count(ctx context.Context, _ decision) (event, error) {
	t.begun = t.c.Now()
	rec := t.rec.In(passcode.StatusSending)
	rec.Attempts++
	rec.AttemptedAt, rec.UpdatedAt, rec.NextAttemptAt = t.begun, t.begun, time.Time{}
	rec.Lookups, rec.Worker, rec.Error = 0, t.c.Worker, nil
	if err := t.c.ended("count attempt", records, t.update(ctx, rec)); err != nil {
		return nil, err
	}
	t.stored()
	return passed{}, nil
}

func (t *task) reserve(ctx context.Context, _ decision) (event, error) {
	// The window counts from the reservation, so one that is older than a request to the broker may take is moved.
	if t.reserved && t.c.Now().Sub(t.begun) < retry.Request.Try {
		return passed{}, nil
	}
	res, err := t.c.Limiter.Reserve(ctx, t.phone, t.rec.RequestID, t.revision, t.known)
	if t.c.ended("reserve", limits, err) != nil {
		return called{Outcome: unreserved}, nil //nolint:nilerr // the outcome tells
	}
	if res.Allowed {
		return passed{}, nil
	}
	t.c.Metrics.Denied(res.Rule)
	return called{Outcome: denied(res)}, nil
}

func (t *task) send(ctx context.Context, _ decision) (event, error) {
	t.permit, t.probe = nil, false
	began := t.c.Now()
	// Past the fence another worker may ask what became of this attempt, so it must not be made any more.
	// A worker that was frozen here and wakes late finds the fence closed.
	out := t.c.Sender.Send(ctx, domain.Message{
		RequestID: t.rec.RequestID, Phone: t.phone,
		Code: t.job.Code, UsageType: t.job.UsageType, Params: t.job.Params,
	}, t.begun.Add(t.c.CallFence))
	t.c.Metrics.Attempt(out.Class, t.c.Now().Sub(began))
	return called{out, t.observe(ctx, out)}, nil
}

func (t *task) lookUp(ctx context.Context, _ decision) (event, error) {
	// Recorded first, so that a job whose look-ups take workers down becomes poison too.
	rec := t.rec
	rec.UpdatedAt = t.c.Now()
	rec.LookupBeganAt = rec.UpdatedAt
	if err := t.move(ctx, "look up", rec); err != nil {
		return nil, err
	}
	t.reply(t.rec)
	found, err := t.c.Sender.Lookup(ctx, t.phone, t.rec.RequestID, t.firstAttempt())
	if err != nil {
		t.c.Metrics.Lookup("failed")
		t.logger().Warn("look-up failed; it will be made again", "error", err)
		return unanswered{}, nil
	}
	t.c.Metrics.Lookup(findings[found.State])
	return answered{found}, nil
}

var findings = [...]string{domain.NotFound: "not_found", domain.Accepted: "accepted", domain.Undelivered: "undelivered"}

// firstAttempt is the earliest time at which the request can have been sent: when its job came, or when the
// previous replay attempted it. The last attempt's time is too late if the record was lost and written again,
// and look-ups go by the day.
func (t *task) firstAttempt() time.Time {
	first := t.rec.QueuedAt
	for _, at := range []time.Time{t.rec.AttemptedAt, t.attempted} {
		if !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return first
}

package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// resume goes on with a job that was delivered before, from where its record
// stands. turn is nil where the code has expired, so that nothing may be sent.
func (c *Consumer) resume(ctx context.Context, t *task, turn *turn) error {
	now := c.now()
	if interrupted(t.rec) {
		t.log.Warn("a worker went away while it held this job", "interruptions", t.rec.Interruptions+1, "previous_worker", t.rec.Worker)
		t.rec.Worker = c.worker
		return c.apply(ctx, t, c.policy.settleInterrupted(t.rec, now))
	}
	if suspect(t.rec) {
		if !c.alone.TryLock() {
			return t.Nak(time.Duration((1 + spread(t.rec.RequestID)/2) * float64(handBackDelay)))
		}
		defer c.alone.Unlock()
	}
	switch t.rec.Status {
	case passcode.StatusInDoubt:
		return c.lookUp(ctx, t)
	case passcode.StatusRetrying:
		if turn == nil {
			return c.apply(ctx, t, c.policy.settleExpired(t.rec, now))
		}
		if wait := t.rec.NextAttemptAt.Sub(now); wait > earlyBy && !waitsForAccount(t.rec) {
			// Delivered early, after a restart of the broker for one. The bound
			// is for a clock elsewhere that ran ahead.
			return t.Nak(min(wait, c.policy.Backoff(t.rec.RequestID, t.rec.Attempts)))
		}
		return c.nextAttempt(ctx, t, turn)
	default:
		return c.ended(t)
	}
}

// ended takes a job out of the stream whose request is final: only the
// announcement or the ack was lost.
func (c *Consumer) ended(t *task) error {
	if err := c.announceAgain(t, t.rec); err != nil {
		return err
	}
	return c.finish(t, verdict{finish: finishOf(t.rec.Status), record: t.rec})
}

// suspect reports whether a job may be what took its workers down. Suspects make
// their calls one at a time in each worker. So the one that is to blame can take
// another job down with it twice, and no more: the worker's end is counted for
// every job in its hands, and the innocent would become poison beside the guilty.
func suspect(rec passcode.Result) bool { return !rec.Final && rec.Interruptions >= 2 }

// waitsForAccount: such a job goes on as soon as the gate admits it, which may be
// long before the time that was foreseen.
func waitsForAccount(rec passcode.Result) bool {
	return rec.Error != nil && rec.Error.Class == passcode.ClassAccount
}

// earlyBy is how much too early a delayed job may come and still be taken: the
// clocks of broker and worker differ a little.
const earlyBy = 50 * time.Millisecond

// finishOf is how a job ends whose record is final.
func finishOf(status passcode.Status) finish {
	if status.Replayable() {
		return finishTerm
	}
	return finishAck
}

// doubt has Aliyun asked about an attempt that this record doesn't count.
func (c *Consumer) doubt(ctx context.Context, operation string, t *task, attempted time.Time, why *passcode.Error) error {
	rec := t.rec.In(passcode.StatusInDoubt)
	rec.Attempts, rec.AttemptedAt, rec.UpdatedAt, rec.Error = 0, attempted, c.now(), why
	// Insisted upon, since the record says sending meanwhile, as if of this life.
	if err := c.move(ctx, operation, t, rec); err != nil {
		return err
	}
	return c.lookUp(ctx, t)
}

// move makes rec the job's record, and insists: where the broker is in trouble
// the write may have been made or not, and the job's next delivery could not
// tell that from a worker that went away.
func (c *Consumer) move(ctx context.Context, operation string, t *task, rec passcode.Result) error {
	var revision uint64
	err := c.insist(ctx, operation, func() (err error) {
		revision, err = c.ledger.Update(ctx, rec, t.revision)
		if errors.Is(err, domain.ErrConflict) {
			revision, err = c.ownWrite(ctx, t, rec)
		}
		return err
	})
	if err == nil {
		t.rec, t.revision = rec, revision
	}
	return err
}

// ownWrite returns the revision of a write of ours whose answer was lost. Where
// somebody else changed the record the error is permanent.
func (c *Consumer) ownWrite(ctx context.Context, t *task, rec passcode.Result) (uint64, error) {
	stored, revision, err := c.ledger.Get(ctx, rec.RequestID)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return 0, backoff.Permanent(domain.ErrConflict)
	case err != nil:
		return 0, err
	case revision <= t.revision:
		return 0, errors.New("an older record than the last was read")
	case stored.Status != rec.Status || stored.Worker != rec.Worker || !stored.UpdatedAt.Equal(rec.UpdatedAt):
		return 0, backoff.Permanent(domain.ErrConflict)
	default:
		return revision, nil
	}
}

// lookUp asks Aliyun what became of a doubtful attempt, if it is time.
func (c *Consumer) lookUp(ctx context.Context, t *task) error {
	if wait := c.policy.untilLookup(t.rec, c.now()); wait > earlyBy {
		return t.Nak(wait)
	}
	// Noted first, so that a job whose look-ups take its workers down is found out
	// as one whose attempts do.
	rec := t.rec
	rec.UpdatedAt, rec.Worker = c.now(), c.worker
	rec.LookupBeganAt = rec.UpdatedAt
	if err := c.move(ctx, "look up", t, rec); err != nil {
		return err
	}
	c.reply(t, t.rec)
	found, err := c.sender.Lookup(ctx, t.phone, t.rec.RequestID, firstAttempt(t))
	now := c.now()
	if err != nil {
		c.metrics.Lookup("failed")
		t.log.Warn("look-up failed; it will be asked again", "error", err)
		return c.apply(ctx, t, c.policy.settleLookupFailed(t.rec, now))
	}
	c.metrics.Lookup(findingName(found.State))
	return c.apply(ctx, t, c.policy.settleFinding(t.rec, found, now))
}

// firstAttempt is the earliest time at which the request can have been sent: when
// its job came; or before, where the doubt is about what an earlier life did. The
// last attempt's own time would do as a rule. Where the record was lost and written
// anew it is too late, and midnight may lie between the two.
func firstAttempt(t *task) time.Time {
	first := t.rec.QueuedAt
	for _, at := range []time.Time{t.rec.AttemptedAt, t.attempted} {
		if !at.IsZero() {
			first = earlier(first, at)
		}
	}
	return first
}

func findingName(state domain.FindingState) string {
	switch state {
	case domain.Accepted:
		return "accepted"
	case domain.Undelivered:
		return "undelivered"
	default:
		return "not_found"
	}
}

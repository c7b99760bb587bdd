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
	switch t.rec.Status {
	case passcode.StatusSending:
		t.log.Warn("a worker went away while it held this job", "interruptions", t.rec.Interruptions+1, "previous_worker", t.rec.Worker)
		t.rec.Worker = c.worker
		return c.apply(ctx, t, c.policy.settleInterrupted(t.rec, now))
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
	default: // final: only the announcement or the ack was lost
		c.reply(t, t.rec)
		return c.finish(t, verdict{finish: finishOf(t.rec.Status), record: t.rec})
	}
}

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

// reopened goes on with a replayed job. Where its last life may have sent
// something, Aliyun is asked first.
func (c *Consumer) reopened(ctx context.Context, t *task, turn *turn, previous passcode.Result) error {
	doubtful := previous.Status == passcode.StatusUnknown ||
		previous.Error != nil && previous.Error.Class == passcode.ClassPoison
	if !doubtful || previous.AttemptedAt.IsZero() {
		return c.attempt(ctx, t, turn)
	}
	rec := t.rec.In(passcode.StatusInDoubt)
	rec.Attempts, rec.AttemptedAt, rec.UpdatedAt, rec.Error = 0, previous.AttemptedAt, c.now(), previous.Error
	// Insisted upon, since the record says sending meanwhile, as if of this life.
	var revision uint64
	err := c.insist(ctx, "reopen", func() (err error) {
		revision, err = c.ledger.Update(ctx, rec, t.revision)
		if errors.Is(err, domain.ErrConflict) {
			return backoff.Permanent(err)
		}
		return err
	})
	if err != nil {
		return err
	}
	t.rec, t.revision = rec, revision
	return c.lookUp(ctx, t)
}

// lookUp asks Aliyun what became of a doubtful attempt, if it is time.
func (c *Consumer) lookUp(ctx context.Context, t *task) error {
	if wait := c.policy.untilLookup(t.rec, c.now()); wait > earlyBy {
		return t.Nak(wait)
	}
	found, err := c.sender.Lookup(ctx, t.phone, t.rec.RequestID, t.rec.AttemptedAt)
	now := c.now()
	t.rec.Worker = c.worker
	if err != nil {
		c.metrics.Lookup("failed")
		t.log.Warn("look-up failed; it will be asked again", "error", err)
		return c.apply(ctx, t, c.policy.settleLookupFailed(t.rec, now))
	}
	c.metrics.Lookup(findingName(found.State))
	return c.apply(ctx, t, c.policy.settleFinding(t.rec, found, now))
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

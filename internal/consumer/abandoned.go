package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Codes of a job that the server gave up on.
const (
	codeMaxDeliveries = "max_deliveries"
	codeTerminated    = "terminated"
)

// Abandoned ends a job that the server delivers no more: as the dead letter
// poison, unless its request has come to an end already. To ack or term d takes
// the job out of the stream; to nak it has the job brought here again.
func (c *Consumer) Abandoned(ctx context.Context, d domain.Delivery, why domain.Abandonment) {
	t := &task{Delivery: d, origin: d.Origin()}
	t.log = c.log.With("stream_seq", t.origin.Seq)
	c.conclude(ctx, t, func() error { return c.endAbandoned(ctx, t, why) })
}

// Lost tells an operator of a job that is gone from the stream, body and all,
// with nothing but its place there known.
func (c *Consumer) Lost(ctx context.Context, origin domain.Origin, why domain.Abandonment) error {
	t := &task{Delivery: gone{}, origin: origin}
	failure := abandonedError(why)
	v := verdict{record: passcode.Result{Error: failure}, dead: passcode.ReasonPoison}
	if err := c.deadLetter(ctx, t, v); err != nil {
		return err
	}
	c.metrics.Abandoned(failure.Code)
	c.log.Error("a job was lost from the stream; its dead letter has no body", "stream_seq", origin.Seq, "code", failure.Code, "error", failure.Message)
	return nil
}

// overdue is how long after its code expired a job is still in the stream that
// nobody will end: it is delivered far more often than that.
const overdue = 10 * time.Minute

// endAbandoned decides on a valid job by the record of its request.
func (c *Consumer) endAbandoned(ctx context.Context, t *task, why domain.Abandonment) error {
	if why.Suspected {
		if left := t.rec.ExpiresAt.Add(overdue).Sub(c.now()); left > 0 {
			return t.Nak(left)
		}
	}
	rec, revision, err := c.ledger.Get(ctx, t.rec.RequestID)
	own := domain.Owns(rec, t.origin.Seq, t.replays)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return c.endUnclaimed(ctx, t, why)
	case err != nil:
		return c.trouble("abandoned", err)
	case !own && t.replays > rec.Replays && rec.Status.Replayable():
		return c.endUnclaimed(ctx, t, why)
	}
	t.rec, t.revision, t.claimed = rec, revision, true
	switch {
	case !own && rec.Final:
		return c.duplicate(t)
	case !own:
		return c.underWay(ctx, t)
	case rec.Final:
		return c.ended(t)
	}
	v := c.policy.settleAbandoned(rec, abandonedError(why), c.now())
	if v.finish == finishNak {
		return c.finish(t, v)
	}
	v.record.Worker = c.worker
	c.tellAbandoned(t, v)
	return c.apply(ctx, t, v)
}

// endUnclaimed ends a job that no worker has claimed.
func (c *Consumer) endUnclaimed(ctx context.Context, t *task, why domain.Abandonment) error {
	v := c.policy.settleAbandoned(t.rec, abandonedError(why), c.now())
	c.tellAbandoned(t, v)
	return c.giveUp(ctx, t, v)
}

// tellAbandoned counts and logs a job that needs an operator twice: for itself,
// and for what made the server give it up.
func (c *Consumer) tellAbandoned(t *task, v verdict) {
	failure := v.record.Error
	c.metrics.Abandoned(failure.Code)
	t.log.Error("the server gave up on a job: it becomes a dead letter", "status", t.rec.Status, "code", failure.Code, "error", failure.Message)
}

// settleAbandoned decides on a request whose job the server delivers no more.
// The worker that is at it, if one is, may still write down what becomes of its
// call, which is worth more than giving up.
func (p Policy) settleAbandoned(rec passcode.Result, why *passcode.Error, now time.Time) verdict {
	if interrupted(rec) {
		began := rec.AttemptedAt
		if rec.LookupBeganAt.After(began) {
			began = rec.LookupBeganAt
		}
		if left := began.Add(p.CallBound).Sub(now); left > 0 {
			return verdict{finish: finishNak, delay: min(left, p.CallBound)}
		}
	}
	// After any other state a message may have been sent, and the place stays taken.
	surelyNotSent := rec.Status == passcode.StatusRetrying
	rec.UpdatedAt = now
	rec.NextAttemptAt, rec.LookupBeganAt = time.Time{}, time.Time{}
	rec.Error = why
	return verdict{
		dead:    passcode.ReasonPoison,
		record:  rec.In(passcode.StatusDeadLettered),
		release: surelyNotSent,
		finish:  finishTerm,
	}
}

// abandonedError words why a job was given up, and what mends it.
func abandonedError(why domain.Abandonment) *passcode.Error {
	e := &passcode.Error{Code: codeMaxDeliveries, Class: passcode.ClassPoison}
	if !why.Terminated {
		times := ""
		if why.Deliveries > 0 {
			times = fmt.Sprintf(" after %d deliveries", why.Deliveries)
		}
		e.Message = "the server stopped delivering the job" + times +
			", because the consumer's max_deliver is set: set it back to -1, then replay the job"
		return e
	}
	e.Code = codeTerminated
	e.Message = "somebody other than a worker took the job out of the stream"
	if why.Reason != "" {
		e.Message += " (" + why.Reason + ")"
	}
	return e
}

// gone is the delivery of a job of which nothing is left.
type gone struct{ domain.Delivery }

func (gone) Body() []byte         { return nil }
func (gone) Header(string) string { return "" }

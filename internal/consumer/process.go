package consumer

import (
	"context"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// process takes a valid job from admission to its verdict.
func (c *Consumer) process(work, stopping context.Context, t *task, turn *turn) error {
	if !c.now().Before(t.rec.ExpiresAt) {
		return c.processExpired(work, t)
	}
	may := c.breaker.Admit(t.rec.RequestID)
	if may.Probe {
		may = c.probe(work, t, turn)
	}
	if !may.Allowed {
		return c.withoutSending(work, t, turn, may.Wait)
	}
	if !c.now().Before(t.rec.ExpiresAt) { // while Aliyun was asked
		return c.processExpired(work, t)
	}
	admitted, err := c.admit(stopping, t, turn)
	if err != nil || !admitted {
		return err
	}
	now := c.now()
	t.begun = now
	first := t.rec.In(passcode.StatusSending)
	first.Attempts, first.AttemptedAt, first.UpdatedAt = 1, now, now
	claim, err := c.claim(work, t, earlierLife(t, first))
	if err != nil {
		return err
	}
	switch claim.State {
	case domain.ClaimWon, domain.ClaimReopened:
		c.announced(t)
		if claim.State == domain.ClaimWon {
			if since, forgotten, err := c.forgotten(work, t); err != nil || forgotten {
				return c.recoverForgotten(work, t, since, err)
			}
		}
		if t.rec.Status == passcode.StatusInDoubt {
			return c.lookUp(work, t)
		}
		return c.attempt(work, t, turn)
	case domain.ClaimResumed:
		return c.resume(work, t, turn)
	case domain.ClaimDuplicate:
		return c.duplicate(t)
	default:
		return c.underWay(work, t)
	}
}

// processExpired claims a request whose code has run out, so that it ends as
// expired, unless it stands otherwise already.
func (c *Consumer) processExpired(ctx context.Context, t *task) error {
	v := c.policy.settleExpired(t.rec, c.now())
	first := v.record
	if t.replays > 0 {
		// The replay may open a request that was perhaps sent. Until it is known
		// which, its record must not say that it ended unsent.
		first = t.rec.In(passcode.StatusSending)
		first.AttemptedAt = c.now()
		first = earlierLife(t, first)
	}
	claim, err := c.claim(ctx, t, first)
	if err != nil {
		return err
	}
	switch claim.State {
	case domain.ClaimWon, domain.ClaimReopened:
		c.metrics.Delivery("expired")
		if t.replays > 0 {
			return c.replayExpired(ctx, t)
		}
		c.settled(t, v)
		c.reply(t, claim.Record)
		return c.finish(t, v)
	case domain.ClaimResumed:
		return c.resume(ctx, t, nil)
	case domain.ClaimDuplicate:
		return c.duplicate(t)
	default:
		return c.underWay(ctx, t)
	}
}

// replayExpired ends a replay that nobody took up before its code had run out: as
// expired where its last life surely sent nothing, else as Aliyun says.
func (c *Consumer) replayExpired(ctx context.Context, t *task) error {
	c.announced(t)
	if t.rec.Status == passcode.StatusInDoubt {
		return c.lookUp(ctx, t)
	}
	rec := t.rec
	rec.Attempts, rec.AttemptedAt = 0, time.Time{} // there was no attempt
	return c.apply(ctx, t, c.policy.settleExpired(rec, c.now()))
}

// earlierLife is the first record of a job. That of a replay whose request had an
// attempt, and has no record any more, is in doubt about it: records are kept for a
// shorter time than dead letters. Where there is a record still, the ledger goes by
// that.
func earlierLife(t *task, first passcode.Result) passcode.Result {
	if t.replays == 0 || t.attempted.IsZero() {
		return first
	}
	first = first.In(passcode.StatusInDoubt)
	first.Attempts, first.AttemptedAt = 0, t.attempted
	first.Error = &passcode.Error{
		Code: codeUnrecorded, Class: passcode.ClassInDoubt,
		Message: "the replayed request had an attempt, and its record has expired since",
	}
	return first
}

// claim claims the request and takes note of its record.
func (c *Consumer) claim(ctx context.Context, t *task, first passcode.Result) (domain.Claim, error) {
	claim, err := c.ledger.Claim(ctx, first)
	if err != nil {
		return claim, c.trouble("claim", err)
	}
	c.standing.worked("claim")
	t.rec, t.revision, t.claimed = claim.Record, claim.Revision, true
	switch claim.State {
	case domain.ClaimWon:
		c.metrics.Delivery("new")
	case domain.ClaimReopened:
		c.metrics.Delivery("reopened")
	case domain.ClaimResumed:
		c.metrics.Delivery("redelivered")
	case domain.ClaimDuplicate:
		c.metrics.Delivery("duplicate")
	case domain.ClaimInProgress:
		c.metrics.Delivery("under_way")
	}
	return claim, nil
}

// nextAttempt counts a further attempt in the record and makes it.
func (c *Consumer) nextAttempt(ctx context.Context, t *task, turn *turn) error {
	now := c.now()
	rec := t.rec.In(passcode.StatusSending)
	rec.Attempts++
	t.begun = now
	rec.AttemptedAt, rec.UpdatedAt, rec.NextAttemptAt = now, now, time.Time{}
	rec.Lookups, rec.Worker, rec.Error = 0, c.worker, nil
	revision, err := c.ledger.Update(ctx, rec, t.revision)
	if err != nil {
		return c.trouble("count attempt", err)
	}
	c.standing.worked("count attempt")
	t.rec, t.revision = rec, revision
	c.announced(t)
	return c.attempt(ctx, t, turn)
}

// attempt makes one call: the record stands as sending, with it counted.
func (c *Consumer) attempt(ctx context.Context, t *task, turn *turn) error {
	began := c.now()
	res, err := c.limiter.Reserve(ctx, t.phone, t.rec.RequestID, t.revision)
	if err != nil {
		// Nothing was sent, so the attempt is taken back; if that fails too,
		// the redelivered job is treated as doubtful, which is safe and slow.
		_ = c.trouble("reserve", err)
		rec := t.rec
		rec.Attempts--
		rec.Error = &passcode.Error{Code: "broker", Class: passcode.ClassTransient, Message: "the phone's limits could not be read"}
		rec.NextAttemptAt = c.now().Add(handBackDelay)
		return c.apply(ctx, t, verdict{record: rec.In(passcode.StatusRetrying), certain: true, finish: finishNak, delay: handBackDelay})
	}
	c.standing.worked("reserve")
	if !res.Allowed {
		c.metrics.Denied(res.Rule)
		return c.apply(ctx, t, c.policy.settleDenied(t.rec, res, c.now()))
	}

	turn.use()
	// Past the fence another worker may already be asking what became of this
	// attempt, so from then on it must not be made any more. A worker that was
	// frozen here, and wakes late, finds it closed.
	out := c.sender.Send(ctx, domain.Message{
		RequestID: t.rec.RequestID,
		Phone:     t.phone,
		Code:      t.job.Code,
		UsageType: t.job.UsageType,
		Params:    t.job.Params,
	}, t.begun.Add(c.callFence))
	now := c.now()
	c.metrics.Attempt(out.Class, now.Sub(began))
	v := c.policy.settleOutcome(t.rec, out, now)
	turn.learn(ctx, v.signal, out)
	if v.signal == signalTrip {
		v.record.NextAttemptAt = turn.until
		v.delay = handBackDelay
	}
	return c.apply(ctx, t, v)
}

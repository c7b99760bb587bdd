package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// withoutSending takes a job as far as it comes without a call to send it, while
// the breaker holds calls back. One that would be sent is handed back: it has
// made no attempt, and if the outage lasts it ends as expired, no later than when
// its code does. A request that is in doubt is looked up as ever, and who repeats
// one that is final gets the answer.
func (c *Consumer) withoutSending(ctx context.Context, t *task, turn *turn, wait time.Duration) error {
	rec, revision, err := c.ledger.Get(ctx, t.rec.RequestID)
	own := domain.Owns(rec, t.origin.Seq, t.replays)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return c.hold(t, turn, wait, time.Time{})
	case err != nil:
		return c.trouble("admit", err)
	case !own && t.replays > rec.Replays && rec.Status.Replayable():
		return c.hold(t, turn, wait, time.Time{})
	}
	if own && rec.Status == passcode.StatusRetrying {
		return c.hold(t, turn, wait, rec.NextAttemptAt)
	}
	// The rest makes no use of the turn, and a look-up may take long.
	turn.release()
	t.rec, t.revision, t.claimed = rec, revision, true
	switch {
	case own:
		c.metrics.Delivery("redelivered")
		return c.resume(ctx, t, nil)
	case rec.Final:
		c.metrics.Delivery("duplicate")
		return c.duplicate(t)
	default:
		c.metrics.Delivery("under_way")
		return c.underWay(ctx, t)
	}
}

// probe has Aliyun asked about a job that the breaker lets pass alone, before it is
// sent. While Aliyun is silent a send would leave its request in doubt, and a
// look-up leaves nothing. What it says of a request that was never sent is nothing
// new; of any other it is asked again in its turn.
func (c *Consumer) probe(ctx context.Context, t *task, turn *turn) domain.Admission {
	turn.trial = t.rec.RequestID
	_, err := c.sender.Lookup(ctx, t.phone, t.rec.RequestID, c.now())
	return c.breaker.Asked(t.rec.RequestID, err)
}

// maxHold is the longest a job is left in the broker that this worker can't send. It
// is short, since another worker may be able to; what keeps this one from taking the
// same few jobs all the time is its pace.
const maxHold = time.Second

// hold hands a job back until the breaker may let it pass and its next attempt is
// due, or until its code has expired. It uses the turn up, so that the worker looks
// at jobs at the pace of the outage, and the others stay in the stream for whoever
// can send them.
func (c *Consumer) hold(t *task, turn *turn, wait time.Duration, notBefore time.Time) error {
	turn.use()
	now := c.now()
	wait = max(heldFor(t, min(wait, maxHold)), notBefore.Sub(now))
	return t.Nak(max(min(wait, t.rec.ExpiresAt.Sub(now)), time.Millisecond))
}

// noBreaker admits every call.
type noBreaker struct{}

func (noBreaker) Admit(string) domain.Admission        { return domain.Admission{Allowed: true} }
func (noBreaker) Asked(string, error) domain.Admission { return domain.Admission{Allowed: true} }
func (noBreaker) GiveBack(string)                      {}

package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// forgotten reports whether a job that has no record may have had one, and until
// when: it was delivered before, and is older than the oldest record, so somebody
// may have deleted or purged the records meanwhile. Mostly such a job was handed
// back before its claim; there is no telling.
func (c *Consumer) forgotten(ctx context.Context, t *task) (since time.Time, forgotten bool, err error) {
	if t.origin.Deliveries <= 1 {
		return since, false, nil
	}
	err = c.insist(ctx, "recover", func() error {
		since, err = c.ledger.Since(ctx)
		return err
	})
	return since, err == nil && t.origin.QueuedAt.Before(since), err
}

// recoverForgotten asks Aliyun before it sends such a job, and fails where not
// even the records' age could be told. Any attempt was begun before since.
func (c *Consumer) recoverForgotten(ctx context.Context, t *task, since time.Time, err error) error {
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	t.log.Warn("the job came before and its record is gone; Aliyun is asked before it is sent", "records_since", since)
	return c.doubt(ctx, "recover", t, earlier(since, c.now()), &passcode.Error{
		Code: codeForgotten, Class: passcode.ClassInDoubt, Message: "the request's earlier record is gone from the broker",
	})
}

// storeAnew writes a verdict where the request's record is gone. What this worker
// knows is all that is known of the request; were it not written down, the job
// would be taken for a new one.
func (c *Consumer) storeAnew(ctx context.Context, t *task, v verdict) (owner bool, err error) {
	var claim domain.Claim
	err = c.insist(ctx, "record", func() error {
		claim, err = c.ledger.Claim(ctx, v.record)
		return err
	})
	if err != nil {
		return false, err
	}
	// A claim whose answer was lost is found as a record that is there already.
	own := claim.State == domain.ClaimWon || claim.State == domain.ClaimResumed &&
		claim.Record.Worker == v.record.Worker && claim.Record.UpdatedAt.Equal(v.record.UpdatedAt)
	if !own {
		t.log.Info("another worker moved the request on", "status", claim.Record.Status, "other_worker", claim.Record.Worker)
		return false, nil
	}
	t.log.Warn("the request's record was gone; it is written anew", "status", v.record.Status)
	t.rec, t.revision = claim.Record, claim.Revision
	return true, nil
}

package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// claimer is one call of Claim, over all its tries.
type claimer struct {
	store store
	first passcode.Result
	value []byte // first, as it is stored
	began time.Time

	// createInDoubt and reopenInDoubt: the answer to such a write of an earlier try
	// was lost, so bytes equal to ours are ours. Without that they are not: the
	// same worker may be claiming the same job twice at once, and only one of the
	// two may win. (What is left is one worker claiming one job twice within one
	// nanosecond, with an answer lost.)
	createInDoubt, reopenInDoubt bool
	// reopening is what the last reopening was to store, reopeningValue as bytes.
	reopening      passcode.Result
	reopeningValue []byte

	claim domain.Claim
}

// try claims once. Its errors that pass are repeated by the caller.
func (c *claimer) try(ctx context.Context) error {
	revision, err := c.store.create(ctx, c.first.RequestID, c.value)
	switch {
	case err == nil:
		c.settle(domain.ClaimWon, c.first, revision)
		return nil
	case !errors.Is(err, jetstream.ErrKeyExists):
		c.createInDoubt = c.createInDoubt || !retry.NeverSent(err)
		return err
	}

	stored, revision, err := c.store.get(ctx, c.first.RequestID)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		// The write that was first is still on its way to the other replicas, or
		// the record went away just now.
		return fmt.Errorf("the record exists and can't be read: %w", retry.ErrAgain)
	}
	if err != nil {
		return err
	}
	switch {
	// Asked first: a create can't have overwritten what was reopened.
	case c.reopenInDoubt && bytes.Equal(stored, c.reopeningValue):
		c.reopened(revision)
		return c.store.announce(c.first.RequestID, stored)
	case c.createInDoubt && bytes.Equal(stored, c.value):
		c.settle(domain.ClaimWon, c.first, revision)
		return c.store.announce(c.first.RequestID, stored)
	}
	record, err := decode(c.first.RequestID, stored)
	if err != nil {
		return err
	}
	return c.judge(ctx, record, revision)
}

// Judge is [domain.Judge].
func Judge(first, stored passcode.Result) domain.ClaimState { return domain.Judge(first, stored) }

// Reopen is the record that takes the place of the stored one where [Judge] lets a
// replay open its request again. Where its last life may have sent something, it
// says so in the same write: it is in doubt about that attempt, and counts none of
// its own. A worker that dies right after leaves the doubt behind, and not its own
// attempt, which would have Aliyun asked about another day.
func Reopen(first, stored passcode.Result) passcode.Result {
	doubt := domain.MayBeSent(stored)
	if first.Final { // it ends at once, and the next replay has the same doubt
		if doubt && first.AttemptedAt.IsZero() {
			first.AttemptedAt = stored.AttemptedAt
		}
		return first
	}
	if doubt {
		rec := first.In(passcode.StatusInDoubt)
		rec.Attempts, rec.AttemptedAt, rec.Error = 0, stored.AttemptedAt, stored.Error
		return rec
	}
	if first.Status != passcode.StatusInDoubt {
		return first
	}
	// What it doubts is known better here.
	rec := first.In(passcode.StatusSending)
	rec.Attempts, rec.AttemptedAt, rec.Error = 1, first.UpdatedAt, nil
	return rec
}

func laterReplay(first, stored passcode.Result) bool { return first.Replays > stored.Replays }

// judge acts on a record that is not our own.
func (c *claimer) judge(ctx context.Context, record passcode.Result, revision uint64) error {
	state := Judge(c.first, record)
	switch {
	case state == domain.ClaimReopened:
		return c.reopen(ctx, record, revision)
	case state == domain.ClaimUnderWay && laterReplay(c.first, record) && time.Since(c.began) < staleFor:
		return fmt.Errorf("a replay finds its request under way: %w", retry.ErrAgain)
	}
	c.settle(state, record, revision)
	return nil
}

func (c *claimer) reopen(ctx context.Context, record passcode.Result, revision uint64) error {
	value, reopening, err := encode(Reopen(c.first, record))
	if err != nil {
		return err
	}
	if !bytes.Equal(value, c.reopeningValue) {
		c.reopenInDoubt = false // that write was for another revision, and can't be made any more
	}
	c.reopening, c.reopeningValue = reopening, value
	next, err := c.store.update(ctx, c.first.RequestID, value, revision)
	switch {
	case err == nil:
		c.reopened(next)
		return nil
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return fmt.Errorf("the record changed while a replay opened it: %w", retry.ErrAgain)
	default:
		c.reopenInDoubt = c.reopenInDoubt || !retry.NeverSent(err)
		return err
	}
}

func (c *claimer) reopened(revision uint64) {
	c.settle(domain.ClaimReopened, c.reopening, revision)
}

func (c *claimer) settle(state domain.ClaimState, record passcode.Result, revision uint64) {
	c.claim = domain.Claim{State: state, Record: record, Revision: revision}
}

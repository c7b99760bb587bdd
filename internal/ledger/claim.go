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
	// previous is the record over which the last reopening was tried.
	previous passcode.Result

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
	if bytes.Equal(stored, c.value) {
		switch {
		case c.reopenInDoubt: // asked first: a create can't have overwritten what was reopened
			c.reopened(revision)
			return c.store.announce(c.first.RequestID, c.value)
		case c.createInDoubt:
			c.settle(domain.ClaimWon, c.first, revision)
			return c.store.announce(c.first.RequestID, c.value)
		}
	}
	record, err := decode(c.first.RequestID, stored)
	if err != nil {
		return err
	}
	return c.judge(ctx, record, revision)
}

// Judge says what the stored record of a request means to the claim of one of its
// jobs, whose first record this is. ClaimReopened: first may take its place.
func Judge(first, stored passcode.Result) domain.ClaimState {
	switch {
	case stored.StreamSeq == first.StreamSeq:
		return domain.ClaimResumed
	case laterReplay(first, stored) && stored.Status.Replayable():
		return domain.ClaimReopened
	case stored.Status.Final():
		return domain.ClaimDuplicate
	default:
		return domain.ClaimUnderWay
	}
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
	c.previous = record
	next, err := c.store.update(ctx, c.first.RequestID, c.value, revision)
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
	c.claim = domain.Claim{
		State: domain.ClaimReopened, Record: c.first, Revision: revision, Previous: c.previous,
	}
}

func (c *claimer) settle(state domain.ClaimState, record passcode.Result, revision uint64) {
	c.claim = domain.Claim{State: state, Record: record, Revision: revision}
}

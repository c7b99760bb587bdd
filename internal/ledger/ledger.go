// Package ledger keeps one record a request in a JetStream key-value bucket: the
// state of the request, the announcement of that state (the server republishes
// each record) and the entry against which repeated jobs are recognised.
//
// # Guarantees
//
// Every write is a compare-and-swap on the revision that was read, so of several
// workers one wins and the others learn it. A write whose answer was lost is
// settled by reading the record back, and the record is then announced from here: a
// leader that dies after it has passed a record on to the others, and before it has
// told anybody, leaves one that is stored and was never announced.
//
// Records are read through the bucket's leader. One that has just been cut off
// from the others may still show an old record; a write based on such a reading is
// refused, never applied.
//
// Calls to the broker are repeated while it is in trouble, at most for the time
// of [retry.Default] and never longer than the caller's context; the error tells
// which of the two ended it.
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

// staleFor is how long a reading that contradicts a replay is looked at again
// before it is believed; see [Ledger.Claim].
const staleFor = time.Second

// Ledger reads and writes the records of requests. It holds no state of its own
// and may be used by many goroutines.
type Ledger struct {
	store  store
	policy retry.Policy
}

// Open returns the ledger on a bucket, which must exist.
func Open(ctx context.Context, js jetstream.JetStream, bucket string) (*Ledger, error) {
	policy := retry.Default()
	store := bucketStore{js: js, nc: js.Conn()}
	err := policy.Do(ctx, func(ctx context.Context) (err error) {
		if store.kv, err = js.KeyValue(ctx, bucket); err != nil {
			return err
		}
		store.subject, err = republished(ctx, store.kv)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open request bucket %q: %w", bucket, err)
	}
	return &Ledger{store: store, policy: policy}, nil
}

// Claim makes first the record of its request, where the request is new or a
// replay may open it again, and otherwise tells what is there:
//
//   - no record, or a deleted or expired one: first is stored, ClaimWon;
//   - a record of the same job (the same stream sequence): ClaimResumed;
//   - first is a later replay than the record, and the record's status can be
//     replayed: what [Reopen] makes of the two is stored in its place, ClaimReopened;
//   - another job's record: ClaimDuplicate where it is final, else ClaimUnderWay.
//
// A record that can't be read gives [ErrCorrupt]; nothing is written then.
//
// A replay is published only after its request was seen final. A record that
// shows it under way is therefore most likely an old one, and is read again for a
// second before it counts. (A final record can't be an old one: what is final
// becomes replayable by being opened again alone.)
func (l *Ledger) Claim(ctx context.Context, first passcode.Result) (domain.Claim, error) {
	value, first, err := encode(first)
	if err != nil {
		return domain.Claim{}, fmt.Errorf("claim: %w", err)
	}
	c := claimer{store: l.store, first: first, value: value, began: time.Now()}
	if err := l.policy.Do(ctx, c.try); err != nil {
		return domain.Claim{}, fmt.Errorf("claim %s: %w", first.RequestID, err)
	}
	return c.claim, nil
}

// Update stores rec over the given revision and returns the new one. It gives
// [domain.ErrConflict] where the record has changed, or gone, since that revision was
// read. After any other error the record may or may not have been stored.
func (l *Ledger) Update(ctx context.Context, rec passcode.Result, revision uint64) (uint64, error) {
	value, rec, err := encode(rec)
	if err != nil {
		return 0, fmt.Errorf("update: %w", err)
	}
	if revision == 0 {
		// To the server, revision 0 means that there must be no record.
		return 0, fmt.Errorf("update %s: %w: no revision given", rec.RequestID, ErrInvalid)
	}
	var next uint64
	inDoubt := false // an earlier try may have been stored
	err = l.policy.Do(ctx, func(ctx context.Context) error {
		var err error
		next, err = l.store.update(ctx, rec.RequestID, value, revision)
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			inDoubt = inDoubt || err != nil && !retry.NeverSent(err)
			return err
		}
		if !inDoubt {
			return domain.ErrConflict
		}
		stored, at, err := l.store.get(ctx, rec.RequestID)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			return domain.ErrConflict // deleted or expired: nothing to go on from
		case err != nil:
			return err
		case at <= revision:
			return fmt.Errorf("the write is still on its way: %w", retry.ErrAgain)
		case !bytes.Equal(stored, value):
			return domain.ErrConflict
		}
		next = at
		return l.store.announce(rec.RequestID, value)
	})
	if err != nil {
		return 0, fmt.Errorf("update %s: %w", rec.RequestID, err)
	}
	return next, nil
}

// Get returns a request's record and its revision, or [domain.ErrNotFound].
func (l *Ledger) Get(ctx context.Context, id string) (passcode.Result, uint64, error) {
	fail := func(err error) (passcode.Result, uint64, error) {
		return passcode.Result{}, 0, fmt.Errorf("get %s: %w", id, err)
	}
	if !passcode.ValidRequestID(id) {
		// Nothing of the id is shown: it may be anything an operator pasted.
		return passcode.Result{}, 0, fmt.Errorf("get: %w: not a valid request id", domain.ErrNotFound)
	}
	var value []byte
	var revision uint64
	err := l.policy.Do(ctx, func(ctx context.Context) (err error) {
		value, revision, err = l.store.get(ctx, id)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return fail(domain.ErrNotFound)
	}
	if err != nil {
		return fail(err)
	}
	rec, err := decode(id, value)
	if err != nil {
		return fail(err)
	}
	return rec, revision, nil
}

// Since returns from when on no record is missing. Those that were written before
// may have expired, or somebody deleted them or the whole bucket.
func (l *Ledger) Since(ctx context.Context) (since time.Time, err error) {
	err = l.policy.Do(ctx, func(ctx context.Context) (err error) {
		since, err = l.store.since(ctx)
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("age of the records: %w", err)
	}
	return since, nil
}

// History returns the records that the bucket still holds of a request, oldest
// first, or [domain.ErrNotFound] where there is none. It is for people: it costs
// the broker a consumer.
func (l *Ledger) History(ctx context.Context, id string) ([]passcode.Result, error) {
	if !passcode.ValidRequestID(id) {
		return nil, fmt.Errorf("history: %w: not a valid request id", domain.ErrNotFound)
	}
	var values [][]byte
	err := l.policy.Do(ctx, func(ctx context.Context) (err error) {
		values, err = l.store.history(ctx, id)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && len(values) == 0 {
		err = domain.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("history %s: %w", id, err)
	}
	records := make([]passcode.Result, len(values))
	for i, value := range values {
		if records[i], err = decode(id, value); err != nil {
			return nil, fmt.Errorf("history %s, entry %d: %w", id, i+1, err)
		}
	}
	return records, nil
}

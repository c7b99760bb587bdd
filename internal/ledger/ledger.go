// Package ledger keeps one record a request in a JetStream key-value bucket: the
// state of the request, the announcement of that state (the server republishes
// each record) and the entry against which repeated jobs are recognised.
//
// Every write is a compare-and-swap. One whose answer was lost is settled by reading the record back, and the
// record is then announced from here: a leader may die after it has replicated a record and before it has published
// it. A leader that has just been cut off may still show an old record; a write based on that is refused.
package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// staleFor is how long a reading that contradicts a replay is looked at again
// before it is believed; see [Ledger.Claim].
const staleFor = time.Second

// errNoID shows nothing of the id: it may be anything an operator pasted.
var errNoID = fmt.Errorf("%w: not a valid request id", domain.ErrNotFound)

// Ledger reads and writes the records of requests. It may be used by many goroutines.
type Ledger struct{ bucket *bucket.Bucket }

// Open returns the ledger on a bucket, which must exist.
func Open(ctx context.Context, js jetstream.JetStream, name string) (*Ledger, error) {
	b, err := bucket.Open(ctx, js, name)
	if err != nil {
		return nil, err
	}
	return New(b), nil
}

// New returns the ledger on a bucket.
func New(b *bucket.Bucket) *Ledger { return &Ledger{b} }

// Claim makes first the record of its request, if the request is new or a replay
// opens it again, and tells what it found:
//
//   - no record, or a deleted or expired one: first is stored, ClaimWon;
//   - a record of the same job (the same stream sequence): ClaimResumed;
//   - first is a later replay, and the record can be replayed: what [Reopen] makes
//     of the two is stored, ClaimReopened;
//   - another job's record: ClaimDuplicate where it is final, else ClaimInProgress.
//
// A record that can't be read gives [domain.ErrCorrupt]; nothing is written then.
//
// A replay is published only after its request was seen final. A record that shows it in progress is most likely an
// old one, and is read again for a second before it counts.
func (l *Ledger) Claim(ctx context.Context, first passcode.Result) (domain.Claim, error) {
	value, first, err := encode(first)
	if err != nil {
		return domain.Claim{}, fmt.Errorf("claim: %w", err)
	}
	began := time.Now()
	var claim domain.Claim
	claim.Revision, err = l.change(ctx, first.RequestID, bucket.Entry{}, func(found bucket.Entry) ([]byte, error) {
		switch {
		case found.Own:
			// The claim is the one decided on then. (If one worker claims one job twice
			// within one nanosecond, the other write may be taken for ours.)
			return nil, nil
		case found.Value == nil:
			claim = domain.Claim{State: domain.ClaimWon, Record: first}
			return value, nil
		}
		record, err := decode(first.RequestID, found.Value)
		if err != nil {
			return nil, err
		}
		state, next := domain.Judge(first, record), []byte(nil)
		if state == domain.ClaimInProgress && first.Replays > record.Replays && time.Since(began) < staleFor {
			return nil, fmt.Errorf("a replay finds its request in progress: %w", retry.ErrAgain)
		}
		if state == domain.ClaimReopened {
			next, record, err = encode(Reopen(first, record))
		}
		claim = domain.Claim{State: state, Record: record}
		return next, err
	})
	if err != nil {
		return domain.Claim{}, fmt.Errorf("claim %s: %w", first.RequestID, err)
	}
	return claim, nil
}

// Reopen is the record that takes the place of the stored one where [domain.Judge] lets a replay open its request
// again. If the previous replay may have sent something, the record is in doubt about that attempt and counts none
// of its own. A worker that dies right after then leaves the doubt behind, and not its own attempt, which would
// have Aliyun asked about another day.
func Reopen(first, stored passcode.Result) passcode.Result {
	doubt := domain.MayBeSent(stored)
	rec := first
	switch {
	case first.Final: // it ends at once, and the next replay has the same doubt
		if doubt && first.AttemptedAt.IsZero() {
			rec.AttemptedAt = stored.AttemptedAt
		}
	case doubt:
		rec = first.In(passcode.StatusInDoubt)
		rec.Attempts, rec.AttemptedAt, rec.Error = 0, stored.AttemptedAt, stored.Error
	case first.Status == passcode.StatusInDoubt: // what it doubts is known better here
		rec = first.In(passcode.StatusSending)
		rec.Attempts, rec.AttemptedAt, rec.Error = 1, first.UpdatedAt, nil
	}
	return rec
}

// Update stores rec over the given revision and returns the new one. It gives [domain.ErrConflict] where the record
// has changed or gone since. After any other error the record may or may not have been stored.
func (l *Ledger) Update(ctx context.Context, rec passcode.Result, revision uint64) (uint64, error) {
	value, rec, err := encode(rec)
	if err != nil {
		return 0, fmt.Errorf("update: %w", err)
	}
	if revision == 0 { // to the server it means that there must be no record
		return 0, fmt.Errorf("update %s: %w: no revision given", rec.RequestID, domain.ErrUnstorable)
	}
	next, err := l.change(ctx, rec.RequestID, bucket.Entry{Revision: revision}, func(found bucket.Entry) ([]byte, error) {
		switch {
		case found.Own:
			return nil, nil
		case found.Revision != revision:
			return nil, domain.ErrConflict
		}
		return value, nil
	})
	if err != nil {
		return 0, fmt.Errorf("update %s: %w", rec.RequestID, err)
	}
	return next, nil
}

// change changes a record, and announces it where its own announcement may be
// lost. It returns the revision that stands in the end.
func (l *Ledger) change(
	ctx context.Context, id string, start bucket.Entry, decide func(bucket.Entry) ([]byte, error),
) (uint64, error) {
	ctx = retry.Bound(ctx)
	entry, err := l.bucket.Change(ctx, id, &start, decide)
	if err == nil && entry.Own {
		err = l.bucket.Announce(ctx, id, entry.Value)
	}
	return entry.Revision, err
}

// Get returns a request's record and its revision, or [domain.ErrNotFound].
func (l *Ledger) Get(ctx context.Context, id string) (rec passcode.Result, revision uint64, err error) {
	if !passcode.ValidRequestID(id) {
		return rec, 0, fmt.Errorf("get: %w", errNoID)
	}
	entry, err := l.bucket.Get(ctx, id)
	if err == nil && entry.Value == nil {
		err = domain.ErrNotFound
	}
	if err == nil {
		rec, err = decode(id, entry.Value)
	}
	if err != nil {
		return rec, 0, fmt.Errorf("get %s: %w", id, err)
	}
	return rec, entry.Revision, nil
}

// Since returns from when on no record is missing: those written before may have expired or been deleted.
func (l *Ledger) Since(ctx context.Context) (time.Time, error) {
	since, err := l.bucket.Since(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("age of the records: %w", err)
	}
	return since, nil
}

// History returns the records that the bucket still holds of a request, oldest
// first, or [domain.ErrNotFound] where there is none.
func (l *Ledger) History(ctx context.Context, id string) ([]passcode.Result, error) {
	if !passcode.ValidRequestID(id) {
		return nil, fmt.Errorf("history: %w", errNoID)
	}
	values, err := l.bucket.History(ctx, id)
	if err == nil && len(values) == 0 {
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

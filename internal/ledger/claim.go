package ledger

import (
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// staleFor is how long a reading that contradicts a replay is looked at again
// before it is believed; see [Ledger.Claim].
const staleFor = time.Second

// claimer is one call of Claim, over all its tries.
type claimer struct {
	first passcode.Result
	value []byte // first, as it is stored
	began time.Time
	claim domain.Claim // what the last decision leads to
}

// decide is for [bucket.Bucket.Change]. An own write whose answer was lost is the
// claim that was decided on then. (If one worker claims one job twice within one
// nanosecond, the other write may be taken for ours.)
func (c *claimer) decide(found bucket.Entry) ([]byte, error) {
	switch {
	case found.Own:
		return nil, nil
	case found.Value == nil:
		c.claim = domain.Claim{State: domain.ClaimWon, Record: c.first}
		return c.value, nil
	}
	record, err := decode(c.first.RequestID, found.Value)
	if err != nil {
		return nil, err
	}
	state := domain.Judge(c.first, record)
	if state == domain.ClaimReopened {
		value, reopened, err := encode(Reopen(c.first, record))
		c.claim = domain.Claim{State: state, Record: reopened}
		return value, err
	}
	if state == domain.ClaimInProgress && c.first.Replays > record.Replays && time.Since(c.began) < staleFor {
		return nil, fmt.Errorf("a replay finds its request in progress: %w", retry.ErrAgain)
	}
	c.claim = domain.Claim{State: state, Record: record}
	return nil, nil
}

// Reopen is the record that takes the place of the stored one where [domain.Judge] lets a
// replay open its request again. If the previous replay may have sent something, the
// record is in doubt about that attempt and counts none of its own. A worker that
// dies right after then leaves the doubt behind, and not its own attempt, which would
// have Aliyun asked about another day.
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

package ledger_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

// model is what a request's record must be, by the plainest reading of the
// ledger's promises: one value, one writer at a time, no faults.
type model struct {
	exists   bool
	record   passcode.Result
	revision uint64
	writes   uint64 // of all requests: the bucket counts its revisions
}

// claim is what a claim must find, and what it leaves.
func (m *model) claim(first passcode.Result) domain.ClaimState {
	switch {
	case !m.exists:
		m.store(first)
		return domain.ClaimWon
	case m.record.StreamSeq == first.StreamSeq && m.record.Replays == first.Replays:
		return domain.ClaimResumed
	case first.Replays > m.record.Replays &&
		(m.record.Status == passcode.StatusDeadLettered || m.record.Status == passcode.StatusUnknown):
		m.store(first)
		return domain.ClaimReopened
	case m.record.Final:
		return domain.ClaimDuplicate
	default:
		return domain.ClaimInProgress
	}
}

func (m *model) store(rec passcode.Result) {
	m.writes++
	m.exists, m.record, m.revision = true, rec, m.writes
}

// holder is a client that has seen a record and may write over it, however much
// later.
type holder struct {
	record   passcode.Result
	revision uint64
}

// TestAgainstAModel lets several workers claim, update, redeliver, repeat and
// replay one request in any order, with answers lost, requests refused and
// followers lagging, and expects of each call what the model says. The revisions
// agree at every step, so no write is lost and none is made twice.
func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	// In a bubble the pauses between tries take no time. A testing.T inside it has
	// no deadline to ask for, which is hidden from rapid.
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, checkAgainstModel)
	})
}

func checkAgainstModel(t *rapid.T) {
	l, f := fake()
	var want model
	var holders []holder
	// No two writes are made at the same nanosecond. If they were, equal in all
	// else too, and an answer were lost, nothing could tell whose the stored bytes
	// are.
	var ticks time.Duration
	tick := func() time.Time { ticks++; return epoch.Add(ticks) }
	ctx := t.Context()

	// Fewer faults than tries fit into the bound, so that every call ends well.
	faults := rapid.SliceOfN(rapid.SampledFrom([]buckettest.Fault{
		buckettest.None, buckettest.Refuse, buckettest.LoseRequest, buckettest.LoseAnswer, buckettest.Stale,
	}), 0, 5)
	withFaults := func(t *rapid.T) {
		left := faults.Draw(t, "faults")
		f.Inject(func(buckettest.Op, string) buckettest.Fault {
			if len(left) == 0 {
				return buckettest.None
			}
			next := left[0]
			left = left[1:]
			return next
		})
	}
	statuses := rapid.SampledFrom(passcode.Statuses())
	reports := rapid.SampledFrom([]passcode.Status{passcode.StatusDelivered, passcode.StatusUndelivered})

	t.Repeat(map[string]func(*rapid.T){
		"claim": func(t *rapid.T) {
			seq, worker := rapid.Uint64Range(1, 6).Draw(t, "seq"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "worker")
			first := replay("r", seq, worker, rapid.IntRange(0, 4).Draw(t, "replays"))
			first.UpdatedAt = tick()
			before := want
			state := want.claim(first)
			withFaults(t)
			claim, err := l.Claim(ctx, first)
			require.NoError(t, err)
			if state == domain.ClaimResumed || state == domain.ClaimDuplicate || state == domain.ClaimInProgress {
				// A lagging follower may show an earlier state. That is harmless: nothing
				// was written, and a write over what was seen is refused.
				if claim.Revision != want.revision {
					assert.Less(t, claim.Revision, want.revision)
					holders = append(holders, holder{claim.Record, claim.Revision})
					return
				}
			}
			require.Equal(t, state, claim.State, "found %+v", before.record)
			require.Equal(t, want.record, claim.Record)
			require.Equal(t, want.revision, claim.Revision)
			holders = append(holders, holder{claim.Record, claim.Revision})
		},
		"update": func(t *rapid.T) {
			if len(holders) == 0 {
				t.Skip("nobody holds a record")
			}
			h := rapid.SampledFrom(holders).Draw(t, "holder")
			status := statuses
			if h.record.Final {
				status = reports // nothing else is said of a request that is final
			}
			rec := h.record.In(status.Draw(t, "status"))
			rec.UpdatedAt = tick()
			rec.Attempts = rapid.IntRange(0, 2).Draw(t, "attempts")
			withFaults(t)
			next, err := l.Update(ctx, rec, h.revision)
			if !want.exists || h.revision != want.revision {
				require.ErrorIs(t, err, domain.ErrConflict)
				return
			}
			require.NoError(t, err)
			want.store(rec)
			require.Equal(t, want.revision, next)
			holders = append(holders, holder{rec, next})
		},
		"expire": func(*rapid.T) {
			f.Drop("r")
			want.exists, want.record, want.revision = false, passcode.Result{}, 0
		},
		"": func(t *rapid.T) {
			f.Inject(nil)
			rec, revision, err := l.Get(ctx, "r")
			if !want.exists {
				require.ErrorIs(t, err, domain.ErrNotFound)
				return
			}
			require.NoError(t, err)
			require.Equal(t, want.record, rec)
			require.Equal(t, want.revision, revision)
			require.Equal(t, rec.Status.Final(), rec.Final)
		},
	})
}

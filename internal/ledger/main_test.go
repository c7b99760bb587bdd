package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// subject is a ledger under test, and the back door to its bucket.
type subject struct {
	*ledger.Ledger
	door buckettest.Subject
}

func (s subject) claims(t *testing.T, first passcode.Result) domain.Claim {
	t.Helper()
	claim, err := s.Claim(t.Context(), first)
	require.NoError(t, err)
	return claim
}

func (s subject) updates(t *testing.T, rec passcode.Result, revision uint64) uint64 {
	t.Helper()
	next, err := s.Update(t.Context(), rec, revision)
	require.NoError(t, err)
	return next
}

func (s subject) gets(t *testing.T, id string) (passcode.Result, uint64) {
	t.Helper()
	rec, revision, err := s.Get(t.Context(), id)
	require.NoError(t, err)
	return rec, revision
}

// fake returns a ledger on a bucket in memory.
func fake() (*ledger.Ledger, *buckettest.Fake) {
	f := buckettest.New(nil)
	return ledger.New(f.Bucket()), f
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)

// record is the first record that a worker writes for a job.
func record(id string, seq uint64, worker string) passcode.Result {
	return passcode.Result{
		RequestID: id, Phone: "+86138****5678", UsageType: "SignIn", Attempts: 1, StreamSeq: seq, Worker: worker,
		QueuedAt: epoch, UpdatedAt: epoch.Add(time.Second), ExpiresAt: epoch.Add(10 * time.Minute),
		Metadata: map[string]string{"tenant": "a"},
	}.In(passcode.StatusSending)
}

// replay is the first record that a worker writes for the n-th replay of a job.
func replay(id string, seq uint64, worker string, n int) passcode.Result {
	rec := record(id, seq, worker)
	rec.Replays = n
	return rec
}

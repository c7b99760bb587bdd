package ledger_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
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

func TestOpenNeedsTheBucket(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := ledger.Open(t.Context(), js, buckettest.Name)
	require.ErrorIs(t, err, bucket.ErrMissing)
}

// Workers go on claiming and settling while the broker is restarted under them.
// Every request ends with exactly the writes that its worker made.
func TestABrokerRestartLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	_, js := srv.Connect(nats.ReconnectBufSize(-1))
	kv := buckettest.Make(t, js)
	l, err := ledger.Open(t.Context(), js, buckettest.Name)
	require.NoError(t, err)

	const workers, each = 8, 40
	halfway := make(chan struct{}, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("w%d-%d", w, i)
				claim, err := l.Claim(t.Context(), record(id, uint64(w*each+i+1), "w"))
				if !assert.NoError(t, err) || !assert.Equal(t, domain.ClaimWon, claim.State, id) {
					return
				}
				next, err := l.Update(t.Context(), claim.Record.In(passcode.StatusSent), claim.Revision)
				if !assert.NoError(t, err) || !assert.Greater(t, next, claim.Revision) {
					return
				}
				if i == each/4 {
					halfway <- struct{}{}
				}
			}
		})
	}
	for range workers / 2 {
		<-halfway
	}
	srv.Restart()
	wg.Wait()

	status, err := kv.Status(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, workers*each*2, status.Values(), "two writes a request")
	history, err := l.History(t.Context(), "w0-0")
	require.NoError(t, err)
	assert.Len(t, history, 2)
}

package ledger_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

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
	put    func(t *testing.T, key string, value []byte)
	remove map[string]func(t *testing.T, key string) // every way for a key to go
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

func inMemory(*testing.T) subject {
	l, f := fake()
	return subject{
		Ledger: l,
		put:    func(_ *testing.T, key string, value []byte) { f.Put(key, value) },
		remove: map[string]func(*testing.T, string){
			"deleted": func(_ *testing.T, key string) { f.Delete(key) },
			"expired": func(_ *testing.T, key string) { f.Drop(key) },
		},
	}
}

func onNATS(t *testing.T) subject {
	t.Helper()
	_, js := brokertest.Start(t)
	kv := makeBucket(t, js)
	l, err := ledger.Open(t.Context(), js, kv.Bucket())
	require.NoError(t, err)
	return subject{
		Ledger: l,
		put: func(t *testing.T, key string, value []byte) {
			_, err := kv.Put(t.Context(), key, value)
			require.NoError(t, err)
		},
		remove: map[string]func(*testing.T, string){
			"deleted": func(t *testing.T, key string) { require.NoError(t, kv.Delete(t.Context(), key)) },
			"purged":  func(t *testing.T, key string) { require.NoError(t, kv.Purge(t.Context(), key)) },
			// What an expiry leaves behind is what a purge of the stream does: no
			// message and no marker.
			"expired": func(t *testing.T, key string) {
				s, err := js.Stream(t.Context(), "KV_requests")
				require.NoError(t, err)
				require.NoError(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.requests."+key)))
			},
		},
	}
}

func makeBucket(t *testing.T, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{
		Bucket: "requests", History: 16, Storage: jetstream.FileStorage, TTL: time.Hour,
	})
	require.NoError(t, err)
	return kv
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

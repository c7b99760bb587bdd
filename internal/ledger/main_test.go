package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records is what a ledger offers.
type records interface {
	Claim(ctx context.Context, first passcode.Result) (domain.Claim, error)
	Update(ctx context.Context, rec passcode.Result, revision uint64) (uint64, error)
	Get(ctx context.Context, id string) (passcode.Result, uint64, error)
	History(ctx context.Context, id string) ([]passcode.Result, error)
}

// subject is a ledger under test, and the back door to its bucket.
type subject struct {
	records
	put    func(t *testing.T, key string, value []byte)
	remove map[string]func(t *testing.T, key string) // every way for a key to go
}

func inMemory(*testing.T) subject {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := ledger.NewMemory(func() time.Time { return now })
	return subject{
		records: m,
		put:     func(_ *testing.T, key string, value []byte) { m.Put(key, value) },
		remove: map[string]func(*testing.T, string){
			"deleted": func(_ *testing.T, key string) { m.Delete(key) },
			"expired": func(*testing.T, string) { m.Retain(time.Hour); now = now.Add(time.Hour) },
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
		records: l,
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

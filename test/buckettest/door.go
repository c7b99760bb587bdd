package buckettest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// Name is that of the buckets made by [Make].
const Name = "things"

// Subject is a bucket under test, and the back door to it.
type Subject struct {
	*bucket.Bucket
	Store func(t *testing.T, key string, value []byte)
	Drop  map[string]func(t *testing.T, key string) // every way for a key to go; only "expired" leaves no mark
}

// Make makes a bucket on a broker.
func Make(t *testing.T, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: Name, TTL: time.Hour, History: 16})
	require.NoError(t, err)
	return kv
}

// Both are the ways to start a subject that a conformance test must hold to the same.
var Both = map[string]func(*testing.T) Subject{"memory": inMemory, "nats": onNATS}

func inMemory(*testing.T) Subject {
	f := New(nil)
	f.Retain(time.Hour)
	return Subject{
		Bucket: f.Bucket(),
		Store:  func(_ *testing.T, key string, value []byte) { f.Put(key, value) },
		Drop: map[string]func(*testing.T, string){
			"deleted": func(_ *testing.T, key string) { f.Delete(key) },
			"expired": func(_ *testing.T, key string) { f.Drop(key) },
		},
	}
}

func onNATS(t *testing.T) Subject {
	t.Helper()
	_, js := brokertest.Start(t)
	kv := Make(t, js)
	b, err := bucket.Open(t.Context(), js, Name)
	require.NoError(t, err)
	return Subject{
		Bucket: b,
		Store: func(t *testing.T, key string, value []byte) {
			_, err := kv.Put(t.Context(), key, value)
			require.NoError(t, err)
		},
		Drop: map[string]func(*testing.T, string){
			"deleted": func(t *testing.T, key string) { require.NoError(t, kv.Delete(t.Context(), key)) },
			"purged":  func(t *testing.T, key string) { require.NoError(t, kv.Purge(t.Context(), key)) },
			"expired": func(t *testing.T, key string) { // leaves as little as a purge of the stream
				s, err := js.Stream(t.Context(), "KV_"+Name)
				require.NoError(t, err)
				require.NoError(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV."+Name+"."+key)))
			},
		},
	}
}

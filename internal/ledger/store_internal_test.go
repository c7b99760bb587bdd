package ledger

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
)

// TestAnnouncedAsTheServerDoes: on the same subject, with the same bytes, and
// nowhere where the bucket is not republished.
func TestAnnouncedAsTheServerDoes(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	heard, err := nc.SubscribeSync("results.>")
	require.NoError(t, err)
	for bucket, republish := range map[string]*jetstream.RePublish{
		"announced": {Source: "$KV.announced.>", Destination: "results.>"}, "silent": nil,
	} {
		kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, RePublish: republish})
		require.NoError(t, err)
		l, err := Open(t.Context(), js, bucket)
		require.NoError(t, err)
		if republish == nil {
			require.NoError(t, l.store.announce("r", []byte("nobody hears it")))
			continue
		}
		_, err = kv.PutString(t.Context(), "r", "the record")
		require.NoError(t, err)
		require.NoError(t, l.store.announce("r", []byte("the record")))
		theirs, err := heard.NextMsg(10 * time.Second)
		require.NoError(t, err)
		ours, err := heard.NextMsg(10 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, "results.r", theirs.Subject)
		assert.Equal(t, theirs.Subject, ours.Subject)
		assert.Equal(t, theirs.Data, ours.Data)
	}
	require.NoError(t, nc.Flush())
	left, _, err := heard.Pending()
	require.NoError(t, err)
	assert.Zero(t, left)
}

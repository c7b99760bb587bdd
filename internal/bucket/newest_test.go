package bucket

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// TestOnlyTheLeaderIsAsked: no other replica takes part in a read or a write.
func TestOnlyTheLeaderIsAsked(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	b, _ := onServer(t, js)
	asked, err := nc.SubscribeSync("$JS.API.>")
	require.NoError(t, err)
	b.holds(t, "a", "")
	revision, err := b.Swap(t.Context(), "a", []byte("x"), 0)
	require.NoError(t, err)
	_, err = b.Swap(t.Context(), "a", []byte("y"), 0)
	require.ErrorIs(t, err, ErrConflict)
	assert.Equal(t, revision, b.holds(t, "a", "x"))
	require.NoError(t, nc.Flush())
	requests, _, err := asked.Pending()
	require.NoError(t, err)
	assert.Equal(t, 2, requests)
	for range requests {
		msg, err := asked.NextMsgWithContext(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "$JS.API.STREAM.MSG.GET.KV_things", msg.Subject)
	}
}

func TestNewestWithoutAValue(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	_, kv := onServer(t, js)
	for key, test := range map[string]struct {
		remove func(key string) error
		marked bool
	}{
		"deleted": {func(key string) error { return kv.Delete(t.Context(), key) }, true},
		"purged":  {func(key string) error { return kv.Purge(t.Context(), key) }, true},
		"expired": {func(key string) error {
			s, err := js.Stream(t.Context(), "KV_"+name)
			require.NoError(t, err)
			return s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV."+name+"."+key))
		}, false},
	} {
		revision, err := kv.PutString(t.Context(), key, "x")
		require.NoError(t, err)
		require.NoError(t, test.remove(key))
		value, mark, err := Newest(t.Context(), nc, name, key)
		require.ErrorIs(t, err, jetstream.ErrKeyNotFound, key)
		assert.Empty(t, value)
		assert.Equal(t, test.marked, mark > revision, key)
		assert.Equal(t, !test.marked, mark == 0, key)
	}
	_, _, err := Newest(t.Context(), nc, "nothing", "a")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
}

// TestNewestOfABrokerInTrouble answers in the broker's place.
func TestNewestOfABrokerInTrouble(t *testing.T) {
	t.Parallel()
	nc, _ := brokertest.Server(t, func(o *server.Options) { o.JetStream = false }).Connect()
	_, _, err := Newest(t.Context(), nc, name, "a")
	require.ErrorIs(t, err, nats.ErrNoResponders)

	answers := make(chan string, 1)
	_, err = nc.Subscribe("$JS.API.STREAM.MSG.GET.KV_"+name, func(m *nats.Msg) { assert.NoError(t, m.Respond([]byte(<-answers))) })
	require.NoError(t, err)
	for _, answer := range []string{
		``, `{}`, `[]`, `{"message":`, `{"message":{"seq":1,"data":"?"}}`, `{"message":{"seq":1,"hdrs":"TkFUUw==","data":""}}`,
		`{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`,
	} {
		answers <- answer
		_, _, err := Newest(t.Context(), nc, name, "a")
		require.Error(t, err, answer)
		assert.True(t, retry.Temporary(err), "%s: %v", answer, err)
	}
}

package containers_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/containers"
)

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// bucket is the one bucket of these tests, made where it isn't there.
func bucket(ctx context.Context, t *testing.T, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:    "requests",
		RePublish: &jetstream.RePublish{Source: "$KV.requests.>", Destination: "result.>"},
	})
	require.NoError(t, err)
	return kv
}

// What the worker builds upon: a record that was acknowledged is announced by the
// server itself, and is there again after the server was killed.
func TestAcknowledgedRecordOutlivesTheServer(t *testing.T) {
	t.Parallel()

	ctx := bounded(t)
	server := containers.StartNATS(t)
	nc := server.Connect()
	kv := bucket(ctx, t, nc)
	announced, err := nc.SubscribeSync("result.>")
	require.NoError(t, err)
	require.NoError(t, nc.FlushWithContext(ctx))

	revision, err := kv.Create(ctx, "a", []byte("sending"))
	require.NoError(t, err)
	message, err := announced.NextMsgWithContext(ctx)
	require.NoError(t, err)
	assert.Equal(t, "result.a", message.Subject)
	assert.Equal(t, "sending", string(message.Data))

	url := server.URL()
	server.Kill()
	_, err = nats.Connect(url, nats.NoReconnect(), nats.Timeout(time.Second))
	require.Error(t, err, "a killed server takes no connection")

	server.Restart()
	assert.Equal(t, url, server.URL(), "clients find it where it was")
	entry, err := bucket(ctx, t, server.Connect()).Get(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, "sending", string(entry.Value()))
	assert.Equal(t, revision, entry.Revision())

	// The connection from before finds its way back by itself, and what the
	// server announces reaches its subscription again.
	require.Eventually(t, nc.IsConnected, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, nc.FlushWithContext(ctx))
	_, err = kv.Update(ctx, "a", []byte("sent"), revision)
	require.NoError(t, err)
	message, err = announced.NextMsgWithContext(ctx)
	require.NoError(t, err)
	assert.Equal(t, "sent", string(message.Data))
}

func TestPausedServerAnswersNothingAndLosesNothing(t *testing.T) {
	t.Parallel()

	ctx := bounded(t)
	server := containers.StartNATS(t)
	nc := server.Connect()
	kv := bucket(ctx, t, nc)

	server.Pause()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err := kv.Create(short, "a", []byte("x"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.True(t, nc.IsConnected(), "the connection stays open")

	// The write was under way all the time: a timeout tells nothing about it.
	server.Unpause()
	require.Eventually(t, func() bool {
		_, err := kv.Get(ctx, "a")
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
}

package brokertest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRestartKeepsStoreAndAddress(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	url := srv.URL()
	nc, js := srv.Connect()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "s", []byte("kept"))
	require.NoError(t, err)

	srv.Stop()
	assert.False(t, nc.IsConnected())
	srv.Stop()
	_, err = nats.Connect(url, nats.MaxReconnects(0))
	require.Error(t, err)

	srv.Restart()
	require.Equal(t, url, srv.URL())
	require.Eventually(t, nc.IsConnected, 20*time.Second, 5*time.Millisecond)
	msg, err := stream.GetLastMsgForSubject(t.Context(), "s")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(msg.Data))
}

package brokertest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStartGivesEachTestItsOwnServer(t *testing.T) {
	t.Parallel()
	one, js := brokertest.Start(t)
	two, _ := brokertest.Start(t)
	assert.NotEqual(t, one.ConnectedServerId(), two.ConnectedServerId())
	info, err := js.AccountInfo(t.Context())
	require.NoError(t, err)
	assert.Zero(t, info.Streams)
}

func TestRestartKeepsStoreAndAddress(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	url := srv.URL()
	nc, js := srv.Connect()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
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
	msg, err := mustStream(t, js, "S").GetLastMsgForSubject(t.Context(), "s")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(msg.Data))
}

func TestServerTakesOptions(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t, func(o *server.Options) { o.Authorization = "letmein" })
	_, err := nats.Connect(srv.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	nc, _ := srv.Connect(nats.Token("letmein"))
	assert.True(t, nc.IsConnected())
}

func mustStream(t *testing.T, js jetstream.JetStream, name string) jetstream.Stream {
	t.Helper()
	s, err := js.Stream(t.Context(), name)
	require.NoError(t, err)
	return s
}

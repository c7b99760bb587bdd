package broker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestConnectOnce(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	ctx, cancel := context.WithCancel(within(t, patience))
	nc, err := broker.ConnectOnce(ctx, broker.Options{URL: "nats://127.0.0.1:1," + srv.URL(), Inbox: broker.WorkerInbox}, nil)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	cancel() // it was for the connecting alone
	require.NoError(t, nc.FlushWithContext(within(t, patience)))
	assert.Contains(t, nc.NewInbox(), broker.WorkerInbox)

	srv.Restart()
	require.NoError(t, broker.WaitConnected(within(t, patience), nc), "and it keeps itself up")
}

func TestConnectOnceSaysWhyNot(t *testing.T) {
	t.Parallel()
	guarded := brokertest.Server(t, func(o *server.Options) { o.Username, o.Password = "worker", "right" })
	for want, o := range map[string]broker.Options{
		"connection refused":              {URL: "nats://127.0.0.1:1"},
		"no such host":                    {URL: "nats://nobody.invalid"},
		"Authorization Violation":         {URL: guarded.URL(), User: "worker", Password: passcode.NewSecret("wr0ng")},
		"secure connection not available": {URL: "tls" + guarded.URL()[len("nats"):]},
		"nats.creds: open":                {URL: guarded.URL(), Creds: "/nowhere/user.creds"},
	} {
		_, err := broker.ConnectOnce(within(t, patience), o, nil)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "wr0ng")
	}
}

// TestConnectOnceLeavesWithItsContext: a server that accepts and never greets.
func TestConnectOnceLeavesWithItsContext(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator has seen enough")
	met := make(chan struct{})
	go func() {
		defer close(met)
		conn, err := silent.Accept()
		if err != nil {
			return
		}
		cancel(cause)
		_, _ = io.Copy(io.Discard, conn) // until the client leaves
		_ = conn.Close()
	}()
	_, err = broker.ConnectOnce(ctx, broker.Options{URL: "nats://" + silent.Addr().String()}, nil)
	require.ErrorIs(t, err, cause)
	<-met
	require.NoError(t, silent.Close())

	_, err = broker.ConnectOnce(ctx, broker.Options{URL: "nats://" + silent.Addr().String()}, nil)
	require.ErrorIs(t, err, cause, "nor does it begin")
}

package broker_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

// patience bounds what waits for a real server; the machines that run these
// tests may have few cores.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLog() (*fake.Buffer, *slog.Logger) {
	l := &fake.Buffer{}
	return l, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

var quiet = slog.New(slog.DiscardHandler)

// at are the settings of a broker that asks for no credentials.
func at(url string) config.NATS { return config.NATS{URL: config.NewServerURLs(url)} }

// connect makes a connection with the settings and closes it with the test.
func connect(t *testing.T, n config.NATS, log *slog.Logger) *nats.Conn {
	t.Helper()
	nc, err := broker.Connect(t.Context(), n, "test", broker.WorkerInbox, log)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// connectedTo is a connection that is up, and its JetStream.
func connectedTo(t *testing.T, n config.NATS, log *slog.Logger) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc := connect(t, n, log)
	require.NoError(t, broker.WaitConnected(within(t, patience), nc))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return nc, js
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, cond func() bool, what string) {
	t.Helper()
	require.Eventually(t, cond, patience, 5*time.Millisecond, what)
}

package broker_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

func startEmbedded(t *testing.T, dir string, log *slog.Logger) *broker.Embedded {
	t.Helper()
	e, err := broker.StartEmbedded("127.0.0.1:0", dir, log)
	require.NoError(t, err)
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, e.Stop(ctx))
	})
	return e
}

func TestEmbeddedKeepsItsStoreOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "by", "the", "start")
	out, log := newLog()
	first := startEmbedded(t, dir, log)
	assert.True(t, strings.HasPrefix(first.URL(), "nats://127.0.0.1:"))
	assert.Empty(t, out.String(), "notices are not passed on, and nothing warns")
	nc, js := connectedTo(t, at(first.URL()), quiet)
	require.NoError(t, broker.CheckServer(nc))
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Storage: jetstream.FileStorage})
	require.NoError(t, err)
	_, err = kv.PutString(t.Context(), "key", "kept")
	require.NoError(t, err)
	nc.Close()
	require.NoError(t, first.Stop(within(t, patience)))
	require.NoError(t, first.Stop(within(t, patience)), "stopping twice only waits again")
	_, err = nats.Connect(first.URL())
	require.Error(t, err)

	second := startEmbedded(t, dir, log)
	_, js = connectedTo(t, at(second.URL()), quiet)
	kv, err = js.KeyValue(t.Context(), "b")
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), "key")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(entry.Value()))
}

func TestEmbeddedRefusesAStoreInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startEmbedded(t, dir, quiet)
	_, err := broker.StartEmbedded("127.0.0.1:0", dir, quiet)
	require.ErrorContains(t, err, "nats.embedded.store_dir")
	require.ErrorContains(t, err, "in use by another process")
}

func TestEmbeddedSaysAtOnceWhyItCannotRun(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, taken.Close()) })
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	broken := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(broken, "jetstream"), nil, 0o600))

	for name, test := range map[string]struct{ address, dir, want string }{
		"address taken":     {taken.Addr().String(), t.TempDir(), "address already in use"},
		"no port":           {"127.0.0.1", t.TempDir(), "nats.embedded.listen"},
		"no such port":      {"127.0.0.1:70000", t.TempDir(), "nats.embedded.listen"},
		"store is a file":   {"127.0.0.1:0", file, "nats.embedded.store_dir"},
		"store is unusable": {"127.0.0.1:0", broken, "JetStream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := broker.StartEmbedded(test.address, test.dir, quiet)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "start embedded NATS")
		})
	}
}

func TestEmbeddedStopIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, t.TempDir(), quiet)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	// The shutdown takes longer than no time at all, yet goes on.
	if err := e.Stop(ended); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, e.Stop(within(t, patience)))
}

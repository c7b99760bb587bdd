package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestNoSpaceOnDisk: the broker's disk is full. nats-server 2.15 leaves a message
// that it can't store unanswered, so that its producer knows no better; what it did
// acknowledge is sent, and after a restart with room all goes on.
func TestNoSpaceOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skip("needs the right to mount a small file system: ", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) }) // after the server's
	broker := brokertest.Server(t, func(o *server.Options) {
		o.StoreDir, o.JetStreamMaxStore = dir, 1<<30
	})
	s := troubledOn(t, broker, nil)
	s.run("jobs.max_bytes", "1MiB")
	s.wentOn("before", s.goodAndBad("before", 3, 0))
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	var ids []string
	for err = nil; err == nil; {
		id := fmt.Sprintf("r%d", len(ids))
		body := fmt.Sprintf(`{"request_id":%q,"phone":%q,"code":%q,"pad":%q}`, id, phoneOf(10+len(ids)), code, strings.Repeat("x", 4000))
		ctx, cancel := context.WithTimeout(s.ctx(), 2*time.Second)
		_, err = s.js.Publish(ctx, "passcode.send", []byte(body))
		cancel()
		ids = append(ids, id)
	}
	require.Error(t, err, "a producer must not take it for stored")
	require.NoError(t, os.Remove(filler))
	broker.Restart()
	s.wentOn("after", s.goodAndBad("after", 10, 500))
	for _, id := range ids[:len(ids)-1] { // those that were acknowledged
		assert.Equal(t, passcode.StatusSent, s.results.final(id, bound).Status, id)
	}
	s.quiet()
}

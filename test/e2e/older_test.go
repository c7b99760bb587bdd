package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// older is a way to a broker on which it passes for one of version 2.10: what it
// says of itself is changed, and the rest left alone.
func older(t *testing.T, url string) string {
	t.Helper()
	var version atomic.Pointer[string]
	version.Store(new("2.10.29"))
	return passingFor(t, url, &version)
}

// passingFor is a way to a broker on which it passes, for those who connect, for
// one of that version, and for itself without any.
func passingFor(t *testing.T, url string, version *atomic.Pointer[string]) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var passing sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = listener.Close() // it ends the loop below
		passing.Wait()
	})
	passing.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { pass(ctx, client, strings.TrimPrefix(url, "nats://"), version.Load()) })
		}
	})
	return "nats://" + listener.Addr().String()
}

var versionInInfo = regexp.MustCompile(`"version":"[^"]*"`)

// pass carries one connection until either side leaves or ctx ends.
func pass(ctx context.Context, client net.Conn, address string, version *string) {
	broker, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		_ = client.Close()
		return
	}
	both := func() { _, _ = client.Close(), broker.Close() } // who is gone already says so, and need not
	stop := context.AfterFunc(ctx, both)
	defer stop()
	var upstream sync.WaitGroup
	upstream.Go(func() {
		_, _ = io.Copy(broker, client)
		both()
	})
	// It says so at the start, and once more when the client is let in.
	downstream := bufio.NewReader(broker)
	for {
		line, err := downstream.ReadString('\n')
		if version != nil && strings.HasPrefix(line, "INFO ") {
			line = versionInInfo.ReplaceAllString(line, fmt.Sprintf(`"version":%q`, *version))
		}
		if _, failed := io.WriteString(client, line); failed != nil || err != nil {
			break
		}
	}
	both()
	upstream.Wait()
}

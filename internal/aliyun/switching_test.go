package aliyun

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// After "101 Switching Protocols" net/http hands the connection over and no
// longer watches the call's context: to read on would be to wait for ever.
func TestSendDoesNotReadAnotherProtocol(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	endpoint := newRawService(t, readThen(func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // says nothing more, and never hangs up
		close(ended)
	}))
	options := testOptions(endpoint)
	options.Timeout = 200 * time.Millisecond
	s := newTestSender(t, options)

	done := make(chan struct{})
	go func() {
		defer close(done)
		outcome := s.Send(t.Context(), testMessage(), time.Time{})
		assert.Equal(t, passcode.ClassInDoubt, outcome.Class)
		assert.Equal(t, "unreadable_answer", outcome.Code)
	}()
	for what, event := range map[string]chan struct{}{"the call": done, "the connection": ended} {
		select {
		case <-event:
		case <-time.After(10 * time.Second):
			t.Fatal(what + " did not end")
		}
	}
}

package aliyun

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// A server, or a proxy before it, that writes a second answer behind the first.
// It answers nothing that was asked, so no message may be taken for sent by it.
func TestSendBelievesNoAnswerToAnotherRequest(t *testing.T) {
	t.Parallel()
	const refusal = `{"Code":"isv.MOBILE_NUMBER_ILLEGAL","Message":"x"}`
	both := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(refusal), refusal) + rawOK
	s := newTestSender(t, testOptions(newRawService(t, func(conn *net.TCPConn) {
		for in := bufio.NewReader(conn); ; {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, both)
		}
	})))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 30 {
				assert.NotEqual(t, passcode.ClassOK, s.Send(t.Context(), testMessage(), time.Time{}).Class)
			}
		})
	}
	wait.Wait()
}

// What decides it: nothing is written before the transport waits for the answer.
func TestAWriteAwaitsTheReader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		event func(c *fencedConn, cancel func())
		err   error
	}{
		{"who comes", func(c *fencedConn, _ func()) { _, _ = c.Read(make([]byte, 1)) }, nil},
		{"who is gone", func(c *fencedConn, _ func()) { _ = c.Close() }, net.ErrClosed},
		{"whom nobody waits for any more", func(_ *fencedConn, cancel func()) { cancel() }, errSealed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				near, far := net.Pipe()
				c := newFencedConn(near)
				c.attempt.Store(&attempt{now: time.Now, cancel: cancel, done: ctx.Done()})
				got := make(chan error)
				go func() {
					_, err := c.Write([]byte("x"))
					got <- err
				}()
				synctest.Wait()
				assert.Equal(t, stateOpen, c.attempt.Load().state.Load(), "nothing was written yet")

				ended := make(chan struct{})
				go func() { defer close(ended); test.event(c, func() { cancel(nil) }) }()
				if test.err == nil {
					_, err := far.Read(make([]byte, 1))
					require.NoError(t, err)
				}
				require.ErrorIs(t, <-got, test.err)
				require.NoError(t, far.Close())
				<-ended
			})
		})
	}
}

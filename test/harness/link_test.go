package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echo is a server that returns each line.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, listener.Close())
		<-done
	})
	return listener.Addr().String()
}

// client sends lines over a link.
type client struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, l *Link) *client {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(bound)))
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) say(line string) error {
	_, err := fmt.Fprintln(c, line)
	return err
}

func (c *client) hears(line string) {
	c.t.Helper()
	got, err := c.lines.ReadString('\n')
	require.NoError(c.t, err)
	assert.Equal(c.t, line+"\n", got)
}

// refused checks that a new connection is reset, while it is made or after.
func refused(t *testing.T, l *Link) {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr())
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // the other end did
	require.NoError(t, conn.SetDeadline(time.Now().Add(bound)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	var silent net.Error
	assert.False(t, errors.As(err, &silent) && silent.Timeout(), "reset, not silent")
}

func TestLinkCutAndRestored(t *testing.T) {
	t.Parallel()
	l := StartLink(t, echo(t))
	before := dial(t, l)
	require.NoError(t, before.say("one"))
	before.hears("one")

	l.Cut()
	_, err := before.lines.ReadByte()
	require.Error(t, err, "open connections are reset")
	refused(t, l)

	l.Restore()
	after := dial(t, l)
	require.NoError(t, after.say("two"))
	after.hears("two")
}

func TestLinkStalledDeliversLater(t *testing.T) {
	t.Parallel()
	l := StartLink(t, echo(t))
	c := dial(t, l)
	require.NoError(t, c.say("one"))
	c.hears("one")

	l.Stall()
	require.NoError(t, c.say("two"))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.lines.ReadByte()
	var silent net.Error
	require.ErrorAs(t, err, &silent)
	assert.True(t, silent.Timeout(), "nothing comes, and nothing ends")

	l.Restore()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(bound)))
	c.hears("two")
}

func TestLinkToNobody(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	l := StartLink(t, listener.Addr().String())
	refused(t, l)
	l.Stall()
	l.Cut() // ends what stalled
}

// TestLinkForgetsAConnectionThatWasMadeInAStall: as it forgets what an older one was
// given. The request stands in this end's kernel, where it would be read in spite of
// the reset that came after it.
func TestLinkForgetsAConnectionThatWasMadeInAStall(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, listener.Close()) }()
	l := StartLink(t, listener.Addr().String())
	l.Stall()
	for range 20 {
		c := dial(t, l)
		_, err = c.Write([]byte("a request"))
		require.NoError(t, err)
		require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0))
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return l.resets.Load() == 20 }, bound, time.Millisecond)
	l.Restore()
	for range 20 {
		server, err := listener.Accept()
		require.NoError(t, err)
		require.NoError(t, server.SetDeadline(time.Now().Add(bound)))
		got, _ := io.ReadAll(server) // it ends in one way or another
		assert.Empty(t, string(got))
		_ = server.Close() // the link may have been first
	}
}

// TestLinkForgetsWhatWasReset: what an end wrote before it closed in order arrives
// after a stall, and what it wrote before a reset, or too long ago, does not.
func TestLinkForgetsWhatWasReset(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		abandon func(*testing.T, *Link, *net.TCPConn)
		arrives string
	}{
		{"closed", func(t *testing.T, _ *Link, c *net.TCPConn) { require.NoError(t, c.Close()) }, "a request"},
		{"reset", func(t *testing.T, _ *Link, c *net.TCPConn) {
			require.NoError(t, c.SetLinger(0))
			require.NoError(t, c.Close())
		}, ""},
		{"frozen", func(_ *testing.T, l *Link, _ *net.TCPConn) { l.GiveUpAfter(time.Nanosecond) }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer func() { assert.NoError(t, listener.Close()) }()
			l := StartLink(t, listener.Addr().String())
			c := dial(t, l)
			server, err := listener.Accept()
			require.NoError(t, err)
			defer func() { _ = server.Close() }() // the link may have been first
			require.NoError(t, server.SetDeadline(time.Now().Add(bound)))

			l.Stall()
			_, err = c.Write([]byte("a request"))
			require.NoError(t, err)
			row.abandon(t, l, c.Conn.(*net.TCPConn))
			if row.name == "reset" {
				require.Eventually(t, func() bool { return l.resets.Load() > 0 }, bound, time.Millisecond)
			}
			l.Restore()
			got, _ := io.ReadAll(server) // it ends in one way or another
			assert.Equal(t, row.arrives, string(got))
		})
	}
}

package wire

import (
	"io"
	"net"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestAClosedRequestIsNotDeliveredLater: a connection that is given up is reset,
// so that the kernel forgets what it had still to send. A connection that is closed
// in order would end with EOF, after all that was written.
func TestAClosedRequestIsNotDeliveredLater(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, listener.Close()) }()
	c := New(time.Minute, 7*time.Second, 1, nil)
	defer c.Close()

	conn, err := c.open(t.Context(), &url.URL{Scheme: "http", Host: listener.Addr().String()})
	require.NoError(t, err)
	assert.Equal(t, 7000, userTimeout(t, conn.raw), "the kernel gives up with the call, also where the process is frozen")
	server, err := listener.Accept()
	require.NoError(t, err)
	defer func() { _ = server.Close() }() // reset already
	_, err = conn.Write([]byte("a request"))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	_, err = io.ReadAll(server)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// userTimeout is what the kernel was told, in milliseconds.
func userTimeout(t *testing.T, conn net.Conn) (ms int) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	var get error
	require.NoError(t, raw.Control(func(fd uintptr) {
		ms, get = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}))
	require.NoError(t, get)
	return ms
}

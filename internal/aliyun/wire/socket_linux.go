package wire

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter bounds how long the kernel tries to deliver what was written, should the process be frozen so that it
// can't close the connection. See tcp(7), TCP_USER_TIMEOUT.
func giveUpAfter(timeout time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds()))
		})
		return errors.Join(err, set)
	}
}

// quiet reports whether a connection can be used again: the server has neither closed it
// nor written anything since its last answer, which would be taken for the next one.
func quiet(c net.Conn) bool {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var look error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, look = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true // whatever it is, don't wait
	})
	return err == nil && errors.Is(look, unix.EAGAIN)
}

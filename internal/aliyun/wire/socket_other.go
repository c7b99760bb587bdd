//go:build !linux

package wire

import (
	"net"
	"syscall"
	"time"
)

// giveUpAfter has no equal here. A process that is frozen while the network is
// stuck may leave a request on its way for longer.
func giveUpAfter(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }

// quiet has no equal here that is worth its while, so no connection is used twice.
func quiet(net.Conn) bool { return false }

package aliyun

import "net"

// abandonOnClose has the kernel forget a connection when it is closed, whoever
// closes it: we after a timeout, or the kernel after kill -9. It would otherwise go
// on for minutes to deliver what the network has not taken yet, and a request could
// reach Aliyun after the look-ups found nothing of it.
//
// It costs nothing: where we close, either the answer is read or it is not waited
// for any more.
func abandonOnClose(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	return tcp.SetLinger(0)
}

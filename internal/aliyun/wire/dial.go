package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options are the bounds of a [Client].
type Options struct {
	ConnectTimeout time.Duration  // of one TCP connect, and again of one TLS handshake
	Timeout        time.Duration  // of a whole call
	Concurrency    int            // how many connections are kept idle
	RootCAs        *x509.CertPool // nil: the system's
}

// Client makes exchanges over kept connections. It is safe for concurrent use.
type Client struct {
	HTTP   *http.Client
	dialer *dialer
}

// New makes a client. It speaks HTTP/1.1, where a connection carries one request at a
// time and so belongs to one attempt.
func New(o Options) *Client {
	stopped, cancel := context.WithCancel(context.Background())
	d := &dialer{
		connect: &net.Dialer{Timeout: o.ConnectTimeout, Control: giveUpAfter(o.Timeout)},
		tls:     &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		stopped: stopped,
		cancel:  cancel,
	}
	return &Client{dialer: d, HTTP: &http.Client{
		// A redirect would carry phone and passcode to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:               nil, // the environment's proxy would see phone and passcode in every URL
			DialContext:         d.plain,
			DialTLSContext:      d.secure,
			MaxIdleConns:        o.Concurrency,
			MaxIdleConnsPerHost: o.Concurrency,
			// Below the server's own idle timeout (about 10 s), so that we close first
			// and no request meets a closing connection.
			IdleConnTimeout:        5 * time.Second,
			ResponseHeaderTimeout:  o.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
	}}
}

// Close releases all connections. No exchange must be in progress.
func (c *Client) Close() {
	c.dialer.stop()
	c.HTTP.CloseIdleConnections()
}

// tlsError is a handshake that failed.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "tls handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// dialer makes fenced connections. A dial outlives the call that asked for it,
// because the transport keeps it for the next one; stop ends and awaits them.
type dialer struct {
	connect *net.Dialer
	tls     *tls.Config
	stopped context.Context
	cancel  context.CancelFunc
	dials   sync.RWMutex // every dial holds it for reading
}

func (d *dialer) stop() {
	d.cancel()
	d.dials.Lock()
	defer d.dials.Unlock()
}

func (d *dialer) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.dial(ctx, network, addr, func(_ context.Context, conn net.Conn) (net.Conn, error) { return conn, nil })
}

func (d *dialer) secure(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.dial(ctx, network, addr, func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, d.connect.Timeout)
		defer cancel()
		config := d.tls.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr) // that it has a port, the connect has shown
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, &tlsError{err}
		}
		return secured, nil
	})
}

func (d *dialer) dial(ctx context.Context, network, addr string,
	then func(context.Context, net.Conn) (net.Conn, error),
) (net.Conn, error) {
	d.dials.RLock()
	defer d.dials.RUnlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(d.stopped, cancel)
	defer unhook()
	if err := d.stopped.Err(); err != nil {
		return nil, err
	}
	conn, err := d.connect.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	done, err := then(ctx, conn)
	if err == nil {
		err = forgetOnClose(conn)
	}
	if err != nil {
		_ = conn.Close() // of no use; the first error tells
		return nil, err
	}
	return Fence(done), nil
}

// forgetOnClose has the kernel forget a connection when it is closed, by us after a
// timeout, or by the kernel after kill -9. It would otherwise go on for minutes to
// deliver what the network has not taken yet, and a request could reach Aliyun after
// the look-ups found nothing of it.
//
// It costs nothing: where we close, either the answer is read or nobody waits for it
// any more.
func forgetOnClose(conn net.Conn) error {
	if tcp, ok := conn.(*net.TCPConn); ok {
		return tcp.SetLinger(0)
	}
	return nil
}

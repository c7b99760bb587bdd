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

// Client makes exchanges over kept connections. It is safe for concurrent use.
type Client struct {
	Transport http.RoundTripper // for tests to replace
	kept      *http.Transport

	connect *net.Dialer
	tls     *tls.Config
	stopped context.Context // ends all dials
	stop    context.CancelFunc
	dials   sync.RWMutex // every dial, which may outlive its call, holds it for reading
}

// New makes a client. Connect bounds one TCP connect, and again one TLS handshake;
// timeout bounds a whole call; concurrency is how many connections are kept idle; roots
// may be nil. It speaks HTTP/1.1, so a connection belongs to one attempt at a time.
func New(connect, timeout time.Duration, concurrency int, roots *x509.CertPool) *Client {
	c := &Client{
		connect: &net.Dialer{Timeout: connect, Control: giveUpAfter(timeout)},
		tls:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
	}
	c.stopped, c.stop = context.WithCancel(context.Background())
	c.kept = &http.Transport{
		Proxy:               nil, // it would see phone and passcode in every URL
		DialContext:         c.dial(false),
		DialTLSContext:      c.dial(true),
		MaxIdleConns:        concurrency,
		MaxIdleConnsPerHost: concurrency,
		// Below the server's idle timeout (about 10 s), so that no request meets a
		// connection that is being closed.
		IdleConnTimeout:        5 * time.Second,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
	c.Transport = c.kept
	return c
}

// Close releases all connections. No exchange must be in progress.
func (c *Client) Close() {
	c.stop()
	c.dials.Lock()
	defer c.dials.Unlock()
	c.kept.CloseIdleConnections()
}

// tlsError is a handshake that failed.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "tls handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// dial returns what the transport dials with. The connections forget what they have not
// delivered when they are closed: by us after a timeout, or by the kernel after kill -9.
// Otherwise the kernel would try for minutes, and a request could reach Aliyun after the
// look-ups found nothing. This costs nothing: whoever closes expects no answer any more.
func (c *Client) dial(secure bool) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.dials.RLock()
		defer c.dials.RUnlock()
		if err := c.stopped.Err(); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		unhook := context.AfterFunc(c.stopped, cancel)
		defer unhook()
		conn, err := c.connect.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ready := conn
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetLinger(0)
		}
		if err == nil && secure {
			ready, err = c.handshake(ctx, conn, addr)
		}
		if err != nil {
			_ = conn.Close() // the first error tells
			return nil, err
		}
		return Fence(ready), nil
	}
}

func (c *Client) handshake(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.connect.Timeout)
	defer cancel()
	config := c.tls.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr) // connecting has shown that it has a port
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, &tlsError{err}
	}
	return secured, nil
}

package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxIdle is below the server's idle timeout (about 10 s), so that no request meets
	// a connection that is being closed.
	maxIdle = 5 * time.Second
	// maxHeader is how large an answer's headers may be together.
	maxHeader = 64 << 10
)

// Client makes exchanges over kept connections. It is safe for concurrent use.
type Client struct {
	// Dial makes a TCP connection. Tests replace it.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	connect time.Duration // bounds a TLS handshake too
	tls     *tls.Config
	keep    int

	calls   chan *Exchange // for callers that are free
	callers sync.WaitGroup
	free    atomic.Int64 // at most as many stay as connections do

	mu     sync.Mutex
	idle   []*conn // longest idle first
	sweep  *time.Timer
	closed bool
}

// New makes a client. Connect bounds one TCP connect, and again one TLS handshake; timeout is how long a whole call
// takes at most; keep is how many connections are kept idle; roots may be nil. It speaks HTTP/1.1, so a connection
// belongs to one exchange at a time.
//
// net/http's Transport isn't used. It hands each request and its answer over between
// goroutines, and repeats requests, which has to be fenced off.
func New(connect, timeout time.Duration, keep int, roots *x509.CertPool) *Client {
	c := &Client{
		Dial:    (&net.Dialer{Timeout: connect, Control: giveUpAfter(timeout)}).DialContext,
		connect: connect, keep: keep, calls: make(chan *Exchange),
		tls: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
	}
	c.sweep = time.AfterFunc(maxIdle, c.closeIdle)
	c.sweep.Stop()
	return c
}

// Close releases all connections. No exchange must be in progress.
func (c *Client) Close() {
	close(c.calls)
	c.callers.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.sweep.Stop()
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	c.idle = nil
}

// nextCall waits for the next call of a caller, nil if it is to end.
func (c *Client) nextCall() *Exchange {
	defer c.free.Add(-1)
	if c.free.Add(1) > int64(c.keep) {
		return nil
	}
	return <-c.calls
}

// closeIdle closes what has been idle for too long.
func (c *Client) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = slices.DeleteFunc(c.idle, func(conn *conn) bool {
		old := time.Since(conn.since) >= maxIdle
		if old {
			_ = conn.Close()
		}
		return old
	})
	if len(c.idle) > 0 {
		c.sweep.Reset(maxIdle)
	}
}

// conn is a connection to a server, without a request or an answer on its way.
type conn struct {
	net.Conn
	raw   net.Conn // below TLS
	to    string
	in    *bufio.Reader
	limit *io.LimitedReader // of in: how much more may be read for one answer
	since time.Time         // idle
}

// take returns a connection to the server of a URL: the one that was used last, or a new one.
func (c *Client) take(ctx context.Context, target *url.URL) (taken *conn, kept bool, err error) {
	to := target.Scheme + "://" + target.Host
	for {
		c.mu.Lock()
		if n := len(c.idle); n > 0 {
			taken, c.idle = c.idle[n-1], c.idle[:n-1]
		}
		c.mu.Unlock()
		if taken == nil {
			break
		}
		if taken.to == to && time.Since(taken.since) < maxIdle && quiet(taken.raw) {
			return taken, true, nil
		}
		_ = taken.Close()
		taken = nil
	}
	taken, err = c.open(ctx, target)
	if err == nil {
		taken.to = to
	}
	return taken, false, err
}

// put keeps a connection for the next exchange.
func (c *Client) put(done *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= c.keep {
		_ = done.Close()
		return
	}
	if len(c.idle) == 0 {
		c.sweep.Reset(maxIdle)
	}
	done.since = time.Now()
	c.idle = append(c.idle, done)
}

// tlsError is a handshake that failed.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "tls handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// open makes a connection. It forgets what it has not delivered when it is closed: by us after a timeout, or by the
// kernel after kill -9. Otherwise the kernel would try for minutes, and a request could reach Aliyun after the
// look-ups found nothing. This costs nothing: whoever closes expects no answer any more.
func (c *Client) open(ctx context.Context, target *url.URL) (*conn, error) {
	port := target.Port()
	switch {
	case port != "":
	case target.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	raw, err := c.Dial(ctx, "tcp", net.JoinHostPort(target.Hostname(), port))
	if err != nil {
		return nil, err
	}
	ready := raw
	if tcp, ok := raw.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	}
	if err == nil && target.Scheme == "https" {
		ready, err = c.handshake(ctx, raw, target.Hostname())
	}
	if err != nil {
		_ = raw.Close() // the first error tells
		return nil, err
	}
	limit := &io.LimitedReader{R: ready}
	return &conn{Conn: ready, raw: raw, in: bufio.NewReader(limit), limit: limit}, nil
}

func (c *Client) handshake(ctx context.Context, raw net.Conn, server string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.connect)
	defer cancel()
	config := c.tls.Clone()
	config.ServerName = server
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, &tlsError{err}
	}
	return secured, nil
}

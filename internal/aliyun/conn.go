package aliyun

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errTooLate     = errors.New("too late to write the request")
	errSealed      = errors.New("the attempt is over")
	errSecondWrite = errors.New("the request was written to another connection already")
	errNoAttempt   = errors.New("no attempt owns the connection")
)

// states of an attempt
const (
	stateOpen    int32 = iota // nothing of the request has been written
	stateWritten              // bytes of the request have been, or are just being, written
	stateSealed               // nothing was written, and nothing will be
)

// attempt is one request on its way out. It answers the question on which all
// classification rests, whether bytes of the request left this process, and it
// is the fence that keeps them from leaving when they must not any more.
type attempt struct {
	now      func() time.Time
	notAfter time.Time // zero: no fence
	// cancel ends the call. The transport would otherwise carry a refused write
	// to every idle connection in turn.
	cancel context.CancelCauseFunc
	done   <-chan struct{} // closed when the call ends

	state   atomic.Int32
	carrier atomic.Pointer[fencedConn] // the connection that was written to
	bytes   atomic.Int64
}

// late reports whether the fence is passed. Both the monotonic and the wall
// clock are asked: the monotonic one stands still while a machine is suspended,
// the wall clock can be set back.
func (a *attempt) late() bool {
	if a.notAfter.IsZero() {
		return false
	}
	now := a.now()
	return now.After(a.notAfter) || now.Round(0).After(a.notAfter.Round(0))
}

// admit is asked right before every write of the request.
func (a *attempt) admit(c *fencedConn) error {
	if a.late() {
		a.cancel(errTooLate)
		return errTooLate
	}
	if !a.carrier.CompareAndSwap(nil, c) && a.carrier.Load() != c {
		// net/http never does this with a request that is not idempotent; should
		// that ever change, the second message must still not leave.
		a.cancel(errSecondWrite)
		return errSecondWrite
	}
	if a.state.CompareAndSwap(stateOpen, stateWritten) || a.state.Load() == stateWritten {
		return nil
	}
	return errSealed
}

// wrote takes note of a write's result. A first write that took no byte leaves
// the attempt as it was. That holds for TLS too: a record that did not go out
// whole can't be decrypted by anybody.
func (a *attempt) wrote(n int, err error) {
	if a.bytes.Add(int64(n)) == 0 && err != nil {
		a.carrier.Store(nil)
		a.state.CompareAndSwap(stateWritten, stateOpen)
	}
}

// seal ends the attempt and reports whether bytes of the request may have left.
// After false none ever will: a write that is still to come is refused.
func (a *attempt) seal() (written bool) {
	return !a.state.CompareAndSwap(stateOpen, stateSealed) && a.state.Load() == stateWritten
}

// trace binds the attempt to each connection that the transport picks for it.
func (a *attempt) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if c, ok := info.Conn.(*fencedConn); ok {
				c.attempt.Store(a)
			}
		},
	})
}

// fencedConn is a connection on which an attempt admits each write. It lies
// above TLS, so what is written to it is the request and nothing else.
type fencedConn struct {
	net.Conn
	attempt atomic.Pointer[attempt]

	mu      sync.Mutex
	reading bool          // the transport waits in Read, and so has used up what came before
	closed  bool          // by the transport
	changed chan struct{} // closed, and replaced, when one of these becomes true
}

func newFencedConn(conn net.Conn) *fencedConn {
	return &fencedConn{Conn: conn, changed: make(chan struct{})}
}

func (c *fencedConn) Write(p []byte) (int, error) {
	a := c.attempt.Load()
	if a == nil {
		return 0, errNoAttempt
	}
	if err := c.awaitReader(a); err != nil {
		return 0, err
	}
	// Between this look at the clock and the system call there is no more than a
	// few instructions, which no user of the network can make fewer.
	if err := a.admit(c); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	a.wrote(n, err)
	return n, err
}

// awaitReader waits, before an attempt's first write, until the transport waits
// for an answer with nothing left over from the one before. It takes a connection
// into use again before it has looked, and would take what a strange server wrote
// behind its last answer for the answer to this request.
func (c *fencedConn) awaitReader(a *attempt) error {
	for {
		c.mu.Lock()
		reading, closed, changed := c.reading, c.closed, c.changed
		c.mu.Unlock()
		switch {
		case reading || a.state.Load() == stateWritten:
			return nil
		case closed:
			return net.ErrClosed
		}
		select {
		case <-changed:
		case <-a.done:
			return errSealed
		}
	}
}

func (c *fencedConn) Read(p []byte) (int, error) {
	c.tell(&c.reading, true)
	defer c.tell(&c.reading, false)
	return c.Conn.Read(p)
}

// Close tells those who wait for the reader, which is gone too.
func (c *fencedConn) Close() error {
	c.tell(&c.closed, true)
	return c.Conn.Close()
}

func (c *fencedConn) tell(what *bool, value bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*what = value
	if value {
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// tlsError is a handshake that failed.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "tls handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// dialer makes fenced connections. A dial outlives the call that asked for it,
// because the transport keeps it for the next one; stop ends and awaits them.
type dialer struct {
	timeout     time.Duration
	callTimeout time.Duration
	tls         *tls.Config
	ctx         context.Context
	cancel      context.CancelFunc
	mu          sync.Mutex // guards wg.Add against stop
	wg          sync.WaitGroup
}

func newDialer(o Options) *dialer {
	ctx, cancel := context.WithCancel(context.Background())
	return &dialer{
		timeout:     o.ConnectTimeout,
		callTimeout: o.Timeout,
		tls:         &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		ctx:         ctx,
		cancel:      cancel,
	}
}

func (d *dialer) stop() {
	d.mu.Lock()
	d.cancel()
	d.mu.Unlock()
	d.wg.Wait()
}

// begin bounds a step of a dial by the timeout and by stop.
func (d *dialer) begin(ctx context.Context) (context.Context, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ctx.Err(); err != nil {
		return nil, nil, err
	}
	d.wg.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(d.ctx, cancel)
	return ctx, func() { unhook(); cancel(); d.wg.Done() }, nil
}

func (d *dialer) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.tcp(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return newFencedConn(conn), nil
}

func (d *dialer) tcp(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, end, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	conn, err := (&net.Dialer{Timeout: d.timeout, Control: giveUpAfter(d.callTimeout)}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := abandonOnClose(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (d *dialer) secure(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.tcp(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	secured, err := d.handshake(ctx, conn, addr)
	if err != nil {
		// The handshake's error is the one that tells; the connection is of no use.
		_ = conn.Close()
		return nil, &tlsError{err}
	}
	return newFencedConn(secured), nil
}

func (d *dialer) handshake(ctx context.Context, conn net.Conn, addr string) (*tls.Conn, error) {
	ctx, end, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	config := d.tls.Clone()
	if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	secured := tls.Client(conn, config)
	return secured, secured.HandshakeContext(ctx)
}

// newTransport is the one transport of a sender. It speaks HTTP/1.1, where a
// connection carries one request at a time and so belongs to one attempt.
func newTransport(o Options, d *dialer) *http.Transport {
	return &http.Transport{
		Proxy:               nil, // the environment's proxy would see phone and passcode in every URL
		DialContext:         d.plain,
		DialTLSContext:      d.secure,
		TLSHandshakeTimeout: o.ConnectTimeout,
		MaxIdleConns:        o.Concurrency,
		MaxIdleConnsPerHost: o.Concurrency,
		// Below the server's own idle timeout (about 10 s), so that it is we who
		// close first and no request meets a closing connection.
		IdleConnTimeout:        5 * time.Second,
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// Package wire carries requests to Aliyun over connections of its own, and knows of each
// whether a byte of it was written.
package wire

import (
	"context"
	"errors"
	"net"
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

// attempt is one request on its way out. It knows whether bytes of it left this process,
// and is the fence that keeps them in when they must not leave any more.
type attempt struct {
	ctx context.Context // of the call
	// cancel ends it: the transport would try a refused write on every idle connection.
	cancel   context.CancelCauseFunc
	now      func() time.Time
	notAfter time.Time // zero: no fence

	mu      sync.Mutex
	carrier *fencedConn // the connection that was, or is just being, written to
	left    bool        // bytes have been written
	sealed  bool
}

// late reports whether the fence is passed, by either clock: the monotonic one stands
// still while a machine is suspended, the wall clock can be set back.
func (a *attempt) late() bool {
	if a.notAfter.IsZero() {
		return false
	}
	now := a.now()
	return now.After(a.notAfter) || now.Round(0).After(a.notAfter.Round(0))
}

// admit is asked right before every write of the request.
func (a *attempt) admit(c *fencedConn) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.late():
		err = errTooLate
	case a.carrier == nil && a.sealed:
		err = errSealed
	case a.carrier != nil && a.carrier != c:
		// net/http doesn't repeat such a request. If that ever changes, no second message
		// may leave.
		err = errSecondWrite
	default:
		a.carrier = c
		return nil
	}
	a.cancel(err)
	return err
}

// wrote takes note of a write's result. A first write that took no byte leaves the
// attempt as it was, under TLS too: nobody can decrypt a part of a record.
func (a *attempt) wrote(n int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = a.left || n > 0
	if err != nil && !a.left {
		a.carrier = nil
	}
}

// written reports whether bytes of the request may have left.
func (a *attempt) written() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.carrier != nil
}

// seal ends the attempt and reports whether bytes of the request may have left. After
// false none will.
func (a *attempt) seal() (written bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = true
	return a.carrier != nil
}

// traced is the call's context. It binds the attempt to each connection that the transport
// picks for it.
func (a *attempt) traced() context.Context {
	return httptrace.WithClientTrace(a.ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if c, ok := info.Conn.(*fencedConn); ok {
				c.attempt.Store(a)
			}
		},
	})
}

// fencedConn is a connection on which an attempt admits each write. It lies above TLS,
// so only requests are written to it.
type fencedConn struct {
	net.Conn
	attempt atomic.Pointer[attempt]

	reading chan struct{} // full while the transport waits in Read, so it has used up what came before
	closed  chan struct{} // by the transport
	close   func()
}

// Fence makes the connection write only what an exchange admits.
func Fence(conn net.Conn) net.Conn {
	closed := make(chan struct{})
	return &fencedConn{
		Conn: conn, reading: make(chan struct{}, 1), closed: closed, close: sync.OnceFunc(func() { close(closed) }),
	}
}

func (c *fencedConn) Write(p []byte) (int, error) {
	a := c.attempt.Load()
	if a == nil {
		return 0, errNoAttempt
	}
	if err := c.awaitReader(a); err != nil {
		return 0, err
	}
	// Only a few instructions lie between this look at the clock and the system call.
	if err := a.admit(c); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	a.wrote(n, err)
	return n, err
}

// awaitReader waits, before an attempt's first write, until the transport reads. It
// reuses a connection earlier, and would take what a strange server wrote after its last
// answer for the answer to this request.
func (c *fencedConn) awaitReader(a *attempt) error {
	if a.written() {
		return nil
	}
	select {
	case reader := <-c.reading:
		c.reading <- reader
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-a.ctx.Done():
		return errSealed
	}
}

func (c *fencedConn) Read(p []byte) (int, error) {
	c.reading <- struct{}{}
	defer func() { <-c.reading }()
	return c.Conn.Read(p)
}

// Close wakes writers that wait for the reader.
func (c *fencedConn) Close() error {
	c.close()
	return c.Conn.Close()
}

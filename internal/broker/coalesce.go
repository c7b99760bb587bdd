package broker

import (
	"cmp"
	"net"
	"runtime"
	"sync"
	"time"
)

const (
	// writeTimeout bounds one write to the broker. With a full socket and a server that was cut off, it is what notices.
	writeTimeout = 4 * time.Second
	// closeTimeout bounds the last one, when the connection is closed.
	closeTimeout = 250 * time.Millisecond
	// maxPending is how much may wait while a write is in progress.
	maxPending = 64 << 10
	// seldom is how far apart writes are that have nothing to gain from one another.
	seldom = 100 * time.Microsecond
)

// dialer makes the connections to the broker; it is a [nats.CustomDialer].
type dialer struct{ net.Dialer }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.Dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return newCoalescer(conn), nil
}

// coalescer is a connection that sends what many goroutines write in few system calls. The client sends a request as
// soon as it is made, though a hundred handlers may be about to make theirs. A write here that follows another closely
// only leaves its bytes; they are sent when the goroutines that can run have run. If none can, that is at once.
//
// Deadlines of writes are its own. After an error it closes the connection, so that the reader notices too.
type coalescer struct {
	net.Conn

	mu      sync.Mutex
	changed sync.Cond
	pending []byte
	free    []byte // for what comes while pending is sent
	sending bool   // somebody sends what is pending, until nothing is
	sent    time.Time
	failed  error // of a write, or net.ErrClosed
}

func newCoalescer(conn net.Conn) *coalescer {
	c := &coalescer{Conn: conn}
	c.changed.L = &c.mu
	return c
}

func (c *coalescer) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) > maxPending && c.failed == nil {
		c.changed.Wait()
	}
	if c.failed != nil {
		return 0, c.failed
	}
	c.pending = append(c.pending, p...)
	switch {
	case c.sending:
	case time.Since(c.sent) > seldom:
		c.send()
		return len(p), c.failed
	default:
		c.sending = true
		go c.sendSoon() // Close waits for it
	}
	return len(p), nil
}

func (c *coalescer) sendSoon() {
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send()
}

// send sends what is pending. The caller holds the lock, which is free meanwhile.
func (c *coalescer) send() {
	c.sending = true
	for len(c.pending) > 0 {
		out := c.pending
		c.pending = c.free[:0]
		if c.failed == nil {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // where it fails, so does the write
		}
		c.mu.Unlock()
		_, err := c.Conn.Write(out)
		c.mu.Lock()
		c.free, c.sent = out, time.Now()
		if err != nil {
			c.failed, c.pending = cmp.Or(c.failed, err), nil
			_ = c.Conn.Close() // the first error tells
		}
		c.changed.Broadcast()
	}
	c.sending = false
	c.changed.Broadcast()
}

// Close sends what is pending, if that can be done at once, and closes the connection.
func (c *coalescer) Close() error {
	c.mu.Lock()
	if c.failed == nil {
		c.failed = net.ErrClosed
		_ = c.Conn.SetWriteDeadline(time.Now().Add(closeTimeout))
	}
	c.changed.Broadcast()
	for c.sending {
		c.changed.Wait()
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// SetDeadline sets that of reads.
func (c *coalescer) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing, because bytes are sent after the write that left them.
func (c *coalescer) SetWriteDeadline(time.Time) error { return nil }

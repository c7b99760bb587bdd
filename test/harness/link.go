package harness

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Link is a connection to a server that a test can cut, stall and restore: clients
// connect to its address and are passed on. It has no word in what they say.
type Link struct {
	listener net.Listener
	to       string
	hear     func() io.Writer    // see HearLink
	rewrite  func([]byte) []byte // see RewriteLink
	running  sync.WaitGroup

	mu       sync.Mutex
	state    linkState
	restored chan struct{} // closed while nothing stalls
	conns    map[net.Conn]struct{}

	giveUpAfter time.Duration
	resets      atomic.Int64 // ends that are known to have reset their connection
}

type linkState int

const (
	linkWhole linkState = iota
	linkCut
	linkStalled
	linkClosed
)

// StartLink returns a link to a server, host:port, which need not be there yet. It
// is closed when the test ends.
func StartLink(t testing.TB, to string) *Link {
	t.Helper()
	return startLink(t, &Link{to: to})
}

// HearLink is like [StartLink]. What each client says is written to what hear
// returns for it.
func HearLink(t testing.TB, to string, hear func() io.Writer) *Link {
	t.Helper()
	return startLink(t, &Link{to: to, hear: hear})
}

// RewriteLink is like [StartLink]. What the server says is rewritten, a piece at a
// time.
func RewriteLink(t testing.TB, to string, rewrite func([]byte) []byte) *Link {
	t.Helper()
	return startLink(t, &Link{to: to, rewrite: rewrite})
}

func startLink(t testing.TB, l *Link) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("link: %v", err)
	}
	l.listener, l.restored, l.conns = listener, make(chan struct{}), map[net.Conn]struct{}{}
	close(l.restored)
	l.running.Go(l.accept)
	t.Cleanup(func() {
		l.become(linkClosed)
		_ = listener.Close() // it was open
		l.running.Wait()
	})
	return l
}

// Addr is where clients connect, host:port.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut resets every connection, and each that is tried, as a firewall does that
// rejects.
func (l *Link) Cut() { l.become(linkCut) }

// GiveUpAfter says how long the kernels of both ends try to deliver what was
// written; then they end the connection. It is the ends' TCP_USER_TIMEOUT, which a
// link can't see. Without it they try for ever.
func (l *Link) GiveUpAfter(timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giveUpAfter = timeout
}

// Stall lets nothing through and says nothing, as a firewall does that drops or a
// cable that is pulled. What was sent meanwhile arrives after [Link.Restore], as TCP
// sees to it, unless the end that sent it has reset the connection.
func (l *Link) Stall() { l.become(linkStalled) }

// Restore ends a cut or a stall.
func (l *Link) Restore() { l.become(linkWhole) }

func (l *Link) become(state linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == state || l.state == linkClosed {
		return
	}
	if l.state == linkStalled {
		close(l.restored)
	}
	l.state = state
	switch state {
	case linkStalled:
		l.restored = make(chan struct{})
	case linkCut, linkClosed:
		for conn := range l.conns {
			reset(conn)
		}
	}
}

// reset closes a connection with RST, so that neither end waits for the other.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed either way
	}
	_ = conn.Close()
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && l.keep(client) {
			l.running.Go(func() { l.serve(client) })
		}
	}
}

// keep notes an open connection. It resets one that may not be.
func (l *Link) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkCut || l.state == linkClosed {
		reset(conn)
		return false
	}
	l.conns[conn] = struct{}{}
	return true
}

func (l *Link) drop(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		delete(l.conns, conn)
		reset(conn)
	}
}

// serve joins a client to the server until either end closes.
func (l *Link) serve(client net.Conn) {
	// Heard from the start: what a kernel took in before a reset could be read after
	// it still, and so arrive from an end that has long given it up.
	heard := io.Discard
	if l.hear != nil {
		heard = l.hear()
	}
	said := l.listen(client, heard)
	l.whileStalled()
	server, err := net.Dial("tcp", l.to)
	if err != nil || !l.keep(server) {
		l.drop(client)
		said.end()
		return
	}
	answers := l.listen(server, io.Discard)
	answers.rewrite = l.rewrite
	var both sync.WaitGroup
	for _, one := range []struct {
		from *end
		to   net.Conn
	}{{said, server}, {answers, client}} {
		both.Go(func() {
			l.carry(one.to, one.from)
			l.drop(client, server)
		})
	}
	both.Wait()
}

// end is one end of a connection, and what it wrote that is on its way.
type end struct {
	net.Conn
	rewrite   func([]byte) []byte // nil: nothing is
	inTransit chan piece
	isReset   atomic.Bool
	done      chan struct{}
	reading   sync.WaitGroup
}

// piece is what an end wrote at a time.
type piece struct {
	data []byte
	at   time.Time
}

// maxInTransit is how many pieces an end may write before the other takes one, as
// its kernel's buffer would hold.
const maxInTransit = 16

// listen takes note of what an end writes, and of how it closes.
func (l *Link) listen(conn net.Conn, heard io.Writer) *end {
	e := &end{Conn: conn, inTransit: make(chan piece, maxInTransit), done: make(chan struct{})}
	e.reading.Go(func() {
		defer close(e.inTransit)
		for {
			buffer := make([]byte, 64<<10)
			n, err := conn.Read(buffer)
			if err != nil && !errors.Is(err, io.EOF) {
				e.isReset.Store(true)
				l.resets.Add(1)
			}
			if n > 0 {
				_, _ = heard.Write(buffer[:n]) // to memory
				select {
				case e.inTransit <- piece{buffer[:n], time.Now()}:
				case <-e.done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	return e
}

// end closes the connection, which ends the reading.
func (e *end) end() {
	close(e.done)
	reset(e.Conn)
	e.reading.Wait()
}

// carry passes on what one end writes to the other. It behaves as a network does
// between two kernels: of an end that closes in order the rest still arrives, of
// one that resets nothing more does.
func (l *Link) carry(to net.Conn, from *end) {
	defer from.end()
	for p := range from.inTransit {
		l.whileStalled()
		if from.isReset.Load() || l.tooLate(p) {
			return
		}
		if from.rewrite != nil {
			p.data = from.rewrite(p.data)
		}
		if _, err := to.Write(p.data); err != nil {
			return
		}
	}
}

func (l *Link) tooLate(p piece) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.giveUpAfter > 0 && time.Since(p.at) > l.giveUpAfter
}

// whileStalled waits until nothing stalls. A cut and the link's end wake it too.
func (l *Link) whileStalled() {
	l.mu.Lock()
	restored := l.restored
	l.mu.Unlock()
	<-restored
}

package aliyun

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// stubConn takes as many bytes of a write as it is told to.
type stubConn struct {
	net.Conn
	take  int
	wrote int
}

func (c *stubConn) Write(p []byte) (int, error) {
	n := min(c.take, len(p))
	c.wrote += n
	if n < len(p) {
		return n, errors.New("broken")
	}
	return n, nil
}

func newAttempt(t *testing.T, clock *testClock, notAfter time.Time) (*attempt, context.Context) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return &attempt{now: clock.Now, notAfter: notAfter, cancel: cancel, done: ctx.Done()}, ctx
}

func newFenced(a *attempt, take int) (*fencedConn, *stubConn) {
	stub := &stubConn{take: take}
	c := &fencedConn{Conn: stub, reading: true}
	c.attempt.Store(a)
	return c, stub
}

func TestAttemptKnowsWhetherBytesLeft(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		takes   []int // of each write of ten bytes
		written bool
	}{
		{"no write", nil, false},
		{"a whole write", []int{10}, true},
		{"a part of it", []int{1}, true},
		{"none of it", []int{0}, false},
		{"none, then all", []int{0, 10}, true},
		{"all, then none", []int{10, 0}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, _ := newAttempt(t, newTestClock(), time.Time{})
			c, stub := newFenced(a, 0)
			for _, stub.take = range test.takes {
				_, _ = c.Write(make([]byte, 10))
			}
			assert.Equal(t, test.written, a.seal())
			assert.Equal(t, test.written, a.seal(), "asked twice")

			before := stub.wrote
			stub.take = 10
			if _, err := c.Write(make([]byte, 10)); !test.written {
				require.ErrorIs(t, err, errSealed, "nothing leaves after the answer was no")
				assert.Equal(t, before, stub.wrote)
			}
		})
	}
}

func TestAttemptLeavesOnOneConnectionOnly(t *testing.T) {
	t.Parallel()
	a, ctx := newAttempt(t, newTestClock(), time.Time{})
	broken, _ := newFenced(a, 0)
	first, _ := newFenced(a, 10)
	second, stub := newFenced(a, 10)

	_, err := broken.Write([]byte("x"))
	require.Error(t, err)
	_, err = first.Write([]byte("x"))
	require.NoError(t, err, "a connection that took nothing does not count")
	_, err = second.Write([]byte("x"))
	require.ErrorIs(t, err, errSecondWrite)
	assert.Zero(t, stub.wrote)
	require.ErrorIs(t, context.Cause(ctx), errSecondWrite)
}

func TestAttemptIsFencedByBothClocks(t *testing.T) {
	t.Parallel()
	now := time.Now() // with a monotonic reading
	suspended := func() time.Time { return now.Round(0).Add(time.Hour) }
	a := &attempt{now: suspended, notAfter: now.Add(time.Second)}
	assert.True(t, a.late())
	// The wall clock was set back by an hour, and two seconds passed.
	assert.True(t, (&attempt{now: func() time.Time { return now.Add(2 * time.Second) }, notAfter: now.Add(time.Second)}).late())
	assert.False(t, (&attempt{now: func() time.Time { return now }, notAfter: now}).late(), "the bound itself is not late")
	assert.False(t, (&attempt{now: time.Now}).late(), "no bound")
}

func TestAConnectionOfNobodyWritesNothing(t *testing.T) {
	t.Parallel()
	stub := &stubConn{take: 10}
	_, err := (&fencedConn{Conn: stub}).Write([]byte("x"))
	require.ErrorIs(t, err, errNoAttempt)
	assert.Zero(t, stub.wrote)
}

func newTLSService(t *testing.T, config *tls.Config, answer http.HandlerFunc) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.TLS = config
	server.Config.ErrorLog = discardLog
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server, roots
}

// The process is stopped after the connection is made and before the request is
// written: a server that moves the clock in its handshake stands for that.
func TestSendWritesNothingPastTheFence(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	notAfter := clock.Now().Add(10 * time.Second)
	var served atomic.Int64
	server, roots := newTLSService(t, &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			clock.Add(time.Minute)
			return nil, nil
		},
	}, func(w http.ResponseWriter, r *http.Request) { served.Add(1); ok(w, r) })
	options := testOptions(server.URL)
	options.RootCAs, options.Now = roots, clock.Now
	s := newTestSender(t, options)

	outcome := s.Send(t.Context(), testMessage(), notAfter)
	assert.Equal(t, passcode.ClassTransient, outcome.Class)
	assert.Equal(t, "too_late", outcome.Code)
	assert.True(t, outcome.NotMade, "so it costs no attempt")
	assert.Zero(t, served.Load())

	assert.Equal(t, passcode.ClassOK, s.Send(t.Context(), testMessage(), time.Time{}).Class, "over TLS, without a fence")
	assert.EqualValues(t, 1, served.Load())
}

// A fence that refuses on a kept connection must not cost all other kept ones,
// to which the transport would turn next.
func TestTheFenceEndsTheAttempt(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	service := newService(t, func(w http.ResponseWriter, r *http.Request) { <-gate; ok(w, r) })
	notAfter := newTestClock().Now()
	// Of a late attempt the looks before the transport's are still in time.
	var late atomic.Bool
	var looks atomic.Int64
	options := testOptions(service.URL)
	options.Now = func() time.Time {
		if late.Load() && looks.Add(1) > 2 {
			return notAfter.Add(time.Second)
		}
		return notAfter
	}
	s := newTestSender(t, options)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { s.Send(t.Context(), testMessage(), time.Time{}) })
	}
	require.Eventually(t, func() bool { return len(service.got()) == 5 }, 5*time.Second, time.Millisecond)
	close(gate)
	wg.Wait()

	late.Store(true)
	outcome := s.Send(t.Context(), testMessage(), notAfter)
	late.Store(false)
	assert.Equal(t, "too_late", outcome.Code)
	assert.GreaterOrEqual(t, looks.Load(), int64(3), "the fence that refused was the connection's")
	for range 3 {
		assert.Equal(t, passcode.ClassOK, s.Send(t.Context(), testMessage(), time.Time{}).Class)
	}
	assert.Len(t, service.got(), 8)
	peers := map[string]bool{}
	for _, r := range service.got() {
		peers[r.RemoteAddr] = true
	}
	assert.LessOrEqual(t, len(peers), 6, "the others were kept")
}

// net/http repeats a request on another connection where it takes the first for
// stale. It must never do so with one that a server has read.
func TestTheTransportNeverRepeatsARequestThatWasRead(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var read atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				for i := 0; ; i++ {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					read.Add(1)
					if i == 1 {
						return // the second one is read and dropped, with the connection
					}
					_, _ = io.WriteString(conn, rawOK)
				}
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
	s := newTestSender(t, testOptions(listener.Addr().String()))
	t.Cleanup(s.http.CloseIdleConnections)

	require.Equal(t, passcode.ClassOK, s.Send(t.Context(), testMessage(), time.Time{}).Class)
	outcome := s.Send(t.Context(), testMessage(), time.Time{})
	assert.Equal(t, passcode.ClassInDoubt, outcome.Class)
	assert.Equal(t, "connection_closed", outcome.Code)
	assert.EqualValues(t, 2, read.Load())
}

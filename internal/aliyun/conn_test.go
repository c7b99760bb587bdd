package aliyun

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
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
	t.Cleanup(s.wire.HTTP.CloseIdleConnections)

	require.Equal(t, passcode.ClassOK, s.Send(t.Context(), testMessage(), time.Time{}).Class)
	outcome := s.Send(t.Context(), testMessage(), time.Time{})
	assert.Equal(t, passcode.ClassInDoubt, outcome.Class)
	assert.Equal(t, "connection_closed", outcome.Code)
	assert.EqualValues(t, 2, read.Load())
}

package aliyun

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
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
			clock.Move(time.Minute)
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

	assert.Equal(t, passcode.ClassOK, send(t, s).Class, "over TLS, without a fence")
	assert.EqualValues(t, 1, served.Load())
}

// A fence that refuses on a kept connection must not cost all other kept ones,
// which the transport would try next.
func TestTheFenceEndsTheAttempt(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	service := newService(t, func(w http.ResponseWriter, r *http.Request) { <-open; ok(w, r) })
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
		wg.Go(func() { send(t, s) })
	}
	require.Eventually(t, func() bool { return len(service.got()) == 5 }, 5*time.Second, time.Millisecond)
	close(open)
	wg.Wait()

	late.Store(true)
	outcome := s.Send(t.Context(), testMessage(), notAfter)
	late.Store(false)
	assert.Equal(t, "too_late", outcome.Code)
	assert.GreaterOrEqual(t, looks.Load(), int64(3), "the fence that refused was the connection's")
	for range 3 {
		assert.Equal(t, passcode.ClassOK, send(t, s).Class)
	}
	assert.Len(t, service.got(), 8)
	assert.LessOrEqual(t, service.peers(), 6, "the others were kept")
}

// net/http repeats a request on another connection where it takes the first for
// stale. It must never do so with one that a server has read.
func TestTheTransportNeverRepeatsARequestThatWasRead(t *testing.T) {
	t.Parallel()
	var read atomic.Int64
	s := newTestSender(t, testOptions(newRawService(t, func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		for i := 0; i < 2; i++ { // the second one is read and dropped, with the connection
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			read.Add(1)
			if i == 0 {
				_, _ = io.WriteString(conn, rawOK)
			}
		}
	})))

	require.Equal(t, passcode.ClassOK, send(t, s).Class)
	outcome := send(t, s)
	assert.Equal(t, passcode.ClassInDoubt, outcome.Class)
	assert.Equal(t, "connection_closed", outcome.Code)
	assert.EqualValues(t, 2, read.Load())
}

var discardLog = log.New(io.Discard, "", 0)

// rawOK is an answer that accepts, as it is on the wire.
var rawOK = "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(okBody)) + "\r\n\r\n" + okBody

// newRawService gives each connection to a function, which owns it.
func newRawService(t testing.TB, serve func(conn *net.TCPConn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				ended := context.AfterFunc(t.Context(), func() { _ = conn.Close() })
				defer ended()
				serve(conn.(*net.TCPConn))
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

func readThen(then func(conn *net.TCPConn)) func(conn *net.TCPConn) {
	return func(conn *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			then(conn)
		}
	}
}

func reset(conn *net.TCPConn) { _ = conn.SetLinger(0) }

func TestSendTellsDoubtFromCertainty(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refused := closed.Addr().String()
	require.NoError(t, closed.Close())

	tests := []struct {
		name     string
		endpoint string
		class    passcode.Class
		code     string
	}{
		{"refused", refused, passcode.ClassTransient, "connection_refused"},
		{"read, then closed", newRawService(t, readThen(func(*net.TCPConn) {})), passcode.ClassInDoubt, "connection_closed"},
		{"read, then reset", newRawService(t, readThen(reset)), passcode.ClassInDoubt, "connection_reset"},
		{"an answer cut short", newRawService(t, readThen(func(c *net.TCPConn) {
			_, _ = io.WriteString(c, rawOK[:80])
		})), passcode.ClassInDoubt, "connection_closed"},
		{"an answer that is not HTTP", newRawService(t, readThen(func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "SSH-2.0-13812345678\r\n")
		})), passcode.ClassInDoubt, "network"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newTestSender(t, testOptions(test.endpoint))
			outcome := send(t, s)
			assert.Equal(t, test.class, outcome.Class)
			assert.Equal(t, test.code, outcome.Code)
			assertNoSecret(t, fmt.Sprintf("%#v %+v", outcome, outcome))
		})
	}
}

func TestSendOverTLSThatFailsIsTransient(t *testing.T) {
	t.Parallel()
	server, _ := newTLSService(t, nil, ok)
	options := testOptions(server.URL)
	options.RootCAs = x509.NewCertPool() // trusts nobody
	s := newTestSender(t, options)
	outcome := send(t, s)
	assert.Equal(t, passcode.ClassTransient, outcome.Class)
	assert.Equal(t, "tls", outcome.Code)

	// A peer that takes the connection and never shakes hands.
	silent := testOptions("https://" + newRawService(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
	silent.ConnectTimeout = 50 * time.Millisecond
	outcome = send(t, newTestSender(t, silent))
	assert.Equal(t, passcode.ClassTransient, outcome.Class)
	assert.Equal(t, "connect_timeout", outcome.Code)
}

// A server that does everything a server can do to a connection, at random, and
// many callers at once. Whatever happens, the class must agree with what the
// server saw: ok is one request, transient none, in_doubt at most one.
func TestTheClassAgreesWithWhatTheServerSaw(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	serve := func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		for {
			switch rand.IntN(12) {
			case 0:
				return // close an idle or fresh connection
			case 1:
				reset(conn)
				return
			}
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			mu.Lock()
			seen[request.URL.Query().Get("OutId")]++
			mu.Unlock()
			switch rand.IntN(10) {
			case 0:
				return
			case 1:
				reset(conn)
				return
			case 2:
				_, _ = io.WriteString(conn, rawOK[:50])
				return
			case 3:
				_, _ = io.WriteString(conn, strings.Replace(rawOK, "\r\n", "\r\nConnection: close\r\n", 1))
				return
			case 4:
				_, _ = io.WriteString(conn, rawOK+"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
				return
			default:
				_, _ = io.WriteString(conn, rawOK)
			}
		}
	}
	options := testOptions(newRawService(t, serve))
	options.Timeout = 2 * time.Second
	s := newTestSender(t, options)

	var wg sync.WaitGroup
	outcomes := map[string]domain.Outcome{}
	for worker := range 16 {
		wg.Go(func() {
			for i := range 60 {
				msg := testMessage()
				msg.RequestID = fmt.Sprintf("w%d-%d", worker, i)
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(8) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(400))*time.Microsecond, cancel)
				}
				outcome := s.Send(ctx, msg, time.Time{})
				cancel()
				mu.Lock()
				outcomes[msg.RequestID] = outcome
				mu.Unlock()
			}
		})
	}
	wg.Wait()

	mu.Lock()
	defer mu.Unlock()
	for id, outcome := range outcomes {
		switch outcome.Class {
		case passcode.ClassOK:
			assert.Equal(t, 1, seen[id], "ok")
		case passcode.ClassTransient:
			assert.Zero(t, seen[id], outcome.Code)
		case passcode.ClassInDoubt:
			assert.LessOrEqual(t, seen[id], 1, outcome.Code)
		default:
			assert.Fail(t, "no such class can come of this", outcome.Class)
		}
	}
	assert.Len(t, outcomes, 16*60)
}

// A server, or a proxy before it, that writes a second answer behind the first.
// It answers nothing that was asked, so no message may be taken for sent by it.
func TestSendBelievesNoAnswerToAnotherRequest(t *testing.T) {
	t.Parallel()
	const refusal = `{"Code":"isv.MOBILE_NUMBER_ILLEGAL","Message":"x"}`
	both := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(refusal), refusal) + rawOK
	s := newTestSender(t, testOptions(newRawService(t, func(conn *net.TCPConn) {
		for in := bufio.NewReader(conn); ; {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, both)
		}
	})))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 30 {
				assert.NotEqual(t, passcode.ClassOK, send(t, s).Class)
			}
		})
	}
	wait.Wait()
}

// After "101 Switching Protocols" net/http hands the connection over and no
// longer watches the call's context: to read on would be to wait for ever.
func TestSendDoesNotReadAnotherProtocol(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	endpoint := newRawService(t, readThen(func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // says nothing more, and never hangs up
		close(ended)
	}))
	options := testOptions(endpoint)
	options.Timeout = 200 * time.Millisecond
	s := newTestSender(t, options)

	done := make(chan struct{})
	go func() {
		defer close(done)
		outcome := send(t, s)
		assert.Equal(t, passcode.ClassInDoubt, outcome.Class)
		assert.Equal(t, "unreadable_answer", outcome.Code)
	}()
	for what, event := range map[string]chan struct{}{"the call": done, "the connection": ended} {
		select {
		case <-event:
		case <-time.After(10 * time.Second):
			t.Fatal(what + " did not end")
		}
	}
}

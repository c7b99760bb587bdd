package aliyun

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

var discardLog = log.New(io.Discard, "", 0)

// rawOK is an answer that accepts, as it is on the wire.
var rawOK = "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(okBody)) + "\r\n\r\n" + okBody

// newRawService gives each connection to a function, which owns it.
func newRawService(t testing.TB, serve func(conn *net.TCPConn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			wg.Go(func() {
				serve(conn.(*net.TCPConn))
				_ = conn.Close()
				mu.Lock()
				delete(conns, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
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
		codes    []string
	}{
		{"refused", refused, passcode.ClassTransient, []string{"connection_refused"}},
		{"read, then closed", newRawService(t, readThen(func(*net.TCPConn) {})), passcode.ClassInDoubt, []string{"connection_closed"}},
		{"read, then reset", newRawService(t, readThen(reset)), passcode.ClassInDoubt, []string{"connection_reset"}},
		{"an answer cut short", newRawService(t, readThen(func(c *net.TCPConn) {
			_, _ = io.WriteString(c, rawOK[:80])
		})), passcode.ClassInDoubt, []string{"connection_closed"}},
		{"an answer that is not HTTP", newRawService(t, readThen(func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "SSH-2.0-13812345678\r\n")
		})), passcode.ClassInDoubt, []string{"network"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newTestSender(t, testOptions(test.endpoint))
			outcome := s.Send(t.Context(), testMessage(), time.Time{})
			assert.Equal(t, test.class, outcome.Class)
			assert.Contains(t, test.codes, outcome.Code)
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
	outcome := s.Send(t.Context(), testMessage(), time.Time{})
	assert.Equal(t, passcode.ClassTransient, outcome.Class)
	assert.Equal(t, "tls", outcome.Code)

	// A peer that takes the connection and never shakes hands.
	silent := testOptions("https://" + newRawService(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
	silent.ConnectTimeout = 50 * time.Millisecond
	outcome = newTestSender(t, silent).Send(t.Context(), testMessage(), time.Time{})
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
	s.wire.HTTP.CloseIdleConnections()

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

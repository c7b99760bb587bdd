// Package brokertest starts a nats-server with JetStream inside a test.
//
// Each server listens on a loopback port of its own, keeps its store in the
// test's temporary directory, and is shut down and waited for when the test
// ends, so tests that use it can run in parallel and leave nothing behind.
package brokertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readyWithin bounds the start of a server. It is long because the race
	// detector and parallel packages share few cores.
	readyWithin = 30 * time.Second
	startTries  = 10
)

// Start runs a server and connects to it. Connection and server end with the
// test.
func Start(t testing.TB) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	return Server(t).Connect()
}

// Handle is a server that a test can stop and start again.
type Handle struct {
	t    testing.TB
	opts server.Options

	mu    sync.Mutex
	srv   *server.Server // nil while stopped
	conns []*nats.Conn
}

// Server runs a server. The functions may change its options before it starts,
// for example to ask for users or TLS; address and store are set already.
func Server(t testing.TB, change ...func(*server.Options)) *Handle {
	t.Helper()
	h := &Handle{t: t, opts: server.Options{
		Host:      "127.0.0.1",
		JetStream: true,
		StoreDir:  t.TempDir(),
		NoLog:     true,
		NoSigs:    true,
	}}
	for _, f := range change {
		f(&h.opts)
	}
	t.Cleanup(h.Stop)

	var err error
	for range startTries {
		h.opts.Port = FreePort(t)
		if err = h.start(); err == nil {
			return h
		}
	}
	t.Fatalf("brokertest: %v", err)
	return nil
}

// URL is where the server listens, also while it is stopped. It holds no user
// or password.
func (h *Handle) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", h.opts.Port) }

// Connect returns a connection that goes on trying for ever while the server is
// stopped. It is closed when the test ends.
func (h *Handle) Connect(options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	h.t.Helper()
	defaults := []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(0, 0),
		nats.Timeout(10 * time.Second),
	}
	nc, err := nats.Connect(h.URL(), append(defaults, options...)...)
	if err != nil {
		h.t.Fatalf("brokertest: connect: %v", err)
	}
	h.mu.Lock()
	h.conns = append(h.conns, nc)
	h.mu.Unlock()
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	h.t.Cleanup(func() {
		if nc.IsClosed() {
			return // the test closed it
		}
		nc.Close()
		<-closed
	})
	js, err := jetstream.New(nc)
	if err != nil {
		h.t.Fatalf("brokertest: jetstream: %v", err)
	}
	return nc, js
}

// Change has the functions change the options of the server, from its next start
// on.
func (h *Handle) Change(change ...func(*server.Options)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range change {
		f(&h.opts)
	}
}

// Reload has the functions change the options of the running server, as a reload
// of its settings does.
func (h *Handle) Reload(change ...func(*server.Options)) {
	h.t.Helper()
	h.Change(change...)
	h.mu.Lock()
	defer h.mu.Unlock()
	opts := h.opts
	if err := h.srv.ReloadOptions(&opts); err != nil {
		h.t.Fatalf("brokertest: reload: %v", err)
	}
}

// Running is the server itself, nil while it is stopped.
func (h *Handle) Running() *server.Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.srv
}

// LoseStore stops the server and deletes all that it stored.
func (h *Handle) LoseStore() {
	h.t.Helper()
	h.Stop()
	if err := os.RemoveAll(filepath.Join(h.opts.StoreDir, server.JetStreamStoreDir)); err != nil {
		h.t.Fatalf("brokertest: %v", err)
	}
}

// Stop shuts the server down and waits until it is gone and each connection of
// [Handle.Connect] knows: a request sent before that would be lost on the dead
// link and waited for in vain. The store stays. Stopping a stopped server does
// nothing.
func (h *Handle) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.srv == nil {
		return
	}
	h.srv.Shutdown()
	h.srv.WaitForShutdown()
	h.srv = nil
	for _, nc := range h.conns {
		down := nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
		if nc.IsConnected() {
			select {
			case <-down:
			case <-time.After(readyWithin):
				h.t.Errorf("brokertest: a connection does not notice that the server is gone")
			}
		}
		nc.RemoveStatusListener(down)
	}
}

// Restart starts the server again on the same store and port, stopping it first
// where it runs.
func (h *Handle) Restart() {
	h.t.Helper()
	h.Stop()
	// A process that the test starts at this moment holds a copy of the old
	// listener between its fork and its exec, so the port may be free only soon.
	deadline := time.Now().Add(readyWithin)
	err := h.start()
	for err != nil && time.Now().Before(deadline) {
		<-time.After(20 * time.Millisecond)
		err = h.start()
	}
	if err != nil {
		h.t.Fatalf("brokertest: restart: %v", err)
	}
}

func (h *Handle) start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	// A server that can't listen says so to its log alone and would be waited
	// for in vain, so the port is tried first.
	if err := probe(h.opts.Port); err != nil {
		return err
	}
	opts := h.opts // the server keeps and changes what it is given
	srv, err := server.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("new server: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(readyWithin) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("server on port %d is not ready after %s", h.opts.Port, readyWithin)
	}
	h.srv = srv
	return nil
}

// FreePort finds a port below the range from which the kernel takes the ports of
// outgoing connections (32768 and up on Linux). A client that keeps dialling a
// stopped server on a port inside that range can be given the very port it
// dials, and then TCP connects it to itself; and another connection could take
// the port while the server is stopped.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if probe(port) == nil {
			return port
		}
	}
	t.Fatal("brokertest: no free port")
	return 0
}

func probe(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("port %d: %w", port, err)
	}
	return l.Close()
}

package containers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const clientPort = "4222/tcp"

// NATS is a server with JetStream in a container. Its port stays the same when
// it is started again, so that clients find it; its data stay as well.
type NATS struct{ *Container }

// Option changes how a server is started.
type Option func(*recipe)

// WithArgs adds arguments to nats-server's command line.
func WithArgs(args ...string) Option {
	return func(r *recipe) { r.args = append(r.args, args...) }
}

// within puts a server into a network.
func within(network *Network, alias string) Option {
	return func(r *recipe) { r.network, r.alias, r.what = network, alias, r.what+" "+alias }
}

// StartNATS starts a server, waits until it serves JetStream, and removes it
// with its data when the test ends.
func StartNATS(t testing.TB, opts ...Option) *NATS {
	t.Helper()
	n := startServer(t, opts...)
	n.awaitReady()
	return n
}

func startServer(t testing.TB, opts ...Option) *NATS {
	t.Helper()
	Require(t)
	r := recipe{
		what: "the NATS server", image: NATSImage(t), port: clientPort, says: "Server is ready",
		args: []string{"--jetstream", "--store_dir", "/data", "--http_port", "8222"},
	}
	for _, opt := range opts {
		opt(&r)
	}
	return &NATS{start(t, r)}
}

// URL is where clients connect; it stays the same over restarts.
func (n *NATS) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

// Connect opens a connection that is closed when the test ends. It reconnects
// for as long as the test runs.
func (n *NATS) Connect(opts ...nats.Option) *nats.Conn {
	n.t.Helper()
	return connect(n.t, n.URL(), opts...)
}

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.Timeout(time.Second),
	}, opts...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Restart starts a server that was killed, with its data and on the same port, and
// waits until it serves JetStream.
func (n *NATS) Restart() {
	n.t.Helper()
	n.Start()
	n.awaitReady()
}

// awaitReady asks until JetStream answers: the server says that it is ready
// before it has recovered its streams, and its old log says so too.
func (n *NATS) awaitReady() {
	n.t.Helper()
	until(n.t, "JetStream", readyTimeout, n.askJetStream)
}

func (n *NATS) askJetStream(ctx context.Context) error {
	nc, err := nats.Connect(n.URL(), nats.NoReconnect(), nats.Timeout(time.Second))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = js.AccountInfo(ctx)
	return err
}

package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const (
	clientPort = "4222/tcp"
	// readyTimeout bounds how long a server may take to serve JetStream, and
	// engineTimeout one order to the engine.
	readyTimeout  = 30 * time.Second
	engineTimeout = 30 * time.Second
	// portTries is how often another free port is tried, as somebody else may
	// take one between our asking and Docker's publishing.
	portTries = 5
)

// NATS is a server with JetStream in a container. Its port stays the same when
// it is started again, so that clients find it; its data stay as well.
type NATS struct {
	t         testing.TB
	container *testcontainers.DockerContainer
	engine    client.APIClient
	port      int
}

// Option changes how a server is started.
type Option func(*options)

type options struct{ args []string }

// WithArgs adds arguments to nats-server's command line.
func WithArgs(args ...string) Option {
	return func(o *options) { o.args = append(o.args, args...) }
}

// StartNATS starts a server, waits until it serves JetStream, and removes it
// with its data when the test ends.
func StartNATS(t testing.TB, opts ...Option) *NATS {
	t.Helper()
	Require(t)
	o := options{args: []string{"--jetstream", "--store_dir", "/data", "--http_port", "8222"}}
	for _, opt := range opts {
		opt(&o)
	}
	n := &NATS{t: t}
	image := NATSImage(t)
	ctx, cancel := bounded("start the server", engineTimeout+readyTimeout)
	defer cancel()
	for try := 1; ; try++ {
		err := n.run(ctx, image, o)
		if err == nil {
			break
		}
		if try == portTries || !strings.Contains(err.Error(), "port is already allocated") && !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("start a NATS server from %s: %v", image, err)
		}
	}
	n.awaitReady()
	return n
}

// run makes one try with a port that is free just now.
func (n *NATS) run(ctx context.Context, image string, o options) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	n.port = port
	published := network.PortMap{network.MustParsePort(clientPort): {{
		HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(port),
	}}}
	c, err := testcontainers.Run(ctx, image,
		testcontainers.WithExposedPorts(clientPort),
		testcontainers.WithCmd(o.args...),
		testcontainers.WithHostConfigModifier(func(config *container.HostConfig) { config.PortBindings = published }),
		testcontainers.WithWaitStrategy(wait.ForLog("Server is ready").WithStartupTimeout(readyTimeout)),
	)
	if c == nil {
		return err
	}
	if err != nil {
		return errors.Join(err, testcontainers.TerminateContainer(c))
	}
	n.container = c
	provider, err := testcontainers.NewDockerProvider(quiet)
	if err != nil {
		return errors.Join(err, testcontainers.TerminateContainer(c))
	}
	n.engine = provider.Client()
	n.t.Cleanup(n.remove)
	return nil
}

// URL is where clients connect; it stays the same over restarts.
func (n *NATS) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

// Connect opens a connection that is closed when the test ends. It reconnects
// for as long as the test runs.
func (n *NATS) Connect(opts ...nats.Option) *nats.Conn {
	n.t.Helper()
	opts = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}, opts...)
	nc, err := nats.Connect(n.URL(), opts...)
	if err != nil {
		n.t.Fatalf("connect to %s: %v", n.URL(), err)
	}
	n.t.Cleanup(nc.Close)
	return nc
}

// Kill ends the server as a crash would, with SIGKILL, and waits until it is
// gone. What it had not yet synced to disk is still in the page cache.
func (n *NATS) Kill() {
	n.t.Helper()
	ctx, cancel := bounded("kill the server", engineTimeout)
	defer cancel()
	waiting := n.engine.ContainerWait(ctx, n.container.GetContainerID(), client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	if _, err := n.engine.ContainerKill(ctx, n.container.GetContainerID(), client.ContainerKillOptions{}); err != nil {
		n.t.Fatalf("kill the server: %v", err)
	}
	select {
	case <-waiting.Result:
	case err := <-waiting.Error:
		n.t.Fatalf("wait for the killed server: %v", errors.Join(err, context.Cause(ctx)))
	}
}

// Restart starts a server that was killed or stopped, with its data and on the
// same port, and waits until it serves JetStream. One that still runs is stopped
// first, in order.
func (n *NATS) Restart() {
	n.t.Helper()
	ctx, cancel := bounded("restart the server", engineTimeout+readyTimeout)
	defer cancel()
	if err := n.container.Stop(ctx, nil); err != nil {
		n.t.Fatalf("stop the server: %v", errors.Join(err, context.Cause(ctx)))
	}
	if err := n.container.Start(ctx); err != nil {
		n.t.Fatalf("start the server again: %v", errors.Join(err, context.Cause(ctx)))
	}
	n.awaitReady()
}

// Pause freezes the server: its connections stay open and nothing answers, as
// when a network swallows packets. Unpause lets it go on.
func (n *NATS) Pause() {
	n.t.Helper()
	n.order("pause the server", func(ctx context.Context, id string) error {
		_, err := n.engine.ContainerPause(ctx, id, client.ContainerPauseOptions{})
		return err
	})
}

// Unpause lets a paused server go on.
func (n *NATS) Unpause() {
	n.t.Helper()
	n.order("unpause the server", func(ctx context.Context, id string) error {
		_, err := n.engine.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
		return err
	})
}

func (n *NATS) order(what string, do func(ctx context.Context, id string) error) {
	n.t.Helper()
	ctx, cancel := bounded(what, engineTimeout)
	defer cancel()
	if err := do(ctx, n.container.GetContainerID()); err != nil {
		n.t.Fatalf("%s: %v", what, errors.Join(err, context.Cause(ctx)))
	}
}

// awaitReady asks until JetStream answers: the server says that it is ready
// before it has recovered its streams, and its old log says so too.
func (n *NATS) awaitReady() {
	n.t.Helper()
	ctx, cancel := bounded("wait for JetStream", readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := n.askJetStream(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("%v: %v", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
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

// remove takes the container away, with its data; a failed test shows its log.
func (n *NATS) remove() {
	if n.t.Failed() {
		n.t.Logf("the NATS server printed:\n%s", n.Log())
	}
	if err := testcontainers.TerminateContainer(n.container, testcontainers.StopTimeout(0)); err != nil {
		n.t.Errorf("remove the server: %v", err)
	}
	if err := n.engine.Close(); err != nil {
		n.t.Errorf("close the connection to the engine: %v", err)
	}
}

// Log is what the server printed so far.
func (n *NATS) Log() string {
	ctx, cancel := bounded("read the log", engineTimeout)
	defer cancel()
	logs, err := n.container.Logs(ctx)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	defer func() { _ = logs.Close() }() // it was only read
	text, err := io.ReadAll(logs)
	if err != nil {
		return fmt.Sprintf("%s(log cut short: %v)", text, err)
	}
	return string(text)
}

func bounded(what string, bound time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), bound, fmt.Errorf("%s took longer than %v", what, bound))
}

// freePort finds a port that is free at this moment. Docker would choose another
// one at every start of a container, and clients would look for it in vain.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

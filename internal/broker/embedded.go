package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// DefaultEmbeddedListen is where an embedded server listens unless told
// otherwise: reachable from this machine alone, because it asks for no
// credentials.
const DefaultEmbeddedListen = "127.0.0.1:4222"

const defaultStartTimeout = 30 * time.Second

// EmbeddedOptions say how to run a NATS server inside the worker.
type EmbeddedOptions struct {
	// Listen is host:port (nats.embedded.listen); port 0 takes a free one. Empty
	// is [DefaultEmbeddedListen]. The server asks nobody for credentials, so an
	// address that others can reach is theirs to use.
	Listen string
	// StoreDir is where streams are kept (nats.embedded.store_dir). One server
	// at a time may use it.
	StoreDir string
	// SyncAlways has every write reach the disk before it is acknowledged. Without
	// it, the default, the disk is flushed every two minutes: a killed process
	// loses nothing, because the operating system keeps what was written, but a
	// power failure can take up to two minutes of acknowledged writes.
	SyncAlways bool
	// StartTimeout bounds the start, in which stored streams are read and checked.
	// 0 is 30 seconds.
	StartTimeout time.Duration
	// Log takes the server's warnings and errors; nil discards them.
	Log *slog.Logger
}

// Embedded is a NATS server that runs inside this process.
type Embedded struct {
	srv      *server.Server
	url      string
	unlock   func() error
	stopOnce sync.Once
	stopped  chan struct{}
	stopErr  error
}

// StartEmbedded runs a server with JetStream and returns once it takes
// connections. It leaves the process's signals alone. The caller stops it.
func StartEmbedded(o EmbeddedOptions) (*Embedded, error) {
	e, err := startEmbedded(o)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS: %w", err)
	}
	return e, nil
}

func startEmbedded(o EmbeddedOptions) (*Embedded, error) {
	if o.Listen == "" {
		o.Listen = DefaultEmbeddedListen
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = defaultStartTimeout
	}
	host, port, err := splitListen(o.Listen)
	if err != nil {
		return nil, err
	}
	if o.StoreDir == "" {
		return nil, errors.New("nats.embedded.store_dir: must be set")
	}
	dir, err := filepath.Abs(o.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("nats.embedded.store_dir: %w", err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("nats.embedded.store_dir: %w", err)
	}
	e := &Embedded{unlock: unlock, stopped: make(chan struct{})}
	if err := e.start(o, host, port, dir); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return e, nil
}

func (e *Embedded) start(o EmbeddedOptions, host string, port int, dir string) error {
	srv, err := server.NewServer(&server.Options{
		ServerName: "passcode-worker-embedded",
		Host:       host,
		Port:       port,
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: o.SyncAlways,
		NoSigs:     true,
	})
	if err != nil {
		return err
	}
	log := newServerLog(o.Log)
	srv.SetLoggerV2(log, false, false, false)

	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start()
	}()
	if err := awaitReady(srv, log.fatal, o.StartTimeout); err != nil {
		srv.Shutdown()
		<-started // it may be reading its store, which it does not break off
		srv.WaitForShutdown()
		return err
	}
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok { // it was stopped meanwhile, by nobody we know
		return errors.New("it listens nowhere")
	}
	warnWhereExposed(log, addr)
	e.srv = srv
	e.url = "nats://" + net.JoinHostPort(reachable(addr.IP), strconv.Itoa(addr.Port))
	return nil
}

// awaitReady returns once the server takes connections. A server that can't run
// says so to its log and expects the process to end, so both are watched.
func awaitReady(srv *server.Server, fatal <-chan string, timeout time.Duration) error {
	const slice = 50 * time.Millisecond
	for end := time.Now().Add(timeout); ; {
		ready := srv.ReadyForConnections(slice)
		select {
		case text := <-fatal:
			return errors.New(text)
		default:
		}
		switch {
		case ready:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("not ready after %s", timeout)
		}
	}
}

func warnWhereExposed(log *serverLog, addr *net.TCPAddr) {
	if !addr.IP.IsLoopback() {
		log.Warnf("listening on %s, beyond this machine, without asking for credentials", addr)
	}
}

// reachable turns the address that means all of this machine's into one that can
// be dialled.
func reachable(ip net.IP) string {
	if ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return ip.String()
}

func splitListen(listen string) (string, int, error) {
	const wrong = "nats.embedded.listen: must be host:port, such as " + DefaultEmbeddedListen
	host, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, errors.New(wrong)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, errors.New(wrong)
	}
	if port == 0 {
		port = server.RANDOM_PORT // to the server, 0 is its default port
	}
	if host == "" {
		host = "0.0.0.0" // as net.Listen reads it; the server would too
	}
	return host, port, nil
}

// URL is where clients of this machine reach the server.
func (e *Embedded) URL() string { return e.url }

// Stop shuts the server down and waits until it has written and closed its
// files, or the context ends; the shutdown goes on even then. It may be called
// again, to wait again.
func (e *Embedded) Stop(ctx context.Context) error {
	e.stopOnce.Do(func() {
		go func() {
			defer close(e.stopped)
			e.srv.Shutdown()
			e.srv.WaitForShutdown()
			e.stopErr = e.unlock()
		}()
	})
	select {
	case <-e.stopped:
		return e.stopErr
	case <-ctx.Done():
		return fmt.Errorf("stop embedded NATS: %w", context.Cause(ctx))
	}
}

package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// Embedded is a NATS server that runs inside this process.
type Embedded struct {
	srv      *server.Server
	shutDown func() error // once; who calls again waits for it
}

// StartEmbedded runs a server with JetStream and returns once it takes connections, after it has read and checked
// its store. It asks nobody for credentials. address is host:port; port 0 takes a free one. One server at a time
// may use dir. log takes the server's warnings and errors. The caller stops it.
func StartEmbedded(address, dir string, log *slog.Logger) (*Embedded, error) {
	listen, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS: nats.embedded.listen: must be host:port, such as 127.0.0.1:4222: %w", err)
	}
	lines := &serverLog{log: log.With("component", "embedded-nats"), fatal: make(chan string, 1)}
	if !listen.IP.IsLoopback() {
		lines.Warnf("listening on %s, beyond this machine, without asking for credentials", listen)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS: nats.embedded.store_dir: %w", err)
	}
	srv, err := startServer(listen, dir, lines)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded NATS: %w", err), unlock())
	}
	return &Embedded{srv: srv, shutDown: sync.OnceValue(func() error {
		srv.Shutdown()
		srv.WaitForShutdown()
		return unlock()
	})}, nil
}

func startServer(listen *net.TCPAddr, dir string, log *serverLog) (*server.Server, error) {
	options := &server.Options{
		ServerName: "passcode-worker-embedded", Port: cmp.Or(listen.Port, server.RANDOM_PORT),
		JetStream: true, StoreDir: dir, NoSigs: true,
	}
	if listen.IP != nil { // else all addresses of this machine
		options.Host = listen.IP.String()
	}
	srv, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	select {
	case text := <-log.fatal:
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, errors.New(text)
	default:
		return srv, nil
	}
}

// lockDir makes the directory and takes it for this process. The server itself takes no lock, and two of them on
// one store ruin it. The lock goes with the process, however that ends.
func lockDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "worker.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s is in use by another process", dir)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file.Close, nil
}

// URL is where clients of this machine reach the server.
func (e *Embedded) URL() string { return e.srv.ClientURL() }

// Stop shuts the server down and waits until it has written and closed its files, or the context ends; the shutdown
// goes on even then. It may be called again, to wait again.
func (e *Embedded) Stop(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- e.shutDown() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop embedded NATS: %w", context.Cause(ctx))
	}
}

// serverLog passes a server's warnings and errors on. Its notices are for the
// operator of a server, which here is a part of the worker.
type serverLog struct {
	log *slog.Logger
	// fatal takes the first text of a server that can't run. The server's own logger would end the process there.
	fatal chan string
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, v ...any) { l.log.Warn(redact(fmt.Sprintf(format, v...))) }

func (l *serverLog) Errorf(format string, v ...any) { l.log.Error(redact(fmt.Sprintf(format, v...))) }

func (l *serverLog) Fatalf(format string, v ...any) {
	text := redact(fmt.Sprintf(format, v...))
	select {
	case l.fatal <- text: // returned by StartEmbedded, so not logged too
	default:
		l.log.Error(text)
	}
}

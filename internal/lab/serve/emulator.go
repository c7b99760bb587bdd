// Package serve has the command that serves the emulated Aliyun.
package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
)

// Cmd is "worker emulator".
type Cmd struct {
	Listen           string `default:"127.0.0.1:9080" help:"Address to serve on; port 0 takes a free one."`
	emulator.Options `embed:""`
}

// Help is the text below the flags.
func (*Cmd) Help() string {
	return "Faults, one SPEC each, also for POST /_/faults (one a line):\n\n" + fault.Help +
		"\n\nAdministration: GET /_/sent (what was accepted, as JSON lines), GET /_/stats, POST /_/reset, GET, POST and DELETE /_/faults."
}

// Run serves until it is stopped, then lets the requests in progress end.
func (c *Cmd) Run(e *command.Env) error {
	if (c.AccessKeyID == "") != (c.AccessKeySecret == "") {
		return command.Usagef("worker emulator: --access-key-id and --access-key-secret go together")
	}
	if c.Latency < 0 || c.LookupLag < 0 || c.MaxQPS < 0 {
		return command.Usagef("worker emulator: --latency, --lookup-lag and --max-qps must not be negative")
	}
	c.Logger = slog.New(slog.NewTextHandler(e.Stderr, nil))
	em, err := emulator.New(c.Options)
	if err != nil {
		return command.Usagef("worker emulator: --%w", err) // it begins with the option
	}
	defer em.Close()

	listener, err := (&net.ListenConfig{}).Listen(e.Stop, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	show.Say(e.Stderr, "listening on http://%s", listener.Addr())
	server := &http.Server{Handler: em, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-e.Stop.Done():
	}
	em.Close() // ends the requests that hang on purpose
	bounded, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil {
		_ = server.Close() // what is left hangs on a client that doesn't read
	}
	<-failed
	return nil
}

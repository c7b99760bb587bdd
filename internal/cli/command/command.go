// Package command is what all commands have in common.
package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

// Exit statuses.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2 // the command line or the settings are wrong
)

// Patience bounds what a command waits for the broker; run waits for ever.
const Patience = 10 * time.Second

// Env is what a command gets from outside.
type Env struct {
	Flags
	// Stop ends when the command is to stop, Force when it is to leave at once.
	Stop, Force context.Context
	Args        []string
	Environ     []string
	Stdin       io.Reader
	Stdout      io.Writer
	Stderr      io.Writer
	Version     string // of the program

	// What Connect has read and opened. The connection is closed when the command ends.
	Cfg config.Config
	JS  jetstream.JetStream
}

// Flags are the flags of every command.
type Flags struct {
	Config string   `short:"c" placeholder:"FILE" help:"Settings file. Otherwise the one PASSCODE_CONFIG names, otherwise worker.yaml where present."`
	Set    []string `placeholder:"KEY=VALUE" sep:"none" help:"One setting, such as --set nats.url=nats://10.0.0.5:4222. May be repeated; a list or an object is written as JSON."`
}

// Usagef words a mistake in the command line.
func Usagef(format string, args ...any) error {
	return app.UsageError{Err: fmt.Errorf(format, args...)}
}

// ErrSaid is a failure that the command has already told of.
var ErrSaid = errors.New("failed")

// Stopped turns the end of a command by a signal into a plain word.
func Stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	return err
}

// Print writes a line to standard output.
func (e *Env) Print(format string, args ...any) { show.Line(e.Stdout, format, args...) }

// Note writes a line of prose to standard error.
func (e *Env) Note(format string, args ...any) { show.Line(e.Stderr, format, args...) }

// Bounded bounds a question to the broker.
func Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, Patience, fmt.Errorf("no answer from the broker within %s", Patience))
}

// Settings reads the settings of a command.
func (e *Env) Settings(toRun bool) (config.Config, error) {
	return config.Load(config.Source{File: e.Config, Env: e.Environ, Set: e.Set, ToRun: toRun})
}

// Connect reads the settings and connects to the broker.
func (e *Env) Connect() (err error) {
	if e.Cfg, err = e.Settings(false); err != nil {
		return err
	}
	// A command speaks for itself; the connection only in trouble.
	log := telemetry.NewLogger(e.Stderr, "warn", "text")
	if e.JS, err = app.Dial(e.Stop, e.Cfg.NATS, "worker command", broker.CommandInbox, log); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(e.Stop, Patience, fmt.Errorf("not connected to %s within %s", e.Cfg.NATS.URL, Patience))
	defer cancel()
	return broker.WaitConnected(ctx, e.JS.Conn())
}

// NeverRun words the error of a command that finds nothing to work on; name is the bucket that it needs.
func (e *Env) NeverRun(name string, err error) error {
	for missing, what := range map[error]string{
		bucket.ErrMissing:             "bucket " + name,
		jetstream.ErrStreamNotFound:   "stream " + e.Cfg.Jobs.Stream,
		jetstream.ErrConsumerNotFound: "consumer " + e.Cfg.Jobs.Consumer + " on stream " + e.Cfg.Jobs.Stream,
	} {
		if errors.Is(err, missing) {
			return fmt.Errorf("there is no %s: no worker has run on this broker yet; \"worker provision\" creates what it needs", what)
		}
	}
	return err
}

// Operator is who runs a command, for others to ask.
func Operator() string {
	name := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + cmp.Or(host, "unknown")
}

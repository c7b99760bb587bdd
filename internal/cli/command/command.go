// Package command is what all commands have in common: what they get from
// outside, the settings, the connection to the broker and how they fail.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/bucket"
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
	// Stop ends when the command is asked to stop, Force when it is to leave at
	// once.
	Stop, Force context.Context
	Args        []string
	Environ     []string
	Stdin       io.Reader
	Stdout      io.Writer
	Stderr      io.Writer
	Version     string // of the program
}

// Flags are the flags of every command.
type Flags struct {
	Config string   `short:"c" placeholder:"FILE" help:"Settings file. Otherwise the one PASSCODE_CONFIG names, otherwise worker.yaml where present."`
	Set    []string `placeholder:"KEY=VALUE" sep:"none" help:"One setting, such as --set nats.url=nats://10.0.0.5:4222. May be repeated; a list or an object is written as JSON."`
}

// UsageError is a command line that is wrong in a way the parser can't see.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e UsageError) Unwrap() error { return e.Err }

// Usagef words a UsageError.
func Usagef(format string, args ...any) error { return UsageError{Err: fmt.Errorf(format, args...)} }

// ErrSaid is a failure that the command has already told of.
var ErrSaid = errors.New("failed")

// Stopped turns the end of a command by a signal into a plain word.
func Stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	return err
}

// Settings reads the settings of a command.
func (e *Env) Settings(toRun bool) (config.Config, error) {
	return config.Load(config.Source{File: e.Config, Env: e.Environ, Set: e.Set, ToRun: toRun})
}

// Connect reads the settings of a command that talks to the broker, and
// connects. The caller closes the connection.
func (e *Env) Connect() (config.Config, *app.Link, error) {
	cfg, err := e.Settings(false)
	if err != nil {
		return cfg, nil, err
	}
	// A command speaks for itself; the connection only in trouble.
	log, err := telemetry.NewLogger(e.Stderr, "warn", "text")
	if err != nil {
		return cfg, nil, err
	}
	link, err := app.Dial(e.Stop, cfg.NATS, cfg.NATS.URL.Reveal(), "worker command", broker.CommandInbox, log)
	if err != nil {
		return cfg, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(e.Stop, Patience,
		fmt.Errorf("not connected to %s within %s", cfg.NATS.URL, Patience))
	defer cancel()
	if err := broker.WaitConnected(ctx, link.NC); err != nil {
		link.NC.Close()
		return cfg, nil, err
	}
	return cfg, link, nil
}

// Logger returns the worker's logger, on standard error, and logs the warnings
// of the settings.
func (e *Env) Logger(cfg config.Config) (*slog.Logger, error) {
	log, err := telemetry.NewLogger(e.Stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return nil, UsageError{Err: err}
	}
	for _, w := range cfg.Warnings {
		log.Warn("settings: " + w)
	}
	return log, nil
}

// NeverRun words the error of a command that finds nothing to work on.
func NeverRun(cfg config.Config, err error) error {
	for _, missing := range []struct {
		err  error
		what string
	}{
		{bucket.ErrMissing, "bucket " + cfg.Limits.Bucket},
		{jetstream.ErrStreamNotFound, "stream " + cfg.Jobs.Stream},
		{jetstream.ErrConsumerNotFound, "consumer " + cfg.Jobs.Consumer + " on stream " + cfg.Jobs.Stream},
	} {
		if errors.Is(err, missing.err) {
			return fmt.Errorf("there is no %s: no worker has run on this broker yet; \"worker provision\" creates what it needs", missing.what)
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
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/alecthomas/kong"

	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the settings are wrong
)

// env is what a command gets from outside.
type env struct {
	// stop ends when the command is asked to stop, force when it is to leave at
	// once.
	stop, force context.Context
	args        []string
	environ     []string
	stdin       io.Reader
	stdout      io.Writer
	stderr      io.Writer
}

// cli is the command line.
type cli struct {
	Config string   `short:"c" placeholder:"FILE" help:"Settings file. Otherwise the one PASSCODE_CONFIG names, otherwise worker.yaml where present."`
	Set    []string `placeholder:"KEY=VALUE" sep:"none" help:"One setting, such as --set nats.url=nats://10.0.0.5:4222. May be repeated; a list or an object is written as JSON."`

	Run       runCmd       `cmd:"" help:"Take jobs from the stream and send them, until stopped."`
	Demo      demoCmd      `cmd:"" help:"Show every path a job can take. Needs nothing installed."`
	Send      sendCmd      `cmd:"" help:"Send one passcode and print the result."`
	Request   requestCmd   `cmd:"" help:"Show the record of one request."`
	DLQ       dlqCmd       `cmd:"" name:"dlq" help:"Look through the dead letters and replay them."`
	Limits    limitsCmd    `cmd:"" help:"Show or reset what counts against a phone's limits."`
	Pause     pauseCmd     `cmd:"" help:"Stop all workers from taking jobs, for a while or until \"worker resume\"."`
	Resume    resumeCmd    `cmd:"" help:"Have all workers take jobs again."`
	Check     checkCmd     `cmd:"" help:"Check settings, broker and Aliyun account; say what to mend."`
	Provision provisionCmd `cmd:"" help:"Create the streams, buckets and the consumer that are missing."`
	ConfigCmd configCmd    `cmd:"" name:"config" help:"Work with the settings."`
	Emulator  emulatorCmd  `cmd:"" help:"Serve a local Aliyun SMS for tests and trials."`
	Bench     benchCmd     `cmd:"" help:"Measure how many jobs a second this machine does. Needs nothing installed."`
	Health    healthCmd    `cmd:"" help:"Ask a running worker whether it is ready."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

const description = `Sends passcodes by SMS: takes jobs from NATS JetStream, calls Aliyun, announces what became of each.

Settings come from a file, then the environment (PASSCODE_NATS__URL for nats.url), then --set. "worker config print" shows them; config/worker.yaml documents each.

Exit status: 0 done, 1 it failed, 2 the command line or the settings are wrong.`

// usageError is a command line that is wrong in a way the parser can't see.
type usageError struct{ error }

// exitCode leaves the parser after it has printed help.
type exitCode int

// execute runs one command and returns its exit status.
func execute(e *env) (status int) {
	var c cli
	parser := newParser(&c, e.stdout, e.stderr)
	defer func() {
		if p := recover(); p != nil {
			code, ok := p.(exitCode)
			if !ok {
				panic(p)
			}
			status = int(code)
		}
	}()

	ctx, err := parser.Parse(e.args)
	if err != nil {
		say(e.stderr, "worker: %s\nTry \"worker --help\".", refusedLine(err))
		return exitUsage
	}
	err = ctx.Run(e, &c)
	var settings *config.Errors
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errSaid):
		return exitFailed
	case errors.As(err, &settings), errors.As(err, &usage):
		say(e.stderr, "%v", err)
		return exitUsage
	default:
		say(e.stderr, "worker: %s", telemetry.Scrub(err.Error()))
		return exitFailed
	}
}

// newParser knows the command line. After it has printed help it leaves with a
// panic that holds an exitCode.
func newParser(c *cli, stdout, stderr io.Writer) *kong.Kong {
	parser, err := kong.New(c,
		kong.Name("worker"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Vars{
			"reasons":            reasons(),
			"default_key_id":     emulator.DefaultAccessKeyID,
			"default_key_secret": emulator.DefaultAccessKeySecret,
		},
	)
	if err != nil { // the grammar itself is wrong: a bug
		panic(err)
	}
	return parser
}

// refusedLine is what is wrong with a command line. What was typed in the wrong
// place may be a phone number.
func refusedLine(err error) string { return telemetry.Scrub(err.Error()) }

// errSaid is a failure that the command has already told of.
var errSaid = errors.New("failed")

// say writes a line of prose. Where it can't be written nobody is there to be
// told.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// jsonLines writes one object a line.
func jsonLines(w io.Writer) *json.Encoder {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out
}

// settings reads the settings of a command.
func (c *cli) settings(e *env, toRun bool) (config.Config, error) {
	return config.Load(config.Source{File: c.Config, Env: e.environ, Set: c.Set, ToRun: toRun})
}

// connected reads the settings of a command that talks to the broker, and
// connects. The caller closes the connection.
func (c *cli) connected(e *env) (config.Config, *link, error) {
	cfg, err := c.settings(e, false)
	if err != nil {
		return cfg, nil, err
	}
	// A command speaks for itself; the connection only in trouble.
	log, err := telemetry.NewLogger(e.stderr, "warn", "text")
	if err != nil {
		return cfg, nil, err
	}
	l, err := dialNow(e.stop, cfg, log)
	return cfg, l, err
}

// logger returns the worker's logger, on standard error, and logs the warnings
// of the settings.
func logger(e *env, cfg config.Config) (*slog.Logger, error) {
	log, err := telemetry.NewLogger(e.stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return nil, usageError{err}
	}
	for _, w := range cfg.Warnings {
		log.Warn("settings: " + w)
	}
	return log, nil
}

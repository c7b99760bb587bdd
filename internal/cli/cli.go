// Package cli is the command line: its commands and how one is run.
package cli

import (
	"errors"
	"io"
	"reflect"
	"time"

	"github.com/alecthomas/kong"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/dlq"
	"github.com/passcode-worker/passcode-worker/internal/cli/request"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

type cli struct {
	command.Flags

	Run       runCmd       `cmd:"" help:"Take jobs from the stream and send them, until stopped."`
	Send      sendCmd      `cmd:"" help:"Send one passcode and print the result."`
	Request   request.Cmd  `cmd:"" help:"Show the record of one request."`
	DLQ       dlq.Cmd      `cmd:"" name:"dlq" help:"Look through the dead letters and replay them."`
	Limits    limitsCmd    `cmd:"" help:"Show or reset what counts against a phone's limits."`
	Pause     pauseCmd     `cmd:"" help:"Stop all workers from taking jobs, for a while or until \"worker resume\"."`
	Resume    resumeCmd    `cmd:"" help:"Have all workers take jobs again."`
	Check     checkCmd     `cmd:"" help:"Check settings, broker and Aliyun account; say what to fix."`
	Provision provisionCmd `cmd:"" help:"Create the streams, buckets and the consumer that are missing."`
	ConfigCmd configCmd    `cmd:"" name:"config" help:"Work with the settings."`
	Health    healthCmd    `cmd:"" help:"Ask a running worker whether it is ready."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

const description = `Sends passcodes by SMS: takes jobs from NATS JetStream, calls Aliyun, announces what became of each.

Settings come from a file, then the environment (PASSCODE_NATS__URL for nats.url), then --set. "worker config print" shows them; config/worker.yaml documents each.

Exit status: 0 done, 1 it failed, 2 the command line or the settings are wrong.`

// Execute runs one command and returns its exit status. The options add commands.
func Execute(e *command.Env, options ...kong.Option) int {
	var c cli
	helped := false
	ctx, err := newParser(&c, e.Stdout, e.Stderr, func(int) { helped = true }, options).Parse(e.Args)
	switch {
	case helped:
		return command.ExitDone
	case err != nil:
		e.Note("worker: %s\nTry \"worker --help\".", refusedLine(err))
		return command.ExitUsage
	}
	e.Flags = c.Flags
	err = ctx.Run(e)
	if e.JS != nil {
		e.JS.Conn().Close()
	}
	var settings *config.Errors
	var usage app.UsageError
	switch {
	case err == nil:
		return command.ExitDone
	case errors.Is(err, command.ErrSaid):
		return command.ExitFailed
	case errors.As(err, &settings), errors.As(err, &usage):
		show.Lines(e.Stderr, err.Error())
		return command.ExitUsage
	default:
		show.Lines(e.Stderr, "worker: "+telemetry.Scrub(err.Error()))
		return command.ExitFailed
	}
}

// newParser knows the command line. It calls helped when it has printed help.
func newParser(c *cli, stdout, stderr io.Writer, helped func(int), more []kong.Option) *kong.Kong {
	parser, err := kong.New(c, append([]kong.Option{
		kong.Name("worker"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(helped),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Vars{"reasons": dlq.Reasons()},
	}, more...)...)
	if err != nil { // the grammar itself is wrong: a bug
		panic(err)
	}
	return parser
}

// refusedLine is what is wrong with a command line, without a number in it.
func refusedLine(err error) string { return telemetry.Scrub(err.Error()) }

// decodeDuration repeats nothing of what is wrong: it may be a phone number.
func decodeDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("must be a duration with its unit, such as 10m, 90s or 1h30m")
	}
	target.SetInt(int64(d))
	return nil
}

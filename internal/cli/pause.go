package cli

import (
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

// pauseCmd is "worker pause".
type pauseCmd struct {
	Duration *time.Duration `arg:"" optional:"" help:"For how long, such as 10m; until \"worker resume\" where left out."`
	Reason   string         `placeholder:"TEXT" help:"Why, for whoever finds the workers paused."`
}

// Run pauses the consumer on the server.
func (p *pauseCmd) Run(e *command.Env) error {
	var d time.Duration
	if p.Duration != nil {
		if d = *p.Duration; d <= 0 {
			return command.Usagef("worker pause: the duration must be longer than nothing; \"worker resume\" ends a pause")
		}
	}
	return withAccount(e, func(_ config.Config, _ *app.Link, g *account.Breaker) error {
		pause, err := g.Hold(e.Stop, d, telemetry.Scrub(p.Reason))
		if err != nil {
			return err
		}
		show.Say(e.Stderr, "paused %s", app.PauseText(pause))
		show.Say(e.Stderr, "jobs wait in the stream; workers finish those they have in hand")
		if state := g.State(); state.Closed() {
			show.Say(e.Stderr, "the account is closed as well, %s", app.AccountText(state))
		}
		show.Say(e.Stderr, "\"worker resume\" ends the pause, \"worker pause\" again changes its end")
		return nil
	})
}

// resumeCmd is "worker resume".
type resumeCmd struct{}

// Run ends the consumer's pause, and the account's.
func (*resumeCmd) Run(e *command.Env) error {
	return withAccount(e, func(cfg config.Config, l *app.Link, g *account.Breaker) error {
		// Looked at first: afterwards jobs are on their way already.
		info, err := l.JS.Consumer(e.Stop, cfg.Jobs.Stream, cfg.Jobs.Consumer)
		if err != nil {
			return fmt.Errorf("look at the consumer: %w", err)
		}
		found, err := g.Resume(e.Stop)
		if err != nil {
			return err
		}
		switch {
		case found.Paused && found.Pause.At.IsZero() && found.Account.Closed():
			show.Say(e.Stderr, "resumed: the consumer was paused because the account is closed")
		case found.Paused:
			show.Say(e.Stderr, "resumed: the consumer was paused %s", app.PauseText(found.Pause))
		default:
			show.Say(e.Stderr, "the consumer was not paused")
		}
		if found.Account.Closed() {
			show.Say(e.Stderr, "the account is closed, %s: the next job is sent as the probe", app.AccountText(found.Account))
		}
		now := info.CachedInfo()
		show.Say(e.Stderr, "%d jobs wait; workers take them up within %s", now.NumPending, jobs.ResumedWithin)
		if now.NumWaiting == 0 && !found.Paused {
			show.Say(e.Stderr, "no worker asks for jobs at the moment: is one running?")
		}
		return nil
	})
}

// withAccount runs use with the account gate of the workers, under an operator's name.
func withAccount(e *command.Env, use func(config.Config, *app.Link, *account.Breaker) error) error {
	cfg, l, err := e.Connect()
	if err != nil {
		return err
	}
	defer l.NC.Close()
	if err := broker.CheckServer(l.NC); err != nil {
		return err
	}
	g, err := account.Open(e.Stop, l.JS, account.Options{
		Bucket: cfg.Limits.Bucket, Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer, Worker: command.Operator(),
	})
	if err == nil {
		err = use(cfg, l, g)
	}
	return command.NeverRun(cfg, err)
}

package cli

import (
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

type pauseCmd struct {
	Duration *time.Duration `arg:"" optional:"" help:"For how long, such as 10m; until \"worker resume\" where left out."`
	Reason   string         `placeholder:"TEXT" help:"Why, for whoever finds the workers paused."`
}

func (p *pauseCmd) Run(e *command.Env) error {
	var d time.Duration
	if p.Duration != nil {
		if d = *p.Duration; d <= 0 {
			return command.Usagef("worker pause: the duration must be longer than nothing; \"worker resume\" ends a pause")
		}
	}
	return withAccount(e, func(b *account.Breaker) error {
		pause, err := b.Hold(e.Stop, d, telemetry.Scrub(p.Reason))
		if err != nil {
			return err
		}
		e.Note("paused %s", app.PauseText(pause))
		e.Note("jobs wait in the stream; workers finish those they have in hand")
		if state := b.State(); state.Closed() {
			e.Note("the account is closed as well, %s", app.AccountText(state))
		}
		e.Note("\"worker resume\" ends the pause, \"worker pause\" again changes its end")
		return nil
	})
}

type resumeCmd struct{}

// Run ends the consumer's pause, and the account's.
func (*resumeCmd) Run(e *command.Env) error {
	return withAccount(e, func(b *account.Breaker) error {
		// Looked at first: afterwards workers take jobs already.
		info, err := e.JS.Consumer(e.Stop, e.Cfg.Jobs.Stream, e.Cfg.Jobs.Consumer)
		if err != nil {
			return fmt.Errorf("look at the consumer: %w", err)
		}
		found, err := b.Resume(e.Stop)
		if err != nil {
			return err
		}
		switch {
		case found.Paused && found.Pause.At.IsZero() && found.Account.Closed():
			e.Note("resumed: the consumer was paused because the account is closed")
		case found.Paused:
			e.Note("resumed: the consumer was paused %s", app.PauseText(found.Pause))
		default:
			e.Note("the consumer was not paused")
		}
		if found.Account.Closed() {
			e.Note("the account is closed, %s: the next job is sent as the probe", app.AccountText(found.Account))
		}
		now := info.CachedInfo()
		e.Note("%s; workers take them up within %s", show.JobsWait(now.NumPending), jobs.ResumedWithin)
		if now.NumWaiting == 0 && !found.Paused {
			e.Note("no worker asks for jobs at the moment: is one running?")
		}
		return nil
	})
}

// withAccount runs use with the workers' account breaker, under an operator's name.
func withAccount(e *command.Env, use func(*account.Breaker) error) error {
	if err := e.Connect(); err != nil {
		return err
	}
	if err := broker.CheckServer(e.JS.Conn()); err != nil {
		return err
	}
	breaker, err := account.Open(e.Stop, e.JS, account.Options{
		Bucket: e.Cfg.Limits.Bucket, Stream: e.Cfg.Jobs.Stream, Consumer: e.Cfg.Jobs.Consumer, Worker: command.Operator(),
	})
	if err == nil {
		err = use(breaker)
	}
	return e.NeverRun(e.Cfg.Limits.Bucket, err)
}

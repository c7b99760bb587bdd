package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/bucket"
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
func (p *pauseCmd) Run(e *env, c *cli) error {
	var d time.Duration
	if p.Duration != nil {
		if d = *p.Duration; d <= 0 {
			return usageError{errors.New("worker pause: the duration must be longer than nothing; \"worker resume\" ends a pause")}
		}
	}
	return c.withAccount(e, func(_ config.Config, _ *link, g *account.Breaker) error {
		pause, err := g.Hold(e.stop, d, telemetry.Scrub(p.Reason))
		if err != nil {
			return err
		}
		say(e.stderr, "paused %s", pauseText(pause))
		say(e.stderr, "jobs wait in the stream; workers finish those they have in hand")
		if state := g.State(); state.Closed() {
			say(e.stderr, "the account is closed as well, %s", accountText(state))
		}
		say(e.stderr, "\"worker resume\" ends the pause, \"worker pause\" again changes its end")
		return nil
	})
}

// resumeCmd is "worker resume".
type resumeCmd struct{}

// Run ends the consumer's pause, and the account's.
func (*resumeCmd) Run(e *env, c *cli) error {
	return c.withAccount(e, func(cfg config.Config, l *link, g *account.Breaker) error {
		// Looked at first: afterwards jobs are on their way already.
		info, err := l.js.Consumer(e.stop, cfg.Jobs.Stream, cfg.Jobs.Consumer)
		if err != nil {
			return fmt.Errorf("look at the consumer: %w", err)
		}
		found, err := g.Resume(e.stop)
		if err != nil {
			return err
		}
		switch {
		case found.Paused && found.Pause.At.IsZero() && found.Account.Closed():
			say(e.stderr, "resumed: the consumer was paused because the account is closed")
		case found.Paused:
			say(e.stderr, "resumed: the consumer was paused %s", pauseText(found.Pause))
		default:
			say(e.stderr, "the consumer was not paused")
		}
		if found.Account.Closed() {
			say(e.stderr, "the account is closed, %s: the next job is sent as the probe", accountText(found.Account))
		}
		now := info.CachedInfo()
		say(e.stderr, "%d jobs wait; workers take them up within %s", now.NumPending, jobs.ResumedWithin)
		if now.NumWaiting == 0 && !found.Paused {
			say(e.stderr, "no worker asks for jobs at the moment: is one running?")
		}
		return nil
	})
}

// withAccount runs use with the account gate of the workers, under an operator's name.
func (c *cli) withAccount(e *env, use func(config.Config, *link, *account.Breaker) error) error {
	cfg, l, err := c.connected(e)
	if err != nil {
		return err
	}
	defer l.nc.Close()
	if err := broker.CheckServer(l.nc); err != nil {
		return err
	}
	g, err := account.Open(e.stop, l.js, account.Options{
		Bucket: cfg.Limits.Bucket, Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer, Worker: operator(),
	})
	if err == nil {
		err = use(cfg, l, g)
	}
	return neverRun(cfg, err)
}

// neverRun words the error of a command that finds nothing to work on.
func neverRun(cfg config.Config, err error) error {
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

// operator is who runs a command, for others to ask.
func operator() string {
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

// pauseText says until when a pause lasts, whose it is and why.
func pauseText(p account.Pause) string {
	text := "until \"worker resume\""
	if !p.Endless() {
		text = "until " + p.Until.Format(time.RFC3339)
	}
	if p.At.IsZero() {
		return text + ", not by \"worker pause\""
	}
	text += ", by " + p.By
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// accountText says since when and why the account is closed.
func accountText(s account.State) string {
	text := fmt.Sprintf("since %s by %s", s.Since.Format(time.RFC3339), s.Code)
	if s.Message != "" {
		text += " (" + s.Message + ")"
	}
	return text
}

// pause explains a pause of the consumer, for readiness and the log. The
// account's own is told of elsewhere.
func (a *app) pause(ctx context.Context, until time.Time) (string, error) {
	g := a.gate.Load()
	if g == nil {
		return "", nil // starting
	}
	note, known, err := g.Holder(ctx, until)
	switch {
	case err != nil:
		return "", err
	case known:
		return pauseText(note), nil
	case g.State().Closed():
		return "", nil
	default:
		return pauseText(account.Pause{Until: until}), nil
	}
}

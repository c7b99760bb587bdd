// Package demo shows every path that a job can take.
package demo

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
)

// Cmd is "worker demo".
type Cmd struct {
	Stay bool `help:"Go on serving afterwards, to be tried with any NATS client."`
	Jobs int  `default:"2000" help:"How many jobs the last part sends at once."`
}

// stay tells how to use what goes on serving.
const stay = `
Still serving. Try, in another terminal:
  nats -s %s sub 'passcode.result.>'
  nats -s %s pub passcode.send '{"request_id":"a1","phone":"+85268326366","code":"004213"}'
  curl %s/_/sent
Ctrl-C ends it.`

// stage is what the demo plays on.
type stage struct {
	*system.System
	*show.Screen
	began   time.Time // of the scene
	worker  *system.Worker
	results *nats.Subscription
	log     *os.File      // of the processes
	ends    *show.Listing // of the scenes
}

// Run plays every scene and fails where one ends otherwise than it should.
func (d *Cmd) Run(e *command.Env) (err error) {
	if d.Jobs < 1 || d.Jobs > 100_000 {
		return command.Usagef("worker demo: --jobs must be 1 to 100000")
	}
	st := &stage{
		Screen: show.NewScreen(e.Stdout),
		ends:   show.NewListing(e.Stdout, false, "PATH", "STATUS", "ATTEMPTS", "DETAIL"),
	}
	if st.log, err = os.CreateTemp("", "passcode-demo-*.log"); err != nil {
		return err
	}
	st.System, err = system.Start(e.Stop, system.Options{Name: "demo", Environ: e.Environ, Settings: settings(), Log: st.log})
	if err != nil {
		return errors.Join(err, st.log.Close(), os.Remove(st.log.Name()))
	}
	failed := 0
	defer func() {
		err := errors.Join(st.Stop(), st.log.Close())
		if failed == 0 {
			err = errors.Join(err, os.Remove(st.log.Name()))
		}
		if err != nil {
			show.Say(e.Stderr, "worker demo: %v", err)
		}
	}()
	if st.worker, err = st.StartWorker(e.Stop); err != nil {
		return err
	}
	if st.results, err = st.JS.Conn().SubscribeSync(st.Settings.Results.Subject + ".>"); err != nil {
		return err
	}
	// The subscription must have arrived before the first job does.
	if err := st.JS.Conn().FlushTimeout(command.Patience); err != nil {
		return err
	}

	st.Line("%s", st.Paint(show.Bold, "passcode-worker demo"))
	st.Line("NATS at %s · emulated Aliyun at %s", st.NATS, st.Admin.URL)
	note := func(err error) {
		if err != nil && e.Stop.Err() == nil {
			failed++
			st.Line("  %s %v", st.Paint(show.Red, "✗"), err)
		}
	}
	for _, s := range scenes(d.Jobs) {
		note(st.play(e.Stop, s))
	}
	note(st.summary(e.Stop))
	if e.Stop.Err() != nil {
		return errors.New("demo stopped")
	}
	if failed > 0 {
		return fmt.Errorf("%d parts of the demo did not end as they should; the workers' log is in %s", failed, st.log.Name())
	}
	if d.Stay {
		st.Line(stay, st.NATS, st.NATS, st.Admin.URL)
		<-e.Stop.Done()
	}
	return nil
}

// settings are the workers': short times, so that everything can be watched.
func settings() config.Config {
	cfg := config.Default()
	cfg.Aliyun.Timeout, cfg.Aliyun.ConnectTimeout = time.Second, 500*time.Millisecond
	cfg.Aliyun.InDoubt.Lookups = []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}
	cfg.Worker.AckWait, cfg.Worker.ShutdownTimeout = 3*time.Second, 5*time.Second
	cfg.Retry.InitialInterval = 300 * time.Millisecond
	return cfg
}

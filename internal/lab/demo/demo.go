// Package demo shows every path that a job can take.
package demo

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
	"github.com/passcode-worker/passcode-worker/passcode"
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

// begin opens a scene.
func (st *stage) begin(sc scene) {
	st.began = time.Now()
	st.Line("\n%s", st.Paint(show.Bold, "▸ "+sc.path+": ")+sc.story)
}

// state shows one state of a request, and why it ends with an error.
func (st *stage) state(r passcode.Result) {
	st.step(r.Status, detail(r))
	if !r.Final || r.Error == nil {
		return
	}
	for _, line := range show.Wrapped(r.Error.Message, show.Width-8) {
		st.Line("        %s", st.Paint(show.Dim, line))
	}
}

// step shows what a request came to, and when.
func (st *stage) step(status passcode.Status, detail string) {
	if detail != "" {
		detail = st.Paint(show.Dim, " ("+detail+")")
	}
	st.Line("  %6.2fs  %s%s", time.Since(st.began).Seconds(), st.Paint(show.StatusColour(status), string(status)), detail)
}

// detail is what a state says besides its name.
func detail(r passcode.Result) string {
	if !r.LookupBeganAt.IsZero() {
		return "asking Aliyun"
	}
	var parts []string
	add := func(applies bool, format string, args ...any) {
		if applies {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(r.Status == passcode.StatusSending && r.Attempts > 1, "attempt %d", r.Attempts)
	add(r.Duplicate, "duplicate")
	add(r.Recovered, "recovered by look-up")
	add(r.BizID != "" && !r.Duplicate, "BizId %s", r.BizID)
	if r.Error != nil {
		parts = append(parts, r.Error.Code)
	}
	add(r.RetryAfterSeconds > 0, "retry after %ds", r.RetryAfterSeconds)
	add(!r.NextAttemptAt.IsZero(), "again in %s", r.NextAttemptAt.Sub(r.UpdatedAt).Round(10*time.Millisecond))
	return strings.Join(parts, ", ")
}

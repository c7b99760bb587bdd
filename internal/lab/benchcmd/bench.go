// Package benchcmd has the command that measures a system under load.
package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// benchJobs is how many jobs a run has that is told nothing.
	benchJobs = 20_000
	// benchWindow is how many jobs are under way for each place in a worker, where
	// jobs are published as fast as they are done: so many that the stream always
	// has one, so few that latencies still say something.
	benchWindow = 4
	// benchEarly is after how many jobs memory is looked at first; a shorter run
	// looks after a tenth of its jobs.
	benchEarly = 50_000
	// benchDrain is how long a run that was told to stop waits for the jobs under
	// way.
	benchDrain = 15 * time.Second
	// benchStill is after how long without a single final result a run ends.
	benchStill = 2 * time.Minute
)

// Cmd is "worker bench".
type Cmd struct {
	Jobs        int           `placeholder:"N" help:"Publish so many jobs; 20000 where neither this nor --for is given."`
	For         time.Duration `placeholder:"D" help:"Publish for so long, such as 10m."`
	Rate        command.Pace  `placeholder:"N/s" help:"Publish so many, such as 500/s, whether or not the workers keep up. Left out: as fast as they are done."`
	Workers     int           `placeholder:"N" default:"1" help:"How many workers to start (${default})."`
	Concurrency int           `placeholder:"N" help:"Calls that each worker makes at a time (worker.concurrency)."`
	Latency     time.Duration `placeholder:"D" default:"50ms" help:"How long the emulated Aliyun takes for an answer (${default})."`
	Dir         string        `placeholder:"DIR" help:"Where to make a folder for the broker's data, about 1.5 KB a job; removed at the end. Left out: the system's folder for temporary files."`
	JSON        bool          `name:"json" help:"One JSON object a line: a sample each second, at the end the summary."`
}

// Help is shown below the flags' own.
func (*Cmd) Help() string {
	return `Starts a broker, an emulated Aliyun and workers on this machine, publishes jobs, each to a number of its own, and tells how many a second were done, how long each took, and what the workers used. At the end what the emulator accepted is held against every single job. Some jobs before the first warm the workers up; they don't count.

Nothing leaves this machine: the workers know no Aliyun but the emulated one. They take worker.*, retry.*, limits.phone and Aliyun's timeouts from your settings; the broker, the account and everything else is the bench's own.

Exit status 1 where a job was lost, sent twice or not final at the end. Ctrl-C ends a run with what it has; a second one leaves at once.

  worker bench
  worker bench --rate 500/s --for 10m
  worker bench --jobs 1000000 --rate 500/s --json > bench.jsonl`
}

// check finds what the parser can't see.
func (b *Cmd) check() error {
	switch {
	case b.Jobs < 0 || b.Jobs > bench.MaxJobs:
		return fmt.Errorf("--jobs must be 1 to %d", bench.MaxJobs)
	case b.For < 0:
		return errors.New("--for must be longer than nothing")
	case b.Workers < 1 || b.Workers > 64:
		return errors.New("--workers must be 1 to 64")
	case b.Latency < 0:
		return errors.New("--latency must not be negative")
	}
	return nil
}

// Run measures, and fails where a job did not end as it should.
func (b *Cmd) Run(e *command.Env) error {
	if err := b.check(); err != nil {
		return command.Usagef("worker bench: %w", err)
	}
	cfg, err := b.settings(e)
	if err != nil {
		return err
	}
	s, err := startBench(e, b, cfg)
	if err != nil {
		return command.Stopped(e.Stop, err)
	}
	defer s.close()
	return b.measure(e, s)
}

// settings are those of the workers, as far as they are the operator's.
func (b *Cmd) settings(e *command.Env) (config.Config, error) {
	cfg, err := e.Settings(false)
	if err != nil {
		return cfg, err
	}
	if b.Concurrency != 0 {
		cfg.Worker.Concurrency = b.Concurrency
	}
	if b.Latency >= cfg.Aliyun.Timeout { // every call would be in doubt
		return cfg, command.Usagef("worker bench: --latency must be shorter than aliyun.timeout, which is %s", show.Roughly(cfg.Aliyun.Timeout))
	}
	return cfg, cfg.Validate()
}

// jobs is how many jobs the run has at most.
func (b *Cmd) jobs() int {
	switch {
	case b.Jobs > 0:
		return b.Jobs
	case b.For > 0:
		return bench.MaxJobs
	default:
		return benchJobs
	}
}

// early is after how many jobs to look at the memory.
func (b *Cmd) early() int { return min(benchEarly, b.jobs()/10) }

// measure drives the system and tells what came of it.
func (b *Cmd) measure(e *command.Env, s *benchSystem) error {
	screen := newBenchScreen(e, b, s)
	warmUp := benchWarmUp(s.cfg, b.Workers)
	screen.begin(warmUp)
	if err := s.warmUp(warmUp); err != nil {
		return command.Stopped(e.Stop, err)
	}
	began := time.Now()
	requests := bench.Requests{Run: strconv.FormatInt(began.Unix(), 36)}
	book := bench.NewBook(began)
	drive := bench.NewDrive(bench.Load{
		Jobs: b.jobs(), For: b.For, Rate: float64(b.Rate), Window: benchWindow * s.cfg.Worker.Concurrency * b.Workers,
		Publish: func(ctx context.Context, i int) error { return s.publish(ctx, requests.Job(i)) },
	}, book)
	deaf, err := s.listen(func(r benchResult) {
		i, ours := requests.Index(r.RequestID)
		if ours && r.Final && book.Ended(i, r.Status, time.Now()) {
			drive.Freed()
		}
	})
	if err != nil {
		return err
	}
	defer deaf()

	w := newBenchWatch(e, s, screen, requests, book, began)
	published := make(chan error, 1)
	go func() { published <- drive.Run(e.Stop) }()
	failure := w.until(published)
	w.drain()
	if failure == nil {
		failure = s.died()
	}
	deaf()
	s.lookUp(e.Force, requests, book)
	summary, err := w.summary(e.Force)
	if err == nil {
		err = w.screen.summary(summary)
	}
	switch {
	case e.Force.Err() != nil:
		return errors.New("left at once: jobs may have been under way")
	case failure != nil:
		return errors.Join(fmt.Errorf("the run broke off: %w", failure), err)
	case err != nil:
		return err
	case !summary.Audit.Clean():
		return command.ErrSaid
	}
	return nil
}

// benchResult is what a bench reads of a result.
type benchResult struct {
	RequestID string          `json:"request_id"`
	Status    passcode.Status `json:"status"`
	Final     bool            `json:"final"`
}

// pendingResults bounds how many results wait to be read, in messages and in
// bytes: what comes beyond is dropped, and found at the end in the records.
const pendingResults = 1 << 20

// listen has every result read, one after the other.
func (s *benchSystem) listen(heard func(benchResult)) (stop func(), err error) {
	subscription, err := s.link.NC.Subscribe(s.cfg.Results.Subject+".>", func(msg *nats.Msg) {
		if r, ok := decodeBenchResult(msg.Data); ok {
			heard(r)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := subscription.SetPendingLimits(pendingResults, pendingResults*512); err != nil {
		return nil, err
	}
	// The subscription must have arrived before the first job does.
	if err := s.link.NC.FlushTimeout(command.Patience); err != nil {
		return nil, err
	}
	return func() { _ = subscription.Unsubscribe() }, nil
}

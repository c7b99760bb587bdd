// Package bench measures a system under load: it publishes jobs, notes what became of
// each, and compares that with what the emulated Aliyun accepted.
//
// A run may last for days: of a finished job it keeps 17 bytes, and of each second a sample.
package bench

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
)

const (
	defaultJobs = 20_000
	// window is how many jobs are in progress for each call that a worker may make, if jobs are published as fast
	// as they are done: enough for the stream to always have one, and few enough for latencies to be meaningful.
	window = 4
	// earlyJobs is after how many jobs memory is first measured, or after a tenth of them in a shorter run.
	earlyJobs     = 50_000
	drainWithin   = 15 * time.Second // for the jobs in progress, once stopped
	stillAfter    = 2 * time.Minute  // a run ends after so long without a final result
	emulatorKeeps = "2m"             // much longer than bench and workers take to read a message
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
	Against     string        `placeholder:"URL" help:"Use the broker there instead of one of the bench's own, with the credentials, TLS and replicas of your settings. Streams, buckets and subjects there are the bench's own, and removed at the end."`
	Plot        string        `placeholder:"FILE" help:"Draw both latencies into this file, as SVG."`
	JSON        bool          `name:"json" help:"One JSON object a line: a sample each second, at the end the summary."`
}

// Help is shown below the flags' own.
func (*Cmd) Help() string {
	return `Starts a broker, an emulated Aliyun and workers on this machine, publishes jobs, each to a number of its own, and tells how many a second were done, how long they took from publish to receipt (a worker has claimed the job) and to result, what CPU each process took for a job, and what the workers used. At the end what the emulator accepted is held against every single job. Some jobs before the first warm the workers up; they don't count.

Nothing leaves this machine, unless --against names a broker elsewhere: the workers know no Aliyun but the emulated one. They take worker.*, retry.*, limits.phone and Aliyun's timeouts from your settings; the broker, the account and everything else is the bench's own.

Exit status 1 where a job was lost, sent twice or not final at the end. Ctrl-C ends a run with what it has; a second one leaves at once.

  worker bench
  worker bench --rate 500/s --for 10m
  worker bench --against nats://10.0.0.5:4222 --plot latency.svg
  worker bench --jobs 1000000 --rate 500/s --json > bench.jsonl`
}

// Validate is called by the parser, and checks what that can't.
func (b *Cmd) Validate() error {
	switch {
	case b.Jobs < 0 || b.Jobs > MaxJobs:
		return fmt.Errorf("--jobs must be 1 to %d", MaxJobs)
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
func (b *Cmd) Run(e *command.Env) (failure error) {
	cfg, err := b.settings(e)
	if err != nil {
		return err
	}
	s, err := system.Start(e.Stop, system.Options{
		Name: "bench", Dir: b.Dir, Environ: e.Environ, Settings: cfg, Against: b.Against != "",
		Emulator: []string{"--latency", b.Latency.String(), "--keep", emulatorKeeps},
	})
	if err != nil {
		return command.Stopped(e.Stop, err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			show.Say(e.Stderr, "worker bench: %v", err)
			failure = cmp.Or(failure, command.ErrSaid)
		}
	}()
	r := &run{e: e, b: b, System: s, screen: newScreen(e, b, cfg.Worker.Concurrency)}
	for range b.Workers {
		w, err := s.StartWorker(e.Stop)
		if err != nil {
			return command.Stopped(e.Stop, err)
		}
		r.workers = append(r.workers, w)
	}
	if b.Plot != "" { // a mistake shows now rather than after hours
		if r.plot, err = os.Create(b.Plot); err != nil {
			return fmt.Errorf("--plot: %w", err)
		}
	}
	return r.measure()
}

func (b *Cmd) settings(e *command.Env) (config.Config, error) {
	if b.Against != "" {
		e.Set = append(e.Set, "nats.url="+b.Against, "nats.embedded.enabled=false")
	}
	if b.Concurrency != 0 {
		e.Set = append(e.Set, fmt.Sprintf("worker.concurrency=%d", b.Concurrency))
	}
	cfg, err := e.Settings(false)
	if err != nil {
		return cfg, err
	}
	if b.Latency >= cfg.Aliyun.Timeout { // every call would be in doubt
		return cfg, command.Usagef("worker bench: --latency must be shorter than aliyun.timeout, which is %s", show.Roughly(cfg.Aliyun.Timeout))
	}
	return cfg, nil
}

// jobs is how many jobs the run has at most.
func (b *Cmd) jobs() int {
	if b.For > 0 {
		return cmp.Or(b.Jobs, MaxJobs)
	}
	return cmp.Or(b.Jobs, defaultJobs)
}

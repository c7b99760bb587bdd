// Package app builds a worker and runs it.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/pace"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/consumer"
	"github.com/passcode-worker/passcode-worker/internal/health"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

// teardownTimeout bounds each step of leaving, after the jobs are finished.
const teardownTimeout = 5 * time.Second

// app is one running worker: everything that lives from its start to its end,
// and the steps of taking it down again, the last thing built first.
type app struct {
	cfg     config.Config
	log     *slog.Logger
	worker  string
	metrics *telemetry.Metrics
	link    *Link
	monitor *health.Monitor
	gate    atomic.Pointer[account.Breaker]
	breaker atomic.Pointer[pace.OutageBreaker]
	running atomic.Pointer[pipeline]
	repairs repairs
	// starting says what the start waits for, until it is over.
	starting atomic.Pointer[string]
	teardown []step
}

// pipeline is what handles jobs, once it is built.
type pipeline struct {
	source   *jobs.Source
	consumer *consumer.Consumer
}

// step is one step of the teardown.
type step struct {
	name string
	do   func(context.Context) error
}

// Run runs a worker until stop ends, or force.
func Run(stop, force context.Context, cfg config.Config, log *slog.Logger) (err error) {
	a := &app{cfg: cfg, log: log, worker: workerName()}
	a.log = log.With("worker", a.worker)
	defer func() { err = errors.Join(err, a.close()) }()

	if err := a.connect(stop); err != nil {
		return err
	}
	if err := a.serve(stop); err != nil {
		return err
	}
	if err := a.prepare(stop); err != nil {
		if stop.Err() != nil {
			a.log.Info("stopped before the broker could be reached")
			return nil
		}
		return err
	}
	c, err := a.build(stop)
	if err != nil {
		if stop.Err() != nil {
			return nil
		}
		return err
	}
	a.starting.Store(nil)
	a.log.Info("ready", "concurrency", cfg.Worker.Concurrency, "endpoint", cfg.Aliyun.Endpoint)
	err = c.Run(stop, force)
	if errors.Is(err, consumer.ErrForced) {
		return fmt.Errorf("%w; each comes again when its lease of %s runs out", err, cfg.Worker.AckWait)
	}
	if err == nil {
		a.log.Info("stopped: every job in flight was finished or handed back")
	}
	return err
}

// workerName tells processes apart, in records and logs.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

func (a *app) later(name string, do func(context.Context) error) {
	a.teardown = append(a.teardown, step{name, do})
}

// close takes everything down, the last thing built first, each step bounded.
func (a *app) close() error {
	var errs []error
	for i := len(a.teardown) - 1; i >= 0; i-- {
		s := a.teardown[i]
		ctx, cancel := context.WithTimeoutCause(context.Background(), teardownTimeout,
			fmt.Errorf("took longer than %s", teardownTimeout))
		if err := s.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", s.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// background runs f until the teardown, which waits for it.
func (a *app) background(name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	a.later(name, func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}

// connect starts the embedded broker, where there is one, and the connection.
func (a *app) connect(ctx context.Context) error {
	url := a.cfg.NATS.URL.Reveal()
	if a.cfg.NATS.Embedded.Enabled {
		embedded, err := broker.StartEmbedded(broker.EmbeddedOptions{
			Listen: a.cfg.NATS.Embedded.Listen, StoreDir: a.cfg.NATS.Embedded.StoreDir, Log: a.log,
		})
		if err != nil {
			return err
		}
		a.later("embedded broker", embedded.Stop)
		url = embedded.URL()
		a.log.Info("embedded broker runs", "url", url)
	}
	link, err := Dial(ctx, a.cfg.NATS, url, "passcode-worker "+a.worker, broker.WorkerInbox, a.log)
	if err != nil {
		return err
	}
	a.link = link
	a.later("connection", func(ctx context.Context) error {
		defer link.NC.Close()
		if !link.NC.IsConnected() {
			return nil
		}
		// Acknowledgements are plain messages: they must have left.
		return link.NC.FlushWithContext(ctx)
	})
	return nil
}

// serve starts the HTTP endpoints, so that a worker that waits for its broker
// can already be asked what it waits for.
func (a *app) serve(ctx context.Context) error {
	names := make([]string, len(a.cfg.Limits.Phone))
	for i, r := range a.cfg.Limits.Phone {
		names[i] = r.String()
	}
	a.metrics = telemetry.NewMetrics(names)
	a.starting.Store(new("waiting for the broker"))
	a.monitor = health.New(health.Options{
		JS: a.link.JS, Stream: a.cfg.Jobs.Stream, Consumer: a.cfg.Jobs.Consumer,
		Others: []health.Stream{
			{Name: "KV_" + a.cfg.Results.Bucket, Called: "bucket " + a.cfg.Results.Bucket},
			{Name: "KV_" + a.cfg.Limits.Bucket, Called: "bucket " + a.cfg.Limits.Bucket},
			{Name: a.cfg.DeadLetters.Stream, Called: "stream " + a.cfg.DeadLetters.Stream},
		},
		Repair: a.repair, Standing: a.standing,
		Connected: a.link.NC.IsConnected, Account: a.account, Pause: a.pause, Logger: a.log,
	})
	a.background("monitor", a.monitor.Run)
	a.monitor.Gauges(a.metrics.Gauge)
	a.metrics.Gauge("account_closed", "1 while nothing can be sent for the account.", func() float64 {
		if a.account() != "" {
			return 1
		}
		return 0
	})
	a.metrics.Gauge("aliyun_unreachable", "1 while this worker makes no calls but probes, because Aliyun answers none.",
		func() float64 { return float64(len(a.outage())) })
	if a.cfg.HTTP.Listen == "" {
		return nil
	}
	server, err := telemetry.Serve(ctx, a.cfg.HTTP.Listen, a.metrics, a.notReady, a.log)
	if errors.Is(err, syscall.EADDRINUSE) {
		// Most likely another worker on this machine. Passcodes matter more than
		// a second set of metrics; who asks for this one's health sees that it
		// doesn't answer.
		a.log.Error("no health and no metrics from this worker: the address is in use; give each its own http.listen", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	a.later("HTTP server", server.Close)
	a.log.Info("HTTP listens", "address", server.Address())
	return nil
}

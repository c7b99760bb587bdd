// Package app builds a worker and runs it.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/pace"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/consumer"
	"github.com/passcode-worker/passcode-worker/internal/health"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
	"github.com/passcode-worker/passcode-worker/internal/telemetry/once"
)

// App is one worker: everything that lives from its start to its end.
type App struct {
	teardown
	cfg     config.Config
	log     *slog.Logger
	worker  string
	metrics *telemetry.Metrics
	js      jetstream.JetStream // with the connection
	monitor *health.Monitor
	parts   atomic.Pointer[parts]
	// One goroutine at a time provisions; told has how it found each item last.
	provisioning sync.Mutex
	told         once.States
}

// parts are those of the pipeline that tell how it stands.
type parts struct {
	// starting is what the start waits for. Once it is empty the others are there.
	starting string
	account  *account.Breaker
	outage   *pace.OutageBreaker
	source   *jobs.Source
	consumer *consumer.Consumer
}

// New returns a worker that runs by these settings.
func New(cfg config.Config, log *slog.Logger) *App {
	host, _ := os.Hostname()
	// Tells processes apart, in records and logs.
	worker := fmt.Sprintf("%s-%d", cmp.Or(host, "unknown"), os.Getpid())
	return &App{cfg: cfg, log: log.With("worker", worker), worker: worker}
}

// Run runs the worker until stop ends, or force.
func (a *App) Run(stop, force context.Context) (err error) {
	defer func() { err = errors.Join(err, a.close()) }()
	for _, start := range []func(context.Context) error{a.connect, a.serve, a.prepare, a.build} {
		err := start(stop)
		if err != nil && stop.Err() != nil {
			a.log.Info("stopped before the worker was ready")
			return nil
		}
		if err != nil {
			return err
		}
	}
	a.log.Info("ready", "concurrency", a.cfg.Worker.Concurrency, "endpoint", a.cfg.Aliyun.Endpoint)
	err = a.parts.Load().consumer.Run(stop, force)
	if errors.Is(err, consumer.ErrForced) {
		return fmt.Errorf("%w; each comes again when its lease of %s runs out", err, a.cfg.Worker.AckWait)
	}
	if err == nil {
		a.log.Info("stopped: every job in flight was finished or requeued")
	}
	return err
}

func (a *App) connect(ctx context.Context) error {
	settings := a.cfg.NATS
	if a.cfg.NATS.Embedded.Enabled {
		embedded, err := broker.StartEmbedded(a.cfg.NATS.Embedded.Listen, a.cfg.NATS.Embedded.StoreDir, a.log)
		if err != nil {
			return err
		}
		a.later("embedded broker", embedded.Stop)
		settings.URL = config.NewServerURLs(embedded.URL())
		a.log.Info("embedded broker runs", "url", settings.URL)
	}
	js, err := Dial(ctx, settings, "passcode-worker "+a.worker, broker.WorkerInbox, a.log)
	if err != nil {
		return err
	}
	a.js = js
	a.later("connection", func(ctx context.Context) error {
		defer js.Conn().Close()
		if !js.Conn().IsConnected() {
			return nil
		}
		// Acknowledgements are plain messages: they must have left.
		return js.Conn().FlushWithContext(ctx)
	})
	return nil
}

// serve starts the HTTP endpoints, so that a worker that waits for its broker
// can already be asked what it waits for.
func (a *App) serve(ctx context.Context) error {
	names := make([]string, len(a.cfg.Limits.Phone))
	for i, r := range a.cfg.Limits.Phone {
		names[i] = r.String()
	}
	a.metrics = telemetry.NewMetrics(names)
	a.parts.Store(&parts{starting: "waiting for the broker"})
	a.monitor = health.New(health.Options{
		JS: a.js, Stream: a.cfg.Jobs.Stream, Consumer: a.cfg.Jobs.Consumer,
		Others: []health.Stream{
			{Name: "KV_" + a.cfg.Results.Bucket, Called: "bucket " + a.cfg.Results.Bucket},
			{Name: "KV_" + a.cfg.Limits.Bucket, Called: "bucket " + a.cfg.Limits.Bucket},
			{Name: a.cfg.DeadLetters.Stream, Called: "stream " + a.cfg.DeadLetters.Stream},
		},
		Repair: a.repair, Standing: a.standing,
		Connected: a.js.Conn().IsConnected, Account: a.accountClosed, Pause: a.pause, Logger: a.log,
	})
	a.background("monitor", a.monitor.Run)
	a.monitor.Gauges(a.metrics.Gauge)
	a.metrics.Gauge("account_closed", "1 while nothing can be sent for the account.",
		func() float64 { return float64(min(len(a.accountClosed()), 1)) })
	a.metrics.Gauge("aliyun_unreachable", "1 while this worker makes no calls but probes, because Aliyun answers none.",
		func() float64 { return float64(len(a.aliyunDown())) })
	if a.cfg.HTTP.Listen == "" {
		return nil
	}
	server, err := telemetry.Serve(ctx, a.cfg.HTTP.Listen, a.worker, a.metrics, a.notReady, a.log)
	if errors.Is(err, syscall.EADDRINUSE) {
		// Most likely another worker on this machine: "worker health" names who answers.
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

// Dial connects as the settings say. It doesn't wait for the broker to be there.
func Dial(ctx context.Context, n config.NATS, name, inbox string, log *slog.Logger) (jetstream.JetStream, error) {
	nc, err := broker.Connect(ctx, n, name, inbox, log)
	if err != nil {
		return nil, UsageError{err}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return js, nil
}

// UsageError is a mistake in the settings or the command line.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e UsageError) Unwrap() error { return e.Err }
